//go:build e2e

package sink_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/logs"
	"github.com/erlops/erlops/exporter/sink"
	"github.com/erlops/erlops/internal/erltest"
)

// TestRsyslog has a real rsyslogd read every entry once, in order, with all that
// belongs to it, over each transport, and again after rsyslogd was away.
func TestRsyslog(t *testing.T) {
	t.Parallel()
	certificate, key := erltest.Certificate(t)
	for _, network := range []string{"udp", "tcp", "tls"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			receiver := erltest.StartRsyslog(t, network, certificate, key)
			sender := newSyslog(t, receiver.Address, func(o *sink.SyslogOptions) {
				o.Facility = "local3"
				o.TLS = erltest.Trusting(certificate)
			})
			f := start(t, nil, func(o *sink.Options) { o.Sender = sender })
			got := func(count int) (all []erltest.RsyslogMessage) {
				t.Helper()
				require.Eventually(t, func() bool {
					var err error
					all, err = receiver.Messages()
					return err == nil && len(all) >= count
				}, 30*time.Second, 20*time.Millisecond)
				require.Len(t, all, count)
				for i, m := range all {
					require.Equal(t, "\ufeff"+entries(i, i+1)[0].Message, m.Message)
				}
				return all
			}
			odd := entries(0, 1)[0]
			odd.Event = logs.EventCrashReport
			odd.Fields = append(odd.Fields, logs.Field{Name: "reason", Value: `a "quoted" \ [größe]`})
			f.Add([]logs.Entry{odd})
			for i := 1; i < 100; i++ {
				f.Add(entries(i, i+1))
			}
			first := got(100)[0]
			require.Equal(t, map[string]map[string]string{"erlang@32473": {
				"node": "a@h", "family": "shop", "site": "lab", "event": "crash_report", "pid": "<0.1.0>",
				"reason": `a "quoted" \ [größe]`,
			}}, first.More.Data)
			require.Equal(t, erltest.RsyslogMessage{
				Message: "\ufeffentry 0", Time: "2023-11-14T22:13:20.000000Z", Host: "h", App: "a", ID: "logger", Priority: "155",
				More: first.More,
			}, first)
			if network == "udp" {
				return // what is sent while nobody listens is lost
			}

			receiver.Stop()
			f.Add(entries(100, 200))
			require.Eventually(t, func() bool {
				return f.sum(t, "erlang_exporter_push_errors_total") > 2
			}, 20*time.Second, time.Millisecond)
			receiver.Start()
			got(200)
			f.Add(entries(200, 300))
			got(300)
		})
	}
}

// TestRsyslogIsNotTrusted has a certificate that nobody knows.
func TestRsyslogIsNotTrusted(t *testing.T) {
	t.Parallel()
	certificate, key := erltest.Certificate(t)
	receiver := erltest.StartRsyslog(t, "tls", certificate, key)
	err := newSyslog(t, receiver.Address, nil).Send(t.Context(), entries(0, 1))
	require.ErrorContains(t, err, "certificate signed by unknown authority")
	all, err := receiver.Messages()
	require.NoError(t, err)
	require.Empty(t, all)
}
