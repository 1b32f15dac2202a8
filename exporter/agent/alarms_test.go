package agent_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// patience is how long something may take that the agent does at its next tick.
const patience = 30 * time.Second

func attachSource(t *testing.T, n *erltest.Node, s agent.Source) *agent.Session {
	t.Helper()
	target := target(n, agent.Settings{})
	target.Sources = []agent.Source{s}
	session, err := exporter(t, "erl_exporter@localhost", agent.Options{}).Attach(deadline(t), target)
	require.NoError(t, err)
	return session
}

// saslNode is a node with SASL, and what its alarm_handler tells.
func saslNode(t *testing.T, before string) (*erltest.Node, *agent.Session, func() agent.SASLEvent) {
	t.Helper()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, "{ok, _} = application:ensure_all_started(sasl), ok")
	if before != "" {
		n.Eval(t, before)
	}
	events := make(chan agent.SASLEvent, 1000)
	s := attachSource(t, n, agent.SASLSource(func(e agent.SASLEvent) { events <- e }))
	return n, s, func() agent.SASLEvent {
		select {
		case e := <-events:
			return e
		case <-time.After(patience):
			t.Fatalf("no event came\n%s", n.Log())
			return agent.SASLEvent{}
		}
	}
}

func TestSASLAlarms(t *testing.T) {
	t.Parallel()
	n, s, next := saslNode(t, `alarm_handler:set_alarm({{disk_almost_full, "/var"}, "full"}), alarm_handler:set_alarm({old, []})`)
	e := next()
	require.True(t, e.All)
	slices.SortFunc(e.Alarms, func(a, b agent.SASLAlarm) int { return strings.Compare(a.Name, b.Name) })
	require.Equal(t, []agent.SASLAlarm{
		{Name: "disk_almost_full", Instance: "/var", Description: "full"}, {Name: "old"},
	}, e.Alarms, "those from before the attachment")

	n.Eval(t, `alarm_handler:set_alarm({new, {since, 5}})`)
	require.Equal(t, agent.SASLEvent{Alarms: []agent.SASLAlarm{{Name: "new", Description: "{since,5}"}}}, next())
	n.Eval(t, `alarm_handler:clear_alarm(new)`)
	require.Equal(t, agent.SASLEvent{Cleared: true, Alarms: []agent.SASLAlarm{{Name: "new"}}}, next())
	all, err := agent.SASLAlarms(deadline(t), s)
	require.NoError(t, err)
	require.Len(t, all, 2)

	require.NoError(t, s.Detach(deadline(t)))
	require.Equal(t, "[alarm_handler]", n.Eval(t, "gen_event:which_handlers(alarm_handler)"), "nothing stays behind")
	require.Equal(t, "[{old,[]},{{disk_almost_full,\"/var\"},\"full\"}]", n.Eval(t, "alarm_handler:get_alarms()"))
}

// An alarm that was set twice is on the list of alarm_handler twice, and once
// after it was cleared.
func TestSASLDuplicates(t *testing.T) {
	t.Parallel()
	n, s, next := saslNode(t, `alarm_handler:set_alarm({a, 1}), alarm_handler:set_alarm({a, 2})`)
	require.Equal(t, []agent.SASLAlarm{{Name: "a", Description: "2"}}, next().Alarms, "the last one counts")
	n.Eval(t, `alarm_handler:clear_alarm(a)`)
	require.True(t, next().Cleared)
	require.Equal(t, "[{a,1}]", n.Eval(t, "alarm_handler:get_alarms()"))
	all, err := agent.SASLAlarms(deadline(t), s)
	require.NoError(t, err)
	require.Empty(t, all, "it was cleared, whatever is left on the list")
}

