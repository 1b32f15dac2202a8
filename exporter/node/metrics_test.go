package node_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/store"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		f.info[a] = agent.NodeInfo{ScriptName: "riak"}
		f.fail(b, unreachable())
		f.discover(a, b)
		f.after(time.Minute)
		f.live(a)[0].lose(wrongCookie())
		require.NoError(t, f.Add(t.Context(), store.Registration{Name: "c@h", Family: "shop"}))
		synctest.Wait()
		require.NoError(t, testutil.GatherAndCompare(f.registry, strings.NewReader(`
# HELP erlang_exporter_nodes Nodes in each state.
# TYPE erlang_exporter_nodes gauge
erlang_exporter_nodes{state="pending"} 0
erlang_exporter_nodes{state="connecting"} 0
erlang_exporter_nodes{state="up"} 2
erlang_exporter_nodes{state="down"} 1
erlang_exporter_nodes{state="refused"} 0
erlang_exporter_nodes{state="suspended"} 0
# HELP erlang_exporter_discovered_nodes Nodes that discovery found or that were registered, by family; empty as long as it is not known.
# TYPE erlang_exporter_discovered_nodes gauge
erlang_exporter_discovered_nodes{family="b"} 1
erlang_exporter_discovered_nodes{family="riak"} 1
erlang_exporter_discovered_nodes{family="shop"} 1
# HELP erlang_exporter_node_reconnects_total Times that the node was attached again since the exporter knows it.
# TYPE erlang_exporter_node_reconnects_total counter
erlang_exporter_node_reconnects_total{node="a@h"} 1
erlang_exporter_node_reconnects_total{node="b@h"} 0
erlang_exporter_node_reconnects_total{node="c@h"} 0
# HELP erlang_exporter_attach_failures_total Failed attempts to attach a node, by the kind of error.
# TYPE erlang_exporter_attach_failures_total counter
erlang_exporter_attach_failures_total{reason="refused"} 6
# HELP erlang_exporter_events_dropped_total Events that a subscriber was too slow to take.
# TYPE erlang_exporter_events_dropped_total counter
erlang_exporter_events_dropped_total 0
`), "erlang_exporter_nodes", "erlang_exporter_discovered_nodes", "erlang_exporter_node_reconnects_total",
			"erlang_exporter_attach_failures_total", "erlang_exporter_events_dropped_total"))

		waiting, err := testutil.GatherAndCount(f.registry, "erlang_exporter_node_next_attempt_timestamp_seconds")
		require.NoError(t, err)
		require.Equal(t, 1, waiting, "b is down, and the others are not waited for")

		problems, err := testutil.GatherAndLint(f.registry)
		require.NoError(t, err)
		require.Empty(t, problems)
	}, func(o *node.Options) { o.Random = func() float64 { return 0 } }) // how often b is tried
}

func TestFamiliesAreBounded(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		for i := range 300 {
			name := fmt.Sprintf("n%d@h", i)
			require.NoError(t, f.Add(t.Context(), store.Registration{Name: name, Family: name}))
		}
		n, err := testutil.GatherAndCount(f.registry, "erlang_exporter_discovered_nodes")
		require.NoError(t, err)
		require.Equal(t, 201, n)
	})
}
