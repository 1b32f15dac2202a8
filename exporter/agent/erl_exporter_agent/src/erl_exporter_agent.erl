%%% The agent: one process on a monitored node that answers readings.
%%%
%%% An exporter injects this module over the distribution, or finds it in an
%%% application of the same name that the node's release includes. It starts the
%%% agent with start/1 and owns it from then on. The protocol is described in
%%% doc.go of the Go package that embeds the compiled module.
%%%
%%% The monitored node comes first. The agent links to nobody, keeps no table
%%% and hibernates between messages; what waits for other schedulers, files or
%%% servers runs in short-lived helpers under one deadline. When its owner
%%% goes, lets the lease run out or says so, the agent puts back what it
%%% changed, removes its module unless the release owns it, and ends.
%%%
%%% It is one module, although its source is in several files: to remove a
%%% module a node visits each of its processes, which takes seconds where there
%%% are a million of them.
-module(erl_exporter_agent).

%% start/1 is called through rex. The others are exported to be
%% called with the module's name: a process that wakes up goes on in the
%% version that is loaded then, and so never lingers in old code.
-export([start/1, init/4, loop/1, leave/2, ear/2]).

%% Callbacks of logger, and of event managers: alarm_handler and Lager's.
-export([log/2, below/2]).
-export([init/1, handle_event/2, handle_call/2, handle_info/2, terminate/2, code_change/3]).

%% Changes with every change of the messages or of the state.
-define(PROTOCOL, 4).

%% How long the counters behind the agent's limits run before they start again.
-define(WINDOW_MS, 60000).

%% How long the answer of a job that is kept is good (ms). It is a little less
%% than the usual interval of scrapes, so that each of them has a new one.
-define(KEEP_MS, 14500).

%% What is kept, and a scan, is done again after so many times what it cost at
%% the soonest. A scan that takes longer than the second is ended (ms).
-define(PAUSE_FACTOR, 1000).
-define(APP_PAUSE_FACTOR, 200).
-define(MAX_SCAN_MS, 120000).

%% What took longer than this is not waited for the next time (us).
-define(SLOW_US, 100000).

%% The most memory that a scan or what reads metrics of applications may take
%% (words).
-define(SCAN_HEAP, 8000000).

%% How often it is tried to purge the module on leaving.
-define(PURGES, 100).

%% Failures are told in full only if they are small (bytes when encoded).
-define(MAX_REASON, 2048).

%% The state is a map and not a record: what compilers of OTP 25 make of records
%% for OTP 23 does not load there. Its keys:
%%
%% protocol           the version of this module
%% msacc_ours         whether microstate accounting is to be switched off on
%%                    leaving; has this meaning in every version
%% owner, owner_ref   whose agent this is, and the monitor of it
%% settings           a map: deadline (how long a reading waits for helpers, in
%%                    ms), per_instance (allocators: a row an instance, or
%%                    sums), msacc (auto, on, off), credit (how many events of
%%                    a source may be on their way), wall_time (whether to
%%                    count the schedulers' time), top (how many are told by
%%                    rank), vip (names of processes), max_processes (up to
%%                    which they are scanned), scan_every (ms), app_max and
%%                    app_timeout (series, and ms for one value), include and
%%                    exclude (patterns of names), app_bytes, custom (a
%%                    map of descriptions, see custom.hrl), and the limits:
%%                    max_reductions and max_bytes (a minute), max_memory
%%                    (bytes)
%% lease, renewed     the lease in ms, and when it was renewed (monotonic ms)
%% sources            #{Source => State}, see sources.hrl
%% accounts           #{Source => {Credit, Seq, Dropped}}: how many events the
%%                    owner still takes, the number of the last one, and how
%%                    many could not be sent
%% asked              helpers of sources:
%%                    #{MonitorRef => {Source, Tag, Pid, Timer}}
%% dropped            how many events and readings could not be sent
%% memos              what jobs left for their next run: #{Job => Term}
%% kept               what jobs answered that are not done at each reading:
%%                    #{Job => {At, {Took, Result}, Cost}} (ms, us, us)
%% wanted             when a reading was asked for last, and of what (ms)
%% told               labels and constants that the owner knows:
%%                    #{{Collector, N} => Term}
%% late               helpers that missed their deadline:
%%                    #{MonitorRef => {Job, Pid, Since}}
%% helper_reductions  of all helpers so far, and
%% scan_reductions    of scans and metrics of applications, which have limits of
%%                    their own
%% helper_memory      bytes, of the helpers of the last reading
%% sent               bytes of all readings so far
%% window             when the present window of the limits began, and then:
%%                    {Milliseconds, Reductions, Sent, ShedCount}
%% shed_count         how many collectors of shed_order() are left out
%% passed             the limit that was passed last, {What, Limit}, or none

