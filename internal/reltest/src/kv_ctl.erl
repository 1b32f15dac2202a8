%% Asks a running node: what the commands in bin/ are made of.
-module(kv_ctl).
-export([main/0]).

main() ->
    [Node, Command | Args] = init:get_plain_arguments(),
    halt(run(list_to_atom(Node), Command, Args)).

run(Node, "stop", []) ->
    case net_kernel:connect_node(Node) of
        true ->
            true = erlang:monitor_node(Node, true),
            true = rpc:cast(Node, init, stop, []),
            receive {nodedown, Node} -> 0 after 20000 -> fail("it does not stop") end;
        false ->
            0
    end;
run(Node, "ping", []) -> told(call(Node, members, []), fun(_) -> "pong~n" end);
run(Node, "join", [Other]) -> told(call(Node, join, [list_to_atom(Other)]), fun(_) -> "joined~n" end);
run(Node, "leave", []) -> told(call(Node, leave, []), fun(_) -> "left~n" end);
run(Node, "members", []) -> told(call(Node, members, []), fun(All) -> [[atom_to_list(N), $\n] || N <- All] end);
run(Node, "put", [Key, Value]) -> told(call(Node, put, [Key, Value]), fun(_) -> "" end);
run(Node, "get", [Key]) -> told(call(Node, get, [Key]), fun({ok, V}) -> V; (error) -> "" end);
run(_Node, Command, _Args) -> fail("what is " ++ Command ++ "?").

call(Node, Function, Args) -> rpc:call(Node, kv, Function, Args, 20000).

told({badrpc, Reason}, _Format) -> fail(io_lib:format("~0p", [Reason]));
told({error, Reason}, _Format) -> fail(io_lib:format("~0p", [Reason]));
told(Answer, Format) -> io:format(Format(Answer)), 0.

fail(Text) -> io:format(standard_error, "kv: ~ts~n", [Text]), 1.
