package agent_test

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// table gives a table of a reading.
func table(t testing.TB, all *snapshot.Snapshot, name string) snapshot.Table {
	t.Helper()
	got, ok := all.Table(name)
	require.True(t, ok, "no table %s in %+v", name, all.Collectors)
	return got
}

// numbers evaluates an expression that gives a number or a list of them.
func numbers(t testing.TB, n *erltest.Node, expr string) []float64 {
	t.Helper()
	var all []float64
	// A tuple, for a list of numbers may be printed as text.
	for field := range strings.SplitSeq(strings.Trim(n.Eval(t, "list_to_tuple(lists:flatten([begin "+expr+" end]))"), "{}"), ",") {
		f, err := strconv.ParseFloat(field, 64)
		require.NoError(t, err, "%s", expr)
		all = append(all, f)
	}
	return all
}

// column gives the values of a column by the labels of their rows.
func column(t testing.TB, from snapshot.Table, name string) map[string]float64 {
	t.Helper()
	i := slices.Index(from.Columns, name)
	require.GreaterOrEqual(t, i, 0, "no column %s in %s", name, from.Name)
	values := map[string]float64{}
	for _, row := range from.Rows {
		require.Len(t, row.Values, len(from.Columns))
		require.Len(t, row.Labels, len(from.Labels))
		if v := row.Values[i]; v.Valid {
			values[strings.Join(row.Labels, " ")] = v.Float
		}
	}
	return values
}

// TestValues holds what stands still, or nearly, against what the node says.
func TestValues(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	// A scan is a process more.
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n,
		agent.Settings{Collectors: map[string]bool{snapshot.Processes: false}})
	read(t, s)
	all := read(t, s)
	for _, test := range []struct {
		table, column, expr string
		tolerance           float64 // of the value
	}{
		{"memory", "total", "erlang:memory(total)", 0.2},
		{"memory", "processes", "erlang:memory(processes)", 0.5},
		{"memory", "processes_used", "erlang:memory(processes_used)", 0.5},
		{"memory", "system", "erlang:memory(system)", 0.2},
		{"memory", "atom", "erlang:memory(atom)", 0.2},
		{"memory", "atom_used", "erlang:memory(atom_used)", 0.2},
		{"memory", "code", "erlang:memory(code)", 0.2},
		{"memory", "ets", "erlang:memory(ets)", 0.1},
		{"memory", "ets_tables", "length(ets:all())", 0},
		{"memory", "dets_tables", "0", 0},
		{"memory", "persistent_terms", "maps:get(count, persistent_term:info())", 0},
		{"memory", "persistent_term_memory", "maps:get(memory, persistent_term:info())", 0},
		{"statistics", "bytes_received", "element(2, element(1, statistics(io)))", 1},
		{"statistics", "bytes_output", "element(2, element(2, statistics(io)))", 1},
		{"statistics", "context_switches", "element(1, statistics(context_switches))", 1},
		{"statistics", "dirty_cpu_run_queue", "0", 0},
		{"statistics", "gcs", "element(1, statistics(garbage_collection))", 1},
		{"statistics", "words_reclaimed", "element(2, statistics(garbage_collection))", 1},
		{"statistics", "reductions", "element(1, statistics(reductions))", 1},
		{"statistics", "runtime_ms", "element(1, statistics(runtime))", 1},
		{"statistics", "wallclock_ms", "element(1, statistics(wall_clock))", 1},
		{"statistics", "wordsize", "erlang:system_info(wordsize)", 0},
		{"system_info", "atom_count", "erlang:system_info(atom_count)", 0.2},
		{"system_info", "atom_limit", "erlang:system_info(atom_limit)", 0},
		{"system_info", "dirty_cpu_schedulers", "erlang:system_info(dirty_cpu_schedulers)", 0},
		{"system_info", "dirty_cpu_schedulers_online", "erlang:system_info(dirty_cpu_schedulers_online)", 0},
		{"system_info", "dirty_io_schedulers", "erlang:system_info(dirty_io_schedulers)", 0},
		{"system_info", "ets_limit", "erlang:system_info(ets_limit)", 0},
		{"system_info", "ets_count", "erlang:system_info(ets_count)", 0},
		{"system_info", "logical_processors", "erlang:system_info(logical_processors)", 0},
		{"system_info", "port_count", "erlang:system_info(port_count)", 0},
		{"system_info", "port_limit", "erlang:system_info(port_limit)", 0},
		{"system_info", "process_count", "erlang:system_info(process_count)", 0},
		{"system_info", "process_limit", "erlang:system_info(process_limit)", 0},
		{"system_info", "schedulers", "erlang:system_info(schedulers)", 0},
		{"system_info", "schedulers_online", "erlang:system_info(schedulers_online)", 0},
		{"system_info", "smp_support", "1", 0},
		{"system_info", "threads", "1", 0},
		{"system_info", "thread_pool_size", "erlang:system_info(thread_pool_size)", 0},
		{"system_info", "time_correction", "1", 0},
		{"process", "open_fds", "length(element(2, file:list_dir(\"/proc/self/fd\"))) - 1", 0},
		{"process", "start_time_seconds", "erlang:system_time(second) - element(1, statistics(wall_clock)) div 1000", 1e-8},
		{"process", "uptime_seconds", "element(1, statistics(wall_clock)) / 1000", 1},
	} {
		// A process may end between the reading and the question: both are repeated.
		for attempts := 1; ; attempts++ {
			got, ok := table(t, all, test.table).Value(test.column)
			require.True(t, ok, "%s %s", test.table, test.column)
			want := numbers(t, n, test.expr)[0]
			if math.Abs(want-got) <= want*test.tolerance {
				break
			}
			require.Less(t, attempts, 20, "%s %s is %v, and Erlang says %v", test.table, test.column, got, want)
			all = read(t, s)
		}
	}
	virtual, _ := table(t, all, "process").Value("virtual_bytes")
	resident, _ := table(t, all, "process").Value("resident_bytes")
	require.Greater(t, virtual, resident)
	require.Greater(t, resident, 10e6)
}

