package metrics

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/erlops/erlops/exporter/snapshot"
)

// Nodes serves the metrics of all nodes on one page, told apart by the label
// node. It is meant for small fleets: a page of each node's own (Probe with
// SD) gives each node its own timeout, and scales.
func (h *Handler) Nodes() http.Handler {
	return h.scrape("nodes", h.nodes)
}

func (h *Handler) nodes(w http.ResponseWriter, r *http.Request) {
	settings := h.settings.Load()
	query := r.URL.Query()
	names, err := h.selected(query)
	if err != nil {
		refuse(w, err)
		return
	}
	timeout, err := scrapeTimeout(r, settings.Timeout)
	if err != nil {
		refuse(w, err)
		return
	}
	leave, ok := h.places.take(allNodes)
	if !ok {
		h.refuseTarget(w, r.URL.Path)
		return
	}
	defer leave()

	deadline := time.Now().Add(timeout)
	readings := h.readAll(r.Context(), timeout, snapshot.Request{Collectors: names})
	form := h.negotiate(r.Header, query, settings)
	p := form.page()
	defer p.release()
	ok = h.places.makePage(r.Context(), deadline.Add(answerTime), func() {
		for _, got := range readings {
			n := p.oneOf(got.node.Name)
			n.reading(got)
			h.self.count(got, n.dropped)
		}
	})
	if !ok {
		refusePage(w)
		return
	}
	form.write(w, r, p)
}

// readAll reads all nodes, in the order of their names, within timeout. Nodes
// that do not answer hold their places among the parallel ones; so that the
// others still get theirs, each round of places has its share of the time.
func (h *Handler) readAll(ctx context.Context, timeout time.Duration, request snapshot.Request) []reading {
	nodes := h.fleet.Nodes()
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	rounds := (len(nodes) + h.parallel - 1) / h.parallel
	share := timeout / time.Duration(max(rounds, 1))

	readings := make([]reading, len(nodes))
	var group errgroup.Group
	group.SetLimit(h.parallel)
	for i, node := range nodes {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, share)
			defer cancel()
			readings[i] = h.read(ctx, h.logger.With("node", node.Name), node, request)
			return nil
		})
	}
	_ = group.Wait() // readings carry the errors
	return readings
}
