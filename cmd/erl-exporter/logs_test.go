package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

// shared is output that is read while it is written.
type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestLogsFollowOverRestart follows while the exporter is killed and started
// again: whoever looks is told, and goes on without doing anything.
func TestLogsFollowOverRestart(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	address := fmt.Sprintf("127.0.0.1:%d", erltest.FreePort(t))
	args := []string{"--node", n.Name, "--cookie-file", cookieFile(t, n), "--epmd", n.EPMD, "--web.listen-address", address}
	p := start(t, args...)
	p.awaitUp(t, n.Name)

	path, err := binary()
	require.NoError(t, err)
	var stdout, stderr shared
	follow := exec.Command(path, "logs", "-f", "--url", "http://"+address)
	follow.Stdout, follow.Stderr = &stdout, &stderr
	require.NoError(t, follow.Start())
	t.Cleanup(func() { _ = follow.Process.Kill() })
	awaitText := func(s *shared, want string) {
		t.Helper()
		require.Eventually(t, func() bool { return strings.Contains(s.String(), want) },
			30*time.Second, 20*time.Millisecond, "%q is not in the output", want)
	}
	awaitText(&stdout, "node is up")

	p.signal(t, syscall.SIGKILL)
	p.awaitEnd(t)
	awaitText(&stderr, "erl-exporter: the exporter at http://"+address+" has ended the connection; trying again\n")
	p = start(t, args...)
	p.awaitUp(t, n.Name)
	awaitText(&stderr, "erl-exporter: some are missing here: the exporter was started anew")
	require.Eventually(t, func() bool {
		return n.Eval(t, "lists:member(erl_exporter_agent, logger:get_handler_ids())") == "true"
	}, 30*time.Second, 20*time.Millisecond)
	n.Eval(t, `logger:error("after the restart")`)
	awaitText(&stdout, "after the restart")
	require.NoError(t, follow.Process.Signal(syscall.SIGINT))
	require.NoError(t, follow.Wait())
}
