//go:build e2e

package agent_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/internal/erltest"
)

// pagesOfPeer makes pages with prometheus.erl's collectors for the same
// families, without HTTP, and gives of one page: microseconds (median and
// 99 %), reductions, bytes, and microseconds of run time.
const pagesOfPeer = `
	ok = prometheus_registry:register_collectors(agent_bench, [
		prometheus_vm_memory_collector, prometheus_vm_statistics_collector,
		prometheus_vm_system_info_collector, prometheus_vm_msacc_collector,
		prometheus_vm_dist_collector, prometheus_mnesia_collector]),
	Page = fun() -> iolist_size(prometheus_text_format:format(agent_bench)) end,
	Page(),
	{Reductions, _} = statistics(reductions),
	{Runtime, _} = statistics(runtime),
	Times = lists:sort([element(1, timer:tc(Page)) || _ <- lists:seq(1, 300)]),
	{ReductionsThen, _} = statistics(reductions),
	{RuntimeThen, _} = statistics(runtime),
	[lists:nth(150, Times), lists:nth(297, Times), (ReductionsThen - Reductions) div 300, Page(),
		(RuntimeThen - Runtime) * 1000 div 300]`

// TestCheaperThanPrometheusErl compares what the same families cost a RabbitMQ
// node when the agent reads them and when prometheus.erl does.
func TestCheaperThanPrometheusErl(t *testing.T) {
	r := erltest.StartRabbitMQ(t, erltest.ServerOptions{Plugins: []string{"rabbitmq_prometheus"}})
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), r.Node,
		agent.Settings{MSAcc: agent.MSAccOn, Limits: unlimited})
	peer := numbers(t, r.Node, pagesOfPeer)
	ours := measure(t, r.Node, s, likePrometheusErl, 300)
	t.Logf("prometheus.erl: p50 %.0f us, p99 %.0f us, %.0f reductions, %.0f bytes, %.0f us of run time", peer[0], peer[1], peer[2], peer[3], peer[4])
	t.Logf("agent: %+v", ours)
	// The aims are a thirtieth, a twentieth and an eighth; the last depends on
	// what else the machine does.
	require.Less(t, ours.reductions*25, peer[2], "reductions")
	require.Less(t, ours.bytes*20, peer[3], "bytes")
	require.Less(t, ours.p50*2, time.Duration(peer[0])*time.Microsecond, "median round trip")
	require.Less(t, ours.memory, 16384.0, "memory of the agent")
}
