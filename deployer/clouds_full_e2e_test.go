//go:build e2e && e2e_full

package deployer_test

import (
	"context"
	"net/http"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

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
			w := newWorld(t, worldOptions{})
			w.amazon.Calls.Fail(fault())
			w.hp.Calls.Fail(fault())
			w.rackspace.Calls.Fail(fault())
			w.run()
			w.deploySeven()
			w.requireSeven()
			require.Equal(t, []int{2, 2, 2}, w.made(), "never an eighth machine")
			w.removeAll()
			w.requireNothing()
			require.Equal(t, []int{2, 2, 2}, w.made())
		})
	}
}

// made counts the machines that were ever made.
func (w *world) made() []int { return []int{w.amazon.Made(), w.hp.Made(), w.rackspace.Made()} }

// TestCloudsKilled kills the deployer with SIGKILL at every tenth of its run,
// and lets another go on.
func TestCloudsKilled(t *testing.T) {
	t.Parallel()
	const parts = 10
	entries := 0 // of a run that nobody disturbs
	for part := range parts {
		w := newWorld(t, worldOptions{})
		w.deploySeven()
		begin := last(t, w.b)
		if part > 0 {
			w.killAfter(begin, entries*part/parts)
		}
		c := startChild(t, w.dir)
		w.requireSeven()
		if part == 0 {
			entries = int(last(t, w.b) - begin)
		}
		require.Equal(t, []int{2, 2, 2}, w.made(), "killed at %d of %d: never an eighth machine", part, parts)
		w.removeAll()
		w.requireNothing()
		c.end(syscall.SIGTERM)
		require.NoError(t, w.d.Close())
		t.Logf("killed at %d of %d", part, parts)
	}
}

// killAfter kills a deployer when it has written so many entries.
func (w *world) killAfter(begin int64, entries int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	events, leave := w.b.Subscribe(ctx, begin)
	defer leave()
	c := startChild(w.t, w.dir)
	defer c.end(syscall.SIGKILL)
	for event := range events {
		if event.Entry == nil {
			continue
		}
		if entries--; entries <= 0 {
			return
		}
	}
	require.FailNow(w.t, "it did not come that far")
}
