%%% Part of erl_exporter_agent: what runs in a process of the node that logs.
%%%
%%% It counts, decides, and hands an entry to the collector (log_collect.hrl) or
%%% drops it. It waits for nobody, formats nothing and never fails. What is on
%%% its way to the collector is bounded by weight, which is about the words that
%%% an entry takes there: an entry that weighs too much is cut, since one term
%%% can be larger than the memory of a node.
%%%
%%% Its configuration C: counters (an atomics array, see below), collector (a
%%% pid), least (the number of the least severe level to be handed over, -1 for
%%% none), rate (entries a second), lager (redirected where Lager has what
%%% error_logger has, else direct).

%% Places in the array: 1 to 8 are entries by level, emergency first.
-define(TOKENS, 9).
-define(REFILLED, 10).
-define(ON_THE_WAY, 11).
-define(DROPPED_RATE, 12).
-define(DROPPED_OVERLOAD, 13).
-define(DROPPED_FAILED, 14).
-define(CRASH_REPORTS, 15).
-define(SUPERVISOR_REPORTS, 16).
-define(TERMINATED, 17).
-define(PROCESS_ERRORS, 18).
-define(GAVE_UP_NAMELESS, 19).
-define(PLACES, 19).

%% How often the budget of entries is filled up, and how much of it may have
%% gathered, in ms.
-define(REFILL_MS, 100).
-define(GATHER_MS, 1000).
%% Words on the way to the collector, and of one entry.
-define(MAX_ON_THE_WAY, 2000000).
-define(MAX_WEIGHT, 20000).
%% Room besides, for supervisors that give up: a flood of entries must not hide
%% them.
-define(SPARE_ON_THE_WAY, 50000).
%% Bytes of one binary in an entry that is cut.
-define(CUT_BINARY, 8192).
%% Words that are left of an entry that is cut: what fits into a message.
-define(CUT_WEIGHT, 1000).

