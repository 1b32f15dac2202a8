%%% What the agent reads: one collector each for memory, statistics, and so on.
%%%
%%% A collector has a part at hand, which takes no time worth mentioning and
%%% waits for nobody, and jobs, which the agent has run by helpers because they
%%% wait for other schedulers, files or servers. tables/3 puts both together.
%%% Values are as the calls of Erlang give them; [] stands for a value that the
%%% node does not have. Names and meanings are those of prometheus.erl.
-module(erl_exporter_collect).

-export([schema/0, node_info/0, is_cheap/1, at_hand/1, jobs/1, heap/1, run/2, tables/3, flag/1]).

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
        {allocators, [{allocators, [alloc, instance], allocator_columns()}]},
        {msacc, [{msacc, [type, id], msacc_states()}]},
        {distribution, [
            {dist_peer, [peer], [node_state, queue_size | inet_columns() ++ port_columns()]},
            {dist_proc, [peer, type], [status | process_items()]}
        ]},
        {mnesia, [
            {mnesia, [], [
                held_locks, lock_queue, transaction_participants, transaction_coordinators,
                failed, committed, logged, restarted, memory
            ]},
            {mnesia_table, [table], [memory, size]}
        ]},
        {process, [
            {process, [], [
                resident_bytes, virtual_bytes, open_fds, cpu_seconds, threads, uptime_seconds
            ]},
            {process, [], [max_fds, start_time_seconds]}
        ]},
        {agent, [{agent, [], [reductions, memory_bytes, message_queue_len, dropped, shedding]}]}
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

%% Cheap collectors are answered even when the agent is past its own limits.
is_cheap(Collector) ->
    lists:member(Collector, [memory, statistics, system_info, agent]).

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

flag(true) -> 1;
flag(false) -> 0.

defined(undefined, Default) -> Default;
defined(Value, _) -> Value.

%%% ----------------------------------------------------------------------
%%% Jobs
%%% ----------------------------------------------------------------------

jobs(memory) -> [memory];
jobs(statistics) -> [io_and_gc];
jobs(allocators) -> [allocators];
jobs(msacc) -> [msacc];
jobs(distribution) -> [distribution];
jobs(mnesia) -> [mnesia, mnesia_transactions];
jobs(process) -> [process];
jobs(_) -> [].

%% The first heap of a job's helper, in words: large enough to be the only one.
heap(allocators) -> 46422;
heap(msacc) -> 4185;
heap(_) -> 987.

%% Context is {PerInstance, MSAcc, Memo}. A job that answers {memo, Memo, Value}
%% finds Memo in the context of its next run; it is none at first.
run(memory, _) ->
    All = erlang:memory(),
    [defined(proplist(Column, All), []) || Column <- memory_columns()];
run(io_and_gc, _) ->
    {{input, Input}, {output, Output}} = statistics(io),
    {Collections, Words, _} = statistics(garbage_collection),
    {Input, Output, Collections, Words};
run(allocators, {PerInstance, _, _}) ->
    allocators(PerInstance);
run(msacc, {_, Mode, Memo}) ->
    msacc(Mode, Memo);
run(distribution, _) ->
    distribution();
run(mnesia, _) ->
    mnesia();
run(mnesia_transactions, _) ->
    mnesia_transactions();
run(process, {_, _, Memo}) ->
    erl_exporter_os:process(Memo).

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
tables(agent, Values, []) ->
    {ok, [{row, Values}]};
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
tables(_, _, [{ok, Tables} | _]) ->
    {ok, Tables};
tables(_, _, [Failed | _]) ->
    Failed.

proplist(Key, List) ->
    case lists:keyfind(Key, 1, List) of
        {_, Value} -> Value;
        _ -> undefined
    end.

%%% ----------------------------------------------------------------------
%%% Memory
%%% ----------------------------------------------------------------------

memory_columns() ->
    [total, processes, processes_used, system, atom, atom_used, binary, code, ets].

counted_columns() ->
    [ets_tables, dets_tables, persistent_terms, persistent_term_memory].

%%% ----------------------------------------------------------------------
%%% Allocators
%%% ----------------------------------------------------------------------

allocator_columns() ->
    [
        mbcs_carriers, mbcs_carriers_size, mbcs_blocks, mbcs_blocks_size,
        mbcs_pool_carriers, mbcs_pool_carriers_size, mbcs_pool_blocks, mbcs_pool_blocks_size,
        sbcs_carriers, sbcs_carriers_size, sbcs_blocks, sbcs_blocks_size
    ].

allocators(PerInstance) ->
    Instances = [{A, L} || {A, L} <- allocator_info(), is_list(L)],
    {Labels, Rows} = lists:unzip(
        case PerInstance of
            true -> [{{A, N}, instance(P)} || {A, L} <- Instances, {instance, N, P} <- L];
            false -> [{{A, all}, sum_instances(L)} || {A, L} <- Instances]
        end
    ),
    [{rows, Labels, Rows}].

