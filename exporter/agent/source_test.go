package agent_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

const echo = "echo"

// attachEcho attaches with the smallest source, whose events go to handle.
func attachEcho(t *testing.T, n *erltest.Node, handle func(agent.Event)) *agent.Session {
	t.Helper()
	target := target(n, agent.Settings{})
	target.Sources = []agent.Source{{Name: echo, Config: etf.Atom("first"), Handle: handle}}
	s, err := exporter(t, "erl_exporter@localhost", agent.Options{}).Attach(deadline(t), target)
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

func ask(t *testing.T, s *agent.Session, request etf.Term) etf.Term {
	t.Helper()
	answer, err := s.Request(deadline(t), echo, request)
	require.NoError(t, err)
	return answer
}

func TestSourceAnswers(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	all, handle := events(t)
	s := attachEcho(t, n, handle)

	require.Equal(t, etf.Atom("hello"), ask(t, s, etf.Atom("hello")))
	require.Equal(t, etf.Tuple{etf.Atom("ok"), int64(7)}, ask(t, s, etf.Tuple{etf.Atom("wait"), int64(1), int64(7)}))
	require.Equal(t, etf.Tuple{etf.Atom("ok"), int64(7)}, next(t, all).Term)

	// A helper that takes longer than it may is ended.
	_, err := s.Request(deadline(t), echo, etf.Tuple{etf.Atom("wait"), int64(60_000), int64(7)})
	require.EqualError(t, err, `agent: source echo on "`+n.Name+`" cannot be asked: timeout`)
	require.NoError(t, s.Detach(deadline(t)))
}

func TestSourceIsConfigured(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	all, handle := events(t)
	s := attachEcho(t, n, handle)

	require.NoError(t, s.Configure(deadline(t), echo, etf.Atom("second")))
	require.Equal(t, etf.Tuple{etf.Atom("configured"), etf.Atom("second")}, next(t, all).Term)
	require.NoError(t, s.SwitchOff(deadline(t), echo))
	_, err := s.Request(deadline(t), echo, etf.Atom("hello"))
	require.EqualError(t, err, `agent: source echo on "`+n.Name+`" cannot be asked: off`)
	require.NoError(t, s.Configure(deadline(t), echo, etf.Atom("third")))
	require.Equal(t, etf.Atom("hello"), ask(t, s, etf.Atom("hello")))

	err = s.Configure(deadline(t), "nonsense", etf.Atom("x"))
	require.EqualError(t, err, `agent: source nonsense on "`+n.Name+`" cannot be asked: {missing,unknown_source}`)
}

// While nobody takes events, the agent sends what it has credit for and drops
// the rest; the next event that comes tells how many there were.
func TestEventsAreDroppedWithoutCredit(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	all, handle := events(t)
	free := make(chan struct{})
	s := attachEcho(t, n, func(e agent.Event) {
		<-free
		handle(e)
	})

	require.Equal(t, etf.Atom("ok"), ask(t, s, etf.Tuple{etf.Atom("events"), int64(200)}))
	read := read(t, s)
	sources, ok := read.Table(snapshot.AgentSource)
	require.True(t, ok)
	require.Equal(t, []float64{0, 0}, rows(sources)["agent"])
	require.Equal(t, []float64{200, 200 - 64}, rows(sources)[echo])

	close(free)
	for i := range 64 {
		e := next(t, all)
		require.Equal(t, int64(i+1), e.Term)
		require.Zero(t, e.Lost)
		require.Equal(t, n.Name, e.Node)
	}
	require.Equal(t, etf.Atom("ok"), ask(t, s, etf.Tuple{etf.Atom("events"), int64(1)}))
	e := next(t, all)
	require.Equal(t, uint64(200-64), e.Lost)
	require.WithinDuration(t, time.Now(), e.Received, time.Minute)
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
	_, handle := events(t)
	s := attachEcho(t, n, handle)
	_, err := s.Request(deadline(t), echo, etf.Atom("crash"))
	require.EqualError(t, err, `agent: source echo on "`+n.Name+`" cannot be asked: failed`)
	read(t, s)
}

func TestNoSourcesWithoutAgent(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n,
		agent.Settings{Injection: agent.InjectionNever})
	_, err := s.Request(deadline(t), echo, etf.Atom("hello"))
	require.ErrorIs(t, err, agent.ErrNoAgent)
	name, err := s.Call(deadline(t), "erlang", "node")
	require.NoError(t, err)
	require.Equal(t, etf.Atom(n.Name), name)
}

// Whoever waits for an answer does not wait for a session that has ended.
func TestRequestEndsWithSession(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	_, handle := events(t)
	s := attachEcho(t, n, handle)
	answered := make(chan error, 1)
	go func() {
		_, err := s.Request(context.Background(), echo, etf.Tuple{etf.Atom("wait"), int64(900), int64(1)})
		answered <- err
	}()
	s.Sever()
	select {
	case err := <-answered:
		require.Error(t, err)
	case <-deadline(t).Done():
		t.Fatal("the request still waits")
	}
}
