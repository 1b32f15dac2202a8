package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"

	"github.com/erlops/erlops/internal/unsaid"
)

const (
	defaultDebounce = 200 * time.Millisecond
	defaultSettle   = 5 * time.Second
	// stopTimeout bounds how long Run waits for mechanisms that do not listen
	// to their context: Prometheus's DNS lookups end by their own timeouts.
	stopTimeout = 3 * time.Second
)

// Options say what a Manager works with.
type Options struct {
	Groups     []Group
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// EPMDNames asks an epmd; needed when a group has epmd_sd_configs.
	EPMDNames NamesFunc
	// Debounce is how long changes are collected before the set is handed out;
	// 0 means 200 ms.
	Debounce time.Duration
	// Settle is how long the first set, and the first after Apply, wait for
	// mechanisms that have not answered yet; 0 means 5 s.
	Settle time.Duration
}

// Manager runs the mechanisms of all groups and merges what they find.
type Manager struct {
	options Options
	metrics *metrics
	sd      *discovery.SDMetrics
	out     chan []Target
	updates chan update
	running sync.WaitGroup

	mu      sync.Mutex
	next    *plan
	changed chan struct{}

	// What follows belongs to Run.
	current plan
	// skipped has the targets left out of the last set, so that each is logged
	// once and not at every update.
	skipped map[string]bool
	last    []Target
	settled time.Time
}

// plan is a checked list of groups, ready to run.
type plan struct {
	resolvers []*resolver
	// providers is parallel to resolvers.
	providers [][]*provider
}

// New returns a Manager for the groups of o. It fails when Check finds a
// problem in them, or when the metrics cannot be registered.
func New(o Options) (*Manager, error) {
	if o.Logger == nil || o.Registerer == nil {
		return nil, errors.New("exporter/discovery: Options.Logger and Options.Registerer must be set")
	}
	o.Debounce = cmp.Or(o.Debounce, defaultDebounce)
	o.Settle = cmp.Or(o.Settle, defaultSettle)
	m := &Manager{
		options: o,
		out:     make(chan []Target, 1),
		updates: make(chan update),
		changed: make(chan struct{}, 1),
	}
	var err error
	if m.metrics, err = newMetrics(o.Registerer); err != nil {
		return nil, fmt.Errorf("cannot register discovery metrics: %w", err)
	}
	if m.sd, err = discovery.CreateAndRegisterSDMetrics(o.Registerer); err != nil {
		return nil, err
	}
	redirectClientLogs(o.Logger)
	m.sd.MechanismMetrics[epmdMechanism] = &epmdTools{names: o.EPMDNames, failures: m.metrics.epmdFailures, refresh: m.sd.RefreshManager}
	if err := m.Apply(o.Groups); err != nil {
		return nil, err
	}
	return m, nil
}

// Targets delivers the full set of targets, sorted by node name, whenever it
// has changed; the first within Options.Settle after Run starts, even when it
// is empty. A set that was not taken is replaced by the next. The channel is
// never closed: no set would look like an empty one.
func (m *Manager) Targets() <-chan []Target { return m.out }

// Apply replaces the groups. Mechanisms whose configuration stays the same go
// on undisturbed. When Check finds a problem, nothing changes. It does not
// block, and may be called before and while Run runs.
func (m *Manager) Apply(groups []Group) error {
	p, err := m.plan(groups)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.next = p
	m.mu.Unlock()
	select {
	case m.changed <- struct{}{}:
	default: // the loop has yet to look, and will find the newest plan
	}
	return nil
}

func (m *Manager) plan(groups []Group) (*plan, error) {
	var errs []error
	for _, p := range Check(groups) {
		errs = append(errs, fmt.Errorf("group %q: %s: %s", groups[p.Group].Name, p.Path, p.Message))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	p := &plan{}
	for _, g := range groups {
		if len(g.SD.EPMD) > 0 && m.options.EPMDNames == nil {
			return nil, fmt.Errorf("group %q: epmd_sd_configs: Options.EPMDNames is not set", g.Name)
		}
		var providers []*provider
		for _, c := range g.SD.configs() {
			providers = append(providers, &provider{group: g.Name, mechanism: c.Name(), config: c})
		}
		p.resolvers = append(p.resolvers, newResolver(g))
		p.providers = append(p.providers, providers)
	}
	return p, nil
}

// Run discovers until ctx ends. It is called once.
func (m *Manager) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer m.stop(stop)
	// due fires when the set is to be handed out; it is idle while nothing has
	// changed.
	due := time.NewTimer(m.options.Settle)
	defer due.Stop()
	armed := true
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.changed:
			m.reconcile(ctx)
			m.settled = time.Now().Add(m.options.Settle)
			due.Reset(m.wait())
			armed = true
		case u := <-m.updates:
			first := !u.from.answered
			u.from.store(u.groups)
			// Later updates do not postpone the set: it is at most one
			// debounce, or one settling, old.
			if !armed || first {
				due.Reset(m.wait())
				armed = true
			}
		case <-due.C:
			armed = false
			m.publish()
		}
	}
}

// wait returns how long to hold the set back: until all mechanisms have
// answered once or have had the time to, but at least one debounce.
func (m *Manager) wait() time.Duration {
	if len(m.silent()) == 0 {
		return m.options.Debounce
	}
	return max(m.options.Debounce, time.Until(m.settled))
}

// silent names the mechanisms that have not answered yet.
func (m *Manager) silent() []string {
	var names []string
	for p := range m.current.all {
		if !p.answered {
			names = append(names, p.group+"/"+p.mechanism)
		}
	}
	return names
}

