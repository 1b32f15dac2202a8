%%% Part of erl_exporter_agent: readings, and the helpers that do their jobs.

%% Answers with one message that holds one binary. The priority is high only
%% here: it is what lets an overloaded node be read at all.
snapshot(Seq, Collectors, S0) ->
    process_flag(priority, high),
    {Outcomes, #{owner := Owner, told := Told0, settings := #{app_bytes := Room}} = S1} = read(Collectors, open_window(S0)),
    {Answer, Told} = untold_of(Outcomes, Room, Told0),
    Binary = term_to_binary(Answer),
    S2 =
        case post(Owner, {?MODULE, snapshot, Seq, Binary}) of
            ok -> S1#{told := Told, sent := maps:get(sent, S1) + byte_size(Binary)};
            %% What was not sent has not been told.
            _ -> drop(S1#{told := #{}})
        end,
    S3 = start_behind((check_limits(S2))#{wanted := {now_ms(), Collectors}}),
    process_flag(priority, normal),
    S3.

%% Reads what is at hand, which costs next to nothing, has helpers read the
%% rest side by side, and takes what has come by the deadline.
read(Collectors, #{settings := #{deadline := Wait}, shed_count := Count, passed := Passed} = S0) ->
    Deadline = now_ms() + Wait,
    Wanted = Collectors -- shed(Count),
    AtHand = maps:from_list([{C, timed(fun() -> at_hand(C, S0) end)} || C <- Wanted]),
    {Pending, Ready} = start_helpers(Wanted, S0),
    {Answers, S1} = gather(Pending, Deadline, Ready, S0#{helper_memory := 0}),
    Outcomes = [{C, outcome(C, AtHand, Answers, Passed, S1)} || C <- Collectors],
    {Outcomes, S1}.

at_hand(agent, #{dropped := Dropped, shed_count := Count, sent := Sent} = S) ->
    #{scan_reductions := Scans} = S,
    {message_queue_len, Queue} = process_info(self(), message_queue_len),
    {memory, Memory} = process_info(self(), memory),
    {{reductions(S), Memory, Queue, Dropped, flag(Count > 0), Sent, Scans}, maps:get(accounts, S)};
at_hand(vm_events, #{sources := Sources}) ->
    maps:get(sysmon, Sources, {missing, switched_off});
at_hand(alarms, #{sources := Sources}) ->
    case {maps:find(sasl, Sources), maps:find(elarm, Sources)} of
        {error, error} -> off;
        {SASL, Elarm} -> {sasl_counted(SASL), elarm_counted(Elarm)}
    end;
at_hand(processes, #{settings := Settings}) ->
    flag(too_many_processes(Settings));
at_hand(logs, #{sources := Sources}) ->
    case Sources of
        #{logs := {on, State, _}} -> logs_counted(State);
        _ -> off
    end;
at_hand(Collector, _) ->
    at_hand(Collector).

start_helpers(Collectors, S) ->
    Busy = busy(S),
    lists:foldl(
        fun(Job, {Pending, Ready}) ->
            case at_once(Job, Busy, S) of
                start -> {start_helper(Job, S, Pending), Ready};
                Timed -> {Pending, Ready#{Job => Timed}}
            end
        end,
        {#{}, #{}},
        [Job || C <- Collectors, Job <- jobs(C)]
    ).

busy(#{late := Late}) ->
    maps:from_list([{Job, Since} || {Job, _, Since} <- maps:values(Late)]).

%% The answer to a job that need not be done now, or must not: one whose helper
%% still waits gets no second one, so that a server that hangs is asked once and
%% not at every reading.
at_once(Job, Busy, #{kept := Kept, settings := Settings}) ->
    case {Kept, Busy} of
        {#{Job := {At, Timed, Cost}}, _} ->
            case
                is_behind(Job, Kept) orelse maps:is_key(Job, Busy) orelse
                    is_good(Job, At, Cost, Settings)
            of
                true -> Timed;
                false -> start
            end;
        _ ->
            case {is_behind(Job, Kept), Busy} of
                {true, _} -> {0, {missing, not_read_for_the_first_time_yet}};
                {false, #{Job := Since}} -> {0, {error, {stuck, now_ms() - Since}}};
                _ -> start
            end
    end.

%% Whether a job is done behind the back of readings.
is_behind(Job, Kept) ->
    case {way(Job), Kept} of
        {scan, _} -> true;
        {custom, _} -> true;
        {now, _} -> false;
        {_, #{Job := {_, _, Cost}}} -> Cost > ?SLOW_US;
        _ -> false
    end.

is_good(Job, At, Cost, Settings) ->
    {For, Factor} =
        case way(Job) of
            {kept, Ms} -> {Ms, ?PAUSE_FACTOR};
            app -> {?KEEP_MS, ?APP_PAUSE_FACTOR};
            scan -> {maps:get(scan_every, Settings), ?PAUSE_FACTOR};
            custom -> {maps:get(interval, maps:get(Job, maps:get(custom, Settings))), ?APP_PAUSE_FACTOR}
        end,
    now_ms() - At < max(For, Cost * Factor div 1000).

%% Starts what is done behind the back of readings and is due, of what has been
%% asked for lately. What a scan costs counts for its own next time and not for
%% the limits of readings.
start_behind(#{wanted := {At, Collectors}} = S) ->
    case now_ms() - At < ?WINDOW_MS of
        true -> start_behind(Collectors, S);
        false -> S
    end.

start_behind(Collectors, #{shed_count := Count, kept := Kept, settings := Settings} = S) ->
    Busy = busy(S),
    lists:foldl(
        fun(Job, #{late := Late} = Acc) ->
            case {Kept, Busy} of
                {_, #{Job := _}} -> end_scan(Job, Acc);
                {#{Job := {At, _, Cost}}, _} ->
                    case is_good(Job, At, Cost, Settings) of
                        true -> Acc;
                        false -> Acc#{late := start_helper(Job, Acc, Late)}
                    end;
                _ -> Acc#{late := start_helper(Job, Acc, Late)}
            end
        end,
        S,
        [Job || C <- Collectors -- shed(Count), Job <- jobs(C), is_behind(Job, Kept)]
    ).

end_scan(Job, #{late := Late} = S) ->
    _ = [
        exit(Pid, kill)
     || {J, Pid, Since} <- maps:values(Late), J =:= Job, now_ms() - Since > ?MAX_SCAN_MS
    ],
    S.

%% A helper that no reading waits for has ended: it was too late for one, or
%% scans. What it answered is for the next reading.
late(Ref, Exit, #{late := Late0} = S) ->
    {{Job, _, _}, Late} = maps:take(Ref, Late0),
    {_, Next} = helped(Job, Exit, S#{late := Late}),
    Next.

%% A helper answers with its exit reason: that is one message, and when it is
%% here the helper is gone.
start_helper(Job, #{settings := Settings, memos := Memos}, Pending) ->
    Memo = maps:get(Job, Memos, none),
    {Pid, Ref} = spawn_opt(
        fun() ->
            Timed = timed(fun() -> run(Job, Settings, Memo) end),
            {reductions, Reductions} = process_info(self(), reductions),
            {memory, Memory} = process_info(self(), memory),
            exit({?MODULE, Timed, Reductions + defined(get(workers), 0), Memory})
        end,
        [monitor | helper_options(Job, way(Job))]
    ),
    Pending#{Ref => {Job, Pid, now_ms()}}.

helper_options(_, scan) -> [{priority, low}, max_heap()];
helper_options(_, Way) when Way =:= app; Way =:= custom -> [max_heap()];
helper_options(Job, _) -> [{priority, high}, {min_heap_size, heap(Job)}].

max_heap() ->
    {max_heap_size, heap_limit(?SCAN_HEAP)}.

%% From OTP 27 on binaries count as well; the others do not know that key.
heap_limit(Words) ->
    #{size => Words, kill => true, error_logger => false, include_shared_binaries => true}.

gather(Pending, _, Answers, S) when map_size(Pending) =:= 0 ->
    {Answers, S};
gather(Pending, Deadline, Answers, S) ->
    receive
        {'DOWN', Ref, process, _, Exit} when is_map_key(Ref, Pending) ->
            {{Job, _, _}, Rest} = maps:take(Ref, Pending),
            {Timed, S1} = helped(Job, Exit, S),
            gather(Rest, Deadline, Answers#{Job => Timed}, S1)
    after max(0, Deadline - now_ms()) ->
        #{late := Late} = S,
        Missed = [{Job, missed(Job, S)} || {Job, _, _} <- maps:values(Pending)],
        {maps:merge(Answers, maps:from_list(Missed)), S#{late := maps:merge(Late, Pending)}}
    end.

%% What the job answered last, if that is kept.
missed(Job, #{kept := Kept, settings := #{deadline := Wait}}) ->
    case Kept of
        #{Job := {_, Timed, _}} -> Timed;
        _ -> {Wait * 1000, {error, {late, Wait}}}
    end.

helped(Job, {?MODULE, {Took, Result}, Reductions, Memory}, #{memos := Memos} = S0) ->
    S1 = charge(way(Job), Reductions, Memory, S0),
    case Result of
        {ok, {memo, Memo, Value}} ->
            keep(Job, {Took, {ok, Value}}, Took, S1#{memos := Memos#{Job => Memo}});
        {ok, {scanned, Cost, Memo, Value}} ->
            keep(Job, {Took, {ok, Value}}, Cost, S1#{memos := Memos#{Job => Memo}});
        _ ->
            keep(Job, {Took, Result}, Took, S1)
    end;
helped(Job, Exit, S) ->
    keep(Job, {0, {error, small(Exit)}}, 0, S).

charge(Way, Reductions, _, #{scan_reductions := All} = S) when
    Way =:= scan; Way =:= app; Way =:= custom
->
    S#{scan_reductions := All + Reductions};
charge(_, Reductions, Memory, #{helper_reductions := AllReductions, helper_memory := AllMemory} = S) ->
    S#{helper_reductions := AllReductions + Reductions, helper_memory := AllMemory + Memory}.

keep(Job, Timed, Cost, #{kept := Kept} = S) ->
    case way(Job) of
        now -> {Timed, S};
        _ -> {Timed, S#{kept := Kept#{Job => {now_ms(), Timed, Cost}}}}
    end.

%% {Microseconds, {ok, Value} | {error, Reason}}
timed(Fun) ->
    Start = erlang:monotonic_time(microsecond),
    Result =
        try
            {ok, Fun()}
        catch
            Class:Reason:Stack -> {error, {Class, small(Reason), place(Stack)}}
        end,
    {erlang:monotonic_time(microsecond) - Start, Result}.

place([{Module, Function, _, _} | _]) -> {Module, Function};
place(_) -> unknown.

small(Reason) ->
    case erlang:external_size(Reason) of
        Size when Size > ?MAX_REASON -> too_large_to_tell;
        _ -> Reason
    end.

%% One collector's {Microseconds, Result} out of what was at hand and what its
%% helpers answered, or {{Microseconds, Age}, Result} where some of that had been
%% kept: the age is that of the oldest (ms).
outcome(Collector, AtHand, Answers, Passed, #{kept := Kept}) ->
    case AtHand of
        #{Collector := {Took, {ok, Value}}} ->
            Helped = [maps:get(J, Answers) || J <- jobs(Collector)],
            Ages = [now_ms() - At || J <- jobs(Collector), {At, _, _} <- [maps:get(J, Kept, none)]],
            {
                aged(lists:sum([Took | [T || {T, _} <- Helped]]), lists:max([0 | Ages])),
                stamped(tables(Collector, Value, [R || {_, R} <- Helped]), Collector, Kept)
            };
        #{Collector := Failed} ->
            Failed;
        _ ->
            {0, {error, {shed, Passed}}}
    end.

%% What has no tables is told once; its time tells whether it is the same.
stamped({ok, {dynamic, Told}}, Collector, Kept) ->
    {At, _, _} = maps:get(Collector, Kept),
    {ok, {dynamic, At, Told}};
stamped(Result, _, _) ->
    Result.

aged(Took, 0) -> Took;
aged(Took, Age) -> {Took, Age}.
