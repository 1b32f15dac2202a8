%%% Part of erl_exporter_agent: what the owner knows already, which readings
%%% leave out.

%% What of Outcomes the owner is to be told, and all that it has been told then.
%% What is without tables may be large: there is room for so much of it in one
%% message. What finds none is told in the next one.
untold_of(Outcomes, Room, Told0) ->
    {Answer, {Told, _}} = lists:mapfoldl(fun untold/2, {Told0, Room}, Outcomes),
    {Answer, Told}.

%% Labels and constants go over the wire when they are new or have changed; []
%% stands for what was told before, and so does same.
untold({Collector, {Took, {ok, {dynamic, At, Value}}}}, {Told, Room}) ->
    case Told of
        #{Collector := At} ->
            {{Took, {ok, same}}, {Told, Room}};
        _ ->
            case Room - erlang:external_size(Value) of
                Left when Left < 0 -> {{Took, {missing, not_told_yet_because_the_message_was_full}}, {Told, Room}};
                Left -> {{Took, {ok, Value}}, {Told#{Collector => At}, Left}}
            end
    end;
untold({Collector, {Took, {ok, Tables}}}, {Told0, Room}) ->
    Numbered = lists:zip(lists:seq(1, length(Tables)), Tables),
    {Sent, Told} = lists:mapfoldl(
        fun({N, Table}, Acc) -> untold_table({Collector, N}, Table, Acc) end, Told0, Numbered
    ),
    {{Took, {ok, Sent}}, {Told, Room}};
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
