%%% Part of erl_exporter_agent: the collector, a process that formats the entries
%%% which log.hrl hands over, and makes batches of them for the agent.
%%%
%%% It calls no code but that of OTP: a report_cb of somebody else runs in a
%%% helper with a time limit, for it may crash, hang, or eat memory. When the
%%% agent is gone it takes back what the source has changed on the node, in case
%%% the agent could not.
%%%
%%% A batch is term_to_binary of {First, Entries}: First is how many entries came
%%% before since the collector started. An entry is {Source, Level, Time, Kind,
%%% Text, Fields}: Level is a number, 0 for emergency, Time is in microseconds,
%%% Fields is [{Name, Text}], all text is binaries, of any bytes.

%% A batch is sent when it has so many bytes of text, or after so many ms.
-define(BATCH_BYTES, 65536).
-define(BATCH_MS, 50).
%% How long a report_cb may take, and its memory in words.
-define(CALLBACK_MS, 500).
-define(CALLBACK_WORDS, 4000000).
%% One that has hung is not called again for so long.
-define(CALLBACK_SHUN_MS, 60000).
-define(COLLECTOR_WORDS, 16000000).
%% Supervisors that are told apart, further fields of an entry and their length.
-define(MAX_SUPERVISORS, 50).
-define(MAX_FIELDS, 24).
-define(MAX_FIELD, 1024).
%% Applications are looked up once, for so many modules and group leaders.
-define(MAX_APPLICATIONS, 500).

