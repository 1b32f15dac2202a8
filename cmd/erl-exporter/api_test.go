package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api"
	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/clikit"
	"github.com/erlops/erlops/internal/erltest"
)

const operator = "operator-token-of-the-test"

// writableConfig is a configuration whose API may be written to.
func writableConfig(t *testing.T, n *erltest.Node) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "erl-exporter.yml")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, `
cookie_file: %s
storage: {path: exporter.db}
auth:
  unauthenticated_role: read
  tokens: [{name: operator, role: operate, token: %s}]
`, cookieFile(t, n), operator), 0o600))
	return path
}

func apiClient(t *testing.T, p *process, token string) *client.ClientWithResponses {
	t.Helper()
	c, err := client.NewClientWithResponses(p.url+api.Prefix, client.WithRequestEditorFn(
		func(_ context.Context, r *http.Request) error {
			if token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
			}
			return nil
		}))
	require.NoError(t, err)
	return c
}

// TestRegisteredNodeSurvivesRestart adds a node through the API, suspends and
// resumes it, and finds all of that again after a restart.
func TestRegisteredNodeSurvivesRestart(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	file := writableConfig(t, n)
	p := start(t, "--config.file", file)

	refused, err := apiClient(t, p, "").AddNodeWithResponse(t.Context(), client.NodeRegistration{Name: n.Name, EPMD: n.EPMD})
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, refused.StatusCode(), "anybody may add nodes")

	c := apiClient(t, p, operator)
	added, err := c.AddNodeWithResponse(t.Context(), client.NodeRegistration{
		Name: n.Name, EPMD: n.EPMD, Family: "shop", Labels: map[string]string{"site": "lab"},
	})
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, added.StatusCode(), string(added.Body))
	p.awaitUp(t, n.Name)
	suspended, err := c.SuspendNodeWithResponse(t.Context(), n.Name)
	require.NoError(t, err)
	require.Less(t, suspended.StatusCode(), 300, string(suspended.Body))
	require.Equal(t, "[]", n.Eval(t, agentTraces), "the agent of a suspended node")

	p.signal(t, syscall.SIGTERM)
	require.Zero(t, p.awaitEnd(t))
	p = start(t, "--config.file", file)
	c = apiClient(t, p, operator)
	var node *client.Node
	require.Eventually(t, func() bool {
		got, err := c.GetNodeWithResponse(t.Context(), n.Name)
		if err == nil {
			node = got.JSON200
		}
		return node != nil
	}, 10*time.Second, 20*time.Millisecond)
	require.Equal(t, client.StateSuspended, node.State)
	require.Equal(t, "shop", node.Family)
	require.Equal(t, map[string]string{"site": "lab"}, node.Labels)

	_, err = c.ResumeNodeWithResponse(t.Context(), n.Name)
	require.NoError(t, err)
	p.awaitUp(t, n.Name)
	removed, err := c.RemoveNodeWithResponse(t.Context(), n.Name)
	require.NoError(t, err)
	require.Equal(t, http.StatusNoContent, removed.StatusCode(), string(removed.Body))
	require.Equal(t, "[]", n.Eval(t, agentTraces), "the agent of a removed node")
	status, _ := p.get(t, "/probe?target="+n.Name)
	require.Equal(t, http.StatusNotFound, status)
}

// TestProbeStatus is what a scraper gets for each kind of target.
func TestProbeStatus(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	p := start(t, "--node", n.Name, "--node", "nobody@localhost", "--cookie-file", cookieFile(t, n), "--epmd", n.EPMD)
	p.awaitUp(t, n.Name)
	for _, tc := range []struct {
		name, query string
		status      int
		contains    string
	}{
		{"up", "?target=" + n.Name, http.StatusOK, "\nerlang_up 1\n"},
		{"down", "?target=nobody@localhost", http.StatusOK, "\nerlang_up 0\n"},
		{"missing", "", http.StatusBadRequest, "target"},
		{"unknown", "?target=stranger@localhost", http.StatusNotFound, "stranger@localhost"},
		{"debug", "?target=" + n.Name + "&debug=true", http.StatusOK, "Log"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			status, body := p.get(t, "/probe"+tc.query)
			require.Equal(t, tc.status, status, body)
			require.Contains(t, body, tc.contains)
			require.NotContains(t, body, n.Cookie)
		})
	}
}

