package dist_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/internal/erltest"
)

func TestCall(t *testing.T) {
	t.Parallel()
	peer := erltest.Start(t, erltest.Options{})
	c := dial(t, start(t, dist.Options{CallTimeout: 2 * time.Second}), target(peer))

	v, err := c.Call(t.Context(), "lists", "seq", int64(1), int64(3))
	require.NoError(t, err)
	require.True(t, etf.Equal(etf.List{int64(1), int64(2), int64(3)}, v), etf.Format(v))

	t.Run("exception", func(t *testing.T) {
		_, err := c.Call(t.Context(), "erlang", "error", etf.Atom("oops"))
		var remote *dist.RemoteError
		require.ErrorAs(t, err, &remote)
		require.Contains(t, err.Error(), "erlang:error/1")
		require.Contains(t, err.Error(), "oops")
	})
	t.Run("unknown function", func(t *testing.T) {
		_, err := c.Call(t.Context(), "no_such", "function")
		require.ErrorContains(t, err, "undef")
	})
	t.Run("too slow for us", func(t *testing.T) {
		_, err := c.Call(t.Context(), "timer", "sleep", etf.Atom("infinity"))
		require.ErrorIs(t, err, dist.ErrTimeout)
		require.ErrorContains(t, err, "timer:sleep/1")
	})
	t.Run("too slow for the caller", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		_, err := c.Call(ctx, "timer", "sleep", int64(300))
		require.ErrorIs(t, err, dist.ErrCanceled)
	})
	t.Run("no term", func(t *testing.T) {
		_, err := c.Call(t.Context(), "erlang", "display", "a Go string")
		require.ErrorIs(t, err, dist.ErrBadTerm)
	})
	t.Run("many at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range int64(200) {
			wg.Go(func() {
				v, err := c.Call(t.Context(), "erlang", "abs", -i)
				if err != nil || v != i {
					t.Errorf("abs(-%d) = %v, %v", i, v, err)
				}
			})
		}
		wg.Wait()
	})
	require.NoError(t, c.Err())
	require.Empty(t, c.Events(), "late answers are no events")
}

// TestLargeMessages holds that messages beyond 64 KB, where nodes that know
// FRAGMENTS begin to cut, arrive whole.
func TestLargeMessages(t *testing.T) {
	t.Parallel()
	peer := erltest.Start(t, erltest.Options{})
	c := dial(t, start(t, dist.Options{}), target(peer))
	for _, size := range []int{0, 1, 16 << 10, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1 << 20, 8 << 20} {
		want := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		v, err := c.Call(t.Context(), "erlang", "iolist_to_binary", etf.List{want})
		require.NoError(t, err, size)
		require.True(t, bytes.Equal(want, v.([]byte)), size)
	}
	t.Run("beyond the limit", func(t *testing.T) {
		_, err := c.Call(t.Context(), "binary", "copy", []byte("x"), int64(17<<20))
		require.ErrorIs(t, err, dist.ErrProtocol)
		require.ErrorContains(t, c.Err(), "at most 16777216")
	})
}

func TestSendAndEvents(t *testing.T) {
	t.Parallel()
	peer := erltest.Start(t, erltest.Options{})
	c := dial(t, start(t, dist.Options{}), target(peer))
	echo := func(ref string) etf.Pid {
		// A process that sends back whatever it gets, under a name and an alias.
		peer.Eval(t, "Pid"+ref+" = spawn(fun() -> register("+ref+", self()), (fun Loop() -> receive {From, M} -> From ! {self(), M}, Loop() end end)() end)")
		v, err := c.Call(t.Context(), "erlang", "whereis", etf.Atom(ref))
		require.NoError(t, err)
		return v.(etf.Pid)
	}
	pid := echo("echo")
	require.NoError(t, c.Send(t.Context(), pid, etf.Tuple{c.Self(), int64(1)}))
	require.Equal(t, etf.Tuple{pid, int64(1)}, event(t, c))
	require.NoError(t, c.Send(t.Context(), etf.Atom("echo"), etf.Tuple{c.Self(), etf.Atom("two")}))
	require.Equal(t, etf.Tuple{pid, etf.Atom("two")}, event(t, c))
	// To nobody: no error, and nothing happens.
	require.NoError(t, c.Send(t.Context(), etf.Atom("nobody"), etf.Atom("x")))
	require.ErrorIs(t, c.Send(t.Context(), []byte("x"), etf.Atom("x")), dist.ErrBadTerm)

	t.Run("order", func(t *testing.T) {
		const n = 5000
		go func() {
			for i := range int64(n) {
				_ = c.Send(context.Background(), pid, etf.Tuple{c.Self(), i})
			}
		}()
		for i := range int64(n) {
			require.Equal(t, etf.Tuple{pid, i}, event(t, c))
		}
	})
}

