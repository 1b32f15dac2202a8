package exporter_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// The tokens of the tests.
const (
	readToken    = "token-of-role-read----"
	operateToken = "token-of-role-operate-"
	commandToken = "token-of-role-command-"
)

// commander is an exporter that may run commands on two nodes.
type commander struct {
	*exportertest.Process
	audit string
	nodes []*erltest.Node
}

func startCommander(t *testing.T, commands string) *commander {
	t.Helper()
	return startCommanderAudited(t, commands, "")
}

// startCommanderAudited has more keys of the audit log.
func startCommanderAudited(t *testing.T, commands, auditKeys string) *commander {
	t.Helper()
	epmd := erltest.StartEPMD(t)
	a := erltest.Start(t, erltest.Options{EPMD: epmd})
	b := erltest.Start(t, erltest.Options{EPMD: epmd, Cookie: a.Cookie})
	audit := filepath.Join(t.TempDir(), "audit.log")
	p := exportertest.Start(t, exportertest.Options{
		Config: fmt.Sprintf(`
cookie_file: cookie
storage: {path: db}
auth:
  unauthenticated_role: read
  tokens:
  - {name: reader, role: read, token: %s}
  - {name: operator, role: operate, token: %s}
  - {name: commander, role: command, token: %s}
commands:
  audit: {path: '%s'%s}
%s
targets: [{name: t, family: shop, epmd: '%s', static_configs: [{targets: ['%s', '%s', 'nobody@127.0.0.1']}]}]
`, readToken, operateToken, commandToken, audit, auditKeys, commands, epmd.Address(), a.Name, b.Name),
		Files: map[string]string{"cookie": a.Cookie},
	})
	p.AwaitUp(a.Name, 30*time.Second)
	p.AwaitUp(b.Name, 30*time.Second)
	return &commander{Process: p, audit: audit, nodes: []*erltest.Node{a, b}}
}

const allowed = `
  enabled: true
  timeout: 20s
  allow:
    operate: ['lists:seq/*', 'erlang:node/0', 'timer:sleep/1', 'erlang:make_tuple/2', 'lists:duplicate/2', 'erlang:error/1', 'binary:copy/2', 'ets:update_counter/3', 'maps:from_list/1']
    command: ['os:*/*']`

// post sends a request as somebody and returns the status and the body. An
// answer that openapi.yaml does not describe is an error.
func (c *commander) post(ctx context.Context, token, path string, body any) (int, []byte, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	var b bytes.Buffer
	if _, err = b.ReadFrom(answer.Body); err == nil {
		if wrong := asDocumented(answer, b.Bytes()); wrong != nil {
			return 0, nil, fmt.Errorf("%d from %s is not as openapi.yaml says: %w", answer.StatusCode, path, wrong)
		}
	}
	return answer.StatusCode, b.Bytes(), err
}

type object = map[string]any

func (c *commander) results(t *testing.T, token, path string, body object) client.CommandResults {
	t.Helper()
	status, text, err := c.post(t.Context(), token, path, body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, string(text))
	var results client.CommandResults
	require.NoError(t, json.Unmarshal(text, &results))
	return results
}

// one runs a command on the first node.
func (c *commander) one(t *testing.T, token, path string, body object) client.CommandResult {
	t.Helper()
	body["nodes"] = []string{c.nodes[0].Name}
	results := c.results(t, token, path, body)
	require.Len(t, results.Results, 1)
	return results.Results[0]
}

func (c *commander) refused(t *testing.T, status int, says, token, path string, body object) {
	t.Helper()
	got, text, err := c.post(t.Context(), token, path, body)
	require.NoError(t, err)
	require.Equal(t, status, got, string(text))
	require.Contains(t, string(text), says)
}

const callPath = "/api/v1/commands/call"

func TestCommandsAreOffByDefault(t *testing.T) {
	t.Parallel()
	c := startCommander(t, "")
	body := object{"nodes": []string{c.nodes[0].Name}, "call": "erlang:node()"}
	c.refused(t, http.StatusServiceUnavailable, "commands.enabled", commandToken, callPath, body)
	c.refused(t, http.StatusServiceUnavailable, "commands.enabled", commandToken, "/api/v1/commands/top-ets", object{"families": []string{"shop"}})
}

