package node

import (
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxFamilies bounds the series of erlang_exporter_discovered_nodes; the
	// nodes of all further families are counted as otherFamilies.
	maxFamilies   = 200
	otherFamilies = "_other"
)

var (
	nodesDesc = prometheus.NewDesc("erlang_exporter_nodes",
		"Nodes in each state.", []string{"state"}, nil)
	familiesDesc = prometheus.NewDesc("erlang_exporter_discovered_nodes",
		"Nodes that discovery found or that were registered, by family; empty as long as it is not known.", []string{"family"}, nil)
	reconnectsDesc = prometheus.NewDesc("erlang_exporter_node_reconnects_total",
		"Times that the node was attached again since the exporter knows it.", []string{"node"}, nil)
	nextAttemptDesc = prometheus.NewDesc("erlang_exporter_node_next_attempt_timestamp_seconds",
		"When a node that could not be attached is tried again, in seconds since 1970; only while it is waited for.", []string{"node"}, nil)
	sheddingDesc = prometheus.NewDesc("erlang_exporter_governor_shedding",
		"Collectors that are left out now because the node has cost more than its budget.", []string{"node"}, nil)
	shedDesc = prometheus.NewDesc("erlang_exporter_governor_shed_total",
		"Times that a collector began to be left out because the node had cost more than its budget.", []string{"node"}, nil)
	budgetDesc = prometheus.NewDesc("erlang_exporter_governor_budget_used_ratio",
		"Part of the node's budget of a minute that readings have used in the present one.", []string{"node", "resource"}, nil)
)

// metrics are what is counted as it happens; the rest is read from the fleet
// when it is asked for.
type metrics struct {
	attachSeconds prometheus.Histogram
	failures      *prometheus.CounterVec
	dropped       prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		attachSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "erlang_exporter_attach_duration_seconds",
			Help:    "Time of attempts to attach a node, successful or not.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20},

			NativeHistogramBucketFactor:    1.1,
			NativeHistogramMaxBucketNumber: 100,
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "erlang_exporter_attach_failures_total",
			Help: "Failed attempts to attach a node, by the kind of error.",
		}, []string{"reason"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "erlang_exporter_events_dropped_total",
			Help: "Events that a subscriber was too slow to take.",
		}),
	}
}

// collector is the prometheus.Collector of a fleet.
type collector struct{ *Fleet }

func (f collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{nodesDesc, familiesDesc, reconnectsDesc, nextAttemptDesc, sheddingDesc, shedDesc, budgetDesc} {
		ch <- d
	}
	f.env.metrics.each(func(c prometheus.Collector) { c.Describe(ch) })
}

func (f collector) Collect(ch chan<- prometheus.Metric) {
	states, families := map[State]int{}, map[string]int{}
	for _, a := range f.list() {
		a.mu.Lock()
		c := a.condition
		a.mu.Unlock()
		states[c.state]++
		if _, ok := families[c.family]; !ok && len(families) >= maxFamilies {
			c.family = otherFamilies
		}
		families[c.family]++
		ch <- prometheus.MustNewConstMetric(reconnectsDesc, prometheus.CounterValue, float64(c.reconnects()), a.name)
		if at := c.nextAttempt; !at.IsZero() {
			ch <- prometheus.MustNewConstMetric(nextAttemptDesc, prometheus.GaugeValue, float64(at.UnixMilli())/1000, a.name)
		}
		a.governor.collect(ch, a.name)
	}
	for _, s := range States() {
		ch <- prometheus.MustNewConstMetric(nodesDesc, prometheus.GaugeValue, float64(states[s]), string(s))
	}
	for family, n := range families {
		ch <- prometheus.MustNewConstMetric(familiesDesc, prometheus.GaugeValue, float64(n), family)
	}
	f.env.metrics.each(func(c prometheus.Collector) { c.Collect(ch) })
}

func (m *metrics) each(do func(prometheus.Collector)) {
	for _, c := range []prometheus.Collector{m.attachSeconds, m.failures, m.dropped} {
		do(c)
	}
}
