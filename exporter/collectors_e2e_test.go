//go:build e2e

package exporter_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// TestCollectorOfRabbitMQ runs the example of docs/configuration.md on a real
// RabbitMQ: what is there is what is tried.
func TestCollectorOfRabbitMQ(t *testing.T) {
	t.Parallel()
	rabbit := erltest.StartRabbitMQ(t, erltest.ServerOptions{Config: "collect_statistics = coarse\n"})
	rabbit.Eval(t, `[begin
			{new, _} = rabbit_amqqueue:declare(rabbit_misc:r(<<"/">>, queue, Name), true, false, [], none, <<"test">>),
			[rabbit_basic:publish(rabbit_misc:r(<<"/">>, exchange, <<>>), Name, [], <<"x">>) || _ <- lists:seq(1, N)]
		end || {Name, N} <- [{<<"orders">>, 7}, {<<"mails">>, 3}]], ok`)
	p := exportertest.Start(t, exportertest.Options{
		Config: fmt.Sprintf("cookie_file: cookie\ntargets: [{name: rabbit, epmd: %q, static_configs: [{targets: [%q]}]}]\n%s", rabbit.EPMD, rabbit.Name, documentedCollector(t)),
		Files:  map[string]string{"cookie": rabbit.Cookie},
	})
	p.AwaitUp(rabbit.Name, time.Minute)
	wanted := []string{
		`rabbitmq_queues_total_messages_ready{vhost="/"} 10`, `rabbitmq_queues_total_messages_unacked{vhost="/"} 0`,
		`rabbitmq_queues{vhost="/"} 2`, `rabbitmq_longest_queue_messages 7`,
		`erlang_exporter_scrape_success{collector="custom:rabbitmq_queues"} 1`,
	}
	var body string
	require.Eventually(t, func() bool {
		body = p.Probe(rabbit.Name, 10*time.Second).Body
		for _, line := range wanted {
			if !strings.Contains(body, "\n"+line+"\n") {
				return false
			}
		}
		return true
	}, 90*time.Second, 500*time.Millisecond, "%v", &body)
}

// documentedCollector is the example that the documentation has.
func documentedCollector(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/configuration.md")
	require.NoError(t, err)
	_, after, found := strings.Cut(string(text), "The totals of RabbitMQ's queues, without asking a single queue:\n\n```yaml\n")
	require.True(t, found)
	example, _, found := strings.Cut(after, "```")
	require.True(t, found)
	require.Contains(t, example, "queue_coarse_metrics")
	return example
}