// allocatorsOneByOne gives labels and values as prometheus.erl reads them.
const allocatorsOneByOne = `
	Sum = fun(Key, Types) -> lists:sum([element(2, lists:keyfind(Key, 1, I)) || {_, I} <- Types]) end,
	[lists:flatten(io_lib:format("~s ~b ~s", [A, N, K])) ++
		lists:flatten([io_lib:format(" ~b", [V]) || V <- [
			element(2, lists:keyfind(carriers, 1, I)), element(2, lists:keyfind(carriers_size, 1, I)),
			Sum(count, element(2, lists:keyfind(blocks, 1, I))), Sum(size, element(2, lists:keyfind(blocks, 1, I)))]])
	 || A <- erlang:system_info(alloc_util_allocators),
		{instance, N, P} <- erlang:system_info({allocator, A}),
		{K, I} <- P, lists:member(K, [mbcs, mbcs_pool, sbcs])]`

func TestAllocatorsPerInstance(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{AllocatorsPerInstance: true})
	// Idle nodes move a little from one reading to the next, few in all rows.
	var same, of int
	require.Eventually(t, func() bool {
		want := strings.Split(strings.Trim(n.Eval(t, allocatorsOneByOne), `[]"`), `","`)
		got := allocatorLines(table(t, read(t, s), "allocators"))
		require.Len(t, got, len(want))
		same, of = 0, len(want)
		for _, line := range want {
			if slices.Contains(got, line) {
				same++
			}
		}
		return same > of*3/4
	}, 5*time.Second, 50*time.Millisecond, "%d of %d rows are the same", same, of)
}

func allocatorLines(from snapshot.Table) []string {
	var lines []string
	for _, row := range from.Rows {
		for k, kind := range []string{"mbcs", "mbcs_pool", "sbcs"} {
			if v := row.Values[4*k : 4*k+4]; v[0].Valid {
				lines = append(lines, fmt.Sprintf("%s %s %s %.0f %.0f %.0f %.0f", row.Labels[0], row.Labels[1], kind,
					v[0].Float, v[1].Float, v[2].Float, v[3].Float))
			}
		}
	}
	return lines
}

