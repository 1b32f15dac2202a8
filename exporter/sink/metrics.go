package sink

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are those of all queues.
type Metrics struct {
	forwarded, dropped, failures *prometheus.CounterVec
	entries, bytes               *prometheus.GaugeVec
	duration                     *prometheus.HistogramVec
}

// NewMetrics makes the metrics and registers them; r may be nil.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		forwarded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "erlang_exporter_log_lines_forwarded_total",
			Help: "Log entries and other notifications that a sink has taken.",
		}, []string{"node", "sink"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "erlang_exporter_log_lines_dropped_total",
			Help: "Log entries and other notifications that a sink did not get: queue_full, disk, refused by the receiver, or malformed.",
		}, []string{"node", "sink", "reason"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "erlang_exporter_push_errors_total",
			Help: "Attempts to deliver to a sink that failed, and are made again.",
		}, []string{"sink"}),
		entries: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "erlang_exporter_log_queue_entries",
			Help: "Entries that wait for a sink.",
		}, []string{"sink"}),
		bytes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "erlang_exporter_log_queue_bytes",
			Help: "Size of the entries that wait for a sink.",
		}, []string{"sink"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "erlang_exporter_log_send_duration_seconds",
			Help:    "Time to deliver a batch, or to fail to.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"sink"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.forwarded, m.dropped, m.failures, m.entries, m.bytes, m.duration} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("exporter/sink: register metrics: %w", err)
		}
	}
	return m, nil
}

// Failures counts the failed attempts to deliver to a sink, for those that have no
// Queue.
func (m *Metrics) Failures(sink string) prometheus.Counter { return m.failures.WithLabelValues(sink) }
