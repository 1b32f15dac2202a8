package node_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/snapshot"
)

// pulses collects what a fleet's nodes give by themselves.
type pulses struct {
	mu  sync.Mutex
	all []node.Pulse
}

func (p *pulses) options(o *node.Options) {
	o.OnPulse = func(x node.Pulse) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.all = append(p.all, x)
	}
}

func (p *pulses) times() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	var times []time.Time
	for _, x := range p.all {
		times = append(times, x.Time)
	}
	return times
}

func (p *pulses) last() node.Pulse {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[len(p.all)-1]
}

func TestPulse(t *testing.T) {
	t.Parallel()
	var seen pulses
	inBubble(t, func(t *testing.T, f *fleet) {
		begun := time.Now()
		f.discover(a)
		f.after(31 * time.Second)
		require.Equal(t, []time.Time{begun, begun.Add(15 * time.Second), begun.Add(30 * time.Second)}, seen.times())
		require.Len(t, seen.last().Snapshot.Collectors, 3)
		require.NoError(t, seen.last().Err)
		require.Equal(t, a, seen.last().Node.Name)
		require.NotEmpty(t, seen.last().Node.ID)
		require.NotEmpty(t, seen.last().Node.Family)

		// A scrape shares the reading of a pulse.
		f.after(14 * time.Second)
		questions := f.live(a)[0].questions()
		_, err := f.Snapshot(t.Context(), a, snapshot.Request{})
		require.NoError(t, err)
		require.Equal(t, questions, f.live(a)[0].questions())

		f.discover()
		f.after(time.Minute)
		require.Len(t, seen.times(), 4, "a node that is gone has no pulse")
	}, seen.options)
}

// A node that does not answer loses pulses and keeps no goroutine waiting.
func TestPulseOfNodeThatHangs(t *testing.T) {
	t.Parallel()
	var seen pulses
	inBubble(t, func(t *testing.T, f *fleet) {
		f.discover(a)
		s := f.live(a)[0]
		s.mu.Lock()
		s.answer = func(ctx context.Context, _ snapshot.Request) (*snapshot.Snapshot, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		s.mu.Unlock()
		f.after(30 * time.Second)
		require.ErrorIs(t, seen.last().Err, context.DeadlineExceeded)
		require.Nil(t, seen.last().Snapshot)
		s.lose(errors.New("gone"))
		f.after(time.Millisecond)
		pulsed := len(seen.times())
		f.after(time.Second)
		require.Len(t, seen.times(), pulsed, "none after the session has ended")
		f.after(time.Minute)
		require.Greater(t, len(seen.times()), pulsed, "the next session has its own")
	}, seen.options)
}

func TestSourcesOfNode(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.discover(a)
		got := f.script.targets[a][0].Sources
		require.Len(t, got, 1)
		require.Equal(t, "of "+a, got[0].Name)
		f.after(time.Minute)
		require.Equal(t, 1, f.attempted(a), "sources are no reason to attach anew")
	}, func(o *node.Options) {
		o.Sources = func(r node.Ref) []agent.Source {
			return []agent.Source{{Name: "of " + r.Name, Handle: func(agent.Event) {}}}
		}
	})
}

func TestSessionOfNode(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		_, err := f.Session(a)
		require.ErrorIs(t, err, node.ErrUnknown)
		f.fail(a, unreachable())
		f.discover(a)
		_, err = f.Session(a)
		state, ok := errors.AsType[*node.StateError](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, node.Down, state.State)
		f.fail(a, nil)
		f.after(time.Minute)
		s, err := f.Session(a)
		require.NoError(t, err)
		answer, err := s.Request(t.Context(), "sasl", nil)
		require.NoError(t, err)
		require.Equal(t, "sasl", answer)
	})
}
