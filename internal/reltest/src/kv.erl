%% A key-value store that every member of a cluster has a whole copy of.
-module(kv).
-behaviour(application).
-behaviour(supervisor).
-behaviour(gen_server).
-export([join/1, leave/0, members/0, put/2, get/1]).
-export([start/2, stop/1, start_link/0]).
-export([init/1, handle_call/3, handle_cast/2]).

join(Node) -> gen_server:call(?MODULE, {join, Node}).
leave() -> gen_server:call(?MODULE, leave).
members() -> gen_server:call(?MODULE, members).
put(Key, Value) -> gen_server:call(?MODULE, {put, Key, Value}).
get(Key) -> gen_server:call(?MODULE, {get, Key}).

start(_Type, _Args) -> supervisor:start_link({local, kv_sup}, ?MODULE, supervisor).
stop(_State) -> ok.
start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, server, []).

init(supervisor) ->
    {ok, {#{}, [#{id => ?MODULE, start => {?MODULE, start_link, []}}]}};
init(server) ->
    {ok, case file:consult(file()) of
        {ok, [State]} -> State;
        {error, enoent} -> #{members => [node()], data => #{}}
    end}.

handle_call(members, _From, S = #{members := Members}) -> {reply, Members, S};
handle_call({get, Key}, _From, S = #{data := Data}) -> {reply, maps:find(Key, Data), S};
handle_call({put, Key, Value}, _From, S = #{data := Data}) ->
    {reply, ok, tell(keep(S#{data := Data#{Key => Value}}))};
handle_call(leave, _From, S) ->
    _ = tell(S#{members := others(S)}),
    {reply, ok, keep(S#{members := [node()]})};
handle_call({join, Node}, _From, S) ->
    try gen_server:call({?MODULE, Node}, {add, node()}) of
        Theirs -> {reply, ok, keep(Theirs)}
    catch
        exit:Reason -> {reply, {error, Reason}, S}
    end;
handle_call({add, Node}, _From, S = #{members := Members}) ->
    New = keep(S#{members := lists:usort([Node | Members])}),
    {reply, tell(New), New}.

%% Of states that were told at the same time all members are kept.
handle_cast({state, From, #{members := Told, data := New}}, S = #{members := Members, data := Data}) ->
    case lists:member(From, Told) of
        true -> {noreply, keep(#{members => lists:usort(Told ++ Members), data => maps:merge(Data, New)})};
        false -> {noreply, keep(S#{members := lists:delete(From, Members)})}
    end.

tell(S) ->
    [gen_server:cast({?MODULE, Node}, {state, node(), S}) || Node <- others(S)],
    S.

others(#{members := Members}) -> lists:delete(node(), Members).

keep(S) ->
    ok = file:write_file(file(), io_lib:format("~0p.~n", [S])),
    S.

file() -> filename:join(os:getenv("KV_DATA"), "state").
