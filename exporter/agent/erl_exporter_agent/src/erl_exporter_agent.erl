%%% The agent: one process on a monitored node that answers readings.
%%%
%%% An exporter injects this module over the distribution, or finds it in an
%%% application of the same name that the node's release includes. It starts the
%%% agent with start/1 and owns it from then on. The protocol is described in
%%% doc.go of the Go package that embeds the compiled module.
%%%
%%% The monitored node comes first. The agent links to nobody, keeps no table
%%% and hibernates between messages; what waits for other schedulers, files or
%%% servers runs in short-lived helpers under one deadline. When its owner
%%% goes, lets the lease run out or says so, the agent puts back what it
%%% changed, removes its module unless the release owns it, and ends.
%%%
%%% It is one module, although its source is in several files: to remove a
%%% module a node visits each of its processes, which takes seconds where there
%%% are a million of them.
-module(erl_exporter_agent).

%% start/1 is called through rex. The others are exported to be
%% called with the module's name: a process that wakes up goes on in the
%% version that is loaded then, and so never lingers in old code.
-export([start/1, init/4, loop/1, leave/2, ear/2]).

%% Callbacks of logger, and of event managers: alarm_handler and Lager's.
-export([log/2, below/2]).
-export([init/1, handle_event/2, handle_call/2, handle_info/2, terminate/2, code_change/3]).

%% Changes with every change of the messages or of the state.
-define(PROTOCOL, 3).

%% How long the counters behind the agent's limits run before they start again.
-define(WINDOW_MS, 60000).

%% How long the answer of a job that is kept is good (ms). It is a little less
%% than the usual interval of scrapes, so that each of them has a new one.
-define(KEEP_MS, 14500).

%% What is kept, and a scan, is done again after so many times what it cost at
%% the soonest. A scan that takes longer than the second is ended (ms).
-define(PAUSE_FACTOR, 1000).
-define(APP_PAUSE_FACTOR, 200).
-define(MAX_SCAN_MS, 120000).

%% What took longer than this is not waited for the next time (us).
-define(SLOW_US, 100000).

%% The most memory that a scan or what reads metrics of applications may take
%% (words).
-define(SCAN_HEAP, 8000000).

%% How often it is tried to purge the module on leaving.
-define(PURGES, 100).

%% Failures are told in full only if they are small (bytes when encoded).
-define(MAX_REASON, 2048).

%% The state is a map and not a record: what compilers of OTP 25 make of records
%% for OTP 23 does not load there. Its keys:
%%
%% protocol           the version of this module
%% msacc_ours         whether microstate accounting is to be switched off on
%%                    leaving; has this meaning in every version
%% owner, owner_ref   whose agent this is, and the monitor of it
%% settings           a map: deadline (how long a reading waits for helpers, in
%%                    ms), per_instance (allocators: a row an instance, or
%%                    sums), msacc (auto, on, off), credit (how many events of
%%                    a source may be on their way), wall_time (whether to
%%                    count the schedulers' time), top (how many are told by
%%                    rank), vip (names of processes), max_processes (up to
%%                    which they are scanned), scan_every (ms), app_max and
%%                    app_timeout (series, and ms for one value), include and
%%                    exclude (patterns of names), max_text (bytes), custom (a
%%                    map of descriptions, see custom.hrl), and the limits:
%%                    max_reductions and max_bytes (a minute), max_memory
%%                    (bytes)
%% lease, renewed     the lease in ms, and when it was renewed (monotonic ms)
%% sources            #{Source => State}, see sources.hrl
%% accounts           #{Source => {Credit, Seq, Dropped}}: how many events the
%%                    owner still takes, the number of the last one, and how
%%                    many could not be sent
%% asked              helpers of sources:
%%                    #{MonitorRef => {Source, Tag, Pid, Timer}}
%% dropped            how many events and readings could not be sent
%% memos              what jobs left for their next run: #{Job => Term}
%% kept               what jobs answered that are not done at each reading:
%%                    #{Job => {At, {Took, Result}, Cost}} (ms, us, us)
%% wanted             when a reading was asked for last, and of what (ms)
%% told               labels and constants that the owner knows:
%%                    #{{Collector, N} => Term}
%% late               helpers that missed their deadline:
%%                    #{MonitorRef => {Job, Pid, Since}}
%% helper_reductions  of all helpers so far, and
%% scan_reductions    of scans and metrics of applications, which have limits of
%%                    their own
%% helper_memory      bytes, of the helpers of the last reading
%% sent               bytes of all readings so far
%% window             when the present window of the limits began, and then:
%%                    {Milliseconds, Reductions, Sent, ShedCount}
%% shed_count         how many collectors of shed_order() are left out
%% passed             the limit that was passed last, {What, Limit}, or none

