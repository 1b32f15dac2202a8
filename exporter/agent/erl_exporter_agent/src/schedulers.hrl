%%% Part of erl_exporter_agent: the collector for run queues and for the use of
%%% the schedulers.

%% How long a period is, at least, over which the use of schedulers is told
%% (ms). It ends with the reading.
-define(USE_PERIOD_MS, 5000).

%% Scheduler wall time is counted in nanoseconds.
-define(WALL_UNITS, 1.0e9).

%% Counting goes on as long as a process lives that has asked for it, which is
%% why the agent itself asks: what a helper asks for ends with the helper.
hold_wall_time() ->
    erlang:system_flag(scheduler_wall_time, true).

schedulers_schema() ->
    [
        {run_queues, [], [total_length, total_active]},
        {run_queue, [queue], [length, active]},
        {scheduler_time, [type, id], [active_seconds, wall_seconds]},
        {scheduler_use, [type], [utilisation, max]}
    ].

run_queues() ->
    Lengths = statistics(run_queue_lengths_all),
    Active = statistics(active_tasks_all),
    {
        {statistics(total_run_queue_lengths_all), statistics(total_active_tasks_all)},
        queue_names(length(Lengths) - 2, [dirty_cpu, dirty_io]),
        lists:zip(Lengths, Active)
    }.

queue_names(0, Names) -> Names;
queue_names(N, Names) -> queue_names(N - 1, [N | Names]).

scheduler_tables({Totals, Queues, Rows}, Job) ->
    Times =
        case Job of
            {ok, Read} -> Read;
            {error, _} -> [{rows, [], []}, {rows, [], []}]
        end,
    [{row, Totals}, {rows, Queues, Rows} | Times].

%% The memo holds two earlier times, {Before, Last}. A period begins with the
%% first of them, and is at least USE_PERIOD_MS long once there was time.
scheduler_times(Memo) ->
    case statistics(scheduler_wall_time_all) of
        undefined ->
            [{rows, [], []}, {rows, [], []}];
        Unsorted ->
            Now = {now_ms(), lists:sort(Unsorted)},
            {Before, Last} = case Memo of none -> {Now, Now}; _ -> Memo end,
            {memo, next_period(Before, Last, Now), scheduler_rows(Before, Now)}
    end.

next_period(_, {At, _} = Last, {Now, _} = Times) when Now - At >= ?USE_PERIOD_MS -> {Last, Times};
next_period(Before, Last, _) -> {Before, Last}.

scheduler_rows({_, Before}, {_, Now}) ->
    Types = scheduler_types(),
    Typed = type_schedulers(Types, Now),
    Deltas = [
        {Type, Active - Active0, Wall - Wall0}
     || {{Type, _, true}, {Id, Active, Wall}} <- Typed,
        {_, Active0, Wall0} <- [lists:keyfind(Id, 1, Before)],
        Wall > Wall0
    ],
    Uses = [{Type, scheduler_use(Type, Deltas)} || {Type, _, _} <- Types],
    [
        {rows, [{Type, N} || {{Type, N, _}, _} <- Typed], [
            {Active / ?WALL_UNITS, Wall / ?WALL_UNITS}
         || {_, {_, Active, Wall}} <- Typed
        ]},
        {rows, [Type || {Type, _} <- Uses] ++ [weighted],
            [Use || {_, Use} <- Uses] ++ [{weighted_use(Deltas), []}]}
    ].

%% {Type, HowMany, HowManyOnline}: schedulers are numbered in this order.
scheduler_types() ->
    [
        {normal, erlang:system_info(schedulers), erlang:system_info(schedulers_online)},
        {dirty_cpu, erlang:system_info(dirty_cpu_schedulers),
            erlang:system_info(dirty_cpu_schedulers_online)},
        {dirty_io, erlang:system_info(dirty_io_schedulers), erlang:system_info(dirty_io_schedulers)}
    ].

type_schedulers([{Type, Count, Online} | Types], Times) ->
    {Own, Others} = lists:split(min(Count, length(Times)), Times),
    Numbers = lists:seq(1, length(Own)),
    lists:zip([{Type, N, N =< Online} || N <- Numbers], Own) ++ type_schedulers(Types, Others);
type_schedulers([], _) ->
    [].

scheduler_use(Type, Deltas) ->
    case [{Active, Wall} || {T, Active, Wall} <- Deltas, T =:= Type] of
        [] ->
            {[], []};
        Own ->
            Active = lists:sum([A || {A, _} <- Own]),
            Wall = lists:sum([W || {_, W} <- Own]),
            {Active / Wall, lists:max([A / W || {A, W} <- Own])}
    end.

%% The time that schedulers of all types were active, as a share of what the
%% processors could have given.
weighted_use([]) ->
    [];
weighted_use([{_, _, Wall} | _] = Deltas) ->
    Processors =
        case erlang:system_info(logical_processors_available) of
            unknown -> erlang:system_info(schedulers_online);
            Available -> Available
        end,
    lists:sum([Active || {_, Active, _} <- Deltas]) / (Wall * Processors).
