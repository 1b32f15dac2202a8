%%% Part of erl_exporter_agent: what is read, one collector each for memory,
%%% statistics, and so on.
%%%
%%% A collector has a part at hand, which takes no time worth mentioning and
%%% waits for nobody, and jobs, which the agent has run by helpers because they
%%% wait for other schedulers, files or servers. tables/3 puts both together.
%%% Values are as the calls of Erlang give them; [] stands for a value that the
%%% node does not have. Names and meanings are those of prometheus.erl.

%%% ----------------------------------------------------------------------
%%% Schema
%%% ----------------------------------------------------------------------

%% [{Collector, [{Table, Labels, Columns}]}]. Of two tables with one name the
%% second holds constants: one row, which the agent sends when it changes.
schema() ->
    [
        {memory, [{memory, [], memory_columns() ++ counted_columns()}]},
        {statistics, [
            {statistics, [], [
                bytes_received, bytes_output, context_switches, dirty_cpu_run_queue,
                dirty_io_run_queue, gcs, words_reclaimed, reductions, run_queue, runtime_ms,
                wallclock_ms
            ]},
            {statistics, [], [wordsize]}
        ]},
        {system_info, [
            {system_info, [], [port_count, process_count, atom_count, ets_count]},
            {system_info, [], system_constants()}
        ]},
        {vm, vm_schema()},
        {schedulers, schedulers_schema()},
        {allocators, [
            {allocators, [alloc, instance], allocator_columns()},
            {mseg, [], [cache_hits]}
        ]},
        {msacc, [{msacc, [type, id], msacc_states()}]},
        {distribution, [
            {dist_peer, [peer], peer_columns()},
            {dist_proc, [peer, type], process_columns()},
            {dist, [], [visible, hidden, known, net_ticktime]},
            {dist, [], [buffer_busy_limit]}
        ]},
        {mnesia, [
            {mnesia, [], [
                held_locks, lock_queue, transaction_participants, transaction_coordinators,
                failed, committed, logged, restarted, memory, configured_nodes,
                running_nodes, tables, local_tables, master_tables, checkpoints, subscribers,
                dump_log_time_threshold_ms, dump_log_write_threshold
            ]},
            {mnesia_table, [table], [memory, size]}
        ]},
        {process, [
            {process, [], [
                resident_bytes, virtual_bytes, open_fds, cpu_seconds, threads, uptime_seconds
            ]},
            {process, [], [max_fds, start_time_seconds]}
        ]},
        {code, code_schema()},
        {ports, ports_schema()},
        {ets, ets_schema()},
        {vip, vip_schema()},
        {os_mon, os_mon_schema()},
        {processes, scan_schema()},
        {carriers, carriers_schema()},
        {vm_events, vm_events_schema()},
        {alarms, [{sasl_alarms, [], [alarms]}, {elarm_alarms, [severity, state], [alarms]}]},
        %% These have no tables: what they tell is not known before.
        {folsom, []},
        {exometer, []},
        {prometheus, []},
        {telemetry, []},
        {logs, [
            {log_events, [level], [events]},
            {log_reports, [type], [reports]},
            {log_restarts, [supervisor], [restarts]},
            {log_gave_up, [supervisor], [times]},
            {log_drops, [reason], [dropped]}
        ]},
        {agent, [
            {agent, [], [
                reductions, memory_bytes, message_queue_len, dropped, shedding, sent_bytes,
                scan_reductions
            ]},
            {agent_source, [source], [events, dropped]}
        ]}
    ].

%% What is worth knowing of a node once, when the agent starts.
node_info() ->
    Start = erlang:system_info(start_time) + erlang:time_offset(),
    {Name, Version} = init:script_id(),
    [
        {otp_release, erlang:system_info(otp_release)},
        {erts, erlang:system_info(version)},
        {script_name, Name},
        {script_version, Version},
        {os_pid, os:getpid()},
        {architecture, erlang:system_info(system_architecture)},
        {emulator, info(emu_flavor)},
        {creation, erlang:system_info(creation)},
        {start_time_ms, erlang:convert_time_unit(Start, native, millisecond)},
        {schedulers, erlang:system_info(schedulers)},
        {perf_counter, erlang:convert_time_unit(1, second, perf_counter)}
    ].

%%% ----------------------------------------------------------------------
%%% What is at hand
%%% ----------------------------------------------------------------------

at_hand(memory) ->
    Persistent = persistent_term:info(),
    [
        erlang:system_info(ets_count),
        %% dets:all/0 would start the server and wait for it.
        defined(ets:info(dets_registry, size), 0),
        maps:get(count, Persistent),
        maps:get(memory, Persistent)
    ];
