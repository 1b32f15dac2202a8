package metrics_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/metrics"
)

func TestRabbitMQIdentity(t *testing.T) {
	t.Parallel()
	f := serving(load(t, recordedFile), "a@h", "b@h")
	f.nodes[0].Family, f.nodes[1].Family = "shop", ""
	h := newHandler(t, metrics.Options{Fleet: f, Settings: metrics.Settings{RabbitMQIdentity: true}})

	page := get(h.Probe(), "/probe?target=a@h").Body.String()
	require.Contains(t, page, `rabbitmq_identity_info{rabbitmq_node="a@h",rabbitmq_cluster="shop",rabbitmq_endpoint="aggregated"} 1`+"\n")
	require.Contains(t, get(h.Probe(), "/probe?target=b@h").Body.String(), `rabbitmq_identity_info{rabbitmq_node="b@h",rabbitmq_cluster="b@h",rabbitmq_endpoint="aggregated"} 1`+"\n")
	families := parse(t, page)
	for alias, of := range map[string]string{
		"rabbitmq_process_resident_memory_bytes": "process_resident_memory_bytes",
		"erlang_vm_ets_tables":                   "erlang_vm_memory_ets_tables",
		"erlang_vm_dets_tables":                  "erlang_vm_memory_dets_tables",
	} {
		require.Equal(t, families[of].GetMetric()[0].GetGauge().GetValue(), families[alias].GetMetric()[0].GetGauge().GetValue(), alias)
	}
	require.NotContains(t, get(h.Nodes(), "/metrics/nodes").Body.String(), "rabbitmq_identity_info",
		"the dashboards' join is ambiguous where nodes share an instance")

	require.NoError(t, h.Apply(metrics.Settings{}))
	require.NotContains(t, get(h.Probe(), "/probe?target=a@h").Body.String(), "rabbitmq_")
}
