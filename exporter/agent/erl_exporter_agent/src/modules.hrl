%%% Part of erl_exporter_agent: the source `code`, which tells when modules were
%%% loaded or purged.
%%%
%%% The runtime system tells nobody of it, and tracing would take the place of
%%% whoever else traces. But all of it is done by one process, code_server,
%%% which otherwise rests: as long as its count of reductions stands still,
%%% nothing was loaded or purged. That is one question of a microsecond every
%%% few seconds. Only when it has moved, the list of modules is made (0.2 ms
%%% for 200 modules) and sent if it is another one; the exporter compares.
%%%
%%% Config is a map: every, the number of ticks between two looks. The event is
%%% {modules, Binary}, term_to_binary of [{Module, Hash, HasOldCode}].

-define(LOOK_MS, 10000).

code_start(Config) ->
    look(#{config => Config, ticks => 0, reductions => none, hash => none, looking => false}).

look(#{looking := true} = S) ->
    {ok, [], S};
look(#{reductions := Reductions, hash := Hash} = S) ->
    {ok, [{ask, look, fun() -> look_at_code(Reductions, Hash) end, ?LOOK_MS}], S#{looking := true, ticks := 0}}.

code_tick(#{ticks := Ticks, config := #{every := Every}} = S) when Ticks + 1 < Every ->
    {[], S#{ticks := Ticks + 1}};
code_tick(S) ->
    {ok, Actions, Next} = look(S),
    {Actions, Next}.

code_answer(look, {ok, {Reductions, same}}, S) ->
    {[], S#{reductions := Reductions, looking := false}};
code_answer(look, {ok, {Reductions, Hash, Modules}}, S) ->
    {[{event, {modules, Modules}}], S#{reductions := Reductions, hash := Hash, looking := false}};
code_answer(look, _, S) ->
    {[], S#{looking := false}}.

look_at_code(Before, Hash) ->
    process_flag(priority, low),
    {reductions, Reductions} = process_info(whereis(code_server), reductions),
    case Reductions of
        Before -> {Reductions, same};
        _ -> list_modules(Reductions, Hash)
    end.

list_modules(Reductions, Before) ->
    Modules = [
        {Module, erlang:phash2(erlang:get_module_info(Module, md5)), erlang:check_old_code(Module)}
     || Module <- lists:sort(erlang:loaded()), Module =/= ?MODULE, erlang:module_loaded(Module)
    ],
    case erlang:phash2(Modules) of
        Before -> {Reductions, same};
        Hash -> {Reductions, Hash, term_to_binary(Modules)}
    end.
