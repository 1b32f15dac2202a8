package agent_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// TestOldCode: old code of modules that come from files counts, that of modules
// that a program makes while it runs does not.
func TestOldCode(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	a := exporter(t, "erl_exporter@localhost", agent.Options{})
	const load = `[begin {ok, made, B} = compile:forms([{attribute, 1, module, made}, {attribute, 2, x, X}], %s),
		{module, made} = code:load_binary(made, %s, B) end || X <- [1, 2]], true = erlang:check_old_code(made)`
	for _, test := range []struct {
		name, does string
		want       float64
	}{
		{"made in memory", fmt.Sprintf(load, "[]", `"nofile"`), 0},
		{"a deterministic build", `code:purge(made), ` + fmt.Sprintf(load, "[deterministic]", `"/lib/made.beam"`), 1},
		{"from a file", `code:purge(made), ` + fmt.Sprintf(load, `[{source, "/src/made.erl"}]`, `"/lib/made.beam"`), 1},
		{"deleted", "code:purge(made), code:delete(made)", 1},
		{"purged", "code:purge(made)", 0},
	} {
		n.Eval(t, test.does)
		s := attach(t, a, n, agent.Settings{}) // a new agent has not read it yet
		got, ok := table(t, read(t, s), "code").Value("modules_old_code")
		require.True(t, ok, test.name)
		require.InDelta(t, test.want, got, 0, test.name)
		require.NoError(t, s.Detach(deadline(t)))
	}
}

// TestMoreValues holds the groups beyond prometheus.erl's against the node.
func TestMoreValues(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "mnesia", "os_mon")
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, `{ok, _} = application:ensure_all_started(os_mon), ok = mnesia:start(),
		{ok, _} = dets:open_file(stars, [{file, "`+t.TempDir()+`/stars.dets"}]),
		ets:new(wide, [named_table, public, bag]), ets:insert(wide, [{1, I} || I <- lists:seq(1, 20000)])`)
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	all := read(t, s)
	for _, test := range []struct {
		table, column, expr string
		tolerance           float64 // of the value
	}{
		{"vm", "start_time_seconds", "erlang:system_time(second) - element(1, statistics(wall_clock)) div 1000", 1e-8},
		{"vm", "time_offset_seconds", "erlang:time_offset(millisecond) / 1000", 1e-6},
		{"vm", "code_mode_interactive", "1", 0},
		{"vm", "check_io_max_fds", "lists:max([proplists:get_value(max_fds, L) || L <- erlang:system_info(check_io)])", 0},
		{"code", "modules_loaded", "length(code:all_loaded())", 0.1},
		{"code", "modules_old_code", "0", 0},
		{"code", "registered_processes", "length(registered())", 0},
		{"code", "global_names", "0", 0},
		{"code", "applications_running", "length(application:which_applications())", 0},
		{"code", "applications_loaded", "length(application:loaded_applications())", 0},
		{"dist", "hidden", "length(nodes(hidden))", 0},
		{"dist", "known", "length(nodes(known))", 0},
		{"dist", "net_ticktime", "net_kernel:get_net_ticktime()", 0},
		{"dist", "buffer_busy_limit", "erlang:system_info(dist_buf_busy_limit)", 0},
		{"mnesia", "configured_nodes", "1", 0},
		{"mnesia", "running_nodes", "1", 0},
		{"mnesia", "tables", "length(mnesia:system_info(tables))", 0},
		{"mnesia", "local_tables", "length(mnesia:system_info(local_tables))", 0},
		// The agent subscribes itself, before the reading or after it.
		{"mnesia", "subscribers", "length(mnesia:system_info(subscribers))", 0.5},
		{"mnesia", "dump_log_write_threshold", "mnesia:system_info(dump_log_write_threshold)", 0},
		{"mnesia", "dump_log_time_threshold_ms", "mnesia:system_info(dump_log_time_threshold)", 0},
		{"dets", "file_bytes", "dets:info(stars, file_size)", 0},
	} {
		got, ok := table(t, all, test.table).Value(test.column)
		require.True(t, ok, "%s %s", test.table, test.column)
		want := numbers(t, n, test.expr)[0]
		require.InDelta(t, want, got, want*test.tolerance, "%s %s", test.table, test.column)
	}
	for _, test := range []struct {
		table, column, row, expr string
		tolerance                float64
	}{
		{"ets_top_memory", "bytes", "1 wide " + owner(t, n), "ets:info(wide, memory) * erlang:system_info(wordsize)", 0},
		{"ets_top_objects", "objects", "1 wide " + owner(t, n), "20000", 0},
		{"ets_type", "tables", "bag public", "length([T || T <- ets:all(), ets:info(T, type) =:= bag, ets:info(T, protection) =:= public])", 0},
		{"inet_port", "ports", "tcp", `length([P || P <- erlang:ports(), {name, "tcp_inet"} =:= erlang:port_info(P, name)])`, 0},
		{"port_driver", "ports", "forker", "1", 0},
		{"vip", "up", "net_kernel", "1", 0},
		{"vip", "message_queue_len", "code_server", "0", 0},
		{"vip", "reductions", "kernel_sup", "element(2, process_info(whereis(kernel_sup), reductions))", 0.5},
		{"logger_handler", "message_queue_len", "default", "0", 0},
		{"os_memory", "bytes", "total", "proplists:get_value(system_total_memory, memsup:get_system_memory_data())", 0},
		{"os_load", "load", "15", "cpu_sup:avg15() / 256", 0.2},
		{"application", "info", "kernel " + strings.Trim(n.Eval(t, `element(2, application:get_key(kernel, vsn))`), `"`) + " running", "1", 0},
		{"time_warp_mode", "info", "no_time_warp", "1", 0},
	} {
		got, ok := column(t, table(t, all, test.table), test.column)[test.row]
		require.True(t, ok, "%s %s in %v", test.table, test.row, column(t, table(t, all, test.table), test.column))
		want := numbers(t, n, test.expr)[0]
		require.InDelta(t, want, got, want*test.tolerance, "%s %s", test.table, test.row)
	}
	info := table(t, all, "vm_info")
	require.Equal(t, n.Eval(t, "list_to_atom(erlang:system_info(version))"), "'"+info.Rows[0].Labels[1]+"'")

	queues := column(t, table(t, all, "run_queue"), "length")
	require.Len(t, queues, int(numbers(t, n, "erlang:system_info(schedulers_online)")[0])+2)
	require.Contains(t, queues, "dirty_cpu")

	allocated := column(t, table(t, all, "allocated"), "allocated")
	used := column(t, table(t, all, "allocated"), "used")
	require.Greater(t, allocated["eheap_alloc"], used["eheap_alloc"])
	require.InDelta(t, used["eheap_alloc"]/allocated["eheap_alloc"], column(t, table(t, all, "allocated"), "utilisation")["eheap_alloc"], 1e-9)
	_, ok := table(t, all, "process").Value("unaccounted_bytes")
	require.True(t, ok)
}