func TestSASLHandlerIsPutBack(t *testing.T) {
	t.Parallel()
	n, _, next := saslNode(t, "")
	require.True(t, next().All)
	ours := func() string {
		return n.Eval(t, "length([H || {erl_exporter_agent, _} = H <- gen_event:which_handlers(alarm_handler)])")
	}
	require.Equal(t, "1", ours())
	// By hand, as another tool may do.
	n.Eval(t, "[gen_event:delete_handler(alarm_handler, {erl_exporter_agent, R}, gone) || {erl_exporter_agent, R} <- gen_event:which_handlers(alarm_handler)], alarm_handler:set_alarm({missed, []})")
	require.Equal(t, agent.SASLEvent{All: true, Alarms: []agent.SASLAlarm{{Name: "missed"}}}, next(), "what happened meanwhile is found")
	require.Equal(t, "1", ours())

	// SASL is started anew: the alarms are gone, and the handler with them.
	n.Eval(t, "ok = application:stop(sasl), ok = application:start(sasl), alarm_handler:set_alarm({again, []})")
	require.Equal(t, agent.SASLEvent{All: true, Alarms: []agent.SASLAlarm{{Name: "again"}}}, next())
	require.Equal(t, "1", ours())
}

// A handler of another product has taken the place of alarm_handler's own: there
// is no list then, but events.
func TestSASLSwapped(t *testing.T) {
	t.Parallel()
	n, _, next := saslNode(t, `{ok, Tokens, _} = erl_scan:string("-module(other). -export([init/1, handle_event/2, handle_call/2, handle_info/2, terminate/2]). init(_) -> {ok, x}. handle_event(_, S) -> {ok, S}. handle_call(_, S) -> {ok, S, S}. handle_info(_, S) -> {ok, S}. terminate(_, _) -> ok."),
		{Forms, []} = lists:foldl(fun({dot, _} = D, {Fs, Ts}) -> {ok, F} = erl_parse:parse_form(lists:reverse([D | Ts])), {[F | Fs], []}; (T, {Fs, Ts}) -> {Fs, [T | Ts]} end, {[], []}, Tokens),
		{ok, other, Beam} = compile:forms(lists:reverse(Forms)), code:load_binary(other, "other", Beam),
		ok = gen_event:swap_handler(alarm_handler, {alarm_handler, swap}, {other, []}), {error, bad_module} = alarm_handler:get_alarms()`)
	n.Eval(t, "timer:sleep(200), alarm_handler:set_alarm({seen, []})")
	require.Equal(t, agent.SASLEvent{Alarms: []agent.SASLAlarm{{Name: "seen"}}}, next())
}

func TestSASLWithoutSASL(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	events := make(chan agent.SASLEvent, 10)
	attachSource(t, n, agent.SASLSource(func(e agent.SASLEvent) { events <- e }))
	n.Eval(t, "{ok, _} = application:ensure_all_started(sasl), alarm_handler:set_alarm({late, []})")
	select {
	case e := <-events:
		require.Equal(t, []agent.SASLAlarm{{Name: "late"}}, e.Alarms)
	case <-time.After(patience):
		t.Fatal("SASL was started and not found")
	}
}

// TestSASLHostileTerms has any term as an id and as a description.
func TestSASLHostileTerms(t *testing.T) {
	t.Parallel()
	// alarm_handler's own handler would print all of them.
	n, s, next := saslNode(t, "logger:set_primary_config(level, none)")
	next()
	for _, term := range []string{
		`{<<255, 254, 0>>, <<255>>}`, `{"quotes \" and\nnew lines", "żółć"}`, `{[1 | 2], #{a => make_ref()}}`,
		`{fun() -> ok end, self()}`, `{lists:seq(1, 100000), lists:duplicate(1000000, $x)}`, `{{}, {}}`, `{{a}, []}`,
		`{binary:copy(<<"ż">>, 1000000), binary:copy(<<0>>, 10000000)}`, `{1.5, [[[[]]]]}`,
		`{{resource_limit, memory, node()}, []}`, `{'', ''}`, `{list_to_atom(lists:duplicate(255, 380)), []}`,
	} {
		n.Eval(t, "alarm_handler:set_alarm("+term+")")
		e := next()
		require.Len(t, e.Alarms, 1, term)
		a := e.Alarms[0]
		require.LessOrEqual(t, len(a.Name), 128, term)
		require.LessOrEqual(t, len(a.Instance), 128, term)
		require.LessOrEqual(t, len(a.Description), 512, term)
	}
	all, err := agent.SASLAlarms(deadline(t), s)
	require.NoError(t, err)
	require.Len(t, all, 12, "each is another alarm")
	n.Eval(t, "alarm_handler:set_alarm({{binary:copy(<<\"ż\">>, 1000000), 1}, []}), alarm_handler:set_alarm({{binary:copy(<<\"ż\">>, 1000001), 1}, []})")
	first, second := next(), next()
	require.NotEqual(t, first.Alarms, second.Alarms)
	// alarm_handler itself is well.
	require.Equal(t, "true", n.Eval(t, "is_list(alarm_handler:get_alarms())"))
}

