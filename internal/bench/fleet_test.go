//go:build bench

package bench_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
	"github.com/erlops/erlops/internal/proc"
)

const (
	fleetSize = 100
	// starting is how many nodes are started at a time.
	starting = 8
	// token makes us the exporter's administrator.
	token = "token-of-the-measurement"
)

// fleetConfig lists nodes, and lets us ask for a garbage collection.
const fleetConfig = `
name: erl_exporter@localhost
cookie_file: cookie
storage: {path: exporter.db}
auth:
  unauthenticated_role: read
  tokens: [{name: bench, role: admin, token: ` + token + `}]
targets: [{name: bench, epmd: %q, static_configs: [{targets: [%s]}]}]
`

// TestFleet attaches and scrapes a hundred nodes.
func TestFleet(t *testing.T) {
	nodes := startFleet(t)
	none := startExporter(t, nil)
	empty := atRest(none)
	none.Stop()

	first, p := upTime(t, nodes)
	p.Stop()
	again, p := upTime(t, nodes)
	times := newTable(fmt.Sprintf("%d plain nodes (+S 1:1), one exporter", fleetSize), "", "aim")
	times.row("from its start until all are up, nodes that no exporter has seen", seconds(first), "3.0 s")
	times.row("the same, nodes that have been attached before", seconds(again), "")
	uses := newUses(empty)
	uses.note("attached", atRest(p))
	for _, w := range []struct{ interval, window time.Duration }{{15 * time.Second, time.Minute}, {time.Second, 20 * time.Second}} {
		cpu, waited := scrapeFleet(t, p, nodes, w.interval, w.window)
		what := fmt.Sprintf("each scraped every %s", w.interval)
		times.row(what+": exporter's share of a CPU", fmt.Sprintf("%.1f %%", 100*cpu.Seconds()/w.window.Seconds()), "")
		times.row(what+": CPU time of a scrape", micros(cpu/time.Duration(len(waited))), "")
		times.row(what+": time of a scrape, median", micros(waited[len(waited)/2]), "")
		times.row(what+": time of a scrape, 99 %", micros(waited[len(waited)*99/100]), "")
		uses.note(what, p.Resources())
	}
	uses.note("at rest again", atRest(p))
	times.end()
	uses.print()
	p.Stop()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// uses collects what an exporter uses more than one without nodes.
type uses struct {
	empty exportertest.Resources
	rows  [][]string
}

func newUses(empty exportertest.Resources) *uses { return &uses{empty: empty} }

func (u *uses) note(what string, is exportertest.Resources) {
	share := func(a, b int) string { return fmt.Sprintf("%.1f", float64(a-b)/fleetSize) }
	u.rows = append(u.rows, []string{
		what, kilobytes(float64(is.RSS-u.empty.RSS) / fleetSize), kilobytes(float64(is.Heap-u.empty.Heap) / fleetSize),
		share(is.Goroutines, u.empty.Goroutines), share(is.Descriptors, u.empty.Descriptors), "300 KiB of RSS",
	})
}

func (u *uses) print() {
	t := newTable(fmt.Sprintf("the same exporter, a node, beyond what it uses without nodes (RSS %s, heap %s)",
		kilobytes(float64(u.empty.RSS)), kilobytes(float64(u.empty.Heap))), "RSS", "heap", "goroutines", "descriptors", "aim")
	for _, r := range u.rows {
		t.row(r[0], r[1:]...)
	}
	t.end()
}

func startFleet(t *testing.T) []*erltest.Node {
	t.Helper()
	erltest.RequireErlang(t)
	epmd := erltest.StartEPMD(t)
	nodes := make([]*erltest.Node, fleetSize)
	var group errgroup.Group
	group.SetLimit(starting)
	for i := range nodes {
		group.Go(func() error {
			nodes[i] = erltest.Start(t, erltest.Options{
				Name: fmt.Sprintf("bench%d", i), Cookie: "cookie_of_the_bench", EPMD: epmd,
				Args: []string{"+S", "1:1", "+SDcpu", "1:1", "+SDio", "1", "+A", "1"},
			})
			return nil
		})
	}
	require.NoError(t, group.Wait())
	return nodes
}

func startExporter(t *testing.T, nodes []*erltest.Node) *exportertest.Process {
	t.Helper()
	var names []string
	cookie, epmd := "none", "127.0.0.1:1"
	for _, n := range nodes {
		names, cookie, epmd = append(names, n.Name), n.Cookie, n.EPMD
	}
	return exportertest.Start(t, exportertest.Options{
		Config: fmt.Sprintf(fleetConfig, epmd, strings.Join(names, ", ")),
		Files:  map[string]string{"cookie": cookie},
	})
}

// upTime starts an exporter and takes the time until all nodes are up, from
// its log: asking it would keep it from its work.
func upTime(t *testing.T, nodes []*erltest.Node) (time.Duration, *exportertest.Process) {
	t.Helper()
	begun := time.Now()
	p := startExporter(t, nodes)
	require.NoError(t, proc.Await(time.Minute, func() bool {
		return strings.Count(p.Log(), " msg=attached ") == len(nodes)
	}), "not all nodes are up")
	return time.Since(begun), p
}

// atRest gives what the exporter uses when all is freed that can be. What is
// in pools takes two collections to go, and what has a finalizer too.
func atRest(p *exportertest.Process) exportertest.Resources {
	for range 3 {
		p.Get("/debug/pprof/heap?gc=1", "Authorization", "Bearer "+token)
	}
	return p.Resources()
}

// scrapeFleet scrapes each node once an interval, as Prometheus does: spread
// over the interval. It gives the processor time that this took the exporter,
// and the times of the scrapes, sorted.
func scrapeFleet(t *testing.T, p *exportertest.Process, nodes []*erltest.Node, interval, window time.Duration) (time.Duration, []time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), window)
	defer cancel()
	var mu sync.Mutex
	var times []time.Duration
	var wg sync.WaitGroup
	before := p.CPU()
	for i, n := range nodes {
		side := newSide(t, p.URL+"/probe?target="+url.QueryEscape(n.Name))
		wg.Go(func() {
			defer side.client.CloseIdleConnections()
			tick := time.NewTimer(interval * time.Duration(i) / time.Duration(len(nodes)))
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				tick.Reset(interval)
				took := side.scrape(t)
				mu.Lock()
				times = append(times, took)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(times)
	return p.CPU() - before, times
}
