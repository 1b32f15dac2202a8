package topology_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/discovery"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/store"
	"github.com/erlops/erlops/exporter/topology"
	"github.com/erlops/erlops/internal/erltest"
)

const (
	// patience is how long anything may take on a loaded machine.
	patience = 2 * time.Minute
	// quick is the pulse of tests.
	quick = 300 * time.Millisecond
)

// world is an exporter without its pages: a fleet and its topology on real
// nodes.
type world struct {
	*node.Fleet
	*topology.Topology
	registry *prometheus.Registry
	stop     func()
}

// setting is what a world begins with; it may be used for several, one after
// the other, as after restarts.
type setting struct {
	database string
	epmd     string
	cookie   func(node string) string
	rules    *node.Connected
	roots    []string
	families []node.FamilyPattern
}

func newSetting(t *testing.T, epmd, cookie string, roots ...string) setting {
	t.Helper()
	return setting{
		database: filepath.Join(t.TempDir(), "exporter.db"), epmd: epmd, roots: roots,
		cookie: func(string) string { return cookie },
		rules:  &node.Connected{MaxDepth: 8, MaxNodes: 200, ForgetAfter: time.Hour},
	}
}

func (s setting) start(t *testing.T) *world {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	network, err := dist.New(dist.Options{Name: "erl_exporter@localhost", Logger: logger})
	require.NoError(t, err)
	attacher, err := agent.New(agent.Options{Network: network, Logger: logger})
	require.NoError(t, err)
	db, err := store.Open(t.Context(), store.Options{URL: s.database})
	require.NoError(t, err)
	w := &world{registry: prometheus.NewPedanticRegistry()}
	w.Fleet, err = node.New(node.Options{
		Attach: func(ctx context.Context, target agent.Target) (node.Session, error) {
			return attacher.Attach(ctx, target)
		},
		Store: db, Logger: logger, RetryMin: 100 * time.Millisecond, RetryMax: time.Second, Pulse: quick,
		OnPulse: func(p node.Pulse) { w.Pulse(p) },
		Sources: func(node.Ref) []agent.Source { return []agent.Source{agent.InventorySource()} },
	})
	require.NoError(t, err)
	require.NoError(t, w.SetFamilies(s.families))
	w.Topology, err = topology.New(topology.Options{
		Fleet: w.Fleet, Store: db, Own: network.Name(), Logger: logger, Registerer: w.registry, Fresh: 10 * time.Second,
	})
	require.NoError(t, err)
	w.Apply(map[string]node.Group{"g": {
		Name: "g", EPMD: s.epmd, Connected: s.rules,
		Cookie: func(name, _ string) (string, error) { return s.cookie(name), nil },
	}})
	var targets []discovery.Target
	for _, root := range s.roots {
		targets = append(targets, discovery.Target{Node: root, EPMD: s.epmd, Group: "g", Source: "static"})
	}
	w.SetTargets(targets)

	networkCtx, stopNetwork := context.WithCancel(context.Background())
	ctx, cancel := context.WithCancel(networkCtx)
	var networks, parts sync.WaitGroup
	networks.Go(func() { _ = network.Run(networkCtx) })
	parts.Go(func() { _ = w.Fleet.Run(ctx) })
	parts.Go(func() { _ = w.Topology.Run(ctx) })
	w.stop = sync.OnceFunc(func() {
		cancel()
		parts.Wait()
		stopNetwork()
		networks.Wait()
		_ = db.Close()
	})
	t.Cleanup(w.stop)
	return w
}

// await waits until something is so.
func (w *world) await(t *testing.T, what string, so func() bool) {
	t.Helper()
	if !awaited(so) {
		for _, s := range w.Nodes() {
			t.Logf("%s is %s: %s", s.Name, s.State, s.LastError)
		}
		t.Logf("%s", w.Graph().DOT())
		t.Fatalf("never: %s", what)
	}
}

func awaited(so func() bool) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if so() {
			return true
		}
	}
	return false
}

// up are the names of the nodes that are attached.
func (w *world) up() []string {
	var names []string
	for _, s := range w.Nodes() {
		if s.State == node.Up {
			names = append(names, s.Name)
		}
	}
	return names
}

func (w *world) awaitUp(t *testing.T, names ...string) {
	t.Helper()
	w.await(t, fmt.Sprintf("exactly %d nodes are up: %v", len(names), names), func() bool {
		up := map[string]bool{}
		for _, name := range w.up() {
			up[name] = true
		}
		for _, name := range names {
			if !up[name] {
				return false
			}
		}
		return len(up) == len(names)
	})
}

func (w *world) link(a, b string) (topology.Link, bool) {
	for _, l := range w.Graph().Links {
		if l.A == a && l.B == b || l.A == b && l.B == a {
			return l, true
		}
	}
	return topology.Link{}, false
}

func (w *world) findings(kind topology.Kind) []topology.Finding {
	var found []topology.Finding
	for _, f := range w.Findings() {
		if f.Kind == kind {
			found = append(found, f)
		}
	}
	return found
}

// byHand starts nodes that connect only when they are told to.
func byHand(t *testing.T, o erltest.Options) *erltest.Node {
	t.Helper()
	o.Args = append(o.Args, "-kernel", "dist_auto_connect", "never", "-kernel", "prevent_overlapping_partitions", "false")
	return erltest.Start(t, o)
}

func connect(t *testing.T, from, to *erltest.Node) {
	t.Helper()
	require.Equal(t, "true", from.Eval(t, "net_kernel:connect_node('"+to.Name+"')"))
}

func names(nodes ...*erltest.Node) []string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.Name)
	}
	return all
}
