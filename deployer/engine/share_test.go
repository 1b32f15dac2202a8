package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/engine"
	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/store"
)

// TestTwoEngines lets two engines share the work: nothing is done twice.
func TestTwoEngines(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.boot = 2 * time.Second
		o := w.options()
		o.Parallelism = 3
		e, _, stop := w.run(o, 0)
		defer stop()
		_, _, stopOther := w.run(o, 0)
		defer stopOther()
		s := w.prepare(e, threeHosts...)
		_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 8})
		require.NoError(t, err)
		w.until(e, 5*time.Minute, "eight are UP", all(8, fleet.StateUp))
		w.requireCluster(t, 8)
		require.Equal(t, 8, w.memory.Created())
	})
}

// stuck is a database that does not take writes while it is stuck: what a
// machine looks like that is suspended and goes on later.
type stuck struct {
	engine.Database
	until func() <-chan struct{}
}

func (s stuck) Update(ctx context.Context, f func(*store.Tx) error) error {
	<-s.until()
	return s.Database.Update(ctx, f)
}

// TestLateEngine suspends an engine in the middle of a step for longer than
// its lease: another one takes over, and when the first goes on, it finds that
// nothing is its own any more.
func TestLateEngine(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		open := make(chan struct{})
		close(open)
		gate := open
		late := w.options()
		late.Store = stuck{w.db, func() <-chan struct{} {
			w.mu.Lock()
			defer w.mu.Unlock()
			return gate
		}}
		e, _, stop := w.run(late, 0)
		defer stop()
		s := w.prepare(e, threeHosts...)
		w.untilIdle(e)
		w.boot = 5 * time.Second
		_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 2})
		require.NoError(t, err)
		w.until(e, time.Minute, "they are being started", func([]fleet.Node) bool { return len(w.nodes()) == 2 && w.nodes()[0].starts > 0 })
		closed := make(chan struct{})
		w.mu.Lock()
		gate = closed
		w.mu.Unlock()
		other, _, stopOther := w.run(w.options(), 0)
		defer stopOther()
		w.until(other, 2*time.Minute, "the other brings them UP", all(2, fleet.StateUp))
		w.mu.Lock()
		gate = open
		w.mu.Unlock()
		close(closed)
		time.Sleep(time.Minute)
		w.until(other, time.Minute, "nothing has changed", all(2, fleet.StateUp))
		w.requireCluster(t, 2)
	})
}

// slow is a database that now and then takes longer for a write than a lease
// lasts, and lets all others wait for that.
type slow struct {
	engine.Database
	turn   chan struct{} // a mutex that virtual time passes under
	writes int
}

func (s *slow) Update(ctx context.Context, f func(*store.Tx) error) error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.writes++; s.writes%25 == 0 {
		time.Sleep(4 * time.Second)
	}
	return s.Database.Update(ctx, f)
}

// TestSlowStorage lets leases run out that nobody else takes: the engine neither
// does a thing twice nor gets into its own way.
func TestSlowStorage(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		o := w.options()
		o.Lease = 3 * time.Second
		o.Store = &slow{Database: w.db, turn: make(chan struct{}, 1)}
		e, _, stop := w.run(o, 0)
		defer stop()
		s := w.prepare(e, threeHosts...)
		_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 4})
		require.NoError(t, err)
		w.until(e, 20*time.Minute, "four are UP", all(4, fleet.StateUp))
		w.requireCluster(t, 4)
	})
}

// TestStoppedEngine gives its tasks back, so that another goes on at once.
func TestStoppedEngine(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.boot = 30 * time.Second
		e, _, stop := w.run(w.options(), 0)
		s := w.prepare(e, threeHosts...)
		_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 1})
		require.NoError(t, err)
		w.until(e, time.Minute, "it is being started", func(n []fleet.Node) bool {
			step, _ := n[0].Task.Current()
			return step.Name == fleet.StepAnswer
		})
		stop()
		require.NoError(t, w.db.View(t.Context(), func(tx *store.Tx) error {
			tasks, err := tx.Tasks()
			require.Len(t, tasks, 1)
			require.Empty(t, tasks[0].Holder)
			return err
		}))
		e, _, stop = w.run(w.options(), 0)
		defer stop()
		w.until(e, time.Minute, "it is UP", all(1, fleet.StateUp))
	})
}
