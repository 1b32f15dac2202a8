%% The back office of the demo: collects figures from the store room into ever
%% larger reports, binaries and terms, and throws them away once a minute, so
%% that memory and garbage collection have something to show.
-module(demo_report).
-export([start/1]).

-define(KEPT, 60).

start([StockNode]) ->
    spawn(fun() -> register(office, self()), write({stock, StockNode}, []) end),
    ok.

write(Stock, Pages) when length(Pages) >= ?KEPT ->
    erlang:garbage_collect(),
    write(Stock, []);
write(Stock, Pages) ->
    timer:sleep(1000),
    Ref = make_ref(),
    Stock ! {count, self(), Ref},
    Orders =
        receive
            {Ref, Count} -> Count
        after 3000 -> unknown
        end,
    write(Stock, [{Orders, binary:copy(<<"figures ">>, 128 * 1024), lists:seq(1, 20000)} | Pages]).
