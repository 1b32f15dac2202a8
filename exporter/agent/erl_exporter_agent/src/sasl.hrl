%%% Part of erl_exporter_agent: the source sasl, the alarms of alarm_handler.
%%%
%%% A handler of ours is added to alarm_handler, beside those that are there. It
%%% makes texts of what it sees and sends them to the agent. Besides, the list of
%%% alarms is read now and then, for alarm_handler may lose our handler, and other
%%% products put handlers of their own in place of the one that has the list.
%%% RabbitMQ's alarms are in an event manager of its own, rabbit_alarm, which has the
%%% same events and the same list: it gets a handler of ours, too.
%%%
%%% Events: {set, Name, Instance, Description}, {clear, Name, Instance},
%%% {all, [{Name, Instance, Description}]}, and tick after others, so that the
%%% owner notices when the last of them was dropped.

%% More alarms than this are not followed.
-define(MAX_ALARMS, 1000).

%% How often the list is read, and how long that may take (ms).
-define(SASL_POLL_MS, 30000).
-define(SASL_WAIT_MS, 5000).

%% The handler lets so many messages wait for the agent, and then none.
-define(SASL_QUEUE, 500).

%% Bytes of names, instances and descriptions.
-define(NAME_BYTES, 100).
-define(INSTANCE_BYTES, 100).
-define(DESCRIPTION_BYTES, 512).

%% The state:
%% ref      tells our handler from those of other agents
%% handler  on, off, or asked while a helper adds it or reads the list
%% monitor  of alarm_handler, or none
%% touched  whether something happened while a helper was on its way
%% known    what the owner was told: #{{Name, Instance} => Description}
%% ghosts   #{{Name, Instance} => true}: what was cleared and is still on the
%%          list, which holds an alarm as often as it was set
%% told     whether there were events since the last tick
%% read     when the list was read (monotonic ms)
sasl_start() ->
    S = #{
        ref => make_ref(), handler => off, monitor => none, touched => false, known => unknown,
        ghosts => #{}, told => false, read => now_ms()
    },
    sasl_add(S).

