package exporter

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/api"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/snapshot"
)

// Histogram implements [api.Live].
func (b liveBackend) Histogram(ctx context.Context, name, metric string) (api.NodeHistogram, error) {
	session, err := b.session(name)
	switch {
	case errors.Is(err, node.ErrUnknown):
		return api.NodeHistogram{}, api.Errorf(api.CodeNotFound, "node %q is not known", name)
	case err != nil:
		return api.NodeHistogram{}, api.Errorf(api.CodeUnavailable, "%w", err)
	}
	library, entry, _ := strings.Cut(metric, ":")
	bins, err := agent.Bins(ctx, session, library, entry)
	switch {
	case errors.Is(err, agent.ErrNoHistogram):
		return api.NodeHistogram{}, api.Errorf(api.CodeNotFound, "node %q has no histogram %q: it must be a histogram or a duration by its own name, of a library that runs there", name, metric)
	case err != nil:
		return api.NodeHistogram{}, api.Errorf(api.CodeUnavailable, "%w", err)
	}
	h := api.NodeHistogram{
		Node: name, Metric: metric, Time: time.Now().UTC(), Estimated: library == snapshot.Exometer, Bins: make([]api.HistogramBin, len(bins)),
	}
	for i, bin := range bins {
		h.Bins[i] = api.HistogramBin{UpTo: bin.UpTo, Count: bin.Count}
		h.Values += bin.Count
	}
	return h, nil
}
