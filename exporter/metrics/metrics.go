// Package metrics turns readings of Erlang nodes into Prometheus metrics. Its
// catalogue has one row for each metric family; its handler serves the pages
// that Prometheus scrapes: /probe (one node), /metrics/nodes (all nodes) and
// /sd (service discovery of the nodes).
//
// Names, types, labels and values are those of prometheus.erl, so that
// dashboards made for it work unchanged.
package metrics

//go:generate go run ./gendoc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erlops/erlops/exporter/snapshot"
)

// State is the state of a node as the exporter sees it.
type State string

// The states of a node. Only a node that is up is asked for a snapshot.
const (
	StatePending    State = "pending"
	StateConnecting State = "connecting"
	StateUp         State = "up"
	StateDown       State = "down"
	StateRefused    State = "refused"
	StateSuspended  State = "suspended"
)

// States lists all states.
func States() []State {
	return []State{StatePending, StateConnecting, StateUp, StateDown, StateRefused, StateSuspended}
}

// Node is what the pages say about a node besides its readings.
type Node struct {
	// Name is the Erlang node name, unique in the fleet.
	Name string
	// ID stays the same as long as the exporter knows the node.
	ID string
	// Family is the node's family; may be empty.
	Family string
	State  State
	// LastError says in words why the node is not up; without secrets.
	LastError string
	// Labels are those that discovery or the user gave the node.
	Labels map[string]string
	// Meta are further facts, such as "otp_release", that service discovery
	// offers for relabelling as __meta_erlang_KEY.
	Meta map[string]string
	// Settings are shown by /probe?debug=true; without secrets.
	Settings map[string]string
}

// Fleet is where the handler gets nodes and readings from. Its methods are
// called concurrently.
type Fleet interface {
	// Nodes returns all known nodes. The slice is the caller's.
	Nodes() []Node
	// Node returns the named node, and whether it is known.
	Node(name string) (Node, bool)
	// Snapshot reads a node that is up. It returns when ctx is done at the
	// latest.
	Snapshot(ctx context.Context, node string, r snapshot.Request) (*snapshot.Snapshot, error)
}

// Limits bound what one node may put on a page.
type Limits struct {
	// Series is the most series of a node, 20,000 by default. The exporter's
	// own few series about the node are not counted.
	Series int
	// Source is the most series of one library, or of one collector of the
	// configuration, 5,000 by default.
	Source int
	// Rows is the most rows of one table, 2,000 by default.
	Rows int
	// LabelBytes is the longest label value, 1,024 bytes by default: the
	// longest atom fits.
	LabelBytes int
}

// Settings are what a reload may change.
type Settings struct {
	// Names is the generation of metric names; NamesBoth by default.
	Names Names
	// RabbitMQIdentity adds what RabbitMQ's dashboards of the Erlang VM need.
	RabbitMQIdentity bool
	// Timeout caps the time of a scrape, and is the time when Prometheus did
	// not say how long it waits; 10 s by default.
	Timeout time.Duration
	// Limits bound what one node may put on a page.
	Limits Limits
	// ExternalURL is where Prometheus reaches the exporter; nil means as the
	// request for /sd came.
	ExternalURL *url.URL
	// ExternalLabels are put on every target of /sd that has no label of
	// that name.
	ExternalLabels map[string]string
}

// Options configure a Handler.
type Options struct {
	Settings
	// Fleet is required.
	Fleet Fleet
	// Logger gets what goes wrong in scrapes; silent by default.
	Logger *slog.Logger
	// Registerer takes the handler's own metrics; none are kept when nil.
	Registerer prometheus.Registerer
	// PerTarget is how many scrapes of one node are answered at a time, and
	// how many of /metrics/nodes; more get status 503. 4 by default.
	PerTarget int
	// Pages is how many pages are made at a time, once the nodes have been
	// read; more wait as long as their scrape may take, and get status 503
	// then. 64 by default.
	Pages int
	// Parallel is how many nodes /metrics/nodes reads at a time; 64 by
	// default.
	Parallel int
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// form is which families a page has, under which names.
type form struct {
	names    Names
	rabbitMQ bool
}

// Handler serves the pages that Prometheus scrapes. Its methods may be called
// concurrently.
type Handler struct {
	fleet    Fleet
	logger   *slog.Logger
	parallel int
	places   *places
	now      func() time.Time
	self     *self
	settings atomic.Pointer[Settings]

	layouts    map[form]*layout
	collectors []string
}

// New makes a handler and registers its metrics.
func New(o Options) (*Handler, error) {
	if o.Fleet == nil {
		return nil, errors.New("exporter/metrics: Options.Fleet is required")
	}
	h := &Handler{
		fleet:    o.Fleet,
		logger:   o.Logger,
		parallel: cmp.Or(o.Parallel, 64),
		places:   newPlaces(cmp.Or(o.PerTarget, 4), cmp.Or(o.Pages, 64)),
		now:      o.Now,
		self:     newSelf(o.Fleet),
		layouts:  make(map[form]*layout),
	}
	catalogue := Catalogue()
	h.collectors = collectorsOf(catalogue)
	for _, names := range []Names{NamesBoth, NamesLegacy, NamesV6} {
		h.layouts[form{names, false}] = newLayout(catalogue, names)
		h.layouts[form{names, true}] = newLayout(slices.Concat(catalogue, rabbitMQFamilies()), names)
	}
	if h.logger == nil {
		h.logger = slog.New(slog.DiscardHandler)
	}
	if h.now == nil {
		h.now = time.Now
	}
	if err := h.Apply(o.Settings); err != nil {
		return nil, err
	}
	if o.Registerer != nil {
		if err := h.self.register(o.Registerer); err != nil {
			return nil, fmt.Errorf("exporter/metrics: register metrics: %w", err)
		}
	}
	return h, nil
}

// Apply puts new settings in force for the requests to come. On an error the
// former stay.
func (h *Handler) Apply(s Settings) error {
	names, err := ParseNames(string(s.Names))
	if err != nil {
		return err
	}
	if s.Timeout < 0 || s.Limits.Series < 0 || s.Limits.Source < 0 || s.Limits.Rows < 0 || s.Limits.LabelBytes < 0 {
		return fmt.Errorf("exporter/metrics: timeout and limits must not be negative: %v, %+v", s.Timeout, s.Limits)
	}
	s.Names = names
	s.Timeout = cmp.Or(s.Timeout, 10*time.Second)
	s.Limits.Series = cmp.Or(s.Limits.Series, 20_000)
	s.Limits.Source = cmp.Or(s.Limits.Source, 5_000)
	s.Limits.Rows = cmp.Or(s.Limits.Rows, 2_000)
	s.Limits.LabelBytes = cmp.Or(s.Limits.LabelBytes, 1_024)
	h.settings.Store(&s)
	return nil
}
