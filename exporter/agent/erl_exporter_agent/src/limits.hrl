%%% Part of erl_exporter_agent: the limits that the agent keeps to itself, by
%%% leaving collectors out.

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
