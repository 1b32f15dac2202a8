%%% Part of erl_exporter_agent: what the owner knows already, which readings
%%% leave out.

%% Labels and constants go over the wire when they are new or have changed; []
%% stands for what was told before, and so does same.
untold({Collector, {Took, {ok, {dynamic, At, Value}}}}, Told) ->
    case Told of
        #{Collector := At} -> {{Took, {ok, same}}, Told};
        _ -> {{Took, {ok, Value}}, Told#{Collector => At}}
    end;
untold({Collector, {Took, {ok, Tables}}}, Told0) ->
    Numbered = lists:zip(lists:seq(1, length(Tables)), Tables),
    {Sent, Told} = lists:mapfoldl(
        fun({N, Table}, Acc) -> untold_table({Collector, N}, Table, Acc) end, Told0, Numbered
    ),
    {{Took, {ok, Sent}}, Told};
untold({_, Failed}, Told) ->
    {Failed, Told}.

untold_table(_, {row, Values}, Told) ->
    {Values, Told};
untold_table(Key, {const, Values}, Told) ->
    case Told of
        #{Key := Values} -> {[], Told};
        _ -> {Values, Told#{Key => Values}}
    end;
untold_table(Key, {rows, Labels, Rows}, Told) ->
    case Told of
        #{Key := Labels} -> {{[], Rows}, Told};
        _ -> {{[label(L) || L <- Labels], Rows}, Told#{Key => Labels}}
    end.

%% A row's labels: one term, or a tuple with one element a label.
label(Labels) when is_tuple(Labels) -> [label_text(L) || L <- tuple_to_list(Labels)];
label(Label) -> [label_text(Label)].

label_text(L) when is_atom(L) -> atom_to_binary(L, utf8);
label_text(L) when is_integer(L) -> integer_to_binary(L);
label_text(L) when is_binary(L) -> L;
label_text(L) ->
    try unicode:characters_to_binary(L) of
        Text when is_binary(Text) -> Text;
        _ -> <<"?">>
    catch
        error:_ -> <<"?">>
    end.
