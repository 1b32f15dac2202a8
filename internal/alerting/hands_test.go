package alerting

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

// controlGroup gives the node less memory than its host has, within what the
// test itself may have.
func controlGroup(t *testing.T, n *erltest.Node) func() {
	t.Helper()
	text, err := os.ReadFile("/proc/self/cgroup")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 || fields[1] != "memory" {
			continue
		}
		group := filepath.Join("/sys/fs/cgroup/memory", fields[2], "erltest"+strconv.Itoa(n.Pid))
		require.NoError(t, os.Mkdir(group, 0o755))
		t.Cleanup(func() {
			n.Kill()
			require.Eventually(t, func() bool { return os.Remove(group) == nil }, patience, 100*time.Millisecond)
		})
		require.NoError(t, os.WriteFile(filepath.Join(group, "memory.limit_in_bytes"), []byte("400000000"), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(n.Pid)), 0o600))
		return nil
	}
	t.Skip("this machine has no control groups for memory that a test may make")
	return nil
}

// fullDisk mounts a small file system and fills it.
func fullDisk(t *testing.T, n *erltest.Node) func() {
	t.Helper()
	dir := filepath.Join(n.Dir, "disk")
	require.NoError(t, os.Mkdir(dir, 0o755))
	out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=4m", "erltest", dir).CombinedOutput()
	if err != nil {
		t.Skipf("no file system can be mounted: %s", out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", dir).Run() })
	full := filepath.Join(dir, "full")
	require.NoError(t, os.WriteFile(full, make([]byte, 3<<20), 0o600))
	n.Eval(t, "{ok, _} = application:ensure_all_started(os_mon), ok")
	return func() {
		require.NoError(t, os.Remove(full))
		n.Eval(t, "disksup ! timeout, ok")
	}
}

// awaitAgent waits until the node is attached, as the node sees it.
func awaitAgent(t *testing.T, n *erltest.Node) {
	t.Helper()
	require.Eventually(t, func() bool { return n.Eval(t, "is_pid(whereis(erl_exporter_agent))") == "true" }, patience, 50*time.Millisecond)
}

// agentKiller ends the agent, three times.
func agentKiller(t *testing.T, n *erltest.Node) func() {
	t.Helper()
	for range 3 {
		awaitAgent(t, n)
		n.Eval(t, "A = whereis(erl_exporter_agent), R = monitor(process, A), exit(A, kill), receive {'DOWN', R, process, A, _} -> ok end")
	}
	return nil
}

// flapping has the node end and start, twice.
func flapping(t *testing.T, n *erltest.Node) func() {
	t.Helper()
	for range 2 {
		awaitAgent(t, n)
		n.Kill()
		n.Restart()
	}
	return nil
}
