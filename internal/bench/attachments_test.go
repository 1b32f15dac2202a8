//go:build bench

package bench_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

const attachments = 1000

// footprint is what can grow on both sides.
type footprint struct {
	exporter                                       exportertest.Resources
	atoms, processes, ports, tables, memory, files float64
}

func footprintOf(t *testing.T, p *exportertest.Process, n *erltest.Node) footprint {
	t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.Pid))
	require.NoError(t, err)
	n.Eval(t, "[garbage_collect(P) || P <- processes()], ok")
	return footprint{
		exporter:  atRest(p),
		atoms:     number(t, n, "erlang:system_info(atom_count)"),
		processes: number(t, n, "erlang:system_info(process_count)"),
		ports:     number(t, n, "erlang:system_info(port_count)"),
		tables:    number(t, n, "erlang:system_info(ets_count)"),
		memory:    number(t, n, "erlang:memory(total)"),
		files:     float64(len(open)),
	}
}

// TestAttachments attaches and leaves one node again and again.
func TestAttachments(t *testing.T) {
	n := erltest.Start(t, erltest.Options{})
	p := startExporter(t, []*erltest.Node{n})
	p.AwaitUp(n.Name, 20*time.Second)
	cycle := func() {
		p.Post("/api/v1/nodes/"+n.Name+"/suspend", token)
		p.Post("/api/v1/nodes/"+n.Name+"/resume", token)
		p.AwaitUp(n.Name, 20*time.Second)
	}
	for range warmUp {
		cycle()
	}
	p.Post("/api/v1/nodes/"+n.Name+"/suspend", token)
	footprintOf(t, p, n) // what it takes to look is there from then on
	before := footprintOf(t, p, n)
	p.Post("/api/v1/nodes/"+n.Name+"/resume", token)
	begun := time.Now()
	for range attachments {
		cycle()
	}
	took := time.Since(begun)
	p.Post("/api/v1/nodes/"+n.Name+"/suspend", token)
	after := footprintOf(t, p, n)

	tab := newTable(fmt.Sprintf("%d attachments and detachments of one node, %s each, both seen detached", attachments,
		micros(took/attachments)), "before", "after", "growth")
	row := func(what string, a, b float64) { tab.row(what, count(a), count(b), count(b-a)) }
	row("node: atoms", before.atoms, after.atoms)
	row("node: processes", before.processes, after.processes)
	row("node: ports", before.ports, after.ports)
	row("node: ETS tables", before.tables, after.tables)
	row("node: memory, bytes", before.memory, after.memory)
	row("node: descriptors", before.files, after.files)
	row("exporter: goroutines", float64(before.exporter.Goroutines), float64(after.exporter.Goroutines))
	row("exporter: descriptors", float64(before.exporter.Descriptors), float64(after.exporter.Descriptors))
	row("exporter: heap, bytes", float64(before.exporter.Heap), float64(after.exporter.Heap))
	row("exporter: RSS, bytes", float64(before.exporter.RSS), float64(after.exporter.RSS))
	tab.end()
	p.Stop()
}
