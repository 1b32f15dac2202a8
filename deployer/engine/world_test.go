package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/engine"
	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/provider/providertest"
	"github.com/erlops/erlops/deployer/store"
)

// world is all that is outside of the engine: machines, hosts, Erlang nodes and
// an exporter. It stays when an engine is killed.
type world struct {
	t        testing.TB
	memory   *providertest.Memory
	archives *store.Archives
	digest   string
	db       *store.Store

	mu    sync.Mutex
	hosts map[string]*fakeHost
	boot  time.Duration // how long a started node takes to answer
	// fail gives the error of an operation, such as "start", on a host.
	fail    func(op, host string) error
	watched map[string]engine.MonitorNode
	away    bool // the exporter is
	// life is the engine that runs now.
	life *life
}

// fakeHost is a host that keeps what is put on it.
type fakeHost struct {
	platform fleet.Platform
	archives map[string]bool
	nodes    map[string]*fakeNode
	tokens   map[string]error // results of runs by token
	ends     bool             // what is started ends at once
	// listening are ports that programs which are no nodes listen on.
	listening []int
}

// fakeNode is a node on a host.
type fakeNode struct {
	name                 string
	archive              string
	configured, running  bool
	started              time.Time
	port                 int               // that distribution listens on
	variables            map[string]string // of its templates
	starts, joins, stops int
	joined               string
	left                 bool
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, memory: &providertest.Memory{}, hosts: map[string]*fakeHost{}, watched: map[string]engine.MonitorNode{}}
	w.memory.Before = func(context.Context, string) error { return w.alive() }
	w.memory.After = func(_ context.Context, op string) error { return w.strike("provider " + op) }
	var err error
	w.archives, err = store.NewArchives(filepath.Join(t.TempDir(), "archives"))
	require.NoError(t, err)
	a, err := w.archives.Create(strings.NewReader("an archive"), "", func(*os.File) error { return nil })
	require.NoError(t, err)
	w.digest = a.SHA256
	key, err := store.CreateKey(filepath.Join(t.TempDir(), "key"))
	require.NoError(t, err)
	w.db, err = store.Open(t.Context(), store.Options{URL: ":memory:", Key: key})
	require.NoError(t, err)
	return w
}

// life is one engine: it can be killed at any point, and then nothing of it
// has any effect any more.
type life struct {
	mu     sync.Mutex
	points int
	killAt int // 0 for never
	dead   bool
	where  string
	cancel context.CancelFunc
}

var errKilled = errors.New("the engine was killed")

// alive fails when the engine that runs was killed.
func (w *world) alive() error {
	w.mu.Lock()
	l := w.life
	w.mu.Unlock()
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return errKilled
	}
	return nil
}

// strike is a point at which the engine may be killed: after an effect, before
// the engine hears of it.
func (w *world) strike(where string) error {
	w.mu.Lock()
	l := w.life
	w.mu.Unlock()
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return errKilled
	}
	l.points++
	if l.points == l.killAt {
		l.dead, l.where = true, where
		l.cancel()
		return errKilled
	}
	return nil
}

// database is the store as an engine sees it that can be killed.
type database struct {
	*store.Store
	w *world
}

func (d database) Update(ctx context.Context, f func(*store.Tx) error) error {
	if err := d.w.alive(); err != nil {
		return err
	}
	if err := d.Store.Update(ctx, f); err != nil {
		return err
	}
	return d.w.strike("commit")
}

// options are those of an engine in this world.
func (w *world) options() engine.Options {
	return engine.Options{
		Store: database{w.db, w}, Archives: w.archives,
		Providers: map[string]provider.Factory{"physical": w.memory.Factory, "cloud": w.memory.Factory},
		OpenHost:  w.open, Erlang: fakeErlang{w}, Monitor: fakeMonitor{w},
		Logger: slog.New(slog.DiscardHandler),
	}
}

// run runs an engine until stop, or until it is killed at a point; done is
// closed then.
func (w *world) run(o engine.Options, killAt int) (e *engine.Engine, l *life, stop func()) {
	w.t.Helper()
	e, err := engine.New(o)
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	l = &life{killAt: killAt, cancel: cancel}
	w.mu.Lock()
	w.life = l
	w.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.Run(ctx)
	}()
	return e, l, func() {
		cancel()
		<-done
		w.mu.Lock()
		w.life = nil
		w.mu.Unlock()
	}
}

func (w *world) host(name string) *fakeHost {
	h := w.hosts[name]
	if h == nil {
		h = &fakeHost{
			platform: fleet.Platform{OS: "linux", Arch: "x86_64"},
			archives: map[string]bool{}, nodes: map[string]*fakeNode{}, tokens: map[string]error{},
		}
		w.hosts[name] = h
	}
	return h
}

// nodes returns all nodes on all hosts.
func (w *world) nodes() []*fakeNode {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []*fakeNode
	for _, h := range w.hosts {
		for _, n := range h.nodes {
			all = append(all, n)
		}
	}
	return all
}

// failing lets operations fail.
func (w *world) failing(f func(op, host string) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = f
}

