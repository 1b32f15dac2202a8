package alerting

import (
	"fmt"
	"testing"
	"time"

	"github.com/erlops/erlops/internal/erltest"
)

// provocation is how an alarm is raised on a real node, and how it clears again.
type provocation struct {
	alarm string
	// key is that of the alarm, where it has one that is known before.
	key string
	// rule is the configuration: thresholds that are low, and no hold times;
	// empty for alarms of alarm_handler.
	rule string
	// also are alarms that are raised and relieved along with it.
	also []provocation
	// raise and relieve are expressions of Erlang; hand is what Go does besides,
	// and returns what undoes it.
	raise, relieve string
	hand           func(t *testing.T, n *erltest.Node) (undo func())
	// args are the node's, and within is how long raising and clearing may take
	// each (3 min).
	args   []string
	within time.Duration
}

// all are the provocation itself and those that come along.
func (p *provocation) all() []provocation { return append([]provocation{*p}, p.also...) }

const (
	at      = "clear_for: 0s, for: 0s"
	worker  = "spawn(fun() -> receive stop -> ok end end)"
	stopAll = "[exit(P, kill) || P <- get(held)], erase(held), ok"
	// shop is a process with a name that keeps its messages until it is told to
	// drain.
	shop = "register(shop, spawn(fun L() -> receive drain -> (fun D() -> receive _ -> D() after 0 -> ok end end)(), L() end end))"
)

// hold keeps what an expression makes of 1 to n.
func hold(n int, one string) string {
	return fmt.Sprintf("put(held, [%s || N <- lists:seq(1, %d)]), ok", one, n)
}

// module makes, loads and forgets a module of so many functions.
func module(name, functions string) string {
	return fmt.Sprintf(`(fun() -> {ok, M, B} = compile:forms([{attribute, 1, module, %s}, {attribute, 2, compile, export_all}] ++
		[{function, 3, list_to_atom("f" ++ integer_to_list(I)), 0, [{clause, 3, [], [], [{atom, 3, ok}]}]} || I <- lists:seq(1, %s)], [{source, "/src/m.erl"}]),
		{module, M} = code:load_binary(M, "/lib/m.beam", B), M end)()`, name, functions)
}

const forget = "[begin code:purge(M), code:delete(M), code:purge(M) end || M <- get(held)], ok"

// full are about what can be used up.
func full() []provocation {
	return []provocation{
		{alarm: "process_limit", rule: "minor: {raise: 40, clear: 30, " + at + "}", raise: hold(700, worker), relieve: stopAll},
		{alarm: "port_limit", rule: "minor: {raise: 40, clear: 30, " + at + "}",
			raise:   hold(600, `element(2, {ok, _} = gen_udp:open(0))`),
			relieve: "[gen_udp:close(S) || S <- get(held)], ok"},
		{alarm: "ets_limit", rule: "minor: {raise: 30, clear: 20, " + at + "}", raise: hold(2500, "ets:new(t, [])"), relieve: "[ets:delete(T) || T <- get(held)], ok"},
		{alarm: "atom_growth", rule: "minor: {raise: 20000, clear: 5000, " + at + "}", raise: `[list_to_atom("grown" ++ integer_to_list(N)) || N <- lists:seq(1, 20000)], ok`},
		{alarm: "module_limit", rule: "minor: {raise: 320, clear: 310, " + at + "}",
			raise: hold(330, module(`list_to_atom("m" ++ integer_to_list(N))`, "1")), relieve: forget},
		{alarm: "export_limit", rule: "enabled: true, minor: {raise: 2.5, clear: 2, " + at + "}",
			raise: hold(8, module(`list_to_atom("wide" ++ integer_to_list(N))`, "2000")), relieve: forget},
		{alarm: "persistent_term_growth", rule: "warning: {raise: 1000, clear: 900, " + at + "}",
			raise: "[persistent_term:put({t, N}, N) || N <- lists:seq(1, 1000)], ok", relieve: "[persistent_term:erase({t, N}) || N <- lists:seq(1, 1000)], ok"},
		{alarm: "open_file_limit", rule: "minor: {raise: 40, clear: 30, " + at + "}",
			raise:   hold(700, `element(2, {ok, _} = file:open("/dev/null", [raw, read]))`),
			relieve: "[file:close(F) || F <- get(held)], ok"},
		{alarm: "open_socket_limit", rule: "minor: {raise: 30, clear: 20, " + at + "}",
			raise: hold(600, `element(2, {ok, _} = gen_udp:open(0))`), relieve: "[gen_udp:close(S) || S <- get(held)], ok"},
		{alarm: "old_code", rule: "warning: {" + at + "}", raise: "put(held, [" + module("old", "1") + ", " + module("old", "2") + "]), ok", relieve: "code:purge(old)"},
		{alarm: "module_clash", rule: "enabled: true, warning: {" + at + "}",
			raise:   `[begin ok = filelib:ensure_dir(D ++ "/x"), ok = file:write_file(D ++ "/twice.beam", []), true = code:add_patha(D) end || D <- ["one", "two"]], ok`,
			relieve: `code:del_path("one"), code:del_path("two")`},
		{alarm: "atom_limit", rule: "minor: {raise: 40, clear: 35, " + at + "}",
			raise: `[list_to_atom("kept" ++ integer_to_list(N)) || N <- lists:seq(1, 20000)], ok`,
			hand:  func(_ *testing.T, n *erltest.Node) func() { return n.Restart }},
	}
}