func TestAllocatorsAreSummed(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	got := column(t, table(t, read(t, s), "allocators"), "mbcs_carriers")
	want := numbers(t, n, `[lists:sum([element(2, lists:keyfind(carriers, 1, proplists:get_value(mbcs, P)))
		|| {instance, _, P} <- erlang:system_info({allocator, A})])
		|| A <- lists:sort(erlang:system_info(alloc_util_allocators))]`)
	names := strings.Split(strings.Trim(n.Eval(t, "lists:sort(erlang:system_info(alloc_util_allocators))"), "[]"), ",")
	require.Len(t, got, len(names))
	for i, name := range names {
		require.InDelta(t, want[i], got[name+" all"], 2, name)
	}
}

func TestMSAcc(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	a := exporter(t, "erl_exporter@localhost", agent.Options{})
	outcome := func(s *agent.Session) snapshot.Collector {
		return collector(t, read(t, s), snapshot.MSAcc)
	}

	s := attach(t, a, n, agent.Settings{})
	require.Equal(t, "microstate accounting is off", outcome(s).Missing)
	n.Eval(t, "erlang:system_flag(microstate_accounting, true)")
	require.Empty(t, outcome(s).Missing)
	sleep := column(t, table(t, read(t, s), "msacc"), "sleep")
	require.Contains(t, sleep, "scheduler 1")
	require.Contains(t, sleep, "dirty_io_scheduler 1")
	for thread, seconds := range sleep {
		require.Less(t, seconds, 60.0, thread)
	}
	n.Eval(t, "erlang:system_flag(microstate_accounting, false)")
	outcome(s) // what ran until now
	require.Equal(t, "microstate accounting is off", outcome(s).Missing)
	require.NoError(t, s.Detach(deadline(t)))

	s = attach(t, a, n, agent.Settings{MSAcc: agent.MSAccOff})
	all, err := s.Snapshot(deadline(t), snapshot.Request{Collectors: []string{snapshot.MSAcc, snapshot.Memory, "moon"}})
	require.NoError(t, err)
	require.Equal(t, "switched off for this node", collector(t, all, snapshot.MSAcc).Missing)
	require.Equal(t, `there is no collector "moon"`, collector(t, all, "moon").Err)
	require.Len(t, collector(t, all, snapshot.Memory).Tables, 1)
	require.NoError(t, s.Detach(deadline(t)))
}

func TestDistribution(t *testing.T) {
	t.Parallel()
	epmd := erltest.StartEPMD(t)
	n := erltest.Start(t, erltest.Options{EPMD: epmd})
	peer := erltest.Start(t, erltest.Options{EPMD: epmd, Cookie: n.Cookie})
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	require.Len(t, table(t, read(t, s), "dist_peer").Rows, 1)
	require.Equal(t, "pong", n.Eval(t, "net_adm:ping('"+peer.Name+"')"))

	all := read(t, s)
	state := column(t, table(t, all, "dist_peer"), "node_state")
	require.Equal(t, map[string]float64{peer.Name: 3, "erl_exporter@localhost": 3}, state)
	for _, name := range table(t, all, "dist_peer").Columns {
		require.Len(t, column(t, table(t, all, "dist_peer"), name), 2, name)
	}
	received := column(t, table(t, all, "dist_peer"), "recv_bytes")
	now := numbers(t, n, `[V || {'`+peer.Name+`', P} <- erlang:system_info(dist_ctrl), {ok, [{_, V}]} <- [inet:getstat(P, [recv_oct])]]`)
	require.Positive(t, received[peer.Name])
	require.LessOrEqual(t, received[peer.Name], now[0])
	status := column(t, table(t, all, "dist_proc"), "status")
	require.InDelta(t, 6, status[peer.Name+" dist"], 0)

	peer.Kill()
	require.Eventually(t, func() bool {
		_, there := column(t, table(t, read(t, s), "dist_peer"), "node_state")[peer.Name]
		return !there
	}, 5*time.Second, 20*time.Millisecond)
}

