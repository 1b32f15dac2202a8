package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

// binary builds the program once for all tests of the package.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "erl-exporter-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "erl-exporter")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", &exec.Error{Name: "go build: " + string(out), Err: err}
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// process is a running erl-exporter.
type process struct {
	*exec.Cmd
	url  string
	done chan struct{} // closed when it has ended

	mu  sync.Mutex
	log strings.Builder
}

var listening = regexp.MustCompile(`msg=listening address=(\S+)`)

// start runs the program for some nodes and returns when it listens.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	path, err := binary()
	require.NoError(t, err)
	p := &process{done: make(chan struct{})}
	p.Cmd = exec.Command(path, append(args, "--web.listen-address", "127.0.0.1:0")...)
	stderr, err := p.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("the exporter's log:\n%s", p.output())
		}
	})
	address := make(chan string, 1)
	go p.follow(stderr, address)
	select {
	case a := <-address:
		p.url = "http://" + a
	case <-p.done:
		t.Fatalf("erl-exporter ended at once:\n%s", p.output())
	case <-time.After(20 * time.Second):
		t.Fatalf("erl-exporter does not listen:\n%s", p.output())
	}
	return p
}

// follow keeps the log and tells the address in it.
func (p *process) follow(stderr io.Reader, address chan<- string) {
	defer close(p.done)
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		p.mu.Lock()
		p.log.WriteString(lines.Text() + "\n")
		p.mu.Unlock()
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			address <- m[1]
		}
	}
	_ = p.Wait()
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// get returns the status and the body of a page.
func (p *process) get(t *testing.T, path string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(body)
}

// awaitUp waits until a node is attached and returns its page.
func (p *process) awaitUp(t *testing.T, node string) string {
	t.Helper()
	var page string
	require.Eventually(t, func() bool {
		_, page = p.get(t, "/probe?target="+url.QueryEscape(node))
		return strings.Contains(page, "\nerlang_up 1\n")
	}, 20*time.Second, 50*time.Millisecond, "node %s does not get up", node)
	return page
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	require.NoError(t, p.Process.Signal(s))
}

// awaitEnd waits for the process and returns its exit status.
func (p *process) awaitEnd(t *testing.T) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		t.Fatalf("erl-exporter does not end:\n%s", p.output())
	}
	return p.ProcessState.ExitCode()
}

// cookieFile writes the cookie of a node as Erlang wants it.
func cookieFile(t *testing.T, n *erltest.Node) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cookie")
	require.NoError(t, os.WriteFile(path, []byte(n.Cookie+"\n"), 0o400))
	return path
}

// startFor runs the program for one node, without a configuration file.
func startFor(t *testing.T, n *erltest.Node) *process {
	t.Helper()
	return start(t, "--node", n.Name, "--cookie-file", cookieFile(t, n), "--epmd", n.EPMD)
}

// remember attaches the exporter for a moment, which makes the node load what
// it needs for any connection, and puts away the state of the node after it.
func remember(t *testing.T, n *erltest.Node) {
	t.Helper()
	p := startFor(t, n)
	p.awaitUp(t, n.Name)
	p.signal(t, syscall.SIGTERM)
	p.awaitEnd(t)
	n.Remember(t)
}

// TestNodeIsLeftAsItWas ends the exporter in every way there is.
func TestNodeIsLeftAsItWas(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(*testing.T, *erltest.Node, *process)
	}{
		{"SIGTERM", func(t *testing.T, _ *erltest.Node, p *process) {
			t.Helper()
			p.signal(t, syscall.SIGTERM)
			require.Zero(t, p.awaitEnd(t))
		}},
		{"SIGKILL", func(t *testing.T, _ *erltest.Node, p *process) {
			t.Helper()
			p.signal(t, syscall.SIGKILL)
			p.awaitEnd(t)
		}},
		// The lease of 15 s runs out, and the agent leaves within 5 s of that.
		// The connection itself, which costs the node one process, lasts as
		// long as the stopped exporter, or until the node's own ticks end it.
		{"SIGSTOP", func(t *testing.T, n *erltest.Node, p *process) {
			t.Helper()
			p.signal(t, syscall.SIGSTOP)
			require.Eventually(t, func() bool {
				left, err := n.TryEval(agentTraces)
				return err == nil && left == "[]"
			}, 20*time.Second, 50*time.Millisecond, "the agent has not left")
			p.signal(t, syscall.SIGKILL)
			p.awaitEnd(t)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			n := erltest.Start(t, erltest.Options{})
			remember(t, n)
			p := startFor(t, n)
			p.awaitUp(t, n.Name)
			require.NotEqual(t, "[]", n.Eval(t, agentTraces), "there is no agent")
			tc.end(t, n, p)
			n.RequireAsBefore(t, 5*time.Second)
		})
	}
}

// agentTraces lists what there is of an agent.
const agentTraces = `[X || X <- registered() ++ [M || {M, _} <- code:all_loaded()],
	lists:prefix("erl_exporter", atom_to_list(X))]`
