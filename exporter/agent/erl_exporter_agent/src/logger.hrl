%%% Part of erl_exporter_agent: the source `logs`, which tells the entries of
%%% OTP's logger, and of Lager where it runs.
%%%
%%% Config is a map: levels (of the sources logger and lager: a level or none),
%%% rate (entries a second) and message_bytes. Its events are
%%%
%%%   {batch, Binary}                   entries, see log_collect.hrl
%%%   {dropped, Rate, Overload, Failed, Ms}  dropped within the last Ms: over the
%%%                                     rate, too much on the way, or not to be
%%%                                     handled
%%%   {restored, Handlers}              others had removed these handlers, they
%%%                                     are added again
%%%   {collector_lost, Reason}          the collector was ended; another one runs
%%%   {install_failed, Reason}          is tried again
%%%
%%% Everything that asks a server of the node runs in a helper. What has to be
%%% taken back is noted on the node itself, in the configuration of our handler
%%% and of the filters, so that whoever is left can do it.

-define(INSTALL_MS, 5000).
-define(FINISH_MS, 1000).

logs_start(Config) ->
    Counters = atomics:new(?PLACES, [{signed, true}]),
    %% Monotonic time may be negative.
    atomics:put(Counters, ?REFILLED, now_ms() - ?GATHER_MS),
    S = run_collector(#{
        config => Config,
        counters => Counters,
        supervisors => {#{}, #{}},
        drops => {0, 0, 0},
        told => now_ms(),
        print => none,
        install => idle
    }),
    {Actions, Installing} = install(S),
    {ok, Actions, Installing}.

