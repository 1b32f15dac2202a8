%% What a real node says to the codec's tests. Loaded into a node by
%% node_test.go.
-module(etf_peer).
-export([encode/1, same/1, random/3, compare/2, echo/2, judge/2]).

%% Ways of writing a term that this release knows.
options() ->
    [[], [{minor_version, 0}], [{minor_version, 1}], [{minor_version, 2}],
     [compressed], [{compressed, 9}, {minor_version, 0}]] ++
        [[deterministic] || supported([deterministic])].

supported(Options) ->
    try is_binary(term_to_binary([], Options)) catch error:badarg -> false end.

%% The term in every encoding, in base64. It is kept for same/1.
encode(Term) ->
    put(etf_peer, Term),
    [base64:encode_to_string(term_to_binary(Term, Options)) || Options <- options()].

%% Whether these bytes are the term that encode/1 was called with.
same(Binary) ->
    identical(binary_to_term(Binary), get(etf_peer)).

%% =:= does not tell 0.0 from -0.0 before release 27.
identical(A, B) ->
    A =:= B andalso term_to_binary(A, [{minor_version, 2}]) =:= term_to_binary(B, [{minor_version, 2}]).

%% Large terms and Count random ones go to File, each in every encoding.
random(File, Seed, Count) ->
    _ = rand:seed(exsss, Seed),
    Terms = large() ++ [term(rand:uniform(5)) || _ <- lists:seq(1, Count)],
    put(etf_peer, Terms),
    write(File, [term_to_binary(T, O) || T <- Terms, O <- options()]),
    length(options()).

%% Whether File has the terms of random/3, in the same order.
compare(File, Each) ->
    [{T, B} || {T, B} <- lists:zip(repeat(get(etf_peer), Each), read(File)),
               not identical(T, binary_to_term(B))] =:= [].

repeat(Terms, Each) -> lists:append([lists:duplicate(Each, T) || T <- Terms]).

%% Reads what In holds and writes it again.
echo(In, Out) ->
    write(Out, [term_to_binary(binary_to_term(B)) || B <- read(In)]).

%% As echo/2, but what is no term becomes nothing, and so does what has bytes
%% behind it.
judge(In, Out) ->
    write(Out, [judge(B) || B <- read(In)]).

judge(B) ->
    try binary_to_term(B, [used]) of
        {T, Used} when Used =:= byte_size(B) -> term_to_binary(T, [{minor_version, 2}]);
        _ -> <<>>
    catch
        error:_ -> <<>>
    end.

write(File, Binaries) ->
    ok = file:write_file(File, [[<<(byte_size(B)):32>>, B] || B <- Binaries]).

read(File) ->
    {ok, All} = file:read_file(File),
    [B || <<Size:32, B:Size/binary>> <= All].

large() ->
    [lists:duplicate(65535, $x), lists:duplicate(65536, $x), 1 bsl 1000000, <<0:8000000>>,
     maps:from_list([{N, [N]} || N <- lists:seq(1, 10000)]),
     list_to_tuple(lists:seq(1, 100000)), lists:seq(1, 100000) ++ tail].

term(0) -> leaf(rand:uniform(17));
term(Depth) ->
    case rand:uniform(8) of
        1 -> some(Depth);
        2 -> list_to_tuple(some(Depth));
        3 -> maps:from_list([{term(Depth - 1), term(Depth - 1)} || _ <- seq(5)]);
        4 -> some(Depth) ++ leaf(rand:uniform(17));
        5 -> F = term(Depth - 1), fun() -> F end;
        _ -> leaf(rand:uniform(17))
    end.

some(Depth) -> [term(Depth - 1) || _ <- seq(5)].

seq(N) -> lists:seq(1, rand:uniform(N + 1) - 1).

leaf(1) -> rand:uniform(256) - 1;
leaf(2) -> rand:uniform(1 bsl 33) - (1 bsl 32);
leaf(3) -> rand:uniform(1 bsl 65) - (1 bsl 64);
leaf(4) -> rand:uniform(1 bsl 3000) - (1 bsl 2999);
leaf(5) -> (rand:uniform() - 0.5) * math:pow(10, rand:uniform(600) - 300);
leaf(6) -> list_to_binary([rand:uniform(256) - 1 || _ <- seq(40)]);
leaf(7) -> Bits = rand:uniform(70), <<(rand:uniform(1 bsl 70)):Bits>>;
leaf(8) -> [rand:uniform(256) - 1 || _ <- seq(20)];
leaf(9) -> [rand:uniform(16#D7FF) || _ <- seq(20)];
leaf(10) -> list_to_atom([rand:uniform(255) || _ <- seq(4)]);
leaf(11) -> list_to_atom([rand:uniform(16#D7FF) || _ <- seq(3)]);
leaf(12) -> make_ref();
leaf(13) -> list_to_pid(lists:concat(["<0.", rand:uniform(32768) - 1, ".", rand:uniform(8192) - 1, ">"]));
leaf(14) -> hd(erlang:ports());
leaf(15) -> list_to_tuple(lists:seq(1, 250 + rand:uniform(10)));
leaf(16) -> fun erlang:term_to_binary/1;
leaf(17) -> element(rand:uniform(6), {[], {}, #{}, <<>>, "", ''}).
