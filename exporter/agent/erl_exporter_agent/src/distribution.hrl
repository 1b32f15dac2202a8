%%% Part of erl_exporter_agent: the collector for the connections to other
%%% nodes, hidden ones and the exporter's own included.

peer_columns() ->
    [node_state, queue_size, messages_in, messages_out] ++ inet_columns() ++ port_columns().

process_columns() ->
    [status | process_items()].

inet_columns() ->
    [
        recv_bytes, recv_cnt, recv_max_bytes, recv_avg_bytes, recv_dvi_bytes, send_bytes,
        send_cnt, send_max_bytes, send_avg_bytes, send_pend_bytes
    ].

inet_items() ->
    [
        recv_oct, recv_cnt, recv_max, recv_avg, recv_dvi, send_oct, send_cnt, send_max, send_avg,
        send_pend
    ].

port_columns() ->
    [port_input_bytes, port_output_bytes, port_memory_bytes, port_queue_size_bytes].

process_items() ->
    [
        memory, heap_size, min_heap_size, min_bin_vheap_size, stack_size, total_heap_size,
        message_queue_len, reductions
    ].

%% Connections are records in net_kernel's table; asking net_kernel for them
%% would wait for a process each. The first six fields are the same from OTP 23
%% to 29: node, connection id, state, owner, controller.
distribution() ->
    Controllers = erlang:system_info(dist_ctrl),
    Peers = lists:sort([
        {element(2, C), element(3, C), element(4, C), element(5, C)}
     || C <- ets:tab2list(sys_dist), element(1, C) =:= connection, tuple_size(C) > 5
    ]),
    Read = [
        {Node, peer(Id, State, Controller), processes(Node, Owner, Controller)}
     || {Node, Id, State, Owner} <- Peers,
        Controller <- [proplist(Node, Controllers)]
    ],
    {Labels, Rows} = lists:unzip([Row || {_, _, Processes} <- Read, Row <- Processes]),
    [
        {rows, [Node || {Node, _, _} <- Read], [Row || {_, Row, _} <- Read]},
        {rows, Labels, Rows}
    ].

peer(Id, State, Controller) ->
    Port = socket(Controller),
    {In, Out, Queue} = dist_stat(Id),
    list_to_tuple([node_state(State), Queue, In, Out | inet_values(Port) ++ port_values(Port)]).

node_state(pending) -> 1;
node_state(up_pending) -> 2;
node_state(up) -> 3;
node_state(_) -> [].

dist_stat(Id) ->
    try erlang:dist_get_stat(Id) of
        {ok, In, Out, false} -> {In, Out, 0};
        {ok, In, Out, true} -> {In, Out, -1};
        {ok, In, Out, Size} -> {In, Out, Size}
    catch
        error:_ -> {[], [], []}
    end.

%% net_kernel knows, and may be busy.
net_ticktime() ->
    case net_kernel:get_net_ticktime() of
        Seconds when is_integer(Seconds) -> Seconds;
        {ongoing_change_to, Seconds} -> Seconds;
        ignored -> []
    end.

dist_rows(TickTime) ->
    [
        {row, {length(nodes(visible)), length(nodes(hidden)), length(nodes(known)), TickTime}},
        {const, {info(dist_buf_busy_limit)}}
    ].

inet_values(none) ->
    [[] || _ <- inet_items()];
inet_values(Port) ->
    case inet:getstat(Port, inet_items()) of
        {ok, Stats} -> [defined(proplist(I, Stats), []) || I <- inet_items()];
        {error, _} -> inet_values(none)
    end.

port_values(none) ->
    [[], [], [], []];
port_values(Port) ->
    [port_value(Port, Item) || Item <- [input, output, memory, queue_size]].

port_value(Port, Item) ->
    case erlang:port_info(Port, Item) of
        {_, Value} -> Value;
        undefined -> []
    end.

%% Over TCP the controller is the socket. Over TLS it is the process that
%% encrypts; the one that decrypts has the socket.
socket(Port) when is_port(Port) ->
    Port;
socket(Sender) when is_pid(Sender) ->
    first([P || P <- links(tls_connection(Sender)), is_port(P)]);
socket(_) ->
    none.

%% The sender is linked to the process that decrypts (OTP 23) or to the
%% supervisor of both.
tls_connection(Sender) ->
    Linked = [{P, initial_call(P)} || P <- links(Sender), is_pid(P)],
    Siblings = [
        {P, initial_call(P)}
     || {Supervisor, {supervisor, tls_dyn_connection_sup, 1}} <- Linked,
        P <- links(Supervisor),
        is_pid(P)
    ],
    first([P || {P, Call} <- Linked ++ Siblings, is_tls_connection(Call)]).

is_tls_connection({ssl_gen_statem, init, 1}) -> true;
is_tls_connection({tls_connection, init, 1}) -> true;
is_tls_connection(_) -> false.

first([First | _]) -> First;
first([]) -> none.

links(none) ->
    [];
links(Pid) ->
    case process_info(Pid, links) of
        {_, Links} -> Links;
        undefined -> []
    end.

initial_call(Pid) ->
    case process_info(Pid, dictionary) of
        {_, Dictionary} -> proplist('$initial_call', Dictionary);
        undefined -> undefined
    end.

processes(Node, Owner, Sender) when is_pid(Sender) ->
    process(Node, dist, Owner) ++
        process(Node, tls_connection, tls_connection(Sender)) ++
        process(Node, tls_sender, Sender);
processes(Node, Owner, _) ->
    process(Node, dist, Owner).

process(Node, Type, Pid) when is_pid(Pid) ->
    %% process_info gives min_bin_vheap_size and min_heap_size as all others
    %% when they are asked for in a list.
    case process_info(Pid, [status | process_items()]) of
        [{status, Status} | Items] ->
            [{{Node, Type}, list_to_tuple([status(Status) | [V || {_, V} <- Items]])}];
        undefined ->
            []
    end;
process(_, _, _) ->
    [].

status(exiting) -> 1;
status(suspended) -> 2;
status(runnable) -> 3;
status(garbage_collecting) -> 4;
status(running) -> 5;
status(waiting) -> 6.
