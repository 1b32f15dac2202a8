package proc_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/proc"
)

func start(t *testing.T, script string) *proc.Process {
	t.Helper()
	p, err := proc.Start(proc.Command{
		Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=" + os.Getenv("PATH")},
		Dir: t.TempDir(), Log: filepath.Join(t.TempDir(), "log"),
	})
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	return p
}

func TestExitCodeAndOutput(t *testing.T) {
	t.Parallel()
	for script, code := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 128 + int(syscall.SIGTERM)} {
		p := start(t, "echo said; "+script)
		<-p.Exited()
		require.Equal(t, code, p.ExitCode(), script)
		require.Equal(t, "said", p.Tail())
		require.False(t, p.Running())
	}
}

// TestKill also ends what has moved to a session of its own, as heart and the
// port programs of Erlang do.
func TestKill(t *testing.T) {
	t.Parallel()
	p := start(t, `setsid sh -c 'echo $$; exec sleep 600' & wait`)
	var runaway int
	require.NoError(t, proc.Await(10*time.Second, func() bool {
		var err error
		runaway, err = strconv.Atoi(strings.TrimSpace(p.Tail()))
		return err == nil
	}))
	p.Kill()
	require.False(t, alive(runaway))
	p.Kill() // once more does no harm
}

func TestKillOfStoppedProcess(t *testing.T) {
	t.Parallel()
	p := start(t, "sleep 600")
	require.NoError(t, p.Signal(syscall.SIGSTOP))
	require.NoError(t, proc.Await(5*time.Second, func() bool { return proc.Stopped(p.Pid()) }))
	p.Kill()
	require.False(t, p.Running())
}

// alive tells whether a process runs: one that nobody has reaped does not.
func alive(pid int) bool {
	state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(state), ") Z ")
}

func TestStartErrors(t *testing.T) {
	t.Parallel()
	_, err := proc.Start(proc.Command{Argv: []string{"/nonexistent"}, Log: os.DevNull, SelfGuarded: true})
	require.ErrorContains(t, err, "start /nonexistent")
	_, err = proc.Start(proc.Command{Argv: []string{"true"}, Log: "/nonexistent/log"})
	require.ErrorContains(t, err, "open log of true")
}
