package live

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// hubMetrics are those of a Hub.
type hubMetrics struct {
	readings, skipped, refused prometheus.Counter
}

func newHubMetrics(r prometheus.Registerer, h *Hub) (*hubMetrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "erlang_exporter_live_" + name, Help: help})
	}
	m := &hubMetrics{
		readings: counter("readings_total", "Readings of nodes that somebody watches live."),
		skipped:  counter("events_skipped_total", "Readings that a watcher did not take in time."),
		refused:  counter("watchers_refused_total", "Watchers that were refused because there are too many."),
	}
	if r == nil {
		return m, nil
	}
	gauge := func(name, help string, value func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "erlang_exporter_live_" + name, Help: help}, func() float64 {
			h.mu.Lock()
			defer h.mu.Unlock()
			return float64(value())
		})
	}
	for _, c := range []prometheus.Collector{
		m.readings, m.skipped, m.refused,
		gauge("watchers", "Watchers at the moment.", func() int { return h.watchers }),
		gauge("nodes", "Nodes that are read because somebody watches them.", func() int { return len(h.nodes) }),
	} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("exporter/live: register metrics: %w", err)
		}
	}
	return m, nil
}