// owner names the process that evaluates.
func owner(t *testing.T, n *erltest.Node) string {
	t.Helper()
	return strings.Trim(n.Eval(t, `case process_info(self(), registered_name) of {_, Name} -> Name; [] -> 'erlang:apply/2' end`), "'")
}

// TestOSMonIsNotStarted: what does not run is not started to be read.
func TestOSMonIsNotStarted(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	require.Equal(t, "os mon does not run", collector(t, read(t, s), snapshot.OSMon).Missing)
	require.Equal(t, "[false,false]", n.Eval(t, "[code:is_loaded(memsup), code:is_loaded(mnesia)]"))
}

// TestSchedulerUse: one of the schedulers is busy all the time.
func TestSchedulerUse(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{Args: []string{"+S", "2:2"}})
	n.Eval(t, "spawn(fun Busy() -> Busy() end), ok")
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	read(t, s)
	require.Eventually(t, func() bool {
		use := table(t, read(t, s), "scheduler_use")
		utilisation, most := column(t, use, "utilisation"), column(t, use, "max")
		return most["normal"] > 0.5 && utilisation["normal"] > 0.25 && utilisation["normal"] < most["normal"] && utilisation["weighted"] > 0
	}, 30*time.Second, 100*time.Millisecond)
	wall := column(t, table(t, read(t, s), "scheduler_time"), "wall_seconds")
	require.Less(t, wall["normal 1"], 120.0)
	require.Positive(t, wall["dirty_io 1"])
	require.NoError(t, s.Detach(deadline(t)))
	require.Eventually(t, func() bool { return n.Eval(t, "statistics(scheduler_wall_time)") == "undefined" }, 5*time.Second, 20*time.Millisecond)
}

// scanned reads until a scan has been told.
func scanned(t *testing.T, s *agent.Session) *snapshot.Snapshot {
	t.Helper()
	var all *snapshot.Snapshot
	require.Eventually(t, func() bool {
		all = read(t, s)
		_, there := table(t, all, "scan").Value("messages")
		return there
	}, 60*time.Second, 100*time.Millisecond)
	return all
}

