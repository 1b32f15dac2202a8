//go:build e2e

package metrics_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/internal/erltest"
)

// TestSameAsRabbitMQ compares our page with that of RabbitMQ's own prometheus
// plugin, which uses prometheus.erl, on the same node.
func TestSameAsRabbitMQ(t *testing.T) {
	t.Parallel()
	const rounds = 10
	rabbit := erltest.StartRabbitMQ(t, erltest.ServerOptions{Plugins: []string{"rabbitmq_prometheus"}})
	session := attach(t, rabbit.Node, agent.Settings{AllocatorsPerInstance: true, MSAcc: agent.MSAccOn})
	h := newHandler(t, metrics.Options{Fleet: attached(rabbit.Node, session)})

	theirs, ours := []pageOf{pluginPage(t, rabbit)}, []pageOf{}
	requireWhole(t, theirs[0])
	for range rounds {
		ours = append(ours, parse(t, get(h.Probe(), "/probe?target="+rabbit.Name).Body.String()))
		theirs = append(theirs, pluginPage(t, rabbit))
	}
	// The plugin's page is made by a process of its own, into a port (ram_file).
	extra := map[string]float64{"erlang_vm_process_count{}": 1, "erlang_vm_port_count{}": 1}
	require.Empty(t, compare(theirs, ours, extra))
}

// requireWhole holds the plugin to showing what there is to compare.
func requireWhole(t *testing.T, page pageOf) {
	t.Helper()
	for _, name := range []string{
		"erlang_vm_memory_bytes_total", "erlang_vm_statistics_reductions_total", "erlang_vm_process_count",
		"erlang_vm_allocators", "erlang_vm_msacc_sleep_seconds_total", "erlang_vm_dist_node_state",
		"erlang_mnesia_held_locks", "erlang_mnesia_tablewise_size",
	} {
		require.Contains(t, page, name)
	}
}

func pluginPage(t *testing.T, rabbit *erltest.RabbitMQ) pageOf {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	answer, err := client.Get(rabbit.MetricsURL)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode, string(body))
	return parse(t, string(body))
}

// TestOneScrapeHasAll: all that RabbitMQ keeps in its own prometheus.erl is on our
// page: each family of the plugin's page by name and type, and each series of it.
func TestOneScrapeHasAll(t *testing.T) {
	t.Parallel()
	rabbit := erltest.StartRabbitMQ(t, erltest.ServerOptions{Plugins: []string{"rabbitmq_prometheus"}})
	require.Equal(t, `{ok,"4.9.1"}`, rabbit.Eval(t, "application:get_key(prometheus, vsn)"))
	rabbit.Eval(t, `Queue = rabbit_misc:r(<<"/">>, queue, <<"orders">>), {new, _} = rabbit_amqqueue:declare(Queue, true, false, [], none, <<"test">>),
		[rabbit_basic:publish(rabbit_misc:r(<<"/">>, exchange, <<>>), <<"orders">>, [], <<"x">>) || _ <- lists:seq(1, 7)], ok`)
	session := attach(t, rabbit.Node, agent.Settings{MSAcc: agent.MSAccOn})
	h := newHandler(t, metrics.Options{Fleet: attached(rabbit.Node, session)})
	// Its metrics are kept for a quarter of a minute.
	require.Eventually(t, func() bool {
		return strings.Contains(get(h.Probe(), "/probe?target="+rabbit.Name).Body.String(), "\nrabbitmq_queue_messages 7\n")
	}, 90*time.Second, 200*time.Millisecond)
	theirs := pluginPage(t, rabbit)
	ours := parse(t, get(h.Probe(), "/probe?target="+rabbit.Name).Body.String())
	require.Greater(t, len(theirs), 200, "there is something to compare")
	for name, family := range theirs {
		if strings.HasPrefix(name, "erlang_") {
			continue // TestSameAsRabbitMQ
		}
		require.Contains(t, ours, name)
		require.Equal(t, family.GetType(), ours[name].GetType(), name)
		have := bySeries(ours[name])
		for series := range bySeries(family) {
			require.Contains(t, have, series)
		}
	}
	for _, line := range []string{"rabbitmq_queue_messages{}", "rabbitmq_queues{}", "rabbitmq_connections{}"} {
		name, _, _ := strings.Cut(line, "{")
		require.InDelta(t, bySeries(theirs[name])[line], bySeries(ours[name])[line], 0, line)
	}
}
