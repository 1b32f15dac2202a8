package metrics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/erlops/erlops/exporter/snapshot"
)

// Probe serves the metrics of one node, named by the parameter target. A node
// that is not up, or does not answer in time, gives a page with erlang_up 0.
// The parameter collect[] selects collectors; debug=true gives the log of the
// probe and the node's settings besides the metrics, as text.
func (h *Handler) Probe() http.Handler {
	return h.scrape("probe", h.probe)
}

func (h *Handler) probe(w http.ResponseWriter, r *http.Request) {
	settings := h.settings.Load()
	query := r.URL.Query()
	targets := query["target"]
	if len(targets) != 1 || targets[0] == "" {
		refuse(w, errors.New("the parameter target must name one node, as in /probe?target=rabbit@host"))
		return
	}
	node, ok := h.fleet.Node(targets[0])
	if !ok {
		http.Error(w, fmt.Sprintf("There is no node %.300q here.", targets[0]), http.StatusNotFound)
		return
	}
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
	leave, ok := h.places.take(node.Name)
	if !ok {
		h.refuseTarget(w, node.Name)
		return
	}
	defer leave()

	debug := query.Get("debug") == "true"
	var record bytes.Buffer
	log := h.logger
	if debug {
		log = slog.New(newTee(h.logger.Handler(), &record))
	}
	log = log.With("node", node.Name)
	form := h.negotiate(r.Header, query, settings)
	form.openMetrics = form.openMetrics && !debug
	p, ok := h.probePage(r.Context(), log, form, node, snapshot.Request{Collectors: names}, timeout)
	defer p.release()
	if !ok {
		refusePage(w)
		return
	}
	if debug {
		writeDebug(w, &record, p, node)
		return
	}
	form.write(w, r, p)
}

// probePage reads a node within timeout and makes the page of it, which is to be
// released; false when there is no place for that.
func (h *Handler) probePage(
	ctx context.Context, log *slog.Logger, form answer, node Node, request snapshot.Request, timeout time.Duration,
) (*page, bool) {
	start := h.now()
	deadline := time.Now().Add(timeout)
	log.Debug("probe begins", "state", node.State, "timeout", timeout, "collectors", request.Collectors)
	reading, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	got := h.read(reading, log, node, request)

	p := form.page()
	n := p.node()
	ok := h.places.makePage(ctx, deadline.Add(answerTime), func() { n.reading(got) })
	h.self.count(got, n.dropped)
	for _, c := range slices.Sorted(maps.Keys(n.dropped)) {
		log.Warn("series dropped by a limit", "collector", c, "series", n.dropped[c], "limits", p.limits)
	}
	log.Debug("probe ends", "up", got.snapshot != nil, "duration", h.now().Sub(start), "families", p.families())
	return p, ok
}

// writeDebug writes the log of a probe, its metrics and the node's settings.
func writeDebug(w http.ResponseWriter, record *bytes.Buffer, p *page, node Node) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	var out bytes.Buffer
	out.WriteString("Log of the probe:\n\n")
	out.Write(record.Bytes())
	out.WriteString("\nMetrics:\n\n")
	out.Write(p.bytes())
	fmt.Fprintf(&out, "\nSettings of %s:\n\n", node.Name)
	for _, k := range slices.Sorted(maps.Keys(node.Settings)) {
		fmt.Fprintf(&out, "%s: %s\n", k, node.Settings[k])
	}
	_, _ = w.Write(out.Bytes()) // the reader may have gone
}
