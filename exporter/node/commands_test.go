package node_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/discovery"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/exporter/store"
)

func TestAddAndRemove(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		require.NoError(t, f.Add(t.Context(), store.Registration{
			Name: a, Address: "h:1", EPMD: "h:2", Family: "fam", Labels: map[string]string{"k": "v"}, CookieRef: group,
		}))
		synctest.Wait()
		s, _ := f.Node(a)
		require.Equal(t, node.Up, s.State)
		require.Equal(t, store.NodeID(a), s.ID)
		require.True(t, s.Registered)
		require.Equal(t, "registered", s.Source)
		require.Equal(t, group, s.Group)
		require.Equal(t, "fam", s.Family)
		require.Equal(t, map[string]string{"k": "v"}, s.Labels)
		require.EqualValues(t, 7, s.Cost.Reductions)
		target := f.targets[a][0]
		require.Equal(t, "secret", target.Cookie)
		require.Equal(t, "h:1", target.Address)
		require.Equal(t, "h:2", target.EPMD)

		live := f.live(a)[0]
		live.detaches = time.Second
		require.NoError(t, f.Remove(t.Context(), a))
		require.True(t, live.wasDetached(), "gone when Remove returns")
		require.Empty(t, f.Nodes())
		require.Empty(t, f.store.registered)
		require.ErrorIs(t, f.Remove(t.Context(), a), node.ErrUnknown)
	})
}

func TestAddRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		r    store.Registration
		want string
	}{
		"impossible name": {store.Registration{Name: "a@b@c"}, `name: dist: check "a@b@c": impossible node name`},
		"known name":      {store.Registration{Name: a}, `node "a@h": the node is known already`},
		"no such group":   {store.Registration{Name: b, CookieRef: "x"}, `cookie_ref: target group "x" is not in the configuration`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, f *fleet) {
				f.discover(a)
				require.ErrorContains(t, f.Add(t.Context(), tt.r), tt.want)
				require.Len(t, f.Nodes(), 1)
				require.Empty(t, f.store.registered)
			})
		})
	}
}

func TestCookiesOfRegisteredNodes(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		require.NoError(t, f.Add(t.Context(), store.Registration{Name: a}))
		require.NoError(t, f.Add(t.Context(), store.Registration{Name: b, Cookie: "own"}))
		synctest.Wait()
		require.Equal(t, "default", f.targets[a][0].Cookie)
		require.Equal(t, "own", f.targets[b][0].Cookie)
	})
}

func TestUnreadableCookieBlocksItsNodeOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemoryStore()
		m.registered[a] = store.Registration{Name: a, CookieErr: store.ErrNoKey}
		m.registered[b] = store.Registration{Name: b}
		f := startFleet(t, newScript(), m)
		s, _ := f.Node(a)
		require.Equal(t, node.Pending, s.State)
		require.Equal(t, "configuration", s.LastErrorKind)
		require.Contains(t, s.LastError, "no key is configured")
		require.Zero(t, f.attempted(a))
		require.Equal(t, node.Up, f.state(t, b))
	})
}

func TestRegistrationWinsOverDiscovery(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		require.NoError(t, f.Add(t.Context(), store.Registration{Name: a, Address: "registered:1"}))
		synctest.Wait()
		registered := f.live(a)[0]
		f.SetTargets([]discovery.Target{{Node: a, Group: group, Source: "epmd", Address: "found:1"}})
		synctest.Wait()
		require.False(t, registered.ended())

		require.NoError(t, f.Suspend(t.Context(), a))
		require.NoError(t, f.Remove(t.Context(), a))
		s, _ := f.Node(a)
		require.Equal(t, "epmd", s.Source, "what discovery says applies again")
		require.Equal(t, node.Suspended, s.State, "and it stays suspended")
		require.ErrorIs(t, f.Remove(t.Context(), a), node.ErrDiscovered)
	})
}

