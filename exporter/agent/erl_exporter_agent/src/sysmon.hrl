%%% Part of erl_exporter_agent: the source sysmon, which counts what the VM, the
%%% distribution and Mnesia tell as it happens, and looks now and then for what
%%% nobody tells (inspect/2). It tells the owner nothing by itself: what it has
%%% found is the collector vm_events.
%%%
%%% From OTP 28 on it has a session of tracing of its own. Before that a node has
%%% one system monitor: it is taken only while nobody has it, which is looked up
%%% every few seconds, and given back.

%% After so many messages from one tick to the next, the monitor is put away for
%% a while (ms).
-define(MONITOR_MESSAGES, 3000).
-define(MONITOR_REST_MS, 60000).

%% How many peers are counted one by one.
-define(MAX_PEERS, 200).

%% Ticks from one inspection to the next, and how long one may take (ms).
-define(INSPECT_TICKS, 20).
-define(INSPECT_MS, 15000).
%% Shells are looked for among so many processes at most, so many at a time, with
%% pauses (ms). The history of a process that is larger (words) is not copied, but
%% taken to be all of it.
-define(MAX_SHELL_SCAN, 10000).
-define(SHELL_SLICE, 200).
-define(SHELL_PAUSE_MS, 20).
-define(MAX_SHELL_COPY, 1000000).

vm_events_schema() ->
    [
        {vm_events, [], [
            monitored, busy_port, busy_dist_port, long_gc, long_schedule, large_heap,
            long_message_queue, long_gc_seconds, mnesia_overload
        ]},
        {dist_events, [peer, event], [events]},
        {mnesia_events, [peer], [inconsistent]},
        {inspection, [], [exports, module_clashes, memory_limit_bytes]},
        {shell, [name], [history_words]}
    ].

monitor_events() ->
    [busy_port, busy_dist_port, long_gc, long_schedule, large_heap, long_message_queue].

%% Config is a map: long_gc and long_schedule (ms), large_heap (words),
%% long_message_queue (messages), and memory, exports, clashes and shells, which
%% say what is inspected. The state besides it: counts of events, gc_ms, counts of
%% {Peer, up | down}, mode (starting, taken, none, legacy, rest, or
%% {session, Session}), messages since the last tick, resting (until when), ear (a
%% process that listens to Mnesia, with the monitor of it), inconsistent (how
%% often Mnesia has said so, by peer), inspected (what was found), inspecting
%% (whether a helper does it, or after how many ticks one will), and loaded
%% (whether the module trace was loaded for us).
sysmon_start(Config) ->
    %% Sets a flag of this process and asks nobody.
    ok = net_kernel:monitor_nodes(true, [{node_type, all}, nodedown_reason]),
    S = #{
        config => Config,
        counts => maps:from_list([{E, 0} || E <- monitor_events()]),
        gc_ms => 0,
        peers => #{},
        overloads => 0,
        inconsistent => #{},
        inspected => #{},
        inspecting => 0,
        mode => starting,
        messages => 0,
        resting => 0,
        ear => none,
        %% Until the answer is there: the agent may leave before.
        loaded => has_trace() andalso not erlang:module_loaded(trace)
    },
    {ok, [{ask, trace, fun has_sessions/0, 5000}], S}.

%% Whether the node may have sessions of a system monitor.
has_trace() -> list_to_integer(erlang:system_info(otp_release)) >= 28.

%% {HasThem, LoadedForUs}
has_sessions() ->
    case has_trace() of
        true ->
            Was = code:is_loaded(trace),
            {module, trace} = code:ensure_loaded(trace),
            {erlang:function_exported(trace, system, 3), Was =:= false};
        false ->
            {false, false}
    end.

