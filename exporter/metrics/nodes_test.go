package metrics_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/exporter/snapshot"
)

func TestNodesPage(t *testing.T) {
	f := serving(oneTable, "b@h", "a@h")
	f.nodes = append(f.nodes, metrics.Node{Name: "c@h", State: metrics.StateSuspended})
	w := get(newHandler(t, metrics.Options{Fleet: f}).Nodes(), "/metrics/nodes")
	require.Equal(t, http.StatusOK, w.Code)
	page := w.Body.String()
	parse(t, page)
	require.Contains(t, page, `
erlang_up{node="a@h",family="demo"} 1
erlang_up{node="b@h",family="demo"} 1
erlang_up{node="c@h"} 0
`)
	require.Contains(t, page, `
erlang_vm_memory_ets_tables{node="a@h"} 17
erlang_vm_memory_ets_tables{node="b@h"} 17
`)
	require.Contains(t, page, `erlang_exporter_node_state{node="c@h",state="suspended"} 1`)
}

func TestNodesPageWithoutNodes(t *testing.T) {
	w := get(newHandler(t, metrics.Options{Fleet: &fleet{}}).Nodes(), "/metrics/nodes")
	require.Equal(t, http.StatusOK, w.Code)
	require.Empty(t, w.Body.String())
}

func TestNodesPageRefusals(t *testing.T) {
	h := newHandler(t, metrics.Options{Fleet: &fleet{}})
	require.Equal(t, http.StatusBadRequest, get(h.Nodes(), "/metrics/nodes?collect[]=x").Code)
	require.Equal(t, http.StatusBadRequest,
		get(h.Nodes(), "/metrics/nodes", "X-Prometheus-Scrape-Timeout-Seconds", "NaN").Code)
}

// Nodes that do not answer take all places more than once, and yet the others
// are read before the deadline.
func TestSlowNodesCostOnlyThemselves(t *testing.T) {
	var names []string
	for i := range 12 {
		names = append(names, fmt.Sprintf("n%02d@h", i))
	}
	f := serving(nil, names...)
	f.snapshot = func(ctx context.Context, node string, _ snapshot.Request) (*snapshot.Snapshot, error) {
		if node < "n07" {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return oneTable, nil
	}
	h := newHandler(t, metrics.Options{Fleet: f, Parallel: 3, Settings: metrics.Settings{Timeout: 400 * time.Millisecond}})
	start := time.Now()
	page := get(h.Nodes(), "/metrics/nodes").Body.String()
	require.Less(t, time.Since(start), time.Second)
	require.Equal(t, 7, strings.Count(page, `,family="demo"} 0`))
	require.Equal(t, 5, strings.Count(page, `,family="demo"} 1`))
}