%%% ----------------------------------------------------------------------
%%% Start
%%% ----------------------------------------------------------------------

%% Starts the agent for Owner. Answers {ok, Pid, Hello}, or {error, owned} when
%% another agent holds the name, or {error, Reason}.
start({?PROTOCOL, Owner, Lease, Settings}) ->
    Ref = make_ref(),
    {Pid, Monitor} = spawn_opt(
        ?MODULE,
        init,
        [{self(), Ref}, Owner, Lease, Settings],
        [monitor, {message_queue_data, off_heap}]
    ),
    receive
        {Ref, Answer} ->
            erlang:demonitor(Monitor, [flush]),
            Answer;
        {'DOWN', Monitor, process, Pid, Reason} ->
            {error, Reason}
    end;
start(_) ->
    {error, {protocol, ?PROTOCOL}}.

init({Caller, Ref}, Owner, Lease, Settings) ->
    process_flag(trap_exit, true),
    %% The caller's group leader is on another node, or ends with the call.
    group_leader(whereis(init), self()),
    %% The name is the lock: of two exporters that start at once, one wins.
    try register(?MODULE, self()) of
        true ->
            S = new(Owner, Lease, Settings),
            _ = maps:get(wall_time, Settings) andalso hold_wall_time(),
            erlang:start_timer(Lease, self(), lease),
            Caller ! {Ref, {ok, self(), hello(S)}},
            hibernate(start_sources(maps:get(sources, Settings), S))
    catch
        error:badarg -> Caller ! {Ref, {error, owned}}
    end.

new(Owner, Lease, #{msacc := MSAcc} = Settings) ->
    #{
        protocol => ?PROTOCOL,
        msacc_ours => MSAcc =:= on andalso not switch_msacc(true),
        owner => Owner,
        owner_ref => erlang:monitor(process, Owner),
        settings => maps:map(fun capped/2, maps:remove(sources, Settings)),
        lease => Lease,
        renewed => now_ms(),
        sources => #{},
        accounts => #{},
        asked => #{},
        dropped => 0,
        memos => #{},
        kept => #{},
        wanted => {now_ms(), []},
        told => #{},
        late => #{},
        helper_reductions => 0,
        scan_reductions => 0,
        helper_memory => 0,
        sent => 0,
        window => {now_ms(), 0, 0, 0},
        shed_count => 0,
        passed => none
    }.

%% The node's own configuration has the last word: it can lower a limit that
%% the exporter sets.
capped(Key, Limit) when Key =:= max_reductions; Key =:= max_memory; Key =:= max_bytes ->
    case application:get_env(?MODULE, Key) of
        {ok, Lower} when is_integer(Lower), Lower < Limit -> Lower;
        _ -> Limit
    end;
capped(_, Setting) ->
    Setting.

