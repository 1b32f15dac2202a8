%%% Part of erl_exporter_agent: the collector `mnesia`.

%% Never loads Mnesia where it is not used.
mnesia_runs() ->
    erlang:function_exported(mnesia, system_info, 1) andalso
        mnesia:system_info(is_running) =:= yes.

mnesia() ->
    case mnesia_runs() of
        true ->
            Word = erlang:system_info(wordsize),
            {Tables, Rows} = lists:unzip(mnesia_tables(Word)),
            Locks = [defined(ets:info(T, size), []) || T <- [mnesia_held_locks, mnesia_lock_queue]],
            Counters = [
                mnesia:system_info(I)
             || I <- [
                    transaction_failures, transaction_commits, transaction_log_writes,
                    transaction_restarts
                ]
            ],
            Sum = lists:sum([M || {M, _} <- Rows]),
            {Locks, Counters ++ [Sum | mnesia_state()], Tables, Rows};
        false ->
            not_running
    end.

mnesia_state() ->
    [
        length(mnesia:system_info(Item))
     || Item <- [
            db_nodes, running_db_nodes, tables, local_tables, master_node_tables, checkpoints,
            subscribers
        ]
    ] ++
        [
            mnesia:system_info(dump_log_time_threshold),
            mnesia:system_info(dump_log_write_threshold)
        ].

%% A table may be deleted while the list is gone through.
mnesia_tables(Word) ->
    lists:foldl(
        fun(Table, Rows) ->
            try
                [{Table, {table_info(Table, memory) * Word, table_info(Table, size)}} | Rows]
            catch
                exit:{aborted, {no_exists, _, _}} -> Rows
            end
        end,
        [],
        lists:reverse(lists:sort(mnesia:system_info(tables)))
    ).

table_info(Table, Item) ->
    defined(mnesia:table_info(Table, Item), 0).

%% The transaction manager answers when it comes to it. The helper that waits
%% here takes a late answer with it when it ends; a minute is far beyond the
%% agent's deadline and bounds the wait for a manager that died meanwhile.
mnesia_transactions() ->
    case mnesia_runs() andalso mnesia_tm:get_info(60000) of
        {info, Participants, Coordinators} -> {length(Participants), length(Coordinators)};
        _ -> {[], []}
    end.
