%%% Part of erl_exporter_agent: entries of Lager, for the source `logs`.
%%%
%%% A backend of Lager is a handler of its event manager lager_event, which a
%%% watcher of Lager's installs, and installs again when it has crashed. Lager
%%% makes entries only for levels that some backend wants, as
%%% update_loglevel_config/1 works out.
%%%
%%% A watcher that sees lager_event killed ends, and leaves behind a timer that
%%% installs the handler again after 5 s. Nobody can take that back: it would be
%%% there when the agent is not. So our watcher is kept from seeing it, and the
%%% agent installs the handler again itself (logs_tick).
%%%
%%% Where Lager takes over from error_logger it also gets what that gets: the
%%% reports of OTP and what is logged with error_logger, but nothing that is
%%% logged with logger. The handler of logger leaves the former to it (log.hrl).

-define(LAGER, {?MODULE, lager}).
%% How long a watcher may take to say whose it is.
-define(WATCHER_MS, 300).

%% {added | kept | off, redirected | direct}
lager_install(none, _) ->
    lager_uninstall(),
    {off, direct};
lager_install(Level, C) ->
    case whereis(lager_event) of
        undefined ->
            {off, direct};
        _ ->
            Args = {lager, Level, C},
            {Done, Watchers} =
                case [x || ?LAGER <- gen_event:which_handlers(lager_event)] of
                    [_ | More] ->
                        _ = [gen_event:delete_handler(lager_event, ?LAGER, detached) || _ <- More],
                        ok = gen_event:call(lager_event, ?LAGER, {configure, Args}),
                        {kept, lager_watchers()};
                    [] ->
                        lager_stop_watchers(),
                        {ok, Watcher} = supervisor:start_child(lager_handler_watcher_sup, [lager_event, ?LAGER, Args]),
                        {added, [Watcher]}
                end,
            ok = gen_event:call(lager_event, ?LAGER, {unlink, Watchers}),
            lager:update_loglevel_config(lager_event),
            {Done, lager_takes_over()}
    end.

lager_takes_over() ->
    case
        whereis(error_logger) =/= undefined andalso
            lists:member(error_logger_lager_h, gen_event:which_handlers(error_logger))
    of
        true -> redirected;
        false -> direct
    end.

%% The watcher ends with the handler. Without the update, every process would go
%% on to pay for entries that nobody wants.
lager_uninstall() ->
    case whereis(lager_event) =/= undefined andalso gen_event:delete_handler(lager_event, ?LAGER, detached) of
        ok ->
            lager_uninstall();
        _ ->
            _ = whereis(lager_handler_watcher_sup) =/= undefined andalso lager_stop_watchers(),
            _ = whereis(lager_event) =/= undefined andalso lager:update_loglevel_config(lager_event),
            ok
    end.

%% Those that would install our handler again.
lager_stop_watchers() ->
    _ = [supervisor:terminate_child(lager_handler_watcher_sup, Pid) || Pid <- lager_watchers()],
    ok.

%% A watcher of another handler may hang, or be gone by now.
lager_watchers() ->
    [
        Pid
     || {_, Pid, _, _} <- supervisor:which_children(lager_handler_watcher_sup), is_pid(Pid), is_our_watcher(Pid)
    ].

is_our_watcher(Pid) ->
    try
        lists:member(?LAGER, tuple_to_list(sys:get_state(Pid, ?WATCHER_MS)))
    catch
        _:_ -> false
    end.

%%% ----------------------------------------------------------------------
%%% The backend, in the process lager_event
%%% ----------------------------------------------------------------------

lager_init(Level, C) ->
    tell_agent(lager_came),
    {ok, {lager, lager_util:config_to_mask(Level), C}}.

lager_event({log, Message}, {lager, Mask, #{counters := Counters} = C}) ->
    try
        lager_util:is_loggable(Message, Mask, ?LAGER) andalso lager_entry(Message, C)
    catch
        _:_ -> atomics:add(Counters, ?DROPPED_FAILED, 1)
    end;
lager_event(_, _) ->
    ok.

%% The mask has decided on the level already.
lager_entry(Message, C) ->
    {Mega, Seconds, Micro} = lager_msg:timestamp(Message),
    Properties = lager_msg:metadata(Message),
    Meta = maps:from_list([{Key, Value} || {Key, Value} <- Properties, is_atom(Key)]),
    Number = level_number(lager_msg:severity(Message)),
    entry(
        lager,
        Number,
        {string, lager_msg:message(Message)},
        Meta#{time => (Mega * 1000000 + Seconds) * 1000000 + Micro, mfa => lager_place(Meta)},
        none,
        C#{least => 7}
    ).

lager_place(#{module := Module, function := Function}) when is_atom(Module), is_atom(Function) ->
    <<(atom_to_binary(Module, utf8))/binary, ":", (atom_to_binary(Function, utf8))/binary>>;
lager_place(_) ->
    none.

lager_call(get_loglevel, {lager, Mask, _} = State) ->
    {ok, Mask, State};
lager_call({set_loglevel, Level}, {lager, _, C} = State) ->
    try
        {ok, ok, {lager, lager_util:config_to_mask(Level), C}}
    catch
        _:_ -> {ok, {error, bad_log_level}, State}
    end;
lager_call({configure, {lager, Level, C}}, _) ->
    {ok, ok, {lager, lager_util:config_to_mask(Level), C}};
lager_call({unlink, Watchers}, State) ->
    lists:foreach(fun erlang:unlink/1, Watchers),
    {ok, ok, State};
lager_call(_, State) ->
    {ok, {error, unknown_call}, State}.

%% Whoever else removes the backend: it is wanted.
lager_terminate(detached) ->
    ok;
lager_terminate(_) ->
    tell_agent(lager_gone).

tell_agent(What) ->
    case whereis(?MODULE) of
        undefined -> ok;
        Agent -> Agent ! {?MODULE, What}
    end.

%% Lager has made text of reports already.
%% Binaries are not matched against a prefix with a rest that nobody reads: what
%% OTP 25 makes of that, OTP 29 does not load.
text_kind(lager, Text, Kind, S) ->
    case lager_report(Text) of
        none -> Kind;
        Report -> counted(Report, S)
    end;
text_kind(_, _, Kind, _) -> Kind.

lager_report(Text) ->
    case [Report || {Prefix, Report} <- lager_reports(), begins(Text, Prefix)] of
        [supervisor | _] -> lager_supervisor(binary:part(Text, 11, byte_size(Text) - 11));
        [terminated | _] ->
            case binary:match(Text, <<" terminated with reason">>) of
                nomatch -> none;
                _ -> terminated
            end;
        [Report | _] -> Report;
        [] -> none
    end.

lager_reports() ->
    [
        {<<"CRASH REPORT ">>, crash},
        {<<"Supervisor ">>, supervisor},
        {<<"gen_">>, terminated},
        {<<"Error in process ">>, process_error}
    ].

begins(Text, Prefix) ->
    binary:longest_common_prefix([Text, Prefix]) =:= byte_size(Prefix).

counted(Kind, #{counters := Counters}) ->
    count_report(Kind, Counters),
    Kind.

%% NAME had child ... in context CONTEXT
lager_supervisor(Text) ->
    case {binary:split(Text, <<" had ">>), binary:match(Text, <<"in context child_terminated">>)} of
        {_, nomatch} -> supervisor;
        {[Name, _], _} when byte_size(Name) < 256 -> {restart, Name};
        _ -> {restart, other}
    end.
