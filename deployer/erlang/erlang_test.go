package erlang_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/engine"
	"github.com/erlops/erlops/deployer/erlang"
	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/internal/erltest"
)

// newAsker runs a hidden node to ask from.
func newAsker(t *testing.T) *erlang.Asker {
	t.Helper()
	n, err := dist.New(dist.Options{Name: "erl_deploy_test@localhost"})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return erlang.New(n)
}

func address(n *erltest.Node) engine.NodeAddress {
	return engine.NodeAddress{Name: n.Name, Cookie: fleet.Secret(n.Cookie), EPMD: n.EPMD}
}

func TestNodes(t *testing.T) {
	t.Parallel()
	a := newAsker(t)
	epmd := erltest.StartEPMD(t)
	const cookie = "hunter2"
	one := erltest.Start(t, erltest.Options{EPMD: epmd, Cookie: cookie})
	two := erltest.Start(t, erltest.Options{EPMD: epmd, Cookie: cookie})
	other := erltest.Start(t, erltest.Options{EPMD: epmd})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 3 { // each time a new connection
		require.NoError(t, a.Ping(ctx, address(one)))
	}
	require.NoError(t, a.Connect(ctx, address(one), two.Name))
	require.Contains(t, one.Eval(t, "nodes()"), two.Name)
	require.ErrorContains(t, a.Connect(ctx, address(one), other.Name), "cannot connect")

	wrong := address(one)
	wrong.Cookie = "hunter3"
	err := a.Ping(ctx, wrong)
	require.ErrorIs(t, err, dist.ErrCookie)
	require.NotContains(t, err.Error(), "hunter")
	require.Eventually(t, func() bool { return one.Eval(t, "length(nodes(hidden))") == "0" }, 20*time.Second, 50*time.Millisecond, "we are gone when we have asked")

	two.Stop()
	require.Error(t, a.Ping(ctx, address(two)))
	bad := address(one)
	bad.Name = "no name"
	var permanent *fleet.PermanentError
	require.ErrorAs(t, a.Ping(ctx, bad), &permanent)
}