sasl_add(#{ref := Ref} = S) ->
    Agent = self(),
    Add = fun() -> sasl_add(Agent, Ref) end,
    {[{ask, added, Add, ?SASL_WAIT_MS}], S#{handler := asked, touched := false}}.

%% Run by a helper. Handlers of an agent that was killed go first. The list is
%% read when the handlers are there, so that nothing falls in between.
sasl_add(Agent, Ref) ->
    case whereis(alarm_handler) of
        undefined ->
            not_running;
        _ ->
            case [Other || M <- alarm_managers(), Other <- [sasl_add(M, Agent, Ref)], Other =/= ok] of
                [] -> {added, sasl_list()};
                [Other | _] -> Other
            end
    end.

sasl_add(Manager, Agent, Ref) ->
    Ours = [R || {?MODULE, R} <- gen_event:which_handlers(Manager)],
    _ = [gen_event:delete_handler(Manager, {?MODULE, R}, stale) || R <- Ours, R =/= Ref],
    case lists:member(Ref, Ours) of
        true -> ok;
        false -> gen_event:add_handler(Manager, {?MODULE, Ref}, {sasl, Manager, Agent, Ref})
    end.

%% Those that run.
alarm_managers() -> [M || M <- [alarm_handler, rabbit_alarm], whereis(M) =/= undefined].

sasl_read(Ref) ->
    case lists:all(fun(M) -> lists:member({?MODULE, Ref}, gen_event:which_handlers(M)) end, alarm_managers()) of
        true -> {there, sasl_list()};
        false -> gone
    end.

%% Unknown when one of the lists is.
sasl_list() ->
    case [{M, gen_event:call(M, M, get_alarms, 2000)} || M <- alarm_managers()] of
        [_ | _] = Lists ->
            case lists:all(fun({_, List}) -> is_list(List) end, Lists) of
                true -> alarm_list([A || {M, List} <- Lists, {Id, _} = A <- List, is_own(M, Id)]);
                false -> unknown
            end;
        [] ->
            unknown
    end.

%% Of alarms that were set several times, the first on the list is the last that
%% was set. A handler in place of alarm_handler's own may not have the list.
alarm_list(Alarms) ->
    lists:foldl(
        fun
            ({Id, Description}, Acc) when map_size(Acc) < ?MAX_ALARMS ->
                {Name, Instance} = alarm_name(Id),
                case Acc of
                    #{{Name, Instance} := _} -> Acc;
                    _ -> Acc#{{Name, Instance} => description(Description)}
                end;
            (_, Acc) ->
                Acc
        end,
        #{},
        Alarms
    ).

%% RabbitMQ tells every node of a cluster about each.
is_own(rabbit_alarm, {resource_limit, _, Node}) -> Node =:= node();
is_own(_, _) -> true.

sasl_answer(added, {ok, {added, List}}, S) ->
    sasl_listed(List, S#{handler := on, monitor := erlang:monitor(process, alarm_handler)});
sasl_answer(added, _, S) ->
    {[], S#{handler := off}};
sasl_answer(read, {ok, {there, List}}, S) ->
    sasl_listed(List, S#{handler := on});
sasl_answer(read, {ok, gone}, S) ->
    {[], sasl_lost(S)};
sasl_answer(read, _, S) ->
    {[], S#{handler := on, read := now_ms()}}.

%% What happened while the list was on its way may be older or newer than it: it
%% is read again.
sasl_listed(_, #{touched := true} = S) ->
    {[], S#{touched := false, read := now_ms() - ?SASL_POLL_MS}};
sasl_listed(unknown, #{known := unknown} = S) ->
    {[], S#{known := #{}, read := now_ms()}};
sasl_listed(unknown, S) ->
    {[], S#{read := now_ms()}};
sasl_listed(List, #{known := Known, ghosts := Ghosts0} = S0) ->
    Ghosts = maps:with(maps:keys(List), Ghosts0),
    Active = maps:without(maps:keys(Ghosts), List),
    S = S0#{ghosts := Ghosts, known := Active, read := now_ms()},
    case Active of
        Known -> {[], S};
        _ -> {[{event, {all, sasl_entries(Active)}}], S#{told := true}}
    end.

sasl_entries(Known) when is_map(Known) ->
    [{Name, Instance, Description} || {{Name, Instance}, Description} <- maps:to_list(Known)];
sasl_entries(unknown) ->
    [].

sasl_tick(#{handler := off} = S) ->
    sasl_add(S);
sasl_tick(#{handler := on, read := Read, ref := Ref, told := Told} = S0) ->
    {Actions, S} =
        case Told of
            true -> {[{event, tick}], S0#{told := false}};
            false -> {[], S0}
        end,
    case now_ms() - Read >= ?SASL_POLL_MS of
        true ->
            Ask = {ask, read, fun() -> sasl_read(Ref) end, ?SASL_WAIT_MS},
            {Actions ++ [Ask], S#{handler := asked, touched := false}};
        false ->
            {Actions, S}
    end;
sasl_tick(S) ->
    {[], S}.

sasl_message({?MODULE, sasl, Ref, What}, #{ref := Ref} = S) ->
    sasl_happened(What, S#{touched := true});
sasl_message({'DOWN', Monitor, process, _, _}, #{monitor := Monitor} = S) ->
    {[], sasl_lost(S)};
sasl_message(_, _) ->
    ignored.

sasl_happened(What, #{known := unknown} = S) ->
    sasl_happened(What, S#{known := #{}});
sasl_happened({set, Name, Instance, Description}, #{known := Known, ghosts := Ghosts} = S) ->
    Key = {Name, Instance},
    case is_map_key(Key, Known) orelse map_size(Known) < ?MAX_ALARMS of
        true ->
            Next = S#{known := Known#{Key => Description}, ghosts := maps:remove(Key, Ghosts)},
            {[{event, {set, Name, Instance, Description}}], Next#{told := true}};
        false ->
            {[], S}
    end;
sasl_happened({clear, Name, Instance}, #{known := Known, ghosts := Ghosts} = S) ->
    Key = {Name, Instance},
    Next = S#{known := maps:remove(Key, Known), ghosts := Ghosts#{Key => true}, told := true},
    {[{event, {clear, Name, Instance}}], bounded_ghosts(Next)};
sasl_happened(missed, S) ->
    {[], S#{read := now_ms() - ?SASL_POLL_MS}};
sasl_happened(removed, S) ->
    {[], sasl_lost(S)}.

%% They are cleared away whenever the list is read.
bounded_ghosts(#{ghosts := Ghosts} = S) when map_size(Ghosts) > ?MAX_ALARMS ->
    S#{ghosts := #{}, read := now_ms() - ?SASL_POLL_MS};
bounded_ghosts(S) ->
    S.

%% Our handler is not there any more: it is added at the next tick.
sasl_lost(#{monitor := Monitor} = S) ->
    _ = is_reference(Monitor) andalso erlang:demonitor(Monitor, [flush]),
    S#{handler := off, monitor := none}.

%% How many alarms are active; [] where that is not known.
sasl_counted({ok, {on, #{handler := Handler, known := Known}, _}}) when Handler =/= off, is_map(Known) ->
    map_size(Known);
sasl_counted(_) ->
    [].

sasl_stop(#{ref := Ref}) ->
    lists:foreach(fun(M) -> gen_event:delete_handler(M, {?MODULE, Ref}, stopped) end, alarm_managers()).

%%% ----------------------------------------------------------------------
%%% The handler, which runs in alarm_handler; those of Lager's are in lager.hrl
%%% ----------------------------------------------------------------------

init({lager, Level, C}) ->
    lager_init(Level, C);
init({sasl, Manager, Agent, Ref}) ->
    {ok, #{sasl => Ref, manager => Manager, agent => Agent, monitor => erlang:monitor(process, Agent), missed => false}}.

handle_event(Event, {lager, _, _} = State) ->
    _ = lager_event(Event, State),
    {ok, State};
handle_event({set_alarm, {Id, Description}}, #{sasl := _} = H) ->
    {Name, Instance} = alarm_name(Id),
    {ok, tell_of(Id, {set, Name, Instance, description(Description)}, H)};
handle_event({clear_alarm, Id}, #{sasl := _} = H) ->
    {Name, Instance} = alarm_name(Id),
    {ok, tell_of(Id, {clear, Name, Instance}, H)};
handle_event(_, H) ->
    {ok, H}.

handle_call(Request, {lager, _, _} = State) ->
    lager_call(Request, State);
handle_call(_, H) ->
    {ok, {error, unknown_call}, H}.

%% An agent that was killed took nothing back.
handle_info({'DOWN', Monitor, process, _, _}, #{monitor := Monitor}) ->
    remove_handler;
handle_info(_, H) ->
    {ok, H}.

terminate(Reason, {lager, _, _}) ->
    lager_terminate(Reason);
terminate(_, #{sasl := Ref, agent := Agent}) ->
    Agent ! {?MODULE, sasl, Ref, removed},
    ok;
terminate(_, _) ->
    ok.

code_change(_, H, _) ->
    {ok, H}.

tell_of(Id, What, #{manager := Manager} = H) ->
    case is_own(Manager, Id) of
        true -> tell_agent(What, H);
        false -> H
    end.

%% An agent that does not get to work is not sent more; it then reads the list.
tell_agent(What, #{agent := Agent, sasl := Ref, missed := Missed} = H) ->
    case process_info(Agent, message_queue_len) of
        {_, Queue} when Queue < ?SASL_QUEUE ->
            _ = Missed andalso (Agent ! {?MODULE, sasl, Ref, missed}),
            Agent ! {?MODULE, sasl, Ref, What},
            H#{missed := false};
        _ ->
            H#{missed := true}
    end.

%%% ----------------------------------------------------------------------
%%% Terms as text
%%% ----------------------------------------------------------------------

%% {Name, Instance} of any term: of {disk_almost_full, "/"} they are
%% disk_almost_full and "/". Texts that are cut keep a hash of the whole.
alarm_name(Id) when is_atom(Id) ->
    {id_text(Id, ?NAME_BYTES), <<>>};
alarm_name(Id) when is_tuple(Id), tuple_size(Id) > 1, is_atom(element(1, Id)) ->
    Rest =
        case tl(tuple_to_list(Id)) of
            [One] -> One;
            Several -> list_to_tuple(Several)
        end,
    {id_text(element(1, Id), ?NAME_BYTES), id_text(Rest, ?INSTANCE_BYTES)};
alarm_name(Id) ->
    {<<"alarm">>, id_text(Id, ?INSTANCE_BYTES)}.

id_text(Term, Max) ->
    Text = text_of(Term, Max + 1),
    case byte_size(Text) > Max of
        true ->
            Hash = integer_to_binary(erlang:phash2(Term, 1 bsl 32), 16),
            <<(binary:part(Text, 0, Max - 10))/binary, "#", Hash/binary>>;
        false ->
            Text
    end.

description([]) -> <<>>;
description(Term) -> text_of(Term, ?DESCRIPTION_BYTES).

%% Any term as text of at most Max bytes; the last character may be cut.
text_of(Term, Max) ->
    Text =
        try
            plain_text(Term, Max)
        catch
            _:_ -> iolist_to_binary(io_lib:format("~0p", [Term], [{chars_limit, Max}]))
        end,
    binary:part(Text, 0, min(Max, byte_size(Text))).

plain_text(Term, _) when is_atom(Term) ->
    atom_to_binary(Term, utf8);
plain_text(Term, Max) when is_binary(Term) ->
    Start = binary:part(Term, 0, min(Max * 4, byte_size(Term))),
    plain_characters(unicode:characters_to_list(Start), Term, Max);
plain_text([_ | _] = Term, Max) ->
    plain_characters(lists:sublist(Term, Max * 4), Term, Max);
plain_text(Term, Max) ->
    printed(Term, Max).

plain_characters({_, [_ | _] = Start, _}, Term, Max) ->
    plain_characters(Start, Term, Max);
plain_characters(Characters, Term, Max) ->
    case io_lib:printable_unicode_list(Characters) of
        true -> unicode:characters_to_binary(Characters);
        false -> printed(Term, Max)
    end.

printed(Term, Max) ->
    unicode:characters_to_binary(io_lib:format("~0tp", [Term], [{chars_limit, Max}])).
