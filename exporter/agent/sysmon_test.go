package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/internal/erltest"
)

// soon has the lease renewed often: that is when a source looks around.
func soon(t *testing.T) *agent.Attacher {
	t.Helper()
	return exporter(t, "erl_exporter@localhost", agent.Options{Lease: 5 * time.Second, Renew: 100 * time.Millisecond})
}

func event(t *testing.T, s *agent.Session, column string) (float64, bool) {
	t.Helper()
	return table(t, read(t, s), "vm_events").Value(column)
}

// makeEvents makes garbage collections that take long and heaps that are large.
const makeEvents = `{P, R} = spawn_monitor(fun() -> L = lists:seq(1, 300000), garbage_collect(), exit({done, length(L)}) end),
	receive {'DOWN', R, process, P, _} -> ok end`

// monitorsEvents requires that events are counted.
func monitorsEvents(t *testing.T, n *erltest.Node, s *agent.Session) {
	t.Helper()
	require.Eventually(t, func() bool {
		on, _ := event(t, s, "monitored")
		return on == 1
	}, 10*time.Second, 20*time.Millisecond)
	require.Eventually(t, func() bool {
		n.Eval(t, makeEvents)
		heaps, _ := event(t, s, "large_heap")
		gcs, _ := event(t, s, "long_gc")
		seconds, _ := event(t, s, "long_gc_seconds")
		return heaps > 0 && gcs > 0 && seconds > 0
	}, 20*time.Second, 50*time.Millisecond)
}

var sensitive = agent.Settings{Monitor: agent.Monitor{LongGC: time.Millisecond, LongSchedule: 10 * time.Millisecond, LargeHeap: 100_000}}

// TestSystemMonitor counts, and gives the monitor back.
func TestSystemMonitor(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	remember(t, n)
	s := attach(t, soon(t), n, sensitive)
	monitorsEvents(t, n, s)
	require.NoError(t, s.Detach(deadline(t)))
	n.RequireAsBefore(t, 5*time.Second)
	require.Equal(t, "undefined", n.Eval(t, "erlang:system_monitor()"))
}

// TestSystemMonitorOfAnother is left alone, and taken when it is free.
func TestSystemMonitorOfAnother(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, `register(theirs, spawn(fun() -> erlang:system_monitor(self(), [{long_gc, 5000}]), receive stop -> ok end end)), ok`)
	s := attach(t, soon(t), n, sensitive)
	time.Sleep(300 * time.Millisecond) // some ticks in which it could be taken
	require.Equal(t, "true", n.Eval(t, "element(1, erlang:system_monitor()) =:= whereis(theirs)"))
	on, ok := event(t, s, "monitored")
	require.True(t, ok)
	require.Zero(t, on)
	_, ok = event(t, s, "long_gc")
	require.False(t, ok, "a count of what nobody told")

	n.Eval(t, "theirs ! stop")
	monitorsEvents(t, n, s)
	n.Eval(t, `register(thief, spawn(fun() -> erlang:system_monitor(self(), [{long_gc, 5000}]), receive stop -> ok end end)), ok`)
	require.Eventually(t, func() bool {
		on, _ := event(t, s, "monitored")
		return on == 0
	}, 10*time.Second, 20*time.Millisecond)
	require.NoError(t, s.Detach(deadline(t)))
	require.Equal(t, "true", n.Eval(t, "element(1, erlang:system_monitor()) =:= whereis(thief)"), "it is theirs")
}

// TestConnectionEvents counts nodes that come and go.
func TestConnectionEvents(t *testing.T) {
	t.Parallel()
	epmd := erltest.StartEPMD(t)
	n := erltest.Start(t, erltest.Options{EPMD: epmd})
	peer := erltest.Start(t, erltest.Options{EPMD: epmd, Cookie: n.Cookie})
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	n.Eval(t, "pong = net_adm:ping('"+peer.Name+"'), true = erlang:disconnect_node('"+peer.Name+"'), ok")
	require.Eventually(t, func() bool {
		events := column(t, table(t, read(t, s), "dist_events"), "events")
		return events[peer.Name+" nodeup"] >= 1 && events[peer.Name+" nodedown"] >= 1
	}, 10*time.Second, 20*time.Millisecond)
}

// TestMnesiaOverload counts what Mnesia tells, through a process of its own that
// goes with the agent.
func TestMnesiaOverload(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "mnesia")
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, "{module, io} = code:ensure_loaded(io), ok = mnesia:start(), mnesia:subscribe(system), mnesia:unsubscribe(system), ok")
	remember(t, n)
	subscribers := n.Eval(t, "length(mnesia:system_info(subscribers))")
	s := attach(t, soon(t), n, agent.Settings{})
	require.Eventually(t, func() bool {
		_, ok := event(t, s, "mnesia_overload")
		return ok
	}, 10*time.Second, 20*time.Millisecond)
	n.Eval(t, "mnesia_lib:report_system_event({mnesia_overload, {mnesia_tm, message_queue_len}})")
	require.Eventually(t, func() bool {
		count, _ := event(t, s, "mnesia_overload")
		return count == 1
	}, 10*time.Second, 20*time.Millisecond)
	require.NoError(t, s.Detach(deadline(t)))
	n.RequireAsBefore(t, 5*time.Second)
	require.Equal(t, subscribers, n.Eval(t, "length(mnesia:system_info(subscribers))"))
}