hello(#{msacc_ours := Ours, settings := Settings}) ->
    {?PROTOCOL, schema() ++ custom_schema(Settings), node_info(), Ours}.

custom_schema(#{custom := Custom}) ->
    [{Collector, []} || Collector <- lists:sort(maps:keys(Custom))].

%% Answers the flag's old value. The flag is global and outlives its setter.
switch_msacc(Flag) ->
    erlang:system_flag(microstate_accounting, Flag).

%%% ----------------------------------------------------------------------
%%% The loop
%%% ----------------------------------------------------------------------

loop(#{protocol := ?PROTOCOL, owner := Owner, owner_ref := OwnerRef} = S) ->
    receive
        {Owner, snapshot, Seq, Collectors} ->
            next(snapshot(Seq, Collectors, S));
        {Owner, renew} ->
            next(start_behind(tick_sources(S#{renewed := now_ms()})));
        {Owner, credit, Source, Events} ->
            next(add_credit(Source, Events, S));
        {Owner, request, Ref, Source, Request} ->
            next(request(Ref, Source, Request, S));
        {Owner, detach} ->
            ?MODULE:leave(detached, S);
        {handover, NewOwner} when is_pid(NewOwner) ->
            handover(NewOwner, S);
        {timeout, _, lease} ->
            check_lease(S);
        {timeout, _, {asked, Ref}} ->
            next(too_late(Ref, S));
        {'DOWN', OwnerRef, process, _, Reason} ->
            ?MODULE:leave({owner, Reason}, S);
        {'EXIT', _, Reason} ->
            ?MODULE:leave({exit, Reason}, S);
        Message ->
            next(message(Message, S))
    end;
loop(Other) ->
    %% Another version of the module was loaded over the one that ran here; a
    %% state of another shape cannot be served.
    ?MODULE:leave(superseded, Other).

%% Sleeping is what keeps the agent small, and too dear to be done between
%% messages that wait already.
next(S) ->
    case process_info(self(), message_queue_len) of
        {message_queue_len, 0} -> hibernate(S);
        _ -> ?MODULE:loop(S)
    end.

hibernate(S) ->
    erlang:hibernate(?MODULE, loop, [S]).

%% What is for a helper that was too late, for a helper of a source, or for a
%% source itself.
message({'DOWN', Ref, process, _, Exit} = Message, #{late := Late, asked := Asked} = S) ->
    case {Late, Asked} of
        {#{Ref := _}, _} -> late(Ref, Exit, S);
        {_, #{Ref := _}} -> answered(Ref, Exit, S);
        _ -> offer(Message, S)
    end;
message(Message, S) ->
    offer(Message, S).

%% An exporter that comes back takes over from itself; another one is told who
%% the owner is.
handover(NewOwner, #{owner := Owner} = S) ->
    case node(NewOwner) =:= node(Owner) orelse lease_left(S) =< 0 of
        true ->
            ?MODULE:leave(replaced, S);
        false ->
            post(NewOwner, {?MODULE, owned, node(Owner)}),
            next(S)
    end.

%% One timer is enough: a renewal only notes the time, and when the timer fires
%% it is set again for what is left.
check_lease(S) ->
    case lease_left(S) of
        Left when Left > 0 ->
            erlang:start_timer(Left, self(), lease),
            next(S);
        _ ->
            ?MODULE:leave(lease, S)
    end.

lease_left(#{lease := Lease, renewed := Renewed}) ->
    Lease - (now_ms() - Renewed).

%% Never waits, neither for a connection nor for room in a socket's buffer.
post(Pid, Message) ->
    erlang:send(Pid, Message, [noconnect, nosuspend]).

drop(#{dropped := Dropped} = S) ->
    S#{dropped := Dropped + 1}.

now_ms() ->
    erlang:monotonic_time(millisecond).

%%% ----------------------------------------------------------------------
%%% Leaving
%%% ----------------------------------------------------------------------

%% The order matters. The name is held until the module is deleted, so that
%% whoever finds it free may load it again; the purge, which touches nothing but
%% old code, may come later. It is a soft one: a process of the node may be in a
%% callback of ours, and a hard one would end it.
leave(Reason, S) ->
    _ = maps:get(msacc_ours, S, false) andalso switch_msacc(false),
    clear_up(Reason, S),
    _ = is_released() orelse remove_module(),
    exit(normal).

%% Whether the module is the release's, which is asked on leaving: an upgrade
%% may have brought the application while an injected agent ran.
is_released() ->
    application:get_key(?MODULE, vsn) =/= undefined.

remove_module() ->
    %% There is old code only if somebody loaded the module a second time. It
    %% goes first: deleting makes the current code old, and there is room for
    %% one.
    _ = code:soft_purge(?MODULE),
    code:delete(?MODULE),
    %% The agent itself runs it yet, so that somebody else has to purge, who must
    %% not run it: attempts made of functions of OTP, until one succeeds. Should a
    %% process be in a callback of ours all that time, the old code stays, and
    %% goes when the node is attached to the next time.
    spawn(lists, any, [fun code:soft_purge/1, lists:duplicate(?PURGES, ?MODULE)]).

clear_up(Reason, #{protocol := ?PROTOCOL, owner := Owner, late := Late} = S) ->
    lists:foreach(fun({_, Pid, _}) -> exit(Pid, kill) end, maps:values(Late)),
    _ = stop_sources(S),
    post(Owner, {?MODULE, leaving, small(Reason)}),
    remove_beams(S);
clear_up(_, _) ->
    ok.

%%% ----------------------------------------------------------------------
%%% Readings
%%% ----------------------------------------------------------------------

%% Answers with one message that holds one binary. The priority is high only
%% here: it is what lets an overloaded node be read at all.
snapshot(Seq, Collectors, S0) ->
    process_flag(priority, high),
    {Outcomes, #{owner := Owner, told := Told0} = S1} = read(Collectors, open_window(S0)),
    {Answer, Told} = lists:mapfoldl(fun untold/2, Told0, Outcomes),
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
    {max_heap_size, #{size => ?SCAN_HEAP, kill => true, error_logger => false}}.

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

%%% ----------------------------------------------------------------------
%%% What the owner knows already
%%% ----------------------------------------------------------------------

%% Labels and constants go over the wire when they are new or have changed; []
%% stands for what was told before, and so does same.
untold({Collector, {Took, {ok, {dynamic, At, Value}}}}, Told) ->
    case Told of
        #{Collector := At} -> {{Took, {ok, same}}, Told};
        _ -> {{Took, {ok, Value}}, Told#{Collector => At}}
    end;
untold({Collector, {Took, {ok, Tables}}}, Told0) ->
    Numbered = lists:zip(lists:seq(1, length(Tables)), Tables),
    {Sent, Told} = lists:mapfoldl(
        fun({N, Table}, Acc) -> untold_table({Collector, N}, Table, Acc) end, Told0, Numbered
    ),
    {{Took, {ok, Sent}}, Told};
untold({_, Failed}, Told) ->
    {Failed, Told}.

untold_table(_, {row, Values}, Told) ->
    {Values, Told};
untold_table(Key, {const, Values}, Told) ->
    case Told of
        #{Key := Values} -> {[], Told};
        _ -> {Values, Told#{Key => Values}}
    end;
untold_table(Key, {rows, Labels, Rows}, Told) ->
    case Told of
        #{Key := Labels} -> {{[], Rows}, Told};
        _ -> {{[label(L) || L <- Labels], Rows}, Told#{Key => Labels}}
    end.

%% A row's labels: one term, or a tuple with one element a label.
label(Labels) when is_tuple(Labels) -> [label_text(L) || L <- tuple_to_list(Labels)];
label(Label) -> [label_text(Label)].

label_text(L) when is_atom(L) -> atom_to_binary(L, utf8);
label_text(L) when is_integer(L) -> integer_to_binary(L);
label_text(L) when is_binary(L) -> L;
label_text(L) ->
    try unicode:characters_to_binary(L) of
        Text when is_binary(Text) -> Text;
        _ -> <<"?">>
    catch
        error:_ -> <<"?">>
    end.

%%% ----------------------------------------------------------------------
%%% The agent's own limits
%%% ----------------------------------------------------------------------

%% The collectors that may be left out, in this order: the dearest first. The
%% others cost next to nothing.
shed_order() ->
    [
        allocators, msacc, mnesia, distribution, ets, ports, code, os_mon, vip, schedulers,
        process, processes, carriers, folsom, exometer, prometheus, telemetry
    ].

shed(Count) ->
    lists:sublist(shed_order(), Count).

%% A collector comes back for each minute that needed at most half of the
%% limits, so that what is on the border does not come and go.
open_window(#{window := {Since, _, _, _}, shed_count := Count, sent := Sent} = S) ->
    case (now_ms() - Since) div ?WINDOW_MS of
        0 ->
            S;
        Minutes ->
            Calm = lists:all(fun({_, Limit, Used}) -> Used * 2 =< Limit * Minutes end, use(S)),
            Left =
                case Calm of
                    true -> max(0, Count - Minutes);
                    false -> Count
                end,
            shed_to(Left, 0, S#{window := {now_ms(), reductions(S), Sent, Left}})
    end.

%% One collector is left out when a limit is passed, and another for each tenth
%% of the limit on top of it. Memory is not used up by readings: as long as it
%% is too much, each reading leaves another one out.
check_limits(#{window := {_, _, _, Before}, shed_count := Count} = S) ->
    {memory, Own} = process_info(self(), memory),
    #{helper_memory := Helpers, settings := #{max_memory := MaxMemory}} = S,
    Memory = {Count + 1, {memory, MaxMemory}, Own + Helpers},
    Passed =
        [
            {Before + 1 + (Used - Limit) * 10 div Limit, {What, Limit}, Used}
         || {What, Limit, Used} <- use(S), Used > Limit
        ] ++ [Memory || Own + Helpers > MaxMemory],
    case lists:sort(Passed) of
        [] ->
            S;
        Sorted ->
            {Due, Limit, Used} = lists:last(Sorted),
            shed_to(max(Count, min(Due, length(shed_order()))), Used, S#{passed := Limit})
    end.

%% What was used of the limits of a minute since the window began.
use(#{window := {_, Reductions, SentBefore, _}, sent := Sent, settings := Settings} = S) ->
    #{max_reductions := MaxReductions, max_bytes := MaxBytes} = Settings,
    [
        {reductions, MaxReductions, reductions(S) - Reductions},
        {bytes, MaxBytes, Sent - SentBefore}
    ].

shed_to(Count, _, #{shed_count := Count} = S) ->
    S;
shed_to(Count, Used, #{passed := Passed} = S) ->
    event(agent, {shedding, shed(Count), Passed, Used}, S#{shed_count := Count}).

reductions(#{helper_reductions := Helpers}) ->
    {reductions, Own} = process_info(self(), reductions),
    Own + Helpers.

%%% ----------------------------------------------------------------------
%%% Collectors
%%% ----------------------------------------------------------------------

-include("collect.hrl").
-include("commands.hrl").
-include("distribution.hrl").
-include("os_process.hrl").
-include("vm.hrl").
-include("schedulers.hrl").
-include("ets.hrl").
-include("scan.hrl").
-include("apps.hrl").
-include("custom.hrl").
-include("sysmon.hrl").

%%% ----------------------------------------------------------------------
%%% Sources of events
%%% ----------------------------------------------------------------------

-include("sources.hrl").
-include("sasl.hrl").
-include("elarm.hrl").
-include("inventory.hrl").
-include("log.hrl").
-include("log_collect.hrl").
-include("logger.hrl").
-include("lager.hrl").
-include("modules.hrl").
