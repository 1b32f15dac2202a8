%%% A stand-in for Elarm 0.3 (github.com/esl/elarm), for tests: one module with
%%% the functions, the records, the messages to subscribers and the quirks of the
%%% original, without its configuration, its log and its supervisors.
%%%
%%% Quirks that are kept: raising an alarm that is active changes its additional
%%% information and tells nobody; acknowledging twice is an error; subscribers are
%%% monitored; a server that ends takes its alarms along.
-module(elarm).

-behaviour(gen_server).

-export([
    start/0, start_server/1, start_server/2, stop_server/1, which_servers/0, raise/3, raise/4,
    clear/2, clear/3, clear/4, subscribe/2, subscribe/3, unsubscribe/1, unsubscribe/2,
    acknowledge/3, acknowledge/4, unacknowledge/3, unacknowledge/4, add_comment/4, add_comment/5,
    manual_clear/3, manual_clear/4, get_alarms/0, get_alarms/1, read_log/1
]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-record(comment, {user, time, text}).
-record(ack_info, {user, time}).
-record(alarm, {
    alarm_id, alarm_type, src, event_time, event_id, severity = indeterminate,
    probable_cause = <<"">>, proposed_repair_action = <<"">>, description = <<"">>,
    additional_information, correlated_events = [], comments = [], trend, threshold, state = new,
    ack_info
}).

%% Starts the registry and the default server; the processes are nobody's
%% children.
start() ->
    {ok, Pid} = gen_server:start({local, elarm_registry}, ?MODULE, registry, []),
    {ok, _} = start_server(elarm_server),
    {ok, Pid}.

start_server(Name) when is_atom(Name) -> start_server(Name, []);
start_server(Options) -> start_server(elarm_server, Options).

%% Options: {config, [{AlarmId, [{severity | probable_cause | ..., Value}]}]}
start_server(Name, Options) ->
    {ok, Pid} = gen_server:start({local, Name}, ?MODULE, {server, Options}, []),
    ok = gen_server:call(elarm_registry, {started, Name, Pid}),
    {ok, Pid}.

stop_server(Name) -> gen_server:stop(Name).

which_servers() -> gen_server:call(elarm_registry, which_servers).

raise(Id, Src, Info) -> raise(elarm_server, Id, Src, Info).
raise(Server, Id, Src, Info) -> gen_server:call(Server, {raise, Id, Src, Info}).
clear(Id, Src) -> clear(elarm_server, Id, Src, ok).
clear(Server, Id, Src) -> clear(Server, Id, Src, ok).
clear(Server, Id, Src, Reason) -> gen_server:call(Server, {clear, Id, Src, Reason}).
subscribe(Filter, Pid) -> subscribe(elarm_server, Filter, Pid).
subscribe(Server, Filter, Pid) -> gen_server:call(Server, {subscribe, Pid, Filter}).
unsubscribe(Ref) -> unsubscribe(elarm_server, Ref).
unsubscribe(Server, Ref) -> gen_server:call(Server, {unsubscribe, Ref}).
acknowledge(Id, Src, User) -> acknowledge(elarm_server, Id, Src, User).
acknowledge(Server, Id, Src, User) -> gen_server:call(Server, {acknowledge, Id, Src, User}).
unacknowledge(Id, Src, User) -> unacknowledge(elarm_server, Id, Src, User).
unacknowledge(Server, Id, Src, User) -> gen_server:call(Server, {unacknowledge, Id, Src, User}).
add_comment(Id, Src, Text, User) -> add_comment(elarm_server, Id, Src, Text, User).
add_comment(Server, Id, Src, Text, User) ->
    gen_server:call(Server, {add_comment, Id, Src, Text, User}).
manual_clear(Id, Src, User) -> manual_clear(elarm_server, Id, Src, User).
manual_clear(Server, Id, Src, User) -> clear(Server, Id, Src, {manual, User}).
get_alarms() -> get_alarms(elarm_server).
get_alarms(Server) -> gen_server:call(Server, get_alarms).
read_log(_) -> ok.

init(registry) -> {ok, {registry, []}};
init({server, Options}) -> {ok, {server, proplists:get_value(config, Options, []), [], []}}.

handle_call({started, Name, Pid}, _, {registry, Servers}) ->
    erlang:monitor(process, Pid),
    {reply, ok, {registry, [{Name, Pid} | Servers]}};
handle_call(which_servers, _, {registry, Servers} = S) ->
    {reply, Servers, S};
handle_call({subscribe, Pid, [all]}, _, {server, Config, Alarms, Subscribers}) ->
    Ref = make_ref(),
    Monitor = erlang:monitor(process, Pid),
    {reply, {ok, Ref, Alarms}, {server, Config, Alarms, [{Ref, Monitor, Pid} | Subscribers]}};
handle_call({unsubscribe, Ref}, _, {server, Config, Alarms, Subscribers}) ->
    {reply, ok, {server, Config, Alarms, lists:keydelete(Ref, 1, Subscribers)}};
handle_call(get_alarms, _, {server, _, Alarms, _} = S) ->
    {reply, {ok, Alarms}, S};
handle_call({raise, Id, Src, Info}, _, {server, Config, Alarms, Subscribers} = S) ->
    case find(Id, Src, Alarms) of
        {ok, Alarm} ->
            {reply, ok, put_alarm(Alarm#alarm{additional_information = Info}, S)};
        _ ->
            Alarm = configured(
                proplists:get_value(Id, Config, []),
                #alarm{
                    alarm_id = Id, src = Src, event_time = calendar:universal_time(),
                    event_id = erlang:timestamp(), additional_information = Info
                }
            ),
            tell(Alarm, Subscribers),
            {reply, ok, {server, Config, [Alarm | Alarms], Subscribers}}
    end;
handle_call({Verb, Id, Src, Argument}, _, S) ->
    change(Verb, Id, Src, Argument, S);
handle_call({add_comment, Id, Src, Text, User}, _, S) ->
    Comment = #comment{user = User, time = calendar:universal_time(), text = Text},
    change(add_comment, Id, Src, Comment, S).

change(Verb, Id, Src, Argument, {server, Config, Alarms, Subscribers} = S) ->
    Ack = #ack_info{user = Argument, time = calendar:universal_time()},
    case {Verb, find(Id, Src, Alarms)} of
        {_, not_active} ->
            {reply, {error, not_active}, S};
        {clear, {ok, Alarm}} ->
            tell({clear, Id, Src, Alarm#alarm.event_id, Argument}, Subscribers),
            {reply, ok, {server, Config, lists:delete(Alarm, Alarms), Subscribers}};
        {acknowledge, {ok, #alarm{state = acknowledged}}} ->
            {reply, {error, acknowledged}, S};
        {acknowledge, {ok, Alarm}} ->
            tell({ack, Id, Src, Alarm#alarm.event_id, Ack}, Subscribers),
            {reply, ok, put_alarm(Alarm#alarm{state = acknowledged, ack_info = Ack}, S)};
        {unacknowledge, {ok, #alarm{state = new}}} ->
            {reply, {error, unacknowledged}, S};
        {unacknowledge, {ok, Alarm}} ->
            tell({unack, Id, Src, Alarm#alarm.event_id, Ack}, Subscribers),
            {reply, ok, put_alarm(Alarm#alarm{state = new, ack_info = undefined}, S)};
        {add_comment, {ok, #alarm{comments = Comments} = Alarm}} ->
            tell({add_comment, Id, Src, Alarm#alarm.event_id, Argument}, Subscribers),
            {reply, ok, put_alarm(Alarm#alarm{comments = Comments ++ [Argument]}, S)}
    end.

handle_cast(_, S) -> {noreply, S}.

handle_info({'DOWN', _, process, Pid, _}, {registry, Servers}) ->
    {noreply, {registry, lists:keydelete(Pid, 2, Servers)}};
handle_info({'DOWN', _, process, Pid, _}, {server, Config, Alarms, Subscribers}) ->
    {noreply, {server, Config, Alarms, lists:keydelete(Pid, 3, Subscribers)}}.

find(Id, Src, Alarms) ->
    case [A || #alarm{alarm_id = I, src = X} = A <- Alarms, I =:= Id, X =:= Src] of
        [Alarm] -> {ok, Alarm};
        [] -> not_active
    end.

put_alarm(#alarm{alarm_id = Id, src = Src} = Alarm, {server, Config, Alarms, Subscribers}) ->
    {ok, Old} = find(Id, Src, Alarms),
    {server, Config, [Alarm | lists:delete(Old, Alarms)], Subscribers}.

configured(Config, Alarm) ->
    lists:foldl(
        fun
            ({severity, V}, A) -> A#alarm{severity = V};
            ({probable_cause, V}, A) -> A#alarm{probable_cause = V};
            ({proposed_repair_action, V}, A) -> A#alarm{proposed_repair_action = V};
            ({description, V}, A) -> A#alarm{description = V}
        end,
        Alarm,
        Config
    ).

tell(Event, Subscribers) ->
    lists:foreach(fun({Ref, _, Pid}) -> Pid ! {elarm, Ref, Event} end, Subscribers).
