package exporter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erlops/erlops/exporter/api"
	"github.com/erlops/erlops/exporter/live"
	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/snapshot"
)

func newLive(pages *metrics.Handler, logger *slog.Logger, r prometheus.Registerer) (*live.Hub, error) {
	return live.New(live.Options{Source: liveSource{pages}, Logger: logger, Registerer: r})
}

// liveSource reads nodes as scrapes do.
type liveSource struct{ pages *metrics.Handler }

func (s liveSource) Read(ctx context.Context, node string, collectors []string, age time.Duration) (live.Reading, bool) {
	asked := len(collectors)
	collectors = slices.DeleteFunc(slices.Clone(collectors), func(c string) bool { return c == live.Itself })
	if asked > 0 && len(collectors) == 0 {
		collectors = []string{snapshot.Memory} // none would mean all
	}
	read, ok := s.pages.Points(ctx, node, metrics.PointsRequest{Collectors: collectors, Fresh: age, AllNames: true})
	if !ok {
		return live.Reading{}, false
	}
	r := live.Reading{State: string(read.Node.State), Taken: read.Taken, Failed: read.Failed, Metrics: make([]live.Metric, 0, len(read.Points))}
	switch {
	case read.Node.State != metrics.StateUp:
		r.Error = read.Node.LastError
	case read.Reason != "":
		// What it said before is not what is so now.
		r.Error = "the node did not answer in time"
	}
	for _, p := range read.Points {
		m := live.Metric{Name: p.Name, Value: p.Value, Labels: make([]live.Label, len(p.Labels))}
		for i, l := range p.Labels {
			m.Labels[i] = live.Label(l)
			if l.Name == "name" {
				m.Entry = l.Value
			}
		}
		if origin, ok := read.Brought[p.Name]; ok {
			m.Collector = origin.Collector
			if m.Entry == "" {
				m.Entry = origin.Entry
			}
		}
		r.Metrics = append(r.Metrics, m)
	}
	return r, true
}

func (liveSource) Collector(metric string) (name string, expensive, ok bool) {
	f, ok := metrics.Find(metric)
	switch {
	case !ok:
		return "", false, false
	case f.Collector == "":
		return live.Itself, false, true
	}
	return f.Collector, liveSource{}.IsExpensive(f.Collector), true
}

func (liveSource) IsExpensive(collector string) bool {
	return collector == snapshot.Processes || collector == snapshot.Carriers
}

// liveBackend is the hub as the API sees it.
type liveBackend struct {
	hub     *live.Hub
	pages   *metrics.Handler
	session func(node string) (node.Session, error)
}

func (b liveBackend) Watch(ctx context.Context, node string, names []string, interval time.Duration) (api.LiveWatch, error) {
	w, err := b.hub.Watch(ctx, node, names, interval)
	if err != nil {
		return nil, liveError(err)
	}
	return liveWatch{w, node}, nil
}

func liveError(err error) error {
	if invalid, ok := errors.AsType[*live.InvalidError](err); ok {
		return &api.Error{
			Code: api.CodeInvalid, Message: "The metrics cannot be watched.", Err: err,
			Fields: []api.FieldError{{Parameter: "metrics", Detail: fmt.Sprintf("%d: %s", invalid.Index+1, invalid.Reason)}},
		}
	}
	switch {
	case errors.Is(err, live.ErrUnknown):
		return api.Errorf(api.CodeNotFound, "%w", err)
	case errors.Is(err, live.ErrFull):
		return api.Errorf(api.CodeUnavailable, "%w", err)
	}
	return err
}

type liveWatch struct {
	*live.Watch
	node string
}

// Next implements [api.LiveWatch].
func (w liveWatch) Next(ctx context.Context) *api.LiveMessage {
	e, skipped := w.Watch.Next(ctx)
	if e == nil {
		return nil
	}
	m := &api.LiveMessage{Event: e.Type, Data: e.Encoded(w.encode), Last: e.Type == live.End}
	if skipped > 0 {
		m.Skipped = encodeLive(api.LiveEvent{Type: api.LiveEventTypeSkipped, Node: w.node, Time: e.Time, Skipped: int32(min(skipped, math.MaxInt32))})
	}
	return m
}

func (w liveWatch) encode(e *live.Event) []byte {
	out := api.LiveEvent{
		Type: api.LiveEventType(e.Type), Node: w.node, Time: e.Time, State: api.State(e.State), Error: e.Error, Missing: e.Missing, Failed: e.Failed,
		Metrics: make([]api.LiveMetric, len(e.Metrics)),
	}
	for i := range e.Metrics {
		m := &e.Metrics[i]
		shown := &out.Metrics[i]
		shown.Name = m.Name
		if !math.IsNaN(m.Value) && !math.IsInf(m.Value, 0) {
			shown.Value = &m.Value
		}
		for _, l := range m.Labels {
			if shown.Labels == nil {
				shown.Labels = make(map[string]string, len(m.Labels))
			}
			shown.Labels[l.Name] = l.Value
		}
	}
	return encodeLive(out)
}

func encodeLive(e api.LiveEvent) []byte {
	data, err := json.Marshal(e)
	if err != nil { // texts, numbers and times: cannot happen
		panic(err)
	}
	return data
}
