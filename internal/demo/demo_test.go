package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

// TestMain lets the test's own program play the exporter, which is told by the
// flags that only the exporter gets, and the demo that is killed.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 2 && strings.HasPrefix(os.Args[1], "--config.file="):
		_, address, _ := strings.Cut(os.Args[2], "=")
		serveExporter(address)
	case os.Getenv("DEMO_VICTIM") == "1":
		err := run(context.Background(), options{exporter: os.Args[0], listen: os.Getenv("DEMO_LISTEN"), out: os.Stdout})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	default:
		os.Exit(m.Run())
	}
}

func serveExporter(address string) {
	_ = http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "# TYPE erlang_up gauge\nerlang_up 1\n")
	}))
}

func TestNodesWork(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "mnesia")
	dir := t.TempDir()
	require.NoError(t, compile(t.Context(), dir))
	epmd := erltest.StartEPMD(t)
	running := map[string]*erltest.Node{}
	for _, n := range nodes {
		name, host, _ := strings.Cut(n.name, "@")
		running[name] = erltest.Start(t, erltest.Options{
			Name: name, Host: host, EPMD: epmd, Cookie: "demo", Args: append([]string{"-pa", dir}, n.start...),
		})
	}
	for node, becomesTrue := range map[string]string{
		"stock":  "mnesia:system_info(transaction_commits) > 20 andalso mnesia:table_info(order, size) > 10",
		"shop":   "ets:info(baskets, size) > 0",
		"office": "element(2, process_info(whereis(office), message_queue_len)) =:= 0 andalso erlang:memory(binary) > 1000000",
	} {
		require.Eventually(t, func() bool { return running[node].Eval(t, becomesTrue) == "true" },
			20*time.Second, 100*time.Millisecond, node)
	}
}

// lines is an output that can be waited for.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

var folder = regexp.MustCompile(`/\S*erlops-demo-\d+`)

func TestRunAndInterrupt(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "mnesia")
	// The address is taken, so the demo has to choose another one.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	var out lines
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, options{exporter: os.Args[0], listen: l.Addr().String(), out: &out})
	}()
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "Ctrl-C ends") }, time.Minute, 50*time.Millisecond)
	require.Contains(t, out.String(), l.Addr().String()+" is taken, the exporter listens on 127.0.0.1:")
	dir := folder.FindString(out.String())
	require.NotEmpty(t, workers(t, dir))
	requireSecret(t, filepath.Join(dir, ".erlang.cookie"))

	interrupt()
	require.NoError(t, <-done)
	require.NoDirExists(t, dir)
	require.Empty(t, workers(t, dir))
}

func requireSecret(t *testing.T, file string) {
	t.Helper()
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// workers lists the processes that work in a directory.
func workers(t *testing.T, dir string) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	require.NoError(t, err)
	var found []string
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, dir) {
			found = append(found, link)
		}
	}
	return found
}

func TestKilledDemoLeavesNothing(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "mnesia")
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "DEMO_VICTIM=1", fmt.Sprintf("DEMO_LISTEN=127.0.0.1:%d", erltest.FreePort(t)))
	var out lines
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "Ctrl-C ends") }, time.Minute, 50*time.Millisecond)
	dir := folder.FindString(out.String())
	require.NotEmpty(t, workers(t, dir))
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Eventually(t, func() bool {
		_, err := os.Stat(dir)
		return os.IsNotExist(err) && len(workers(t, dir)) == 0
	}, 10*time.Second, 50*time.Millisecond)
}

func TestRunSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	err := run(t.Context(), options{exporter: "/nonexistent/erl-exporter", out: io.Discard})
	require.ErrorContains(t, err, "no exporter at /nonexistent/erl-exporter: run `make build` first")
}

func TestExporterThatEnds(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "mnesia")
	err := run(t.Context(), options{exporter: "/bin/false", listen: "127.0.0.1:0", out: io.Discard})
	require.ErrorContains(t, err, "exporter ended with status 1")
}
