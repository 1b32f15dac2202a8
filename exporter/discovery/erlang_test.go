package discovery_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/discovery"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/internal/erltest"
)

// names asks a real epmd the way the exporter does.
func names(ctx context.Context, addr string) ([]discovery.Name, error) {
	known, err := dist.Names(ctx, addr)
	if err != nil {
		return nil, err
	}
	list := make([]discovery.Name, 0, len(known))
	for _, n := range known {
		list = append(list, discovery.Name{Name: n.Name, Port: n.Port})
	}
	return list, nil
}

// A node that starts is found through its epmd, and one that stops is gone.
func TestRealEPMD(t *testing.T) {
	t.Parallel()
	first := erltest.Start(t, erltest.Options{LongNames: true})
	m, err := discovery.New(discovery.Options{
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), EPMDNames: names,
		Groups: []discovery.Group{{Name: "g", SD: discovery.SDConfigs{EPMD: []*discovery.EPMDConfig{{
			Hosts: []string{first.EPMD}, RefreshInterval: model.Duration(50 * time.Millisecond),
		}}}}},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	await := func(want ...string) {
		t.Helper()
		deadline := time.After(30 * time.Second)
		for {
			select {
			case set := <-m.Targets():
				var got []string
				for _, target := range set {
					require.Equal(t, first.EPMD, target.EPMD)
					got = append(got, target.Node)
				}
				if slices.Equal(got, want) {
					return
				}
			case <-deadline:
				require.FailNow(t, "not found", "%v", want)
			}
		}
	}
	await(first.Name)
	first.Stop()
	await()
}
