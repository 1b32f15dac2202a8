package agent_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// exporter is an Attacher with a network of its own.
func exporter(t testing.TB, name string, o agent.Options) *agent.Attacher {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	network, err := dist.New(dist.Options{Name: name, Logger: logger})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- network.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	o.Network, o.Logger = network, logger
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