// TestReload changes the configuration under a running exporter.
func TestReload(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	file := filepath.Join(t.TempDir(), "erl-exporter.yml")
	write := func(targets string) {
		require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "cookie_file: %s\ntargets:\n%s", cookieFile(t, n), targets), 0o600))
	}
	group := "- {name: a, epmd: '" + n.EPMD + "', static_configs: [{targets: [" + n.Name + "]}]}\n"
	write(group)
	p := start(t, "--config.file", file)
	p.awaitUp(t, n.Name)

	write("- {nmae: a}\n")
	p.signal(t, syscall.SIGHUP)
	require.Eventually(t, func() bool { return strings.Contains(p.output(), "nmae") }, 10*time.Second, 10*time.Millisecond,
		"a wrong file is not told")
	_, own := p.get(t, "/metrics")
	require.Contains(t, own, "erlang_exporter_config_last_reload_successful 0")
	p.awaitUp(t, n.Name)

	write("- {name: a, static_configs: [{targets: [other@localhost]}]}\n")
	p.signal(t, syscall.SIGHUP)
	require.Eventually(t, func() bool {
		status, _ := p.get(t, "/probe?target="+n.Name)
		return status == http.StatusNotFound
	}, 10*time.Second, 20*time.Millisecond, "the node is still a target")
	require.Eventually(t, func() bool {
		left, err := n.TryEval(agentTraces)
		return err == nil && left == "[]"
	}, 5*time.Second, 20*time.Millisecond, "the agent has not left")
	_, own = p.get(t, "/metrics")
	require.Contains(t, own, "erlang_exporter_config_last_reload_successful 1")
}

// TestBadInput is told in full, and nothing is started.
func TestBadInput(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "erl-exporter.yml")
	require.NoError(t, os.WriteFile(file, []byte(`
cookie: x
scrape: everything
timeouts: {dial: soon}
targets:
- name: a
  static_configs: [{targets: [a@b@c, n@h, n@h]}]
- name: b
  cookie_file: nowhere
  static_configs: [{targets: [m@h]}]
`), 0o600))
	for _, tc := range []struct {
		name string
		args []string
		want []string
	}{
		{"configuration", []string{"--config.file", file}, []string{
			`scrape`, `timeouts.dial`, `a@b@c`, `n@h`, `targets[1].cookie_file`, `nowhere: no such file or directory`,
		}},
		{"everything at once", []string{"--config.file", file, "--web.external-url", "foo", "--web.config.file", "nowhere.yml"}, []string{
			`targets[1].cookie_file`, `--web.external-url: "foo"`, `nowhere.yml: no such file or directory`,
		}},
		{"checked only", []string{"--config.file", file, "--config.check"}, []string{`targets[1].cookie_file`, `a@b@c`}},
		{"nothing to do", nil, []string{"--config.file", "--node"}},
		{"both", []string{"--config.file", file, "--node", "n@h"}, []string{"without a file"}},
		{"no cookie file", []string{"--node", "n@h", "--cookie-file", "nowhere"}, []string{"--cookie-file: open nowhere: no such file or directory"}},
		{"level", []string{"--node", "n@h", "--log.level", "loud"}, []string{"--log.level", "loud"}},
		{"argument", []string{"serve"}, []string{`unknown argument "serve"`}},
	} {
		// One after the other: the flag for help is a variable of the library.
		t.Run(tc.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			p := &program{stdout: &stdout, stderr: &stderr, now: time.Now, getenv: func(string) string { return "" }}
			code := p.run(t.Context(), append([]string{"erl-exporter"}, tc.args...))
			require.Contains(t, []int{clikit.ExitFailed, clikit.ExitUsage}, code)
			for _, want := range tc.want {
				require.Contains(t, stderr.String(), want)
			}
			require.NotContains(t, stderr.String(), "starting")
		})
	}
}