func TestMnesia(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "mnesia")
	n := erltest.Start(t, erltest.Options{})
	a := exporter(t, "erl_exporter@localhost", agent.Options{})
	s := attach(t, a, n, agent.Settings{Limits: agent.Limits{Deadline: 200 * time.Millisecond}})
	require.Equal(t, "mnesia does not run", collector(t, read(t, s), snapshot.Mnesia).Missing)
	require.Equal(t, "false", n.Eval(t, "code:is_loaded(mnesia)"))

	n.Eval(t, `ok = mnesia:start(), {atomic, ok} = mnesia:create_table(stars, []),
		[{atomic, ok} = mnesia:transaction(fun() -> mnesia:write({stars, I, I}) end) || I <- lists:seq(1, 10)]`)
	all := read(t, s)
	tables := table(t, all, "mnesia_table")
	require.InDelta(t, 10, column(t, tables, "size")["stars"], 0)
	words := numbers(t, n, "mnesia:table_info(stars, memory) * erlang:system_info(wordsize)")
	require.InDelta(t, words[0], column(t, tables, "memory")["stars"], 0)
	for name, item := range map[string]string{
		"committed": "transaction_commits", "failed": "transaction_failures",
		"restarted": "transaction_restarts", "logged": "transaction_log_writes",
	} {
		got, ok := table(t, all, "mnesia").Value(name)
		require.True(t, ok)
		require.InDelta(t, numbers(t, n, "mnesia:system_info("+item+")")[0], got, 0, name)
	}
	held, ok := table(t, all, "mnesia").Value("held_locks")
	require.True(t, ok)
	require.InDelta(t, numbers(t, n, "ets:info(mnesia_held_locks, size)")[0], held, 0)

	t.Run("transaction manager hangs", func(t *testing.T) { mnesiaHangs(t, n, s) })
}

// mnesiaHangs: only what the transaction manager would have to say is lacking,
// it is asked once, and its late answer is not taken for another's.
func mnesiaHangs(t *testing.T, n *erltest.Node, s *agent.Session) {
	n.Eval(t, "sys:suspend(mnesia_recover), erlang:suspend_process(whereis(mnesia_tm))")
	for range 3 {
		start := time.Now()
		all := read(t, s)
		require.Less(t, time.Since(start), 2*time.Second)
		_, there := table(t, all, "mnesia").Value("transaction_participants")
		require.False(t, there)
		_, there = table(t, all, "mnesia").Value("committed")
		require.True(t, there)
	}
	require.Equal(t, "1", n.Eval(t, "element(2, process_info(whereis(mnesia_tm), message_queue_len))"))
	n.Eval(t, "erlang:resume_process(whereis(mnesia_tm)), sys:resume(mnesia_recover)")
	require.Eventually(t, func() bool {
		_, there := table(t, read(t, s), "mnesia").Value("transaction_participants")
		return there
	}, 5*time.Second, 20*time.Millisecond)
}

