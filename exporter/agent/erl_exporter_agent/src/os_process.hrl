%%% Part of erl_exporter_agent: the collector for the process of the operating
%%% system that the node is. It gives what /proc tells on Linux, and what Erlang
%%% itself knows elsewhere.

%% The kernel counts a process's time in ticks of USER_HZ, which is 100 a
%% second on every architecture that Erlang runs on.
-define(TICKS_PER_SECOND, 100).

%% A scan waits this many times its last cost before it is done again.
-define(SCAN_PAUSE, 1000).

%% Files are read past the file server, which may be busy. Where there is no
%% /proc, only what Erlang itself knows is answered. The memo is {Constants,
%% Scan}: {PageSize, MaxFiles, StartTime}, and of the last count of open files
%% {Count, Cost, When} in native units of time.
os_process(Memo) ->
    case prim_file:read_file("/proc/self/stat") of
        {ok, Stat} ->
            [UserTicks, SystemTicks, _, _, _, _, Threads, _, Started, Virtual, Pages | _] =
                lists:nthtail(10, stat_numbers(Stat)),
            {{PageSize, MaxFiles, StartTime} = Constants, LastScan} =
                case Memo of
                    none -> {os_constants(Started, Virtual), {[], 0, 0}};
                    _ -> Memo
                end,
            {Open, _, _} = Scan = open_files(LastScan),
            CPU = (UserTicks + SystemTicks) / ?TICKS_PER_SECOND,
            {memo, {Constants, Scan}, [
                {row, {Pages * PageSize, Virtual, Open, CPU, Threads, uptime()}},
                {const, {MaxFiles, StartTime}}
            ]};
        {error, _} ->
            {CPU, _} = statistics(runtime),
            [{row, {[], [], [], CPU / 1000, [], uptime()}}, {const, {[], vm_start_time()}}]
    end.

uptime() ->
    seconds(erlang:monotonic_time() - erlang:system_info(start_time)).

vm_start_time() ->
    seconds(erlang:system_info(start_time) + erlang:time_offset()).

seconds(Native) ->
    erlang:convert_time_unit(Native, native, microsecond) / 1000000.

%% The numbers from the fourth field on. The second is the program's name in
%% parentheses, which may hold parentheses and spaces itself.
stat_numbers(Stat) ->
    {Pos, _} = lists:last(binary:matches(Stat, <<") ">>)),
    <<_:Pos/binary, ") ", _State, " ", Numbers/binary>> = Stat,
    [binary_to_integer(N) || N <- binary:split(Numbers, [<<" ">>, <<"\n">>], [global, trim])].

os_constants(Started, Virtual) ->
    {page_size(Virtual), max_files(), boot_time() + Started / ?TICKS_PER_SECOND}.

%% The same size is in stat in bytes and in statm in pages. It may change
%% between the two reads, so the power of two next to the ratio is taken.
page_size(Virtual) ->
    {ok, Statm} = prim_file:read_file("/proc/self/statm"),
    [Pages | _] = binary:split(Statm, <<" ">>),
    1 bsl round(math:log2(Virtual / binary_to_integer(Pages))).

max_files() ->
    {ok, Limits} = prim_file:read_file("/proc/self/limits"),
    {_, [Soft | _]} = line(<<"Max open files">>, Limits),
    try
        binary_to_integer(Soft)
    catch
        error:badarg -> []
    end.

boot_time() ->
    {ok, Stat} = prim_file:read_file("/proc/stat"),
    {_, [Seconds | _]} = line(<<"btime">>, Stat),
    binary_to_integer(Seconds).

%% The words that follow Key at the beginning of a line.
line(Key, Text) ->
    {Pos, Length} = binary:match(Text, <<"\n", Key/binary>>),
    Skip = Pos + Length,
    <<_:Skip/binary, Rest/binary>> = Text,
    [Line | _] = binary:split(Rest, <<"\n">>),
    {Key, binary:split(Line, <<" ">>, [global, trim_all])}.

%% From Linux 6.2 on the folder's size is the number of open files. Before that
%% they have to be listed, which takes long on a node with many connections.
open_files({_, Cost, When} = Last) ->
    case file:read_file_info("/proc/self/fd", [raw]) of
        {ok, Info} when element(2, Info) > 0 ->
            {element(2, Info), 0, 0};
        _ ->
            Now = erlang:monotonic_time(),
            case Cost =:= 0 orelse Now - When > ?SCAN_PAUSE * Cost of
                true -> list_open_files(Now);
                false -> Last
            end
    end.

list_open_files(Start) ->
    case prim_file:list_dir("/proc/self/fd") of
        {ok, Names} ->
            Now = erlang:monotonic_time(),
            %% One of them is the folder itself, open to be read.
            {length(Names) - 1, max(1, Now - Start), Now};
        {error, _} ->
            {[], 1, Start}
    end.
