package exporter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/config"
	"github.com/erlops/erlops/exporter/discovery"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/doctor"
	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/exporter/store"
)

const (
	// singleName is before the @ of our node name when one node is looked at,
	// so that an exporter on the same host keeps its own. It is always the
	// same: nodes keep every name that they have seen.
	singleName = "erl_exporter_probe"
	// scanWait is how long a probe waits for the first scan of the processes,
	// which a node makes in the background.
	scanWait = 5 * time.Second
	// scanPoll is more than the age of a reading that is given out again.
	scanPoll = 1100 * time.Millisecond
)

// Single says which node Probe and Diagnose look at, and how it is reached.
type Single struct {
	// Node is the full node name.
	Node string
	// ConfigFile is a configuration that tells how to reach the node; Group is
	// the group of targets there, or empty for the one that lists the node, or
	// the only one. Without a file, CookieFile and EPMD do, as for config.Flags.
	ConfigFile, Group string
	CookieFile, EPMD  string
	// Name is the node name of the exporter that may be attached already.
	Name string
	// Address is host:port of the node itself; epmd is not asked then.
	Address string
	// Collectors are the only ones that a probe reads; nil: all.
	Collectors []string
	// Logger gets what befalls; slog.Default() when nil.
	Logger *slog.Logger
}

// Step is a step of Diagnose.
type Step = doctor.Step

// The outcomes of a step.
const (
	StepOK      = doctor.OK
	StepFailed  = doctor.Failed
	StepSkipped = doctor.Skipped
)

// single is a node with what is needed to attach it.
type single struct {
	Single
	config   *config.Config
	group    node.Group
	network  *dist.Network
	attacher *agent.Attacher
}

func newSingle(o Single) (*single, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &single{Single: o}
	var err error
	// A name that is impossible is for the doctor to explain.
	if dist.CheckNodeName(o.Node) == nil {
		err = s.configure()
	} else {
		c := config.Default()
		s.config = &c
	}
	if err != nil {
		return nil, err
	}
	own := *s.config
	_, host, _ := strings.Cut(own.Name, "@")
	own.Name = singleName + "@" + host
	if s.network, err = dist.New(networkOptions(&own, o.Logger)); err != nil {
		return nil, err
	}
	s.attacher, err = agent.New(agent.Options{
		Network: s.network, Logger: o.Logger,
		Lease: duration(own.Timeouts.Lease), Renew: duration(own.Timeouts.Renew),
	})
	return s, err
}

func (s *single) configure() (err error) {
	o := Options{ConfigFile: s.ConfigFile, CookieFile: s.CookieFile, EPMD: s.EPMD, Name: s.Name}
	if s.ConfigFile == "" {
		o.Nodes = []string{s.Node}
	}
	if s.config, err = parse(o); err != nil {
		return err
	}
	s.group, err = groupOf(s.config, s.Node, s.Group)
	return err
}

// groupOf finds the group of a node that is not running through discovery: the
// named one, the one whose static targets list the node, the only one, or what
// is configured for nodes of no group.
func groupOf(c *config.Config, name, wanted string) (node.Group, error) {
	all := groups(c)
	names := make([]string, len(c.Targets))
	for i := range c.Targets {
		names[i] = c.Targets[i].Name
	}
	if wanted != "" {
		if !slices.Contains(names, wanted) {
			return node.Group{}, fmt.Errorf("--group %q is not one of the target groups %s", wanted, strings.Join(names, ", "))
		}
		return all[wanted], nil
	}
	for i := range c.Targets {
		if lists(c.Targets[i].Static, name) {
			return all[names[i]], nil
		}
	}
	if len(names) == 1 {
		return all[names[0]], nil
	}
	return all[node.DefaultGroup], nil
}

func lists(static []*discovery.StaticConfig, name string) bool {
	return slices.ContainsFunc(static, func(s *discovery.StaticConfig) bool {
		return slices.ContainsFunc(s.Targets, func(l model.LabelSet) bool { return string(l[model.AddressLabel]) == name })
	})
}

// running runs f while the network does.
func (s *single) running(ctx context.Context, f func(context.Context) error) error {
	networkCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.network.Run(networkCtx) }()
	err := f(ctx)
	stop()
	return errors.Join(err, <-ended)
}

func (s *single) target() (agent.Target, error) {
	t := agent.Target{
		Node: s.Node, Address: s.Address, EPMD: s.group.EPMD, TLS: s.group.TLS, Settings: s.group.Settings,
	}
	if s.group.Cookie == nil {
		return t, nil
	}
	var err error
	t.Cookie, err = s.group.Cookie(s.Node, "")
	return t, err
}

