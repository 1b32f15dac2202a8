package engine_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/engine"
	"github.com/erlops/erlops/deployer/fleet"
)

// maxPoints ends a test that would otherwise never find the last point.
const maxPoints = 5000

// TestKilledAtEveryPoint kills the engine after each commit and each call to
// the outside in turn, before it hears of its success, and lets another one go
// on: there are exactly the nodes that were asked for in the end, no machine
// was made twice, and no command was run twice. Then the same while all is
// deleted: nothing is left.
func TestKilledAtEveryPoint(t *testing.T) {
	for name, setUp := range map[string]func(*world, *engine.Engine) set{
		"hosts": func(w *world, e *engine.Engine) set { return w.prepare(e, threeHosts[:2]...) },
		"machines": func(w *world, e *engine.Engine) set {
			w.memory.Boot, w.memory.Settle = 3*time.Second, 2*time.Second
			return w.prepare(e)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			seen := map[string]bool{}
			point := 1
			for ; point < maxPoints; point += stride {
				struck := false
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					defer func() { require.NoError(t, w.db.Close()) }()
					where := w.killedAt(t, setUp, point)
					mu.Lock()
					defer mu.Unlock()
					seen[where[0]], seen[where[1]] = true, true
					struck = where[0] != "" || where[1] != ""
				})
				if !struck || t.Failed() {
					break
				}
			}
			require.Greater(t, point, 60, "there are many points to be killed at")
			t.Logf("killed at %d points, after %v", point/stride, slices.Sorted(maps.Keys(seen)))
			require.True(t, seen["commit"])
		})
	}
}

// killedAt deploys and deletes two nodes, killing the engine once in each, and
// returns after what that was, if it came to it.
func (w *world) killedAt(t *testing.T, setUp func(*world, *engine.Engine) set, point int) [2]string {
	t.Helper()
	o := w.options()
	e, _, stop := w.run(o, 0)
	s := setUp(w, e)
	w.untilIdle(e)
	stop()

	_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 2})
	require.NoError(t, err)
	deploying := w.killOnce(o, point, all(2, fleet.StateUp))
	e, _, stop = w.run(o, 0)
	where := fmt.Sprintf("killed while deploying after %q at point %d", deploying, point)
	nodes := w.until(e, 5*time.Minute, where, all(2, fleet.StateUp))
	require.Len(t, w.memory.Machines(), 2, where)
	require.Equal(t, 2, w.memory.Created(), where)
	require.Len(t, w.watched, 2, where)
	w.requireCluster(t, 2)
	stop()

	for _, n := range nodes {
		_, err := e.Act(t.Context(), n.ID, fleet.ActionDelete)
		require.NoError(t, err)
	}
	require.NoError(t, e.RemoveFamily(t.Context(), s.family.ID, true))
	deleting := w.killOnce(o, point, all(0, ""))
	e, _, stop = w.run(o, 0)
	defer stop()
	where = fmt.Sprintf("killed while deleting after %q at point %d", deleting, point)
	w.until(e, 5*time.Minute, where, all(0, ""))
	w.untilGone(e, s)
	require.Empty(t, w.memory.Machines(), where)
	require.Empty(t, w.watched, where)
	for _, n := range w.nodes() { // what was made is given back with its disk
		require.False(t, n.running, where)
	}
	return [2]string{deploying, deleting}
}

// killOnce runs an engine that is killed at a point, or until all is done, and
// says after what it was killed.
func (w *world) killOnce(o engine.Options, point int, done func([]fleet.Node) bool) string {
	w.t.Helper()
	e, l, stop := w.run(o, point)
	defer stop()
	for range 600 {
		if w.alive() != nil {
			return l.where
		}
		nodes, err := e.Nodes(context.Background(), fleet.NodeFilter{})
		require.NoError(w.t, err)
		if done(nodes) {
			time.Sleep(time.Second)
			return ""
		}
		time.Sleep(500 * time.Millisecond)
	}
	require.FailNow(w.t, "it neither ended nor was killed")
	return ""
}

// untilIdle waits until no task is left.
func (w *world) untilIdle(e *engine.Engine) {
	w.t.Helper()
	for range 600 {
		idle, err := e.Idle(context.Background())
		require.NoError(w.t, err)
		if idle {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	require.FailNow(w.t, "it does not come to rest")
}