// held are what a node holds on to.
func held() []provocation {
	return []provocation{
		{alarm: "memory_limit", rule: "minor: {raise: 50, clear: 45, " + at + "}",
			raise: "put(held, binary:copy(<<0>>, 200000000)), ok", relieve: "erase(held), garbage_collect(), ok", hand: controlGroup},
	}
}

// events are about what happens.
func events() []provocation {
	minute := "clear_for: 0s"
	return []provocation{
		{alarm: "long_gc", rule: "warning: {" + minute + "}",
			raise: `[begin {P, R} = spawn_monitor(fun() -> L = lists:seq(1, 3000000), garbage_collect(), exit({done, length(L)}) end),
				receive {'DOWN', R, process, P, _} -> ok end end || _ <- lists:seq(1, 6)], ok`},
		{alarm: "large_heap", rule: "warning: {" + minute + "}",
			raise: `{P, R} = spawn_monitor(fun() -> L = lists:seq(1, 3000000), garbage_collect(), exit({done, length(L)}) end),
				receive {'DOWN', R, process, P, _} -> ok end`},
		{alarm: "long_schedule", rule: "warning: {" + minute + "}",
			raise: "L = lists:seq(1, 8000000), [begin erts_debug:flat_size(L), erlang:yield() end || _ <- lists:seq(1, 10)], ok"},
		{alarm: "busy_port", rule: "warning: {raise: 5, " + minute + "}",
			raise: `{ok, L} = gen_tcp:listen(0, [{active, false}, {ip, {127, 0, 0, 1}}]), {ok, Port} = inet:port(L),
				{ok, S} = gen_tcp:connect({127, 0, 0, 1}, Port, []), {ok, _} = gen_tcp:accept(L),
				put(held, [spawn(fun() -> gen_tcp:send(S, binary:copy(<<0>>, 10000000)) end) || _ <- lists:seq(1, 20)]), ok`, relieve: stopAll},
		{alarm: "crash_rate", rule: "minor: {" + minute + "}",
			raise: "[proc_lib:spawn(fun() -> exit(crashed) end) || _ <- lists:seq(1, 12)], [spawn(fun() -> error(crashed) end) || _ <- lists:seq(1, 4)], ok"},
		{alarm: "supervisor_restart_intensity", key: "supervisor_bridge_test", rule: "major: {clear_for: 5s}",
			raise: `{ok, Tokens, _} = erl_scan:string("-module(supervisor_bridge_test). -export([init/1, start/0]). init(_) -> {ok, {{one_for_one, 1, 60}, [{c, {?MODULE, start, []}, permanent, 100, worker, []}]}}. start() -> {ok, proc_lib:spawn_link(fun() -> exit(crashed) end)}."),
				{Forms, []} = lists:foldl(fun({dot, _} = D, {Fs, Ts}) -> {ok, F} = erl_parse:parse_form(lists:reverse([D | Ts])), {[F | Fs], []};
					({'?', L}, {Fs, Ts}) -> {Fs, [{'?', L} | Ts]}; ({var, L, 'MODULE'}, {Fs, [{'?', _} | Ts]}) -> {Fs, [{atom, L, supervisor_bridge_test} | Ts]};
					(T, {Fs, Ts}) -> {Fs, [T | Ts]} end, {[], []}, Tokens),
				{ok, M, B} = compile:forms(lists:reverse(Forms)), {module, M} = code:load_binary(M, "m", B),
				{Pid, Ref} = spawn_monitor(fun() -> process_flag(trap_exit, true), {ok, _} = supervisor:start_link(M, []), receive {'EXIT', _, _} -> ok end end),
				receive {'DOWN', Ref, process, Pid, _} -> ok end`},
		{alarm: "disk_capacity", rule: "minor: {raise: 50, clear: 40, " + at + "}", raise: "disksup ! timeout, ok", hand: fullDisk},
	}
}