func (w *world) open(ctx context.Context, l fleet.Login) (engine.Host, error) {
	h := shell{w: w, name: l.Host}
	return h, h.do(ctx, "open", func(*fakeHost) error { return nil })
}

// shell is the way to a host.
type shell struct {
	w    *world
	name string
}

func (s shell) do(ctx context.Context, op string, f func(*fakeHost) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.w.alive(); err != nil {
		return err
	}
	s.w.mu.Lock()
	var err error
	if s.w.fail != nil {
		err = s.w.fail(op, s.name)
	}
	if err == nil {
		err = f(s.w.host(s.name))
	}
	s.w.mu.Unlock()
	return errors.Join(err, s.w.strike(op))
}

func (s shell) Close() error { return nil }

func (s shell) Facts(ctx context.Context) (facts fleet.Facts, err error) {
	err = s.do(ctx, "facts", func(h *fakeHost) error {
		facts = fleet.Facts{Platform: h.platform, Hostname: s.name, FreeBytes: 1 << 30, Listening: slices.Clone(h.listening)}
		for _, n := range h.nodes {
			if n.running {
				facts.Listening = append(facts.Listening, n.port)
			}
		}
		return nil
	})
	return facts, err
}

func (s shell) EnsureUser(ctx context.Context, _ string, _ bool) error {
	return s.do(ctx, "user", func(*fakeHost) error { return nil })
}

func (s shell) Upload(ctx context.Context, a fleet.Archive, content io.ReaderAt, progress func(int64)) error {
	return s.do(ctx, "upload", func(h *fakeHost) error {
		if _, err := content.ReadAt(make([]byte, a.Size), 0); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		progress(a.Size)
		h.archives[a.SHA256] = true
		return nil
	})
}

func (s shell) Install(ctx context.Context, i fleet.Installation) error {
	return s.do(ctx, "install", func(h *fakeHost) error {
		if !h.archives[i.Archive.SHA256] {
			return errors.New("the archive is not there")
		}
		if h.nodes[i.NodeID] == nil {
			h.nodes[i.NodeID] = &fakeNode{name: i.NodeName}
		}
		h.nodes[i.NodeID].archive = i.Archive.SHA256
		return nil
	})
}

func (s shell) Configure(ctx context.Context, i fleet.Installation) (warnings []string, err error) {
	err = s.do(ctx, "configure", func(h *fakeHost) error {
		n := h.nodes[i.NodeID]
		n.configured, n.port, n.variables = true, i.Ports.From, i.Variables
		return nil
	})
	return []string{"a warning"}, err
}

// Run runs a command once for each token, as a real host does.
func (s shell) Run(ctx context.Context, i fleet.Installation, c fleet.Command) (out fleet.Output, err error) {
	err = s.do(ctx, string(c.Step), func(h *fakeHost) error {
		if result, ok := h.tokens[c.Token]; ok && c.Token != "" {
			out = fleet.Output{Repeated: true, Text: c.Line + " has run"}
			return result
		}
		err := h.command(i, c)
		h.tokens[c.Token] = err
		out.Text = c.Line + " has run"
		return err
	})
	return out, err
}

func (h *fakeHost) command(i fleet.Installation, c fleet.Command) error {
	n := h.nodes[i.NodeID]
	if n == nil || !n.configured {
		return &fleet.CommandError{Command: c.Line, ExitStatus: 127}
	}
	switch c.Step {
	case fleet.StepStart:
		n.starts++
		n.running, n.started = !h.ends, time.Now()
	case fleet.StepStop:
		n.stops++
		n.running = false
	case fleet.StepBootstrap:
		n.joins++
		n.joined = c.Args[0]
	case fleet.StepLeave:
		n.left = true
	}
	return nil
}

func (s shell) Running(ctx context.Context, i fleet.Installation) (running bool, err error) {
	err = s.do(ctx, "running", func(h *fakeHost) error {
		n := h.nodes[i.NodeID]
		running = n != nil && n.running
		return nil
	})
	return running, err
}

func (s shell) Kill(ctx context.Context, i fleet.Installation) error {
	return s.do(ctx, "kill", func(h *fakeHost) error {
		if n := h.nodes[i.NodeID]; n != nil {
			n.running = false
		}
		return nil
	})
}

func (s shell) Clean(ctx context.Context, i fleet.Installation) error {
	return s.do(ctx, "clean", func(h *fakeHost) error {
		delete(h.nodes, i.NodeID)
		return nil
	})
}

// fakeErlang pings what runs.
type fakeErlang struct{ w *world }

func (f fakeErlang) Ping(ctx context.Context, a engine.NodeAddress) error {
	if err := errors.Join(ctx.Err(), f.w.alive()); err != nil {
		return err
	}
	f.w.mu.Lock()
	n := f.w.find(a.Name)
	up := n != nil && n.running && time.Since(n.started) >= f.w.boot
	f.w.mu.Unlock()
	if !up {
		return fmt.Errorf("node %s does not answer", a.Name)
	}
	return f.w.strike("ping")
}