// Diagnose finds out step by step whether a node can be attached, tells each
// step as soon as it is known, and reports whether all went well. An error
// means that it could not begin. It blocks until ctx ends at the latest, and
// leaves the node as it was.
func Diagnose(ctx context.Context, o Single, tell func(Step)) (healthy bool, err error) {
	s, err := newSingle(o)
	if err != nil {
		return false, err
	}
	t, err := s.target()
	if err != nil {
		return false, err
	}
	d, err := doctor.New(doctor.Options{Attacher: s.attacher, Exporter: s.config.Name})
	if err != nil {
		return false, err
	}
	err = s.running(ctx, func(ctx context.Context) error {
		healthy = d.Examine(ctx, t, tell)
		return ctx.Err()
	})
	return healthy, err
}

// AttachError is why Probe could not attach a node.
type AttachError struct {
	Node string
	Err  error
}

func (e *AttachError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *AttachError) Unwrap() error { return e.Err }

// Probe attaches a node, writes the page that Prometheus would get of it, and
// detaches it; nothing is served. It blocks until ctx ends at the latest. The
// error of a node that cannot be attached is an *AttachError.
func Probe(ctx context.Context, o Single, w io.Writer) error {
	if err := dist.CheckNodeName(o.Node); err != nil {
		return err
	}
	s, err := newSingle(o)
	if err != nil {
		return err
	}
	memory, err := store.Open(ctx, store.Options{URL: "sqlite://:memory:"})
	if err != nil {
		return err
	}
	defer memory.Close()
	return s.running(ctx, func(ctx context.Context) error { return s.probe(ctx, memory, w) })
}

func (s *single) probe(ctx context.Context, memory *store.Store, w io.Writer) error {
	fleet, err := node.New(node.Options{
		Attach: func(ctx context.Context, t agent.Target) (node.Session, error) { return s.attacher.Attach(ctx, t) },
		Store:  memory, Logger: s.Logger, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		return err
	}
	settings, err := pageSettings(s.config, "")
	if err != nil {
		return err
	}
	pages, err := metrics.New(metrics.Options{Settings: settings, Fleet: pageFleet{&Exporter{fleet: fleet}}, Logger: s.Logger})
	if err != nil {
		return err
	}
	fleet.Apply(map[string]node.Group{s.group.Name: s.group})
	events, cancel := fleet.Subscribe()
	defer cancel()
	fleet.SetTargets([]discovery.Target{{
		Node: s.Node, Address: s.Address, EPMD: s.group.EPMD, Group: s.group.Name, Source: "static", Labels: map[string]string{},
	}})
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- fleet.Run(running) }()
	err = s.attached(ctx, fleet, events)
	var page []byte
	if err == nil {
		page, err = s.page(ctx, fleet, pages.Probe())
	}
	stop() // and the node is left
	if err := errors.Join(err, <-ended); err != nil {
		return err
	}
	_, err = w.Write(page)
	return err
}

// attached waits for the outcome of the first attempt.
func (s *single) attached(ctx context.Context, fleet *node.Fleet, events <-chan node.Event) error {
	for {
		if status, known := fleet.Node(s.Node); known {
			switch {
			case status.State == node.Up:
				return nil
			case status.LastError != "":
				return &AttachError{s.Node, errors.New(status.LastError)}
			}
		}
		select {
		case <-events:
		case <-ctx.Done():
			return &AttachError{s.Node, fmt.Errorf("%s is not attached yet: %w", s.Node, ctx.Err())}
		}
	}
}

// page reads the node once its processes have been scanned, or would have been.
func (s *single) page(ctx context.Context, fleet *node.Fleet, probe http.Handler) ([]byte, error) {
	if len(s.Collectors) == 0 || slices.Contains(s.Collectors, snapshot.Processes) {
		awaitScan(ctx, fleet, s.Node)
	}
	query := url.Values{"target": {s.Node}, "collect[]": s.Collectors}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/probe?"+query.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	answer := &pageWriter{header: http.Header{}}
	probe.ServeHTTP(answer, r)
	if answer.status >= http.StatusBadRequest {
		return nil, errors.New(strings.TrimSpace(answer.body.String()))
	}
	return answer.body.Bytes(), nil
}

// awaitScan asks for the processes, and waits until there are some.
func awaitScan(ctx context.Context, fleet *node.Fleet, name string) {
	ctx, cancel := context.WithTimeout(ctx, scanWait)
	defer cancel()
	for {
		read, err := fleet.Snapshot(ctx, name, snapshot.Request{Collectors: []string{snapshot.Processes}})
		if err != nil || read.Collectors[0].Err != "" || read.Collectors[0].Missing != "" {
			return // the page will say it
		}
		scan, _ := read.Table("scan")
		_, scanned := scan.Value("processes")
		if skipped, _ := scan.Value("skipped"); scanned || skipped == 1 {
			return
		}
		select {
		case <-time.After(scanPoll):
		case <-ctx.Done():
			return
		}
	}
}

// pageWriter keeps a page.
type pageWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *pageWriter) Header() http.Header         { return w.header }
func (w *pageWriter) Write(b []byte) (int, error) { return w.body.Write(b) }
func (w *pageWriter) WriteHeader(status int)      { w.status = status }