// TestFloodOfEvents: a node that tells too much is not listened to for a while.
func TestFloodOfEvents(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	a := exporter(t, "erl_exporter@localhost", agent.Options{Lease: time.Minute, Renew: 30 * time.Second})
	s := attach(t, a, n, agent.Settings{})
	require.Eventually(t, func() bool {
		on, _ := event(t, s, "monitored")
		return on == 1
	}, 10*time.Second, 20*time.Millisecond)
	n.Eval(t, "[erl_exporter_agent ! {monitor, self(), busy_port, port} || _ <- lists:seq(1, 5000)], ok")
	require.Eventually(t, func() bool {
		on, _ := event(t, s, "monitored")
		return on == 0
	}, 10*time.Second, 20*time.Millisecond)
	require.Equal(t, "undefined", n.Eval(t, "erlang:system_monitor()"))
	count, _ := event(t, s, "busy_port")
	require.GreaterOrEqual(t, count, 3000.0)
	require.NoError(t, s.Detach(deadline(t)))
}

// TestInspections has what nobody tells: how much the code exports, and modules
// that are there twice.
func TestInspections(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	remember(t, n)
	inspected := func(s *agent.Session, column string) func() float64 {
		return func() float64 {
			v, ok := table(t, read(t, s), "inspection").Value(column)
			if !ok {
				return -1
			}
			return v
		}
	}
	s := attach(t, soon(t), n, agent.Settings{Monitor: agent.Monitor{Exports: true, Clashes: true, Shells: true}})
	exports, clashes := inspected(s, "exports"), inspected(s, "module_clashes")
	require.Eventually(t, func() bool { return exports() > 0 && clashes() == 0 }, 20*time.Second, 50*time.Millisecond)
	const count = "lists:sum([length(erlang:get_module_info(M, exports)) || M <- erlang:loaded()])"
	require.InDelta(t, numbers(t, n, count)[0], exports(), 0)
	require.Empty(t, table(t, read(t, s), "shell").Rows, "nobody has a shell")

	host := numbers(t, n, `begin {ok, <<"MemTotal:", R/binary>>} = file:read_file("/proc/meminfo"), 1024 * binary_to_integer(hd(binary:split(R, <<" ">>, [global, trim_all]))) end`)[0]
	limit := inspected(s, "memory_limit_bytes")()
	require.Positive(t, limit)
	require.LessOrEqual(t, limit, host)

	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	for _, dir := range dirs[:2] {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "twice.beam"), nil, 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dirs[2], "once.beam"), nil, 0o600))
	before := exports()
	n.Eval(t, fmt.Sprintf(`code:add_pathsa(["%s"]), {ok, many, B} = compile:forms(
		[{attribute, 1, module, many}, {attribute, 2, compile, export_all}] ++ [{function, 3, list_to_atom("f" ++ integer_to_list(I)), 0,
			[{clause, 3, [], [], [{atom, 3, ok}]}]} || I <- lists:seq(1, 500)]), {module, many} = code:load_binary(many, "many", B)`,
		strings.Join(dirs, `", "`)))
	require.Eventually(t, func() bool { return clashes() == 1 && exports() > before+500 }, 20*time.Second, 50*time.Millisecond)
	n.Eval(t, `code:del_path("`+dirs[0]+`"), code:purge(many), code:delete(many), code:purge(many)`)
	require.Eventually(t, func() bool { return clashes() == 0 }, 20*time.Second, 50*time.Millisecond)
	require.NoError(t, s.Detach(deadline(t)))

	s = attach(t, soon(t), n, agent.Settings{})
	require.Equal(t, []float64{-1, -1}, []float64{inspected(s, "exports")(), inspected(s, "module_clashes")()}, "only where it is asked for")
}

// TestMnesiaInconsistent counts what Mnesia reports of a peer.
func TestMnesiaInconsistent(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "mnesia")
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, "ok = mnesia:start()")
	s := attach(t, soon(t), n, agent.Settings{})
	require.Eventually(t, func() bool {
		_, ok := event(t, s, "mnesia_overload")
		return ok
	}, 10*time.Second, 20*time.Millisecond)
	require.Empty(t, table(t, read(t, s), "mnesia_events").Rows)
	n.Eval(t, "[mnesia_lib:report_system_event({inconsistent_database, running_partitioned_network, P}) || P <- [b@h, b@h, c@h]], ok")
	require.Eventually(t, func() bool {
		seen := column(t, table(t, read(t, s), "mnesia_events"), "inconsistent")
		return seen["b@h"] == 2 && seen["c@h"] == 1
	}, 10*time.Second, 20*time.Millisecond)
}
