package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/discovery"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/exporter/store"
)

const (
	defaultAttachTimeout = 20 * time.Second
	defaultDetachTimeout = 5 * time.Second
	defaultParallel      = 32
)

// Session is an attachment; *agent.Session is one.
type Session interface {
	// Snapshot asks the node for one reading.
	Snapshot(context.Context, snapshot.Request) (*snapshot.Snapshot, error)
	// Info is what was learned of the node when it was attached.
	Info() agent.NodeInfo
	// Cost is what the agent costs the node. It does not block.
	Cost() agent.Cost
	// Request asks a source of the agent, Configure and SwitchOff change it, and
	// Call calls a function on the node; see the methods of *agent.Session.
	Request(ctx context.Context, source string, request agent.Term) (agent.Term, error)
	Configure(ctx context.Context, source string, config agent.Term) error
	SwitchOff(ctx context.Context, source string) error
	Call(ctx context.Context, module, function string, args ...agent.Term) (agent.Term, error)
	// Run has the agent run a command; see the method of *agent.Session.
	Run(ctx context.Context, c agent.Command, timeout time.Duration, maxBytes int) (agent.Term, error)
	// Done is closed when the session has ended; Err then says why.
	Done() <-chan struct{}
	Err() error
	// Detach ends the session and returns once the node is as it was before,
	// or when ctx is done.
	Detach(context.Context) error
}

// AttachFunc attaches a node. Its context bounds the attaching only, not the
// session.
type AttachFunc func(context.Context, agent.Target) (Session, error)

// Store keeps what was registered and suspended; *store.Store is one.
type Store interface {
	Registrations(context.Context) ([]store.Registration, error)
	Register(context.Context, store.Registration) (created bool, err error)
	Unregister(ctx context.Context, name string) error
	Suspended(context.Context) (map[string]time.Time, error)
	Suspend(ctx context.Context, name string) error
	Resume(ctx context.Context, name string) error
	// Families and SaveFamily keep what nodes were found to be.
	Families(context.Context) (map[string]string, error)
	SaveFamily(ctx context.Context, node, family string) error
	FamilyRules(context.Context) ([]store.FamilyRule, error)
	ReplaceFamilyRules(ctx context.Context, remove []string, add []store.FamilyRule) error
}

// Options of a Fleet. Attach and Store are required.
type Options struct {
	Attach AttachFunc
	Store  Store
	// Logger is slog.Default() when nil.
	Logger *slog.Logger
	// Registerer gets the fleet's own metrics; nil for none.
	Registerer prometheus.Registerer
	// AttachTimeout bounds one attempt (20 s), DetachTimeout one detachment,
	// and with it the end of Run (5 s).
	AttachTimeout, DetachTimeout time.Duration
	// RetryMin and RetryMax are the shortest (2 s) and the longest (30 s) wait
	// between attempts. A session that lasts RetryMax makes the wait short again.
	RetryMin, RetryMax time.Duration
	// Parallel bounds the first attempts at one time, and again the repeated
	// ones (32).
	Parallel int
	// ReadingAge is how old a shared reading may be (1 s).
	ReadingAge time.Duration
	// Pulse is the time between readings that the fleet takes by itself (15 s);
	// OnPulse takes them, from a goroutine of the node. It must not block. The
	// first comes right after the attachment. Without OnPulse there are none.
	Pulse   time.Duration
	OnPulse func(Pulse)
	// Sources gives the sources of events that a node is to be attached with; nil
	// for none.
	Sources func(Ref) []agent.Source
	// Now is the clock (time.Now), Random gives numbers in [0, 1) for jitter.
	Now    func() time.Time
	Random func() float64
}

func (o *Options) validate() error {
	switch {
	case o.Attach == nil:
		return errors.New("exporter/node: Options.Attach is missing")
	case o.Store == nil:
		return errors.New("exporter/node: Options.Store is missing")
	}
	o.Logger = cmp.Or(o.Logger, slog.Default())
	o.AttachTimeout = cmp.Or(o.AttachTimeout, defaultAttachTimeout)
	o.DetachTimeout = cmp.Or(o.DetachTimeout, defaultDetachTimeout)
	o.RetryMin = cmp.Or(o.RetryMin, shortestRetry)
	o.RetryMax = cmp.Or(o.RetryMax, longestRetry)
	o.Parallel = cmp.Or(o.Parallel, defaultParallel)
	o.ReadingAge = cmp.Or(o.ReadingAge, defaultReadingAge)
	o.Pulse = cmp.Or(o.Pulse, defaultPulse)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.RetryMin > o.RetryMax {
		return fmt.Errorf("exporter/node: Options.RetryMin (%s) is more than RetryMax (%s)", o.RetryMin, o.RetryMax)
	}
	return nil
}

