package command_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/command"
	"github.com/erlops/erlops/exporter/etf"
)

// asked is a call of Fleet.Run.
type asked struct {
	node     string
	command  agent.Command
	timeout  time.Duration
	maxBytes int
}

// fleet answers from memory.
type fleet struct {
	nodes []command.Node
	// answer is asked for each node; without one all answer ok.
	answer func(ctx context.Context, node string) (agent.Term, error)
	mu     sync.Mutex
	asked  []asked
}

func (f *fleet) Nodes() []command.Node { return f.nodes }

func (f *fleet) Run(ctx context.Context, node string, c agent.Command, timeout time.Duration, maxBytes int) (agent.Term, error) {
	f.mu.Lock()
	f.asked = append(f.asked, asked{node, c, timeout, maxBytes})
	f.mu.Unlock()
	if f.answer == nil {
		return etf.Atom("ok"), nil
	}
	return f.answer(ctx, node)
}

func (f *fleet) ran() []asked {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// named are nodes of the family shop.
func named(names ...string) []command.Node {
	nodes := make([]command.Node, len(names))
	for i, name := range names {
		nodes[i] = command.Node{Name: name, Family: "shop"}
	}
	return nodes
}

func many(count int) []command.Node {
	nodes := make([]command.Node, count)
	for i := range nodes {
		nodes[i] = command.Node{Name: fmt.Sprintf("n%04d@h", i), Family: "shop"}
	}
	return nodes
}

var (
	shop = command.Request{Families: []string{"shop"}}
	boss = command.Who{User: "boss", Role: "admin"}
)

// stage is a Runner over a fleet, and what it writes.
type stage struct {
	*command.Runner
	fleet    *fleet
	audit    *bytes.Buffer
	registry *prometheus.Registry
}

func settings() command.Settings {
	return command.Settings{
		Enabled: true, Timeout: 10 * time.Second, MaxResult: 1 << 20,
		Allows: func(string, string, string, int) bool { return true },
	}
}

func newStage(t *testing.T, f *fleet, change func(*command.Settings)) *stage {
	t.Helper()
	s := &stage{fleet: f, audit: &bytes.Buffer{}, registry: prometheus.NewRegistry()}
	o := command.Options{
		Settings: settings(), Fleet: f, Audit: command.NewAudit(s.audit), Registerer: s.registry,
		Now: func() time.Time { return time.Date(2026, 7, 1, 12, 0, 0, 0, time.FixedZone("", 7200)) },
	}
	if change != nil {
		change(&o.Settings)
	}
	var err error
	s.Runner, err = command.New(o)
	require.NoError(t, err)
	return s
}

// lines are those of the audit log.
func (s *stage) lines(t *testing.T) []map[string]any {
	t.Helper()
	return linesOf(t, s.audit.String())
}

func linesOf(t *testing.T, text string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(text) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &fields), line)
		all = append(all, fields)
	}
	return all
}

func call(t *testing.T, text string) command.Command {
	t.Helper()
	c, err := command.Call(text, nil)
	require.NoError(t, err)
	return c
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ asked, want time.Duration }{
		"not said":      {0, 10 * time.Second},
		"shorter":       {300 * time.Millisecond, 300 * time.Millisecond},
		"the longest":   {10 * time.Second, 10 * time.Second},
		"too long":      {time.Hour, 10 * time.Second},
		"below nothing": {-time.Second, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, &fleet{nodes: named("a@h", "b@h")}, nil)
			state, err := command.Ready(command.NameProcessState, command.Parameters{Process: "init"})
			require.NoError(t, err)
			q := shop
			q.Command, q.Timeout = state, tt.asked
			_, err = s.Run(t.Context(), boss, q)
			require.NoError(t, err)
			require.Len(t, s.fleet.ran(), 2)
			for _, a := range s.fleet.ran() {
				require.Equal(t, tt.want, a.timeout)
				require.Equal(t, agent.ProcessStateCommand("init", tt.want), a.command, "sys:get_state has the same deadline")
			}
		})
	}
}

