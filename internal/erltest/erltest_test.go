package erltest_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

func TestNames(t *testing.T) {
	t.Parallel()
	epmd := erltest.SharedEPMD(t)
	for name, o := range map[string]erltest.Options{
		"short":     {},
		"localhost": {Host: "localhost"},
		"long":      {LongNames: true},
		"named":     {Name: "alpha", LongNames: true, Host: "127.0.0.1", Cookie: "secret"},
		"shared":    {EPMD: epmd},
		"static":    {NoEPMD: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := erltest.Start(t, o)
			require.Equal(t, quoted(n.Name), quoted(n.Eval(t, "node()")))
			require.Equal(t, quoted(n.Cookie), quoted(n.Eval(t, "erlang:get_cookie()")))
			require.NotZero(t, n.DistPort)
			require.Equal(t, o.NoEPMD, n.EPMD == "")
		})
	}
}

func quoted(atom string) string { return "'" + strings.Trim(atom, "'") + "'" }

func TestTwoNodesTalk(t *testing.T) {
	t.Parallel()
	epmd := erltest.StartEPMD(t)
	a := erltest.Start(t, erltest.Options{EPMD: epmd, Cookie: "same"})
	b := erltest.Start(t, erltest.Options{EPMD: epmd, Cookie: "same"})
	require.Equal(t, "pong", a.Eval(t, fmt.Sprintf("net_adm:ping('%s')", b.Name)))
}

func TestEval(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{EPMD: erltest.SharedEPMD(t)})
	require.Equal(t, "3", n.Eval(t, "X = 1, X + 2"))
	require.Equal(t, `"żółw"`, n.Eval(t, `"żółw"`))
	n.Eval(t, "ets:new(mine, [named_table])")
	require.Equal(t, "true", n.Eval(t, "ets:insert(mine, {a, 1})"))

	_, err := n.TryEval("error(oops)")
	require.ErrorContains(t, err, "error:oops")
	_, err = n.TryEval("1 +")
	require.ErrorContains(t, err, "badmatch")
	require.Equal(t, "2", n.Eval(t, "1 + 1"), "the node answers after a bad expression")
	_, err = n.TryEval("exit(self(), kill)")
	require.ErrorContains(t, err, "killed")
	require.Equal(t, "2", n.Eval(t, "1 + 1"), "the node answers after its worker was killed")
}

func TestLifecycle(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Pause()
	n.Continue()
	first := n.Eval(t, "os:getpid()")
	n.Restart()
	require.NotEqual(t, first, n.Eval(t, "os:getpid()"))
	require.Equal(t, strconv.Quote(strconv.Itoa(n.Pid)), n.Eval(t, "os:getpid()"))
	n.Stop()
	require.False(t, n.Running())
	n.Restart()
	n.Kill()
	require.False(t, n.Running())
}

func TestHeartDoesNotBringTheNodeBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := erltest.Start(t, erltest.Options{
		Args: []string{"-heart"},
		Env:  []string{"HEART_COMMAND=touch " + dir + "/restarted; sleep 600"},
	})
	n.Kill()
	require.Empty(t, strings.TrimSpace(pgrep(t, "sleep 600")))
}

func pgrep(t *testing.T, pattern string) string {
	t.Helper()
	out, _ := exec.CommandContext(t.Context(), "pgrep", "-f", "^"+pattern).Output() // 1: no such process
	return string(out)
}

// TestNodesEndWithTheirTestProcess kills a test process that has started a node
// and an epmd.
func TestNodesEndWithTheirTestProcess(t *testing.T) {
	if os.Getenv("ERLTEST_VICTIM") == "1" {
		n := erltest.Start(t, erltest.Options{})
		fmt.Printf("victim %d\n", n.Pid)
		time.Sleep(time.Hour)
	}
	t.Parallel()
	erltest.RequireErlang(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "ERLTEST_VICTIM=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var pid int
	for pid == 0 {
		var line [256]byte
		k, err := out.Read(line[:])
		require.NoError(t, err)
		if _, after, found := strings.Cut(string(line[:k]), "victim "); found {
			_, err = fmt.Sscan(after, &pid)
			require.NoError(t, err)
		}
	}
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Eventually(t, func() bool { return syscall.Kill(pid, 0) != nil }, 10*time.Second, 20*time.Millisecond)
}