%%% ----------------------------------------------------------------------
%%% Start
%%% ----------------------------------------------------------------------

%% Starts the agent for Owner. Answers {ok, Pid, Hello}, or {error, owned} when
%% another agent holds the name, or {error, Reason}.
start({?PROTOCOL, Owner, Lease, Settings}) ->
    Ref = make_ref(),
    {Pid, Monitor} = spawn_opt(
        ?MODULE,
        init,
        [{self(), Ref}, Owner, Lease, Settings],
        [monitor, {message_queue_data, off_heap}]
    ),
    receive
        {Ref, Answer} ->
            erlang:demonitor(Monitor, [flush]),
            Answer;
        {'DOWN', Monitor, process, Pid, Reason} ->
            {error, Reason}
    end;
start(_) ->
    {error, {protocol, ?PROTOCOL}}.

init({Caller, Ref}, Owner, Lease, Settings) ->
    process_flag(trap_exit, true),
    %% The caller's group leader is on another node, or ends with the call.
    group_leader(whereis(init), self()),
    %% The name is the lock: of two exporters that start at once, one wins.
    try register(?MODULE, self()) of
        true ->
            S = new(Owner, Lease, Settings),
            _ = maps:get(wall_time, Settings) andalso hold_wall_time(),
            erlang:start_timer(Lease, self(), lease),
            Caller ! {Ref, {ok, self(), hello(S)}},
            hibernate(start_sources(maps:get(sources, Settings), S))
    catch
        error:badarg -> Caller ! {Ref, {error, owned}}
    end.

new(Owner, Lease, #{msacc := MSAcc} = Settings) ->
    #{
        protocol => ?PROTOCOL,
        msacc_ours => MSAcc =:= on andalso not switch_msacc(true),
        owner => Owner,
        owner_ref => erlang:monitor(process, Owner),
        settings => maps:map(fun capped/2, maps:remove(sources, Settings)),
        lease => Lease,
        renewed => now_ms(),
        sources => #{},
        accounts => #{},
        asked => #{},
        dropped => 0,
        memos => #{},
        kept => #{},
        wanted => {now_ms(), []},
        told => #{},
        late => #{},
        helper_reductions => 0,
        scan_reductions => 0,
        helper_memory => 0,
        sent => 0,
        window => {now_ms(), 0, 0, 0},
        shed_count => 0,
        passed => none
    }.

%% The node's own configuration has the last word: it can lower a limit that
%% the exporter sets.
capped(Key, Limit) when Key =:= max_reductions; Key =:= max_memory; Key =:= max_bytes ->
    case application:get_env(?MODULE, Key) of
        {ok, Lower} when is_integer(Lower), Lower < Limit -> Lower;
        _ -> Limit
    end;
capped(_, Setting) ->
    Setting.

