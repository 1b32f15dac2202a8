%%% Part of erl_exporter_agent: scans, which go through all processes or all
%%% carriers. No reading waits for them. A helper of low priority works in
%%% slices with pauses between them, and what it found is told from then on.

%% A slice of work, the pause after it, and how long a scan may take (us, ms,
%% ms): a tenth of one scheduler at most, and half a minute.
-define(SLICE_US, 5000).
-define(PAUSE_MS, 45).
-define(SCAN_MS, 40000).

%% How many processes are looked at between two looks at the clock.
-define(BATCH, 64).

%% Before OTP 26.2, who a process is stands in its dictionary, which is copied
%% as a whole: it is looked up for so many only, and not in large processes
%% (bytes).
-define(SAMPLE, 1000).
-define(LARGE, 1048576).

%% Binaries are looked at in so many processes, and not in those with more
%% memory than this (bytes): the list of them may be as long.
-define(BINARY_SAMPLE, 200).
-define(BINARY_LARGE, 33554432).

scan_schema() ->
    [
        {scan, [], [
            skipped, duration_seconds, processes, messages, mailbox_max, incomplete
        ]},
        {scan_mailbox, [threshold], [processes]},
        {top_memory, [rank, name, initial_call], [value]},
        {top_mailbox, [rank, name, initial_call], [value]},
        {top_reductions, [rank, name, initial_call], [value]},
        {top_binary, [rank, name, initial_call], [value]},
        {by_initial_call, [initial_call], [processes]},
        {by_application, [application], [processes, memory, reductions]}
    ].

thresholds() -> [10, 100, 1000, 10000, 100000].

