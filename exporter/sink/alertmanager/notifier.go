package alertmanager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

// Defaults of Options.
const (
	defaultInterval = time.Minute
	defaultTimeout  = 10 * time.Second
	defaultSilence  = time.Hour
)

// Repeats is how often at least an alert is posted within what it was promised
// to last: so one Alertmanager may miss some posts without a false resolution.
const Repeats = 4

// Endpoint is one Alertmanager.
type Endpoint struct {
	// URL is that of the Alertmanager, with its path prefix, without /api/v2.
	URL *url.URL
	// Client authenticates and has the TLS settings; http.DefaultClient when
	// nil.
	Client *http.Client
	// Timeout is for one request (10 s).
	Timeout time.Duration
}

// Options of a Notifier. Endpoints and Source are required.
type Options struct {
	Endpoints []Endpoint
	Source    Source
	// Interval is how often alerts are posted again (1 min); they last for
	// Repeats+1 times as long.
	Interval time.Duration
	// Silences says whether silences are kept as alerts want them, SilenceFor
	// for how long one is set; it is renewed when half of that is over (1 h).
	Silences   bool
	SilenceFor time.Duration
	// Owner marks silences as those of this exporter.
	Owner string
	// Logger is slog.Default() when nil.
	Logger *slog.Logger
	// Metrics may be nil.
	Metrics *Metrics
	// Now is the clock of what is posted (time.Now).
	Now func() time.Time
}

// Notifier keeps Alertmanagers informed.
type Notifier struct {
	options  Options
	trackers []*tracker
}

// New makes a Notifier. Nothing is sent before Run.
func New(o Options) (*Notifier, error) {
	switch {
	case o.Source == nil:
		return nil, errors.New("exporter/sink/alertmanager: Options.Source is missing")
	case len(o.Endpoints) == 0:
		return nil, errors.New("exporter/sink/alertmanager: Options.Endpoints is empty")
	}
	if o.Interval == 0 {
		o.Interval = defaultInterval
	}
	if o.SilenceFor == 0 {
		o.SilenceFor = defaultSilence
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Metrics == nil {
		o.Metrics, _ = NewMetrics(nil) // without a registerer nothing fails
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	n := &Notifier{options: o}
	for _, e := range o.Endpoints {
		if e.URL == nil {
			return nil, errors.New("exporter/sink/alertmanager: Endpoint.URL is missing")
		}
		if e.Timeout == 0 {
			e.Timeout = defaultTimeout
		}
		n.trackers = append(n.trackers, newTracker(e, &n.options))
	}
	return n, nil
}

// Run informs the Alertmanagers until ctx is done, and returns nil. It resolves
// nothing when it ends: an exporter that is started anew goes on.
func (n *Notifier) Run(ctx context.Context) error {
	ended := n.options.Source.Ended(n.options.Now().Add(-n.lease()))
	group, ctx := errgroup.WithContext(ctx)
	for _, t := range n.trackers {
		for _, a := range ended {
			t.resolve(a, n.options.Now())
		}
		group.Go(func() error {
			t.run(ctx)
			return nil
		})
	}
	return group.Wait()
}

func (n *Notifier) lease() time.Duration { return n.options.lease() }

// lease is how long what was posted holds.
func (o *Options) lease() time.Duration { return (Repeats + 1) * o.Interval }

// Metrics are those of all Alertmanagers.
type Metrics struct {
	up, active, waiting, lastSuccess *prometheus.GaugeVec
	posts, alerts, silences          *prometheus.CounterVec
	duration                         *prometheus.HistogramVec
}

// NewMetrics makes the metrics and registers them; r may be nil.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"alertmanager"})
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"alertmanager"}, labels...))
	}
	m := &Metrics{
		up:          gauge("erlang_exporter_alertmanager_up", "Whether the last request to an Alertmanager was successful."),
		active:      gauge("erlang_exporter_alertmanager_alerts", "Alerts that an Alertmanager has been told are firing."),
		waiting:     gauge("erlang_exporter_alertmanager_waiting", "Alerts that an Alertmanager is still to be told of: new, changed or resolved ones."),
		lastSuccess: gauge("erlang_exporter_alertmanager_last_success_timestamp_seconds", "When a request to an Alertmanager was last successful, in seconds since 1970."),
		posts:       counter("erlang_exporter_alertmanager_requests_total", "Requests to an Alertmanager, by HTTP status; error stands for no answer.", "code"),
		alerts:      counter("erlang_exporter_alertmanager_alerts_total", "Alerts posted, by outcome: accepted, refused (400), failed (posted again).", "outcome"),
		silences:    counter("erlang_exporter_alertmanager_silences_total", "Silences changed, by what was done: set, renewed, removed.", "action"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "erlang_exporter_alertmanager_request_duration_seconds",
			Help:    "Time for an Alertmanager to answer, or to fail to.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"alertmanager"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.up, m.active, m.waiting, m.lastSuccess, m.posts, m.alerts, m.silences, m.duration} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("exporter/sink/alertmanager: register metrics: %w", err)
		}
	}
	return m, nil
}

// forget drops the series of an Alertmanager that is not configured any more.
func (m *Metrics) forget(name string) {
	labels := prometheus.Labels{"alertmanager": name}
	for _, g := range []*prometheus.GaugeVec{m.up, m.active, m.waiting, m.lastSuccess} {
		g.DeletePartialMatch(labels)
	}
	for _, c := range []*prometheus.CounterVec{m.posts, m.alerts, m.silences} {
		c.DeletePartialMatch(labels)
	}
	m.duration.DeletePartialMatch(labels)
}
