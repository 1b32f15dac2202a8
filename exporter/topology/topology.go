package topology

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/node"
)

const (
	defaultFresh = 45 * time.Second
	// inventoryAge is after how long applications are asked for again.
	inventoryAge = time.Minute
	// lookTime bounds what a node is asked on a pulse.
	lookTime = 10 * time.Second
	// maxLooks bounds how many nodes are asked at the same time.
	maxLooks = 64
	// reviewInterval is after how long conclusions are drawn without news: time
	// passes too.
	reviewInterval = 5 * time.Second
	// settle is how long a review waits for more news after the first.
	settle = 50 * time.Millisecond
)

// Fleet is the nodes; *node.Fleet is one.
type Fleet interface {
	Nodes() []node.Status
	Session(name string) (node.Session, error)
	SetConnected([]node.ConnectedNode)
}

// Store keeps connected nodes over restarts; *store.Store is one.
type Store interface {
	ConnectedNodes(context.Context) ([]node.ConnectedNode, error)
	SaveConnectedNodes(context.Context, []node.ConnectedNode) error
}

// Options of a Topology. Fleet, Store and Own are required.
type Options struct {
	Fleet Fleet
	Store Store
	// Own is the exporter's own node name: every node is connected to it.
	Own    string
	Logger *slog.Logger
	// Registerer gets the graph and what discovery ignores; nil for none.
	Registerer prometheus.Registerer
	// Fresh is for how long what a node said counts (45 s, three pulses).
	Fresh time.Duration
	// Now is the clock (time.Now).
	Now func() time.Time
}

// Topology is the fleet as a whole. Its methods may be called from several
// goroutines.
type Topology struct {
	fleet   Fleet
	store   Store
	own     string
	logger  *slog.Logger
	fresh   time.Duration
	now     func() time.Time
	salt    string // of hashes of environments
	news    chan struct{}
	looking chan struct{} // holds one for each node that is asked

	mu       sync.Mutex
	running  context.Context
	sights   map[string]*sight
	known    map[string]node.ConnectedNode
	patterns map[string]*regexp.Regexp
	links    map[pair]*history
	graph    Graph
	findings []Finding
	ignored  map[ignoredKey]int
	diffs    map[string]*Diff

	saved map[string]node.ConnectedNode // used by review only
	saves time.Time
}

// sight is what a node has said.
type sight struct {
	busy    bool
	view    agent.View
	traffic map[string]Traffic
	// creation tells one start of the node from another.
	creation uint32
	apps     []agent.LoadedApplication
	appsAt   time.Time
}

// New makes a Topology and registers its metrics. It asks nothing before Run.
func New(o Options) (*Topology, error) {
	switch {
	case o.Fleet == nil:
		return nil, errors.New("exporter/topology: Options.Fleet is missing")
	case o.Store == nil:
		return nil, errors.New("exporter/topology: Options.Store is missing")
	case o.Own == "":
		return nil, errors.New("exporter/topology: Options.Own is missing")
	}
	t := &Topology{
		fleet: o.Fleet, store: o.Store, own: o.Own, logger: cmp.Or(o.Logger, slog.Default()),
		fresh: cmp.Or(o.Fresh, defaultFresh), now: o.Now, salt: uuid.NewString(),
		news: make(chan struct{}, 1), looking: make(chan struct{}, maxLooks),
		sights: map[string]*sight{}, known: map[string]node.ConnectedNode{}, patterns: map[string]*regexp.Regexp{},
		links: map[pair]*history{}, diffs: map[string]*Diff{},
	}
	if t.now == nil {
		t.now = time.Now
	}
	if o.Registerer != nil {
		if err := o.Registerer.Register(collector{t}); err != nil {
			return nil, fmt.Errorf("exporter/topology: register metrics: %w", err)
		}
	}
	return t, nil
}

