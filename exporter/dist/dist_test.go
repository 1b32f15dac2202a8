package dist_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/internal/erltest"
)

// start runs a Network for the time of the test.
func start(t testing.TB, o dist.Options) *dist.Network {
	t.Helper()
	if o.Name == "" {
		o.Name = "erl_exporter@127.0.0.1"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	n, err := dist.New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			require.NoError(t, err)
		case <-time.After(10 * time.Second):
			t.Error("Run did not return")
		}
	})
	return n
}

// target is how to reach a test node through its epmd.
func target(n *erltest.Node) dist.Target {
	return dist.Target{Node: n.Name, Cookie: n.Cookie, EPMD: n.EPMD}
}

func dial(t testing.TB, n *dist.Network, to dist.Target) *dist.Conn {
	t.Helper()
	c, err := n.Dial(t.Context(), to)
	require.NoError(t, err)
	return c
}

// event gives the next event.
func event(t testing.TB, c *dist.Conn) etf.Term {
	t.Helper()
	select {
	case e := <-c.Events():
		return e
	case <-c.Done():
		t.Fatalf("connection ended: %v", c.Err())
	case <-time.After(10 * time.Second):
		t.Fatal("no event")
	}
	return nil
}
