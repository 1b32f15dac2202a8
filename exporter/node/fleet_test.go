package node_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/discovery"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/exporter/store"
)

const a, b = "a@h", "b@h"

func unreachable() error { return &dist.Error{Node: a, Op: "dial", Kind: dist.KindRefused} }

func wrongCookie() error { return &dist.Error{Node: a, Op: "dial", Kind: dist.KindCookie} }

func TestAttachAndDetach(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.discover(a, b)
		require.Equal(t, node.Up, f.state(t, a))
		require.Equal(t, node.Up, f.state(t, b))
		require.Equal(t, "secret", f.targets[a][0].Cookie)

		sa, sb := f.live(a)[0], f.live(b)[0]
		f.discover(b)
		_, known := f.Node(a)
		require.False(t, known)
		require.True(t, sa.wasDetached())
		require.False(t, sb.ended(), "its neighbour stays attached")

		f.stop()
		require.True(t, sb.wasDetached())
	})
}

// TestRetry measures the waits between attempts: from 2 s up to 30 s, each
// within its jitter, for ever.
func TestRetry(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.fail(a, unreachable())
		f.discover(a)
		f.after(24 * time.Hour)
		waits := f.waits(a)
		require.Greater(t, len(waits), 24*3600/30)
		for i, planned := range []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second} {
			require.GreaterOrEqual(t, waits[i], planned, "wait %d", i)
			require.LessOrEqual(t, waits[i], planned*5/4, "wait %d", i)
		}
		different := map[time.Duration]bool{}
		for _, w := range waits[4:] {
			require.GreaterOrEqual(t, w, 24*time.Second)
			require.LessOrEqual(t, w, 30*time.Second)
			different[w] = true
		}
		require.Greater(t, len(different), 100, "jitter")

		f.fail(a, nil)
		f.after(30 * time.Second)
		require.Equal(t, node.Up, f.state(t, a))
	})
}

func TestDownKeepsItsTime(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.fail(a, unreachable())
		f.discover(a)
		events, cancel := f.Subscribe()
		defer cancel()
		begun, _ := f.Node(a)
		require.Equal(t, node.Down, begun.State)
		f.after(time.Hour)
		s, _ := f.Node(a)
		require.Equal(t, begun.Since, s.Since)
		require.Empty(t, events, "what stays as it is, is no event")
		require.Equal(t, "refused", s.LastErrorKind)
		require.Contains(t, s.LastError, "connection refused")
		require.Less(t, time.Since(s.LastErrorTime), 31*time.Second)
		require.Less(t, time.Until(s.NextAttempt), 31*time.Second)
		require.Positive(t, time.Until(s.NextAttempt))
	})
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err   error
		state node.State
		kind  string
	}{
		"cookie":          {&dist.Error{Kind: dist.KindCookie}, node.Refused, "cookie"},
		"name mismatch":   {&dist.Error{Kind: dist.KindNameMismatch}, node.Refused, "name_mismatch"},
		"name taken":      {&dist.Error{Kind: dist.KindNameTaken}, node.Refused, "name_taken"},
		"too old":         {&dist.Error{Kind: dist.KindOTPTooOld}, node.Refused, "otp_too_old"},
		"not allowed":     {&dist.Error{Kind: dist.KindNotAllowed}, node.Refused, "not_allowed"},
		"TLS":             {&dist.Error{Kind: dist.KindTLS}, node.Refused, "tls"},
		"owned":           {fmt.Errorf("x: %w", &agent.OwnedError{Owner: "other@h"}), node.Refused, "owned"},
		"unsupported":     {&agent.UnsupportedError{}, node.Refused, "unsupported"},
		"unknown to epmd": {&dist.Error{Kind: dist.KindUnknownToEPMD}, node.Down, "unknown_to_epmd"},
		"no epmd":         {&dist.Error{Kind: dist.KindEPMDUnreachable}, node.Down, "epmd_unreachable"},
		"dns":             {&dist.Error{Kind: dist.KindDNS}, node.Down, "dns"},
		"closed":          {fmt.Errorf("x: %w", &dist.Error{Kind: dist.KindClosed}), node.Down, "closed"},
		"injection":       {&agent.InjectionError{Err: errors.New("x")}, node.Down, "injection"},
		"injection cut":   {&agent.InjectionError{Err: &dist.Error{Kind: dist.KindClosed}}, node.Down, "closed"},
		"agent ended":     {&agent.LostError{}, node.Down, "agent_lost"},
		"deadline":        {context.DeadlineExceeded, node.Down, "timeout"},
		"other":           {errors.New("x"), node.Down, "other"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, f *fleet) {
				f.fail(a, tt.err)
				f.discover(a)
				s, _ := f.Node(a)
				require.Equal(t, tt.state, s.State)
				require.Equal(t, tt.kind, s.LastErrorKind)
				f.after(10 * time.Second)
				if tt.state == node.Refused {
					require.Equal(t, 1, f.attempted(a), "refused nodes are tried slowly")
				} else {
					require.Greater(t, f.attempted(a), 1)
				}
				f.after(time.Minute)
				require.Greater(t, f.attempted(a), 2, "and for ever")
			})
		})
	}
}