%% Whether there are too many processes is known without a scan.
too_many_processes(#{max_processes := Max}) ->
    erlang:system_info(process_count) > Max.

scan_tables(Skipped, {ok, {Took, Counts, Tables}}) when Skipped =:= 0 ->
    {Processes, Messages, Longest, Incomplete} = Counts,
    [{row, {Skipped, Took, Processes, Messages, Longest, Incomplete}} | Tables];
scan_tables(Skipped, _) ->
    [{row, {Skipped, [], [], [], [], []}} | [{rows, [], []} || _ <- tl(scan_schema())]].

%% {scanned, CostInMicroseconds, Memo, Value}. The memo has, of each
%% application, the reductions of its processes in the last scan and the sum of
%% what they grew by from scan to scan: processes that end take theirs along.
scan_processes(#{top := Top} = Settings, Memo) ->
    case too_many_processes(Settings) of
        true ->
            {scanned, 0, Memo, skipped};
        false ->
            Start = now_us(),
            Count = erlang:system_info(process_count),
            S0 = #{
                start => Start, slice => Start, busy => 0, slice_pids => [],
                deadline => Start + ?SCAN_MS * 1000,
                count => 0, messages => 0, longest => 0, incomplete => 0,
                above => maps:from_list([{T, 0} || T <- thresholds()]),
                memory => best(Top), mailbox => best(Top), rate => best(Top * 5),
                applications => applications_by_leader(),
                by_application => #{}, sampled => 0, calls => #{},
                every => max(1, Count div ?SAMPLE), binary_every => max(1, Count div ?BINARY_SAMPLE),
                binary => best(Top)
            },
            S = measure(pause(walk(first_processes(), S0))),
            told(Top, S, Memo)
    end.

%% Without an iterator the node makes a list of all processes.
first_processes() ->
    case erlang:function_exported(erlang, processes_iterator, 0) of
        true -> {iterator, erlang:processes_iterator()};
        false -> processes()
    end.

next_process({iterator, Iterator}) ->
    case erlang:processes_next(Iterator) of
        {Pid, Next} -> {Pid, {iterator, Next}};
        none -> none
    end;
next_process([Pid | Pids]) ->
    {Pid, Pids};
next_process([]) ->
    none.

walk(Processes, #{count := Count} = S) ->
    case next_process(Processes) of
        none ->
            S;
        {Pid, Others} ->
            S1 = look(Pid, S),
            case Count rem ?BATCH of
                0 -> rest(Others, S1);
                _ -> walk(Others, S1)
            end
    end.

rest(Processes, #{slice := Slice, deadline := Deadline} = S) ->
    Now = now_us(),
    if
        Now > Deadline -> S#{incomplete := 1};
        Now - Slice < ?SLICE_US -> walk(Processes, S);
        true -> walk(Processes, pause(S))
    end.

%% Ends a slice. What its processes have done during the pause tells which are
%% busy.
pause(#{slice := Slice, busy := Busy, slice_pids := Pids, rate := Rate0} = S) ->
    Worked = now_us() - Slice,
    receive
    after ?PAUSE_MS -> ok
    end,
    Start = now_us(),
    Rate = lists:foldl(
        fun({Pid, Reductions, At} = Seen, Rates) ->
            case process_info(Pid, reductions) of
                {_, Now} when Now > Reductions ->
                    better((Now - Reductions) * 1000000 div max(1, Start - At), Seen, Rates);
                _ ->
                    Rates
            end
        end,
        Rate0,
        Pids
    ),
    S#{slice := Start, busy := Busy + Worked, slice_pids := [], rate := Rate}.

%% The rates of the busiest, over the time since they were first seen.
measure(#{rate := Busiest, slice := Slice, busy := Busy} = S) ->
    Rates = lists:foldl(
        fun({_, {Pid, Reductions, At}}, Best) ->
            case process_info(Pid, reductions) of
                {_, Now} -> better((Now - Reductions) / max(1, now_us() - At) * 1.0e6, Pid, Best);
                undefined -> Best
            end
        end,
        best(0),
        best_list(Busiest)
    ),
    S#{rate := Rates, busy := Busy + now_us() - Slice}.

look(Pid, #{count := Count, messages := Messages, longest := Longest} = S) when Pid =/= self() ->
    case process_info(Pid, [message_queue_len, reductions, group_leader, initial_call]) of
        [{_, Queue}, {_, Reductions}, {_, Leader}, {_, Call}] ->
            Memory = scanned_memory(Pid, Queue),
            #{above := Above, memory := ByMemory, mailbox := ByMailbox, slice_pids := Pids} = S,
            S1 = S#{
                count := Count + 1,
                messages := Messages + Queue,
                longest := max(Longest, Queue),
                above := above(Queue, Above),
                memory := better(Memory, Pid, ByMemory),
                mailbox := better(Queue, Pid, ByMailbox),
                slice_pids := [{Pid, Reductions, now_us()} | Pids]
            },
            look_at_binaries(Pid, Memory, sample(Pid, Call, Memory, of_application(Leader, Memory, Reductions, S1)));
        undefined ->
            S#{count := Count + 1}
    end;
look(_, #{count := Count} = S) ->
    S#{count := Count + 1}.

%% The VM goes through all messages to tell the memory.
scanned_memory(Pid, Queue) ->
    case process_memory(Pid, Queue) of
        [] -> 0;
        Memory -> Memory
    end.

above(0, Above) -> Above;
above(Queue, Above) -> maps:map(fun(T, N) when Queue > T -> N + 1; (_, N) -> N end, Above).

of_application(Leader, Memory, Reductions, #{applications := Names, by_application := Sums} = S) ->
    Name = maps:get(Leader, Names, none),
    {N, M, R} = maps:get(Name, Sums, {0, 0, 0}),
    S#{by_application := Sums#{Name => {N + 1, M + Memory, R + Reductions}}}.

%% Each application has a process that is the group leader of all its others.
applications_by_leader() ->
    try ets:match(ac_tab, {{application_master, '$1'}, '$2'}) of
        Pairs -> maps:from_list([{Leader, Name} || [Name, Leader] <- Pairs])
    catch
        error:badarg -> #{}
    end.

sample(Pid, Call, Memory, #{count := Count, every := Every, sampled := Sampled, calls := Calls} = S) when
    Count rem Every =:= 0
->
    Text = started_by(Pid, Call, Memory),
    S#{sampled := Sampled + 1, calls := Calls#{Text => maps:get(Text, Calls, 0) + 1}};
sample(_, _, _, S) ->
    S.

look_at_binaries(Pid, Memory, #{count := Count, binary_every := Every, binary := Best} = S) when
    Count rem Every =:= 0, Memory > 0, Memory < ?BINARY_LARGE
->
    S#{binary := better(binary_bytes(Pid), Pid, Best)};
look_at_binaries(_, _, S) ->
    S.

binary_bytes(Pid) ->
    case process_info(Pid, binary) of
        {_, Binaries} -> lists:sum([Bytes || {_, Bytes, _} <- Binaries]);
        undefined -> 0
    end.

%%% ----------------------------------------------------------------------
%%% What is told of a scan
%%% ----------------------------------------------------------------------

told(Top, S, Memo) ->
    #{
        start := Start, busy := Busy, count := Count, messages := Messages, longest := Longest,
        incomplete := Incomplete, above := Above, memory := ByMemory, mailbox := ByMailbox,
        rate := ByRate, binary := ByBinary, calls := Calls, sampled := Sampled,
        by_application := Applications
    } = S,
    Binary = lists:foldl(fun more_binaries/2, ByBinary, best_list(ByMemory)),
    Grown = grown(Applications, Memo),
    Value = {
        (now_us() - Start) / 1.0e6,
        {Count, Messages, Longest, Incomplete},
        [
            table_of([{T, {N}} || {T, N} <- lists:sort(maps:to_list(Above))]),
            top_rows(Top, ByMemory),
            top_rows(Top, ByMailbox),
            top_rows(Top, ByRate),
            top_rows(Top, Binary),
            call_rows(Top * 2, Calls, Count / max(1, Sampled)),
            table_of([
                {Name, {N, M, element(2, maps:get(Name, Grown))}}
             || {Name, {N, M, _}} <- lists:sort(maps:to_list(Applications))
            ])
        ]
    },
    {scanned, Busy, Grown, Value}.

%% Those with the most memory are worth a look, if they were not sampled.
more_binaries({Memory, Pid}, {_, _, Seen} = Best) ->
    case Memory < ?BINARY_LARGE andalso not lists:keymember(Pid, 2, Seen) of
        true -> better(binary_bytes(Pid), Pid, Best);
        false -> Best
    end.

grown(Applications, none) ->
    maps:map(fun(_, {_, _, R}) -> {R, R} end, Applications);
grown(Applications, Before) ->
    maps:map(
        fun(Name, {_, _, R}) ->
            {Last, Sum} = maps:get(Name, Before, {0, 0}),
            {R, Sum + max(0, R - Last)}
        end,
        Applications
    ).

top_rows(Top, Best) ->
    Named = [
        {Name, initial_call_text(Pid), Value}
     || {Value, Pid} <- lists:sublist(best_list(Best), Top),
        Value > 0,
        Name <- registered_name(Pid)
    ],
    {rows, [{Rank, Name, Call} || {Rank, {Name, Call, _}} <- lists:zip(lists:seq(1, length(Named)), Named)],
        [{Value} || {_, _, Value} <- Named]}.

%% [] when the process has ended; a name that is empty when it has none.
registered_name(Pid) ->
    case process_info(Pid, registered_name) of
        {_, Name} -> [Name];
        [] -> [<<>>];
        undefined -> []
    end.

%% The most frequent ones; all others as one.
call_rows(Top, Calls, Factor) ->
    Sorted = lists:reverse(lists:keysort(2, lists:sort(maps:to_list(Calls)))),
    {Most, Others} = lists:split(min(Top, length(Sorted)), Sorted),
    Rest = [{<<"other">>, lists:sum([N || {_, N} <- Others])} || Others =/= []],
    table_of([{Call, {round(N * Factor)}} || {Call, N} <- Most ++ Rest]).

initial_call_text(Pid) ->
    case process_info(Pid, [initial_call, memory]) of
        [{_, Call}, {_, Memory}] -> started_by(Pid, Call, Memory);
        undefined -> <<>>
    end.

%% proc_lib starts processes for others, and notes in their dictionaries what
%% they are.
started_by(Pid, {proc_lib, init_p, _} = Call, Memory) ->
    call_text(noted_call(Pid, Memory, Call));
started_by(_, Call, _) ->
    call_text(Call).

noted_call(Pid, Memory, Default) ->
    try process_info(Pid, [{dictionary, '$initial_call'}]) of
        [{_, {_, _, _} = Call}] -> Call;
        _ -> Default
    catch
        %% Before OTP 26.2.
        error:badarg when Memory < ?LARGE ->
            case process_info(Pid, dictionary) of
                {_, Dictionary} ->
                    case proplist('$initial_call', Dictionary) of
                        {_, _, _} = Call -> Call;
                        _ -> Default
                    end;
                undefined ->
                    Default
            end;
        error:badarg ->
            Default
    end.

call_text({M, F, A}) ->
    iolist_to_binary([atom_to_binary(M, utf8), $:, atom_to_binary(F, utf8), $/, integer_to_binary(A)]).

%%% ----------------------------------------------------------------------
%%% The highest of many values
%%% ----------------------------------------------------------------------

%% {HowMany, Least, Pairs}: at most four times as many are kept as are wanted;
%% then those below the last wanted one go. Zero keeps all.
best(HowMany) -> {HowMany, 0, []}.

better(Value, _, {_, Least, _} = Best) when Value =< Least -> Best;
better(Value, Of, {0, Least, Pairs}) -> {0, Least, [{Value, Of} | Pairs]};
better(Value, Of, {N, Least, Pairs}) when length(Pairs) < 4 * N -> {N, Least, [{Value, Of} | Pairs]};
better(Value, Of, {N, _, Pairs}) ->
    Kept = lists:sublist(lists:reverse(lists:sort([{Value, Of} | Pairs])), N),
    {N, element(1, lists:last(Kept)), Kept}.

best_list({0, _, Pairs}) -> lists:reverse(lists:sort(Pairs));
best_list({N, _, Pairs}) -> lists:sublist(lists:reverse(lists:sort(Pairs)), N).

now_us() ->
    erlang:monotonic_time(microsecond).

%%% ----------------------------------------------------------------------
%%% Carriers
%%% ----------------------------------------------------------------------

carriers_schema() ->
    [
        {carrier_blocks, [alloc, le], [blocks]},
        {allocations, [origin, type], [bytes]}
    ].

%% Only where instrument is there: it is a part of runtime_tools. It goes again if
%% it was not loaded.
scan_carriers() ->
    Was = code:is_loaded(instrument),
    case code:ensure_loaded(instrument) of
        {module, _} ->
            Start = now_us(),
            Carriers = instrument:carriers(),
            Allocations = instrument:allocations(),
            Cost = now_us() - Start,
            _ = Was =:= false andalso code:delete(instrument) andalso code:soft_purge(instrument),
            {scanned, Cost, none, [carrier_rows(Carriers), allocation_rows(Allocations)]};
        {error, _} ->
            {scanned, 0, none, no_instrument}
    end.

%% A block counts in the bucket of its size and in all above: le is the
%% largest size (bytes) of a bucket, the last has no end.
carrier_rows({ok, {Start, Carriers}}) ->
    Sums = lists:foldl(
        fun(Carrier, Acc) ->
            Alloc = element(1, Carrier),
            Blocks = tuple_to_list(element(tuple_size(Carrier), Carrier)),
            Acc#{Alloc => add_buckets(Blocks, maps:get(Alloc, Acc, []))}
        end,
        #{},
        Carriers
    ),
    table_of([
        {{Alloc, Le}, {N}}
     || {Alloc, Blocks} <- lists:sort(maps:to_list(Sums)), {Le, N} <- buckets(Blocks, Start, 0)
    ]);
carrier_rows(_) ->
    table_of([]).

add_buckets(Blocks, []) -> Blocks;
add_buckets(Blocks, Sums) -> lists:zipwith(fun erlang:'+'/2, Blocks, Sums).

buckets([N], _, Sum) -> [{<<"+Inf">>, Sum + N}];
buckets([N | Blocks], Size, Sum) -> [{Size - 1, Sum + N} | buckets(Blocks, Size * 2, Sum + N)];
buckets([], _, _) -> [].

%% Bytes are as exact as the buckets: half as much again as a bucket begins at.
allocation_rows({ok, {Start, _, Allocations}}) ->
    table_of([
        {{Origin, Type}, {allocated(tuple_to_list(Blocks), Start)}}
     || {Origin, Types} <- lists:sort(maps:to_list(Allocations)),
        {Type, Blocks} <- lists:sort(maps:to_list(Types))
    ]);
allocation_rows(_) ->
    table_of([]).

allocated([N | Blocks], Start) ->
    %% The first bucket is of all below Start.
    N * Start div 2 + allocated_above(Blocks, Start).

allocated_above([N | Blocks], Size) -> N * Size * 3 div 2 + allocated_above(Blocks, Size * 2);
allocated_above([], _) -> 0.
