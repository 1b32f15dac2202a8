package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// MinInterval is the shortest time between two readings for a watcher.
	MinInterval = time.Second
	// MaxInterval is the longest.
	MaxInterval = time.Minute
	// MaxMetrics is how many metrics a watcher may name.
	MaxMetrics = 200

	defaultWatchers = 1024
	// readTimeout is how long a node may take to answer.
	readTimeout = 5 * time.Second
	// fresh is how old a reading may be that somebody else has taken.
	fresh = MinInterval / 2
	// searchInterval is between two looks for metrics that a node did not have.
	searchInterval = 15 * time.Second
)

// Itself is the collector of what the exporter knows by itself.
const Itself = "exporter"

// Up is the state of a node that can be read.
const Up = "up"

// Reading is what came of reading a node.
type Reading struct {
	// State is that of the node, Error why it is not up, or did not answer.
	State, Error string
	Taken        time.Time
	Metrics      []Metric
	// Failed are collectors that failed, and why.
	Failed map[string]string
}

// Metric is one series with its value.
type Metric struct {
	Name   string
	Labels []Label
	Value  float64
	// Collector is where it comes from.
	Collector string
	// Entry is the printed name that the library has for it which keeps it.
	Entry string
}

// Label is a label of a Metric.
type Label struct{ Name, Value string }

// Source is where the numbers come from. Its methods are called concurrently.
type Source interface {
	// Read reads some collectors of a node, all when there are none; false when
	// the node is not known. It shares a reading that is younger than age, and
	// returns when ctx is done at the latest.
	Read(ctx context.Context, node string, collectors []string, age time.Duration) (Reading, bool)
	// Collector gives the collector of a metric that every node has; expensive
	// when it goes through all processes or all memory.
	Collector(metric string) (name string, expensive, ok bool)
	// IsExpensive tells whether a collector does that.
	IsExpensive(collector string) bool
}

// Options of a Hub. Source is required.
type Options struct {
	Source Source
	// MaxWatchers is how many there may be at once (1024).
	MaxWatchers int
	// Logger is slog.Default() when nil, Registerer takes the metrics unless it is
	// nil, Now is the clock (time.Now).
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
}

// Errors of Watch.
var (
	ErrUnknown = errors.New("is not known")
	ErrFull    = errors.New("too many watchers")
)

// InvalidError says what is wrong with one of the metrics that were asked for.
type InvalidError struct {
	Index  int
	Reason string
}

func (e *InvalidError) Error() string { return fmt.Sprintf("metrics[%d]: %s", e.Index, e.Reason) }

// Hub has all watchers. Its methods may be called concurrently.
type Hub struct {
	Options
	metrics *hubMetrics

	mu       sync.Mutex
	nodes    map[string]*node
	watchers int
}

// New makes a Hub and registers its metrics; nothing is read before Watch.
func New(o Options) (*Hub, error) {
	if o.Source == nil {
		return nil, errors.New("exporter/live: Options.Source is missing")
	}
	o.MaxWatchers = cmp.Or(o.MaxWatchers, defaultWatchers)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Now == nil {
		o.Now = time.Now
	}
	h := &Hub{Options: o, nodes: map[string]*node{}}
	var err error
	h.metrics, err = newHubMetrics(o.Registerer, h)
	return h, err
}

// Watch begins to watch metrics of a node, which is read once before it returns
// if some of them are not in the catalogue. Whoever calls it must close the Watch.
// Errors: ErrUnknown, ErrFull, *InvalidError, that of ctx.
func (h *Hub) Watch(ctx context.Context, name string, metrics []string, interval time.Duration) (*Watch, error) {
	if interval < MinInterval || interval > MaxInterval {
		return nil, fmt.Errorf("the interval %v is not from %v to %v", interval, MinInterval, MaxInterval)
	}
	s, err := newSelection(h.Source, metrics)
	if err != nil {
		return nil, err
	}
	read, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	// Only what knows the node can tell what it has; all its collectors are asked
	// when something is not in the catalogue.
	collectors := s.collectors()
	if s.searching() {
		collectors = nil
	}
	r, ok := h.Source.Read(read, name, collectors, MinInterval)
	switch {
	case !ok:
		return nil, fmt.Errorf("node %q %w", name, ErrUnknown)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case r.State == Up && r.Error == "":
		if err := s.resolve(h.Source, r); err != nil {
			return nil, err
		}
	}
	w := &Watch{hub: h, selection: s, interval: interval, changed: make(chan struct{}, 1)}
	return w, h.join(name, w)
}

func (h *Hub) join(name string, w *Watch) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers >= h.MaxWatchers {
		h.metrics.refused.Inc()
		return fmt.Errorf("%w: %d watch already", ErrFull, h.watchers)
	}
	h.watchers++
	n, ok := h.nodes[name]
	if !ok {
		n = &node{hub: h, name: name, watches: map[*Watch]struct{}{}, changed: make(chan struct{}, 1)}
		h.nodes[name] = n
		go n.run()
	}
	w.node = n
	n.watches[w] = struct{}{}
	n.poke()
	return nil
}

// leave takes a watcher away; the node's goroutine ends with the last.
func (h *Hub) leave(w *Watch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := w.node.watches[w]; !ok {
		return
	}
	delete(w.node.watches, w)
	h.watchers--
	if len(w.node.watches) == 0 && h.nodes[w.node.name] == w.node {
		delete(h.nodes, w.node.name)
	}
	w.node.poke()
}