%% One request for all allocators costs a sixth of one each. That a list is
%% accepted is not documented.
allocator_info() ->
    Names = erlang:system_info(alloc_util_allocators),
    try
        erlang:system_info({allocator, Names})
    catch
        error:badarg -> [{A, erlang:system_info({allocator, A})} || A <- Names]
    end.

sum_instances(Instances) ->
    [First | Rest] = [tuple_to_list(instance(P)) || {instance, _, P} <- Instances],
    list_to_tuple(lists:foldl(fun(Row, Sums) -> lists:zipwith(fun add/2, Row, Sums) end, First, Rest)).

add([], Sum) -> Sum;
add(Value, []) -> Value;
add(Value, Sum) -> Value + Sum.

instance(Properties) ->
    {MC, MCS, MB, MBS} = kind(mbcs, Properties),
    {PC, PCS, PB, PBS} = kind(mbcs_pool, Properties),
    {SC, SCS, SB, SBS} = kind(sbcs, Properties),
    {MC, MCS, MB, MBS, PC, PCS, PB, PBS, SC, SCS, SB, SBS}.

kind(Kind, Properties) ->
    case lists:keyfind(Kind, 1, Properties) of
        {_, Info} ->
            {Blocks, Size} = blocks(lists:keyfind(blocks, 1, Info), Info),
            {current(carriers, Info), current(carriers_size, Info), Blocks, Size};
        false ->
            {[], [], [], []}
    end.

%% The values after the key are the current one, the maximum since the last
%% call, and the maximum ever.
current(Key, Info) ->
    element(2, lists:keyfind(Key, 1, Info)).

%% Blocks are listed by the type of allocator that made them; before OTP 23
%% they were numbers like all others.
blocks({blocks, Types}, _) when is_list(Types) ->
    lists:foldl(
        fun({_, Info}, {Count, Size}) -> {Count + current(count, Info), Size + current(size, Info)} end,
        {0, 0},
        Types
    );
blocks(Blocks, Info) ->
    {element(2, Blocks), current(blocks_size, Info)}.

%%% ----------------------------------------------------------------------
%%% Microstate accounting
%%% ----------------------------------------------------------------------

msacc_states() ->
    [
        aux, check_io, emulator, gc, other, port, sleep, alloc, bif, busy_wait, ets, gc_full, nif,
        send, timers
    ].

%% No tables when the account does not run. Nothing tells whether it does but
%% the counters themselves: those of a scheduler that answers always move, so
%% their sum is kept from one reading to the next.
msacc(auto, none) ->
    msacc(auto, msacc_sum(msacc_threads()));
msacc(auto, LastSum) ->
    Threads = msacc_threads(),
    case msacc_sum(Threads) of
        LastSum -> {memo, LastSum, []};
        Sum -> {memo, Sum, msacc_tables(Threads)}
    end;
msacc(on, _) ->
    msacc_tables(msacc_threads());
msacc(off, _) ->
    [].

%% Sorted, for the threads answer in any order.
msacc_threads() ->
    lists:sort([
        {{Type, Id}, Counters}
     || #{type := Type, id := Id, counters := Counters} <- statistics(microstate_accounting)
    ]).

msacc_sum(Threads) ->
    lists:sum([V || {_, Counters} <- Threads, V <- maps:values(Counters)]).

msacc_tables(Threads) ->
    {Labels, Counters} = lists:unzip(Threads),
    Rows = [list_to_tuple([maps:get(S, C, []) || S <- msacc_states()]) || C <- Counters],
    [{rows, Labels, Rows}].

%%% ----------------------------------------------------------------------
%%% Distribution
%%% ----------------------------------------------------------------------

inet_columns() ->
    [
        recv_bytes, recv_cnt, recv_max_bytes, recv_avg_bytes, recv_dvi_bytes, send_bytes,
        send_cnt, send_max_bytes, send_avg_bytes, send_pend_bytes
    ].

inet_items() ->
    [
        recv_oct, recv_cnt, recv_max, recv_avg, recv_dvi, send_oct, send_cnt, send_max, send_avg,
        send_pend
    ].

port_columns() ->
    [port_input_bytes, port_output_bytes, port_memory_bytes, port_queue_size_bytes].

process_items() ->
    [
        memory, heap_size, min_heap_size, min_bin_vheap_size, stack_size, total_heap_size,
        message_queue_len, reductions
    ].

%% Connections are records in net_kernel's table; asking net_kernel for them
%% would wait for a process each. The first six fields are the same from OTP 23
%% to 29: node, connection id, state, owner, controller.
distribution() ->
    Controllers = erlang:system_info(dist_ctrl),
    Peers = lists:sort([
        {element(2, C), element(3, C), element(4, C), element(5, C)}
     || C <- ets:tab2list(sys_dist), element(1, C) =:= connection, tuple_size(C) > 5
    ]),
    Read = [
        {Node, peer(Id, State, Controller), processes(Node, Owner, Controller)}
     || {Node, Id, State, Owner} <- Peers,
        Controller <- [proplist(Node, Controllers)]
    ],
    {Labels, Rows} = lists:unzip([Row || {_, _, Processes} <- Read, Row <- Processes]),
    [
        {rows, [Node || {Node, _, _} <- Read], [Row || {_, Row, _} <- Read]},
        {rows, Labels, Rows}
    ].