// TestSASLStorm sets and clears a thousand alarms at once: whatever is dropped,
// the owner knows in the end what is active.
func TestSASLStorm(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, "{ok, _} = application:ensure_all_started(sasl), ok")
	lost := make(chan struct{}, 1)
	s := attachSource(t, n, agent.SASLSource(func(e agent.SASLEvent) {
		time.Sleep(time.Millisecond)
		if e.Lost {
			select {
			case lost <- struct{}{}:
			default:
			}
		}
	}))
	n.Eval(t, "[alarm_handler:set_alarm({{storm, N}, N}) || N <- lists:seq(1, 1000)], [alarm_handler:clear_alarm({storm, N}) || N <- lists:seq(1, 995)], alarm_handler:get_alarms()")
	select {
	case <-lost:
	case <-time.After(patience):
		t.Fatal("nobody was told that events are missing")
	}
	require.Eventually(t, func() bool {
		all, err := agent.SASLAlarms(deadline(t), s)
		return err == nil && len(all) == 5
	}, 60*time.Second, 100*time.Millisecond)
}

// TestSASLAgentIsKilled leaves no handler behind.
func TestSASLAgentIsKilled(t *testing.T) {
	t.Parallel()
	n, _, next := saslNode(t, "")
	next()
	n.Eval(t, "exit(whereis(erl_exporter_agent), kill)")
	require.Eventually(t, func() bool {
		return n.Eval(t, "gen_event:which_handlers(alarm_handler)") == "[alarm_handler]"
	}, patience, 10*time.Millisecond)
}

// elarmNode is a node with Elarm, and what it tells.
func elarmNode(t *testing.T, before string) (*erltest.Node, *agent.Session, func() agent.ElarmEvent) {
	t.Helper()
	n := erltest.Start(t, erltest.Options{})
	n.StartElarm(t)
	if before != "" {
		n.Eval(t, before)
	}
	events := make(chan agent.ElarmEvent, 1000)
	s := attachSource(t, n, agent.ElarmSource(func(e agent.ElarmEvent) { events <- e }))
	return n, s, func() agent.ElarmEvent {
		select {
		case e := <-events:
			return e
		case <-time.After(2 * patience):
			t.Fatalf("no event came\n%s", n.Log())
			return agent.ElarmEvent{}
		}
	}
}

