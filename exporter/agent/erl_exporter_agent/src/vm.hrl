%%% Part of erl_exporter_agent: what a node is, and what it has: versions,
%%% clocks, code, applications, ports, and the processes that everything needs.

%% Where there are more ports, tables or modules than this, they are not gone
%% through.
-define(MAX_WALK, 100000).

vm_schema() ->
    [
        {vm, [], [
            time_offset_seconds, clock_drift_seconds, poll_set_size, check_io_max_fds
        ]},
        {vm, [], [start_time_seconds, code_mode_interactive]},
        {vm_info,
            [
                otp_release, erts_version, emu_flavor, architecture, release_name,
                release_version, elixir
            ],
            [info]},
        {time_warp_mode, [mode], [info]},
        {sockets, [domain_type], [sockets]}
    ].

vm() ->
    %% Truncated to milliseconds, as the calls of the catalogue.
    System = erlang:system_time(millisecond),
    {Polled, MaxFds} = check_io(),
    {
        {
            erlang:time_offset(millisecond) / 1000,
            (os:system_time(millisecond) - System) / 1000,
            Polled,
            MaxFds
        },
        {vm_start_time(), flag(code:get_mode() =:= interactive)}
    }.

vm_tables({Values, Constants}) ->
    {Release, Version} = init:script_id(),
    Info = {
        erlang:system_info(otp_release), erlang:system_info(version), info(emu_flavor),
        erlang:system_info(system_architecture), Release, Version, elixir_version()
    },
    {Sockets, Counts} = lists:unzip(sockets()),
    [
        {row, Values},
        {const, Constants},
        {rows, [Info], [{1}]},
        {rows, [erlang:system_info(time_warp_mode)], [{1}]},
        {rows, Sockets, Counts}
    ].

elixir_version() ->
    case application:get_key(elixir, vsn) of
        {ok, Version} -> Version;
        undefined -> []
    end.

%% There is a list for each set of descriptors that is polled.
check_io() ->
    try erlang:system_info(check_io) of
        Sets ->
            Flat =
                case Sets of
                    [{_, _} | _] -> [Sets];
                    _ -> Sets
                end,
            {
                lists:sum([defined(proplist(total_poll_set_size, Set), 0) || Set <- Flat]),
                lists:max([0 | [defined(proplist(max_fds, Set), 0) || Set <- Flat]])
            }
    catch
        error:_ -> {[], []}
    end.

%% Of sockets that were made by the module socket; it is not loaded for this.
sockets() ->
    case erlang:function_exported(socket, info, 0) of
        true ->
            try
                Info = socket:info(),
                Counters =
                    case maps:get(counters, Info, Info) of
                        Map when is_map(Map) -> maps:to_list(Map);
                        List -> List
                    end,
                lists:sort([
                    {Kind, {Count}}
                 || {Key, Count} <- Counters, is_integer(Count), Kind <- socket_kind(Key)
                ])
            catch
                error:_ -> []
            end;
        false ->
            []
    end.

socket_kind(num_sockets) -> [all];
socket_kind(num_dinet) -> [inet];
socket_kind(num_dinet6) -> [inet6];
socket_kind(num_dlocal) -> [local];
socket_kind(num_tstreams) -> [stream];
socket_kind(num_tdgrams) -> [dgram];
socket_kind(num_tseqpkgs) -> [seqpacket];
socket_kind(num_ptcp) -> [tcp];
socket_kind(num_pudp) -> [udp];
socket_kind(num_psctp) -> [sctp];
socket_kind(num_pip) -> [ip];
socket_kind(_) -> [].

%%% ----------------------------------------------------------------------
%%% Code and applications
%%% ----------------------------------------------------------------------

code_schema() ->
    [
        {code, [], [
            modules_loaded, modules_old_code, registered_processes, global_names,
            applications_running, applications_loaded
        ]},
        {application, [application, version, state], [info]}
    ].

