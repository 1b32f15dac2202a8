package node_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/discovery"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/exporter/store"
	"github.com/erlops/erlops/internal/erltest"
)

// patience is how long something may take that happens on real nodes, on a
// machine with other things to do.
const patience = 45 * time.Second

// realFleet is a Fleet on real nodes: the real network, agent and database.
type realFleet struct {
	*node.Fleet
	name string // of the exporter, as nodes see it
	stop func()
}

var fleets atomic.Int32

func startReal(t *testing.T, database string, groups map[string]node.Group) *realFleet {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	name := fmt.Sprintf("fleet%d@127.0.0.1", fleets.Add(1))
	network, err := dist.New(dist.Options{Name: name, Logger: logger})
	require.NoError(t, err)
	attacher, err := agent.New(agent.Options{Network: network, Logger: logger})
	require.NoError(t, err)
	s, err := store.Open(t.Context(), store.Options{URL: database})
	require.NoError(t, err)
	f, err := node.New(node.Options{
		Attach: func(ctx context.Context, target agent.Target) (node.Session, error) {
			session, err := attacher.Attach(ctx, target)
			if err != nil {
				return nil, err
			}
			return session, nil
		},
		Store: s, Logger: logger, RetryMin: 200 * time.Millisecond, RetryMax: time.Second,
	})
	require.NoError(t, err)
	f.Apply(groups)

	stopNetwork := background(t, network.Run)
	stopFleet := background(t, f.Run)
	require.Eventually(t, f.Ready, patience, time.Millisecond)
	return &realFleet{f, name, func() {
		stopFleet()
		stopNetwork()
		require.NoError(t, s.Close())
	}}
}

// background runs a component until the returned function is called.
func background(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			assert.NoError(t, err)
		case <-time.After(patience):
			t.Error("Run does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

func (f *realFleet) await(t *testing.T, name string, s node.State) node.Status {
	t.Helper()
	var last node.Status
	require.Eventually(t, func() bool {
		last, _ = f.Node(name)
		return last.State == s
	}, patience, 10*time.Millisecond, "%s is to be %s", name, s)
	return last
}

func foundByTest(nodes ...*erltest.Node) []discovery.Target {
	var all []discovery.Target
	for _, n := range nodes {
		all = append(all, discovery.Target{Node: n.Name, EPMD: n.EPMD, Group: group, Source: "static", Labels: map[string]string{}})
	}
	return all
}

// agents counts the agent's modules and processes on a node.
func agents(t *testing.T, n *erltest.Node) string {
	t.Helper()
	return n.Eval(t, `length([M || {M, _} <- code:all_loaded(), lists:prefix("erl_exporter", atom_to_list(M))])
		+ length([N || N <- registered(), lists:prefix("erl_exporter", atom_to_list(N))])`)
}

// TestRealNodes takes real nodes through their states.
func TestRealNodes(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{Cookie: "right"})
	refused := erltest.Start(t, erltest.Options{Cookie: "another"})
	f := startReal(t, filepath.Join(t.TempDir(), "erl.db"), map[string]node.Group{group: {Name: group, Cookie: sameCookie("right")}})
	n.Kill()
	f.SetTargets(foundByTest(n, refused))

	down := f.await(t, n.Name, node.Down)
	require.Equal(t, "unknown_to_epmd", down.LastErrorKind)
	n.Restart()
	up := f.await(t, n.Name, node.Up)
	own, _, _ := strings.Cut(n.Name, "@")
	require.Equal(t, own, up.Family)
	require.Equal(t, "Erlang/OTP", up.Info.ScriptName)
	readable(t, f, n)

	n.Kill()
	f.await(t, n.Name, node.Down)
	_, err := f.Snapshot(t.Context(), n.Name, snapshot.Request{})
	var state *node.StateError
	require.ErrorAs(t, err, &state)
	n.Restart()
	require.EqualValues(t, 1, f.await(t, n.Name, node.Up).Reconnects)
	readable(t, f, n)

	cookie := f.await(t, refused.Name, node.Refused)
	require.Equal(t, "cookie", cookie.LastErrorKind)
	require.NotContains(t, cookie.LastError, "right")

	// Removed from discovery, the node is as it was before.
	f.SetTargets(foundByTest(refused))
	require.Eventually(t, func() bool { return agents(t, n) == "0" }, patience, 20*time.Millisecond)

	// The right cookie mends the refused node without a restart.
	mended := node.Group{Name: group, Cookie: sameCookie("another")}
	f.Apply(map[string]node.Group{group: mended})
	f.await(t, refused.Name, node.Up)
	readable(t, f, refused)

	// New settings need a new agent.
	mended.Settings.AllocatorsPerInstance = true
	f.Apply(map[string]node.Group{group: mended})
	require.Eventually(t, func() bool {
		s, _ := f.Node(refused.Name)
		return s.State == node.Up && s.Reconnects == 1
	}, patience, 10*time.Millisecond)
	readable(t, f, refused)
	f.stop()
	require.Equal(t, "0", agents(t, refused))
}

// TestRealSuspension suspends a real node over a restart of the exporter.
func TestRealSuspension(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	database := filepath.Join(t.TempDir(), "erl.db")
	groups := map[string]node.Group{node.DefaultGroup: {Cookie: sameCookie(n.Cookie)}}

	f := startReal(t, database, groups)
	require.NoError(t, f.Add(t.Context(), store.Registration{Name: n.Name, EPMD: n.EPMD, Family: "shop"}))
	require.Equal(t, "shop", f.await(t, n.Name, node.Up).Family)
	require.NotEqual(t, "0", agents(t, n))
	require.NoError(t, f.Suspend(t.Context(), n.Name))
	require.Equal(t, "0", agents(t, n), "the agent is gone when Suspend returns")
	f.stop()

	f = startReal(t, database, groups)
	s := f.await(t, n.Name, node.Suspended)
	require.Empty(t, s.LastError)
	require.Zero(t, s.Reconnects)
	require.Equal(t, "0", agents(t, n))
	require.NoError(t, f.Resume(t.Context(), n.Name))
	f.await(t, n.Name, node.Up)
	readable(t, f, n)
	require.NoError(t, f.Remove(t.Context(), n.Name))
	require.Equal(t, "0", agents(t, n))
	f.stop()
}

// TestRealOwner has two exporters that want the same node.
func TestRealOwner(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	groups := map[string]node.Group{group: {Name: group, Cookie: sameCookie(n.Cookie)}}
	first := startReal(t, "sqlite://:memory:", groups)
	first.SetTargets(foundByTest(n))
	first.await(t, n.Name, node.Up)

	second := startReal(t, "sqlite://:memory:", groups)
	second.SetTargets(foundByTest(n))
	s := second.await(t, n.Name, node.Refused)
	require.Equal(t, "owned", s.LastErrorKind)
	require.Contains(t, s.LastError, first.name)
	readable(t, first, n)

	first.stop()
	second.await(t, n.Name, node.Up)
	second.stop()
}

// readable takes a reading that only a real node can give.
func readable(t *testing.T, f *realFleet, n *erltest.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	reading, err := f.Snapshot(ctx, n.Name, snapshot.Request{Collectors: []string{snapshot.Memory}})
	require.NoError(t, err)
	memory, _ := reading.Table("memory")
	total, ok := memory.Value("total")
	require.True(t, ok)
	require.Greater(t, total, 1e6)
}
