package node_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/discovery"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/exporter/store"
)

// script stands for all nodes of a test: it answers attempts to attach as it
// is told to, and writes down what was done and when.
type script struct {
	mu       sync.Mutex
	failures map[string]error // by node; nil attaches
	hang     map[string]bool  // attempts that last until their context ends
	info     map[string]agent.NodeInfo
	sessions map[string][]*session
	attempts map[string][]time.Time
	targets  map[string][]agent.Target
	dialling int
	most     int           // dialling at one time
	takes    time.Duration // one attempt
}

func newScript() *script {
	return &script{
		failures: map[string]error{}, hang: map[string]bool{}, info: map[string]agent.NodeInfo{},
		sessions: map[string][]*session{}, attempts: map[string][]time.Time{}, targets: map[string][]agent.Target{},
	}
}

func (s *script) attach(ctx context.Context, t agent.Target) (node.Session, error) {
	s.begin(t)
	defer s.end()
	s.mu.Lock()
	hang, takes := s.hang[t.Node], s.takes
	s.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.Sleep(takes)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failures[t.Node]; err != nil {
		return nil, err
	}
	x := &session{info: s.info[t.Node], done: make(chan struct{})}
	s.sessions[t.Node] = append(s.sessions[t.Node], x)
	return x, nil
}

func (s *script) begin(t agent.Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts[t.Node] = append(s.attempts[t.Node], time.Now())
	s.targets[t.Node] = append(s.targets[t.Node], t)
	s.dialling++
	s.most = max(s.most, s.dialling)
}

func (s *script) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialling--
}

// fail makes attempts to attach the node fail from now on; nil ends that.
func (s *script) fail(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures[name] = err
}

// live returns the sessions of a node that have not ended.
func (s *script) live(name string) []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.sessions[name]), func(x *session) bool { return x.ended() })
}

// waits returns the times between the attempts to attach a node.
func (s *script) waits(name string) []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var d []time.Duration
	for i, t := range s.attempts[name] {
		if i > 0 {
			d = append(d, t.Sub(s.attempts[name][i-1]))
		}
	}
	return d
}

func (s *script) attempted(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.attempts[name])
}

type session struct {
	info agent.NodeInfo
	done chan struct{}

	mu       sync.Mutex
	detaches time.Duration // how long Detach takes
	err      error
	detached bool
	givenUp  bool // Detach was given no more time
	asked    []snapshot.Request
	// reductions is what readings cost, beyond 7 of the attachment.
	reductions uint64
	answer     func(context.Context, snapshot.Request) (*snapshot.Snapshot, error)
}

func (s *session) Snapshot(ctx context.Context, r snapshot.Request) (*snapshot.Snapshot, error) {
	s.mu.Lock()
	s.asked = append(s.asked, r)
	answer := s.answer
	s.mu.Unlock()
	if answer != nil {
		return answer(ctx, r)
	}
	names := r.Collectors
	if len(names) == 0 {
		names = []string{snapshot.Memory, snapshot.Statistics, snapshot.Mnesia}
	}
	reading := &snapshot.Snapshot{Taken: time.Now()}
	for _, n := range names {
		reading.Collectors = append(reading.Collectors, snapshot.Collector{Name: n})
	}
	return reading, nil
}

func (s *session) Info() agent.NodeInfo { return s.info }

func (s *session) Cost() agent.Cost {
	s.mu.Lock()
	defer s.mu.Unlock()
	return agent.Cost{Reductions: 7 + s.reductions}
}

// Request answers with the name of the source.
func (s *session) Request(_ context.Context, source string, _ agent.Term) (agent.Term, error) {
	return source, nil
}

func (s *session) Configure(context.Context, string, agent.Term) error { return nil }

func (s *session) SwitchOff(context.Context, string) error { return nil }

func (s *session) Run(context.Context, agent.Command, time.Duration, int) (agent.Term, error) {
	return nil, agent.ErrNoAgent
}

func (s *session) Call(context.Context, string, string, ...agent.Term) (agent.Term, error) {
	return nil, errors.New("no such function")
}

func (s *session) Done() <-chan struct{} { return s.done }

func (s *session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *session) Detach(ctx context.Context) error {
	s.mu.Lock()
	timer := time.NewTimer(s.detaches)
	s.mu.Unlock()
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		s.givenUp = true
		return ctx.Err()
	}
	s.stop(errors.New("detached"), true)
	return nil
}

// lose ends the session as the death of its node does.
func (s *session) lose(err error) { s.stop(err, false) }

func (s *session) stop(err error, detached bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err, s.detached = err, detached
		close(s.done)
	}
}