func TestElarmAlarms(t *testing.T) {
	t.Parallel()
	n, s, next := elarmNode(t, `{ok, _} = elarm:start_server(second, [{config, [{hot, [{severity, critical}, {probable_cause, <<"no fan">>}, {proposed_repair_action, <<"buy one">>}, {description, <<"too hot">>}]}]}]),
		elarm:raise(link_down, {port, 1}, [{speed, 10}]), elarm:raise(second, hot, cpu, undefined)`)
	e := next()
	require.True(t, e.All)
	require.Len(t, e.Alarms, 2)
	slices.SortFunc(e.Alarms, func(a, b agent.ElarmAlarm) int { return strings.Compare(a.Name, b.Name) })
	hot, link := e.Alarms[0], e.Alarms[1]
	require.WithinDuration(t, time.Now(), hot.Time, time.Minute)
	require.Equal(t, agent.ElarmAlarm{
		Ref: hot.Ref, Time: hot.Time, Name: "hot", Instance: "second: cpu", Severity: "critical",
		ProbableCause: "no fan", RepairAction: "buy one", Description: "too hot",
	}, hot)
	require.Equal(t, "{port,1}", link.Instance)
	require.Equal(t, "indeterminate", link.Severity)
	require.Equal(t, "[{speed,10}]", link.Information)

	// What is done here reaches Elarm, and comes back.
	ctx := deadline(t)
	require.NoError(t, agent.AcknowledgeElarm(ctx, s, link.Ref, "jane"))
	e = next()
	require.Equal(t, "link_down", e.Alarms[0].Name)
	require.True(t, e.Acknowledgement.Acknowledged)
	require.Equal(t, "jane", e.Acknowledgement.User)
	require.NoError(t, agent.AcknowledgeElarm(ctx, s, link.Ref, "jane"), "what is so already is no error")
	require.Equal(t, "acknowledged", n.Eval(t, "{ok, [A]} = elarm:get_alarms(), element(16, A)"))
	require.NoError(t, agent.UnacknowledgeElarm(ctx, s, link.Ref, "jane"))
	require.False(t, next().Acknowledgement.Acknowledged)
	require.NoError(t, agent.CommentElarm(ctx, s, link.Ref, "jane", "żółw"))
	e = next()
	require.Equal(t, "jane", e.Comment.User)
	require.Equal(t, "żółw", e.Comment.Text)
	require.NoError(t, agent.ClearElarm(ctx, s, link.Ref, "jane"))
	require.Contains(t, next().Cleared, `{manual,<<"jane">>}`)
	require.Equal(t, "{ok,[]}", n.Eval(t, "elarm:get_alarms()"))
	require.ErrorContains(t, agent.ClearElarm(ctx, s, link.Ref, "jane"), "not_active")

	// What is done there comes here.
	n.Eval(t, `elarm:raise(fire, <<"hall">>, smoke)`)
	e = next()
	require.False(t, e.All)
	require.Equal(t, "hall", e.Alarms[0].Instance)
	n.Eval(t, `elarm:clear(fire, <<"hall">>)`)
	require.Equal(t, "cleared on the node", next().Cleared)

	require.NoError(t, s.Detach(ctx))
	require.Equal(t, "[]", n.Eval(t, "element(4, sys:get_state(elarm_server))"), "the subscription is taken back")
}

// Elarm tells nobody of an alarm that is raised again, nor of a server that is
// started anew.
func TestElarmChangesWithoutMessage(t *testing.T) {
	t.Parallel()
	n, s, next := elarmNode(t, "elarm:raise(a, b, 1)")
	require.Equal(t, "1", next().Alarms[0].Information)
	n.Eval(t, "elarm:raise(a, b, 2)")
	all, err := agent.ElarmAlarms(deadline(t), s)
	require.NoError(t, err)
	require.Equal(t, "2", all[0].Information)

	n.Eval(t, "elarm:stop_server(elarm_server), {ok, _} = elarm:start_server(elarm_server), elarm:raise(c, d, 3), ok")
	seen := map[string]bool{}
	for !seen["clear a"] || !seen["raise c"] {
		e := next()
		for _, a := range e.Alarms {
			if e.Cleared != "" {
				seen["clear "+a.Name] = true
			} else {
				seen["raise "+a.Name] = true
			}
		}
	}
}

func TestElarmHostileTerms(t *testing.T) {
	t.Parallel()
	n, s, next := elarmNode(t, "")
	require.True(t, next().All)
	for i, term := range []string{`<<255, 0>>`, `lists:duplicate(1000000, $")`, `fun() -> ok end`, `[1 | 2]`, `{a, {b, "\n"}}`} {
		n.Eval(t, fmt.Sprintf("elarm:raise(%s, %s, %s)", term, term, term))
		e := next()
		require.Len(t, e.Alarms, 1)
		require.LessOrEqual(t, len(e.Alarms[0].Name), 128)
		require.NoError(t, agent.AcknowledgeElarm(deadline(t), s, e.Alarms[0].Ref, "jane"), "the original term of %d was kept", i)
		require.True(t, next().Acknowledgement.Acknowledged)
	}
}