func TestSuspendAndResume(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.discover(a)
		live := f.live(a)[0]
		live.detaches = time.Second
		require.NoError(t, f.Suspend(t.Context(), a))
		require.True(t, live.wasDetached(), "the agent is gone when Suspend returns")
		s, _ := f.Node(a)
		require.Equal(t, node.Suspended, s.State)
		require.Equal(t, "suspended by hand", s.Reason)

		f.after(time.Hour)
		require.Equal(t, 1, f.attempted(a), "nothing is asked of it")
		_, err := f.Snapshot(t.Context(), a, snapshot.Request{})
		require.EqualError(t, err, `node "a@h" is suspended since 2000-01-01T00:00:01Z: suspended by hand`)
		require.NoError(t, f.Suspend(t.Context(), a), "a second time")
		f.Apply(groups("another cookie"))
		synctest.Wait()
		require.Equal(t, node.Suspended, f.state(t, a))

		require.NoError(t, f.Resume(t.Context(), a))
		synctest.Wait()
		require.Equal(t, node.Up, f.state(t, a))
		require.NoError(t, f.Resume(t.Context(), a), "a second time")
		require.ErrorIs(t, f.Suspend(t.Context(), b), node.ErrUnknown)
		require.ErrorIs(t, f.Resume(t.Context(), b), node.ErrUnknown)
	})
}

func TestSuspendInEveryState(t *testing.T) {
	t.Parallel()
	prepare := map[node.State]func(*fleet){
		node.Connecting: func(f *fleet) { f.hang[a] = true },
		node.Up:         func(*fleet) {},
		node.Down:       func(f *fleet) { f.fail(a, unreachable()) },
		node.Refused:    func(f *fleet) { f.fail(a, wrongCookie()) },
	}
	for state, prepare := range prepare {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, f *fleet) {
				prepare(f)
				f.discover(a)
				require.Equal(t, state, f.state(t, a))
				require.NoError(t, f.Suspend(t.Context(), a))
				require.Equal(t, node.Suspended, f.state(t, a))
				require.Empty(t, f.live(a))
				require.Zero(t, f.dialling)
			})
		})
	}
}

func TestSuspendDoesNotWaitLongerThanItsContext(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.discover(a)
		f.live(a)[0].detaches = time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		require.NoError(t, f.Suspend(ctx, a))
		require.Equal(t, time.Second, time.Since(begun))
		_, err := f.Snapshot(t.Context(), a, snapshot.Request{})
		require.ErrorContains(t, err, "being detached", "nothing is asked of it already")
		f.after(5 * time.Second)
		require.Equal(t, node.Suspended, f.state(t, a))
	})
}

func TestRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemoryStore()
		f := startFleet(t, newScript(), m)
		f.discover(b)
		require.NoError(t, f.Add(t.Context(), store.Registration{Name: a}))
		require.NoError(t, f.Suspend(t.Context(), b))
		f.stop()

		f = startFleet(t, newScript(), m)
		f.discover(b)
		require.Equal(t, node.Up, f.state(t, a), "what was added is there")
		require.Equal(t, node.Suspended, f.state(t, b))
		require.Zero(t, f.attempted(b), "not even dialled")
	})
}

func TestBrokenStoreChangesNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		require.NoError(t, f.Add(t.Context(), store.Registration{Name: a}))
		synctest.Wait()
		f.store.broken = errors.New("disk on fire")
		require.ErrorIs(t, f.Add(t.Context(), store.Registration{Name: b}), f.store.broken)
		require.ErrorIs(t, f.Suspend(t.Context(), a), f.store.broken)
		require.ErrorIs(t, f.Resume(t.Context(), a), f.store.broken)
		require.ErrorIs(t, f.Remove(t.Context(), a), f.store.broken)
		require.Len(t, f.Nodes(), 1)
		require.Equal(t, node.Up, f.state(t, a), "monitoring does not need the store")
	})
}