// all iterates over the providers in the order in which they win.
func (p *plan) all(yield func(*provider) bool) {
	for _, list := range p.providers {
		for _, prov := range list {
			if !yield(prov) {
				return
			}
		}
	}
}

// reconcile makes the newest plan the current one: it keeps the providers that
// both have, stops the others of the old and starts the others of the new.
func (m *Manager) reconcile(ctx context.Context) {
	m.mu.Lock()
	next := *m.next
	m.mu.Unlock()
	kept := m.keep(next)
	inUse := map[[2]string]bool{}
	for p := range next.all {
		inUse[[2]string{p.mechanism, p.group}] = true
	}
	for old := range m.current.all {
		if kept[old] {
			continue
		}
		old.stop()
		if !inUse[[2]string{old.mechanism, old.group}] {
			m.sd.RefreshManager.DeleteLabelValues(old.mechanism, old.group)
		}
	}
	m.current = next
	for p := range next.all {
		if !kept[p] {
			m.start(ctx, p)
		}
	}
}

// keep puts running providers in the place of equal ones of the next plan and
// returns those.
func (m *Manager) keep(next plan) map[*provider]bool {
	kept := map[*provider]bool{}
	for _, list := range next.providers {
		for i, fresh := range list {
			for old := range m.current.all {
				if !kept[old] && old.sameAs(fresh) {
					kept[old] = true
					list[i] = old
					break
				}
			}
		}
	}
	return kept
}

// start makes the discoverer of p and runs it. It is not made any earlier: one
// that is made and never run stays registered with the metrics of files.
func (m *Manager) start(ctx context.Context, p *provider) {
	logger := unsaid.Logger(m.options.Logger, func() []string { return unsaid.Secrets(p.config) }).
		With("discovery", p.mechanism, "group", p.group)
	d, err := p.config.NewDiscoverer(discovery.DiscovererOptions{
		Logger:  logger,
		Metrics: m.sd.MechanismMetrics[p.mechanism],
		SetName: p.group,
	})
	if err != nil {
		// Check has excluded what it can; a file may have changed since.
		logger.Error("Cannot start service discovery", "err", err)
		return
	}
	p.start(ctx, d, m.updates, &m.running)
}

// publish merges what all groups found and hands it out if it has changed.
func (m *Manager) publish() {
	if silent := m.silent(); len(silent) > 0 && !m.settled.IsZero() {
		m.options.Logger.Warn("Some service discovery has not answered yet; going on without it", "discovery", strings.Join(silent, ", "))
		m.settled = time.Time{}
	}
	targets := m.merge()
	if m.last != nil && reflect.DeepEqual(targets, m.last) {
		return
	}
	m.last = targets
	m.metrics.updates.Inc()
	select {
	case <-m.out:
	default:
	}
	// Nobody else sends, so there is room now.
	m.out <- slices.Clone(targets)
}

// merge resolves all that was found. The first to find a node wins: the order
// is that of the groups, then of the mechanisms within a group.
func (m *Manager) merge() []Target {
	m.metrics.targets.Reset()
	m.metrics.skipped.Reset()
	set := &merger{Manager: m, targets: []Target{}, owner: map[string]string{}, skipped: map[string]bool{}}
	for i, r := range m.current.resolvers {
		for _, p := range m.current.providers[i] {
			m.metrics.targets.WithLabelValues(p.group, p.mechanism).Set(0)
			for _, found := range p.groups() {
				for _, labels := range found.Targets {
					set.add(r, p, labels, found.Labels)
				}
			}
		}
	}
	m.skipped = set.skipped
	slices.SortFunc(set.targets, func(a, b Target) int { return cmp.Compare(a.Node, b.Node) })
	return set.targets
}

// merger is a set of targets in the making.
type merger struct {
	*Manager
	targets []Target
	// owner has the group that found a node first.
	owner map[string]string
	// skipped has what is left out of this set.
	skipped map[string]bool
}

func (s *merger) add(r *resolver, p *provider, own, common model.LabelSet) {
	t, keep, err := r.resolve(own, common, p.mechanism)
	if err != nil {
		s.skip(p.group, reasonInvalid, own, err)
		return
	}
	if !keep {
		return
	}
	if by, taken := s.owner[t.Node]; taken {
		s.skip(p.group, reasonDuplicate, own, fmt.Errorf("node %q is already found by group %q", t.Node, by))
		return
	}
	s.owner[t.Node] = p.group
	s.metrics.targets.WithLabelValues(p.group, p.mechanism).Inc()
	s.targets = append(s.targets, t)
}

// skip counts a target that is left out, and logs it unless the last set left
// it out for the same reason.
func (s *merger) skip(group, reason string, labels model.LabelSet, err error) {
	s.metrics.skipped.WithLabelValues(group, reason).Inc()
	address := string(labels[model.AddressLabel])
	key := strings.Join([]string{group, address, err.Error()}, "\x00")
	s.skipped[key] = true
	if !s.Manager.skipped[key] {
		s.options.Logger.Warn("Discovered target is skipped", "group", group, "address", address, "reason", reason, "err", err)
	}
}

// stop ends all mechanisms and waits for them, within bounds.
func (m *Manager) stop(cancel context.CancelFunc) {
	cancel()
	done := make(chan struct{})
	go func() {
		m.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(stopTimeout):
		m.options.Logger.Warn("Some service discovery is still waiting for an answer; leaving it behind")
	}
}