// aShell has an Erlang shell whose history holds a long list. Who answers its
// questions types that and then nothing more.
const aShell = `IO = spawn(fun L() -> receive
		{io_request, F, R, {get_until, _, _, M, Fn, A}} ->
			case put(fed, true) of
				undefined -> {done, Typed, _} = apply(M, Fn, [[], "lists:seq(1, 5000).\n" | A]), F ! {io_reply, R, Typed};
				true -> ok
			end, L();
		{io_request, F, R, getopts} -> F ! {io_reply, R, [{encoding, unicode}]}, L();
		{io_request, F, R, Put} when element(1, Put) =:= put_chars -> F ! {io_reply, R, ok}, L();
		{io_request, F, R, _} -> F ! {io_reply, R, {error, enotsup}}, L()
	end end),
	{P, R} = spawn_monitor(fun() -> group_leader(IO, self()), exit({shell, shell:start()}) end),
	receive {'DOWN', R, process, P, {shell, Shell}} -> put(held, [Shell, IO]), ok end`

// processes are about single processes; a process named shop is there before.
func processes() []provocation {
	return []provocation{
		{alarm: "shell_history_size", rule: "minor: {raise: 8000, clear: 7000, " + at + "}", raise: aShell, relieve: stopAll},
		{alarm: "process_message_queue", key: "shop", rule: "minor: {raise: 2000, clear: 1000, " + at + "}",
			raise: "[shop ! N || N <- lists:seq(1, 3000)], ok", relieve: "shop ! drain, ok",
			also: []provocation{{alarm: "vip_process_message_queue", key: "shop", rule: "major: {" + at + "}"}}},
		{alarm: "vip_process_missing", key: "shop", rule: "major: {" + at + "}", raise: "exit(whereis(shop), kill)", relieve: shop},
		{alarm: "process_memory", key: "large", rule: "minor: {raise: 50000000, clear: 40000000, " + at + "}",
			raise:   "put(held, [spawn(fun() -> register(large, self()), L = lists:seq(1, 5000000), receive stop -> length(L) end end)]), ok",
			relieve: stopAll},
		{alarm: "logger_overload", key: "default", rule: "major: {" + at + "}",
			// As a console that takes nothing: who logs is not held up before the
			// handler itself has seen how much there is.
			raise:   "erlang:suspend_process(whereis(logger_std_h_default)), [logger:error(\"flood\") || _ <- lists:seq(1, 400)], ok",
			relieve: "erlang:resume_process(whereis(logger_std_h_default))"},
		{alarm: "system_memory_high_watermark",
			raise:   "application:load(os_mon), application:set_env(os_mon, system_memory_high_watermark, 0.01), {ok, _} = application:ensure_all_started(os_mon), ok",
			relieve: "memsup:set_sysmem_high_watermark(1.0), memsup ! time_to_collect, ok"},
		{alarm: "process_memory_high_watermark",
			raise:   `put(held, [spawn(fun() -> L = lists:seq(1, 5000000), receive stop -> length(L) end end)]), application:load(os_mon), application:set_env(os_mon, process_memory_high_watermark, 0.0001), {ok, _} = application:ensure_all_started(os_mon), ok`,
			relieve: "memsup:set_procmem_high_watermark(1.0), memsup ! time_to_collect, ok"},
	}
}

