%% The shop of the demo: customers come in waves of two minutes. Each is a
%% process that looks around, keeps its basket in an ETS table, orders from the
%% store room on the other node and leaves.
-module(demo_shop).
-export([start/1]).

-define(WAVE_SECONDS, 120).

start([StockNode]) ->
    count(),
    spawn(fun() ->
        register(door, self()),
        ets:new(baskets, [named_table, public, {write_concurrency, true}]),
        open({stock, StockNode}, erlang:monotonic_time(millisecond))
    end),
    ok.

open(Stock, Opened) ->
    timer:sleep(100),
    Seconds = (erlang:monotonic_time(millisecond) - Opened) / 1000,
    Arriving = round(12 + 10 * math:sin(2 * math:pi() * Seconds / ?WAVE_SECONDS)),
    [spawn(fun() -> customer(Stock) end) || _ <- lists:seq(1, Arriving)],
    open(Stock, Opened).

customer(Stock) ->
    timer:sleep(500 + rand:uniform(4000)),
    %% The square makes low numbers popular.
    Items = [1 + trunc(300 * math:pow(rand:uniform(), 2) * 0.999) || _ <- lists:seq(1, rand:uniform(6))],
    ets:insert(baskets, {self(), Items, receipt(Items)}),
    Ref = make_ref(),
    Asked = erlang:monotonic_time(millisecond),
    Stock ! {order, self(), Ref, Items},
    receive
        {Ref, _Sold} ->
            notify({[shop, orders], {inc, 1}}),
            notify({[shop, answer_ms], erlang:monotonic_time(millisecond) - Asked})
    after 3000 -> notify({[shop, orders_lost], {inc, 1}})
    end,
    ets:delete(baskets, self()).

%% What the shop counts, where Folsom is installed.
count() ->
    _ = application:ensure_all_started(folsom),
    case counts() of
        true ->
            folsom_metrics:new_counter([shop, orders]),
            folsom_metrics:new_counter([shop, orders_lost]),
            folsom_metrics:new_histogram([shop, answer_ms], slide_uniform, {60, 500});
        false ->
            ok
    end.

counts() -> whereis(folsom_sup) =/= undefined.

notify(Event) -> counts() andalso folsom_metrics:notify(Event).

%% Something that needs the CPU and a binary.
receipt(Items) ->
    lists:foldl(fun(_, Bin) -> erlang:md5([Bin, term_to_binary(Items)]) end, <<>>, lists:seq(1, 200)).
