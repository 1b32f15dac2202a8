package alarm

import (
	"cmp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// ActiveMetric is the name of the metric that Prometheus rules alert on.
const ActiveMetric = "erlang_exporter_alarm_active"

// metrics are what the manager tells Prometheus.
type metrics struct {
	manager *Manager

	raised, cleared                  *prometheus.CounterVec
	refused, forgotten, saveFailures prometheus.Counter

	active, count, dropped *prometheus.Desc
}

func newMetrics(m *Manager) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	c := &metrics{
		manager: m,
		raised: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "erlang_exporter_alarms_raised_total", Help: "Alarms raised, by source and by the severity that they began with.",
		}, []string{"source", "severity"}),
		cleared: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "erlang_exporter_alarms_cleared_total", Help: "Alarms cleared, by source.",
		}, []string{"source"}),
		refused: counter("erlang_exporter_alarms_dropped_total",
			"Reports of alarms that were dropped because too many alarms are active."),
		forgotten: counter("erlang_exporter_alarms_history_dropped_total",
			"Cleared alarms that never got into history because the database failed for too long."),
		saveFailures: counter("erlang_exporter_alarms_save_failures_total", "Attempts to save alarms that failed."),
		active: prometheus.NewDesc(ActiveMetric, "Active alarms; the value is always 1.",
			[]string{"alarm", "node", "family", "severity", "state", "source", "key"}, nil),
		count: prometheus.NewDesc("erlang_exporter_alarms", "Number of active alarms, all of them.",
			[]string{"severity", "state"}, nil),
		dropped: prometheus.NewDesc("erlang_exporter_alarm_series_dropped",
			"Active alarms that "+ActiveMetric+" leaves out, the least severe and newest first, to stay within its limit.", nil, nil),
	}
	// From 0 on: a counter that begins at 1 never increased.
	for _, source := range Sources() {
		c.cleared.WithLabelValues(string(source))
		for _, severity := range Severities() {
			c.raised.WithLabelValues(string(source), string(severity))
		}
	}
	return c
}

func (c *metrics) counters() []prometheus.Collector {
	return []prometheus.Collector{c.raised, c.cleared, c.refused, c.forgotten, c.saveFailures}
}

// Describe implements [prometheus.Collector].
func (c *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.active
	ch <- c.count
	ch <- c.dropped
	for _, counter := range c.counters() {
		counter.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (c *metrics) Collect(ch chan<- prometheus.Metric) {
	for _, counter := range c.counters() {
		counter.Collect(ch)
	}
	var all []*Alarm
	c.manager.Each(func(a *Alarm) { all = append(all, a) })
	c.manager.mu.Lock()
	limit := c.manager.limits.Series
	c.manager.mu.Unlock()
	type group struct{ severity, state string }
	counts := map[group]int{}
	for _, severity := range Severities() {
		for _, state := range []State{StateNew, StateAcknowledged} {
			counts[group{string(severity), string(state)}] = 0
		}
	}
	for _, a := range all {
		counts[group{string(a.Severity), string(a.State)}]++
	}
	for g, n := range counts {
		ch <- prometheus.MustNewConstMetric(c.count, prometheus.GaugeValue, float64(n), g.severity, g.state)
	}
	over := max(0, len(all)-limit)
	if over > 0 {
		slices.SortFunc(all, func(a, b *Alarm) int {
			return cmp.Or(b.Severity.Rank()-a.Severity.Rank(), a.Raised.Compare(b.Raised), strings.Compare(a.ID, b.ID))
		})
		all = all[:limit]
	}
	for _, a := range all {
		ch <- prometheus.MustNewConstMetric(c.active, prometheus.GaugeValue, 1,
			a.Name, a.Node.Name, a.Node.Family, string(a.Severity), string(a.State), string(a.Source), a.Instance)
	}
	ch <- prometheus.MustNewConstMetric(c.dropped, prometheus.GaugeValue, float64(over))
}
