package agent_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// startNetwork runs a network of its own until the test ends.
func startNetwork(t testing.TB, name string) *dist.Network {
	t.Helper()
	network, err := dist.New(dist.Options{Name: name, Logger: logger(t)})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- network.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return network
}

func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// exporter is an Attacher with a network of its own.
func exporter(t testing.TB, name string, o agent.Options) *agent.Attacher {
	t.Helper()
	o.Network, o.Logger = startNetwork(t, name), logger(t)
	a, err := agent.New(o)
	require.NoError(t, err)
	return a
}

func target(n *erltest.Node, s agent.Settings) agent.Target {
	return agent.Target{Node: n.Name, Cookie: n.Cookie, Address: n.Address(), Settings: s}
}

func attach(t testing.TB, a *agent.Attacher, n *erltest.Node, s agent.Settings) *agent.Session {
	t.Helper()
	session, err := a.Attach(deadline(t), target(n, s))
	require.NoError(t, err)
	return session
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	node := erltest.Start(t, erltest.Options{})
	session := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), node, agent.Settings{})
	read, err := session.Snapshot(deadline(t), snapshot.Request{})
	require.NoError(t, err)
	t.Logf("%+v", session.Info())
	for _, c := range read.Collectors {
		t.Logf("%+v", c)
	}
	require.NoError(t, session.Detach(deadline(t)))
}

// collector gives a collector's outcome.
func collector(t testing.TB, all *snapshot.Snapshot, name string) snapshot.Collector {
	t.Helper()
	i := slices.IndexFunc(all.Collectors, func(c snapshot.Collector) bool { return c.Name == name })
	require.GreaterOrEqual(t, i, 0, "no collector %s", name)
	return all.Collectors[i]
}
