package exporter_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter"
	"github.com/erlops/erlops/internal/erltest"
)

// configure writes a configuration file with a cookie beside it.
func configure(t *testing.T, cookie, text string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cookie"), []byte(cookie), 0o400))
	path := filepath.Join(dir, "erl-exporter.yml")
	require.NoError(t, os.WriteFile(path, []byte("cookie_file: cookie\n"+text), 0o600))
	return path
}

// run starts an exporter and ends it with the test.
func run(t *testing.T, o exporter.Options) (e *exporter.Exporter, url string) {
	t.Helper()
	o.ListenAddresses = []string{"127.0.0.1:0"}
	o.Logger = slog.New(slog.DiscardHandler)
	e, err := exporter.New(o)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
	})
	return e, "http://" + e.Addresses()[0].String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(body)
}

// TestTwoInOneProcess holds the wiring to having no globals: two exporters, each
// with a node of its own, know nothing of each other.
func TestTwoInOneProcess(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"first", "second"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := erltest.Start(t, erltest.Options{})
			_, url := run(t, exporter.Options{ConfigFile: configure(t, n.Cookie, fmt.Sprintf(
				"name: %s@localhost\ntargets: [{name: a, epmd: %q, static_configs: [{targets: [%q]}]}]", name, n.EPMD, n.Name))})
			require.Eventually(t, func() bool {
				_, page := get(t, url+"/probe?target="+n.Name)
				return strings.Contains(page, "\nerlang_up 1\n")
			}, 15*time.Second, 20*time.Millisecond)
			require.Equal(t, "["+name+"@localhost]", n.Eval(t, "nodes(hidden)"))
			_, all := get(t, url+"/metrics/nodes")
			require.Equal(t, 1, strings.Count(all, "\nerlang_up{"), all)
			status, _ := get(t, url+"/-/ready")
			require.Equal(t, http.StatusOK, status)
		})
	}
}

// TestNewRollsBack holds a New that fails to having closed what it opened.
func TestNewRollsBack(t *testing.T) {
	t.Parallel()
	_, url := run(t, exporter.Options{ConfigFile: configure(t, "x", "")})
	file := configure(t, "x", "storage: {path: exporter.db}")
	_, err := exporter.New(exporter.Options{ConfigFile: file, ListenAddresses: []string{strings.TrimPrefix(url, "http://")}})
	require.ErrorContains(t, err, "address already in use")
	// A database that is still open has its journal beside it.
	_, err = os.Stat(filepath.Join(filepath.Dir(file), "exporter.db-wal"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestReloadNeedsRestart lists what a reload refuses to change, all of it at
// once, and that nothing has changed then.
func TestReloadNeedsRestart(t *testing.T) {
	t.Parallel()
	file := configure(t, "x", "name: before@localhost")
	e, url := run(t, exporter.Options{ConfigFile: file})
	require.NoError(t, os.WriteFile(file, []byte(`
cookie_file: cookie
name: after@localhost
storage: {path: exporter.db}
timeouts: {dial: 7s}
limits: {mailbox: 9}
`), 0o600))
	err := e.Reload()
	for _, path := range []string{"name", "storage", "timeouts", "limits"} {
		require.ErrorContains(t, err, path+": a change needs a restart")
	}
	_, config := get(t, url+"/config")
	require.Contains(t, config, "before@localhost")

	// What a reload can change, it changes.
	require.NoError(t, os.WriteFile(file, []byte("cookie_file: cookie\nname: before@localhost\nmetrics: {names: v6}\ntimeouts: {scrape: 3s}\n"), 0o600))
	require.NoError(t, e.Reload())
	_, config = get(t, url+"/config")
	require.Contains(t, config, "names: v6")
}
