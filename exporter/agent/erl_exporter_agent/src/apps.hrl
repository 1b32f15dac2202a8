%%% Part of erl_exporter_agent: metrics that the node's applications keep
%%% themselves, in Folsom, Exometer, prometheus.erl or Telemetry, and those that
%%% the owner's configuration asks for.
%%%
%%% They are told as {entries, Dropped, Failed, [{Name, Type, [{DataPoint,
%%% Number}]}]}, where the owner makes metrics of the entries; as {families,
%%% Dropped, Failed, [{Name, Type, Help, [{Suffix, Labels, Number}]}]}; or as
%%% {text, Text} in Prometheus's format. Dropped is what was beyond the limit.
%%%
%%% What is too large for a message is not told at all.
%%%
%%% Reading them runs code of others, which may raise, hang or eat memory. It is
%%% run by a worker, that is ended when something takes too long; another one
%%% goes on after that. What had to be ended is not tried again for a while.

%% How many names are looked at, and how long one may be (bytes).
-define(MAX_NAMES, 100000).
-define(MAX_NAME, 512).

%% How many workers may be ended in one reading, and for how long what ended them
%% is left alone (ms).
-define(MAX_ENDED, 20).
-define(LEAVE_ALONE_MS, 600000).

%% Bins of a histogram that are told at most.
-define(MAX_BINS, 1000).

%% The most memory that a worker may take (words).
-define(WORKER_HEAP, 4000000).

%% Bytes of a label's value; more have a hash at their end. A page has less.
-define(MAX_LABEL, 2048).