at_hand(statistics) ->
    {Switches, _} = statistics(context_switches),
    {Reductions, _} = statistics(reductions),
    {Runtime, _} = statistics(runtime),
    {Wallclock, _} = statistics(wall_clock),
    {DirtyCPU, DirtyIO} = dirty_run_queues(),
    {Switches, DirtyCPU, DirtyIO, Reductions, statistics(run_queue), Runtime, Wallclock};
at_hand(system_info) ->
    {
        {
            erlang:system_info(port_count),
            erlang:system_info(process_count),
            erlang:system_info(atom_count),
            erlang:system_info(ets_count)
        },
        list_to_tuple([info(Item) || Item <- system_constants()])
    };
at_hand(vm) ->
    vm();
at_hand(schedulers) ->
    run_queues();
at_hand(_) ->
    none.

%% The last two lengths are those of the dirty schedulers' queues.
dirty_run_queues() ->
    Online = erlang:system_info(schedulers_online),
    Lengths = statistics(run_queue_lengths_all),
    case length(Lengths) - Online of
        More when More >= 2 ->
            [CPU, IO] = lists:nthtail(length(Lengths) - 2, Lengths),
            {CPU, IO};
        _ ->
            {[], []}
    end.

system_constants() ->
    [
        dirty_cpu_schedulers, dirty_cpu_schedulers_online, dirty_io_schedulers, ets_limit,
        logical_processors, logical_processors_available, logical_processors_online, port_limit,
        process_limit, schedulers, schedulers_online, smp_support, threads, thread_pool_size,
        time_correction, atom_limit, wordsize
    ].

info(Item) ->
    try erlang:system_info(Item) of
        unknown -> [];
        Flag when is_boolean(Flag) -> flag(Flag);
        Value -> Value
    catch
        error:badarg -> []
    end.

proplist(Key, List) ->
    case lists:keyfind(Key, 1, List) of
        {_, Value} -> Value;
        false -> undefined
    end.

flag(true) -> 1;
flag(false) -> 0.

defined(undefined, Default) -> Default;
defined(Value, _) -> Value.

%%% ----------------------------------------------------------------------
%%% Jobs
%%% ----------------------------------------------------------------------

jobs(memory) -> [memory];
jobs(statistics) -> [io_and_gc];
jobs(schedulers) -> [scheduler_times];
jobs(allocators) -> [allocators, mseg];
jobs(msacc) -> [msacc];
jobs(distribution) -> [distribution, net_ticktime];
jobs(mnesia) -> [mnesia, mnesia_transactions];
jobs(process) -> [process];
jobs(code) -> [modules, applications];
jobs(ports) -> [ports];
jobs(ets) -> [ets, dets];
jobs(vip) -> [vip];
jobs(os_mon) -> [os_mon];
jobs(processes) -> [scan_processes];
jobs(carriers) -> [scan_carriers];
jobs(folsom) -> [folsom];
jobs(exometer) -> [exometer];
jobs(prometheus) -> [prometheus];
jobs(telemetry) -> [telemetry];
jobs(Collector) -> [Collector || is_custom(Collector)].

%% Collectors of the owner's configuration have a name of their own after this.
is_custom(Collector) ->
    lists:prefix("custom:", atom_to_list(Collector)).

%% How a job is done: now, at each reading; kept, its answer being good for so
%% long (ms); app, the same with code that is not ours; or as a scan or custom,
%% for which no reading waits. What is not done at each reading is good for many
%% times its cost, too.
way(mseg) -> {kept, ?KEEP_MS};
way(net_ticktime) -> {kept, ?KEEP_MS};
way(modules) -> {kept, ?KEEP_MS};
way(applications) -> {kept, ?KEEP_MS};
way(ports) -> {kept, ?KEEP_MS};
way(ets) -> {kept, ?KEEP_MS};
way(dets) -> {kept, ?KEEP_MS};
way(os_mon) -> {kept, ?KEEP_MS};
way(scan_processes) -> scan;
way(scan_carriers) -> scan;
way(folsom) -> app;
way(exometer) -> app;
way(prometheus) -> app;
way(telemetry) -> app;
way(Job) when
    Job =:= memory; Job =:= io_and_gc; Job =:= scheduler_times; Job =:= allocators; Job =:= msacc;
    Job =:= distribution; Job =:= mnesia; Job =:= mnesia_transactions; Job =:= process; Job =:= vip
