%%% Part of erl_exporter_agent: the source commands, which runs what somebody
%%% asks for. Everything runs in a helper with a heap of its own limit, is ended
%%% at its deadline or when nobody waits for it any more, and answers with no
%%% more bytes than were asked for: what is too large never leaves the helper.
%%%
%%% Requests: {run, What, Milliseconds, MaxBytes} and {cancel, Ref}, where Ref is
%%% that of a run. Answers of a run: {value, Binary}, {too_large, Bytes},
%%% {raised, Class, Reason, Place}, timeout, killed (by the limit of its heap),
%%% {busy, Limit}.

%% How many may run at a time.
-define(MAX_COMMANDS, 8).
%% The heap of one (words).
-define(COMMAND_HEAP, 8000000).
%% How many links and the like of a process are told.
-define(MAX_RELATED, 100).

commands_request(Ref, {cancel, Run}, #{running := Running} = State) ->
    {[{give_up, Run}, {reply, Ref, ok}], State#{running := maps:remove(Run, Running)}};
commands_request(Ref, {run, _, _, _}, #{running := Running} = State) when map_size(Running) >= ?MAX_COMMANDS ->
    {[{reply, Ref, {busy, ?MAX_COMMANDS}}], State};
commands_request(Ref, {run, What, Timeout, MaxBytes}, #{running := Running} = State) ->
    Run = fun() -> bounded_command(What, MaxBytes) end,
    {[{ask, Ref, Run, Timeout}], State#{running := Running#{Ref => true}}};
commands_request(Ref, _, State) ->
    {[{reply, Ref, {error, unknown_request}}], State}.

commands_answer(Ref, Answer, #{running := Running} = State) ->
    {[{reply, Ref, command_answer(Answer)}], State#{running := maps:remove(Ref, Running)}}.

command_answer({ok, Answer}) -> Answer;
command_answer({error, timeout}) -> timeout;
command_answer({error, killed}) -> killed;
command_answer({error, Reason}) -> {raised, exit, Reason, unknown}.

bounded_command(What, MaxBytes) ->
    %% Large binaries are elsewhere; from OTP 27 on they count, too. Before, the
    %% key is ignored.
    process_flag(max_heap_size, #{size => ?COMMAND_HEAP, kill => true, error_logger => false, include_shared_binaries => true}),
    try command(What) of
        Value ->
            case erlang:external_size(Value) of
                Size when Size > MaxBytes -> {too_large, Size};
                _ -> {value, term_to_binary(Value)}
            end
    catch
        Class:Reason:Stack -> {raised, Class, small(Reason), place(Stack)}
    end.

command({call, Module, Function, Args}) ->
    apply(Module, Function, Args);
command({garbage_collect, Process}) ->
    Pid = command_pid(Process),
    Before = command_info(Pid, memory),
    true = erlang:garbage_collect(Pid),
    #{memory_before_bytes => Before, memory_after_bytes => command_info(Pid, memory)};
command({soft_purge, Name}) ->
    Module = command_atom(Name, no_such_module),
    #{had_old_code => erlang:check_old_code(Module), purged => code:soft_purge(Module)};
command({inspect_process, Process}) ->
    inspect_process(command_pid(Process));
command({process_state, Process, Timeout}) ->
    sys:get_state(command_pid(Process), Timeout);
command({top_ets, Count}) ->
    process_flag(priority, low),
    Words = erlang:system_info(wordsize),
    Tables = [{Memory, Tab} || Tab <- ets:all(), Memory <- [ets:info(Tab, memory)], is_integer(Memory)],
    Top = lists:sublist(lists:reverse(lists:sort(Tables)), Count),
    [command_table(Tab, Memory * Words) || {Memory, Tab} <- Top];
command({application_env, Name}) ->
    Application = command_atom(Name, no_such_application),
    case lists:keymember(Application, 1, application:loaded_applications()) of
        true -> maps:from_list(application:get_all_env(Application));
        false -> error(no_such_application)
    end;
command(applications) ->
    Running = application:which_applications(5000),
    [
        #{name => App, version => list_to_binary(Vsn), running => lists:keymember(App, 1, Running)}
     || {App, _, Vsn} <- lists:sort(application:loaded_applications()), App =/= ?MODULE
    ];
command(releases) ->
    case whereis(release_handler) of
        undefined ->
            error(release_handler_does_not_run);
        _ ->
            [
                #{name => list_to_binary(Name), version => list_to_binary(Vsn), status => Status}
             || {Name, Vsn, _, Status} <- release_handler:which_releases()
            ]
    end;
command(changed_code) ->
    process_flag(priority, low),
    Second = erlang:convert_time_unit(1, second, native),
    Start = (erlang:system_info(start_time) + erlang:time_offset()) div Second,
    lists:sort([
        #{module => Module, loaded => Loaded}
     || {Module, File} <- code:all_loaded(), is_list(File), Module =/= ?MODULE,
        Loaded <- changed_module(Module, File, Start)
    ]).

%% Processes, modules and applications come as binaries: an unknown name must
%% not become an atom.
command_pid(Text) ->
    case binary_to_list(Text) of
        [$< | _] = Number -> command_local(Number);
        _ -> command_registered(Text)
    end.

command_local(Number) ->
    try list_to_pid(Number) of
        Pid when node(Pid) =:= node() -> Pid;
        _ -> error(no_such_process)
    catch
        error:badarg -> error(no_such_process)
    end.

command_registered(Name) ->
    case whereis(command_atom(Name, no_such_process)) of
        Pid when is_pid(Pid) -> Pid;
        _ -> error(no_such_process)
    end.

command_atom(Name, Missing) ->
    try
        binary_to_existing_atom(Name, utf8)
    catch
        error:badarg -> error(Missing)
    end.

command_info(Pid, Item) ->
    case process_info(Pid, Item) of
        {_, Value} -> Value;
        undefined -> error(no_such_process);
        %% No registered name.
        [] -> undefined
    end.

%% All but messages, and of the dictionary the keys.
inspect_process(Pid) ->
    Items = [
        registered_name, initial_call, current_function, current_stacktrace, status, priority, trap_exit,
        message_queue_len, memory, total_heap_size, stack_size, reductions, group_leader
    ],
    Info = maps:from_list([{Item, command_info(Pid, Item)} || Item <- Items]),
    Related = maps:from_list([{Item, related(command_info(Pid, Item))} || Item <- [links, monitors, monitored_by]]),
    Keys = [Key || {Key, _} <- command_info(Pid, dictionary)],
    maps:merge(Info#{pid => Pid, dictionary_keys => lists:sublist(Keys, ?MAX_RELATED)}, Related).

related(Processes) ->
    #{count => length(Processes), first => lists:sublist(Processes, ?MAX_RELATED)}.

command_table(Tab, Bytes) ->
    Info = fun(Item) -> ets:info(Tab, Item) end,
    #{
        name => Info(name), objects => Info(size), memory_bytes => Bytes, owner => Info(owner),
        type => Info(type), protection => Info(protection)
    }.

%% What is loaded was changed when its file is newer than the node, or is not
%% there.
changed_module(Module, File, Start) ->
    case file:read_file_info(File, [raw, {time, posix}]) of
        {ok, Info} when element(6, Info) >= Start ->
            case beam_lib:md5(File) of
                {ok, {_, MD5}} ->
                    case erlang:get_module_info(Module, md5) of
                        MD5 -> [as_on_disk];
                        _ -> [other_than_on_disk]
                    end;
                _ ->
                    []
            end;
        {error, enoent} ->
            [not_on_disk];
        _ ->
            []
    end.