func TestBoundOfAnswers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ nodes, maxResult, want int }{
		"one node":            {1, 1 << 20, 1 << 20},
		"all are not too big": {16, 1 << 20, 1 << 20},
		"all share":           {64, 1 << 20, 256 << 10},
		"as many as may":      {1000, 1 << 20, (16 << 20) / 1000},
		"small results":       {1, 1 << 10, 1 << 10},
		"many small results":  {1000, 1 << 10, 1 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, &fleet{nodes: many(tt.nodes)}, func(s *command.Settings) { s.MaxResult = tt.maxResult })
			q := shop
			q.Command = call(t, "erlang:nodes()")
			_, err := s.Run(t.Context(), boss, q)
			require.NoError(t, err)
			require.Len(t, s.fleet.ran(), tt.nodes)
			for _, a := range s.fleet.ran() {
				require.Equal(t, tt.want, a.maxBytes)
			}
		})
	}
}

// TestPartialFailure has one node for each way of ending.
func TestPartialFailure(t *testing.T) {
	t.Parallel()
	ends := map[string]struct {
		err     error
		outcome command.Outcome
	}{
		"a@h": {nil, command.OK},
		"b@h": {&agent.RaisedError{Class: "error", Reason: etf.Atom("badarg"), Place: "lists:seq"}, command.Raised},
		"c@h": {fmt.Errorf("x: %w", agent.ErrCommandTime), command.TimedOut},
		"d@h": {fmt.Errorf("x: %w", &agent.TooLargeError{Bytes: 9, Limit: 8}), command.TooLarge},
		"e@h": {agent.ErrCommandHeap, command.Killed},
		"f@h": {agent.ErrCommandBusy, command.Busy},
		"g@h": {fmt.Errorf("x: %w", context.Canceled), command.GivenUp},
		"h@h": {context.DeadlineExceeded, command.GivenUp},
		"i@h": {errors.New("the connection was lost"), command.Unavailable},
		"j@h": {agent.ErrNoAgent, command.Unavailable},
	}
	f := &fleet{answer: func(_ context.Context, node string) (agent.Term, error) { return etf.Atom("fine"), ends[node].err }}
	// In no order, and of another family too.
	for name := range ends {
		f.nodes = append(f.nodes, command.Node{Name: name, Family: "shop"})
	}
	f.nodes = append(f.nodes, command.Node{Name: "other@h", Family: "other"})
	s := newStage(t, f, nil)
	q := shop
	q.Nodes, q.Command = []string{"b@h", "a@h", "b@h"}, call(t, "lists:seq(1, 0)")
	results, err := s.Run(t.Context(), boss, q)
	require.NoError(t, err)
	require.Len(t, results, len(ends))
	require.Len(t, f.ran(), len(ends), "each node once, however often it is named")
	last := ""
	for _, r := range results {
		require.Less(t, last, r.Node, "in the order of their names")
		last = r.Node
		end := ends[r.Node]
		require.Equal(t, end.outcome, r.Outcome, r.Node)
		if end.err == nil {
			require.Equal(t, etf.Atom("fine"), r.Value)
			require.Empty(t, r.Error)
			continue
		}
		require.Nil(t, r.Value)
		require.Equal(t, end.err.Error(), r.Error)
	}
	counted, err := testutil.GatherAndCount(s.registry, "erlang_exporter_commands_total")
	require.NoError(t, err)
	require.Equal(t, 10, counted, "one series for each node")
	families, err := s.registry.Gather()
	require.NoError(t, err)
	for _, m := range families[0].GetMetric() {
		l := m.GetLabel() // in the order of their names
		require.Equal(t, "call", l[0].GetValue())
		require.Equal(t, string(ends[l[1].GetValue()].outcome), l[2].GetValue(), l[1].GetValue())
	}
	f.nodes = f.nodes[:1]
	counted, err = testutil.GatherAndCount(s.registry, "erlang_exporter_commands_total")
	require.NoError(t, err)
	require.Equal(t, 1, counted, "those of nodes that are not known any more are forgotten")
}

// TestNodesAreAskedAtOnce: each waits for all others.
func TestNodesAreAskedAtOnce(t *testing.T) {
	t.Parallel()
	var together sync.WaitGroup
	together.Add(50)
	s := newStage(t, &fleet{nodes: many(50), answer: func(context.Context, string) (agent.Term, error) {
		together.Done()
		together.Wait()
		return etf.Atom("ok"), nil
	}}, nil)
	q := shop
	q.Command = call(t, "erlang:node()")
	results, err := s.Run(t.Context(), boss, q)
	require.NoError(t, err)
	require.Len(t, results, 50)
}