func TestLostSession(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.discover(a)
		f.after(time.Minute)
		f.fail(a, unreachable())
		f.live(a)[0].lose(errors.New("tcp broke"))
		synctest.Wait()
		s, _ := f.Node(a)
		require.Equal(t, node.Down, s.State)
		require.Equal(t, 2, f.attempted(a), "the first attempt is at once")
		_, err := f.Snapshot(t.Context(), a, snapshot.Request{})
		var state *node.StateError
		require.ErrorAs(t, err, &state)
		require.Equal(t, node.Down, state.State)
		require.Contains(t, err.Error(), `node "a@h" is down since 2000-01-01T00:01:00Z: dist: dial "a@h": connection refused`)

		f.fail(a, nil)
		f.after(3 * time.Second)
		s, _ = f.Node(a)
		require.Equal(t, node.Up, s.State)
		require.Empty(t, s.Reason)
		require.NotEmpty(t, s.LastError, "what went wrong last can still be read")
		require.EqualValues(t, 1, s.Reconnects)
	})
}

// TestFlapping is a node that is lost right after each attachment.
func TestFlapping(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.discover(a)
		for begun := time.Now(); time.Since(begun) < 10*time.Minute; f.after(100 * time.Millisecond) {
			for _, s := range f.live(a) {
				s.lose(errors.New("lost"))
			}
		}
		require.Less(t, f.attempted(a), 35)
	})
}

func TestHangingAttemptIsGivenUp(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.hang[a] = true
		f.discover(a)
		require.Equal(t, node.Connecting, f.state(t, a))
		_, err := f.Snapshot(t.Context(), a, snapshot.Request{})
		require.ErrorContains(t, err, `node "a@h" is connecting since`)
		f.after(20 * time.Second)
		s, _ := f.Node(a)
		require.Equal(t, node.Down, s.State)
		require.Equal(t, "timeout", s.LastErrorKind)

		f.discover()
		require.Empty(t, f.Nodes(), "nobody waits for it when it is no target any more")
	})
}

func TestParallelDiallingIsBounded(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.takes = time.Second
		var names []string
		for i := range 25 {
			names = append(names, fmt.Sprintf("n%d@h", i))
		}
		f.discover(names...)
		require.Len(t, inState(f, node.Pending), 15, "they wait for their turn")
		f.after(3 * time.Second)
		require.Len(t, inState(f, node.Up), 25)
		require.Equal(t, 10, f.most)
	}, func(o *node.Options) { o.Parallel = 10 })
}

// TestDeadHostsDoNotDelayNewNodes has more hosts that swallow packets than
// places to dial.
func TestDeadHostsDoNotDelayNewNodes(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		names := []string{a}
		for i := range 40 {
			names = append(names, fmt.Sprintf("dead%d@h", i))
			f.hang[names[i+1]] = true
		}
		f.discover(names[1:]...)
		f.after(10 * time.Minute)
		f.discover(names...)
		require.Equal(t, node.Up, f.state(t, a))
	}, func(o *node.Options) { o.Parallel = 4 })
}

func inState(f *fleet, s node.State) []string {
	var names []string
	for _, n := range f.Nodes() {
		if n.State == s {
			names = append(names, n.Name)
		}
	}
	return names
}

func TestReloadAttachesAnewOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.SetTargets([]discovery.Target{{Node: a, Group: group}, {Node: b, Group: "other"}})
		g := groups("secret")
		g["other"] = node.Group{Cookie: sameCookie("x")}
		f.Apply(g)
		synctest.Wait()
		sa, sb := f.live(a)[0], f.live(b)[0]

		changes := []struct {
			what   string
			change func(*node.Group)
			anew   bool
		}{
			{"nothing", func(*node.Group) {}, false},
			{"family", func(g *node.Group) { g.Family = "f" }, false},
			{"applications", func(g *node.Group) { g.Applications = []string{"x"} }, false},
			{"cookie", func(g *node.Group) { g.Cookie = sameCookie("new") }, true},
			{"settings", func(g *node.Group) { g.Settings.MSAcc = "on" }, true},
			{"TLS", func(g *node.Group) { g.TLS = &tls.Config{} }, true},
		}
		changed := g[group]
		for _, c := range changes {
			c.change(&changed)
			g[group] = changed
			f.Apply(g)
			synctest.Wait()
			require.Equal(t, node.Up, f.state(t, a), c.what)
			require.Equal(t, c.anew, sa.wasDetached(), c.what)
			require.False(t, sb.ended(), c.what)
			require.Len(t, f.live(a), 1, c.what)
			sa = f.live(a)[0]
		}
		s, _ := f.Node(a)
		require.Equal(t, "f", s.Family)
	})
}

func TestReloadMendsARefusedNodeAtOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.fail(a, wrongCookie())
		f.discover(a)
		f.after(time.Minute)
		require.Equal(t, node.Refused, f.state(t, a))
		f.fail(a, nil)
		f.Apply(groups("right"))
		synctest.Wait()
		require.Equal(t, node.Up, f.state(t, a))
	})
}

func TestGroupThatIsNotConfigured(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.SetTargets([]discovery.Target{{Node: a, Group: "gone"}})
		synctest.Wait()
		s, _ := f.Node(a)
		require.Equal(t, node.Pending, s.State)
		require.Equal(t, `target group "gone" is not in the configuration`, s.LastError)
		require.Zero(t, f.attempted(a))
		_, err := f.Snapshot(t.Context(), a, snapshot.Request{})
		require.ErrorContains(t, err, `is pending since`)
		require.ErrorContains(t, err, s.LastError)

		g := groups("x")
		g["gone"] = node.Group{Cookie: sameCookie("here")}
		f.Apply(g)
		synctest.Wait()
		require.Equal(t, node.Up, f.state(t, a))
	})
}

// TestReturnWhileDetaching is a node that leaves discovery and is back before
// its agent has left: it must not be attached and detached at the same time.
func TestReturnWhileDetaching(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.discover(a)
		first := f.live(a)[0]
		first.detaches = 3 * time.Second
		f.discover()
		f.discover(a)
		f.discover()
		f.discover(a)
		require.Equal(t, node.Pending, f.state(t, a))
		require.Equal(t, 1, f.attempted(a))
		f.after(3 * time.Second)
		require.True(t, first.wasDetached())
		require.Equal(t, node.Up, f.state(t, a))
		require.Equal(t, 2, f.attempted(a))
	})
}

func TestShutdownDetachesInParallel(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		var names []string
		for i := range 50 {
			names = append(names, fmt.Sprintf("n%d@h", i))
		}
		f.discover(names...)
		for i, n := range names {
			f.live(n)[0].detaches = time.Second
			if i == 0 {
				f.live(n)[0].detaches = time.Hour
			}
		}
		require.Equal(t, 5*time.Second, f.stop(), "as long as the slowest may take")
		for _, n := range names[1:] {
			require.Empty(t, f.live(n))
		}
		f.discover("late@h")
		require.Zero(t, f.attempted("late@h"), "nothing begins any more")
		require.ErrorIs(t, f.Add(t.Context(), store.Registration{Name: "late@h"}), node.ErrNotRunning)
		require.ErrorIs(t, f.Suspend(t.Context(), names[0]), node.ErrNotRunning)
	})
}

func TestFirstOfTwoTargetsCounts(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.SetTargets([]discovery.Target{
			{Node: a, Group: group, Address: "first:1"},
			{Node: a, Group: group, Address: "second:1"},
		})
		synctest.Wait()
		require.Len(t, f.Nodes(), 1)
		require.Equal(t, "first:1", f.targets[a][0].Address)
	})
}

func TestNewChecksItsOptions(t *testing.T) {
	t.Parallel()
	_, err := node.New(node.Options{})
	require.EqualError(t, err, "exporter/node: Options.Attach is missing")
	_, err = node.New(node.Options{Attach: newScript().attach})
	require.EqualError(t, err, "exporter/node: Options.Store is missing")
	o := node.Options{Attach: newScript().attach, Store: newMemoryStore(), RetryMin: time.Minute}
	_, err = node.New(o)
	require.EqualError(t, err, "exporter/node: Options.RetryMin (1m0s) is more than RetryMax (30s)")
}

func TestRunFailsWithoutItsStore(t *testing.T) {
	t.Parallel()
	m := newMemoryStore()
	m.broken = errors.New("disk on fire")
	f, err := node.New(node.Options{Attach: newScript().attach, Store: m})
	require.NoError(t, err)
	require.False(t, f.Ready())
	require.ErrorIs(t, f.Run(t.Context()), m.broken)
}
