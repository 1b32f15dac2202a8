%% Nodes with many processes, for the measurements of groups_test.go.
-module(bench_crowd).
-export([idle/1, busy/2, runnable/1, settled/0, watch/0, watched/0]).
-export([wait/0, turn/1]).

%% Has N processes wait for nothing.
idle(N) ->
    repeat(N, fun() -> spawn(?MODULE, wait, []) end).

wait() -> receive never -> ok end.

%% Has N processes that never wait. Who makes them comes first until they are there:
%% it would otherwise have a turn with all the others.
runnable(N) ->
    process_flag(priority, high),
    repeat(N, fun() -> spawn(fun Turn() -> Turn() end) end),
    _ = process_flag(priority, normal),
    ok.

repeat(0, _) -> ok;
repeat(N, Fun) -> Fun(), repeat(N - 1, Fun).

%% Has N processes work for some microseconds now and then, so often that together
%% they keep the normal schedulers busy for Percent of the time.
busy(N, Percent) ->
    Period = atomics:new(1, []),
    atomics:put(Period, 1, 10000),
    persistent_term:put(?MODULE, settling),
    repeat(N, fun() -> spawn(?MODULE, turn, [Period]) end),
    spawn(fun() ->
        process_flag(priority, high),
        erlang:system_flag(scheduler_wall_time, true),
        settle(Period, Percent / 100, scheduler:get_sample(), 0)
    end),
    ok.

turn(Period) ->
    receive
    after rand:uniform(2 * atomics:get(Period, 1)) -> ok
    end,
    work(2000),
    ?MODULE:turn(Period).

work(0) -> ok;
work(N) -> work(N - 1).

%% Goes on for ever: what is measured makes the node busier, which is not taken
%% away from it once it has settled.
settle(_, _, _, 3) ->
    persistent_term:put(?MODULE, settled),
    wait();
settle(Period, Part, Before, Good) ->
    receive
    after 2000 -> ok
    end,
    Now = scheduler:get_sample(),
    Normal = [U || {normal, _, U, _} <- scheduler:utilization(Before, Now)],
    Used = max(0.001, lists:sum(Normal) / length(Normal)),
    Next =
        case abs(Used - Part) < 0.04 of
            true ->
                Good + 1;
            false ->
                Last = atomics:get(Period, 1),
                Factor = min(2.0, max(0.5, Used / Part)),
                atomics:put(Period, 1, max(1, round(Last * Factor))),
                0
        end,
    settle(Period, Part, Now, Next).

settled() -> persistent_term:get(?MODULE).

%% Starts a process that wants to run each millisecond: it knows how much later
%% it did at worst, and how much memory the node had more than at first.
watch() ->
    register(bench_watch, spawn(fun() -> watch(0, erlang:memory(total), 0, 0) end)),
    ok.

watch(Late, Before, More, N) ->
    Begun = now_us(),
    receive
        {watched, From, Ref} -> From ! {Ref, {Late, More}}
    after 1 ->
        Over = now_us() - Begun - 1000,
        Most =
            case N rem 10 of
                0 -> max(More, erlang:memory(total) - Before);
                _ -> More
            end,
        watch(max(Late, Over), Before, Most, N + 1)
    end.

now_us() -> erlang:monotonic_time(microsecond).

%% Ends it: {Microseconds, Bytes}.
watched() ->
    Ref = make_ref(),
    bench_watch ! {watched, self(), Ref},
    receive
        {Ref, All} -> All
    end.
