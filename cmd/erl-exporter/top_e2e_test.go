//go:build e2e

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/cmd/erl-exporter/top"
	"github.com/erlops/erlops/internal/erltest"
)

// rabbitLoad publishes messages over a connection inside of the node, and takes
// most of them.
const rabbitLoad = `spawn(fun() ->
    {ok, C} = amqp_connection:start({amqp_params_direct, none, none, <<"/">>, node(), none, []}),
    {ok, Ch} = amqp_connection:open_channel(C),
    Q = <<"orders">>,
    amqp_channel:call(Ch, {'queue.declare', 0, Q, false, false, false, false, false, []}),
    Basic = list_to_tuple(['P_basic' | lists:duplicate(14, undefined)]),
    Msg = {amqp_msg, Basic, binary:copy(<<"x">>, 1024)},
    Loop = fun Loop() ->
        [amqp_channel:cast(Ch, {'basic.publish', 0, <<>>, Q, false, false}, Msg) || _ <- lists:seq(1, 100)],
        [amqp_channel:call(Ch, {'basic.get', 0, Q, true}) || _ <- lists:seq(1, 95)],
        timer:sleep(50),
        Loop()
    end,
    Loop()
end), ok`

// underLoad starts RabbitMQ and gives it something to do.
func underLoad(t *testing.T) *erltest.RabbitMQ {
	t.Helper()
	rabbit := erltest.StartRabbitMQ(t, erltest.ServerOptions{})
	rabbit.Eval(t, "{ok, _} = application:ensure_all_started(amqp_client), ok")
	rabbit.Eval(t, rabbitLoad)
	return rabbit
}

// terminal is a program in tmux.
type terminal struct {
	t      *testing.T
	socket string
}

func startTerminal(t *testing.T, width, height int, argv ...string) *terminal {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		if os.Getenv("ERLTEST_REQUIRED") == "1" {
			t.Fatal("no tmux; `make setup-e2e` installs it (ERLTEST_REQUIRED=1 makes this a failure)")
		}
		t.Skip("no tmux; `make setup-e2e` installs it")
	}
	term := &terminal{t: t, socket: filepath.Join(t.TempDir(), "tmux")}
	quoted := make([]string, len(argv))
	for i, a := range argv {
		quoted[i] = "'" + a + "'"
	}
	// The shell stays and says how the program has ended.
	term.tmux("-f", "/dev/null", "new-session", "-d", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height),
		strings.Join(quoted, " ")+"; echo ended with $?; sleep 60")
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", term.socket, "kill-server").Run() })
	return term
}

func (term *terminal) tmux(args ...string) string {
	term.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", term.socket}, args...)...)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "LANG=C.UTF-8")
	out, err := cmd.CombinedOutput()
	require.NoError(term.t, err, string(out))
	return string(out)
}

func (term *terminal) screen() string { return term.tmux("capture-pane", "-p") }

func (term *terminal) await(text string) string {
	term.t.Helper()
	var screen string
	require.Eventually(term.t, func() bool {
		screen = term.screen()
		return strings.Contains(screen, text)
	}, 90*time.Second, 200*time.Millisecond, "waiting for %q:\n%s", text, &screen)
	return screen
}

// TestTopOfRabbitMQ looks at RabbitMQ under load, in terminals, by itself: when it
// ends the node is as it was.
func TestTopOfRabbitMQ(t *testing.T) {
	t.Parallel()
	rabbit := underLoad(t)
	program, err := binary()
	require.NoError(t, err)
	argv := []string{program, "top", "--cookie-file", cookieFile(t, rabbit.Node), "--epmd", rabbit.EPMD, rabbit.Name}
	for _, size := range [][2]int{{80, 24}, {200, 50}, {20, 24}} {
		term := startTerminal(t, size[0], size[1], argv...)
		term.await("MEMORY")
		screen := term.await("SCHEDULERS")
		if size[0] >= 80 {
			screen = term.await("scanned")

			require.Contains(t, screen, "q quit")
			term.tmux("send-keys", "s")
			term.await("PROCESSES by memory")
			term.tmux("send-keys", "/", "rabbit_amqqueue", "Enter")
			term.await("/rabbit_amqqueue")
		}
		for line := range strings.Lines(screen) {
			require.LessOrEqual(t, len([]rune(strings.TrimSuffix(line, "\n"))), size[0])
		}
		term.tmux("send-keys", "q")
		term.await("ended with 0")
		require.Eventually(t, func() bool { return rabbit.Eval(t, agentTraces) == "[]" }, 20*time.Second, 100*time.Millisecond)
	}
}

// TestTopOnce prints what there is, for programs.
func TestTopOnce(t *testing.T) {
	t.Parallel()
	rabbit := underLoad(t)
	program, err := binary()
	require.NoError(t, err)
	cmd := exec.Command(program, "top", "--once", "-o", "json", "--metric", "erlang_vm_ets_tables_by_type",
		"--cookie-file", cookieFile(t, rabbit.Node), "--epmd", rabbit.EPMD, rabbit.Name)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var all []top.Summary
	require.NoError(t, json.Unmarshal(out, &all), string(out))
	require.Len(t, all, 1)
	s := all[0]
	require.Equal(t, "up", s.State)
	require.Greater(t, s.MemoryBytes["resident"], 1e7)
	require.Positive(t, s.PerSecond["reductions"])
	require.NotEmpty(t, s.Schedulers)
	require.Contains(t, fmt.Sprint(s.Processes), "rabbit")
	require.NotEmpty(t, s.Tables)
	require.NotEmpty(t, s.Metrics)
	require.Equal(t, "[]", rabbit.Eval(t, agentTraces))
}
