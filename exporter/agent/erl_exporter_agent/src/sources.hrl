%%% Part of erl_exporter_agent: the sources, which tell the owner what happens
%%% on the node, and what they have in common.
%%%
%%% A source is a few functions with a clause for each:
%%%
%%%   source_start(Source, Config) -> {ok, Actions, State} | {missing, Why}
%%%   source_configure(Source, Config, State) -> {Actions, State}
%%%       the configuration has changed while it runs
%%%   source_tick(Source, State) -> {Actions, State}
%%%       every few seconds, when the owner has renewed the lease and takes
%%%       events of the source
%%%   source_message(Source, Message, State) -> {Actions, State} | ignored
%%%       a message that nobody has claimed yet
%%%   source_answer(Source, Tag, Answer, State) -> {Actions, State}
%%%       what a helper brought: {ok, Value} | {error, Reason}; the reason is
%%%       timeout when it took too long and was ended
%%%   source_request(Source, Ref, Request, State) -> {Actions, State}
%%%       a question of the owner, to be answered with a reply, at once or later
%%%   source_stop(Source, State) -> [Event] | ok
%%%       takes back what the source has changed, and gives what it still has to
%%%       tell; is run by a helper, for two seconds at most
%%%
%%% Actions are done in their order:
%%%
%%%   {event, Term}             tells the owner, or drops and counts where it
%%%                             does not take more for now
%%%   {ask, Tag, Fun, Timeout}  has a helper run the function, which may wait for
%%%                             servers of the node; the agent itself never does
%%%   {give_up, Tag}            ends such a helper; there will be no answer of it
%%%   {reply, Ref, Term}        answers a question
%%%
%%% A source fails alone: what it raises ends it, and it is started anew after a
%%% minute.

-define(STOP_MS, 2000).
-define(RESTART_MS, 60000).

%% The agent has events of its own, with an account but no source.
start_sources(Configs, S) ->
    maps:fold(fun start_source/3, open_account(agent, S), Configs).

%% The state of a source is {on, State, Config}, {failed, Since, Config} or
%% {missing, Why}.
start_source(Source, Config, S) ->
    try source_start(Source, Config) of
        {ok, Actions, State} ->
            act(Source, Actions, put_source(Source, {on, State, Config}, open_account(Source, S)));
        {missing, Why} ->
            put_source(Source, {missing, Why}, S)
    catch
        Class:Reason:Stack -> source_failed(Source, Config, {Class, Reason, Stack}, open_account(Source, S))
    end.

source_failed(Source, Config, {Class, Reason, Stack}, S) ->
    Failed = put_source(Source, {failed, now_ms(), Config}, S),
    event(agent, {source_failed, Source, {Class, small(Reason), place(Stack)}}, Failed).