// TestAliasSend sends to an alias, which replies to calls through.
func TestAliasSend(t *testing.T) {
	t.Parallel()
	peer := erltest.Start(t, erltest.Options{})
	c := dial(t, start(t, dist.Options{}), target(peer))
	require.NoError(t, peerSpawn(t, peer, c, "To ! alias(), receive M -> To ! {got, M} end"))
	alias, ok := event(t, c).(etf.Ref)
	require.True(t, ok)
	require.NoError(t, c.Send(t.Context(), alias, int64(7)))
	require.Equal(t, etf.Tuple{etf.Atom("got"), int64(7)}, event(t, c))
}

// peerSpawn runs an expression in a process of the node; To is our Self.
func peerSpawn(t testing.TB, peer *erltest.Node, c *dist.Conn, expr string) error {
	t.Helper()
	name := fmt.Sprintf("spawned%d", time.Now().UnixNano())
	peer.Eval(t, "register("+name+", spawn(fun() -> receive {to, To} -> unregister("+name+"), "+expr+" end end))")
	return c.Send(t.Context(), etf.Atom(name), etf.Tuple{etf.Atom("to"), c.Self()})
}

// TestEventsOverflow holds that a node that floods us loses messages, in order
// and counted, and that calls still get their answers.
func TestEventsOverflow(t *testing.T) {
	t.Parallel()
	peer := erltest.Start(t, erltest.Options{})
	c := dial(t, start(t, dist.Options{Mailbox: 100}), target(peer))
	require.NoError(t, peerSpawn(t, peer, c, "[To ! I || I <- lists:seq(1, 20000)]"))
	require.Eventually(t, func() bool { return c.Stats().EventsDropped == 19900 }, 10*time.Second, 5*time.Millisecond)
	_, err := c.Call(t.Context(), "erlang", "node")
	require.NoError(t, err)
	for i := range int64(100) {
		require.Equal(t, i+1, event(t, c))
	}
	t.Run("by size", func(t *testing.T) {
		before := c.Stats().EventsDropped
		require.NoError(t, peerSpawn(t, peer, c, "B = binary:copy(<<0>>, 8 bsl 20), [To ! B || _ <- lists:seq(1, 5)]"))
		require.Eventually(t, func() bool { return c.Stats().EventsDropped >= before+2 }, 20*time.Second, 5*time.Millisecond)
	})
}

func TestMonitor(t *testing.T) {
	t.Parallel()
	peer := erltest.Start(t, erltest.Options{})
	c := dial(t, start(t, dist.Options{}), target(peer))
	spawn := func() etf.Pid {
		v, err := c.Call(t.Context(), "erlang", "spawn", etf.Atom("timer"), etf.Atom("sleep"), etf.List{etf.Atom("infinity")})
		require.NoError(t, err)
		return v.(etf.Pid)
	}
	kill := func(pid etf.Pid, reason etf.Term) {
		_, err := c.Call(t.Context(), "erlang", "exit", pid, reason)
		require.NoError(t, err)
	}
	down := func(ref etf.Ref, pid etf.Pid, reason etf.Term) etf.Tuple {
		return etf.Tuple{etf.Atom("DOWN"), ref, etf.Atom("process"), pid, reason}
	}

	pid := spawn()
	ref, err := c.Monitor(t.Context(), pid)
	require.NoError(t, err)
	kill(pid, etf.Tuple{etf.Atom("because"), int64(1)})
	require.Equal(t, down(ref, pid, etf.Tuple{etf.Atom("because"), int64(1)}), event(t, c))

	ref, err = c.Monitor(t.Context(), pid)
	require.NoError(t, err)
	require.Equal(t, down(ref, pid, etf.Atom("noproc")), event(t, c))

	pid = spawn()
	ref, err = c.Monitor(t.Context(), pid)
	require.NoError(t, err)
	require.NoError(t, c.Demonitor(t.Context(), ref))
	require.NoError(t, c.Demonitor(t.Context(), ref), "twice")
	kill(pid, etf.Atom("kill"))
	require.NoError(t, peerSpawn(t, peer, c, "To ! next"))
	require.Equal(t, etf.Atom("next"), event(t, c))
}