// TestScan: what a scan tells of processes that are easy to know.
func TestScan(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, `Sleep = fun() -> receive never -> ok end end,
		[register(list_to_atom("box" ++ integer_to_list(I)), spawn(Sleep)) || I <- [1, 2]],
		[box1 ! M || M <- lists:seq(1, 2000)], [box2 ! M || M <- lists:seq(1, 50)],
		[spawn(Sleep) || _ <- lists:seq(1, 500)],
		register(large, spawn(fun() -> L = lists:seq(1, 300000), Sleep(), L end)),
		register(busy, spawn(fun Busy() -> Busy() end)),
		register(holder, spawn(fun() -> B = binary:copy(<<0>>, 5000000), Sleep(), B end)), ok`)
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	first := read(t, s)
	_, there := table(t, first, "scan").Value("messages")
	require.False(t, there, "a reading waits for a scan")
	all := scanned(t, s)

	value := func(column string) float64 {
		v, ok := table(t, all, "scan").Value(column)
		require.True(t, ok, column)
		return v
	}
	require.GreaterOrEqual(t, value("messages"), 2050.0)
	require.InDelta(t, 2000, value("mailbox_max"), 0)
	require.InDelta(t, 0, value("skipped"), 0)
	require.InDelta(t, 0, value("incomplete"), 0)
	require.InDelta(t, numbers(t, n, "erlang:system_info(process_count)")[0], value("processes"), 10)
	require.Equal(t, map[string]float64{"10": 2, "100": 1, "1000": 1, "10000": 0, "100000": 0}, column(t, table(t, all, "scan_mailbox"), "processes"))
	require.InDelta(t, 2000, column(t, table(t, all, "top_mailbox"), "value")["1 box1 erlang:apply/2"], 0)
	require.InDelta(t, 50, column(t, table(t, all, "top_mailbox"), "value")["2 box2 erlang:apply/2"], 0)
	require.Greater(t, column(t, table(t, all, "top_memory"), "value")["1 large erlang:apply/2"], 2e6)
	require.Positive(t, column(t, table(t, all, "top_reductions"), "value")["1 busy erlang:apply/2"])
	require.GreaterOrEqual(t, column(t, table(t, all, "top_binary"), "value")["1 holder erlang:apply/2"], 5e6)
	calls := column(t, table(t, all, "by_initial_call"), "processes")
	require.Greater(t, calls["erlang:apply/2"], 500.0)
	require.Contains(t, calls, "supervisor:kernel/1", "what proc_lib has started goes by its own function")
	require.Positive(t, column(t, table(t, all, "by_application"), "memory")["kernel"])
	for _, row := range table(t, all, "top_memory").Rows {
		for _, label := range row.Labels {
			require.NotContains(t, label, "<", "a pid is in a label")
		}
	}
}

// TestScanIsNotRepeated: not before a minute has passed.
func TestScanIsNotRepeated(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	reductions := func(all *snapshot.Snapshot) float64 {
		v, _ := table(t, all, "agent").Value("scan_reductions")
		return v
	}
	// The reading that tells of the scan may have been the one before it ended.
	before := reductions(scanned(t, s))
	require.Positive(t, before)
	for range 5 {
		require.InDelta(t, before, reductions(read(t, s)), 0)
	}
	require.Positive(t, collector(t, read(t, s), snapshot.Processes).Age)
}

// TestKept: what is dear is not read at each scrape.
func TestKept(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	tables := func(all *snapshot.Snapshot) (sum float64) {
		for _, count := range column(t, table(t, all, "ets_type"), "tables") {
			sum += count
		}
		return sum
	}
	before := tables(read(t, s))
	n.Eval(t, "ets:new(one_more, [public, named_table]), ok")
	again := read(t, s)
	if collector(t, again, snapshot.ETS).Age < 14*time.Second {
		require.InDelta(t, before, tables(again), 0)
	}
	_, ok := table(t, again, "system_info").Value("ets_count")
	require.True(t, ok)
}

// TestCarriers are read on demand only.
func TestCarriers(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "runtime_tools")
	n := erltest.Start(t, erltest.Options{})
	a := exporter(t, "erl_exporter@localhost", agent.Options{})
	s := attach(t, a, n, agent.Settings{})
	for _, c := range read(t, s).Collectors {
		require.NotEqual(t, snapshot.Carriers, c.Name)
	}
	require.NoError(t, s.Detach(deadline(t)))
	s = attach(t, a, n, agent.Settings{Collectors: map[string]bool{snapshot.Carriers: true}})
	require.Eventually(t, func() bool {
		all := read(t, s)
		blocks, there := all.Table("carrier_blocks")
		if !there || len(blocks.Rows) == 0 {
			return false
		}
		free := column(t, blocks, "blocks")
		require.GreaterOrEqual(t, free["eheap_alloc +Inf"], free["eheap_alloc 511"])
		require.Positive(t, free["eheap_alloc +Inf"])
		require.NotEmpty(t, table(t, all, "allocations").Rows)
		return true
	}, 30*time.Second, 50*time.Millisecond)
}
