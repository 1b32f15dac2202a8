%%% Part of erl_exporter_agent: the source elarm, the alarms of Elarm.
%%%
%%% A node may have several alarm servers; the agent subscribes to all of them.
%%% Elarm tells neither of an alarm that is raised again with other information,
%%% nor of a server that was started anew, so that all is read now and then as
%%% well. Elarm names alarms by any two terms: they stay here, and the owner gets
%%% a key for each.
%%%
%%% Events: {alarms, [Alarm]}, {all, [Alarm]}, {clear, Name, Instance, Reason},
%%% {ack, Name, Instance, User, Time}, {unack, Name, Instance, User},
%%% {comment, Name, Instance, User, Time, Text}, and tick after others. An Alarm
%%% is {Key, Name, Instance, Severity, Time, Cause, Repair, Description,
%%% Information, Ack, Comments}; Ack is none or {User, Time}, a comment is {User,
%%% Time, Text}, times are seconds since 1970.

%% How often all is read, how often at most when much happens, and how long that
%% may take (ms).
-define(ELARM_POLL_MS, 60000).
-define(ELARM_LEAST_MS, 12000).
-define(ELARM_WAIT_MS, 10000).

%% Bytes of texts, and comments of one alarm.
-define(ELARM_TEXT, 256).
-define(ELARM_COMMENTS, 10).

%% The state:
%% servers  #{Server => {Subscription, Monitor}}
%% alarms   #{Key => {Server, Id, Src, Name, Instance, Hash, {Severity, State}}}
%% asking   whether a helper reads
%% touched  whether something happened that is to be read
%% first    whether the owner was told nothing yet
%% told     whether there were events since the last tick
%% read     when all was read (monotonic ms)
elarm_start() ->
    S = #{
        servers => #{}, alarms => #{}, asking => false, touched => true, first => true,
        told => false, read => now_ms() - ?ELARM_POLL_MS
    },
    elarm_poll(S).

%% Elarm is not loaded for this.
elarm_runs() ->
    erlang:function_exported(elarm, subscribe, 3).