// TestPeerMonitorsUs lets the node monitor, link to and look for processes
// of ours, and try to spawn here.
func TestPeerMonitorsUs(t *testing.T) {
	t.Parallel()
	peer := erltest.Start(t, erltest.Options{})
	n := start(t, dist.Options{})
	c := dial(t, n, target(peer))

	require.Equal(t, "pong", peer.Eval(t, "net_adm:ping('"+n.Name()+"')"), "a ping that fails ends the connection")
	require.Contains(t, peer.Eval(t, "catch gen_server:call({rex, '"+n.Name()+"'}, x, 5000)"), "noproc")
	require.Equal(t, "{error,notsup}",
		peer.Eval(t, "gen_server:call({net_kernel, '"+n.Name()+"'}, {spawn, erlang, node, [], group_leader()})"))
	require.Contains(t, peer.Eval(t, "catch erpc:call('"+n.Name()+"', erlang, node, [], 5000)"), "notsup")

	require.NoError(t, peerSpawn(t, peer, c, `
		process_flag(trap_exit, true),
		M = monitor(process, To), link(To), unlink(To), link(To),
		{'EXIT', _} = {'EXIT', catch exit(To, kill)},
		To ! ready,
		R1 = receive {'DOWN', M, _, _, Down} -> Down end,
		R2 = receive {'EXIT', To, Exit} -> Exit end,
		register(witness, self()), receive {report, P} -> P ! {report, R1, R2} end`))
	require.Equal(t, etf.Atom("ready"), event(t, c), "an exit signal does not end our process")
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { return peer.Eval(t, "is_pid(whereis(witness))") == "true" }, 10*time.Second, 20*time.Millisecond)
	require.Equal(t, "{report,noconnection,noconnection}",
		peer.Eval(t, "witness ! {report, self()}, receive {report, _, _} = R -> R end"))
}

func TestLoadModule(t *testing.T) {
	t.Parallel()
	peer := erltest.Start(t, erltest.Options{})
	c := dial(t, start(t, dist.Options{}), target(peer))
	dir := t.TempDir()
	source := "-module(dist_test_module).\n-export([answer/0]).\nanswer() -> 42.\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dist_test_module.erl"), []byte(source), 0o600))
	compile := exec.CommandContext(t.Context(), "erlc", "dist_test_module.erl")
	compile.Dir = dir
	out, err := compile.CombinedOutput()
	require.NoError(t, err, string(out))
	beam, err := os.ReadFile(filepath.Join(dir, "dist_test_module.beam"))
	require.NoError(t, err)

	require.NoError(t, c.LoadModule(t.Context(), "dist_test_module", beam))
	v, err := c.Call(t.Context(), "dist_test_module", "answer")
	require.NoError(t, err)
	require.Equal(t, int64(42), v)

	var remote *dist.RemoteError
	require.ErrorAs(t, c.LoadModule(t.Context(), "dist_test_module", []byte("no beam")), &remote)
	require.Equal(t, etf.Atom("badfile"), remote.Reason)
}

// TestCloseFlushes holds that what was sent before Close arrives, even when
// the node has sent something that nobody read.
func TestCloseFlushes(t *testing.T) {
	t.Parallel()
	peer := erltest.Start(t, erltest.Options{})
	n := start(t, dist.Options{Mailbox: 1})
	peer.Eval(t, "ets:new(got, [named_table, public])")
	peer.Eval(t, "register(sink, spawn(fun() -> (fun Loop() -> receive {P, I} -> ets:insert(got, {I}), P ! I, Loop() end end)() end))")
	for i := range int64(20) {
		c := dial(t, n, target(peer))
		require.NoError(t, c.Send(t.Context(), etf.Atom("sink"), etf.Tuple{c.Self(), i}))
		require.NoError(t, c.Close())
		require.ErrorIs(t, c.Err(), dist.ErrClosed)
		require.ErrorContains(t, c.Err(), "closed by us")
	}
	require.Eventually(t, func() bool { return peer.Eval(t, "ets:info(got, size)") == "20" }, 10*time.Second, 20*time.Millisecond)
}

func TestClosedConn(t *testing.T) {
	t.Parallel()
	c := dial(t, start(t, dist.Options{}), fake(t, func(p *fakePeer) error {
		if _, err := p.attach(60); err != nil {
			return err
		}
		_, _, err := p.message()
		return err // and hangs up
	}))
	// The peer may hang up before we have seen that all was sent.
	if err := c.Send(t.Context(), etf.Atom("x"), etf.Atom("x")); err != nil {
		require.ErrorIs(t, err, dist.ErrClosed)
	}
	<-c.Done()
	require.ErrorIs(t, c.Err(), dist.ErrClosed)
	_, err := c.Call(t.Context(), "erlang", "node")
	require.ErrorIs(t, err, dist.ErrClosed)
	require.ErrorIs(t, c.Send(t.Context(), etf.Atom("x"), etf.Atom("x")), dist.ErrClosed)
	_, err = c.Monitor(t.Context(), c.Self())
	require.ErrorIs(t, err, dist.ErrClosed)
	require.NoError(t, c.Close())
	_, open := <-c.Events()
	require.False(t, open)
}

func TestTargetHidesCookie(t *testing.T) {
	t.Parallel()
	to := dist.Target{Node: "a@b", Cookie: "the secret"}
	for _, text := range []string{to.String(), fmt.Sprintf("%+v", to), fmt.Sprintf("%#v", to), to.LogValue().String()} {
		require.NotContains(t, text, "secret")
		require.Contains(t, text, "a@b")
	}
}