func (s *session) ended() bool { return s.Err() != nil }

func (s *session) wasDetached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.detached
}

func (s *session) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// memoryStore is a Store for tests inside a synctest bubble, which a database
// connection would be outside of.
type memoryStore struct {
	mu         sync.Mutex
	registered map[string]store.Registration
	suspended  map[string]time.Time
	families   map[string]string
	rules      []store.FamilyRule
	broken     error
}

func newMemoryStore() *memoryStore {
	return &memoryStore{registered: map[string]store.Registration{}, suspended: map[string]time.Time{}, families: map[string]string{}}
}

func (m *memoryStore) Registrations(context.Context) ([]store.Registration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []store.Registration
	for _, r := range m.registered {
		all = append(all, r)
	}
	return all, m.broken
}

func (m *memoryStore) Register(_ context.Context, r store.Registration) (bool, error) {
	return true, m.change(func() { m.registered[r.Name] = r })
}

func (m *memoryStore) Unregister(_ context.Context, name string) error {
	return m.change(func() { delete(m.registered, name) })
}

func (m *memoryStore) Suspended(context.Context) (map[string]time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string]time.Time{}
	for name, since := range m.suspended {
		all[name] = since
	}
	return all, m.broken
}

func (m *memoryStore) Suspend(_ context.Context, name string) error {
	return m.change(func() { m.suspended[name] = time.Now() })
}

func (m *memoryStore) Resume(_ context.Context, name string) error {
	return m.change(func() { delete(m.suspended, name) })
}

func (m *memoryStore) Families(context.Context) (map[string]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.families), m.broken
}

func (m *memoryStore) SaveFamily(_ context.Context, node, family string) error {
	return m.change(func() { m.families[node] = family })
}

func (m *memoryStore) FamilyRules(context.Context) ([]store.FamilyRule, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.rules), m.broken
}

func (m *memoryStore) ReplaceFamilyRules(_ context.Context, remove []string, add []store.FamilyRule) error {
	return m.change(func() {
		m.rules = slices.DeleteFunc(m.rules, func(r store.FamilyRule) bool { return slices.Contains(remove, r.ID) })
		m.rules = append(m.rules, add...)
	})
}

func (m *memoryStore) change(f func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken == nil {
		f()
	}
	return m.broken
}

// fleet is a running Fleet on a script.
type fleet struct {
	*node.Fleet
	*script
	store    *memoryStore
	registry *prometheus.Registry
	// stop ends Run and returns how long that took.
	stop func() time.Duration
}

const group = "g"

// inBubble runs a test on a Fleet whose time is that of a synctest bubble. It
// has one group, g, with a cookie, and the default group.
func inBubble(t *testing.T, test func(t *testing.T, f *fleet), adjust ...func(*node.Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := startFleet(t, newScript(), newMemoryStore(), adjust...)
		test(t, f)
		f.stop()
	})
}

func startFleet(t *testing.T, s *script, m *memoryStore, adjust ...func(*node.Options)) *fleet {
	t.Helper()
	f := &fleet{script: s, store: m, registry: prometheus.NewPedanticRegistry()}
	o := node.Options{Attach: s.attach, Store: m, Logger: slog.New(slog.DiscardHandler), Registerer: f.registry}
	for _, change := range adjust {
		change(&o)
	}
	var err error
	f.Fleet, err = node.New(o)
	require.NoError(t, err)
	f.Apply(groups("secret"))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	f.stop = sync.OnceValue(func() time.Duration {
		begun := time.Now()
		cancel()
		require.NoError(t, <-ended)
		return time.Since(begun)
	})
	t.Cleanup(func() { f.stop() })
	synctest.Wait()
	return f
}

func groups(cookie string) map[string]node.Group {
	return map[string]node.Group{
		group:             {Name: group, Cookie: sameCookie(cookie)},
		node.DefaultGroup: {Cookie: sameCookie("default")},
	}
}

// sameCookie gives every node the same cookie.
func sameCookie(cookie string) func(node, ref string) (string, error) {
	return func(string, string) (string, error) { return cookie, nil }
}

func targets(names ...string) []discovery.Target {
	var all []discovery.Target
	for _, n := range names {
		all = append(all, discovery.Target{Node: n, Group: group, Source: "static"})
	}
	return all
}

// discover sets the targets and waits until nothing more happens at once.
func (f *fleet) discover(names ...string) {
	f.SetTargets(targets(names...))
	synctest.Wait()
}

func (f *fleet) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (f *fleet) state(t *testing.T, name string) node.State {
	t.Helper()
	s, ok := f.Node(name)
	require.True(t, ok, "%s is known", name)
	return s.State
}