// Run draws conclusions until ctx is done. It fails only when the store cannot
// be read.
func (t *Topology) Run(ctx context.Context) error {
	known, err := t.store.ConnectedNodes(ctx)
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.running = ctx
	for _, n := range known {
		t.known[n.Name] = n
	}
	t.mu.Unlock()
	t.saved = t.knownNodes()
	// Before their neighbours are attached: a node that was known before a
	// restart is not left alone until somebody sees it again.
	t.fleet.SetConnected(known)
	tick := time.NewTicker(reviewInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.news:
			sleep(ctx, settle)
		case <-tick.C:
		}
		t.review(ctx)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Pulse takes a reading of a node, and has it asked for the rest. It does not
// block: it is what Options.OnPulse of the fleet calls.
func (t *Topology) Pulse(p node.Pulse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running == nil || t.running.Err() != nil {
		return
	}
	s := t.sights[p.Node.Name]
	if s == nil {
		s = &sight{}
		t.sights[p.Node.Name] = s
	}
	s.creation = p.Info.Creation
	if p.Snapshot != nil {
		s.traffic = trafficOf(p.Snapshot)
	}
	if s.busy {
		return
	}
	select {
	case t.looking <- struct{}{}:
	default:
		return // it is asked on the next pulse
	}
	s.busy = true
	go t.look(t.running, p.Node.Name, p.Info)
}

// look asks a node what readings do not have.
func (t *Topology) look(ctx context.Context, name string, info agent.NodeInfo) {
	defer func() { <-t.looking }()
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	view, apps, err := t.ask(ctx, name, info)
	t.mu.Lock()
	if s := t.sights[name]; s != nil {
		s.busy = false
		if err == nil {
			s.view = view
		}
		if apps != nil {
			s.apps, s.appsAt = apps, t.now()
		}
	}
	t.mu.Unlock()
	if err != nil {
		t.logger.Debug("the node's view is not known", "node", name, "err", err)
		return
	}
	if view.Nonsense > 0 {
		t.logger.Warn("the node names peers that cannot be nodes; they are left out", "node", name, "left_out", view.Nonsense)
	}
	select {
	case t.news <- struct{}{}:
	default:
	}
}

// ask gets the view of a node, and its applications when they are due.
func (t *Topology) ask(ctx context.Context, name string, info agent.NodeInfo) (agent.View, []agent.LoadedApplication, error) {
	session, err := t.fleet.Session(name)
	if err != nil {
		return agent.View{}, nil, err
	}
	view, err := agent.ReadView(ctx, session)
	if err != nil || !t.appsAreDue(name) {
		return view, nil, err
	}
	apps, err := agent.ReadApplications(ctx, session)
	if errors.Is(err, agent.ErrNoAgent) {
		apps, err = plainApplications(info), nil
	}
	if err != nil {
		t.logger.Debug("the node's applications are not known", "node", name, "err", err)
	}
	return view, apps, nil
}

func (t *Topology) appsAreDue(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sights[name]
	return s != nil && t.now().Sub(s.appsAt) >= inventoryAge
}

// plainApplications is what a node without an agent said when it was attached.
func plainApplications(info agent.NodeInfo) []agent.LoadedApplication {
	apps := make([]agent.LoadedApplication, 0, len(info.Applications))
	for _, a := range info.Applications {
		apps = append(apps, agent.LoadedApplication{Name: a.Name, Version: a.Version, Running: true})
	}
	return apps
}

// review draws all conclusions anew.
func (t *Topology) review(ctx context.Context) {
	statuses := t.fleet.Nodes()
	t.mu.Lock()
	now := t.now()
	all := t.attached(statuses, now)
	found, ignored := t.discover(statuses, all, now)
	t.known, t.ignored = found, ignored
	t.graph = t.draw(statuses, all, now)
	t.findings = t.judge(all, now)
	t.mu.Unlock()
	t.handOver(ctx, found)
}

// member is a node that is attached and has said lately what it sees.
type member struct {
	status node.Status
	*sight
	sees map[string]bool // by name; whether as hidden
}

// attached gives all members by name and forgets who is no target any more.
func (t *Topology) attached(statuses []node.Status, now time.Time) map[string]member {
	all := make(map[string]member, len(statuses))
	targets := make(map[string]bool, len(statuses))
	for _, status := range statuses {
		targets[status.Name] = true
		s := t.sights[status.Name]
		if s == nil || status.State != node.Up || s.view.Taken.IsZero() || now.Sub(s.view.Taken) > t.fresh {
			continue
		}
		m := member{status: status, sight: s, sees: make(map[string]bool, len(s.view.Visible)+len(s.view.Hidden))}
		for _, peer := range s.view.Hidden {
			m.sees[peer] = true
		}
		for _, peer := range s.view.Visible {
			m.sees[peer] = false
		}
		delete(m.sees, t.own)
		all[status.Name] = m
	}
	for name := range t.sights {
		if !targets[name] {
			delete(t.sights, name)
		}
	}
	return all
}

// Findings returns what is wrong with the fleet as a whole now, in an order of
// its own that does not change. It does not block; the slice is the caller's,
// what its elements point to is not.
func (t *Topology) Findings() []Finding {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Finding(nil), t.findings...)
}

// Graph returns who is connected to whom. It does not block; what it points to
// must not be changed.
func (t *Topology) Graph() Graph {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.graph
}
