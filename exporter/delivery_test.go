package exporter_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/exportertest"
)

// TestDelivery: either the exporter posts alerts, or rules of Prometheus are told to
// make them.
func TestDelivery(t *testing.T) {
	t.Parallel()
	const address = "alertmanager: {targets: [{url: 'http://127.0.0.1:1'}]}\n"
	for name, tt := range map[string]struct{ config, rules string }{
		"no Alertmanager": {"", "1"},
		"rules":           {"alarms: {delivery: rules}\n", "1"},
		"an Alertmanager": {address, "0"},
		"push":            {address + "alarms: {delivery: push}\n", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := exportertest.Start(t, exportertest.Options{Config: "cookie: x\n" + tt.config})
			require.Contains(t, p.Get("/metrics").Body, "\nerlang_exporter_alarm_delivery_by_rules "+tt.rules+"\n")
		})
	}
}
