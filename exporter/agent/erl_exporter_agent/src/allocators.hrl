%%% Part of erl_exporter_agent: the collector `allocators`.

allocator_columns() ->
    [
        mbcs_carriers, mbcs_carriers_size, mbcs_blocks, mbcs_blocks_size,
        mbcs_pool_carriers, mbcs_pool_carriers_size, mbcs_pool_blocks, mbcs_pool_blocks_size,
        sbcs_carriers, sbcs_carriers_size, sbcs_blocks, sbcs_blocks_size
    ].

allocators(PerInstance) ->
    %% Sorted by name and number: the schedulers answer in any order.
    Instances = lists:sort([{A, N, kinds(P)} || {A, N, P} <- allocator_info()]),
    {Labels, Rows} =
        case PerInstance of
            true -> {[{A, N} || {A, N, _} <- Instances], [row(K) || {_, _, K} <- Instances]};
            false -> sums(Instances, [], [])
        end,
    [{rows, Labels, Rows}].

%% All instances as {Allocator, Number, Properties}. This is what
%% erlang:system_info({allocator, A}) does itself, for all allocators at once
%% and without putting the answers in order: a tenth of the work of one call
%% each. The request is not documented; where it is not known, that call is.
allocator_info() ->
    Names = erlang:system_info(alloc_util_allocators),
    Ref = make_ref(),
    try erlang:system_info({allocator, Ref, Names}) of
        _ -> allocator_answers(Ref, erlang:system_info(schedulers))
    catch
        error:badarg -> [I || A <- Names, I <- instances(A, erlang:system_info({allocator, A}))]
    end.

%% Each scheduler sends its instances; {Allocator, false} is one that is off.
allocator_answers(_, 0) ->
    [];
allocator_answers(Ref, Schedulers) ->
    receive
        {Ref, _, Info} ->
            [I || {_, _, _} = I <- Info] ++ allocator_answers(Ref, Schedulers - 1)
    end.

instances(_, false) -> [];
instances(Allocator, List) -> [{Allocator, N, P} || {instance, N, P} <- List].

sums([{A, _, Kinds} | Rest], [{A, all} | _] = Labels, [Sum | Sums]) ->
    sums(Rest, Labels, [add(Kinds, Sum) | Sums]);
sums([{A, _, Kinds} | Rest], Labels, Sums) ->
    sums(Rest, [{A, all} | Labels], [Kinds | Sums]);
sums([], Labels, Sums) ->
    {Labels, [row(S) || S <- Sums]}.

add({M1, P1, S1}, {M2, P2, S2}) ->
    {add_kind(M1, M2), add_kind(P1, P2), add_kind(S1, S2)}.

add_kind({[], _, _, _}, Sum) -> Sum;
add_kind(Kind, {[], _, _, _}) -> Kind;
add_kind({A1, B1, C1, D1}, {A2, B2, C2, D2}) -> {A1 + A2, B1 + B2, C1 + C2, D1 + D2}.

row({{MA, MB, MC, MD}, {PA, PB, PC, PD}, {SA, SB, SC, SD}}) ->
    {MA, MB, MC, MD, PA, PB, PC, PD, SA, SB, SC, SD}.

kinds(Properties) ->
    {
        kind(lists:keyfind(mbcs, 1, Properties)),
        kind(lists:keyfind(mbcs_pool, 1, Properties)),
        kind(lists:keyfind(sbcs, 1, Properties))
    }.

%% The values after a key are the current one, the maximum since the last call,
%% and the maximum ever.
kind({_, Info}) ->
    Carriers = element(2, lists:keyfind(carriers, 1, Info)),
    CarriersSize = element(2, lists:keyfind(carriers_size, 1, Info)),
    {Blocks, BlocksSize} = blocks(element(2, lists:keyfind(blocks, 1, Info)), Info),
    {Carriers, CarriersSize, Blocks, BlocksSize};
kind(false) ->
    {[], [], [], []}.

%% Blocks are listed by the type of allocator that made them, or counted like
%% carriers.
blocks([], _) ->
    {0, 0};
blocks([{_, Type} | Types], Info) ->
    {Count, Size} = blocks(Types, Info),
    {
        element(2, lists:keyfind(count, 1, Type)) + Count,
        element(2, lists:keyfind(size, 1, Type)) + Size
    };
blocks(Count, Info) ->
    {Count, element(2, lists:keyfind(blocks_size, 1, Info))}.

%% The allocator below the others, one instance a scheduler. The lists that hold
%% the hits have been the same from OTP 23 on.
mseg_cache_hits() ->
    case erlang:system_info({allocator, mseg_alloc}) of
        false ->
            [];
        Instances ->
            lists:sum([
                defined(proplist(cache_hits, defined(proplist(status, Kind), [])), 0)
             || {instance, _, Properties} <- Instances, {memkind, Kind} <- Properties
            ])
    end.