%% The callback of logger.
log(#{level := Level, msg := Msg, meta := Meta}, #{config := #{counters := Counters} = C}) ->
    try
        case Meta of
            %% The process is on another node, and logs here because that is
            %% where its group leader is: it is that node's entry.
            #{pid := Pid} when node(Pid) =/= node() -> ok;
            %% Lager has it, as error_logger has; but as text only.
            #{error_logger := #{tag := _}} when map_get(lager, C) =:= redirected, element(1, Msg) =/= string ->
                gave_up(report_kind(Msg, Meta), C);
            _ ->
                Kind = report_kind(Msg, Meta),
                gave_up(Kind, C),
                entry(logger, level_number(Level), Msg, Meta, Kind, C)
        end
    catch
        _:_ -> atomics:add(Counters, ?DROPPED_FAILED, 1)
    end.

entry(Source, Number, Msg, Meta, Kind, #{counters := Counters, least := Least} = C) ->
    atomics:add(Counters, Number + 1, 1),
    count_report(Kind, Counters),
    case Number =< Least orelse is_restart(Kind) of
        true -> hand_over(Source, Number, Msg, Meta, Kind, C);
        false -> ok
    end.

hand_over(Source, Number, Msg0, Meta0, Kind, #{counters := Counters, rate := Rate, least := Least} = C) ->
    case admit(Counters, Rate) of
        true when Number =< Least ->
            {Msg, Meta, Weight} = lighten(Msg0, Meta0),
            pass(Weight, {?MODULE, Source, Weight, Number, Msg, Meta, registered(Meta), Kind}, C);
        true ->
            pass(50, {?MODULE, restart, 50, Kind}, C);
        false ->
            atomics:add(Counters, ?DROPPED_RATE, 1)
    end.

%% Whatever becomes of the entry: an alarm is raised of it.
gave_up({gave_up, Supervisor}, #{counters := Counters, collector := Collector}) ->
    Weight = 50,
    case atomics:add_get(Counters, ?ON_THE_WAY, Weight) of
        All when All =< ?MAX_ON_THE_WAY + ?SPARE_ON_THE_WAY ->
            Collector ! {?MODULE, gave_up, Weight, Supervisor};
        _ ->
            atomics:sub(Counters, ?ON_THE_WAY, Weight),
            atomics:add(Counters, ?GAVE_UP_NAMELESS, 1)
    end;
gave_up(_, _) ->
    ok.

pass(Weight, Message, #{counters := Counters, collector := Collector}) ->
    case atomics:add_get(Counters, ?ON_THE_WAY, Weight) of
        All when All =< ?MAX_ON_THE_WAY ->
            Collector ! Message;
        _ ->
            atomics:sub(Counters, ?ON_THE_WAY, Weight),
            atomics:add(Counters, ?DROPPED_OVERLOAD, 1)
    end.

%% One of those who find the budget empty fills it up, when it is time.
admit(Counters, Rate) ->
    atomics:sub_get(Counters, ?TOKENS, 1) >= 0 orelse refill(Counters, Rate).

refill(Counters, Rate) ->
    Now = erlang:monotonic_time(millisecond),
    Last = atomics:get(Counters, ?REFILLED),
    case Now - Last of
        Passed when Passed >= ?REFILL_MS ->
            case atomics:compare_exchange(Counters, ?REFILLED, Last, Now) of
                ok ->
                    Tokens = max(1, Rate * min(Passed, ?GATHER_MS) div 1000),
                    atomics:put(Counters, ?TOKENS, Tokens - 1),
                    true;
                _ ->
                    atomics:sub_get(Counters, ?TOKENS, 1) >= 0
            end;
        _ ->
            false
    end.

level_number(emergency) -> 0;
level_number(alert) -> 1;
level_number(critical) -> 2;
level_number(error) -> 3;
level_number(warning) -> 4;
level_number(notice) -> 5;
level_number(info) -> 6;
level_number(debug) -> 7.

%% The name goes with the process: it can only be asked for here.
registered(#{pid := Pid}) when Pid =:= self() ->
    case process_info(Pid, registered_name) of
        {registered_name, Name} -> Name;
        _ -> []
    end;
registered(_) ->
    [].

%%% ----------------------------------------------------------------------
%%% Reports
%%% ----------------------------------------------------------------------

%% none | crash | supervisor | {restart | gave_up, Supervisor} | terminated | process_error
report_kind({report, #{label := {proc_lib, crash}}}, _) ->
    crash;
report_kind({report, #{label := {supervisor, child_terminated}, report := Report}}, _) ->
    {restart, supervisor_of(Report)};
report_kind({report, #{label := {supervisor, progress}}}, _) ->
    none;
report_kind({report, #{label := {supervisor, shutdown}, report := [_ | _] = Report}}, _) ->
    case lists:member({reason, reached_max_restart_intensity}, Report) of
        true -> {gave_up, supervisor_of(Report)};
        false -> supervisor
    end;
report_kind({report, #{label := {supervisor, _}}}, _) ->
    supervisor;
report_kind({report, #{label := {_, terminate}}}, _) ->
    terminated;
report_kind(_, #{error_logger := #{emulator := true, tag := error}}) ->
    process_error;
report_kind(_, _) ->
    none.

supervisor_of([{supervisor, {local, Name}} | _]) -> Name;
supervisor_of([{supervisor, {global, Name}} | _]) when is_atom(Name) -> Name;
supervisor_of([{supervisor, {Pid, Module}} | _]) when is_pid(Pid), is_atom(Module) -> Module;
supervisor_of([{supervisor, Name} | _]) when is_atom(Name) -> Name;
supervisor_of(_) -> other.

is_restart({restart, _}) -> true;
is_restart(_) -> false.

count_report(none, _) -> ok;
count_report(crash, Counters) -> atomics:add(Counters, ?CRASH_REPORTS, 1);
count_report(terminated, Counters) -> atomics:add(Counters, ?TERMINATED, 1);
count_report(process_error, Counters) -> atomics:add(Counters, ?PROCESS_ERRORS, 1);
count_report(_, Counters) -> atomics:add(Counters, ?SUPERVISOR_REPORTS, 1).

%%% ----------------------------------------------------------------------
%%% Weight
%%% ----------------------------------------------------------------------

%% An entry as it may be sent to another process, and its weight.
lighten(Msg, Meta) ->
    case weigh(Meta, weigh(Msg, ?MAX_WEIGHT)) of
        Left when Left >= 0 ->
            {Msg, Meta, ?MAX_WEIGHT - Left + 50};
        _ ->
            Kept = maps:with([time, pid, gl, mfa, file, line, domain, report_cb], Meta),
            {cut_message(Msg), Kept#{truncated => true}, 2 * ?MAX_WEIGHT}
    end.

%% What is left of a budget of words when a term has been paid for; negative
%% when it is too dear, and then not all of it has been looked at.
weigh(_, Left) when Left < 0 ->
    Left;
weigh([Head | Tail], Left) ->
    weigh(Tail, weigh(Head, Left - 2));
weigh(Term, Left) when is_atom(Term); is_number(Term); is_pid(Term); is_reference(Term); Term =:= [] ->
    Left - 1;
weigh(Term, Left) when is_bitstring(Term) ->
    Left - 3 - byte_size(Term) div 8;
weigh(Term, Left) when is_tuple(Term), tuple_size(Term) < Left ->
    weigh(tuple_to_list(Term), Left);
weigh(Term, Left) when is_map(Term), map_size(Term) < Left ->
    weigh_map(maps:next(maps:iterator(Term)), Left);
weigh(Term, Left) when is_function(Term) ->
    {env, Env} = erlang:fun_info(Term, env),
    weigh(Env, Left - 5);
weigh(Term, Left) when is_port(Term) ->
    Left - 1;
weigh(_, _) ->
    -1.

weigh_map(none, Left) -> Left;
weigh_map(_, Left) when Left < 0 -> Left;
weigh_map({Key, Value, Next}, Left) -> weigh_map(maps:next(Next), weigh(Value, weigh(Key, Left - 2))).

cut_message({string, Chars}) ->
    {string, element(1, cut(Chars, ?CUT_WEIGHT))};
cut_message({report, Report}) ->
    {report, element(1, cut(Report, ?CUT_WEIGHT))};
cut_message({Format, Args}) when is_list(Args), length(Args) =< 100 ->
    %% Each is cut by itself: their number has to stay.
    Share = ?CUT_WEIGHT div max(1, length(Args)),
    {element(1, cut(Format, 2000)), [element(1, cut(Arg, Share)) || Arg <- Args]};
cut_message(_) ->
    {string, "(a message that is too large)"}.

%% {Term, Left}: as much of a term as the budget pays for. '...' stands for the
%% rest, but nothing does in text.
cut(_, Left) when Left < 0 ->
    {'...', Left};
cut([Head | Tail], Left) ->
    cut_list([Head | Tail], Left, []);
cut(Term, Left) when is_binary(Term), byte_size(Term) > ?CUT_BINARY ->
    {binary:copy(binary:part(Term, 0, ?CUT_BINARY)), Left - ?CUT_BINARY div 8};
cut(Term, Left) when is_bitstring(Term) ->
    {Term, Left - 3 - byte_size(Term) div 8};
cut(Term, Left) when is_tuple(Term), tuple_size(Term) < Left ->
    {List, Rest} = cut(tuple_to_list(Term), Left),
    {list_to_tuple(List), Rest};
cut(Term, Left) when is_tuple(Term) ->
    {List, Rest} = cut([element(I, Term) || I <- lists:seq(1, Left div 2)] ++ ['...'], Left),
    {list_to_tuple(List), Rest};
cut(Term, Left) when is_map(Term) ->
    cut_map(maps:next(maps:iterator(Term)), Left, #{});
cut(Term, Left) when is_function(Term) ->
    {'#Fun', Left - 1};
cut(Term, Left) ->
    {Term, Left - 1}.

cut_list([Head | _], Left, Done) when Left < 0 ->
    {lists:reverse(Done, rest_of_list(Head)), Left};
cut_list([Head0 | Tail], Left0, Done) ->
    {Head, Left} = cut(Head0, Left0 - 2),
    cut_list(Tail, Left, [Head | Done]);
cut_list([], Left, Done) ->
    {lists:reverse(Done), Left};
cut_list(Tail0, Left0, Done) ->
    {Tail, Left} = cut(Tail0, Left0),
    {lists:reverse(Done, Tail), Left}.

rest_of_list(Char) when is_integer(Char), Char >= 0, Char =< 16#10FFFF -> [];
rest_of_list(Binary) when is_binary(Binary) -> [];
rest_of_list(_) -> ['...'].

cut_map(none, Left, Done) ->
    {Done, Left};
cut_map(_, Left, Done) when Left < 0 ->
    {Done#{'...' => '...'}, Left};
cut_map({Key0, Value0, Next}, Left0, Done) ->
    {Key, Left1} = cut(Key0, Left0 - 2),
    {Value, Left} = cut(Value0, Left1),
    cut_map(maps:next(Next), Left, Done#{Key => Value}).
