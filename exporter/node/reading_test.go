package node_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/snapshot"
)

func collectors(names ...string) snapshot.Request { return snapshot.Request{Collectors: names} }

func names(s *snapshot.Snapshot) []string {
	var all []string
	for _, c := range s.Collectors {
		all = append(all, c.Name)
	}
	return all
}

func TestReadingIsSharedForASecond(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.discover(a)
		s := f.live(a)[0]
		read := func(r snapshot.Request) *snapshot.Snapshot {
			got, err := f.Snapshot(t.Context(), a, r)
			require.NoError(t, err)
			return got
		}
		first := read(snapshot.Request{})
		f.after(999 * time.Millisecond)
		require.Same(t, first, read(snapshot.Request{}))
		some := read(collectors(snapshot.Mnesia, snapshot.Memory))
		require.Equal(t, []string{snapshot.Memory, snapshot.Mnesia}, names(some), "a part of what was read")
		require.Equal(t, first.Taken, some.Taken)
		require.Len(t, first.Collectors, 3, "and the whole is as it was")
		require.Equal(t, 1, s.questions())

		f.after(time.Millisecond)
		second := read(collectors(snapshot.Memory))
		require.NotEqual(t, first.Taken, second.Taken)
		require.Equal(t, 2, s.questions())
		read(snapshot.Request{})
		require.Equal(t, 3, s.questions(), "some collectors do not stand for all")
		read(collectors(snapshot.Statistics))
		require.Equal(t, 3, s.questions())
	})
}

func TestReadingThatMustBeFresher(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.discover(a)
		s := f.live(a)[0]
		read := func(fresh time.Duration) {
			_, err := f.Snapshot(t.Context(), a, snapshot.Request{Fresh: fresh})
			require.NoError(t, err)
		}
		read(0)
		f.after(600 * time.Millisecond)
		read(0)
		read(time.Minute)
		require.Equal(t, 1, s.questions())
		read(500 * time.Millisecond)
		require.Equal(t, 2, s.questions())
	})
}

func TestReadingOnItsWayIsShared(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.discover(a)
		s := f.live(a)[0]
		var ended error
		s.answer = func(ctx context.Context, _ snapshot.Request) (*snapshot.Snapshot, error) {
			select {
			case <-ctx.Done():
				ended = ctx.Err()
				return nil, ctx.Err()
			case <-time.After(10 * time.Second):
				return &snapshot.Snapshot{Bytes: 7}, nil
			}
		}
		ask := func(within time.Duration) <-chan error {
			got := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), within)
				defer cancel()
				_, err := f.Snapshot(ctx, a, snapshot.Request{})
				got <- err
			}()
			return got
		}
		// The first to ask gives up; the others get the answer.
		first, second, third := ask(5*time.Second), ask(20*time.Second), ask(20*time.Second)
		require.ErrorIs(t, <-first, context.DeadlineExceeded)
		require.NoError(t, <-second)
		require.NoError(t, <-third)
		require.Equal(t, 1, s.questions())

		// When the last one has given up, nobody waits for the answer.
		f.after(2 * time.Second)
		require.ErrorIs(t, <-ask(3*time.Second), context.DeadlineExceeded)
		synctest.Wait()
		require.ErrorIs(t, ended, context.Canceled)
		require.NoError(t, <-ask(20*time.Second), "and the next one asks anew")
		require.Equal(t, 3, s.questions())
	})
}

// TestLostAnswerCostsItsScrapesOnly is two Prometheus servers, half an interval
// apart, of which one always waits, and an answer that never comes.
func TestLostAnswerCostsItsScrapesOnly(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.discover(a)
		s := f.live(a)[0]
		var asked atomic.Int64
		s.answer = func(ctx context.Context, _ snapshot.Request) (*snapshot.Snapshot, error) {
			if asked.Add(1) == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return &snapshot.Snapshot{}, nil
		}
		results := make(chan error, 8)
		for range 8 {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				_, err := f.Snapshot(ctx, a, snapshot.Request{})
				results <- err
			}()
			f.after(7500 * time.Millisecond)
		}
		f.after(10 * time.Second)
		failed := 0
		for range 8 {
			if <-results != nil {
				failed++
			}
		}
		require.Equal(t, 1, failed)
	})
}

func TestFailedReadingIsNotKept(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.discover(a)
		s := f.live(a)[0]
		broken := errors.New("no memory")
		s.answer = func(context.Context, snapshot.Request) (*snapshot.Snapshot, error) { return nil, broken }
		_, err := f.Snapshot(t.Context(), a, snapshot.Request{})
		require.ErrorIs(t, err, broken)
		s.mu.Lock()
		s.answer = nil
		s.mu.Unlock()
		_, err = f.Snapshot(t.Context(), a, snapshot.Request{})
		require.NoError(t, err)
		require.Equal(t, node.Up, f.state(t, a), "a failed reading is no lost node")
	})
}

// TestReadingsDoNotOutliveTheirSession has a node that is lost and back within
// the second that readings are shared for.
func TestReadingsDoNotOutliveTheirSession(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.discover(a)
		f.after(time.Minute)
		before, err := f.Snapshot(t.Context(), a, snapshot.Request{})
		require.NoError(t, err)
		f.live(a)[0].lose(errors.New("lost"))
		synctest.Wait()
		require.Equal(t, node.Up, f.state(t, a))
		after, err := f.Snapshot(t.Context(), a, snapshot.Request{})
		require.NoError(t, err)
		require.NotSame(t, before, after)
	})
}

func TestSnapshotOfUnknownNode(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		_, err := f.Snapshot(t.Context(), "x@h", snapshot.Request{})
		require.ErrorIs(t, err, node.ErrUnknown)
	})
}

// TestStaleReading: a node that does not answer in time is shown by its last whole
// reading, to those who may have it and while it is not older than they allow.
func TestStaleReading(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.discover(a)
		s := f.live(a)[0]
		ask := func(r snapshot.Request) (*snapshot.Snapshot, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			return f.Snapshot(ctx, a, r)
		}
		stale := snapshot.Request{Stale: time.Minute}
		fresh, err := ask(stale)
		require.NoError(t, err)
		require.False(t, fresh.Stale)

		s.answer = func(ctx context.Context, _ snapshot.Request) (*snapshot.Snapshot, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		f.after(10 * time.Second)
		old, err := ask(stale)
		require.NoError(t, err)
		require.True(t, old.Stale)
		require.Equal(t, fresh.Taken, old.Taken)
		require.False(t, fresh.Stale, "the reading itself is as it was")
		part, err := ask(snapshot.Request{Collectors: []string{snapshot.Memory}, Stale: time.Minute})
		require.NoError(t, err)
		require.Equal(t, []string{snapshot.Memory}, names(part))
		_, err = ask(snapshot.Request{})
		require.ErrorIs(t, err, context.DeadlineExceeded, "not to who does not want it")

		f.after(time.Minute)
		_, err = ask(stale)
		require.ErrorIs(t, err, context.DeadlineExceeded, "it is too old")
	})
}