// busy are about who waits for a processor, on nodes with two schedulers.
func busy() []provocation {
	return []provocation{
		// All run on one scheduler, while the other one sleeps.
		{alarm: "scheduler_collapse", key: "2", rule: "major: {" + at + "}", args: []string{"+S", "2:2"},
			raise:   "erlang:system_flag(multi_scheduling, block_normal), " + hold(10, "spawn(fun L() -> L() end)"),
			relieve: "[exit(P, kill) || P <- get(held)], erlang:system_flag(multi_scheduling, unblock_normal)",
			also: []provocation{
				{alarm: "run_queue_length", rule: "minor: {raise: 2.5, clear: 1, " + at + "}"},
				{alarm: "scheduler_saturated", rule: "minor: {raise: 40, clear: 20, " + at + "}"},
				{alarm: "os_cpu_load", rule: "minor: {raise: 5, clear: 4, " + at + "}"},
			}},
		// The other scheduler is for those that look: a scan that has to wait for its
		// turn counts as dear, and the next one is far.
		{alarm: "process_churn", key: "erlang:apply/2", rule: "warning: {raise: 40, clear: 20, " + at + "}", args: []string{"+S", "2:2"}, within: 5 * time.Minute,
			raise: hold(1, "spawn(fun L() -> L() end)"), relieve: stopAll},
		// Collections of heaps of this size are done by dirty schedulers.
		{alarm: "dirty_scheduler_exhausted", key: "cpu", rule: "major: {" + at + "}", args: []string{"+S", "2:2", "+SDcpu", "1:1"},
			raise: hold(30, "spawn(fun() -> Heap = lists:seq(1, 200000), (fun L() -> garbage_collect(), L() end)(), length(Heap) end)"), relieve: stopAll},
	}
}

// slow are what takes minutes to clear, or most of a gigabyte.
func slow() []provocation {
	const aWhile = 15 * time.Minute
	return []provocation{
		{alarm: "allocator_fragmentation", key: "binary_alloc", rule: "major: {enabled: false}, minor: {" + at + "}", within: aWhile,
			raise: `T = ets:new(t, []), [ets:insert(T, {N, binary:copy(<<0>>, 10000)}) || N <- lists:seq(1, 70000)],
				[ets:delete(T, N) || N <- lists:seq(1, 70000), N rem 50 =/= 0], put(held, T), garbage_collect(), ok`,
			relieve: "ets:delete(get(held)), garbage_collect(), ok"},
		{alarm: "mnesia_overloaded", rule: "minor: {" + at + "}", within: aWhile, args: []string{"-mnesia", "dump_log_write_threshold", "1"},
			raise: `ok = mnesia:create_schema([node()]), ok = mnesia:start(),
				{atomic, ok} = mnesia:create_table(shop, [{disc_copies, [node()]}]),
				put(held, [spawn(fun L() -> mnesia:transaction(fun() -> mnesia:write({shop, rand:uniform(1000), x}) end), L() end) || _ <- lists:seq(1, 4)]), ok`,
			relieve: stopAll},
		{alarm: "agent_failed", rule: "minor: {" + at + "}", within: aWhile, hand: agentKiller},
		{alarm: "node_flapping", rule: "minor: {raise: 2, " + at + "}", within: aWhile, hand: flapping},
	}
}