start_collector(Agent, Counters, Config) ->
    spawn_opt(
        fun() -> collector(Agent, Counters, Config) end,
        [
            monitor,
            {message_queue_data, off_heap},
            {max_heap_size, #{size => ?COLLECTOR_WORDS, kill => true, error_logger => false}}
        ]
    ).

collector(Agent, Counters, #{message_bytes := Limit}) ->
    collect(#{
        agent => Agent,
        agent_ref => erlang:monitor(process, Agent),
        counters => Counters,
        limit => Limit,
        first => 0,
        entries => [],
        count => 0,
        bytes => 0,
        timer => none,
        restarts => #{},
        gave_up => #{},
        told => {#{}, #{}},
        shunned => #{},
        applications => #{}
    }).

collect(#{agent := Agent, agent_ref := AgentRef, counters := Counters} = S) ->
    receive
        {?MODULE, restart, Weight, Kind} ->
            atomics:sub(Counters, ?ON_THE_WAY, Weight),
            collect(batched(restarted(Kind, S)));
        {?MODULE, gave_up, Weight, Supervisor} ->
            atomics:sub(Counters, ?ON_THE_WAY, Weight),
            collect(batched(S#{gave_up := count_supervisor(Supervisor, maps:get(gave_up, S))}));
        {?MODULE, Source, Weight, Number, Msg, Meta, Name, Kind} ->
            atomics:sub(Counters, ?ON_THE_WAY, Weight),
            collect(batched(collect_entry(Source, Number, Msg, Meta, Name, Kind, S)));
        {timeout, _, send} ->
            idle(send_batch(S#{timer := none}));
        {?MODULE, configure, #{message_bytes := Limit}} ->
            collect(S#{limit := Limit});
        {?MODULE, finish, From, Ref} ->
            From ! {Ref, last_batch(drain(S))};
        {'DOWN', AgentRef, process, Agent, _} ->
            %% The agent had no time to.
            logs_undo()
    end.

%% What an idle collector leaves in memory is what it needs.
idle(S) ->
    erlang:garbage_collect(),
    collect(S).

%% Takes what is there at the end.
drain(#{counters := Counters} = S) ->
    receive
        {?MODULE, restart, Weight, Kind} ->
            atomics:sub(Counters, ?ON_THE_WAY, Weight),
            drain(restarted(Kind, S));
        {?MODULE, gave_up, _, _} ->
            %% Nobody reads any more.
            drain(S);
        {?MODULE, Source, Weight, Number, Msg, Meta, Name, Kind} ->
            atomics:sub(Counters, ?ON_THE_WAY, Weight),
            drain(collect_entry(Source, Number, Msg, Meta, Name, Kind, S))
    after 0 ->
        S
    end.

%%% ----------------------------------------------------------------------
%%% Batches
%%% ----------------------------------------------------------------------

batched(#{bytes := Bytes} = S) when Bytes >= ?BATCH_BYTES ->
    send_batch(S);
batched(#{timer := none} = S) ->
    S#{timer := erlang:start_timer(?BATCH_MS, self(), send)};
batched(S) ->
    S.

send_batch(#{agent := Agent, count := Count, first := First, restarts := Restarts, gave_up := GaveUp, told := Told} = S) ->
    Supervisors = {Restarts, GaveUp},
    _ = Count > 0 andalso (Agent ! {?MODULE, batch, encode_batch(S)}),
    _ = Supervisors =/= Told andalso (Agent ! {?MODULE, supervisors, Supervisors}),
    S#{first := First + Count, entries := [], count := 0, bytes := 0, told := Supervisors}.

last_batch(#{count := 0}) -> none;
last_batch(S) -> encode_batch(S).

encode_batch(#{first := First, entries := Entries}) ->
    term_to_binary({First, lists:reverse(Entries)}).

restarted({restart, Supervisor}, #{restarts := Restarts} = S) ->
    S#{restarts := count_supervisor(Supervisor, Restarts)};
restarted(_, S) ->
    S.

count_supervisor(Supervisor, Counts) ->
    Name =
        case is_map_key(Supervisor, Counts) orelse map_size(Counts) < ?MAX_SUPERVISORS of
            true -> Supervisor;
            false -> other
        end,
    maps:update_with(Name, fun(N) -> N + 1 end, 1, Counts).

collect_entry(Source, Number, Msg, Meta, Name, Kind0, S0) ->
    {Text, S1} = text(Msg, Meta, S0),
    {Application, S2} = application_of(Meta, S1),
    Kind = text_kind(Source, Text, Kind0, S2),
    Fields = fields(Meta, Name, Application),
    Entry = {Source, Number, time_of(Meta), kind_name(Kind), Text, Fields},
    #{entries := Entries, count := Count, bytes := Bytes} = S2,
    restarted(Kind, S2#{
        entries := [Entry | Entries], count := Count + 1, bytes := Bytes + byte_size(Text) + 300
    }).

kind_name({restart, _}) -> supervisor;
kind_name({gave_up, _}) -> supervisor;
kind_name(Kind) -> Kind.

time_of(#{time := Time}) when is_integer(Time) -> Time;
time_of(_) -> erlang:system_time(microsecond).

%%% ----------------------------------------------------------------------
%%% Text
%%% ----------------------------------------------------------------------

%% {Binary, S}. What cannot be formatted as it wants to be is printed as it is.
text(Msg, Meta, #{limit := Limit} = S0) ->
    {Chars, S} = chars(Msg, Meta, S0),
    {shorten(to_binary(Chars), Limit), S}.

chars({string, Chars}, _, S) ->
    {Chars, S};
chars({report, Report}, #{report_cb := Callback} = Meta, S) when is_function(Callback) ->
    called_back(Callback, Report, Meta, S);
chars({report, Report}, _, #{limit := Limit} = S) ->
    {attempt(fun() -> apply_callback(fun logger:format_report/1, Report, Limit) end, Report, Limit), S};
chars({Format, Args}, _, #{limit := Limit} = S) ->
    {attempt(fun() -> io_lib:format(Format, Args, [{chars_limit, Limit}]) end, {Format, Args}, Limit), S}.

attempt(Fun, Term, Limit) ->
    try
        to_binary(Fun())
    catch
        _:_ -> printed_term(Term, Limit)
    end.

printed_term(Term, Limit) ->
    io_lib:format("~tp", [Term], [{chars_limit, Limit}]).

called_back(Callback, Report, Meta, #{limit := Limit, shunned := Shunned} = S) ->
    Cut = maps:is_key(truncated, Meta),
    case is_otp(Callback) of
        true ->
            {attempt(fun() -> apply_callback(Callback, Report, Limit) end, Report, Limit), S};
        false when Cut ->
            {printed_term(Report, Limit), S};
        false ->
            Now = now_ms(),
            case Shunned of
                #{Callback := Since} when Now - Since < ?CALLBACK_SHUN_MS ->
                    {["(report_cb is not called, for it has hung) ", printed_term(Report, Limit)], S};
                _ ->
                    helped_back(Callback, Report, S)
            end
    end.

helped_back(Callback, Report, #{limit := Limit, shunned := Shunned} = S) ->
    {Pid, Ref} = spawn_opt(
        fun() ->
            %% Caught, or the node would log it.
            exit({?MODULE, timed(fun() -> to_binary(apply_callback(Callback, Report, Limit)) end)})
        end,
        [monitor, {max_heap_size, #{size => ?CALLBACK_WORDS, kill => true, error_logger => false}}]
    ),
    receive
        {'DOWN', Ref, process, Pid, {?MODULE, {_, {ok, Text}}}} ->
            {Text, S};
        {'DOWN', Ref, process, Pid, Exit} ->
            Why =
                case Exit of
                    {?MODULE, {_, {error, Reason}}} -> Reason;
                    _ -> Exit
                end,
            {io_lib:format("(report_cb has failed: ~tp) ~tp", [Why, Report], [{chars_limit, Limit}]), S}
    after ?CALLBACK_MS ->
        erlang:demonitor(Ref, [flush]),
        exit(Pid, kill),
        Kept =
            case map_size(Shunned) of
                Size when Size >= 100 -> #{};
                _ -> Shunned
            end,
        {["(report_cb has hung) ", printed_term(Report, Limit)], S#{shunned := Kept#{Callback => now_ms()}}}
    end.

apply_callback(Callback, Report, Limit) when is_function(Callback, 2) ->
    Callback(Report, #{depth => unlimited, chars_limit => Limit, single_line => false});
apply_callback(Callback, Report, Limit) when is_function(Callback, 1) ->
    {Format, Args} = Callback(Report),
    io_lib:format(Format, Args, [{chars_limit, Limit}]).

%% Code of OTP neither hangs nor needs to be asked twice.
is_otp(Callback) ->
    case {erlang:fun_info(Callback, type), erlang:fun_info(Callback, module)} of
        {{type, external}, {module, Module}} ->
            lists:member(Module, [
                logger, proc_lib, gen_server, gen_statem, gen_event, gen_fsm, supervisor,
                supervisor_bridge, application_controller, error_logger, ssl_logger
            ]);
        _ ->
            false
    end.

%% Bytes, of which the exporter makes what can be shown.
to_binary(Binary) when is_binary(Binary) ->
    Binary;
to_binary(Chars) ->
    try unicode:characters_to_binary(Chars) of
        Binary when is_binary(Binary) -> Binary;
        _ -> iolist_to_binary(Chars)
    catch
        _:_ -> unicode:characters_to_binary(io_lib:format("~tp", [Chars], [{chars_limit, 1000}]))
    end.

shorten(Text, Limit) when byte_size(Text) =< Limit ->
    trim(Text, byte_size(Text));
shorten(Text, Limit) ->
    %% A copy, or the whole text would be kept for the part.
    More = integer_to_binary(byte_size(Text) - Limit),
    <<(binary:part(Text, 0, whole_chars(Text, Limit)))/binary, "... (", More/binary, " bytes more)">>.

%% The length up to which there are whole characters.
whole_chars(Text, Limit) when Limit > 0 ->
    case binary:at(Text, Limit) of
        Byte when Byte band 2#11000000 =:= 2#10000000 -> whole_chars(Text, Limit - 1);
        _ -> Limit
    end;
whole_chars(_, Limit) ->
    Limit.

%% Without the line ends at the end.
trim(Text, Size) when Size > 0 ->
    case binary:at(Text, Size - 1) of
        $\n -> trim(Text, Size - 1);
        _ -> binary:part(Text, 0, Size)
    end;
trim(_, 0) ->
    <<>>.

%%% ----------------------------------------------------------------------
%%% Fields
%%% ----------------------------------------------------------------------

fields(Meta, Name, Application) ->
    Known = [
        {pid, Meta},
        {registered_name, Name},
        {mfa, Meta},
        {file, Meta},
        {line, Meta},
        {domain, Meta},
        {application, Application},
        {truncated, Meta}
    ],
    Own = maps:without(
        [
            pid, mfa, file, line, domain, application, truncated, time, gl, report_cb, error_logger,
            logger_formatter, registered_name, module, function, arity, crash_reason, initial_call,
            ansi_color, erl_level
        ],
        Meta
    ),
    [{Key, Text} || {Key, From} <- Known, Text <- known_field(Key, From)] ++
        own_fields(maps:next(maps:iterator(Own)), ?MAX_FIELDS).

known_field(registered_name, []) -> [];
known_field(registered_name, Name) -> [field_text(Name)];
known_field(application, none) -> [];
known_field(application, Name) -> [field_text(Name)];
known_field(pid, #{pid := Pid}) when is_pid(Pid) -> [list_to_binary(pid_to_list(Pid))];
known_field(mfa, #{mfa := Place}) when is_binary(Place) -> [Place];
known_field(mfa, #{mfa := {M, F, A}}) when is_atom(M), is_atom(F), is_integer(A) ->
    [<<(field_text(M))/binary, ":", (field_text(F))/binary, "/", (integer_to_binary(A))/binary>>];
known_field(domain, #{domain := Domain}) when is_list(Domain) ->
    [field_text(lists:join($., [field_text(D) || D <- lists:sublist(Domain, 10)]))];
known_field(Key, Meta) when is_map(Meta), Key =/= mfa, Key =/= domain ->
    case Meta of
        #{Key := Value} -> [field_text(Value)];
        _ -> []
    end;
known_field(_, _) -> [].

own_fields(none, _) -> [];
own_fields(_, 0) -> [];
own_fields({Key, Value, Next}, Left) ->
    [{field_text(Key), field_text(Value)} | own_fields(maps:next(Next), Left - 1)].

field_text(Value) when is_atom(Value) -> atom_to_binary(Value, utf8);
field_text(Value) when is_integer(Value) -> integer_to_binary(Value);
field_text(Value) when is_binary(Value), byte_size(Value) =< ?MAX_FIELD -> Value;
field_text(Value) when is_binary(Value) -> binary:copy(binary:part(Value, 0, ?MAX_FIELD));
field_text(Value) when is_pid(Value) -> list_to_binary(pid_to_list(Value));
field_text(Value) ->
    Text =
        try unicode:characters_to_binary(Value) of
            Binary when is_binary(Binary) -> Binary;
            _ -> to_binary(printed_term(Value, ?MAX_FIELD))
        catch
            _:_ -> to_binary(printed_term(Value, ?MAX_FIELD))
        end,
    shorten(Text, ?MAX_FIELD).

%% The application that a process belongs to, by its group leader, or else the
%% one of the module that logs.
application_of(#{application := Name}, S) when is_atom(Name) ->
    {Name, S};
application_of(#{gl := Leader} = Meta, S0) ->
    case application_by(Leader, S0) of
        {none, S} -> application_by_module(Meta, S);
        Found -> Found
    end;
application_of(Meta, S) ->
    application_by_module(Meta, S).

application_by_module(#{mfa := {Module, _, _}}, S) when is_atom(Module) -> application_by(Module, S);
application_by_module(_, S) -> {none, S}.

application_by(Key, #{applications := Known} = S) ->
    case Known of
        #{Key := Name} ->
            {Name, S};
        _ ->
            Name =
                case lookup_application(Key) of
                    {ok, Application} -> Application;
                    undefined -> none
                end,
            Kept =
                case map_size(Known) of
                    Size when Size >= ?MAX_APPLICATIONS -> #{};
                    _ -> Known
                end,
            {Name, S#{applications := Kept#{Key => Name}}}
    end.

%% Both look into tables and ask no process. A group leader is looked up as a
%% process that has itself as its leader would be.
lookup_application(Module) when is_atom(Module) -> application:get_application(Module);
lookup_application(Leader) when is_pid(Leader) -> leader_application(ets:match(ac_tab, {{application_master, '$1'}, Leader}));
lookup_application(_) -> undefined.

leader_application([[Name] | _]) -> {ok, Name};
leader_application(_) -> undefined.
