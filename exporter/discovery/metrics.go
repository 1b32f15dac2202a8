package discovery

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Reasons for which a discovered target is not handed out.
const (
	reasonInvalid   = "invalid"
	reasonDuplicate = "duplicate"
)

// metrics are the manager's own; the mechanisms add the prometheus_sd_* of
// Prometheus.
type metrics struct {
	targets      *prometheus.GaugeVec
	skipped      *prometheus.GaugeVec
	updates      prometheus.Counter
	epmdFailures prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		targets: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "erlang_exporter_discovery_targets",
			Help: "Nodes in the current set of targets, by group and by the mechanism that found them.",
		}, []string{"group", "mechanism"}),
		skipped: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "erlang_exporter_discovery_skipped_targets",
			Help: "Discovered targets that are not in the current set, by reason: invalid (no possible node name or address) or duplicate (found before).",
		}, []string{"group", "reason"}),
		updates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "erlang_exporter_discovery_updates_total",
			Help: "Changed sets of targets handed out.",
		}),
		epmdFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "erlang_exporter_discovery_epmd_failures_total",
			Help: "Questions to an epmd for its names that failed.",
		}),
	}
	return m, errors.Join(reg.Register(m.targets), reg.Register(m.skipped), reg.Register(m.updates), reg.Register(m.epmdFailures))
}
