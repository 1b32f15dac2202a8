package agent

import (
	"cmp"
	"math"
	"slices"

	"github.com/erlops/erlops/exporter/snapshot"
)

// allocatedTable is made here of the allocators' rows.
const allocatedTable = "allocated"

// derive adds to a reading what follows from its tables, so that the node need
// not compute it: sums for each allocator, and the resident memory that none of
// them accounts for.
func derive(read []snapshot.Collector) {
	allocators := collectorOf(read, snapshot.Allocators)
	if allocators == nil || len(allocators.Tables) == 0 {
		return
	}
	sums := allocated(allocators.Tables[0])
	allocators.Tables = append(allocators.Tables, sums.table())
	if process := collectorOf(read, snapshot.OSProcess); process != nil && len(process.Tables) > 0 {
		process.Tables[0] = withUnaccounted(process.Tables[0], sums)
	}
}

func collectorOf(read []snapshot.Collector, name string) *snapshot.Collector {
	i := slices.IndexFunc(read, func(c snapshot.Collector) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &read[i]
}

// allocation is what one allocator has, over its instances and kinds of
// carriers: bytes of carriers and of blocks in them, and numbers of blocks in
// carriers for one and for many.
type allocation struct {
	name                       string
	carriers, blocks, sbc, mbc float64
}

type allocations []allocation

// allocated sums the rows of the table of allocators.
func allocated(t snapshot.Table) allocations {
	var sums allocations
	of := func(r snapshot.Row, column string) float64 {
		if i := slices.Index(t.Columns, column); i >= 0 && i < len(r.Values) {
			return r.Values[i].Float // zero when there is none
		}
		return 0
	}
	for _, r := range t.Rows {
		i := slices.IndexFunc(sums, func(a allocation) bool { return a.name == r.Labels[0] })
		if i < 0 {
			i, sums = len(sums), append(sums, allocation{name: r.Labels[0]})
		}
		a := &sums[i]
		for _, kind := range []string{"mbcs", "mbcs_pool", "sbcs"} {
			a.carriers += of(r, kind+"_carriers_size")
			a.blocks += of(r, kind+"_blocks_size")
		}
		a.sbc += of(r, "sbcs_blocks")
		a.mbc += of(r, "mbcs_blocks") + of(r, "mbcs_pool_blocks")
	}
	slices.SortFunc(sums, func(a, b allocation) int { return cmp.Compare(a.name, b.name) })
	return sums
}

func (s allocations) table() snapshot.Table {
	t := snapshot.Table{
		Name: allocatedTable, Labels: []string{"alloc"},
		Columns: []string{"allocated", "used", "utilisation", "sbcs_to_mbcs"},
	}
	for _, a := range s {
		t.Rows = append(t.Rows, snapshot.Row{Labels: []string{a.name}, Values: []snapshot.Value{
			{Float: a.carriers, Valid: true}, {Float: a.blocks, Valid: true}, share(a.blocks, a.carriers), share(a.sbc, a.mbc),
		}})
	}
	return t
}

// share divides; there is no share of nothing.
func share(part, whole float64) snapshot.Value {
	if whole == 0 {
		return snapshot.Value{}
	}
	return snapshot.Value{Float: part / whole, Valid: true}
}

// withUnaccounted adds the column unaccounted_bytes to the table of the
// operating system process.
func withUnaccounted(t snapshot.Table, sums allocations) snapshot.Table {
	resident, ok := t.Value("resident_bytes")
	carriers := 0.0
	for _, a := range sums {
		carriers += a.carriers
	}
	value := snapshot.Value{Float: math.Trunc(resident - carriers), Valid: ok && len(sums) > 0}
	return widen(t, []string{"unaccounted_bytes"}, []snapshot.Value{value})
}
