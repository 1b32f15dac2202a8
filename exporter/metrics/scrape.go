package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/erlops/erlops/exporter/snapshot"
)

// scrapeTimeoutHeader is how Prometheus says how many seconds it waits.
const scrapeTimeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"

// maxAge is how old the last snapshot of a node may be to stand in for one that
// does not come in time.
const maxAge = time.Minute

// answerTime is left of Prometheus's time for writing and sending the page.
const answerTime = 500 * time.Millisecond

// reading is what came of asking a node.
type reading struct {
	node Node
	// snapshot is nil when the node did not answer; reason then says why, as
	// a label value.
	snapshot *snapshot.Snapshot
	reason   string
	// age is that of the snapshot.
	age time.Duration
	// collectors are those of the snapshot that the catalogue knows, each
	// once: their names become label values.
	collectors []snapshot.Collector
}

// read asks a node for a snapshot, unless the fleet says that it is not up.
func (h *Handler) read(ctx context.Context, log *slog.Logger, node Node, r snapshot.Request) reading {
	if node.State != StateUp {
		log.Debug("node is not asked", "state", node.State, "last_error", node.LastError)
		return reading{node: node, reason: reasonNotUp}
	}
	r.Stale = maxAge
	s, err := h.fleet.Snapshot(ctx, node.Name, r)
	switch {
	case err == nil:
		logSnapshot(ctx, log, s)
		got := reading{node: node, snapshot: s, collectors: h.known(s)}
		if !s.Taken.IsZero() {
			got.age = max(0, h.now().Sub(s.Taken))
		}
		if s.Stale {
			log.Warn("node did not answer in time, the last snapshot stands in", "age", got.age)
			got.reason = reasonTimeout
		}
		return got
	case errors.Is(err, context.DeadlineExceeded):
		log.Warn("node did not answer in time", "err", err)
		return reading{node: node, reason: reasonTimeout}
	default:
		log.Warn("no snapshot", "err", err)
		return reading{node: node, reason: reasonSnapshot}
	}
}

func (h *Handler) known(s *snapshot.Snapshot) []snapshot.Collector {
	known := make([]snapshot.Collector, 0, len(s.Collectors))
	for _, c := range s.Collectors {
		same := func(k snapshot.Collector) bool { return k.Name == c.Name }
		if h.knows(c.Name) && !slices.ContainsFunc(known, same) {
			known = append(known, c)
		}
	}
	return known
}

// knows tells whether there is a collector of that name, or may be one of the
// configuration.
func (h *Handler) knows(collector string) bool {
	return slices.Contains(h.collectors, collector) || strings.HasPrefix(collector, snapshot.CustomPrefix)
}

func logSnapshot(ctx context.Context, log *slog.Logger, s *snapshot.Snapshot) {
	debug := log.Enabled(ctx, slog.LevelDebug)
	log.Debug("snapshot", "taken", s.Taken, "round_trip", s.RoundTrip, "bytes", s.Bytes)
	for _, c := range s.Collectors {
		switch {
		case c.Err != "":
			log.Warn("collector failed", "collector", c.Name, "duration", c.Duration, "err", c.Err)
		case !debug: // what follows would be made for nobody
		case c.Missing != "":
			log.Debug("collector does not apply", "collector", c.Name, "duration", c.Duration, "reason", c.Missing)
		default:
			log.Debug("collector succeeded", "collector", c.Name, "duration", c.Duration, "tables", len(c.Tables))
		}
	}
}

// scrapeTimeout is how long a scrape may take: what Prometheus waits less the
// time for the answer, at most limit. Of a wait too short for that, half.
func scrapeTimeout(r *http.Request, limit time.Duration) (time.Duration, error) {
	v := r.Header.Get(scrapeTimeoutHeader)
	if v == "" {
		return limit, nil
	}
	seconds, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(seconds) || seconds <= 0 {
		return 0, fmt.Errorf("the header %s must be a positive number of seconds, not %.40q", scrapeTimeoutHeader, v)
	}
	if seconds >= (limit + answerTime).Seconds() {
		return limit, nil
	}
	wait := time.Duration(seconds * float64(time.Second))
	return max(wait-answerTime, wait/2), nil
}

// selected reads the parameter collect[]: nil, meaning all that are on, or
// the names of known collectors.
func (h *Handler) selected(query url.Values) ([]string, error) {
	asked := query["collect[]"]
	for _, name := range asked {
		if !h.knows(name) {
			return nil, fmt.Errorf("there is no collector %.40q; collect[] takes %s", name, strings.Join(h.collectors, ", "))
		}
	}
	slices.Sort(asked)
	return slices.Compact(asked), nil
}

// collectorsOf lists the collectors that a catalogue has families of.
func collectorsOf(catalogue []Family) []string {
	var names []string
	for _, f := range catalogue {
		if f.Collector != "" && !slices.Contains(names, f.Collector) {
			names = append(names, f.Collector)
		}
	}
	// What these bring along is in no catalogue.
	return append(names, snapshot.Folsom, snapshot.Exometer, snapshot.Prometheus, snapshot.Telemetry)
}

// refuse answers a request that asks for what cannot be.
func refuse(w http.ResponseWriter, err error) {
	http.Error(w, fmt.Sprintf("Bad request: %v.", err), http.StatusBadRequest)
}

// refuseTarget answers a scrape that found no place of its target's.
func (h *Handler) refuseTarget(w http.ResponseWriter, target string) {
	http.Error(w, fmt.Sprintf("%d scrapes of %.300q are being answered, which is the limit; try again later.", h.places.perTarget, target),
		http.StatusServiceUnavailable)
}

// refusePage answers a scrape whose page found no place to be made in.
func refusePage(w http.ResponseWriter) {
	http.Error(w, "Too many pages are being made; try again later.", http.StatusServiceUnavailable)
}

// scrape wraps a handler: GET and HEAD only, and metrics about the requests.
func (h *Handler) scrape(name string, answer http.HandlerFunc) http.Handler {
	labels := prometheus.Labels{"handler": name}
	inFlight := h.self.inFlight.With(labels)
	readOnly := func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "Only GET and HEAD are answered here.", http.StatusMethodNotAllowed)
			return
		}
		answer(w, r)
	}
	return promhttp.InstrumentHandlerInFlight(inFlight,
		promhttp.InstrumentHandlerDuration(h.self.duration.MustCurryWith(labels),
			promhttp.InstrumentHandlerCounter(h.self.requests.MustCurryWith(labels), http.HandlerFunc(readOnly))))
}