func TestTargets(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		nodes, families []string
		want            string
		unknown         bool
	}{
		"nothing":        {want: "name at least one node or family"},
		"unknown node":   {nodes: []string{"n0000@h", "typo@h"}, want: `no node "typo@h" is known`, unknown: true},
		"unknown family": {families: []string{"shop", "typo"}, want: `no node belongs to a family "typo"`, unknown: true},
		"no family":      {families: []string{""}, want: `no node belongs to a family ""`, unknown: true},
		"too many":       {families: []string{"shop"}, want: "these are 1001 nodes, and 1000 at most can be asked at once"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, &fleet{nodes: many(1001)}, nil)
			_, err := s.Run(t.Context(), boss, command.Request{Command: call(t, "erlang:node()"), Nodes: tt.nodes, Families: tt.families})
			target, ok := errors.AsType[*command.TargetError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, tt.want, target.Message)
			require.Equal(t, tt.unknown, target.Unknown)
			require.Empty(t, s.fleet.ran())
			require.Empty(t, s.audit.String())
		})
	}
}

// TestAsManyAsMay: the one that is too much runs nowhere, and others when there
// is a place again.
func TestAsManyAsMay(t *testing.T) {
	t.Parallel()
	begun, end := make(chan struct{}), make(chan struct{})
	s := newStage(t, &fleet{nodes: named("a@h"), answer: func(context.Context, string) (agent.Term, error) {
		begun <- struct{}{}
		<-end
		return etf.Atom("ok"), nil
	}}, nil)
	q := shop
	q.Command = call(t, "timer:sleep(1)")
	var running sync.WaitGroup
	for range 16 {
		running.Go(func() {
			if _, err := s.Run(t.Context(), boss, q); err != nil {
				t.Error(err)
			}
		})
		<-begun
	}
	_, err := s.Run(t.Context(), boss, q)
	require.ErrorIs(t, err, command.ErrBusy)
	require.Len(t, s.fleet.ran(), 16)
	close(end)
	running.Wait()
	running.Go(func() { <-begun })
	_, err = s.Run(t.Context(), boss, q)
	require.NoError(t, err)
	running.Wait()
}

// TestNobodyWaits: what ends with the request's context is given up everywhere.
func TestNobodyWaits(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var begun sync.WaitGroup
	begun.Add(3)
	s := newStage(t, &fleet{nodes: many(3), answer: func(ctx context.Context, _ string) (agent.Term, error) {
		begun.Done()
		<-ctx.Done()
		return nil, fmt.Errorf("given up: %w", ctx.Err())
	}}, nil)
	q := shop
	q.Command = call(t, "timer:sleep(infinity)")
	go func() {
		begun.Wait()
		cancel()
	}()
	results, err := s.Run(ctx, boss, q)
	require.NoError(t, err)
	for _, r := range results {
		require.Equal(t, command.GivenUp, r.Outcome)
	}
	require.Equal(t, 3, strings.Count(s.audit.String(), `"outcome":"given_up"`))
}

func TestReloadOfSettings(t *testing.T) {
	t.Parallel()
	s := newStage(t, &fleet{nodes: named("a@h")}, func(s *command.Settings) { s.Enabled = false })
	q := shop
	q.Command = call(t, "erlang:node()")
	_, err := s.Run(t.Context(), boss, q)
	require.ErrorIs(t, err, command.ErrOff)
	require.Empty(t, s.audit.String())
	changed := settings()
	changed.Timeout = time.Second
	s.Apply(changed)
	_, err = s.Run(t.Context(), boss, q)
	require.NoError(t, err)
	require.Equal(t, time.Second, s.fleet.ran()[0].timeout)
	s.Apply(command.Settings{Enabled: true, Timeout: time.Second, MaxResult: 1 << 10})
	_, err = s.Run(t.Context(), boss, q)
	_, denied := errors.AsType[*command.DeniedError](err)
	require.True(t, denied, "without a list nothing is allowed: %v", err)
}

func TestWrongOptions(t *testing.T) {
	t.Parallel()
	_, err := command.New(command.Options{Fleet: &fleet{}})
	require.ErrorContains(t, err, "Options.Fleet and Options.Audit are required")
	o := command.Options{Fleet: &fleet{}, Audit: command.NewAudit(&bytes.Buffer{}), Registerer: prometheus.NewRegistry()}
	_, err = command.New(o)
	require.NoError(t, err)
	_, err = command.New(o)
	require.ErrorContains(t, err, "command: duplicate metrics collector")
}