->
    now;
way(_) -> custom.

%% The first heap of a job's helper, in words: large enough to be the only one.
heap(allocators) -> 46422;
heap(msacc) -> 4185;
heap(modules) -> 6772;
heap(applications) -> 4185;
heap(ets) -> 6772;
heap(_) -> 987.

%% A job that answers {memo, Memo, Value} finds Memo in its next run; it is none
%% at first.
run(memory, _, _) ->
    All = erlang:memory(),
    [element(2, lists:keyfind(Column, 1, All)) || Column <- memory_columns()];
run(io_and_gc, _, _) ->
    {{input, Input}, {output, Output}} = statistics(io),
    {Collections, Words, _} = statistics(garbage_collection),
    {Input, Output, Collections, Words};
run(scheduler_times, _, Memo) ->
    scheduler_times(Memo);
run(allocators, #{per_instance := PerInstance}, _) ->
    allocators(PerInstance);
run(mseg, _, _) ->
    mseg_cache_hits();
run(msacc, #{msacc := Mode}, Memo) ->
    msacc(Mode, Memo);
run(distribution, _, _) ->
    distribution();
run(net_ticktime, _, _) ->
    net_ticktime();
run(mnesia, _, _) ->
    mnesia();
run(mnesia_transactions, _, _) ->
    mnesia_transactions();
run(process, _, Memo) ->
    os_process(Memo);
run(modules, _, _) ->
    modules();
run(applications, _, _) ->
    applications();
run(ports, _, _) ->
    ports();
run(ets, #{top := Top}, _) ->
    ets_tables(Top);
run(dets, _, _) ->
    dets_tables();
run(vip, #{vip := Names}, _) ->
    vip(Names);
run(os_mon, _, _) ->
    os_mon();
run(scan_processes, Settings, Memo) ->
    scan_processes(Settings, Memo);
run(scan_carriers, _, _) ->
    scan_carriers();
run(folsom, Settings, Memo) ->
    small_enough(folsom(Settings, Memo), Settings);
run(exometer, Settings, Memo) ->
    small_enough(exometer(Settings, Memo), Settings);
run(prometheus, Settings, Memo) ->
    small_enough(prometheus(Settings, Memo), Settings);
run(telemetry, Settings, Memo) ->
    small_enough(telemetry(Settings, Memo), Settings);
run(Collector, #{custom := Custom} = Settings, Memo) ->
    small_enough(custom(maps:get(Collector, Custom), Memo), Settings).

%% Puts together what was at hand and what the jobs answered: {ok, Tables},
%% {missing, Why} or {error, Reason}. A table is {row, Values}, {const, Values}
%% or {rows, Labels, Rows}.
tables(memory, Counted, [{ok, Memory}]) ->
    {ok, [{row, list_to_tuple(Memory ++ Counted)}]};
tables(statistics, {Switches, DirtyCPU, DirtyIO, Reductions, Queue, Runtime, Wallclock}, [Job]) ->
    %% A scheduler that does not answer is when the run queue matters most.
    {Input, Output, Collections, Words} =
        case Job of
            {ok, Values} -> Values;
            {error, _} -> {[], [], [], []}
        end,
    {ok, [
        {row, {
            Input, Output, Switches, DirtyCPU, DirtyIO, Collections, Words, Reductions, Queue,
            Runtime, Wallclock
        }},
        {const, {erlang:system_info(wordsize)}}
    ]};
tables(system_info, {Counts, Constants}, []) ->
    {ok, [{row, Counts}, {const, Constants}]};
tables(vm, Values, []) ->
    {ok, vm_tables(Values)};
tables(schedulers, Values, [Times]) ->
    {ok, scheduler_tables(Values, Times)};
tables(allocators, _, [{ok, Allocators}, Mseg]) ->
    {ok, Allocators ++ [{row, {value(Mseg, [])}}]};
tables(distribution, _, [{ok, Tables}, TickTime]) ->
    {ok, Tables ++ dist_rows(value(TickTime, []))};
tables(code, _, [Modules, Applications]) ->
    {ok, code_tables(Modules, Applications)};
tables(Collector, _, [{ok, too_many} | _]) when Collector =:= ports; Collector =:= ets ->
    {missing, too_many_to_go_through};
tables(ets, _, [{ok, Tables}, Dets]) ->
    {ok, Tables ++ [value(Dets, {rows, [], []})]};
tables(os_mon, _, [{ok, not_running}]) ->
    {missing, os_mon_does_not_run};
tables(processes, 0, [{error, _} = Failed]) ->
    Failed;
tables(processes, Skipped, [Scan]) ->
    {ok, scan_tables(Skipped, Scan)};
tables(vm_events, {on, State, _}, []) ->
    {ok, vm_events(State)};
tables(vm_events, {missing, Why}, []) ->
    {missing, Why};
tables(vm_events, _, []) ->
    {error, the_source_has_failed};
tables(alarms, off, []) ->
    {missing, switched_off};
tables(alarms, {SASL, Elarm}, []) ->
    {ok, [{row, {SASL}}, table_of(Elarm)]};
tables(carriers, _, [{ok, no_instrument}]) ->
    {missing, runtime_tools_is_not_there};
tables(logs, off, []) ->
    {missing, switched_off};
tables(logs, Tables, []) ->
    {ok, Tables};
tables(agent, {Values, Accounts}, []) ->
    {Sources, Rows} = lists:unzip([
        {Source, {Seq, Dropped}}
     || {Source, {_, Seq, Dropped}} <- lists:sort(maps:to_list(Accounts))
    ]),
    {ok, [{row, Values}, {rows, Sources, Rows}]};
tables(msacc, _, [{ok, []}]) ->
    {missing, microstate_accounting_is_off};
tables(mnesia, _, [{ok, not_running} | _]) ->
    {missing, mnesia_does_not_run};
tables(mnesia, _, [{ok, {Before, After, Tables, Rows}}, Transactions]) ->
    Counted =
        case Transactions of
            {ok, {Participants, Coordinators}} -> [Participants, Coordinators];
            _ -> [[], []]
        end,
    {ok, [{row, list_to_tuple(Before ++ Counted ++ After)}, {rows, Tables, Rows}]};
tables(Collector, _, [{ok, not_running}]) ->
    {missing, maps:get(Collector, #{
        folsom => folsom_does_not_run,
        exometer => exometer_does_not_run,
        prometheus => 'prometheus.erl_does_not_run',
        telemetry => telemetry_metrics_prometheus_core_does_not_run
    })};
tables(_, _, [{ok, {custom_failed, Reason}}]) ->
    {error, Reason};
tables(_, _, [{ok, Told}]) when is_tuple(Told) ->
    {ok, {dynamic, Told}};
tables(_, _, [{ok, Tables} | _]) ->
    {ok, Tables};
tables(_, _, [Failed | _]) ->
    Failed.

%%% ----------------------------------------------------------------------
%%% Memory
%%% ----------------------------------------------------------------------

memory_columns() ->
    [total, processes, processes_used, system, atom, atom_used, binary, code, ets].

counted_columns() ->
    [ets_tables, dets_tables, persistent_terms, persistent_term_memory].

%%% ----------------------------------------------------------------------
%%% Microstate accounting
%%% ----------------------------------------------------------------------

msacc_states() ->
    [
        aux, check_io, emulator, gc, other, port, sleep, alloc, bif, busy_wait, ets, gc_full, nif,
        send, timers
    ].

%% No tables when the account does not run. Nothing tells whether it does but
%% the counters themselves: those of a scheduler that answers always move, so a
%% hash of them is kept from one reading to the next.
msacc(off, _) ->
    [];
msacc(on, _) ->
    msacc_tables(msacc_threads());
msacc(auto, none) ->
    msacc(auto, erlang:phash2(msacc_threads()));
msacc(auto, Last) ->
    Threads = msacc_threads(),
    case erlang:phash2(Threads) of
        Last -> {memo, Last, []};
        Hash -> {memo, Hash, msacc_tables(Threads)}
    end.

%% Sorted, for the threads answer in any order.
msacc_threads() ->
    lists:sort([
        {{Type, Id}, msacc_row(Counters)}
     || #{type := Type, id := Id, counters := Counters} <- statistics(microstate_accounting)
    ]).

%% Most nodes have the seven states that are always there; a runtime system
%% built with extra states has them all.
msacc_row(
    #{
        aux := Aux, check_io := CheckIO, emulator := Emulator, gc := GC, other := Other,
        port := Port, sleep := Sleep
    } = Counters
) when map_size(Counters) =:= 7 ->
    {Aux, CheckIO, Emulator, GC, Other, Port, Sleep, [], [], [], [], [], [], [], []};
msacc_row(Counters) ->
    list_to_tuple([maps:get(S, Counters, []) || S <- msacc_states()]).

msacc_tables(Threads) ->
    {Labels, Rows} = lists:unzip(Threads),
    [{rows, Labels, Rows}].