%% Modules that a running program makes of forms (RabbitMQ's feature flags,
%% ejabberd's options) are replaced and never purged: nobody upgrades them. The
%% compiler notes no source for them, but options, which it notes of no
%% deterministic build.
made_in_memory(Module) ->
    try erlang:get_module_info(Module, compile) of
        Info -> lists:keymember(options, 1, Info) andalso not lists:keymember(source, 1, Info)
    catch
        %% It has been deleted and not yet purged.
        error:badarg -> false
    end.

modules() ->
    Loaded = erlang:loaded(),
    {
        length(Loaded),
        length([M || M <- Loaded, erlang:check_old_code(M), not made_in_memory(M)]),
        length(registered()),
        defined(ets:info(global_names, size), [])
    }.

%% Asks the application controller, which may be busy starting something.
applications() ->
    Running = application:which_applications(2000),
    Loaded = application:loaded_applications(),
    Idle = [A || {Name, _, _} = A <- Loaded, not lists:keymember(Name, 1, Running)],
    Labels = lists:sort(
        [{Name, Version, running} || {Name, _, Version} <- Running] ++
            [{Name, Version, loaded} || {Name, _, Version} <- Idle]
    ),
    {length(Running), length(Loaded), Labels}.

code_tables(Modules, Applications) ->
    {Loaded, Old, Registered, Global} = value(Modules, {[], [], [], []}),
    {Running, Known, Labels} = value(Applications, {[], [], []}),
    [
        {row, {Loaded, Old, Registered, Global, Running, Known}},
        {rows, Labels, [{1} || _ <- Labels]}
    ].

%% What a job answered, or something else where it failed.
value({ok, Value}, _) -> Value;
value(_, Default) -> Default.

%%% ----------------------------------------------------------------------
%%% Ports
%%% ----------------------------------------------------------------------

ports_schema() ->
    [
        {ports, [], [queue_bytes]},
        {port_driver, [driver], [ports]},
        {inet_port, [proto], [ports]}
    ].

ports() ->
    few(erlang:system_info(port_count), fun() -> count_ports(erlang:ports(), 0, #{}) end).

few(Count, _) when Count > ?MAX_WALK -> too_many;
few(_, Fun) -> Fun().

count_ports([Port | Ports], Queued, Drivers) ->
    case erlang:port_info(Port, name) of
        {name, Name} ->
            Driver = driver(Name),
            Queue =
                case erlang:port_info(Port, queue_size) of
                    {queue_size, Size} -> Size;
                    undefined -> 0
                end,
            Count = maps:get(Driver, Drivers, 0) + 1,
            count_ports(Ports, Queued + Queue, Drivers#{Driver => Count});
        undefined ->
            count_ports(Ports, Queued, Drivers)
    end;
count_ports([], Queued, Drivers) ->
    Inet = [
        {Proto, {maps:get(Driver, Drivers, 0)}}
     || {Proto, Driver} <- [{tcp, "tcp_inet"}, {udp, "udp_inet"}, {sctp, "sctp_inet"}]
    ],
    {Names, Counts} = lists:unzip(maps:to_list(Drivers)),
    {Protos, InetCounts} = lists:unzip(Inet),
    [
        {row, {Queued}},
        {rows, Names, [{N} || N <- Counts]},
        {rows, Protos, InetCounts}
    ].

%% A port that runs a program is named by its command line, which may hold
%% anything: secrets, and names that never end.
driver(Name) ->
    case lists:all(fun(C) -> C >= $0 andalso C =< $z end, Name) andalso length(Name) =< 32 of
        true -> Name;
        false -> "spawn"
    end.

%%% ----------------------------------------------------------------------
%%% Important processes
%%% ----------------------------------------------------------------------

vip_schema() ->
    [
        {vip, [name], [up, message_queue_len, memory, reductions]},
        {logger_handler, [handler], [message_queue_len]}
    ].

vip(Names) ->
    Handlers = [
        {Id, {Queue}}
     || Id <- logger:get_handler_ids(),
        Pid <- handler_process(Id),
        {message_queue_len, Queue} <- [process_info(Pid, message_queue_len)]
    ],
    {Ids, Queues} = lists:unzip(lists:sort(Handlers)),
    [{rows, Names, [vip_row(whereis(Name)) || Name <- Names]}, {rows, Ids, Queues}].

vip_row(Pid) when is_pid(Pid) ->
    case process_info(Pid, message_queue_len) of
        {_, Queue} ->
            {1, Queue, process_memory(Pid, Queue), process_item(Pid, reductions)};
        undefined ->
            {0, [], [], []}
    end;
%% The name of a port, such as user on old releases, is as good.
vip_row(Port) when is_port(Port) ->
    {1, [], [], []};
vip_row(undefined) ->
    {0, [], [], []}.

process_item(Pid, Item) ->
    case process_info(Pid, Item) of
        {_, Value} -> Value;
        undefined -> []
    end.

%% The VM goes through all messages to tell the memory.
process_memory(_, Queue) when Queue > ?MAX_WALK -> [];
process_memory(Pid, _) -> process_item(Pid, memory).

%% A handler of OTP's own has a process, named after its module and itself.
handler_process(Id) ->
    case logger:get_handler_config(Id) of
        {ok, #{module := Module}} ->
            try
                Name = binary_to_existing_atom(
                    <<(atom_to_binary(Module, utf8))/binary, "_", (atom_to_binary(Id, utf8))/binary>>,
                    utf8
                ),
                [Pid || Pid <- [whereis(Name)], is_pid(Pid)]
            catch
                error:badarg -> []
            end;
        {error, _} ->
            []
    end.

%%% ----------------------------------------------------------------------
%%% The host, as os_mon sees it
%%% ----------------------------------------------------------------------

os_mon_schema() ->
    [
        {os_memory, [kind], [bytes]},
        {os_disk, [mount], [used_ratio]},
        {os_load, [period], [load]}
    ].

%% Nothing is started that does not run. memsup is asked only for what it reads
%% off the system: all else makes it walk the processes.
os_mon() ->
    case [N || N <- [memsup, disksup, cpu_sup], is_pid(whereis(N))] of
        [] ->
            not_running;
        Running ->
            [os_mon(N, lists:member(N, Running)) || N <- [memsup, disksup, cpu_sup]]
    end.

os_mon(memsup, true) ->
    Data = memsup:get_system_memory_data(),
    table_of([
        {Kind, {Bytes}}
     || {Key, Kind} <- [
            {system_total_memory, total}, {free_memory, free}, {available_memory, available},
            {cached_memory, cached}, {buffered_memory, buffered}
        ],
        Bytes <- [proplist(Key, Data)],
        is_integer(Bytes)
    ]);
os_mon(disksup, true) ->
    table_of([
        {Mount, {Percent / 100}}
     || {Mount, Size, Percent} <- disksup:get_disk_data(), Size > 0, is_number(Percent)
    ]);
os_mon(cpu_sup, true) ->
    table_of([
        {Period, {Load / 256}}
     || {Period, Load} <- [{1, cpu_sup:avg1()}, {5, cpu_sup:avg5()}, {15, cpu_sup:avg15()}],
        is_integer(Load)
    ]);
os_mon(_, false) ->
    table_of([]).

table_of(Pairs) ->
    {Labels, Rows} = lists:unzip(Pairs),
    {rows, Labels, Rows}.
