package exporter_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter"
)

// TestListenersWithRoles serves at three sockets; the same token may do more or
// less at each.
func TestListenersWithRoles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "erl-exporter.yml")
	config := `
name: erl_exporter_listeners@127.0.0.1
cookie: unimportant
storage: {path: db}
web:
  listeners:
  - {address: 'unix:` + dir + `/reading', max_role: read}
  - {address: 'unix:` + dir + `/operating', max_role: operate}
  - {address: 'unix:` + dir + `/all'}
auth:
  unauthenticated_role: read
  tokens: [{name: admin, role: admin, token: token-of-an-administrator}]
commands: {enabled: true, allow: {operate: ['erlang:node/0'], command: ['os:cmd/1']}}
targets: [{name: t, epmd: '127.0.0.1:1', static_configs: [{targets: ['nobody@127.0.0.1']}]}]
`
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	o := exporter.Options{ConfigFile: file, Logger: slog.New(slog.DiscardHandler)}
	both := o
	both.ListenAddresses = []string{"127.0.0.1:0"}
	require.ErrorContains(t, exporter.Check(both), "--web.listen-address: the configuration has web.listeners; use one of the two")
	e, err := exporter.New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})

	require.Eventually(t, func() bool {
		status, _ := askSocket(t, filepath.Join(dir, "reading"), "GET /api/v1/nodes/nobody@127.0.0.1", "")
		return status == http.StatusOK
	}, 20*time.Second, 20*time.Millisecond)

	const call = "POST /api/v1/commands/call"
	for _, tt := range []struct {
		socket, request, body string
		status                int
		says                  string
	}{
		{"reading", "GET /metrics", "", 200, "go_goroutines"},
		{"reading", "POST /-/reload", "", 403, `nobody has more than \"read\" at this address`},
		{"reading", "GET /debug/pprof/cmdline", "", 403, `needs the role \"admin\"`},
		{"reading", "POST /api/v1/nodes/nobody@127.0.0.1/suspend", "", 403, "at this address"},
		{"reading", call, "{}", 403, "at this address"},
		{"operating", "GET /debug/pprof/cmdline", "", 403, `nobody has more than \"operate\"`},
		{"operating", call, `{"nodes": ["nobody@127.0.0.1"], "call": "erlang:node()"}`, 200, "unavailable"},
		{"operating", call, `{"nodes": ["nobody@127.0.0.1"], "call": "os:cmd(\"id\")"}`, 403, `he role \"operate\" may not call os:cmd/1`},
		{"all", call, `{"nodes": ["nobody@127.0.0.1"], "call": "os:cmd(\"id\")"}`, 200, "unavailable"},
		{"all", "GET /debug/pprof/cmdline", "", 200, ""},
		{"all", "POST /-/reload", "", 200, "was loaded"},
	} {
		status, text := askSocket(t, filepath.Join(dir, tt.socket), tt.request, tt.body)
		require.Equal(t, tt.status, status, "%s at %s: %s", tt.request, tt.socket, text)
		require.Contains(t, text, tt.says)
	}

	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(config, "max_role: read", "max_role: admin", 1)), 0o600))
	require.ErrorContains(t, e.Reload(), "web: a change needs a restart of the exporter")
}

// askSocket sends a request of the administrator.
func askSocket(t *testing.T, socket, request, body string) (status int, text string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	method, path, _ := strings.Cut(request, " ")
	r, err := http.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer token-of-an-administrator")
	r.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(b)
}
