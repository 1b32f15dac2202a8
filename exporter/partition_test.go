package exporter_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// TestPartitionAlarm: two nodes of three lose each other while the exporter and
// the third are connected to both; that is an alarm of each, until they find
// each other again.
func TestPartitionAlarm(t *testing.T) {
	t.Parallel()
	epmd := erltest.StartEPMD(t)
	var nodes [3]*erltest.Node
	for i := range nodes {
		nodes[i] = erltest.Start(t, erltest.Options{EPMD: epmd, Cookie: "split", Args: []string{
			"-kernel", "prevent_overlapping_partitions", "false", "-kernel", "dist_auto_connect", "never", "-connect_all", "false",
		}})
		for _, other := range nodes[:i] {
			require.Equal(t, "true", nodes[i].Eval(t, "net_kernel:connect_node('"+other.Name+"')"))
		}
	}
	a, b := nodes[0], nodes[1]
	p := exportertest.Start(t, exportertest.Options{
		Config: fmt.Sprintf(`
cookie_file: cookie
epmd: %q
alarms: {rules: {partition_suspected: {critical: {for: 1s, clear_for: 1s}}}}
targets: [{name: t, family: shop, static_configs: [{targets: [%q, %q, %q]}]}]
`, epmd.Address(), a.Name, b.Name, nodes[2].Name),
		Files: map[string]string{"cookie": a.Cookie},
	})
	for _, n := range nodes {
		p.AwaitUp(n.Name, 30*time.Second)
	}
	requireLinks(t, p, "the links are seen from both ends", func(links []client.GraphLink) bool {
		seen := 0
		for _, l := range links {
			if l.Status == "connected" && len(l.SeenBy) == 2 {
				seen++
			}
		}
		return seen == 3
	})
	require.Equal(t, "true", a.Eval(t, "erlang:disconnect_node('"+b.Name+"')"))
	for _, x := range awaitPartitions(t, p, 2) {
		require.Contains(t, x.Description, a.Name)
		require.Contains(t, x.Description, b.Name)
	}
	require.Equal(t, "true", a.Eval(t, "net_kernel:connect_node('"+b.Name+"')"))
	awaitPartitions(t, p, 0)
}

// requireLinks waits until the graph is as wanted.
func requireLinks(t *testing.T, p *exportertest.Process, what string, wanted func([]client.GraphLink) bool) {
	t.Helper()
	var g client.Graph
	require.Eventually(t, func() bool {
		g = client.Graph{}
		return json.Unmarshal([]byte(p.Get("/api/v1/graph").Body), &g) == nil && wanted(g.Links)
	}, 2*time.Minute, 100*time.Millisecond, what)
}

// awaitPartitions waits until so many nodes have the alarm of a partition, and
// returns them.
func awaitPartitions(t *testing.T, p *exportertest.Process, count int) []client.Alarm {
	t.Helper()
	var active []client.Alarm
	require.Eventually(t, func() bool {
		page := p.Get("/api/v1/alarms?name=partition_suspected")
		var l client.AlarmList
		if page.Status != http.StatusOK || json.Unmarshal([]byte(page.Body), &l) != nil {
			return false
		}
		active = l.Alarms
		return len(active) == count
	}, 2*time.Minute, 100*time.Millisecond, "not %d alarms", count)
	return active
}
