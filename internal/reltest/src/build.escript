%% Compiles kv and packs it with what it needs, the runtime system included.
main([Src, Out]) ->
    ok = file:set_cwd(Out),
    [{ok, _} = compile:file(filename:join(Src, M), [{outdir, "."}]) || M <- ["kv", "kv_ctl"]],
    {ok, _} = file:copy(filename:join(Src, "kv.app"), "kv.app"),
    make("kv", [kernel, stdlib, sasl, kv]),
    make("start_clean", [kernel, stdlib]),
    ok = systools:make_tar("kv", [{path, ["."]}, {erts, code:root_dir()}, {extra_files, [
        {"start_clean.boot", "releases/1.0.0/start_clean.boot"}]}]).

make(Name, Applications) ->
    Release = {release, {Name, "1.0.0"}, {erts, erlang:system_info(version)}, [{A, version(A)} || A <- Applications]},
    ok = file:write_file(Name ++ ".rel", io_lib:format("~p.~n", [Release])),
    ok = systools:make_script(Name, [{path, ["."]}, no_warn_sasl]).

version(kv) -> "1.0.0";
version(App) ->
    _ = application:load(App),
    {ok, Version} = application:get_key(App, vsn),
    Version.