run_collector(#{counters := Counters, config := Config} = S) ->
    {Collector, Ref} = start_collector(self(), Counters, Config),
    S#{collector => Collector, collector_ref => Ref}.

logs_configure(Config, #{collector := Collector} = S) ->
    Collector ! {?MODULE, configure, Config},
    install(S#{config := Config}).

%% One at a time; what is wanted meanwhile is done after it.
install(#{install := idle, counters := Counters, collector := Collector, config := Config, print := Print} = S) ->
    Fun = fun() -> logs_install(Config, Counters, Collector, Print =/= none) end,
    {[{ask, install, Fun, ?INSTALL_MS}], S#{install := running}};
install(S) ->
    {[], S#{install := again}}.

logs_answer(install, Answer, #{install := State} = S0) ->
    {Events, S} =
        case Answer of
            {ok, {Print, []}} -> {[], S0#{print := Print, install := idle}};
            {ok, {Print, Restored}} -> {[{event, {restored, Restored}}], S0#{print := Print, install := idle}};
            {error, Reason} -> {[{event, {install_failed, Reason}}], S0#{print := none, install := idle}}
        end,
    case State of
        again ->
            {More, Next} = install(S),
            {Events ++ More, Next};
        running ->
            {Events, S}
    end.

%% Looks into tables only.
logs_tick(#{print := Print} = S0) ->
    {Told, S} = tell_drops(S0),
    case logs_print() of
        Print ->
            {Told, S};
        _ ->
            {Actions, Next} = install(S),
            {Told ++ Actions, Next}
    end.

tell_drops(#{counters := Counters, drops := {R0, O0, F0} = Drops, told := Told} = S) ->
    R = atomics:get(Counters, ?DROPPED_RATE),
    O = atomics:get(Counters, ?DROPPED_OVERLOAD),
    F = atomics:get(Counters, ?DROPPED_FAILED),
    Now = now_ms(),
    case {R, O, F} of
        Drops -> {[], S#{told := Now}};
        _ -> {[{event, {dropped, R - R0, O - O0, F - F0, Now - Told}}], S#{drops := {R, O, F}, told := Now}}
    end.

logs_message({?MODULE, batch, Batch}, S) ->
    {[{event, {batch, Batch}}], S};
logs_message({?MODULE, supervisors, Counts}, S) ->
    {[], S#{supervisors := Counts}};
logs_message({?MODULE, lager_came}, S) ->
    install(S);
logs_message({?MODULE, lager_gone}, S) ->
    install(S#{print := gone});
logs_message({'DOWN', Ref, process, _, Reason}, #{collector_ref := Ref, counters := Counters} = S0) ->
    %% What was on its way to it is lost, and nobody knows how many.
    atomics:put(Counters, ?ON_THE_WAY, 0),
    {Actions, S} = install(run_collector(S0)),
    {[{event, {collector_lost, small(Reason)}} | Actions], S};
logs_message(_, _) ->
    ignored.

%% Answers with what the collector still had.
logs_stop(#{collector := Collector, collector_ref := _}) ->
    logs_undo(),
    Ref = erlang:monitor(process, Collector),
    Collector ! {?MODULE, finish, self(), Ref},
    receive
        {Ref, none} -> [];
        {Ref, Batch} -> [{batch, Batch}];
        {'DOWN', Ref, process, _, _} -> []
    after ?FINISH_MS ->
        exit(Collector, kill),
        []
    end.

%%% ----------------------------------------------------------------------
%%% On the node
%%% ----------------------------------------------------------------------

%% {Print, Restored}: what tick compares, and the handlers that were there before
%% and had gone.
logs_install(#{levels := Levels, rate := Rate}, Counters, Collector, Before) ->
    C = #{counters => Counters, collector => Collector, rate => Rate},
    #{logger := LoggerLevel, lager := LagerLevel} = Levels,
    {Lager, Way} = lager_install(LagerLevel, C),
    Logger = logger_install(LoggerLevel, C#{lager => Way}),
    Restored = [logger || Logger =:= added, Before] ++ [lager || Lager =:= added, Before],
    {logs_print(), Restored}.

%% Changes when something has happened that concerns us.
logs_print() ->
    #{level := Primary} = logger:get_primary_config(),
    {Primary, lists:sort(logger:get_handler_ids()), whereis(lager_event), whereis(error_logger)}.

logs_undo() ->
    logger_uninstall(),
    lager_uninstall().

logger_uninstall() ->
    raise_primary(),
    _ = logger:remove_handler(?MODULE),
    ok.

%% added | kept
logger_install(none, _) ->
    logger_uninstall(),
    kept;
logger_install(Level, C0) ->
    %% Errors are always counted.
    Handled =
        case logger:compare_levels(Level, error) of
            gt -> error;
            _ -> Level
        end,
    C = C0#{least => level_number(Level), lowered => lowered()},
    Done =
        case logger:get_handler_config(?MODULE) of
            {ok, _} ->
                ok = logger:update_handler_config(?MODULE, #{level => Handled, config => C}),
                kept;
            {error, _} ->
                ok = logger:add_handler(?MODULE, ?MODULE, #{level => Handled, filters => [], config => C}),
                added
        end,
    lower_primary(Handled, C),
    Done.

%%% ----------------------------------------------------------------------
%%% The primary level
%%% ----------------------------------------------------------------------

%% A handler gets no entry below the primary level. Where more is wanted, that
%% level is lowered, after each of the node's own handlers has got a filter
%% which keeps from it what it would not have had.
lower_primary(Handled, C) ->
    #{level := Primary} = logger:get_primary_config(),
    Base =
        case lowered() of
            {Before, Primary} -> Before;
            _ -> Primary
        end,
    case logger:compare_levels(Handled, Base) of
        lt ->
            lists:foreach(fun(Id) -> filter(Id, {Base, Handled}) end, logger:get_handler_ids() -- [?MODULE]),
            ok = logger:update_handler_config(?MODULE, #{config => C#{lowered => {Base, Handled}}}),
            ok = logger:set_primary_config(level, Handled);
        _ ->
            raise_primary()
    end.

%% The level first: no handler may see what its filter kept from it.
raise_primary() ->
    case {lowered(), logger:get_primary_config()} of
        {{Base, Ours}, #{level := Ours}} -> ok = logger:set_primary_config(level, Base);
        _ -> ok
    end,
    lists:foreach(fun(Id) -> logger:remove_handler_filter(Id, ?MODULE) end, [Id || {Id, _} <- filters()]).

filter(Id, Levels) ->
    Filter = {fun ?MODULE:below/2, Levels},
    case lists:keyfind(Id, 1, filters()) of
        {Id, Filter} ->
            ok;
        Other ->
            _ = Other =/= false andalso logger:remove_handler_filter(Id, ?MODULE),
            logger:add_handler_filter(Id, ?MODULE, Filter)
    end.

%% [{Handler, Filter}] of our filters.
filters() ->
    [
        {Id, Filter}
     || Id <- logger:get_handler_ids(),
        {ok, #{filters := Filters}} <- [logger:get_handler_config(Id)],
        {?MODULE, Filter} <- Filters
    ].

%% {LevelBefore, OurLevel} | none
lowered() ->
    case logger:get_handler_config(?MODULE) of
        {ok, #{config := #{lowered := {_, _} = Levels}}} ->
            Levels;
        _ ->
            case filters() of
                [{_, {_, Levels}} | _] -> Levels;
                [] -> none
            end
    end.

%% The filter: stops what the primary level, or that of the module, would have
%% stopped.
below(#{level := Level, meta := Meta}, {Base, _}) ->
    case logger:compare_levels(Level, Base) of
        lt ->
            case Meta of
                #{mfa := {Module, _, _}} -> below_module(Level, logger:get_module_level(Module));
                _ -> stop
            end;
        _ ->
            ignore
    end;
below(_, _) ->
    ignore.

below_module(Level, [{_, Own}]) ->
    case logger:compare_levels(Level, Own) of
        lt -> stop;
        _ -> ignore
    end;
below_module(_, _) ->
    stop.

%%% ----------------------------------------------------------------------
%%% What is counted
%%% ----------------------------------------------------------------------

logs_counted(#{counters := Counters, supervisors := {Restarts, GaveUp}}) ->
    Get = fun(Place) -> {atomics:get(Counters, Place)} end,
    Levels = [emergency, alert, critical, error, warning, notice, info, debug],
    [
        {rows, Levels, [Get(Place) || Place <- lists:seq(1, 8)]},
        {rows, [crash, supervisor, terminate, process], [
            Get(Place)
         || Place <- [?CRASH_REPORTS, ?SUPERVISOR_REPORTS, ?TERMINATED, ?PROCESS_ERRORS]
        ]},
        supervisor_rows(Restarts),
        supervisor_rows(nameless(atomics:get(Counters, ?GAVE_UP_NAMELESS), GaveUp)),
        {rows, [rate_limit, overload, failed], [
            Get(Place)
         || Place <- [?DROPPED_RATE, ?DROPPED_OVERLOAD, ?DROPPED_FAILED]
        ]}
    ].

supervisor_rows(Counts) ->
    table_of([{Name, {Count}} || {Name, Count} <- lists:sort(maps:to_list(Counts))]).

nameless(0, Counts) -> Counts;
nameless(Lost, Counts) -> maps:update_with(other, fun(N) -> N + Lost end, Lost, Counts).
