//go:build e2e

package exporter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
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
	require.NotZero(t, c.Sample(`erlang_exporter_commands_total{outcome="ok"}`))
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

// TestReleasesCommand asks release_handler, where it runs.
func TestReleasesCommand(t *testing.T) {
	t.Parallel()
	c := startCommander(t, allowed)
	const path = "/api/v1/commands/releases"
	r := c.one(t, operateToken, path, object{})
	require.Equal(t, client.CommandOutcomeRaised, r.Outcome)
	require.Contains(t, r.Error, "release_handler_does_not_run")
	c.nodes[0].Eval(t, "{ok, _} = application:ensure_all_started(sasl)")
	r = c.one(t, operateToken, path, object{})
	require.Equal(t, client.CommandOutcomeOk, r.Outcome, r.Error)
	require.Contains(t, r.Result, "status => permanent")
	require.Contains(t, r.Result, "name => ")
}

// TestReloadOfWhoMayWhat changes the allow list and the roles of tokens by a
// signal and by HTTP.
func TestReloadOfWhoMayWhat(t *testing.T) {
	t.Parallel()
	c := startCommander(t, allowed)
	body := object{"nodes": []string{c.nodes[0].Name}, "call": "erlang:node()"}
	allows := func(token string) bool {
		status, text, err := c.post(t.Context(), token, callPath, body)
		require.NoError(t, err)
		require.Contains(t, []int{http.StatusOK, http.StatusForbidden, http.StatusUnauthorized}, status, string(text))
		return status == http.StatusOK
	}
	require.True(t, allows(operateToken))
	text, err := os.ReadFile(filepath.Join(c.Dir, "erl-exporter.yml"))
	require.NoError(t, err)
	change := func(from, to string) {
		require.Contains(t, string(text), from)
		text = []byte(strings.Replace(string(text), from, to, 1))
		c.Write("erl-exporter.yml", string(text))
	}

	change("'erlang:node/0', ", "")
	c.Signal(syscall.SIGHUP)
	require.Eventually(t, func() bool { return !allows(operateToken) }, 20*time.Second, 20*time.Millisecond, "the function is off the list")
	change("['os:*/*']", "['os:*/*', 'erlang:node/0']")
	c.Post("/-/reload", operateToken)
	require.False(t, allows(operateToken))
	require.True(t, allows(commandToken))
	change("{name: operator, role: operate", "{name: operator, role: command")
	c.Post("/-/reload", operateToken)
	require.True(t, allows(operateToken), "the token has another role")
	change("{name: commander, role: command", "{name: commander, role: read")
	c.Post("/-/reload", operateToken)
	require.False(t, allows(commandToken))

	change("['os:*/*', 'erlang:node/0']", "['os:*/*', 'nonsense']")
	page, err := c.TryGet("/-/ready")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, page.Status)
	status, answer, err := c.post(context.WithoutCancel(t.Context()), operateToken, "/-/reload", object{})
	require.NoError(t, err)
	require.Equal(t, http.StatusInternalServerError, status)
	require.Contains(t, string(answer), "nonsense")
	require.True(t, allows(operateToken), "a wrong list changes nothing")
}

// TestAuditLogRotates begins new files and keeps as many as it may, all private.
func TestAuditLogRotates(t *testing.T) {
	t.Parallel()
	c := startCommanderAudited(t, allowed, ", max_size: 64KiB, max_files: 2")
	begun := time.Now().UTC()
	// More than all files together may have: a result is cut at 4 KiB.
	for range 70 {
		r := c.one(t, operateToken, callPath, object{"call": "lists:seq(1, 3000)"})
		require.Equal(t, client.CommandOutcomeOk, r.Outcome)
	}
	files, err := filepath.Glob(c.audit + "*")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{c.audit, c.audit + ".1", c.audit + ".2"}, files)
	for _, file := range files {
		info, err := os.Stat(file)
		require.NoError(t, err)
		// Full is a file after the line that fills it.
		require.LessOrEqual(t, info.Size(), int64(64<<10+8<<10), file)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), file)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			var record struct {
				Time           time.Time
				Event, Outcome string
			}
			require.NoError(t, json.Unmarshal([]byte(line), &record), "lines are whole")
			require.False(t, record.Time.Before(begun.Add(-time.Minute)))
			require.Contains(t, []string{"start", "end"}, record.Event)
		}
	}
}
