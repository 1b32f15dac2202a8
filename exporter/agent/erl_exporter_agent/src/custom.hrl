%%% Part of erl_exporter_agent: collectors that the owner's configuration
%%% describes: a function, and how metrics are made of what it returns.
%%%
%%% A description is a map: name, module, function, arguments (text of a term,
%%% a list), interval and timeout (ms), max (series) and metrics, a list of
%%% {Name, Type, Help, Path, Labels, Aggregate}, and beam, a module that is loaded
%% for it, or none. A path leads from a row to a
%%% value by keys of maps and property lists, and by numbers of elements of
%%% tuples; Labels are [{Label, Path}]; Aggregate is none, sum, max, min or
%%% count.

custom(#{name := Name, timeout := Timeout} = Description, Memo) ->
    case guarded(fun(_) -> call_custom(Description) end, [{Name, Name}], Timeout, forget(Memo, Description)) of
        {[{_, {Families, Dropped, Failed}}], _, Bad} ->
            {memo, Bad, {families, Dropped, Failed, Families}};
        {[], _, Bad} when map_size(Bad) > 0 ->
            {memo, Bad, {custom_failed, took_too_long_or_too_much_memory}};
        {[{_, {raised, Reason}}], _, Bad} ->
            {memo, Bad, {custom_failed, Reason}}
    end.

%% What had to be ended is tried again after five times its interval.
forget(none, _) -> none;
forget(Memo, #{interval := Interval}) ->
    Left = ?LEAVE_ALONE_MS - 5 * Interval,
    maps:map(fun(_, Until) -> Until - max(0, Left) end, Memo).

call_custom(#{module := M, function := F, arguments := Text, metrics := Metrics, max := Max} = Description) ->
    try
        ok = have_module(Description),
        {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Text) ++ "."),
        {ok, Arguments} = erl_parse:parse_term(Tokens),
        Rows = custom_rows(apply(M, F, Arguments)),
        Made = [custom_family(Metric, Rows, Max) || Metric <- Metrics],
        {Families, Dropped} = cut_families([Family || {Family, _} <- Made], Max),
        {Families, Dropped, lists:sum([N || {_, N} <- Made])}
    catch
        Class:Reason:Stack -> {raised, {Class, small(Reason), place(Stack)}}
    end.

%% The name of the file from which a module is said to be loaded that is ours.
-define(BEAM_FILE, "erl_exporter_agent").

%% A module that the node has of its own is never replaced.
have_module(#{beam := none}) ->
    ok;
have_module(#{module := M, beam := Beam}) ->
    case code:is_loaded(M) of
        {file, ?BEAM_FILE} ->
            ok;
        false ->
            non_existing = code:which(M),
            {module, M} = code:load_binary(M, ?BEAM_FILE, Beam),
            ok;
        _ ->
            error({the_node_has_a_module, M})
    end.

%% Runs when the agent leaves. Whoever runs the code of such a module is ended:
%% it cannot have been there before.
remove_beams(#{settings := #{custom := Custom}}) ->
    [remove_beam(M) || #{module := M, beam := Beam} <- maps:values(Custom), is_binary(Beam)];
remove_beams(_) ->
    [].

remove_beam(M) ->
    case code:is_loaded(M) of
        {file, ?BEAM_FILE} ->
            _ = code:purge(M),
            _ = code:delete(M),
            code:purge(M);
        _ ->
            false
    end.

%% A list of rows is what it is; everything else is one row. A property list is
%% one row, too.
custom_rows([{Key, _} | _] = List) when is_atom(Key); is_binary(Key) -> [List];
custom_rows(List) when is_list(List) -> List;
custom_rows(Term) -> [Term].

%% {Family, HowManyValuesWereNoNumbers}
custom_family({Name, Type, Help, Path, Labels, none}, Rows, Max) ->
    Samples = [
        {[{Label, custom_label(follow(P, Row))} || {Label, P} <- Labels], follow(Path, Row)}
     || Row <- lists:sublist(Rows, Max + 1)
    ],
    {Numbers, Others} = lists:partition(fun({_, V}) -> is_number(V) end, Samples),
    {{Name, Type, Help, [{<<>>, L, V} || {L, V} <- Numbers]}, length(Others)};
custom_family({Name, Type, Help, Path, Labels, Aggregate}, Rows, _) ->
    {Groups, Failed} = lists:foldl(
        fun(Row, {Acc, Bad}) ->
            Key = [{Label, custom_label(follow(P, Row))} || {Label, P} <- Labels],
            case aggregated(Aggregate, follow(Path, Row), maps:get(Key, Acc, none)) of
                failed -> {Acc, Bad + 1};
                Value -> {Acc#{Key => Value}, Bad}
            end
        end,
        {empty(Aggregate, Labels), 0},
        Rows
    ),
    {{Name, Type, Help, [{<<>>, L, V} || {L, V} <- lists:sort(maps:to_list(Groups))]}, Failed}.

%% The sum of no rows is zero, if nothing tells groups of them apart.
empty(Aggregate, []) when Aggregate =:= sum; Aggregate =:= count -> #{[] => 0};
empty(_, _) -> #{}.

aggregated(count, _, none) -> 1;
aggregated(count, _, Sum) -> Sum + 1;
aggregated(_, Value, _) when not is_number(Value) -> failed;
aggregated(_, Value, none) -> Value;
aggregated(sum, Value, Sum) -> Sum + Value;
aggregated(max, Value, Most) -> max(Value, Most);
aggregated(min, Value, Least) -> min(Value, Least).

custom_label(Term) when is_binary(Term); is_atom(Term); is_number(Term) -> value_text(Term);
custom_label(Term) -> name_text(Term).

%% Keys come as text, and may be atoms or binaries on the way.
follow([], Term) ->
    Term;
follow([N | Path], Term) when is_integer(N), is_tuple(Term), N >= 1, N =< tuple_size(Term) ->
    follow(Path, element(N, Term));
follow([Key | Path], Term) when is_map(Term); is_list(Term) ->
    case [V || K <- keys(Key), {ok, V} <- [lookup(K, Term)]] of
        [V | _] -> follow(Path, V);
        [] -> undefined
    end;
follow(_, _) ->
    undefined.

keys(Key) when is_integer(Key) -> [Key];
keys(Key) ->
    try
        [binary_to_existing_atom(Key, utf8), Key]
    catch
        error:badarg -> [Key]
    end.

lookup(Key, Map) when is_map(Map) ->
    maps:find(Key, Map);
lookup(Key, List) ->
    case lists:keyfind(Key, 1, List) of
        {_, Value} -> {ok, Value};
        _ -> error
    end.