func TestCalls(t *testing.T) {
	t.Parallel()
	c := startCommander(t, allowed)

	// A family in parallel, with a node that is not there.
	all := c.results(t, operateToken, callPath, object{"families": []string{"shop"}, "nodes": []string{c.nodes[0].Name}, "call": "erlang:node()"})
	require.Len(t, all.Results, 3)
	require.Equal(t, 2, all.Succeeded)
	for _, r := range all.Results {
		if r.Node == "nobody@127.0.0.1" {
			require.Equal(t, client.CommandOutcomeUnavailable, r.Outcome)
			require.Contains(t, r.Error, "nobody")
			continue
		}
		require.Contains(t, r.Result, strings.SplitN(r.Node, "@", 2)[0])
	}

	require.Equal(t, "[1,3,5]", c.one(t, operateToken, callPath, object{"call": "lists:seq(1, 5, 2)"}).Result)
	r := c.one(t, operateToken, callPath, object{"call": "maps:from_list/1", "arguments": []any{[]any{}}, "format": "json"})
	require.Equal(t, client.CommandOutcomeOk, r.Outcome, r.Error)
	r = c.one(t, operateToken, callPath, object{"call": "lists:duplicate/2", "arguments": []any{2, object{"a": 1}}, "format": "json"})

	require.Equal(t, []any{object{"a": 1.0}, object{"a": 1.0}}, r.JSON)

	// What goes wrong on a node.
	r = c.one(t, operateToken, callPath, object{"call": "erlang:error({oops, 1})"})
	require.Equal(t, client.CommandOutcomeRaised, r.Outcome)
	require.Contains(t, r.Error, "error: {oops,1}")
	begun := time.Now()
	r = c.one(t, operateToken, callPath, object{"call": "timer:sleep(infinity)", "timeout_seconds": 0.3})
	require.Equal(t, client.CommandOutcomeTimeout, r.Outcome)
	require.Less(t, time.Since(begun), 15*time.Second)
	r = c.one(t, operateToken, callPath, object{"call": "lists:seq(1, 10000000)"})
	require.Equal(t, client.CommandOutcomeKilled, r.Outcome, r.Error)
	r = c.one(t, operateToken, callPath, object{"call": "binary:copy(<<\"x\">>, 300000000)"})
	require.Equal(t, client.CommandOutcomeTooLarge, r.Outcome, r.Error)
	require.Contains(t, r.Error, "at most 1048576 are told")
	require.Equal(t, "[1]", c.one(t, operateToken, callPath, object{"call": "lists:seq(1, 1)"}).Result)

	// What is refused before anything runs.
	node := []string{c.nodes[0].Name}
	c.refused(t, 400, "line 1, column 13: a term is expected, not", operateToken, callPath, object{"nodes": node, "call": "lists:seq(1,)"})
	c.refused(t, 400, "takes 3 arguments, and there are 0", operateToken, callPath, object{"nodes": node, "call": "lists:seq/3"})
	c.refused(t, 400, "at least one node or family", operateToken, callPath, object{"call": "erlang:node()"})
	c.refused(t, 404, `typo@x\" is known`, operateToken, callPath, object{"nodes": []string{"typo@x"}, "call": "erlang:node()"})
	c.refused(t, 404, `a family \"none\"`, operateToken, callPath, object{"families": []string{"none"}, "call": "erlang:node()"})
	c.refused(t, 403, `may not call os:cmd/1`, operateToken, callPath, object{"nodes": node, "call": `os:cmd("id")`})
	c.refused(t, 403, "needs the role", readToken, callPath, object{"nodes": node, "call": "erlang:node()"})
	c.refused(t, 400, "must be a number", operateToken, callPath, object{"nodes": node, "call": "erlang:node()", "timeout_seconds": "x"})
	c.refused(t, 413, "too large", operateToken, callPath, object{"nodes": node, "call": strings.Repeat("x", 1<<20)})
	c.refused(t, 401, "are wrong", "no such token at all", callPath, object{"nodes": node, "call": "erlang:node()"})
	require.Equal(t, client.CommandOutcomeOk, c.one(t, commandToken, callPath, object{"call": "os:type()"}).Outcome)

	log := c.auditLog(t)
	require.Contains(t, log, `"user":"operator","role":"operate","node":"`+c.nodes[0].Name+`","command":"call","function":"lists:seq/3","outcome":"ok","result":"[1,3,5]"`)
	require.Contains(t, log, `"event":"denied","user":"operator"`)
	require.Contains(t, log, `"outcome":"timeout"`)
	info, err := os.Stat(c.audit)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func (c *commander) auditLog(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(c.audit)
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		require.True(t, json.Valid([]byte(line)), line)
	}
	return string(text)
}

// TestCallThatNobodyWaitsFor is ended on the node.
func TestCallThatNobodyWaitsFor(t *testing.T) {
	t.Parallel()
	c := startCommander(t, allowed)
	const sleepers = `length([P || P <- processes(), {current_function, {timer, sleep, 1}} <- [process_info(P, current_function)]])`
	n := c.nodes[0]
	before := n.Eval(t, sleepers)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, _, err := c.post(ctx, operateToken, callPath, object{"nodes": []string{n.Name}, "call": "timer:sleep(infinity)"})
		done <- err
	}()
	require.Eventually(t, func() bool { return n.Eval(t, sleepers) != before }, 15*time.Second, 20*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	// Its own deadline is 20 s.
	require.Eventually(t, func() bool { return n.Eval(t, sleepers) == before }, 15*time.Second, 20*time.Millisecond)
	require.Eventually(t, func() bool { return strings.Contains(c.auditLog(t), `"outcome":"given_up"`) }, 10*time.Second, 20*time.Millisecond)
}

