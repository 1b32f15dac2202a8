package agent_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// Sources that tests speak to in their own words.
const (
	codeSource     = "code"
	commandsSource = "commands"
	elarmSource    = "elarm"
	saslSource     = "sasl"
	inventory      = "inventory"
)

// source is one of the agent's whose events go to handle as they are.
func source(name string, config etf.Term, handle func(agent.Event)) agent.Source {
	return agent.Source{Name: name, Config: config, Handle: handle}
}

func ignore(agent.Event) {}

func attachSources(t *testing.T, n *erltest.Node, o agent.Options, sources ...agent.Source) *agent.Session {
	t.Helper()
	target := target(n, agent.Settings{})
	target.Sources = sources
	s, err := exporter(t, "erl_exporter@localhost", o).Attach(deadline(t), target)
	require.NoError(t, err)
	return s
}

func events(t *testing.T) (<-chan agent.Event, func(agent.Event)) {
	t.Helper()
	all := make(chan agent.Event, 1000)
	return all, func(e agent.Event) { all <- e }
}

func next(t *testing.T, all <-chan agent.Event) agent.Event {
	t.Helper()
	select {
	case e := <-all:
		return e
	case <-deadline(t).Done():
		t.Fatal("no event came")
		return agent.Event{}
	}
}

func ask(t *testing.T, s *agent.Session, name string, request etf.Term) etf.Term {
	t.Helper()
	answer, err := s.Request(deadline(t), name, request)
	require.NoError(t, err)
	return answer
}

// call is a request to run a function.
func call(limit time.Duration, module, function string, args ...etf.Term) etf.Term {
	command := etf.Tuple{etf.Atom("call"), etf.Atom(module), etf.Atom(function), etf.List(args)}
	return etf.Tuple{etf.Atom("run"), command, limit.Milliseconds(), int64(1000)}
}

// sleep is a request that is not answered before its limit.
func sleep(limit time.Duration) etf.Term {
	return call(limit, "timer", "sleep", limit.Milliseconds()*2)
}

// asleep tells how many processes of the node are in timer:sleep/1.
func asleep(t *testing.T, n *erltest.Node) string {
	t.Helper()
	return n.Eval(t, "length([P || P <- processes(), process_info(P, current_function) =:= {current_function, {timer, sleep, 1}}])")
}

func TestSourceAnswers(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	s := attachSources(t, n, agent.Options{}, source(inventory, etf.Map{}, ignore), source(commandsSource, etf.Map{}, ignore))

	// What a helper has read.
	answer, ok := ask(t, s, inventory, etf.Atom("applications")).(etf.Tuple)
	require.True(t, ok)
	require.Len(t, answer, 2)
	require.Equal(t, etf.Atom("ok"), answer[0])
	require.Equal(t, n.Eval(t, "[{A, V, true} || {A, _, V} <- application:loaded_applications(), A =/= erl_exporter_agent]"), etf.Format(answer[1]))
	_, err := s.Request(deadline(t), inventory, etf.Atom("nonsense"))
	require.EqualError(t, err, `agent: source inventory on "`+n.Name+`" cannot be asked: {error,function_clause,{erl_exporter_agent,inventory}}`)
	sum := etf.Tuple{etf.Atom("value"), []byte{131, 97, 7}}
	require.Equal(t, sum, ask(t, s, commandsSource, call(time.Minute, "erlang", "+", int64(3), int64(4))))

	// A helper that takes longer than it may is ended.
	require.Equal(t, etf.Atom("timeout"), ask(t, s, commandsSource, sleep(100*time.Millisecond)))
	require.Equal(t, "0", asleep(t, n))
	require.NoError(t, s.Detach(deadline(t)))
}

// TestSourceIsConfigured has the source of loaded code look hardly ever, and then
// at each renewal of the lease.
func TestSourceIsConfigured(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	looks := make(chan []agent.LoadedModule, 1000)
	hardlyEver := agent.CodeSource(1_000_000, func(_ string, _ time.Time, all []agent.LoadedModule) { looks <- all })
	always := etf.Map{{Key: etf.Atom("every"), Value: int64(1)}}
	s := attachSources(t, n, agent.Options{Renew: 100 * time.Millisecond}, hardlyEver)
	load := func(module string) {
		n.Eval(t, fmt.Sprintf(`{ok, M, B} = compile:forms([{attribute, 1, module, %s}]), {module, M} = code:load_binary(M, "", B)`, module))
	}
	await := func(module string) {
		t.Helper()
		for late := deadline(t).Done(); ; {
			select {
			case all := <-looks:
				if slices.ContainsFunc(all, func(m agent.LoadedModule) bool { return m.Name == module }) {
					return
				}
			case <-late:
				t.Fatalf("%s is not told", module)
			}
		}
	}

	await("kernel")
	load("first")
	require.NoError(t, s.Configure(deadline(t), codeSource, always))
	await("first")
	require.NoError(t, s.SwitchOff(deadline(t), codeSource))
	_, err := s.Request(deadline(t), codeSource, etf.Atom("hello"))
	require.EqualError(t, err, `agent: source code on "`+n.Name+`" cannot be asked: off`)
	load("second")
	require.NoError(t, s.Configure(deadline(t), codeSource, hardlyEver.Config))
	await("second")
	_, err = s.Request(deadline(t), codeSource, etf.Atom("hello"))
	require.EqualError(t, err, `agent: source code on "`+n.Name+`" cannot be asked: unknown_request`)

	err = s.Configure(deadline(t), "nonsense", etf.Atom("x"))
	require.EqualError(t, err, `agent: source nonsense on "`+n.Name+`" cannot be asked: {missing,unknown_source}`)
}