elarm_poll(#{asking := false, servers := Servers, alarms := Alarms} = S) ->
    case elarm_runs() of
        true ->
            Agent = self(),
            Hashes = maps:map(fun(_, Known) -> element(6, Known) end, Alarms),
            Read = fun() -> elarm_read(Agent, maps:keys(Servers), Hashes) end,
            {[{ask, read, Read, ?ELARM_WAIT_MS}], S#{asking := true, touched := false}};
        false ->
            {[], S#{read := now_ms()}}
    end;
elarm_poll(S) ->
    {[], S}.

%% Run by a helper: {[{Server, Pid, Subscription | none}], [{Key, Known, Alarm | same}]}.
%% A server that does not answer costs the others nothing.
elarm_read(Agent, Subscribed, Hashes) ->
    Answers = [elarm_ask(Agent, Server, Pid, Subscribed) || {Server, Pid} <- elarm:which_servers()],
    Servers = [{Server, Pid, Ref} || {Server, Pid, Ref, _} <- Answers],
    All = [{Server, Alarm} || {Server, _, _, Alarms} <- Answers, Alarm <- Alarms],
    Entries = [elarm_entry(S, A, Hashes) || {S, A} <- lists:sublist(All, ?MAX_ALARMS)],
    {Servers, Entries}.

elarm_ask(Agent, Server, Pid, Subscribed) ->
    try
        case lists:member(Server, Subscribed) of
            true ->
                {ok, Alarms} = elarm:get_alarms(Server),
                {Server, Pid, none, Alarms};
            false ->
                {ok, Ref, Alarms} = elarm:subscribe(Server, [all], Agent),
                {Server, Pid, Ref, Alarms}
        end
    catch
        _:_ -> {Server, Pid, failed, []}
    end.

elarm_entry(Server, Alarm, Hashes) ->
    {Id, Src} = {element(2, Alarm), element(4, Alarm)},
    Key = elarm_key(Server, Id, Src),
    Hash = erlang:phash2(Alarm, 1 bsl 32),
    {Name, Instance} = elarm_name(Server, Id, Src),
    Kind = {elarm_text(element(7, Alarm)), elarm_text(element(16, Alarm))},
    Known = {Server, Id, Src, Name, Instance, Hash, Kind},
    case Hashes of
        #{Key := Hash} -> {Key, Known, same};
        _ -> {Key, Known, elarm_alarm(Key, Known, Alarm)}
    end.

elarm_key(Server, Id, Src) ->
    <<N:128>> = erlang:md5(term_to_binary({Server, Id, Src})),
    integer_to_binary(N, 36).

elarm_name(elarm_server, Id, Src) ->
    {id_text(Id, ?NAME_BYTES), id_text(Src, ?INSTANCE_BYTES)};
elarm_name(Server, Id, Src) ->
    Text = id_text(Src, ?INSTANCE_BYTES),
    {id_text(Id, ?NAME_BYTES), <<(atom_to_binary(Server, utf8))/binary, ": ", Text/binary>>}.

%% #alarm{} of Elarm, which is not there when this is compiled.
elarm_alarm(Key, {_, _, _, Name, Instance, _, _}, Alarm) ->
    {alarm, _, _, _, Time, _, Severity, Cause, Repair, Description, Information, _, Comments, _, _,
        State, Ack} = Alarm,
    {
        Key, Name, Instance, elarm_text(Severity), elarm_time(Time), elarm_text(Cause),
        elarm_text(Repair), elarm_text(Description), elarm_information(Information),
        elarm_ack(State, Ack), elarm_comments(Comments)
    }.

elarm_text(undefined) -> <<>>;
elarm_text(Term) -> text_of(Term, ?ELARM_TEXT).

elarm_information(undefined) -> <<>>;
elarm_information(Term) -> description(Term).

elarm_ack(acknowledged, {ack_info, User, Time}) -> {elarm_text(User), elarm_time(Time)};
elarm_ack(acknowledged, _) -> {<<>>, 0};
elarm_ack(_, _) -> none.

elarm_comments(Comments) when is_list(Comments) ->
    Last = lists:nthtail(max(0, length(Comments) - ?ELARM_COMMENTS), Comments),
    [{elarm_text(User), elarm_time(Time), elarm_text(Text)} || {comment, User, Time, Text} <- Last];
elarm_comments(_) ->
    [].

elarm_time({{_, _, _}, {_, _, _}} = Time) ->
    try
        calendar:datetime_to_gregorian_seconds(Time) - 62167219200
    catch
        _:_ -> 0
    end;
elarm_time(_) ->
    0.

elarm_answer(read, {ok, {Servers, Entries}}, S) ->
    elarm_listed(Entries, elarm_subscribed(Servers, S#{asking := false, read := now_ms()}));
elarm_answer(read, _, S) ->
    {[], S#{asking := false, read := now_ms()}};
elarm_answer({list, Ref}, {ok, {Servers, Entries}}, S) ->
    All = [Alarm || {_, _, Alarm} <- Entries, Alarm =/= same],
    Known = maps:from_list([{Key, K} || {Key, K, _} <- Entries]),
    {[{reply, Ref, {all, All}}], elarm_subscribed(Servers, S#{alarms := Known})};
elarm_answer({write, Ref}, {ok, Result}, S) ->
    {[{reply, Ref, elarm_done(Result)}], S};
elarm_answer({_, Ref}, {error, Reason}, S) ->
    {[{reply, Ref, {error, Reason}}], S}.

%% What is so already is as good as done.
elarm_done(ok) -> ok;
elarm_done({error, acknowledged}) -> ok;
elarm_done({error, unacknowledged}) -> ok;
elarm_done({error, Reason}) -> {error, Reason};
elarm_done(Other) -> {error, Other}.

elarm_subscribed(Answers, #{servers := Servers0} = S) ->
    Servers = lists:foldl(
        fun
            ({Server, Pid, Ref}, Acc) when is_reference(Ref) ->
                Acc#{Server => {Ref, erlang:monitor(process, Pid)}};
            (_, Acc) ->
                Acc
        end,
        Servers0,
        Answers
    ),
    S#{servers := Servers, silent => [Server || {Server, _, failed} <- Answers]}.

%% Of servers that did not answer nothing is known to be gone.
elarm_listed(Entries, #{alarms := Known, first := First, silent := Silent} = S) ->
    New = maps:from_list([{Key, K} || {Key, K, _} <- Entries]),
    Kept = maps:filter(fun(Key, K) -> not is_map_key(Key, New) andalso lists:member(element(1, K), Silent) end, Known),
    Gone = maps:without(maps:keys(New) ++ maps:keys(Kept), Known),
    Changed = [Alarm || {_, _, Alarm} <- Entries, Alarm =/= same],
    Events =
        [{event, {all, Changed}} || First] ++
            [{event, {alarms, Changed}} || not First, Changed =/= []] ++
            [{event, {clear, N, I, <<"gone">>}} || {_, _, _, N, I, _, _} <- maps:values(Gone)],
    Told = maps:get(told, S) orelse Events =/= [],
    {Events, S#{alarms := maps:merge(Kept, New), first := false, told := Told}}.

elarm_tick(#{told := true} = S) ->
    {Actions, Next} = elarm_tick(S#{told := false}),
    {[{event, tick} | Actions], Next};
elarm_tick(#{read := Read, touched := Touched} = S) ->
    case now_ms() - Read of
        Age when Age >= ?ELARM_POLL_MS; Touched andalso Age >= ?ELARM_LEAST_MS -> elarm_poll(S);
        _ -> {[], S}
    end.

elarm_message({elarm, Ref, Event}, #{servers := Servers} = S) ->
    case [Server || {Server, {R, _}} <- maps:to_list(Servers), R =:= Ref] of
        [Server] -> elarm_happened(Server, Event, S);
        %% The helper that has subscribed is still on its way.
        [] -> {[], S#{touched := true}}
    end;
elarm_message({'DOWN', Monitor, process, _, _}, #{servers := Servers} = S) ->
    case [Server || {Server, {_, M}} <- maps:to_list(Servers), M =:= Monitor] of
        [Server] -> {[], S#{servers := maps:remove(Server, Servers), touched := true}};
        [] -> ignored
    end;
elarm_message(_, _) ->
    ignored.

elarm_happened(Server, Alarm, #{alarms := Known} = S) when element(1, Alarm) =:= alarm ->
    {Key, K, Text} = elarm_entry(Server, Alarm, #{}),
    case is_map_key(Key, Known) orelse map_size(Known) < ?MAX_ALARMS of
        true -> {[{event, {alarms, [Text]}}], S#{alarms := Known#{Key => K}, told := true}};
        false -> {[], S}
    end;
elarm_happened(Server, Event, #{alarms := Known} = S) when is_tuple(Event), tuple_size(Event) =:= 5 ->
    Key = elarm_key(Server, element(2, Event), element(3, Event)),
    case Known of
        #{Key := {_, _, _, Name, Instance, _, {Severity, _}} = K} ->
            Told = S#{told := true},
            Now = fun(State) -> Told#{alarms := Known#{Key := setelement(7, K, {Severity, State})}} end,
            case {element(1, Event), element(5, Event)} of
                {ack, {ack_info, User, Time}} ->
                    {[{event, {ack, Name, Instance, elarm_text(User), elarm_time(Time)}}], Now(<<"acknowledged">>)};
                {unack, {ack_info, User, _}} ->
                    {[{event, {unack, Name, Instance, elarm_text(User)}}], Now(<<"new">>)};
                {add_comment, {comment, User, Time, Text}} ->
                    Comment = {comment, Name, Instance, elarm_text(User), elarm_time(Time), elarm_text(Text)},
                    {[{event, Comment}], Told};
                {clear, Reason} ->
                    Clear = {clear, Name, Instance, elarm_text(Reason)},
                    {[{event, Clear}], Told#{alarms := maps:remove(Key, Known)}};
                _ ->
                    {[], S#{touched := true}}
            end;
        _ ->
            {[], S#{touched := true}}
    end;
elarm_happened(_, _, S) ->
    {[], S#{touched := true}}.

elarm_request(Ref, list, #{servers := Servers} = S) ->
    Agent = self(),
    case elarm_runs() of
        true ->
            {[{ask, {list, Ref}, fun() -> elarm_read(Agent, maps:keys(Servers), #{}) end, ?ELARM_WAIT_MS}], S};
        false ->
            {[{reply, Ref, {all, []}}], S}
    end;
elarm_request(Ref, {Verb, Key, User, Text}, #{alarms := Known} = S) ->
    case Known of
        #{Key := {Server, Id, Src, _, _, _, _}} ->
            {[{ask, {write, Ref}, fun() -> elarm_write(Verb, Server, Id, Src, User, Text) end, ?ELARM_WAIT_MS}], S};
        _ ->
            {[{reply, Ref, {error, not_active}}], S}
    end.

elarm_write(acknowledge, Server, Id, Src, User, _) -> elarm:acknowledge(Server, Id, Src, User);
elarm_write(unacknowledge, Server, Id, Src, User, _) -> elarm:unacknowledge(Server, Id, Src, User);
elarm_write(comment, Server, Id, Src, User, Text) -> elarm:add_comment(Server, Id, Src, Text, User);
elarm_write(clear, Server, Id, Src, User, _) -> elarm:manual_clear(Server, Id, Src, User).

%% Alarms by severity and state, as [{{Severity, State}, {Count}}]: those that
%% every Elarm has, also where there are none. Nothing where no Elarm runs.
elarm_counted({ok, {on, #{servers := Servers, alarms := Alarms}, _}}) when map_size(Servers) > 0 ->
    None = maps:from_list([
        {{Severity, State}, 0}
     || Severity <- [<<"critical">>, <<"indeterminate">>, <<"major">>, <<"minor">>, <<"warning">>],
        State <- [<<"acknowledged">>, <<"new">>]
    ]),
    Counts = maps:fold(
        fun(_, Known, Acc) ->
            Kind = element(7, Known),
            Acc#{Kind => maps:get(Kind, Acc, 0) + 1}
        end,
        None,
        Alarms
    ),
    [{Kind, {Count}} || {Kind, Count} <- lists:sort(maps:to_list(Counts))];
elarm_counted(_) ->
    [].

elarm_stop(#{servers := Servers}) ->
    lists:foreach(
        fun({Server, {Ref, _}}) ->
            try
                elarm:unsubscribe(Server, Ref)
            catch
                _:_ -> ok
            end
        end,
        maps:to_list(Servers)
    ).
