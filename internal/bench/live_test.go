//go:build bench

package bench_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// watched is for how long a node is watched: as long as the agent's rarest work
// takes to come round, so that each time has as much of it.
const watched = time.Minute

// TestLive is what a node does for nobody, one and ten who watch it every second.
func TestLive(t *testing.T) {
	n := erltest.Start(t, erltest.Options{})
	p := exportertest.Start(t, exportertest.Options{
		Config: fmt.Sprintf("cookie_file: cookie\ntargets: [{name: t, epmd: %q, static_configs: [{targets: [%q]}]}]\n", n.EPMD, n.Name),
		Files:  map[string]string{"cookie": n.Cookie},
	})
	p.AwaitUp(n.Name, 30*time.Second)
	results := newTable("what a node does in a second while it is watched", "reductions", "run time", "readings by each")
	var one work
	for _, watchers := range []int{0, 1, 10} {
		did, readings := watchedBy(t, p, n, watchers)
		if watchers == 1 {
			one = did
		}
		seconds := watched.Seconds()
		results.row(fmt.Sprintf("%d watchers", watchers), count(did.reductions/seconds),
			micros(time.Duration(float64(did.cpu)/seconds)), fmt.Sprintf("%.2f", readings))
		if watchers == 10 {
			results.row("ten against one", ratio(did.reductions, one.reductions), ratio(float64(did.cpu), float64(one.cpu)), "")
		}
	}
	results.end()
}

// watchedBy returns what a node did while so many watched it, and how many
// readings a second each of them got.
func watchedBy(t *testing.T, p *exportertest.Process, n *erltest.Node, watchers int) (did work, readings float64) {
	t.Helper()
	c, err := client.New(client.Options{URL: p.URL})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var group errgroup.Group
	got := make([]int, watchers)
	first := make(chan struct{}, watchers)
	for i := range watchers {
		group.Go(func() error {
			params := client.StreamMetricsParams{Metrics: []string{"erlang_vm_process_count,erlang_vm_memory_bytes_total,erlang_vm_statistics_run_queues_length"}}
			err := client.WatchMetrics(ctx, c.ClientInterface, n.Name, params, func(client.LiveEvent) error {
				if got[i]++; got[i] == 1 {
					first <- struct{}{}
				}
				return nil
			}, nil)
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		})
	}
	for range watchers {
		<-first
	}
	before := workOf(t, n)
	time.Sleep(watched)
	did = workOf(t, n).since(before)
	cancel()
	require.NoError(t, group.Wait())
	for _, events := range got {
		readings += float64(events-1) / watched.Seconds() / float64(watchers)
	}
	return did, readings
}