%% Half of what all may be together in one reading.
small_enough({memo, Memo, Value}, #{app_bytes := Most}) ->
    case erlang:external_size(Value) of
        Size when Size > Most div 2 -> {memo, Memo, {custom_failed, {too_large, Size}}};
        _ -> {memo, Memo, Value}
    end;
small_enough(Other, _) ->
    Other.

%%% ----------------------------------------------------------------------
%%% Folsom
%%% ----------------------------------------------------------------------

folsom(Settings, Memo) ->
    case folsom_runs() of
        true -> entries(folsom, folsom_names(Settings), Settings, Memo);
        false -> not_running
    end.

folsom_runs() ->
    ets:info(folsom, size) =/= undefined andalso erlang:function_exported(folsom_metrics, get_metric_value, 1).

%% The table may have millions of rows: it is gone through in parts, and
%% only so far. The type is the third element of what belongs to a name.
folsom_names(Settings) ->
    Spec = [{{'$1', '$2'}, [], [{{'$1', {element, 3, '$2'}}}]}],
    chosen(ets:select(folsom, Spec, 500), ets:info(folsom, size), chooser(Settings)).

folsom_value({Name, histogram}) ->
    statistics_of(folsom_metrics:get_histogram_statistics(Name));
folsom_value({Name, duration}) ->
    Values = folsom_metrics:get_metric_value(Name),
    [{K, V} || {K, V} <- Values, K =:= count orelse K =:= last] ++ statistics_of(Values);
folsom_value({_, history}) ->
    skip;
folsom_value({Name, _}) ->
    case folsom_metrics:get_metric_value(Name) of
        [_ | _] = Values -> [{K, V} || {K, V} <- Values, is_number(V)];
        Value when is_number(Value) -> [{value, Value}]
    end.

%% All are zero where there are fewer than five samples.
statistics_of(Values) ->
    case proplist(n, Values) of
        N when is_integer(N), N > 0 ->
            [{n, N} | [{K, proplist(P, Values)} || {K, P} <- [{min, min}, {max, max}, {mean, arithmetic_mean}]]] ++
                defined(proplist(percentile, Values), []);
        _ ->
            []
    end.

%%% ----------------------------------------------------------------------
%%% Exometer
%%% ----------------------------------------------------------------------

exometer(Settings, Memo) ->
    case exometer_runs() of
        true ->
            Found = [{Name, exometer_type(Type)} || {Name, Type, enabled} <- exometer:find_entries([])],
            Names = chosen({Found, '$end_of_table'}, length(Found), chooser(Settings)),
            entries(exometer, Names, Settings, Memo);
        false ->
            not_running
    end.

exometer_runs() ->
    erlang:function_exported(exometer, find_entries, 1) andalso is_pid(whereis(exometer_admin)).

exometer_type(Type) when is_tuple(Type) -> element(1, Type);
exometer_type(Type) -> Type.

exometer_value({Name, _}) ->
    case exometer:get_value(Name) of
        {ok, [_ | _] = Values} -> [_ | _] = [{K, V} || {K, V} <- Values, is_number(V)];
        {ok, []} -> skip;
        {ok, disabled} -> skip;
        {error, not_found} -> skip
    end.

%%% ----------------------------------------------------------------------
%%% Entries
%%% ----------------------------------------------------------------------

entries(Library, {Names, Dropped}, #{app_timeout := Timeout}, Memo) ->
    Read = fun({_, {_, Type} = Entry}) ->
        Values =
            case Library of
                folsom -> folsom_value(Entry);
                exometer -> exometer_value(Entry)
            end,
        case Values of
            skip -> skip;
            _ -> {label_text(Type), [{label_text(K), V} || {K, V} <- Values, is_number(V)]}
        end
    end,
    {Answers, Failed, Bad} = guarded(Read, Names, Timeout, Memo),
    Entries = [{Text, Type, Values} || {{Text, _}, {Type, Values}} <- Answers],
    {memo, Bad, {entries, Dropped, Failed, Entries}}.

%% The names that the configuration wants, as {Text, {Name, Type}}, up to the
%% limit; and how many more there are.
chosen(Part, Size, {Max, _} = Chooser) ->
    {Names, Seen, Wanted} = choose(Part, Chooser, [], 0, 0),
    {lists:reverse(Names), max(0, Wanted - Max) + max(0, Size - Seen)}.

choose('$end_of_table', _, Names, Seen, Wanted) ->
    {Names, Seen, Wanted};
choose(_, _, Names, Seen, Wanted) when Seen >= ?MAX_NAMES ->
    {Names, Seen, Wanted};
choose({Found, Next}, {Max, Wants} = Chooser, Names0, Seen, Wanted0) ->
    {Names, Wanted} = lists:foldl(
        fun({Name, _} = Entry, {Acc, N}) ->
            Text = name_text(Name),
            case Wants(Text) of
                true when N < Max -> {[{Text, Entry} | Acc], N + 1};
                true -> {Acc, N + 1};
                false -> {Acc, N}
            end
        end,
        {Names0, Wanted0},
        Found
    ),
    Continued =
        case Next of
            '$end_of_table' -> Next;
            _ -> ets:select(Next)
        end,
    choose(Continued, Chooser, Names, Seen + length(Found), Wanted).

chooser(#{app_max := Max, include := Include, exclude := Exclude}) ->
    Includes = pattern(Include),
    Excludes = pattern(Exclude),
    {Max, fun(Text) ->
        (Includes =:= none orelse matches(Text, Includes)) andalso
            not (Excludes =/= none andalso matches(Text, Excludes))
    end}.

pattern(<<>>) ->
    none;
pattern(Text) ->
    {ok, Pattern} = re:compile(Text, [unicode]),
    Pattern.

matches(Text, Pattern) ->
    re:run(Text, Pattern, [{capture, none}]) =:= match.

%% Any term as text that is UTF-8, and short. What is cut has a hash at its end.
name_text(Name) ->
    short(unicode:characters_to_binary(io_lib:format("~0tp", [Name])), ?MAX_NAME).

short(Text, Max) when byte_size(Text) > Max ->
    Hash = integer_to_binary(erlang:phash2(Text, 1 bsl 32), 16),
    <<(valid_prefix(Text, Max))/binary, "~", Hash/binary>>;
short(Text, _) ->
    Text.

valid_prefix(Text, Size) ->
    case unicode:characters_to_binary(binary:part(Text, 0, Size)) of
        Valid when is_binary(Valid) -> Valid;
        {_, Valid, _} -> Valid
    end.

%%% ----------------------------------------------------------------------
%%% prometheus.erl
%%% ----------------------------------------------------------------------

prometheus(#{app_timeout := Timeout, app_max := Max}, Memo) ->
    case
        ets:info(prometheus_registry_table, size) =/= undefined andalso
            erlang:function_exported(prometheus_collector, collect_mf, 3)
    of
        true ->
            Collectors = [
                {label_text(C), C}
             || C <- prometheus_registry:collectors(default), not is_read_by_us(C)
            ],
            %% A collector is many metrics.
            {Answers, Failed, Bad} = guarded(fun({_, C}) -> collect(C, Max) end, Collectors, Timeout * 4, Memo),
            {Families, Dropped} = cut_families([F || {_, Fs} <- Answers, F <- Fs], Max),
            {memo, Bad, {families, Dropped, Failed, Families}};
        false ->
            not_running
    end.

%% Their metrics are those of the agent's collectors.
is_read_by_us(prometheus_mnesia_collector) -> true;
is_read_by_us(prometheus_process_collector) -> true;
is_read_by_us(Collector) -> lists:prefix("prometheus_vm_", atom_to_list(Collector)).

%% What a collector tells piece by piece. There is no other way to stop it than
%% to end it, so a limit far above that of the owner only keeps from harm.
collect(Collector, Max) ->
    Key = {?MODULE, families},
    put(Key, {0, []}),
    prometheus_collector:collect_mf(default, Collector, fun(MF) ->
        {N, Families} = get(Key),
        {_, _, _, Samples} = Family = family(MF, Max),
        put(Key, {N + length(Samples), [Family | Families]})
    end),
    {_, Families} = erase(Key),
    lists:reverse(Families).

%% 'MetricFamily', with the fields name, help, type, metric.
family(MF, Max) ->
    Type = family_type(element(4, MF)),
    Metrics = lists:sublist(flat(element(5, MF)), Max),
    {label_text(element(2, MF)), Type, help_text(element(3, MF)), [
        S
     || M <- Metrics, S <- samples(Type, M)
    ]}.

flat(Metrics) when is_list(Metrics) -> lists:flatten(Metrics);
flat(Metric) -> [Metric].

family_type('COUNTER') -> counter;
family_type('GAUGE') -> gauge;
family_type('SUMMARY') -> summary;
family_type('HISTOGRAM') -> histogram;
family_type(_) -> untyped.

help_text(Help) ->
    case label_text(Help) of
        Text when byte_size(Text) > 512 -> valid_prefix(Text, 512);
        Text -> Text
    end.

%% 'Metric', with the fields label, gauge, counter, summary, untyped, histogram.
samples(gauge, M) -> simple(M, element(3, M));
samples(counter, M) -> simple(M, element(4, M));
samples(untyped, M) -> simple(M, element(6, M));
samples(summary, M) -> summary(metric_labels(element(2, M)), element(5, M));
samples(histogram, M) -> histogram(metric_labels(element(2, M)), element(7, M)).

simple(M, {_, Value}) -> sample(<<>>, metric_labels(element(2, M)), Value);
simple(_, _) -> [].

summary(Labels, {_, Count, Sum, Quantiles}) ->
    sample(<<"_count">>, Labels, Count) ++ sample(<<"_sum">>, Labels, Sum) ++
        [
            S
         || {_, Q, V} <- Quantiles, S <- sample(<<>>, with_label(<<"quantile">>, number_text(Q), Labels), V)
        ];
summary(_, _) ->
    [].

histogram(Labels, {_, Count, Sum, Buckets}) ->
    sample(<<"_count">>, Labels, Count) ++ sample(<<"_sum">>, Labels, Sum) ++
        [
            S
         || {_, N, Le} <- Buckets, S <- sample(<<"_bucket">>, with_label(<<"le">>, number_text(Le), Labels), N)
        ];
histogram(_, _) ->
    [].

sample(Suffix, Labels, Value) when is_number(Value) -> [{Suffix, Labels, Value}];
sample(_, _, _) -> [].

%% Labels are pairs, or text as it is on a page (from 4.10 on).
metric_labels(Labels) when is_binary(Labels) -> Labels;
metric_labels(Labels) -> [{label_text(K), value_text(V)} || {_, K, V} <- Labels].

with_label(Key, Value, <<>>) -> [{Key, Value}];
with_label(Key, Value, Labels) when is_binary(Labels) -> <<Labels/binary, $,, Key/binary, "=\"", Value/binary, $">>;
with_label(Key, Value, Labels) -> Labels ++ [{Key, Value}].

value_text(V) when is_float(V) -> number_text(V);
value_text(V) when is_atom(V); is_integer(V); is_binary(V) -> short(label_text(V), ?MAX_LABEL);
value_text(V) ->
    try iolist_to_binary(V) of
        Text -> short(Text, ?MAX_LABEL)
    catch
        error:badarg -> name_text(V)
    end.

number_text(infinity) -> <<"+Inf">>;
number_text(N) when is_integer(N) -> integer_to_binary(N);
number_text(N) when is_float(N) -> float_to_binary(N, [{decimals, 12}, compact]);
number_text(N) -> label_text(N).

%% Whole families, as many as there is room for.
cut_families(Families, Max) ->
    {Kept, _, Dropped} = lists:foldl(
        fun({_, _, _, Samples} = Family, {Acc, Left, Lost}) ->
            case length(Samples) of
                N when N =< Left -> {[Family | Acc], Left - N, Lost};
                N -> {Acc, Left, Lost + N}
            end
        end,
        {[], Max, 0},
        Families
    ),
    {lists:reverse(Kept), Dropped}.

%%% ----------------------------------------------------------------------
%%% telemetry_metrics_prometheus_core
%%% ----------------------------------------------------------------------

telemetry(#{app_timeout := Timeout}, Memo) ->
    Core = 'Elixir.TelemetryMetricsPrometheus.Core',
    case erlang:function_exported(Core, scrape, 1) of
        true ->
            Reporters = [{label_text(R), R} || R <- telemetry_reporters()],
            Scrape = fun({_, Reporter}) -> iolist_to_binary(Core:scrape(Reporter)) end,
            {Answers, Failed, Bad} = guarded(Scrape, Reporters, Timeout * 4, Memo),
            case Reporters of
                [] -> not_running;
                _ -> {memo, Bad, {text, Failed, [Text || {_, Text} <- Answers]}}
            end;
        false ->
            not_running
    end.

%% A reporter has a registered process, by default of the first name.
telemetry_reporters() ->
    Registry = 'Elixir.TelemetryMetricsPrometheus.Core.Registry',
    Candidates = [N || N <- registered(), is_pid(whereis(N)), N =/= prometheus_metrics],
    [N || N <- [prometheus_metrics], is_pid(whereis(N))] ++
        [
            N
         || N <- Candidates,
            started_by(whereis(N), {proc_lib, init_p, 5}, 0) =:= call_text({Registry, init, 1})
        ].

%%% ----------------------------------------------------------------------
%%% Bins of a histogram
%%% ----------------------------------------------------------------------

%% The bins of the histogram that goes by this text, as [{LargestValue, Count}].
%% Its library makes them of a sample that may be large.
bins(Library, Text) ->
    process_flag(max_heap_size, heap_limit(?WORKER_HEAP)),
    bins_of(Library, Text).

bins_of(folsom, Text) ->
    case folsom_runs() of
        true -> folsom_bins(Text);
        false -> {error, not_running}
    end;
bins_of(exometer, Text) ->
    case exometer_runs() of
        true ->
            Named = [{N, exometer_type(T)} || {N, T, enabled} <- exometer:find_entries([]), name_text(N) =:= Text],
            case [Name || {Name, Type} <- Named, Type =:= histogram orelse Type =:= duration] of
                [Name] ->
                    {ok, Points} = exometer:get_value(Name),
                    quantile_bins(Points);
                [] ->
                    {error, not_found}
            end;
        false ->
            {error, not_running}
    end;
bins_of(_, _) ->
    {error, no_such_library}.

folsom_bins(Text) ->
    Spec = [{{'$1', '$2'}, [], [{{'$1', {element, 3, '$2'}}}]}],
    {Found, _} = chosen(ets:select(folsom, Spec, 500), 0, {1, fun(T) -> T =:= Text end}),
    case Found of
        [{_, {Name, Type}}] when Type =:= histogram; Type =:= duration ->
            Bins = proplist(histogram, folsom_metrics:get_histogram_statistics(Name)),
            {ok, [{B, N} || {B, N} <- lists:sublist(Bins, ?MAX_BINS), is_number(B), is_integer(N)]};
        [{_, {_, Type}}] ->
            {error, {no_histogram, Type}};
        [] ->
            {error, not_found}
    end.

%% Exometer tells percentiles only: between two of them is the part of the sample
%% that their difference says.
quantile_bins(Points) ->
    Known = [{Q, proplist(Key, Points)} || {Key, Q} <- [{50, 0.5}, {75, 0.75}, {90, 0.9}, {95, 0.95}, {99, 0.99}, {999, 0.999}, {max, 1.0}]],
    case proplist(n, Points) of
        N when is_integer(N), N > 0 -> {ok, quantile_bins([K || {_, V} = K <- Known, is_number(V)], N, 0)};
        _ -> {ok, []}
    end.

quantile_bins([{Q, Value} | Known], N, Before) ->
    UpTo = round(Q * N),
    [{Value, UpTo - Before} | quantile_bins(Known, N, UpTo)];
quantile_bins([], _, _) ->
    [].

%%% ----------------------------------------------------------------------
%%% Workers
%%% ----------------------------------------------------------------------

%% Runs Fun for each of [{Key, _} = Item]. Answers {[{Item, Answer}], Failed,
%% Memo}: what is skipped is in neither. The memo is of those that had to be
%% ended, with the time until which they are left alone.
guarded(Fun, Items, Timeout, none) ->
    guarded(Fun, Items, Timeout, #{});
guarded(Fun, Items, Timeout, Memo) ->
    Now = now_ms(),
    Alone = maps:filter(fun(_, Until) -> Until > Now end, Memo),
    Tried = [Item || {Key, _} = Item <- Items, not is_map_key(Key, Alone)],
    {Answers, Failed, Ended} = workers(Fun, Tried, Timeout, [], 0, []),
    Until = now_ms() + ?LEAVE_ALONE_MS,
    Bad = maps:merge(Alone, maps:from_list([{Key, Until} || Key <- Ended])),
    {lists:reverse(Answers), Failed + length(Items) - length(Tried), Bad}.

workers(_, [], _, Answers, Failed, Ended) ->
    {Answers, Failed, Ended};
workers(_, Items, _, Answers, Failed, Ended) when length(Ended) >= ?MAX_ENDED ->
    {Answers, Failed + length(Items), Ended};
workers(Fun, Items, Timeout, Answers, Failed, Ended) ->
    Self = self(),
    Tag = make_ref(),
    _ = process_flag(trap_exit, true),
    {Pid, Monitor} = spawn_opt(
        fun() ->
            _ = [Self ! {Tag, try_one(Fun, Item)} || Item <- Items],
            {_, Reductions} = process_info(self(), reductions),
            Self ! {Tag, reductions, Reductions}
        end,
        [
            link,
            monitor,
            {max_heap_size, heap_limit(?WORKER_HEAP)}
        ]
    ),
    Result = await_worker(Items, Tag, Pid, Monitor, Timeout, Answers, Failed),
    unlink(Pid),
    exit(Pid, kill),
    erlang:demonitor(Monitor, [flush]),
    flush_worker(Tag, Pid),
    case Result of
        {done, Answers1, Failed1} ->
            {Answers1, Failed1, Ended};
        {ended, [{Key, _} | Rest], Answers1, Failed1} ->
            workers(Fun, Rest, Timeout, Answers1, Failed1 + 1, [Key | Ended])
    end.

try_one(Fun, Item) ->
    try Fun(Item) of
        skip -> skip;
        Answer -> {ok, Answer}
    catch
        _:_ -> failed
    end.

await_worker([], Tag, _, _, Timeout, Answers, Failed) ->
    receive
        {Tag, reductions, Reductions} -> put(workers, Reductions + defined(get(workers), 0))
    after Timeout -> ok
    end,
    {done, Answers, Failed};
await_worker([Item | Items] = All, Tag, Pid, Monitor, Timeout, Answers, Failed) ->
    receive
        {Tag, {ok, Answer}} ->
            await_worker(Items, Tag, Pid, Monitor, Timeout, [{Item, Answer} | Answers], Failed);
        {Tag, skip} ->
            await_worker(Items, Tag, Pid, Monitor, Timeout, Answers, Failed);
        {Tag, failed} ->
            await_worker(Items, Tag, Pid, Monitor, Timeout, Answers, Failed + 1);
        {'DOWN', Monitor, process, Pid, _} ->
            {ended, All, Answers, Failed}
    after Timeout ->
        {ended, All, Answers, Failed}
    end.

flush_worker(Tag, Pid) ->
    receive
        {Tag, _} -> flush_worker(Tag, Pid);
        {Tag, _, _} -> flush_worker(Tag, Pid);
        {'EXIT', Pid, _} -> flush_worker(Tag, Pid)
    after 0 -> ok
    end.