// TestThousandCallsAtOnce: some run, each once, the others are told to come
// again, and what else is asked is answered.
func TestThousandCallsAtOnce(t *testing.T) {
	t.Parallel()
	c := startCommander(t, allowed)
	n := c.nodes[0]
	n.Eval(t, "ets:new(count, [named_table, public]), ets:insert(count, {n, 0})")
	var mu sync.Mutex
	statuses := map[int]int{}
	ran := 0
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			status, text, err := c.post(t.Context(), operateToken, callPath, object{"nodes": []string{n.Name}, "call": "ets:update_counter(count, n, 1)"})
			mu.Lock()
			defer mu.Unlock()
			// Some do not get through; none gets what is not described.
			if err == nil || strings.Contains(err.Error(), "openapi") {
				statuses[status]++
			}
			if bytes.Contains(text, []byte(`"outcome":"ok"`)) {
				ran++
			}
		})
	}
	wg.Wait()
	for status := range statuses {
		require.Contains(t, []int{http.StatusOK, http.StatusTooManyRequests}, status, "%v", statuses)
	}
	require.NotZero(t, ran)
	require.Equal(t, fmt.Sprintf("[{n,%d}]", ran), n.Eval(t, "ets:lookup(count, n)"))
	require.Equal(t, "[1]", c.one(t, operateToken, callPath, object{"call": "lists:seq(1, 1)"}).Result)
}

func TestReadyMadeCommands(t *testing.T) {
	t.Parallel()
	c := startCommander(t, allowed)
	n := c.nodes[0]
	run := func(token, command string, body object) client.CommandResult {
		t.Helper()
		r := c.one(t, token, "/api/v1/commands/"+command, body)
		require.Equal(t, client.CommandOutcomeOk, r.Outcome, "%s: %s", command, r.Error)
		return r
	}
	pid := n.Eval(t, `begin P = spawn(fun() -> register(victim, self()), put(colour, <<"secret value">>), receive stop -> ok end end),
		timer:sleep(100), P ! <<"a private message">>, P end`)
	pid = strings.Trim(pid, `"`)
	for _, process := range []string{"victim", pid} {
		r := run(operateToken, "inspect-process", object{"process": process})
		require.Contains(t, r.Result, "registered_name => victim")
		require.Contains(t, r.Result, "dictionary_keys => [colour]")
		require.Contains(t, r.Result, "message_queue_len => 1")
		require.Contains(t, r.Result, "current_stacktrace")
		require.NotContains(t, r.Result, "secret value")
		require.NotContains(t, r.Result, "private message")
	}
	require.Contains(t, run(operateToken, "garbage-collect", object{"process": "victim"}).Result, "memory_after_bytes => ")
	require.Contains(t, run(operateToken, "soft-purge", object{"module": "lists"}).Result, "purged => true")
	require.Contains(t, run(operateToken, "top-ets", object{"count": 3}).Result, "memory_bytes => ")
	require.Contains(t, run(operateToken, "applications", object{}).Result, "name => kernel")
	n.Eval(t, `[application:set_env(kernel, K, V) || {K, V} <- [{my_password, "hunter2"}, {url, "amqp://u:hunter2@host"}, {nested, [{token, hunter2}, {shown, yes}]}]]`)
	env := run(operateToken, "application-env", object{"application": "kernel"}).Result
	require.NotContains(t, env, "hunter2")
	require.Contains(t, env, "my_password => '<secret>'")
	require.Contains(t, env, "{shown,yes}")
	require.NotContains(t, c.auditLog(t), "hunter2")
	require.NotContains(t, c.auditLog(t), "private message")

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "fresh.erl"), []byte("-module(fresh).\n-export([f/0]).\nf() -> 1.\n"), 0o600))
	n.Eval(t, fmt.Sprintf("begin timer:sleep(1100), {ok, fresh} = compile:file(%q, [{outdir, %q}]), code:add_path(%q), code:load_file(fresh) end", filepath.Join(dir, "fresh"), dir, dir))
	require.Contains(t, run(operateToken, "changed-code", object{}).Result, "module => fresh")

	// The state only for those who may command, in time, and not of everybody.
	c.refused(t, 403, `needs the role`, operateToken, "/api/v1/commands/process-state", object{"nodes": []string{n.Name}, "process": "kernel_sup"})
	require.Contains(t, run(commandToken, "process-state", object{"process": "kernel_safe_sup"}).Result, "state,")
	r := c.one(t, commandToken, "/api/v1/commands/process-state", object{"process": "victim", "timeout_seconds": 0.5})
	require.Contains(t, []client.CommandOutcome{client.CommandOutcomeTimeout, client.CommandOutcomeRaised}, r.Outcome)
	for _, missing := range []object{{"process": "nobody_here"}, {"process": "<0.9999.0>"}, {"process": "<nonsense"}} {
		r := c.one(t, operateToken, "/api/v1/commands/inspect-process", missing)
		require.Equal(t, client.CommandOutcomeRaised, r.Outcome)
		require.Contains(t, r.Error, "no_such_process")
	}
	c.refused(t, 400, "needs the name of a process", operateToken, "/api/v1/commands/inspect-process", object{"nodes": []string{n.Name}})
	c.refused(t, 400, "must be one of", operateToken, "/api/v1/commands/halt", object{"nodes": []string{n.Name}})
	c.refused(t, 400, "must be one of", operateToken, "/api/v1/commands/..%2f..%2fdebug%2fpprof", object{})
}