// Fleet is all nodes that are to be attached. Its methods may be called from
// several goroutines, before Run too.
type Fleet struct {
	env   *environment
	store Store

	// commands makes the store and the fields below change together. It is
	// taken before mu, and held while the database is asked.
	commands sync.Mutex

	mu         sync.Mutex
	running    context.Context // of Run; nil before, done after
	groups     map[string]Group
	discovered []discovery.Target
	registered map[string]store.Registration
	suspended  map[string]bool
	connected  []ConnectedNode
	// families are those that nodes had when they were attached last, before
	// the start.
	families       map[string]string
	familyRules    []FamilyRule
	familyPatterns []FamilyPattern
	actors         map[string]*actor
	// leaving has the actors that were retired and still detach: a successor
	// of the same name waits for them.
	leaving map[string]*actor
	wg      sync.WaitGroup
}

// New makes a Fleet and registers its metrics. Nothing is dialled before Run.
func New(o Options) (*Fleet, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	m := newMetrics()
	f := &Fleet{
		env: &environment{
			attach: o.Attach, attachTimeout: o.AttachTimeout, detachTimeout: o.DetachTimeout,
			readingAge: o.ReadingAge, retryMin: o.RetryMin, retryMax: o.RetryMax,
			first: make(chan struct{}, o.Parallel), again: make(chan struct{}, o.Parallel),
			random: o.Random, now: o.Now, logger: o.Logger,
			pulse: o.Pulse, onPulse: o.OnPulse, sources: o.Sources,
			hub: newHub(eventBuffer, m.dropped), metrics: m, memory: newFamilyMemory(),
		},
		store:      o.Store,
		registered: map[string]store.Registration{},
		suspended:  map[string]bool{},
		actors:     map[string]*actor{},
		leaving:    map[string]*actor{},
	}
	f.env.families.Store(&familyBook{})
	if o.Registerer != nil {
		if err := o.Registerer.Register(collector{f}); err != nil {
			return nil, fmt.Errorf("exporter/node: register metrics: %w", err)
		}
	}
	return f, nil
}

// Run reads the store, attaches the nodes and keeps them attached until ctx is
// done; it then detaches all of them at the same time and returns within
// Options.DetachTimeout. It fails only when the store cannot be read.
func (f *Fleet) Run(ctx context.Context) error {
	if err := f.load(ctx); err != nil {
		return err
	}
	f.env.memory.run(ctx, f.store, f.env.logger)
	f.mu.Lock()
	for _, a := range f.actors {
		a.retire()
	}
	f.mu.Unlock()
	f.wg.Wait()
	return nil
}

// Ready tells whether Run has read the store and still runs.
func (f *Fleet) Ready() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.isRunning()
}

// load reads the store and begins with what is known by then.
func (f *Fleet) load(ctx context.Context) error {
	f.commands.Lock()
	defer f.commands.Unlock()
	registered, err := f.store.Registrations(ctx)
	if err != nil {
		return err
	}
	suspended, err := f.store.Suspended(ctx)
	if err != nil {
		return err
	}
	families, err := f.store.Families(ctx)
	if err != nil {
		return err
	}
	rules, err := f.store.FamilyRules(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.families, f.familyRules = families, rules
	book, err := newFamilyBook(rules, f.familyPatterns)
	if err != nil {
		f.env.logger.Warn("a stored family rule is left out", "err", err)
	}
	f.env.families.Store(book)
	for _, r := range registered {
		f.registered[r.Name] = r
	}
	for name := range suspended {
		f.suspended[name] = true
	}
	f.running = ctx
	f.reconcile()
	return nil
}

// Apply sets the groups of the configuration, by name; that of DefaultGroup is
// for registered nodes that name none. Only nodes whose settings or cookie have
// changed are attached anew. It does not block.
func (f *Fleet) Apply(groups map[string]Group) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.groups = maps.Clone(groups)
	f.reconcile()
}

