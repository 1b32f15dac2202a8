package node_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/snapshot"
)

// governed is a fleet with one node that has a budget of 1,000 reductions and
// 1,000 bytes a minute.
type governed struct {
	*fleet
	t *testing.T
}

func inGovernedBubble(t *testing.T, test func(t *testing.T, g governed), adjust ...func(*node.Options)) {
	t.Helper()
	inBubble(t, func(t *testing.T, f *fleet) {
		limited := groups("secret")
		g := limited[group]
		g.Settings.Limits = agent.Limits{Reductions: 1000, Bytes: 1000}
		limited[group] = g
		f.Apply(limited)
		f.discover(a)
		test(t, governed{f, t})
	}, adjust...)
}

// read makes a reading that costs so much, two seconds after the last one, and
// gives what was left out of it.
func (g governed) read(reductions uint64, size int) []string {
	g.t.Helper()
	g.after(2 * time.Second)
	s := g.live(a)[0]
	s.mu.Lock()
	s.reductions += reductions
	s.answer = func(context.Context, snapshot.Request) (*snapshot.Snapshot, error) {
		return &snapshot.Snapshot{Bytes: size}, nil
	}
	s.mu.Unlock()
	_, err := g.Snapshot(g.t.Context(), a, snapshot.Request{})
	require.NoError(g.t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.asked[len(s.asked)-1]
	if len(last.Without) > 0 {
		require.Contains(g.t, last.Reason, "budget of 1000 ")
	}
	return last.Without
}

// TestGovernor sheds in the documented order and recovers by itself.
func TestGovernor(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	inGovernedBubble(t, func(t *testing.T, g governed) {
		order := snapshot.ShedOrder()
		require.Empty(t, g.read(900, 10))
		require.Empty(t, g.read(90, 10), "all of the budget but 3")
		require.Empty(t, g.read(4, 10), "this one passes it")
		require.Equal(t, order[:1], g.read(90, 10))
		require.Equal(t, order[:1], g.read(10, 10), "and this one the first tenth on top")
		require.Equal(t, order[:2], g.read(0, 10))
		require.Contains(t, log.String(), "left_out=[allocators] of=reductions budget=1000 used=1001")
		require.NoError(t, testutil.GatherAndCompare(g.registry, strings.NewReader(`
# HELP erlang_exporter_governor_shedding Collectors that are left out now because the node has cost more than its budget.
# TYPE erlang_exporter_governor_shedding gauge
erlang_exporter_governor_shedding{node="a@h"} 2
# HELP erlang_exporter_governor_shed_total Times that a collector began to be left out because the node had cost more than its budget.
# TYPE erlang_exporter_governor_shed_total counter
erlang_exporter_governor_shed_total{node="a@h"} 2
# HELP erlang_exporter_governor_budget_used_ratio Part of the node's budget of a minute that readings have used in the present one.
# TYPE erlang_exporter_governor_budget_used_ratio gauge
erlang_exporter_governor_budget_used_ratio{node="a@h",resource="bytes"} 0.06
erlang_exporter_governor_budget_used_ratio{node="a@h",resource="reductions"} 1.101
`), "erlang_exporter_governor_shedding", "erlang_exporter_governor_shed_total", "erlang_exporter_governor_budget_used_ratio"))

		g.after(time.Minute)
		require.Equal(t, order[:2], g.read(600, 10), "that minute was a dear one")
		g.after(time.Minute)
		require.Equal(t, order[:2], g.read(400, 10), "and in the next one more than a half was used")
		g.after(time.Minute)
		require.Equal(t, order[:1], g.read(10, 10))
		g.after(time.Minute)
		require.Empty(t, g.read(10, 10))
		require.Contains(t, log.String(), "within its budget")

		require.Empty(t, g.read(0, 5000), "bytes count too")
		require.Equal(t, order, g.read(0, 10))
		g.after(3 * time.Minute)
		require.Equal(t, order, g.read(0, 10), "5000 bytes were more than half of three minutes' budget")
		g.after(3 * time.Minute)
		require.Equal(t, order[:len(order)-3], g.read(0, 10))
	}, func(o *node.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
}

// TestGovernorOutlivesSessions: a node that is attached again and again does
// not get a new budget with each session.
func TestGovernorOutlivesSessions(t *testing.T) {
	t.Parallel()
	inGovernedBubble(t, func(t *testing.T, g governed) {
		g.after(time.Minute)
		for range 3 {
			require.Empty(t, g.read(390, 10))
			g.live(a)[0].lose(errors.New("lost"))
			synctest.Wait()
			g.after(4 * time.Second)
		}
		require.Equal(t, snapshot.ShedOrder()[:2], g.read(0, 10))
	})
}