hello(#{msacc_ours := Ours, settings := Settings}) ->
    {?PROTOCOL, schema() ++ custom_schema(Settings), node_info(), Ours}.

custom_schema(#{custom := Custom}) ->
    [{Collector, []} || Collector <- lists:sort(maps:keys(Custom))].

%% Answers the flag's old value. The flag is global and outlives its setter.
switch_msacc(Flag) ->
    erlang:system_flag(microstate_accounting, Flag).

%%% ----------------------------------------------------------------------
%%% The loop
%%% ----------------------------------------------------------------------

loop(#{protocol := ?PROTOCOL, owner := Owner, owner_ref := OwnerRef} = S) ->
    receive
        {Owner, snapshot, Seq, Collectors} ->
            next(snapshot(Seq, Collectors, S));
        {Owner, renew} ->
            next(start_behind(tick_sources(S#{renewed := now_ms()})));
        {Owner, credit, Source, Events} ->
            next(add_credit(Source, Events, S));
        {Owner, request, Ref, Source, Request} ->
            next(request(Ref, Source, Request, S));
        {Owner, detach} ->
            ?MODULE:leave(detached, S);
        {handover, NewOwner} when is_pid(NewOwner) ->
            handover(NewOwner, S);
        {timeout, _, lease} ->
            check_lease(S);
        {timeout, _, {asked, Ref}} ->
            next(too_late(Ref, S));
        {'DOWN', OwnerRef, process, _, Reason} ->
            ?MODULE:leave({owner, Reason}, S);
        {'EXIT', _, Reason} ->
            ?MODULE:leave({exit, Reason}, S);
        Message ->
            next(message(Message, S))
    end;
loop(Other) ->
    %% Another version of the module was loaded over the one that ran here; a
    %% state of another shape cannot be served.
    ?MODULE:leave(superseded, Other).

%% Sleeping is what keeps the agent small, and too dear to be done between
%% messages that wait already.
next(S) ->
    case process_info(self(), message_queue_len) of
        {message_queue_len, 0} -> hibernate(S);
        _ -> ?MODULE:loop(S)
    end.

hibernate(S) ->
    erlang:hibernate(?MODULE, loop, [S]).

%% What is for a helper that was too late, for a helper of a source, or for a
%% source itself.
message({'DOWN', Ref, process, _, Exit} = Message, #{late := Late, asked := Asked} = S) ->
    case {Late, Asked} of
        {#{Ref := _}, _} -> late(Ref, Exit, S);
        {_, #{Ref := _}} -> answered(Ref, Exit, S);
        _ -> offer(Message, S)
    end;
message(Message, S) ->
    offer(Message, S).

%% An exporter that comes back takes over from itself; another one is told who
%% the owner is.
handover(NewOwner, #{owner := Owner} = S) ->
    case node(NewOwner) =:= node(Owner) orelse lease_left(S) =< 0 of
        true ->
            ?MODULE:leave(replaced, S);
        false ->
            post(NewOwner, {?MODULE, owned, node(Owner)}),
            next(S)
    end.

%% One timer is enough: a renewal only notes the time, and when the timer fires
%% it is set again for what is left.
check_lease(S) ->
    case lease_left(S) of
        Left when Left > 0 ->
            erlang:start_timer(Left, self(), lease),
            next(S);
        _ ->
            ?MODULE:leave(lease, S)
    end.

lease_left(#{lease := Lease, renewed := Renewed}) ->
    Lease - (now_ms() - Renewed).

%% Never waits, neither for a connection nor for room in a socket's buffer.
post(Pid, Message) ->
    erlang:send(Pid, Message, [noconnect, nosuspend]).

drop(#{dropped := Dropped} = S) ->
    S#{dropped := Dropped + 1}.

now_ms() ->
    erlang:monotonic_time(millisecond).

%%% ----------------------------------------------------------------------
%%% Leaving
%%% ----------------------------------------------------------------------

%% The order matters. The name is held until the module is deleted, so that
%% whoever finds it free may load it again; the purge, which touches nothing but
%% old code, may come later. It is a soft one: a process of the node may be in a
%% callback of ours, and a hard one would end it.
leave(Reason, S) ->
    _ = maps:get(msacc_ours, S, false) andalso switch_msacc(false),
    clear_up(Reason, S),
    _ = is_released() orelse remove_module(),
    exit(normal).

%% Whether the module is the release's, which is asked on leaving: an upgrade
%% may have brought the application while an injected agent ran.
is_released() ->
    application:get_key(?MODULE, vsn) =/= undefined.

remove_module() ->
    %% There is old code only if somebody loaded the module a second time. It
    %% goes first: deleting makes the current code old, and there is room for
    %% one.
    _ = code:soft_purge(?MODULE),
    code:delete(?MODULE),
    %% The agent itself runs it yet, so that somebody else has to purge, who must
    %% not run it: attempts made of functions of OTP, until one succeeds. Should a
    %% process be in a callback of ours all that time, the old code stays, and
    %% goes when the node is attached to the next time.
    spawn(lists, any, [fun code:soft_purge/1, lists:duplicate(?PURGES, ?MODULE)]).

clear_up(Reason, #{protocol := ?PROTOCOL, owner := Owner, late := Late} = S) ->
    lists:foreach(fun({_, Pid, _}) -> exit(Pid, kill) end, maps:values(Late)),
    _ = stop_sources(S),
    post(Owner, {?MODULE, leaving, small(Reason)}),
    remove_beams(S);
clear_up(_, _) ->
    ok.

%%% ----------------------------------------------------------------------
%%% Readings
%%% ----------------------------------------------------------------------

-include("readings.hrl").
-include("told.hrl").
-include("limits.hrl").

%%% ----------------------------------------------------------------------
%%% Collectors
%%% ----------------------------------------------------------------------

-include("collect.hrl").
-include("allocators.hrl").
-include("commands.hrl").
-include("distribution.hrl").
-include("os_process.hrl").
-include("vm.hrl").
-include("schedulers.hrl").
-include("ets.hrl").
-include("mnesia.hrl").
-include("scan.hrl").
-include("apps.hrl").
-include("custom.hrl").
-include("sysmon.hrl").

%%% ----------------------------------------------------------------------
%%% Sources of events
%%% ----------------------------------------------------------------------

-include("sources.hrl").
-include("sasl.hrl").
-include("elarm.hrl").
-include("inventory.hrl").
-include("log.hrl").
-include("log_collect.hrl").
-include("logger.hrl").
-include("lager.hrl").
-include("modules.hrl").
