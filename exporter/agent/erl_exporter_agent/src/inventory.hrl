%%% Part of erl_exporter_agent: the source inventory, which tells when it is
%%% asked what is loaded on the node. All of it is read by a helper at low
%%% priority.

-define(INVENTORY_MS, 10000).
%% More than any release has: an answer is bounded.
-define(MAX_MODULES, 50000).

inventory_request(Ref, Request) ->
    Read = fun() ->
        process_flag(priority, low),
        inventory(Request)
    end,
    {ask, Ref, Read, ?INVENTORY_MS}.

inventory(applications) ->
    Running = [App || {App, _, _} <- application:which_applications(?INVENTORY_MS div 2)],
    [
        {App, Vsn, lists:member(App, Running)}
     || {App, _, Vsn} <- application:loaded_applications(), App =/= ?MODULE
    ];
inventory(modules) ->
    Loaded = erlang:loaded() -- [?MODULE],
    [{M, MD5} || M <- lists:sublist(Loaded, ?MAX_MODULES), MD5 <- module_md5(M)];
%% Values stay here: with the salt their hashes tell only which are equal.
inventory({environment, Salt}) ->
    [
        {App, Key, erlang:phash2({Salt, Value}, 4294967296)}
     || {App, _, _} <- application:loaded_applications(),
        {Key, Value} <- application:get_all_env(App),
        is_atom(Key),
        Key =/= included_applications
    ].

%% A module may be gone by now.
module_md5(Module) ->
    try
        [erlang:get_module_info(Module, md5)]
    catch
        error:_ -> []
    end.