// While nobody takes events, the agent sends what it has credit for and drops
// the rest; the next event that comes tells how many there were.
func TestEventsAreDroppedWithoutCredit(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, "{ok, _} = application:ensure_all_started(sasl), ok")
	all, handle := events(t)
	started, free := make(chan struct{}, 1000), make(chan struct{})
	s := attachSources(t, n, agent.Options{Lease: time.Hour, Renew: time.Hour / 2}, source(saslSource, etf.Map{}, func(e agent.Event) {
		started <- struct{}{}
		<-free
		handle(e)
	}))
	set := func(from, to int) {
		n.Eval(t, fmt.Sprintf("[alarm_handler:set_alarm({{full, N}, []}) || N <- lists:seq(%d, %d)], ok", from, to))
	}
	known := func() int {
		alarms, err := agent.SASLAlarms(deadline(t), s)
		require.NoError(t, err)
		return len(alarms)
	}
	accounts := func() map[string][]float64 {
		sources, ok := read(t, s).Table(snapshot.AgentSource)
		require.True(t, ok)
		return rows(sources)
	}

	<-started // with the alarms that there are, which is the first event
	set(1, 199)
	require.Eventually(t, func() bool { return known() == 199 }, patience, 20*time.Millisecond)
	blocked := accounts()
	require.Empty(t, all)

	close(free)
	want := []etf.Term{etf.Tuple{etf.Atom("all"), etf.List{}}}
	for i := range 200 {
		want = append(want, etf.Tuple{etf.Atom("set"), []byte("full"), []byte(strconv.Itoa(i + 1)), []byte{}})
	}
	told := 200
	for i := range 64 {
		e := next(t, all)
		require.Zero(t, e.Lost)
		require.Equal(t, n.Name, e.Node)
		if e.Term == etf.Term(etf.Atom("tick")) { // the renewal with which a session begins
			want = slices.Insert(want, i, e.Term)
			told++
		}
		require.Equal(t, want[i], e.Term)
	}
	require.LessOrEqual(t, told, 201)
	require.Equal(t, []float64{float64(told), float64(told - 64)}, blocked[saslSource])
	require.Equal(t, []float64{0, 0}, blocked["agent"])

	// Credit was given before this is asked. What was not told is known all the
	// same.
	require.Equal(t, 199, known())
	set(200, 200)
	e := next(t, all)
	require.Equal(t, want[told], e.Term)
	require.Equal(t, uint64(told-64), e.Lost)
	require.WithinDuration(t, time.Now(), e.Received, time.Minute)
	require.Equal(t, []float64{float64(told + 1), float64(told - 64)}, accounts()[saslSource])
}

func rows(table snapshot.Table) map[string][]float64 {
	all := map[string][]float64{}
	for _, r := range table.Rows {
		for _, v := range r.Values {
			all[r.Labels[0]] = append(all[r.Labels[0]], v.Float)
		}
	}
	return all
}

// A source that fails costs neither the readings nor the other sources.
func TestSourceFailsAlone(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, "{ok, _} = application:ensure_all_started(sasl), ok")
	alarms := make(chan agent.SASLEvent, 10)
	s := attachSources(t, n, agent.Options{}, source(elarmSource, etf.Map{}, ignore), agent.InventorySource(),
		agent.SASLSource(func(e agent.SASLEvent) { alarms <- e }))
	await := func(want agent.SASLEvent) {
		t.Helper()
		select {
		case e := <-alarms:
			require.Equal(t, want, e)
		case <-deadline(t).Done():
			t.Fatal("no event came")
		}
	}
	await(agent.SASLEvent{All: true, Alarms: []agent.SASLAlarm{}})
	for range 2 { // as it fails, and once it has
		_, err := s.Request(deadline(t), elarmSource, etf.Atom("nonsense"))
		require.EqualError(t, err, `agent: source elarm on "`+n.Name+`" cannot be asked: failed`)
	}
	read(t, s)
	n.Eval(t, "alarm_handler:set_alarm({full, []})")
	await(agent.SASLEvent{Alarms: []agent.SASLAlarm{{Name: "full"}}})
	_, err := agent.ReadModules(deadline(t), s)
	require.NoError(t, err)
}

func TestNoSourcesWithoutAgent(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n,
		agent.Settings{Injection: agent.InjectionNever})
	_, err := s.Request(deadline(t), inventory, etf.Atom("modules"))
	require.ErrorIs(t, err, agent.ErrNoAgent)
	name, err := s.Call(deadline(t), "erlang", "node")
	require.NoError(t, err)
	require.Equal(t, etf.Atom(n.Name), name)
}

// Whoever waits for an answer does not wait for a session that has ended, and
// the helper that was to bring it ends too.
func TestRequestEndsWithSession(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	s := attachSources(t, n, agent.Options{}, source(commandsSource, etf.Map{}, ignore))
	answered := make(chan error, 1)
	go func() {
		_, err := s.Request(context.Background(), commandsSource, sleep(10*time.Minute))
		answered <- err
	}()
	require.Eventually(t, func() bool { return asleep(t, n) == "1" }, patience, 20*time.Millisecond)
	s.Sever()
	select {
	case err := <-answered:
		require.ErrorIs(t, err, dist.ErrClosed)
	case <-deadline(t).Done():
		t.Fatal("the request still waits")
	}
	require.Eventually(t, func() bool { return asleep(t, n) == "0" }, 5*time.Second, 20*time.Millisecond)
}
