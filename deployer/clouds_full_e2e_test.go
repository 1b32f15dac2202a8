//go:build e2e && e2e_full

package deployer_test

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/fakecloud"
)

// everyThird answers every third call with an error, in turn of each kind.
func everyThird(_ string, n int) *fakecloud.Fault {
	if n%3 != 0 {
		return nil
	}
	return []*fakecloud.Fault{
		{Status: http.StatusInternalServerError, Code: "InternalError", Message: "An internal error has occurred"},
		{Status: http.StatusServiceUnavailable, Code: "RequestLimitExceeded", Message: "Request limit exceeded."},
		{Lose: true},
	}[n/3%3]
}

// loseCreates loses the answer to the first three creates that have succeeded.
func loseCreates() func(string, int) *fakecloud.Fault {
	lost := 0
	return func(op string, _ int) *fakecloud.Fault {
		if op != "RunInstances" && op != "POST servers" || lost == 3 {
			return nil
		}
		lost++
		return &fakecloud.Fault{Lose: true}
	}
}

// TestCloudsWithFaults comes to the same end as without: seven nodes in one
// cluster of seven machines, and then nothing.
func TestCloudsWithFaults(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func() func(string, int) *fakecloud.Fault{
		"every third call fails":                 func() func(string, int) *fakecloud.Fault { return everyThird },
		"creates that succeed and do not answer": loseCreates,
	} {
		t.Run(name, func(t *testing.T) {
			exporter := startExporter(t)
			w := newWorld(t, worldOptions{exporter: exporter.URL})
			w.amazon.Calls.Fail(fault())
			w.hp.Calls.Fail(fault())
			w.rackspace.Calls.Fail(fault())
			w.run()
			w.deploySeven()
			nodes := w.requireSeven()
			requireWatched(t, exporter, nodes)
			require.Equal(t, []int{2, 2, 2}, w.made(), "never an eighth machine")
			w.removeAll()
			w.requireNothing()
			requireForgotten(t, exporter, nodes)
			require.Equal(t, []int{2, 2, 2}, w.made())
		})
	}
}

// TestCloudsKilled kills the deployer with SIGKILL at every tenth of its run, in
// the deployment and then in the deletion, and lets another go on.
func TestCloudsKilled(t *testing.T) {
	t.Parallel()
	const parts = 10
	var up, gone int // entries of a run that nobody disturbs
	met := map[fleet.StepName]int{}
	exporter := startExporter(t)
	for part := range parts {
		w := newWorld(t, worldOptions{exporter: exporter.URL})
		w.deploySeven()
		var nodes []fleet.Node
		n := w.through(up*part/parts, met, func() { nodes = w.requireSeven() })
		requireWatched(t, exporter, nodes)
		require.Equal(t, []int{2, 2, 2}, w.made(), "killed at %d of %d: never an eighth machine", part, parts)
		w.removeAll()
		m := w.through(gone*part/parts, met, w.requireNothing)
		requireForgotten(t, exporter, nodes)
		require.Equal(t, []int{2, 2, 2}, w.made(), "killed at %d of %d: never an eighth machine", part, parts)
		if part == 0 {
			up, gone = n, m
			t.Logf("undisturbed, %d entries to seven nodes and %d to none", up, gone)
		}
		require.NoError(t, w.d.Close())
	}
	t.Logf("steps in the middle of which it was killed: %v", met)
	for _, part := range [][]fleet.StepName{
		{fleet.StepPlace, fleet.StepPrepare, fleet.StepMachine},
		{fleet.StepBoot, fleet.StepConnect, fleet.StepUser, fleet.StepInspect},
		{fleet.StepUpload, fleet.StepInstall, fleet.StepConfigure},
		{fleet.StepStart, fleet.StepAnswer, fleet.StepBootstrap, fleet.StepRegister},
		{fleet.StepDeregister, fleet.StepLeave, fleet.StepStop},
		{fleet.StepClean, fleet.StepDestroy, fleet.StepWithdraw},
	} {
		in := func(step fleet.StepName) bool { return met[step] > 0 }
		require.True(t, slices.ContainsFunc(part, in), "the kills are spread over the whole run, and none was in %v", part)
	}
}

// through runs a deployer in a process of its own until reach returns. Before
// that, another one is killed when it has written so many entries; met counts
// the steps that it was in the middle of. It returns how many entries there are
// more than before.
func (w *world) through(kill int, met map[fleet.StepName]int, reach func()) int {
	w.t.Helper()
	begin := last(w.t, w.b)
	if kill > 0 {
		w.killAfter(begin, kill, met)
	}
	c := startChild(w.t, w.dir)
	reach()
	c.end(syscall.SIGTERM)
	return int(last(w.t, w.b) - begin)
}

// killAfter kills a deployer when it has written so many entries.
func (w *world) killAfter(begin int64, entries int, met map[fleet.StepName]int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	events, leave := w.b.Subscribe(ctx, begin)
	defer leave()
	c := startChild(w.t, w.dir)
	running := map[string]fleet.StepName{} // by subject
	for event := range events {
		e := event.Entry
		if e == nil {
			continue
		}
		switch e.Type {
		case fleet.EntryIntent:
			running[e.Subject] = e.Step
		case fleet.EntryResult:
			delete(running, e.Subject)
		}
		if entries--; entries > 0 {
			continue
		}
		c.end(syscall.SIGKILL)
		for _, step := range running {
			met[step]++
		}
		w.t.Logf("killed in the middle of %v", slices.Sorted(maps.Values(running)))
		return
	}
	c.end(syscall.SIGKILL)
	require.FailNow(w.t, "it did not come that far")
}