peer(Id, State, Controller) ->
    Port = socket(Controller),
    list_to_tuple([node_state(State), queue_size(Id) | inet_values(Port) ++ port_values(Port)]).

node_state(pending) -> 1;
node_state(up_pending) -> 2;
node_state(up) -> 3;
node_state(_) -> [].

queue_size(Id) ->
    try erlang:dist_get_stat(Id) of
        {ok, _, _, false} -> 0;
        {ok, _, _, true} -> -1;
        {ok, _, _, Size} -> Size
    catch
        error:_ -> []
    end.

inet_values(none) ->
    [[] || _ <- inet_items()];
inet_values(Port) ->
    case inet:getstat(Port, inet_items()) of
        {ok, Stats} -> [defined(proplist(I, Stats), []) || I <- inet_items()];
        {error, _} -> inet_values(none)
    end.

port_values(none) ->
    [[], [], [], []];
port_values(Port) ->
    [port_value(Port, Item) || Item <- [input, output, memory, queue_size]].

port_value(Port, Item) ->
    case erlang:port_info(Port, Item) of
        {_, Value} -> Value;
        undefined -> []
    end.

%% Over TCP the controller is the socket. Over TLS it is the process that
%% encrypts; the process that it is linked to and that decrypts has the socket.
socket(Port) when is_port(Port) ->
    Port;
socket(Sender) when is_pid(Sender) ->
    case tls_connection(Sender) of
        none -> none;
        Connection -> hd([P || P <- links(Connection), is_port(P)] ++ [none])
    end;
socket(_) ->
    none.

tls_connection(Sender) ->
    hd([P || P <- links(Sender), is_pid(P), initial_call(P) =:= {tls_connection, init, 1}] ++ [none]).

links(Pid) ->
    case process_info(Pid, links) of
        {_, Links} -> Links;
        undefined -> []
    end.

initial_call(Pid) ->
    case process_info(Pid, dictionary) of
        {_, Dictionary} -> proplist('$initial_call', Dictionary);
        undefined -> undefined
    end.

processes(Node, Owner, Sender) when is_pid(Sender) ->
    process(Node, dist, Owner) ++
        process(Node, tls_connection, tls_connection(Sender)) ++
        process(Node, tls_sender, Sender);
processes(Node, Owner, _) ->
    process(Node, dist, Owner).

process(Node, Type, Pid) when is_pid(Pid) ->
    %% process_info gives min_bin_vheap_size and min_heap_size as all others
    %% when they are asked for in a list.
    case process_info(Pid, [status | process_items()]) of
        [{status, Status} | Items] ->
            [{{Node, Type}, list_to_tuple([status(Status) | [V || {_, V} <- Items]])}];
        undefined ->
            []
    end;
process(_, _, _) ->
    [].

status(exiting) -> 1;
status(suspended) -> 2;
status(runnable) -> 3;
status(garbage_collecting) -> 4;
status(running) -> 5;
status(waiting) -> 6.

%%% ----------------------------------------------------------------------
%%% Mnesia
%%% ----------------------------------------------------------------------

%% Never loads Mnesia where it is not used.
mnesia_runs() ->
    erlang:function_exported(mnesia, system_info, 1) andalso
        mnesia:system_info(is_running) =:= yes.

mnesia() ->
    case mnesia_runs() of
        true ->
            Tables = lists:sort(mnesia:system_info(tables)),
            Word = erlang:system_info(wordsize),
            Rows = [{table_info(T, memory) * Word, table_info(T, size)} || T <- Tables],
            Locks = [defined(ets:info(T, size), []) || T <- [mnesia_held_locks, mnesia_lock_queue]],
            Counters = [
                mnesia:system_info(I)
             || I <- [
                    transaction_failures, transaction_commits, transaction_log_writes,
                    transaction_restarts
                ]
            ],
            {Locks, Counters ++ [lists:sum([M || {M, _} <- Rows])], Tables, Rows};
        false ->
            not_running
    end.

table_info(Table, Item) ->
    defined(mnesia:table_info(Table, Item), 0).

%% The transaction manager answers when it comes to it. The helper that waits
%% here takes a late answer with it when it ends; a minute is far beyond the
%% agent's deadline and bounds the wait for a manager that died meanwhile.
mnesia_transactions() ->
    case mnesia_runs() andalso mnesia_tm:get_info(60000) of
        {info, Participants, Coordinators} -> {length(Participants), length(Coordinators)};
        _ -> {[], []}
    end.
