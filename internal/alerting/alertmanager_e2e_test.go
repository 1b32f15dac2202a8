//go:build e2e

package alerting

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// TestAlarmReachesAlertmanager follows one alarm of a node's alarm_handler
// through its life, over restarts of both sides.
func TestAlarmReachesAlertmanager(t *testing.T) {
	t.Parallel()
	for _, version := range erltest.AlertmanagerVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			am := erltest.StartAlertmanager(t, version, "")
			n := erltest.Start(t, erltest.Options{})
			n.Eval(t, "{ok, _} = application:ensure_all_started(sasl), ok")
			text := config(t, fmt.Sprintf("alertmanager: {repeat: 10s, silence_on_ack: true, targets: [{url: %q}]}\n", am.URL), n)
			p := exportertest.Start(t, exportertest.Options{Config: text})
			p.AwaitUp(n.Name, patience)
			awaitNotified(t, am, "ErlExporterAlive", 1)

			n.Eval(t, `alarm_handler:set_alarm({{disk_almost_full, "/data"}, "a \"quote\""})`)
			got := awaitNotified(t, am, "disk_almost_full", 1)
			require.Equal(t, "firing", got.Status)
			require.Equal(t, map[string]string{
				"alertname": "disk_almost_full", "node": n.Name, "family": "shop", "severity": "major",
				"source": "sasl", "key": "/data", "site": "berlin",
			}, got.Labels)
			for _, name := range []string{"summary", "description", "probable_cause", "repair_action", "state", "alarm_id"} {
				require.NotEmpty(t, got.Annotations[name], name)
			}
			require.True(t, got.EndsAt.IsZero())
			id := awaitAlarm(t, p, "disk_almost_full").ID

			// Repeated, and started anew on both sides: nothing is notified twice.
			n.Eval(t, `alarm_handler:set_alarm({{disk_almost_full, "/data"}, "a \"quote\""})`)
			p = restart(t, p, text)
			p.AwaitUp(n.Name, patience)
			awaitAlarm(t, p, "disk_almost_full")
			am.Stop()
			am.Start()
			require.Eventually(t, func() bool { return firing(t, am, "disk_almost_full") }, patience, 50*time.Millisecond,
				"Alertmanager was started anew and does not learn what is active")
			require.Len(t, am.Webhook.Notifications("disk_almost_full"), 1)

			// Acknowledged: silent, by whom and why, over a restart too.
			act(t, p, id, "acknowledge", "ordered a disk")
			require.Eventually(t, func() bool { return len(silences(t, am)) == 1 }, patience, 20*time.Millisecond)
			s := silences(t, am)[0]
			require.Equal(t, "jane (ops)", s.CreatedBy)
			require.Contains(t, s.Comment, "ordered a disk")
			p = restart(t, p, text)
			p.AwaitUp(n.Name, patience)
			a := awaitAlarm(t, p, "disk_almost_full")
			require.Equal(t, "acknowledged", a.State)
			require.Equal(t, "jane (ops)", a.AcknowledgedBy)
			require.Len(t, silences(t, am), 1, "the silence from before is found again")
			act(t, p, id, "unacknowledge", "not mine")
			require.Eventually(t, func() bool { return len(silences(t, am)) == 0 }, patience, 20*time.Millisecond)

			// Another severity: the old alert ends, the new one begins.
			before := len(am.Webhook.Notifications("disk_almost_full"))
			p.Write("erl-exporter.yml", text+"alarms: {sasl: {severities: [{match: disk*, severity: critical}]}}\n")
			p.Post("/-/reload", token)
			n.Eval(t, `alarm_handler:set_alarm({{disk_almost_full, "/data"}, "a \"quote\""})`)
			awaitNotified(t, am, "disk_almost_full", before+2)
			severities := map[string]string{}
			for _, x := range am.Webhook.Notifications("disk_almost_full")[before:] {
				severities[x.Labels["severity"]] = x.Status
			}
			require.Equal(t, map[string]string{"major": "resolved", "critical": "firing"}, severities)

			// Over.
			before = len(am.Webhook.Notifications("disk_almost_full"))
			n.Eval(t, `alarm_handler:clear_alarm({disk_almost_full, "/data"})`)
			got = awaitNotified(t, am, "disk_almost_full", before+1)
			require.Equal(t, "resolved", got.Status)
			require.Equal(t, "critical", got.Labels["severity"])
			awaitNone(t, p, "disk_almost_full")
			require.Contains(t, p.Get("/api/v1/alarms/history?name=disk_almost_full").Body, "ordered a disk")
			require.Equal(t, 1.0, p.Sample(fmt.Sprintf("erlang_exporter_alertmanager_up{alertmanager=%q}", am.URL)))
		})
	}
}

// TestSilenceIsRenewed while the alarm is acknowledged, and removed when that is
// lifted.
func TestSilenceIsRenewed(t *testing.T) {
	t.Parallel()
	am := erltest.StartAlertmanager(t, "0.31", "")
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, "{ok, _} = application:ensure_all_started(sasl), alarm_handler:set_alarm({hot, []})")
	p := exportertest.Start(t, exportertest.Options{Config: config(t, fmt.Sprintf(
		"alertmanager: {repeat: 10m, silence_on_ack: true, silence_for: 1m, targets: [{url: %q}]}\n", am.URL), n)})
	p.AwaitUp(n.Name, patience)
	act(t, p, awaitAlarm(t, p, "hot").ID, "acknowledge", "mine")
	require.Eventually(t, func() bool { return len(silences(t, am)) == 1 }, patience, 50*time.Millisecond)
	first := silences(t, am)[0]
	require.WithinDuration(t, time.Now().Add(time.Minute), first.EndsAt, 30*time.Second)
	require.Eventually(t, func() bool {
		all := silences(t, am)
		return len(all) == 1 && all[0].EndsAt.After(first.EndsAt)
	}, time.Minute, 100*time.Millisecond, "it is not renewed before it ends")
	act(t, p, awaitAlarm(t, p, "hot").ID, "unacknowledge", "not mine")
	require.Eventually(t, func() bool { return len(silences(t, am)) == 0 }, patience, 50*time.Millisecond)
}

// restart ends the exporter and starts another one on its database.
func restart(t *testing.T, p *exportertest.Process, text string) *exportertest.Process {
	t.Helper()
	p.Stop()
	return exportertest.Start(t, exportertest.Options{Config: text})
}
