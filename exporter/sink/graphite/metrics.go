package graphite

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Reasons why points are dropped, and stages that fail, as the metrics have them.
const (
	reasonFull     = "buffer_full"
	reasonTooLong  = "too_long"
	reasonNoNumber = "no_number"

	stageConnect = "connect"
	stageIdle    = "idle"
	stageWrite   = "write"
	stageConfirm = "confirm"
)

// stageError says what failed.
type stageError struct {
	stage string
	err   error
}

func (e *stageError) Error() string { return e.stage + ": " + e.err.Error() }
func (e *stageError) Unwrap() error { return e.err }

// metrics are those of a Pusher.
type metrics struct {
	sent, resent, skipped prometheus.Counter
	dropped, failures     *prometheus.CounterVec
	pushErrors            prometheus.Counter
	up                    prometheus.Gauge
	duration              prometheus.Histogram

	away, full condition
}

func newMetrics(r prometheus.Registerer, b *buffer, now func() time.Time, pushErrors prometheus.Counter) (*metrics, error) {
	m := &metrics{
		pushErrors: pushErrors,
		away: condition{
			bad:  func(log *slog.Logger, err error) { log.Warn("Graphite does not take points; they wait", "err", err) },
			good: func(log *slog.Logger) { log.Info("Graphite takes points again") },
		},
		full: condition{
			bad:  func(log *slog.Logger, err error) { log.Warn("points are dropped, the oldest first", "err", err) },
			good: func(log *slog.Logger) { log.Info("all points find room again") },
		},
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "erlang_exporter_graphite_" + name, Help: help})
	}
	vector := func(name, label, help string, values ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "erlang_exporter_graphite_" + name, Help: help}, []string{label})
		for _, value := range values {
			v.WithLabelValues(value)
		}
		return v
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "erlang_exporter_graphite_" + name, Help: help}, value)
	}
	m.sent = counter("points_sent_total", "Points that Graphite has read.")
	m.resent = counter("points_resent_total", "Points that were sent once more because Graphite had gone.")
	m.skipped = counter("intervals_skipped_total", "Intervals in which nothing was read because the one before took too long.")
	m.dropped = vector("points_dropped_total", "reason", "Points that were not sent.", reasonFull, reasonTooLong, reasonNoNumber)
	m.failures = vector("failures_total", "stage", "Failures to deliver points.", stageConnect, stageIdle, stageWrite, stageConfirm)
	m.up = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "erlang_exporter_graphite_up", Help: "1 when Graphite has read what was sent last, else 0.",
	})
	m.duration = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "erlang_exporter_graphite_send_duration_seconds", Help: "Time until Graphite has read up to a megabyte.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	})
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.sent, m.resent, m.skipped, m.dropped, m.failures, m.up, m.duration,
		gauge("buffer_points", "Points that wait.", func() float64 { points, _, _ := b.waiting(); return float64(points) }),
		gauge("buffer_bytes", "Size of the points that wait.", func() float64 { _, bytes, _ := b.waiting(); return float64(bytes) }),
		gauge("lag_seconds", "Age of the oldest point that waits.", func() float64 {
			_, _, oldest := b.waiting()
			if oldest.IsZero() {
				return 0
			}
			return max(0, now().Sub(oldest).Seconds())
		}),
	} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("exporter/sink/graphite: register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) arrived(first, again int, took time.Duration, log *slog.Logger) {
	m.sent.Add(float64(first))
	m.resent.Add(float64(again))
	m.duration.Observe(took.Seconds())
	m.up.Set(1)
	m.away.set(nil, log)
	m.full.set(nil, log)
}

func (m *metrics) failed(err error, log *slog.Logger) {
	stage := stageConnect
	if failed, ok := errors.AsType[*stageError](err); ok {
		stage = failed.stage
	}
	m.failures.WithLabelValues(stage).Inc()
	if stage == stageIdle {
		return // which is not yet a failure to deliver anything
	}
	if m.pushErrors != nil {
		m.pushErrors.Inc()
	}
	m.up.Set(0)
	m.away.set(err, log)
}

// condition is good or bad, and is logged only when it changes.
type condition struct {
	bad  func(log *slog.Logger, err error)
	good func(log *slog.Logger)

	mu    sync.Mutex
	isBad bool
}

func (c *condition) set(err error, log *slog.Logger) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil && !c.isBad:
		c.bad(log, err)
	case err == nil && c.isBad:
		c.good(log)
	}
	c.isBad = err != nil
}
