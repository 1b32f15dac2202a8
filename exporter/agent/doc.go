// Package agent attaches to Erlang nodes: it injects a small program into a
// node, the agent, asks it for readings, and makes it leave again.
//
// # The monitored node comes first
//
// The agent is one process, erl_exporter_agent, and one module. It watches
// its owner and never links; it hibernates between messages; it measures itself
// and leaves out what is costly when it passes its own limits (Limits). It
// holds a lease (Options.Lease) that the session renews. When the connection
// closes, the lease runs out or the session is detached, it puts back what it
// changed and goes: no process, module, old code, flag or registered name
// stays, but for a module that the node's release owns. What cannot be taken back is the atoms of its code and the name of
// the exporter's node; attaching again adds none.
//
// # With and without injection
//
// The module is also an application, in the folder erl_exporter_agent, for
// releases to include. Where it is loaded, the agent is started from it and
// nothing injected. Where it is not and Settings.Injection is InjectionNever,
// there is no agent: a reading is one remote call of functions that ask no
// process and change no flag, and says of all else why it is missing. The
// README of the application has the whole table.
//
// An agent's registered name is the lock of a node. Without an agent, each
// exporter monitors the process erl_signal_server for as long as its session
// lasts, and every reading looks who else does: the exporter whose node name
// sorts first goes on, the session of any other ends with *OwnedError.
//
// # Protocol, version 4
//
// Attach makes these remote calls, through rex:
//
//	lists:zipwith(fun erlang:apply/2, Funs, Args)
//	    erlang:system_info(otp_release)  which compilation to send
//	    application:get_key(erl_exporter_agent, vsn)  whether to send it
//	erlang:whereis(erl_exporter_agent)   whether an agent is there
//	lists:zipwith(fun erlang:apply/2, Funs, Args)
//	    unless the node has it: code:soft_purge/1, code:load_binary/3,
//	    code:soft_purge/1, then
//	    erl_exporter_agent:start({4, Owner, LeaseMs, Settings})
//	application:which_applications(5000)
//
// Owner is the connection's process, Settings a map: deadline (ms),
// per_instance, msacc, max_reductions and max_bytes (a minute), max_memory
// (bytes), credit, wall_time, top, vip, max_processes, scan_every (ms), and
// sources, a map from each source to its configuration.
// start/1 answers
//
//	{ok, Agent, {4, Schema, Info, MSAccOurs}}   it runs
//	{error, owned}                              another agent was faster
//	{error, {protocol, Version}}                not this version
//
// Schema is [{Collector, [{Table, Labels, Columns}]}]; of two tables with one
// name the second has the constant columns. Info is a property list. MSAccOurs
// tells whether the agent switched microstate accounting on, and so off again.
//
// To the agent:
//
//	{handover, Pid}                     any exporter: leave, or say whose you are
//	{Owner, renew}                      the lease holds
//	{Owner, credit, Source, Events}     so many more events of the source may come
//	{Owner, request, Ref, Source, Request}  for a source: {configure, Config}, off,
//	                                    or what only it knows
//	{Owner, snapshot, Seq, Collectors}  read these
//	{Owner, detach}                     leave
//
// From the agent:
//
//	{erl_exporter_agent, owned, Node}          answer to handover
//	{erl_exporter_agent, snapshot, Seq, Bin}   answer to snapshot
//	{erl_exporter_agent, event, Source, Seq, Event}  something happened
//	{erl_exporter_agent, reply, Ref, Term}     answer to request
//	{erl_exporter_agent, leaving, Reason}      the last message
//
// handover and owned are the same in all versions: an agent whose owner is of
// the same node as Pid, or has let the lease run out, leaves; another one
// answers with the name of its owner's node. Everything is sent without
// connecting and without waiting for a full buffer; what cannot be sent is
// dropped and counted.
//
// # Events
//
// A source sends at most as many events as it has credit for, Settings.credit at
// first; what it has none for is dropped, and counted in the collector agent.
// Events are numbered from 1 on, with those that are dropped, so that a gap shows.
// The source agent is the agent itself; its events are
//
//	{shedding, LeftOut, {What, Limit}, Used}    it leaves collectors out
//	{source_failed, Source, Reason}             a source has ended
//
// A request gets one reply: what the source answers, ok, or {error, off | failed |
// {missing, Why}}.
//
// # A reading
//
// Bin is term_to_binary of a list that is parallel to Collectors, of
// {Microseconds, Result}, or {{Microseconds, Age}, Result} where a part had been
// kept for so many milliseconds:
//
//	{ok, Tables}         parallel to the collector's tables in the schema
//	{missing, Why}       does not apply to this node
//	{error, Reason}      {late, Ms}, {stuck, Ms}, {shed, Limit},
//	                     {Class, Reason, Place} or an exit reason
//
// A table without labels is one tuple of values; constant columns are [] when
// they are as they were in the last answer. A table with labels is {Labels,
// Rows}: Labels is a list of lists of binaries, or [] when they are as they
// were. A value is a number, or [] where the node has none.
//
// A reading waits at most Limits.Deadline for collectors that ask other
// schedulers, files or servers; one that has not answered by then fails alone,
// and is not asked again until its answer has come.
package agent
