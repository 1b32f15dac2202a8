//go:build e2e

package exporter_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// TestLogsOfRabbitMQ provokes what RabbitMQ itself logs of a client, and a crash.
func TestLogsOfRabbitMQ(t *testing.T) {
	t.Parallel()
	for _, otp := range []string{"", "27"} {
		t.Run("OTP "+otp, func(t *testing.T) {
			t.Parallel()
			r := erltest.StartRabbitMQ(t, erltest.ServerOptions{OTP: otp})
			handlers := r.Eval(t, "lists:sort(logger:get_handler_ids())")
			p := watch(t, r.Node, "  level: error")
			c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.AMQPPort))
			require.NoError(t, err)
			defer c.Close()
			_, err = fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n")
			require.NoError(t, err)
			own := await(t, p, 1, query{"text": {"bad_header"}})[0]
			require.Equal(t, client.LogLevelError, own.Level)
			require.Equal(t, client.NotificationSourceLogger, own.Source)
			require.Contains(t, own.Message, "AMQP connection")
			require.Equal(t, "rabbitmq.connection", own.Metadata["domain"])
			require.Equal(t, "rabbit", own.Metadata["application"])

			requireCrash(t, p, r.Node, "background_gc", "background_gc_sup")
			p.Stop()
			require.Eventually(t, func() bool {
				return r.Eval(t, "lists:sort(logger:get_handler_ids())") == handlers
			}, 10*time.Second, 50*time.Millisecond)
		})
	}
}

// TestLogsOfEjabberd provokes what ejabberd itself logs of a module that fails,
// and a crash.
func TestLogsOfEjabberd(t *testing.T) {
	t.Parallel()
	e := erltest.StartEjabberd(t, erltest.ServerOptions{})
	p := watch(t, e.Node, "  level: error")
	e.Eval(t, `ejabberd_hooks:add(provoked, global, fun() -> error(provoked_crash) end, 50), ejabberd_hooks:run(provoked, [])`)
	own := await(t, p, 1, query{"text": {"provoked_crash"}})[0]
	require.Equal(t, client.LogLevelError, own.Level)
	require.Contains(t, own.Message, "Hook")
	require.Equal(t, "ejabberd_hooks", own.Metadata["mfa"][:len("ejabberd_hooks")])
	requireCrash(t, p, e.Node, "ejabberd_local", "ejabberd_sup")
}

// requireCrash kills a process of the node that a supervisor starts again, and
// holds that this is told once.
func requireCrash(t *testing.T, p *exportertest.Process, n *erltest.Node, process, supervisor string) {
	t.Helper()
	before := n.Eval(t, "whereis("+process+")")
	n.Eval(t, "exit(whereis("+process+"), kill)")
	report := await(t, p, 1, query{"text": {"child_terminated"}})[0]
	require.Equal(t, "supervisor_report", report.Event)
	require.Contains(t, report.Message, supervisor)
	require.Contains(t, report.Message, process)
	require.Equal(t, "otp.sasl", report.Metadata["domain"])
	awaitSample(t, p, n, `erlang_vm_supervisor_restarts_total{supervisor="`+supervisor+`"}`, 1)
	require.NotEqual(t, before, n.Eval(t, "whereis("+process+")"))
}
