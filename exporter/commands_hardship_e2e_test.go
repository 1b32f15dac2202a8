//go:build e2e

package exporter_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api/client"
)

// zeros is a body of so many bytes that is nowhere in memory.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '0'
	}
	return len(b), nil
}

// TestBodiesAndPathsThatAreTooMuch get the right status and a sentence, and
// others are answered after them.
func TestBodiesAndPathsThatAreTooMuch(t *testing.T) {
	t.Parallel()
	c := startCommander(t, allowed)
	for _, path := range []string{callPath, "/api/v1/commands/top-ets", "/api/v1/nodes", "/api/v1/alarms/actions"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.URL+path, io.LimitReader(zeros{}, 100<<20))
		require.NoError(t, err)
		r.ContentLength = 100 << 20
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+operateToken)
		answer, err := http.DefaultClient.Do(r)
		require.NoError(t, err, path)
		text, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, http.StatusRequestEntityTooLarge, answer.StatusCode, "%s: %s", path, text)
		require.Contains(t, string(text), `"detail"`)
	}
	for _, path := range []string{
		"/api/v1/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/api/v1/nodes/..%2f..%2f..%2fetc%2fpasswd", "//etc/passwd", "/api//v1/nodes/",
		"/%00", "/api/v1/nodes/%00", "/api/v1/nodes/%ff@x", "/api/v1/nodes/" + strings.Repeat("a", 20_000), "/\\..\\..\\windows", "/.git/config",
	} {
		page, err := c.TryGet(path, "Authorization", "Bearer "+operateToken)
		require.NoError(t, err, path)
		require.Contains(t, []int{http.StatusBadRequest, http.StatusNotFound}, page.Status, "%.60s: %s", path, page.Body)
		require.NotContains(t, page.Body, "root:")
		require.Contains(t, page.Body, `"detail"`, "%.60s", path)
	}
	require.Equal(t, "[1]", c.one(t, operateToken, callPath, object{"call": "lists:seq(1, 1)"}).Result)
}

// TestScrapesDuringThousandCalls: while a thousand requests for commands that
// take their time are there, Prometheus and people are answered.
func TestScrapesDuringThousandCalls(t *testing.T) {
	t.Parallel()
	c := startCommander(t, allowed)
	n := c.nodes[0]
	n.Eval(t, "ets:new(count, [named_table, public]), ets:insert(count, {n, 0})")
	var calls sync.WaitGroup
	var refused, done atomic.Int64
	for i := range 1000 {
		calls.Go(func() {
			call := "timer:sleep(1000)"
			if i%2 == 0 {
				call = "ets:update_counter(count, n, 1)"
			}
			status, text, err := c.post(t.Context(), operateToken, callPath, object{"nodes": []string{n.Name}, "call": call})
			if err == nil && status == http.StatusTooManyRequests {
				refused.Add(1)
			}
			if i%2 == 0 && strings.Contains(string(text), `"outcome":"ok"`) {
				done.Add(1)
			}
		})
	}
	for range 5 {
		page := c.Probe(c.nodes[1].Name, 10*time.Second)
		require.Contains(t, page.Body, "\nerlang_up 1\n")
		require.Contains(t, c.Probe(n.Name, 10*time.Second).Body, "\nerlang_up 1\n")
		require.Equal(t, http.StatusOK, c.Get("/api/v1/nodes").Status)
		require.Equal(t, http.StatusOK, c.Get("/").Status)
	}
	calls.Wait()
	require.NotZero(t, refused.Load())
	require.Equal(t, fmt.Sprintf("[{n,%d}]", done.Load()), n.Eval(t, "ets:lookup(count, n)"), "each once")
	require.NotZero(t, c.Sample(`erlang_exporter_commands_total{command="call",node="`+n.Name+`",result="ok"}`))
}

// TestAnswersOfGigabytes are ended on the node, which goes on as before.
func TestAnswersOfGigabytes(t *testing.T) {
	t.Parallel()
	c := startCommander(t, allowed)
	n := c.nodes[0]
	for _, call := range []string{"lists:duplicate(1000000000, x)", "erlang:make_tuple(16000000, [])", "lists:seq(1, 1000000000)"} {
		r := c.one(t, operateToken, callPath, object{"call": call})
		require.Contains(t, []client.CommandOutcome{client.CommandOutcomeKilled, client.CommandOutcomeTooLarge}, r.Outcome, "%s: %s", call, r.Error)
		require.NotEmpty(t, r.Error)
	}
	require.Eventually(t, func() bool { return n.Eval(t, "erlang:memory(total) < 256 * 1024 * 1024") == "true" }, 20*time.Second, 50*time.Millisecond)
	require.Contains(t, c.Probe(n.Name, 10*time.Second).Body, "\nerlang_up 1\n")
	state, _ := c.Node(n.Name)
	require.Zero(t, state.Reconnects, "the connection is the same")
}
