package agent_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// TestNoSampleOnTheWire: of a histogram of 100,000 values neither readings nor
// questions about its bins bring more than what is made of them.
func TestNoSampleOnTheWire(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "folsom")
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, `{ok, _} = application:ensure_all_started(folsom), folsom_metrics:new_histogram(wide, none, 100000),
		[folsom_metrics:notify({wide, I * 1000003}) || I <- lists:seq(1, 100000)], 100000 = length(folsom_metrics:get_metric_value(wide)), ok`)
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	var c snapshot.Collector
	require.Eventually(t, func() bool {
		all, err := s.Snapshot(deadline(t), snapshot.Request{Collectors: []string{snapshot.Folsom}})
		require.NoError(t, err)
		require.Less(t, all.Bytes, 2000)
		c = collector(t, all, snapshot.Folsom)
		return len(c.Families) > 0
	}, patience, patience/100)
	require.InDelta(t, 50_000*1000003, lines(c)[`folsom_wide{quantile="0.5"}`], 1000003)

	before, err := s.Snapshot(deadline(t), snapshot.Request{Collectors: []string{snapshot.Distribution}})
	require.NoError(t, err)
	bins, err := agent.Bins(deadline(t), s, snapshot.Folsom, "wide")
	require.NoError(t, err)
	after, err := s.Snapshot(deadline(t), snapshot.Request{Collectors: []string{snapshot.Distribution}})
	require.NoError(t, err)
	values := int64(0)
	for i, b := range bins {
		values += b.Count
		require.True(t, i == 0 || b.UpTo > bins[i-1].UpTo, "in ascending order")
	}
	require.EqualValues(t, 100_000, values)
	require.InDelta(t, 100_000*1000003, bins[len(bins)-1].UpTo, 100_000*1000003/5)
	sent := func(s *snapshot.Snapshot) float64 {
		return column(t, table(t, s, "dist_peer"), "send_bytes")["erl_exporter@localhost"]
	}
	require.Positive(t, sent(before))
	require.Less(t, sent(after)-sent(before), 50_000.0)
}

// TestBinsOfExometer: it has percentiles only.
func TestBinsOfExometer(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, exometer+`, register(exometer_admin, spawn(fun() -> receive never -> ok end end)), ok`)
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	bins, err := agent.Bins(deadline(t), s, snapshot.Exometer, "[app,hist]")
	require.NoError(t, err)
	require.Equal(t, []agent.Bin{{5, 23}, {7, 11}, {8, 7}, {9, 2}, {9, 2}, {9, 0}, {9, 0}}, bins, "45 values")
	for _, name := range []string{"[app,gauge]", "[app,none]", "app"} {
		_, err = agent.Bins(deadline(t), s, snapshot.Exometer, name)
		require.ErrorIs(t, err, agent.ErrNoHistogram, name)
	}
	_, err = agent.Bins(deadline(t), s, snapshot.Folsom, "latency")
	require.ErrorIs(t, err, agent.ErrNoHistogram)
	require.ErrorContains(t, err, "not_running")
}
