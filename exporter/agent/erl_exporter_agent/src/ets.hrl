%%% Part of erl_exporter_agent: the collector for ETS and DETS tables.

%% More open DETS tables are not asked, each being a process.
-define(MAX_DETS, 200).

ets_schema() ->
    [
        {ets_top_memory, [rank, table, owner], [bytes]},
        {ets_top_objects, [rank, table, owner], [objects]},
        {ets_type, [type, protection], [tables]},
        {dets, [table], [file_bytes]}
    ].

ets_tables(Top) ->
    few(erlang:system_info(ets_count), fun() -> walk_ets(ets:all(), Top) end).

walk_ets(All, Top) ->
    Word = erlang:system_info(wordsize),
    {Sizes, Counts, Types} = lists:foldl(fun walk_table/2, {[], [], #{}}, All),
    [
        top_tables(Sizes, Top, Word),
        top_tables(Counts, Top, 1),
        table_of([{Type, {Count}} || {Type, Count} <- lists:sort(maps:to_list(Types))])
    ].

%% A table may be deleted meanwhile.
walk_table(Table, {Sizes, Counts, Types}) ->
    case {ets:info(Table, memory), ets:info(Table, size), ets:info(Table, protection)} of
        {Memory, Size, Protection} when is_integer(Memory), is_integer(Size), is_atom(Protection) ->
            Type = {ets:info(Table, type), Protection},
            Seen = maps:get(Type, Types, 0) + 1,
            {[{Memory, Table} | Sizes], [{Size, Table} | Counts], Types#{Type => Seen}};
        _ ->
            {Sizes, Counts, Types}
    end.

top_tables(Values, Top, Factor) ->
    Highest = lists:sublist(lists:reverse(lists:sort(Values)), Top),
    Named = [
        {Name, process_name(ets:info(Table, owner)), Value * Factor}
     || {Value, Table} <- Highest, Name <- [ets:info(Table, name)], Name =/= undefined
    ],
    Ranks = lists:seq(1, length(Named)),
    {rows, [{Rank, Name, Owner} || {Rank, {Name, Owner, _}} <- lists:zip(Ranks, Named)],
        [{Value} || {_, _, Value} <- Named]}.

%% Who a process is, in words that stay the same when it is started again.
process_name(Pid) when is_pid(Pid) ->
    case process_info(Pid, registered_name) of
        {_, Name} -> Name;
        [] -> initial_call_text(Pid);
        undefined -> []
    end;
process_name(_) ->
    [].

dets_tables() ->
    case ets:info(dets_registry, size) of
        undefined ->
            {rows, [], []};
        0 ->
            {rows, [], []};
        Count when Count > ?MAX_DETS ->
            {rows, [], []};
        _ ->
            table_of([
                {printed(Table), {Bytes}}
             || Table <- lists:sort(dets:all()), Bytes <- [dets:info(Table, file_size)], is_integer(Bytes)
            ])
    end.

%% Any term as text of a bounded length.
printed(Term) when is_atom(Term) -> Term;
printed(Term) -> unicode:characters_to_binary(io_lib:format("~0tP", [Term, 30])).
