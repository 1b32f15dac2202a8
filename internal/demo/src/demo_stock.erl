%% The store room of the demo: keeps what there is in Mnesia and answers the
%% shop's orders. Popular items are fought over, so that transactions restart;
%% sold-out ones abort them; orders pile up and are cleared away.
-module(demo_stock).
-export([start/0]).

-define(ITEMS, 300).
-define(KEPT_ORDERS, 20000).

start() ->
    ok = mnesia:start(),
    {atomic, ok} = mnesia:create_table(item, [{ram_copies, [node()]}, {attributes, [id, count]}]),
    {atomic, ok} = mnesia:create_table(order, [
        {ram_copies, [node()]}, {type, ordered_set}, {attributes, [id, customer, items]}
    ]),
    restock(),
    spawn(fun() -> register(stock, self()), serve() end),
    spawn(fun() -> register(deliveries, self()), deliver() end),
    ok.

serve() ->
    receive
        {order, From, Ref, Items} ->
            spawn(fun() -> From ! {Ref, sell(From, Items)} end);
        {count, From, Ref} ->
            From ! {Ref, mnesia:table_info(order, size)}
    end,
    serve().

sell(Customer, Items) ->
    Id = {erlang:monotonic_time(), make_ref()},
    mnesia:transaction(fun() ->
        [take(Item) || Item <- Items],
        mnesia:write({order, Id, Customer, Items})
    end).

take(Item) ->
    case mnesia:read(item, Item, write) of
        [{item, Item, Count}] when Count > 0 -> mnesia:write({item, Item, Count - 1});
        [_] -> mnesia:abort(sold_out)
    end.

deliver() ->
    timer:sleep(5000),
    restock(),
    case mnesia:table_info(order, size) > ?KEPT_ORDERS of
        true -> {atomic, ok} = mnesia:clear_table(order);
        false -> ok
    end,
    deliver().

restock() ->
    [ok = mnesia:dirty_write({item, Id, 40}) || Id <- lists:seq(1, ?ITEMS)],
    ok.