sysmon_answer(trace, {ok, {true, Loaded}}, S) ->
    {[], open_session(S#{loaded := Loaded})};
sysmon_answer(trace, _, S) ->
    {[], take_monitor(S#{mode := none})};
sysmon_answer(mnesia, {ok, Pid}, S) when is_pid(Pid) ->
    {[], S#{ear := {Pid, erlang:monitor(process, Pid)}}};
sysmon_answer(mnesia, _, S) ->
    {[], S#{ear := none}};
sysmon_answer(inspect, {ok, Found}, S) ->
    {[], S#{inspected := Found, inspecting := ?INSPECT_TICKS}};
sysmon_answer(inspect, _, S) ->
    {[], S#{inspected := #{}, inspecting := ?INSPECT_TICKS}}.

sysmon_tick(#{mode := Mode} = S0) ->
    S = S0#{messages := 0},
    Next =
        case Mode of
            legacy -> check_monitor(S);
            taken -> take_monitor(S);
            none -> take_monitor(S);
            rest -> end_rest(S);
            _ -> S
        end,
    {Listen, Listening} = listen_to_mnesia(Next),
    {Inspect, Inspecting} = inspect(Listening),
    {Listen ++ Inspect, Inspecting}.

sysmon_message({monitor, _, Event, Info}, #{counts := Counts} = S) ->
    case Counts of
        #{Event := N} -> {[], flooded(count_gc(Event, Info, S#{counts := Counts#{Event := N + 1}}))};
        _ -> {[], S}
    end;
sysmon_message({nodeup, Node, _}, S) ->
    {[], count_peer(Node, nodeup, S)};
sysmon_message({nodedown, Node, _}, S) ->
    {[], count_peer(Node, nodedown, S)};
sysmon_message({?MODULE, mnesia_overload}, #{overloads := N} = S) ->
    {[], S#{overloads := N + 1}};
sysmon_message({?MODULE, mnesia_inconsistent, Node}, #{inconsistent := Peers} = S) ->
    Peer =
        case is_map_key(Node, Peers) orelse map_size(Peers) < ?MAX_PEERS of
            true -> Node;
            false -> other
        end,
    {[], S#{inconsistent := Peers#{Peer => maps:get(Peer, Peers, 0) + 1}}};
sysmon_message({'DOWN', Ref, process, Pid, _}, #{ear := {Pid, Ref}} = S) ->
    {[], S#{ear := none}};
sysmon_message(_, _) ->
    ignored.

count_gc(long_gc, Info, #{gc_ms := Ms} = S) -> S#{gc_ms := Ms + defined(proplist(timeout, Info), 0)};
count_gc(_, _, S) -> S.

count_peer(Node, Event, #{peers := Peers} = S) ->
    Key =
        case is_map_key({Node, Event}, Peers) orelse map_size(Peers) < 2 * ?MAX_PEERS of
            true -> {Node, Event};
            false -> {other, Event}
        end,
    S#{peers := Peers#{Key => maps:get(Key, Peers, 0) + 1}}.

%%% ----------------------------------------------------------------------
%%% The system monitor
%%% ----------------------------------------------------------------------

open_session(#{config := Config} = S) ->
    Session = trace:session_create(?MODULE, self(), []),
    lists:foreach(
        fun({Event, Argument}) -> trace:system(Session, Event, Argument) end,
        [{busy_port, true}, {busy_dist_port, true} | monitor_thresholds(Config)]
    ),
    S#{mode := {session, Session}}.

monitor_thresholds(Config) ->
    Length = maps:get(long_message_queue, Config),
    [{E, maps:get(E, Config)} || E <- [long_gc, long_schedule, large_heap]] ++
        [{long_message_queue, {Length div 2, Length}}].

take_monitor(#{config := Config} = S) ->
    case erlang:system_monitor() of
        undefined ->
            Options = [busy_port, busy_dist_port | monitor_thresholds(Config)],
            try
                erlang:system_monitor(self(), Options)
            catch
                %% Before OTP 27.
                error:badarg ->
                    erlang:system_monitor(self(), lists:keydelete(long_message_queue, 1, Options))
            end,
            S#{mode := legacy};
        _ ->
            S#{mode := taken}
    end.

%% Somebody may have taken it from us, which is their right.
check_monitor(S) ->
    case erlang:system_monitor() of
        {Pid, _} when Pid =:= self() -> S;
        undefined -> take_monitor(S);
        _ -> S#{mode := taken}
    end.

%% A node that floods the agent is worse off with the counts than without.
flooded(#{messages := N} = S) when N < ?MONITOR_MESSAGES ->
    S#{messages := N + 1};
flooded(S) ->
    give_back(S),
    S#{mode := rest, resting := now_ms() + ?MONITOR_REST_MS, messages := 0}.

end_rest(#{resting := Until} = S) ->
    case now_ms() > Until of
        false ->
            S;
        true ->
            case erlang:function_exported(trace, system, 3) of
                true -> open_session(S);
                false -> take_monitor(S#{mode := none})
            end
    end.

give_back(#{mode := {session, Session}}) ->
    trace:session_destroy(Session);
give_back(#{mode := legacy}) ->
    Own = whereis(?MODULE),
    case erlang:system_monitor() of
        {Own, _} -> erlang:system_monitor(undefined);
        _ -> ok
    end;
give_back(_) ->
    ok.

%%% ----------------------------------------------------------------------
%%% Mnesia
%%% ----------------------------------------------------------------------

%% Mnesia links to its subscribers, so another process subscribes.
listen_to_mnesia(#{ear := none} = S) ->
    case erlang:function_exported(mnesia, system_info, 1) andalso mnesia:system_info(is_running) =:= yes of
        true ->
            Agent = self(),
            {[{ask, mnesia, fun() -> start_ear(Agent) end, 5000}], S#{ear := starting}};
        false ->
            {[], S}
    end;
listen_to_mnesia(S) ->
    {[], S}.

start_ear(Agent) ->
    Ref = make_ref(),
    Self = self(),
    Pid = spawn(fun() ->
        process_flag(trap_exit, true),
        Monitor = erlang:monitor(process, Agent),
        {ok, _} = mnesia:subscribe(system),
        Self ! {Ref, ok},
        erlang:hibernate(?MODULE, ear, [Agent, Monitor])
    end),
    Down = erlang:monitor(process, Pid),
    receive
        {Ref, ok} -> Pid;
        {'DOWN', Down, process, Pid, _} -> failed
    end.

ear(Agent, Monitor) ->
    receive
        {mnesia_system_event, {mnesia_overload, _}} ->
            Agent ! {?MODULE, mnesia_overload},
            erlang:hibernate(?MODULE, ear, [Agent, Monitor]);
        {mnesia_system_event, {inconsistent_database, _, Node}} when is_atom(Node) ->
            Agent ! {?MODULE, mnesia_inconsistent, Node},
            erlang:hibernate(?MODULE, ear, [Agent, Monitor]);
        {mnesia_system_event, _} ->
            erlang:hibernate(?MODULE, ear, [Agent, Monitor]);
        {'EXIT', _, _} ->
            ok;
        {'DOWN', Monitor, process, _, _} ->
            mnesia:unsubscribe(system);
        {?MODULE, stop} ->
            mnesia:unsubscribe(system)
    end.

%%% ----------------------------------------------------------------------
%%% Inspections
%%% ----------------------------------------------------------------------

inspect(#{inspecting := Ticks} = S) when is_integer(Ticks), Ticks > 0 ->
    {[], S#{inspecting := Ticks - 1}};
inspect(#{inspecting := 0, config := Config, inspected := Before} = S) ->
    case [Part || Part <- [memory, exports, clashes, shells], maps:get(Part, Config, false)] of
        [] -> {[], S};
        Parts -> {[{ask, inspect, fun() -> inspect(Parts, Before) end, ?INSPECT_MS}], S#{inspecting := helper}}
    end;
inspect(S) ->
    {[], S}.

%% In a helper. What was found before says what need not be done again.
inspect(Parts, Before) ->
    process_flag(priority, low),
    maps:from_list([{Part, inspect_part(Part, maps:get(Part, Before, none))} || Part <- Parts]).

%% {Reductions, Count}: as long as code_server rests, nothing is loaded. The
%% runtime system tells the entries of its table only together with much else,
%% while it stands still. These are fewer: it has functions that are called and
%% are not there, too.
inspect_part(exports, Before) ->
    {reductions, Reductions} = process_info(whereis(code_server), reductions),
    case Before of
        {Reductions, _} -> Before;
        _ -> {Reductions, lists:sum([exports_of(Module) || Module <- erlang:loaded()])}
    end;
inspect_part(memory, _) ->
    memory_limit();
inspect_part(clashes, _) ->
    %% Elixir has the same modules twice where protocols are consolidated.
    Dirs = [filename:absname(Dir) || Dir <- code:get_path(), filename:basename(Dir) =/= "consolidated"],
    count_clashes(lists:usort(Dirs), #{}, #{});
inspect_part(shells, _) ->
    case erlang:system_info(process_count) of
        Many when Many > ?MAX_SHELL_SCAN -> too_many;
        _ -> find_shells(processes(), ?SHELL_SLICE, [])
    end.

%% What the node can have at most: of the host, or of its control groups. Both
%% versions of those are looked at, and all groups above its own, of which a
%% container may see some only. A group without a limit has "max", or what no
%% host has.
memory_limit() ->
    least([host_memory(prim_file:read_file("/proc/meminfo")), group_limits("/sys/fs/cgroup", prim_file:read_file("/proc/self/cgroup"))]).

least(Limits) ->
    case lists:append(Limits) of
        [] -> [];
        Some -> lists:min(Some)
    end.

host_memory({ok, <<"MemTotal:", Rest/binary>>}) ->
    [Kilobytes | _] = binary:split(Rest, <<" ">>, [global, trim_all]),
    [binary_to_integer(Kilobytes) * 1024];
host_memory(_) ->
    [].

%% Where the groups are, and what /proc says of those of the node.
group_limits(Mount, {ok, Text}) ->
    lists:append([group_limit(Mount, Line) || Line <- binary:split(Text, <<"\n">>, [global, trim])]);
group_limits(_, _) ->
    [].

group_limit(Mount, Line) ->
    case binary:split(Line, <<":">>, [global]) of
        [<<"0">>, <<>>, Path | _] ->
            group_limits(Mount, Path, "memory.max");
        [_, Controllers, Path | _] ->
            case lists:member(<<"memory">>, binary:split(Controllers, <<",">>, [global])) of
                true -> group_limits(Mount ++ "/memory", Path, "memory.limit_in_bytes");
                false -> []
            end;
        _ ->
            []
    end.

group_limits(Root, Path, File) ->
    Parts = filename:split(binary_to_list(Path)),
    [
        Limit
     || Length <- lists:seq(1, length(Parts)),
        {ok, Text} <- [prim_file:read_file(Root ++ filename:join(lists:sublist(Parts, Length) ++ [File]))],
        Limit <- group_limit(Text)
    ].

group_limit(Text) ->
    try
        [binary_to_integer(hd(binary:split(Text, <<"\n">>)))]
    catch
        error:badarg -> []
    end.

exports_of(Module) ->
    try
        length(erlang:get_module_info(Module, exports))
    catch
        %% It has been deleted meanwhile.
        error:badarg -> 0
    end.

%% What code:clash/0 prints. Archives are not looked into.
count_clashes([Dir | Dirs], Seen, Twice) ->
    Files =
        case prim_file:list_dir(Dir) of
            {ok, Names} -> [Name || Name <- Names, is_list(Name), filename:extension(Name) =:= ".beam"];
            {error, _} -> []
        end,
    Again = maps:from_list([{Name, true} || Name <- Files, is_map_key(Name, Seen)]),
    New = maps:from_list([{Name, true} || Name <- Files]),
    count_clashes(Dirs, maps:merge(Seen, New), maps:merge(Twice, Again));
count_clashes([], _, Twice) ->
    map_size(Twice).

%% Shells of the terminal, of ssh and of remote nodes have nothing in common but
%% what they run.
find_shells([], _, Found) ->
    lists:reverse(Found);
find_shells(Pids, 0, Found) ->
    receive
    after ?SHELL_PAUSE_MS -> find_shells(Pids, ?SHELL_SLICE, Found)
    end;
find_shells([Pid | Pids], Left, Found) ->
    Shells =
        case process_info(Pid, current_function) of
            {_, {shell, Function, _}} when Function =/= eval_loop -> shell_history(Pid);
            {_, {'Elixir.IEx.Server', _, _}} -> shell_history(Pid);
            _ -> []
        end,
    find_shells(Pids, Left - 1, Shells ++ Found).

shell_history(Pid) ->
    case process_info(Pid, total_heap_size) of
        {_, Words} when Words > ?MAX_SHELL_COPY -> [{pid_to_list(Pid), {Words}}];
        {_, _} -> history_words(Pid, process_info(Pid, dictionary));
        undefined -> []
    end.

%% A shell that has done nothing yet is no shell, nor is its reader.
history_words(Pid, {_, Dictionary}) ->
    case [Entry || {Key, _} = Entry <- Dictionary, is_history(Key)] of
        [] -> [];
        History -> [{pid_to_list(Pid), {lists:sum([erts_debug:flat_size(Entry) || Entry <- History])}}]
    end;
history_words(_, undefined) ->
    [].

is_history({command, _}) -> true;
is_history({result, _}) -> true;
is_history(iex_history) -> true;
is_history(_) -> false.

%%% ----------------------------------------------------------------------
%%% What is told, and the end
%%% ----------------------------------------------------------------------

vm_events(#{counts := Counts, gc_ms := Ms, mode := Mode, peers := Peers, overloads := Overloads, ear := Ear} = S) ->
    Monitored = Mode =:= legacy orelse (is_tuple(Mode) andalso element(1, Mode) =:= session),
    %% Before OTP 27 nothing tells of long queues.
    Long =
        case Counts of
            #{long_message_queue := 0} when Mode =:= legacy -> has_long_queues();
            #{long_message_queue := N} -> N
        end,
    Told = [maps:get(E, Counts) || E <- monitor_events(), E =/= long_message_queue] ++ [Long, Ms / 1000],
    Overload =
        case Ear of
            {_, _} -> Overloads;
            _ when Overloads > 0 -> Overloads;
            _ -> []
        end,
    Values =
        case Monitored orelse lists:sum([N || N <- maps:values(Counts)]) > 0 of
            true -> Told;
            %% Another one has the monitor: we do not know.
            false -> [[] || _ <- Told]
        end,
    [
        {row, list_to_tuple([flag(Monitored) | Values] ++ [Overload])},
        table_of([{Key, {N}} || {Key, N} <- lists:sort(maps:to_list(Peers))]),
        table_of([{Peer, {N}} || {Peer, N} <- lists:sort(maps:to_list(maps:get(inconsistent, S)))])
        | inspection_tables(maps:get(inspected, S))
    ].

inspection_tables(Found) ->
    Exports =
        case Found of
            #{exports := {_, Count}} -> Count;
            _ -> []
        end,
    Shells =
        case Found of
            #{shells := List} when is_list(List) -> List;
            _ -> []
        end,
    [{row, {Exports, maps:get(clashes, Found, []), maps:get(memory, Found, [])}}, table_of(Shells)].

has_long_queues() ->
    case erlang:system_monitor() of
        {_, Options} when is_list(Options) ->
            case lists:keymember(long_message_queue, 1, Options) of
                true -> 0;
                false -> []
            end;
        _ ->
            []
    end.

sysmon_stop(#{ear := Ear, loaded := Loaded} = S) ->
    give_back(S),
    case Ear of
        {Pid, _} ->
            Ref = erlang:monitor(process, Pid),
            Pid ! {?MODULE, stop},
            receive
                {'DOWN', Ref, process, Pid, _} -> ok
            after 1000 -> exit(Pid, kill)
            end;
        _ ->
            ok
    end,
    _ = Loaded andalso code:delete(trace) andalso code:soft_purge(trace),
    ok.