put_source(Source, State, #{sources := Sources} = S) ->
    S#{sources := Sources#{Source => State}}.

%% A source that is started again goes on counting.
open_account(Source, #{accounts := Accounts, settings := #{credit := Credit}} = S) ->
    S#{accounts := maps:merge(#{Source => {Credit, 0, 0}}, Accounts)}.

%% Calls a source that is on, and does what it wants.
with_source(Source, Call, #{sources := Sources} = S) ->
    case Sources of
        #{Source := {on, State, Config}} ->
            try Call(State) of
                ignored -> ignored;
                {Actions, Next} -> act(Source, Actions, put_source(Source, {on, Next, Config}, S))
            catch
                Class:Reason:Stack ->
                    source_failed(Source, Config, {Class, Reason, Stack}, stop_source(Source, State, S))
            end;
        _ ->
            ignored
    end.

taken(ignored, S) -> S;
taken(Next, _) -> Next.

%%% ----------------------------------------------------------------------
%%% What befalls sources
%%% ----------------------------------------------------------------------

tick_sources(#{sources := Sources} = S) ->
    maps:fold(fun tick/3, S, Sources).

tick(Source, {on, _, _}, #{accounts := Accounts} = S) ->
    case Accounts of
        #{Source := {Credit, _, _}} when Credit > 0 ->
            taken(with_source(Source, fun(State) -> source_tick(Source, State) end, S), S);
        _ ->
            S
    end;
tick(Source, {failed, Since, Config}, S) ->
    case now_ms() - Since >= ?RESTART_MS of
        true -> start_source(Source, Config, S);
        false -> S
    end;
tick(_, _, S) ->
    S.

%% Asks one source after the other whether the message is for it.
offer(Message, #{sources := Sources} = S) ->
    offer(Message, maps:keys(Sources), S).

offer(_, [], S) ->
    S;
offer(Message, [Source | Sources], S) ->
    case with_source(Source, fun(State) -> source_message(Source, Message, State) end, S) of
        ignored -> offer(Message, Sources, S);
        Next -> Next
    end.

request(Ref, Source, {configure, Config}, #{sources := Sources} = S) ->
    Next =
        case Sources of
            #{Source := {on, State, _}} ->
                Changed = put_source(Source, {on, State, Config}, S),
                with_source(Source, fun(On) -> source_configure(Source, Config, On) end, Changed);
            _ ->
                start_source(Source, Config, S)
        end,
    reply(Ref, source_state(Source, Next), Next);
request(Ref, Source, off, #{sources := Sources} = S) ->
    Stopped =
        case Sources of
            #{Source := {on, State, _}} -> stop_source(Source, State, S);
            _ -> S
        end,
    reply(Ref, ok, Stopped#{sources := maps:remove(Source, Sources)});
request(Ref, Source, Request, S) ->
    Asked = with_source(Source, fun(State) -> source_request(Source, Ref, Request, State) end, S),
    Next = taken(Asked, S),
    case source_state(Source, Next) of
        ok -> Next;
        Error -> reply(Ref, Error, Next)
    end.

source_state(Source, #{sources := Sources}) ->
    case Sources of
        #{Source := {on, _, _}} -> ok;
        #{Source := {failed, _, _}} -> {error, failed};
        #{Source := {missing, Why}} -> {error, {missing, Why}};
        _ -> {error, off}
    end.

%%% ----------------------------------------------------------------------
%%% What sources want
%%% ----------------------------------------------------------------------

act(_, [], S) -> S;
act(Source, [Action | Actions], S) -> act(Source, Actions, do(Source, Action, S)).

do(Source, {event, Event}, S) -> event(Source, Event, S);
do(Source, {ask, Tag, Fun, Timeout}, S) -> ask(Source, Tag, Fun, Timeout, S);
do(Source, {give_up, Tag}, S) -> give_up(Source, Tag, S);
do(_, {reply, Ref, Term}, S) -> reply(Ref, Term, S).

%% Events are numbered, those that are dropped too, so that the owner sees what
%% it missed.
event(Source, Event, #{owner := Owner, accounts := Accounts} = S) ->
    {Credit, Last, Dropped} = maps:get(Source, Accounts),
    Seq = Last + 1,
    Sent = Credit > 0 andalso post(Owner, {?MODULE, event, Source, Seq, Event}) =:= ok,
    case Sent of
        true -> S#{accounts := Accounts#{Source := {Credit - 1, Seq, Dropped}}};
        false -> drop(S#{accounts := Accounts#{Source := {Credit, Seq, Dropped + 1}}})
    end.

add_credit(Source, Events, #{accounts := Accounts} = S) ->
    case Accounts of
        #{Source := {Credit, Seq, Dropped}} ->
            S#{accounts := Accounts#{Source := {Credit + Events, Seq, Dropped}}};
        _ ->
            S
    end.

reply(Ref, Term, #{owner := Owner} = S) ->
    case post(Owner, {?MODULE, reply, Ref, Term}) of
        ok -> S;
        _ -> drop(S)
    end.

ask(Source, Tag, Fun, Timeout, #{asked := Asked} = S) ->
    {Pid, Ref} = spawn_monitor(fun() ->
        %% Caught, or the node would log it.
        {_, Result} = timed(Fun),
        {reductions, Reductions} = process_info(self(), reductions),
        exit({?MODULE, asked, Result, Reductions})
    end),
    Timer = erlang:start_timer(Timeout, self(), {asked, Ref}),
    S#{asked := Asked#{Ref => {Source, Tag, Pid, Timer}}}.

answered(Ref, Exit, #{helper_reductions := All} = S) ->
    {_, _, _, Timer} = maps:get(Ref, maps:get(asked, S)),
    _ = erlang:cancel_timer(Timer, [{async, true}, {info, false}]),
    case Exit of
        {?MODULE, asked, Result, Reductions} ->
            hand_over(Ref, Result, S#{helper_reductions := All + Reductions});
        Reason ->
            hand_over(Ref, {error, small(Reason)}, S)
    end.

too_late(Ref, #{asked := Asked} = S) ->
    case Asked of
        #{Ref := {_, _, Pid, _}} ->
            erlang:demonitor(Ref, [flush]),
            exit(Pid, kill),
            hand_over(Ref, {error, timeout}, S);
        _ ->
            S
    end.

give_up(Source, Tag, #{asked := Asked} = S) ->
    Given = [{Ref, Pid, Timer} || {Ref, {Of, T, Pid, Timer}} <- maps:to_list(Asked), Of =:= Source, T =:= Tag],
    lists:foreach(
        fun({Ref, Pid, Timer}) ->
            erlang:demonitor(Ref, [flush]),
            exit(Pid, kill),
            erlang:cancel_timer(Timer, [{async, true}, {info, false}])
        end,
        Given
    ),
    S#{asked := maps:without([Ref || {Ref, _, _} <- Given], Asked)}.

hand_over(Ref, Answer, #{asked := Asked0} = S0) ->
    {{Source, Tag, _, _}, Asked} = maps:take(Ref, Asked0),
    S = S0#{asked := Asked},
    taken(with_source(Source, fun(State) -> source_answer(Source, Tag, Answer, State) end, S), S).

%%% ----------------------------------------------------------------------
%%% Stopping
%%% ----------------------------------------------------------------------

%% All at the same time. A server of the node that does not answer must not
%% keep the agent.
stop_sources(#{sources := Sources, asked := Asked} = S) ->
    lists:foreach(fun({_, _, Pid, _}) -> exit(Pid, kill) end, maps:values(Asked)),
    Deadline = now_ms() + ?STOP_MS div 2,
    lists:foreach(fun(Ref) -> await_end(Ref, Deadline) end, maps:keys(Asked)),
    Helpers = [spawn_stop(Source, State) || {Source, {on, State, _}} <- maps:to_list(Sources)],
    await_stops(Helpers, now_ms() + ?STOP_MS, S).

%% What a helper has yet asked for would be done after it is taken back.
await_end(Ref, Deadline) ->
    receive
        {'DOWN', Ref, process, _, _} -> ok
    after max(0, Deadline - now_ms()) -> ok
    end.

stop_source(Source, State, S) ->
    await_stops([spawn_stop(Source, State)], now_ms() + ?STOP_MS, S).

spawn_stop(Source, State) ->
    {Pid, Ref} = spawn_monitor(fun() ->
        {_, Result} = timed(fun() -> source_stop(Source, State) end),
        exit({?MODULE, stopped, Result})
    end),
    {Source, Pid, Ref}.

await_stops(Helpers, Deadline, S0) ->
    lists:foldl(
        fun({Source, Pid, Ref}, S) ->
            receive
                {'DOWN', Ref, process, Pid, {?MODULE, stopped, {ok, Events}}} when is_list(Events) ->
                    lists:foldl(fun(Event, Acc) -> event(Source, Event, Acc) end, S, Events);
                {'DOWN', Ref, process, Pid, _} ->
                    S
            after max(0, Deadline - now_ms()) ->
                erlang:demonitor(Ref, [flush]),
                exit(Pid, kill),
                S
            end
        end,
        S0,
        Helpers
    ).

%%% ----------------------------------------------------------------------
%%% The sources
%%% ----------------------------------------------------------------------

source_start(inventory, Config) -> {ok, [], Config};
source_start(sasl, _) -> started(sasl_start());
source_start(elarm, _) -> started(elarm_start());
source_start(sysmon, Config) -> sysmon_start(Config);
source_start(metrics, _) -> {ok, [], none};
source_start(logs, Config) -> logs_start(Config);
source_start(code, Config) -> code_start(Config);
source_start(commands, _) -> {ok, [], #{running => #{}}};
source_start(_, _) -> {missing, unknown_source}.

started({Actions, State}) -> {ok, Actions, State}.

source_configure(sysmon, Config, State) -> {[], State#{config := Config}};
source_configure(logs, Config, State) -> logs_configure(Config, State);
source_configure(code, Config, State) -> {[], State#{config := Config}};
source_configure(_, _, State) -> {[], State}.

source_tick(inventory, Config) -> {[], Config};
source_tick(sasl, State) -> sasl_tick(State);
source_tick(elarm, State) -> elarm_tick(State);
source_tick(sysmon, State) -> sysmon_tick(State);
source_tick(metrics, State) -> {[], State};
source_tick(commands, State) -> {[], State};
source_tick(logs, State) -> logs_tick(State);
source_tick(code, State) -> code_tick(State).

source_message(sasl, Message, State) -> sasl_message(Message, State);
source_message(elarm, Message, State) -> elarm_message(Message, State);
source_message(sysmon, Message, State) -> sysmon_message(Message, State);
source_message(logs, Message, State) -> logs_message(Message, State);
source_message(_, _, _) -> ignored.

source_answer(inventory, Ref, Answer, Config) -> {[{reply, Ref, Answer}], Config};
source_answer(sasl, Tag, Answer, State) -> sasl_answer(Tag, Answer, State);
source_answer(elarm, Tag, Answer, State) -> elarm_answer(Tag, Answer, State);
source_answer(sysmon, Tag, Answer, State) -> sysmon_answer(Tag, Answer, State);
source_answer(metrics, Ref, Answer, State) -> {[{reply, Ref, Answer}], State};
source_answer(commands, Ref, Answer, State) -> commands_answer(Ref, Answer, State);
source_answer(logs, Tag, Answer, State) -> logs_answer(Tag, Answer, State);
source_answer(code, Tag, Answer, State) -> code_answer(Tag, Answer, State).

source_request(inventory, Ref, Request, Config) ->
    {[inventory_request(Ref, Request)], Config};
source_request(sasl, Ref, list, #{known := Known} = State) ->
    {[{reply, Ref, {all, sasl_entries(Known)}}], State};
source_request(elarm, Ref, Request, State) ->
    elarm_request(Ref, Request, State);
%% Answers questions about metrics of applications that no reading asks.
source_request(metrics, Ref, {bins, Library, Name}, State) ->
    {[{ask, Ref, fun() -> bins(Library, Name) end, 5000}], State};
source_request(commands, Ref, Request, State) ->
    commands_request(Ref, Request, State);
source_request(_, Ref, _, State) ->
    {[{reply, Ref, {error, unknown_request}}], State}.

source_stop(inventory, _) -> ok;
source_stop(sasl, State) -> sasl_stop(State);
source_stop(elarm, State) -> elarm_stop(State);
source_stop(sysmon, State) -> sysmon_stop(State);
source_stop(logs, State) -> logs_stop(State);
source_stop(_, _) -> ok.
