package metrics

import (
	"maps"
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// errorKey tells the errors of scrapes apart.
type errorKey struct {
	node, collector, reason string
}

// Reasons of scrape errors. wholeSnapshot stands for the collector where none
// was reached.
const (
	wholeSnapshot   = "snapshot"
	reasonNotUp     = "not_up"
	reasonTimeout   = "timeout"
	reasonSnapshot  = "snapshot_failed"
	reasonCollector = "collector_failed"
	reasonMetric    = "metric_failed"
)

// dropKey tells dropped series apart.
type dropKey struct {
	node, source string
}

// self keeps the handler's own metrics. What it counts by node it exposes only
// as long as the fleet knows the node.
type self struct {
	fleet    Fleet
	duration *prometheus.HistogramVec
	requests *prometheus.CounterVec
	inFlight *prometheus.GaugeVec

	errorsDesc, droppedDesc *prometheus.Desc

	mu      sync.Mutex
	errors  map[errorKey]float64
	dropped map[dropKey]float64
}

func newSelf(f Fleet) *self {
	handler := []string{"handler"}
	return &self{
		fleet: f,
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "erlang_exporter_scrape_request_duration_seconds",
			Help:                            "Time to answer a scrape.",
			Buckets:                         []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, handler),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "erlang_exporter_scrape_requests_total",
			Help: "Scrapes answered, by HTTP status code.",
		}, []string{"handler", "code"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "erlang_exporter_scrape_requests_in_flight",
			Help: "Scrapes that are being answered.",
		}, handler),
		errorsDesc: prometheus.NewDesc("erlang_exporter_scrape_errors_total",
			"Failed snapshots (collector=\"snapshot\") and collectors of a node.",
			[]string{"node", "collector", "reason"}, nil),
		droppedDesc: prometheus.NewDesc("erlang_exporter_series_dropped_total",
			"Series and table rows of a node that a limit kept off a page, by collector.",
			[]string{"node", "source"}, nil),
		errors:  make(map[errorKey]float64),
		dropped: make(map[dropKey]float64),
	}
}

// register registers all metrics, or none.
func (s *self) register(r prometheus.Registerer) error {
	collectors := []prometheus.Collector{s.duration, s.requests, s.inFlight, s}
	for i, c := range collectors {
		if err := r.Register(c); err != nil {
			for _, done := range collectors[:i] {
				r.Unregister(done)
			}
			return err
		}
	}
	return nil
}

// count adds the errors of a reading, and what the limits dropped of it.
func (s *self) count(r reading, dropped map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.reason != "" {
		s.errors[errorKey{r.node.Name, wholeSnapshot, r.reason}]++
	}
	if r.snapshot == nil {
		return
	}
	for _, c := range r.collectors {
		if c.Err != "" {
			s.errors[errorKey{r.node.Name, c.Name, reasonCollector}]++
		}
		if c.Failed > 0 {
			s.errors[errorKey{r.node.Name, c.Name, reasonMetric}] += float64(c.Failed)
		}
	}
	for source, n := range dropped {
		s.dropped[dropKey{r.node.Name, source}] += float64(n)
	}
}

// Describe implements prometheus.Collector.
func (s *self) Describe(ch chan<- *prometheus.Desc) {
	ch <- s.errorsDesc
	ch <- s.droppedDesc
}

// Collect implements prometheus.Collector. It forgets nodes that left the
// fleet.
func (s *self) Collect(ch chan<- prometheus.Metric) {
	known := make(map[string]bool)
	for _, n := range s.fleet.Nodes() {
		known[n.Name] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.errors, func(k errorKey, _ float64) bool { return !known[k.node] })
	maps.DeleteFunc(s.dropped, func(k dropKey, _ float64) bool { return !known[k.node] })
	for k, v := range s.errors {
		ch <- counter(s.errorsDesc, v, k.node, k.collector, k.reason)
	}
	for k, v := range s.dropped {
		ch <- counter(s.droppedDesc, v, k.node, k.source)
	}
}

// counter makes a metric of a node, whose name may be any string.
func counter(d *prometheus.Desc, v float64, node string, more ...string) prometheus.Metric {
	labels := append([]string{labelValue(node, math.MaxInt)}, more...)
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}