// TestSupervisorGivesUpInAFlood has a supervisor end while the node logs more
// than it may tell: the entry is dropped, and the supervisor is counted.
func TestSupervisorGivesUpInAFlood(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, "logger:remove_handler(default)")
	var told atomic.Int64
	s := attachSource(t, n, agent.LogsSource(agent.LogsConfig{Logger: "error", Lager: "none", Rate: 1, MessageBytes: 1000}, func(e agent.LogEvent) {
		for _, entry := range e.Entries {
			if strings.Contains(entry.Text, "reached_max_restart_intensity") {
				told.Add(1)
			}
		}
	}))
	require.Eventually(t, func() bool {
		return n.Eval(t, "element(1, logger:get_handler_config(erl_exporter_agent))") == "ok"
	}, patience, 10*time.Millisecond)
	const supervisors = 60 // more than are told apart
	n.Eval(t, fmt.Sprintf(`[logger:error("flood") || _ <- lists:seq(1, 100)],
		{ok, M, B} = compile:forms([{attribute, 1, module, my_callback}, {attribute, 1, export, [{init, 1}]},
			{function, 1, init, 1, [{clause, 1, [{nil, 1}], [], [erl_parse:abstract({ok, {{one_for_one, 0, 10}, []}})]}]}]),
		{module, M} = code:load_binary(M, "", B), process_flag(trap_exit, true),
		[begin
			{ok, S} = supervisor:start_link({local, list_to_atom("sup" ++ integer_to_list(N))}, M, []),
			{ok, C} = supervisor:start_child(S, #{id => worker, start => {gen_event, start_link, []}}),
			exit(C, kill), receive {'EXIT', S, shutdown} -> ok end
		end || N <- lists:seq(1, %d)], ok`, supervisors))
	require.Eventually(t, func() bool {
		times, named := 0.0, 0
		for _, r := range table(t, read(t, s), "log_gave_up").Rows {
			times += r.Values[0].Float
			if r.Labels[0] != "other" {
				named++
			}
		}
		return times == supervisors && named == 50
	}, patience, 50*time.Millisecond)
	require.Less(t, told.Load(), int64(supervisors), "nothing was dropped: the test proves nothing")
	require.NoError(t, s.Detach(deadline(t)))
}

// TestAlarmsAreCounted: the reading says how many alarms the node has, and nothing
// where nobody looks or there is nothing to look at.
func TestAlarmsAreCounted(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	a := exporter(t, "erl_exporter@localhost", agent.Options{})
	s := attach(t, a, n, agent.Settings{})
	require.Equal(t, "switched off", collector(t, read(t, s), snapshot.Alarms).Missing)
	require.NoError(t, s.Detach(deadline(t)))

	n.StartElarm(t)
	n.Eval(t, `{ok, _} = elarm:start_server(second, [{config, [{hot, [{severity, critical}]}]}]),
		elarm:raise(link_down, bergen, 1), elarm:raise(link_down, oslo, 1), elarm:raise(second, hot, cpu, undefined)`)
	target := target(n, agent.Settings{})
	target.Sources = []agent.Source{agent.SASLSource(func(agent.SASLEvent) {}), agent.ElarmSource(func(agent.ElarmEvent) {})}
	s, err := a.Attach(deadline(t), target)
	require.NoError(t, err)
	elarm := func() map[string]float64 { return column(t, table(t, read(t, s), "elarm_alarms"), "alarms") }
	sasl := func() (float64, bool) { return table(t, read(t, s), "sasl_alarms").Value("alarms") }
	require.Eventually(t, func() bool { return elarm()["indeterminate new"] == 2 }, patience, 20*time.Millisecond)
	require.Len(t, elarm(), 10, "every severity in both states")
	require.InDelta(t, 1, elarm()["critical new"], 0)
	require.Zero(t, elarm()["minor new"])
	_, known := sasl()
	require.False(t, known, "SASL does not run")

	n.Eval(t, `ok = elarm:acknowledge(link_down, oslo, <<"anna">>)`)
	require.Eventually(t, func() bool { return elarm()["indeterminate acknowledged"] == 1 && elarm()["indeterminate new"] == 1 }, patience, 20*time.Millisecond)
	n.Eval(t, `{ok, _} = application:ensure_all_started(sasl), alarm_handler:set_alarm({{disk, "/"}, full}), alarm_handler:set_alarm({{disk, "/var"}, full})`)
	require.Eventually(t, func() bool { got, _ := sasl(); return got == 2 }, patience, 20*time.Millisecond)
	n.Eval(t, `alarm_handler:clear_alarm({disk, "/"}), ok = elarm:manual_clear(link_down, bergen, <<"anna">>)`)
	require.Eventually(t, func() bool {
		got, _ := sasl()
		return got == 1 && elarm()["indeterminate new"] == 0
	}, patience, 20*time.Millisecond)
	require.NoError(t, s.Detach(deadline(t)))
}