// find returns a node by its name; the world is locked.
func (w *world) find(name string) *fakeNode {
	for _, h := range w.hosts {
		for _, n := range h.nodes {
			if n.name == name {
				return n
			}
		}
	}
	return nil
}

func (f fakeErlang) Connect(ctx context.Context, a engine.NodeAddress, other string) error {
	if err := errors.Join(ctx.Err(), f.w.alive()); err != nil {
		return err
	}
	f.w.mu.Lock()
	n, o := f.w.find(a.Name), f.w.find(other)
	ok := n != nil && o != nil && n.running && o.running
	if ok {
		n.joins++
		n.joined = other
	}
	f.w.mu.Unlock()
	if !ok {
		return errors.New("not connected")
	}
	return f.w.strike("connect")
}

// fakeMonitor is an exporter that looks at its nodes every second.
type fakeMonitor struct{ w *world }

func (f fakeMonitor) call(ctx context.Context, op string, do func()) error {
	if err := errors.Join(ctx.Err(), f.w.alive()); err != nil {
		return err
	}
	f.w.mu.Lock()
	away := f.w.away
	if !away {
		do()
	}
	f.w.mu.Unlock()
	if away {
		return fleet.Errorf(fleet.ErrUnavailable, "the exporter is away")
	}
	return f.w.strike(op)
}

func (f fakeMonitor) Register(ctx context.Context, n engine.MonitorNode) error {
	return f.call(ctx, "register", func() { f.w.watched[n.Name] = n })
}

func (f fakeMonitor) Deregister(ctx context.Context, name string) error {
	return f.call(ctx, "deregister", func() { delete(f.w.watched, name) })
}

func (f fakeMonitor) Watch(ctx context.Context, tell func(engine.MonitorState), away func(error)) error {
	known := map[string]bool{}
	for {
		f.w.mu.Lock()
		isAway := f.w.away
		var states []engine.MonitorState
		for name := range known {
			if _, ok := f.w.watched[name]; !ok && !isAway {
				states = append(states, engine.MonitorState{Name: name})
				delete(known, name)
			}
		}
		for name := range f.w.watched {
			n := f.w.find(name)
			known[name] = true
			states = append(states, engine.MonitorState{Name: name, Known: true, Up: n != nil && n.running, Reason: "connection lost"})
		}
		f.w.mu.Unlock()
		if isAway {
			away(errors.New("the exporter is away"))
		} else {
			for _, s := range states {
				tell(s)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Second):
		}
	}
}

// set is a family with what it needs.
type set struct {
	provider fleet.Provider
	release  fleet.Release
	family   fleet.Family
}

// prepare makes a provider, a release and a family. Without hosts, machines are
// made.
func (w *world) prepare(e *engine.Engine, hosts ...provider.Host) set {
	w.t.Helper()
	ctx := context.Background()
	w.memory.Hosts = hosts
	record := fleet.Provider{Name: "cloud", Kind: "cloud"}
	if len(hosts) > 0 {
		record = fleet.Provider{Name: "Local", Kind: fleet.KindPhysical}
		for _, h := range hosts {
			record.Servers = append(record.Servers, fleet.Server{Host: h.Name, Slots: h.Slots})
		}
	}
	p, err := e.AddProvider(ctx, record)
	require.NoError(w.t, err)
	r, err := e.AddRelease(ctx, fleet.Release{
		Name: "shop", StartCommand: "bin/shop start", StopCommand: "bin/shop stop", Cookie: "monster",
		Templates: []string{"etc/vm.args"}, Archives: []fleet.Archive{{SHA256: w.digest}},
	})
	require.NoError(w.t, err)
	f, err := e.AddFamily(ctx, fleet.Family{
		Name: "Shop Cluster", ReleaseID: r.ID,
		Bootstrap: fleet.Bootstrap{Strategy: fleet.BootstrapCustom, Command: "bin/bootstrap", LeaveCommand: "bin/leave"},
		Domains:   []fleet.Domain{{ProviderID: p.ID, SSHUser: "erl"}},
		Ports:     fleet.PortRange{From: 6000, To: 6009},
	})
	require.NoError(w.t, err)
	return set{p, r, f}
}

// until waits for something to become true of the fleet.
func (w *world) until(e *engine.Engine, limit time.Duration, what string, ok func([]fleet.Node) bool) []fleet.Node {
	w.t.Helper()
	var nodes []fleet.Node
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		var err error
		nodes, err = e.Nodes(context.Background(), fleet.NodeFilter{})
		require.NoError(w.t, err)
		if ok(nodes) {
			return nodes
		}
	}
	for _, n := range nodes {
		w.t.Logf("node %s: %s, goal %s, registration %q, reason %v, task %+v", n.Name, n.State, n.Goal, n.Registration, n.Reason, n.Task)
	}
	require.FailNow(w.t, "it did not come to this: "+what)
	return nil
}

// all tells whether there are so many nodes, all of them in a state and idle.
func all(amount int, state fleet.State) func([]fleet.Node) bool {
	return func(nodes []fleet.Node) bool {
		return len(nodes) == amount && !slices.ContainsFunc(nodes, func(n fleet.Node) bool { return n.State != state || n.Task != nil })
	}
}