// TestCollectorFails puts a module in Mnesia's place that does not work, so
// that one collector crashes, and then one that never returns.
func TestCollectorFails(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n,
		agent.Settings{Limits: agent.Limits{Deadline: 100 * time.Millisecond}})
	pretend := func(tables string) {
		n.Eval(t, `Forms = [element(2, erl_parse:parse_form(element(2, erl_scan:string(F)))) || F <- [
			"-module(mnesia).", "-export([system_info/1]).",
			"system_info(is_running) -> yes; system_info(tables) -> `+tables+`."]],
			{ok, mnesia, Beam} = compile:forms(Forms), {module, mnesia} = code:load_binary(mnesia, "", Beam)`)
	}
	others := func(all *snapshot.Snapshot) {
		for _, c := range all.Collectors {
			if c.Name != snapshot.Mnesia {
				require.Empty(t, c.Err, c.Name)
			}
		}
	}

	pretend("error(sorry)")
	all := read(t, s)
	require.Contains(t, collector(t, all, snapshot.Mnesia).Err, "sorry")
	require.Empty(t, collector(t, all, snapshot.Mnesia).Tables)
	others(all)

	pretend("receive never -> [] end")
	all = read(t, s)
	require.Equal(t, "no answer within 100ms", collector(t, all, snapshot.Mnesia).Err)
	others(all)
	all = read(t, s)
	require.Contains(t, collector(t, all, snapshot.Mnesia).Err, "still waiting")
	others(all)
	require.Equal(t, "1", n.Eval(t, `length([P || P <- processes(),
		{current_function, {mnesia, system_info, 1}} <- [process_info(P, current_function)]])`))

	require.NoError(t, s.Detach(deadline(t)))
	require.Eventually(t, func() bool {
		return n.Eval(t, `[P || P <- processes(),
			{current_function, {mnesia, system_info, 1}} <- [process_info(P, current_function)]]`) == "[]"
	}, 5*time.Second, 20*time.Millisecond, "the helper that hangs outlives the agent")
}

// TestShedding: collectors are left out in the order of snapshot.ShedOrder, by
// the agent, or by the session when it is asked to.
func TestShedding(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	a := exporter(t, "erl_exporter@localhost", agent.Options{})
	shed := func(all *snapshot.Snapshot) []string {
		var names []string
		for _, c := range all.Collectors {
			if c.Shed {
				require.NotEmpty(t, c.Err)
				names = append(names, c.Name)
			}
		}
		return names
	}
	// Without what is not told in the first reading.
	all := snapshot.ShedOrder()
	all = all[:slices.Index(all, snapshot.Processes)]
	without := func(names ...string) map[string]bool {
		off := map[string]bool{snapshot.Processes: false}
		for _, name := range names {
			off[name] = false
		}
		return off
	}
	// A reading that passes the limit by so many tenths is followed by one
	// without so many collectors.
	s := attach(t, a, n, agent.Settings{Collectors: without()})
	size := int64(read(t, s).Bytes)
	require.NoError(t, s.Detach(deadline(t)))
	for count := range len(all) + 1 {
		// In the middle between two tenths: readings differ by some bytes.
		limit := size * 20 / (20 + 2*int64(count) - 1)
		s := attach(t, a, n, agent.Settings{Collectors: without(), Limits: agent.Limits{Bytes: limit}})
		require.Empty(t, shed(read(t, s)))
		require.ElementsMatch(t, all[:count], shed(read(t, s)), "%d of %d", limit, size)
		require.NoError(t, s.Detach(deadline(t)))
	}

	s = attach(t, a, n, agent.Settings{Collectors: without(snapshot.MSAcc)})
	less, err := s.Snapshot(deadline(t), snapshot.Request{Without: all, Reason: "too dear"})
	require.NoError(t, err)
	require.ElementsMatch(t, slices.DeleteFunc(all, func(c string) bool { return c == snapshot.MSAcc }), shed(less))
	require.Equal(t, "too dear", collector(t, less, snapshot.Mnesia).Err)
	require.NoError(t, s.Detach(deadline(t)))
}

// TestLimits: past its own limit the agent answers what is cheap, and says so.
func TestLimits(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	for name, limits := range map[string]agent.Limits{
		"reductions": {Reductions: 100}, "memory": {Memory: 100}, "bytes": {Bytes: 100},
	} {
		t.Run(name, func(t *testing.T) {
			s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{Limits: limits})
			read(t, s)
			all := read(t, s)
			require.Contains(t, collector(t, all, snapshot.Allocators).Err, "{"+name+",100}")
			require.Empty(t, collector(t, all, snapshot.Memory).Err)
			require.True(t, s.Cost().Shedding)
			require.Positive(t, s.Cost().Reductions)
			require.NoError(t, s.Detach(deadline(t)))
		})
	}
}