// SetTargets sets all that discovery has found; of several targets with one
// name the first counts. Nodes that are no longer among them are detached,
// unless they are registered. It does not block.
func (f *Fleet) SetTargets(targets []discovery.Target) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.discovered = slices.Clone(targets)
	f.reconcile()
}

// reconcile makes the actors those that are wanted; the lock is held.
func (f *Fleet) reconcile() {
	if !f.isRunning() {
		return
	}
	wanted := f.wanted()
	for name, a := range f.actors {
		if _, ok := wanted[name]; !ok {
			f.retire(a)
		}
	}
	for name, s := range wanted {
		if a, ok := f.actors[name]; ok {
			a.apply(s)
		} else {
			f.start(s)
		}
	}
}

func (f *Fleet) isRunning() bool { return f.running != nil && f.running.Err() == nil }

// wanted makes one spec a node. A registration wins over discovery: it is what
// a person said of just this node.
func (f *Fleet) wanted() map[string]spec {
	all := make(map[string]spec, len(f.discovered)+len(f.registered))
	for _, t := range f.discovered {
		if _, ok := all[t.Node]; !ok {
			all[t.Node] = discoveredSpec(t, f.group(t.Group))
		}
	}
	for name, r := range f.registered {
		all[name] = registeredSpec(r, f.group(r.CookieRef))
	}
	f.addConnected(all)
	for name, s := range all {
		s.suspended = f.suspended[name]
		all[name] = s
	}
	return all
}

func (f *Fleet) group(name string) *Group {
	g, ok := f.groups[name]
	if !ok {
		return nil
	}
	return &g
}

func (f *Fleet) start(s spec) {
	name := s.target.Node
	var after <-chan struct{}
	if old, ok := f.leaving[name]; ok {
		after = old.done
	}
	a := newActor(f.running, f.env, store.NodeID(name), s, f.families[name], after)
	f.actors[name] = a
	f.env.hub.publish(a.event(EventAdded, ""))
	f.wg.Go(func() {
		a.run()
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.leaving[name] == a {
			delete(f.leaving, name)
		}
	})
}

func (f *Fleet) retire(a *actor) {
	a.retire()
	delete(f.actors, a.name)
	f.leaving[a.name] = a
	a.mu.Lock()
	defer a.mu.Unlock()
	f.env.hub.publish(a.event(EventRemoved, ""))
	a.logger.Info("no longer a target")
}

// Nodes returns the status of all nodes by name. It does not wait for any.
func (f *Fleet) Nodes() []Status {
	actors := f.list()
	all := make([]Status, len(actors))
	for i, a := range actors {
		all[i] = a.status()
	}
	return all
}

// list returns all actors by name.
func (f *Fleet) list() []*actor {
	f.mu.Lock()
	all := slices.Collect(maps.Values(f.actors))
	f.mu.Unlock()
	slices.SortFunc(all, func(a, b *actor) int { return strings.Compare(a.name, b.name) })
	return all
}

// Node returns the status of one node, and whether it is known.
func (f *Fleet) Node(name string) (Status, bool) {
	a, ok := f.find(name)
	if !ok {
		return Status{}, false
	}
	return a.status(), true
}

func (f *Fleet) find(name string) (*actor, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a, ok := f.actors[name]
	return a, ok
}

// Snapshot reads one node. It blocks until the node answered or ctx is done,
// and shares a reading of the last second, or one on its way, that holds what
// is requested. Errors: ErrUnknown, *StateError when the node is not up, and
// those of the session.
func (f *Fleet) Snapshot(ctx context.Context, name string, req snapshot.Request) (*snapshot.Snapshot, error) {
	a, ok := f.find(name)
	if !ok {
		return nil, fmt.Errorf("node %q: %w", name, ErrUnknown)
	}
	return a.snapshot(ctx, req)
}

// Subscribe returns what happens from now on, until cancel is called, which
// closes the channel. A subscriber that is far behind finds EventDropped where
// events are missing; it never holds up the fleet.
func (f *Fleet) Subscribe() (events <-chan Event, cancel func()) {
	return f.env.hub.subscribe()
}
