%% Processes that log, for the measurements of logs_test.go.
-module(bench_flood).
-export([start/4, result/0]).
-include_lib("kernel/include/logger.hrl").

%% Has Processes log Rate entries a second together, or as many as they can when
%% it is max, for Seconds. Each entry has the text Mark and a number.
start(Mark, Processes, Rate, Seconds) ->
    persistent_term:put(?MODULE, running),
    spawn(fun() -> persistent_term:put(?MODULE, flood(Mark, Processes, Rate, Seconds)) end),
    ok.

%% running | {Entries, Microseconds, Reductions of those who logged}
result() -> persistent_term:get(?MODULE).

flood(Mark, Processes, Rate, Seconds) ->
    Parent = self(),
    Begun = now_us(),
    Each =
        case Rate of
            max -> max;
            _ -> Rate / Processes / 1.0e6
        end,
    Floods = [
        spawn_link(fun() ->
            N = loop(Mark, Each, Begun, Begun + Seconds * 1000000, 0),
            {reductions, R} = process_info(self(), reductions),
            Parent ! {self(), N, R}
        end)
     || _ <- lists:seq(1, Processes)
    ],
    All = [receive {Pid, N, R} -> {N, R} end || Pid <- Floods],
    {lists:sum([N || {N, _} <- All]), now_us() - Begun, lists:sum([R || {_, R} <- All])}.

now_us() -> erlang:monotonic_time(microsecond).

loop(Mark, Each, Begun, End, N) ->
    Now = now_us(),
    Due =
        case Each of
            max -> N + 50;
            _ -> trunc((Now - Begun) * Each)
        end,
    case {Now < End, Due > N} of
        {false, _} ->
            N;
        {true, true} ->
            loop(Mark, Each, Begun, End, entries(Mark, N, min(Due, N + 50)));
        {true, false} ->
            receive after 1 -> ok end,
            loop(Mark, Each, Begun, End, N)
    end.

entries(_, N, N) ->
    N;
entries(Mark, N, To) ->
    ?LOG_ERROR("~s ~b of ~p: ~p", [Mark, N, self(), {a, "term", #{with => [1, 2.5, <<"parts">>]}}]),
    entries(Mark, N + 1, To).
