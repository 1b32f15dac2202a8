package dashboards

func allocators() *board {
	return &board{
		uid: "erlops-allocators", title: "Erlang / Allocators",
		description: "The VM's memory allocators: what they took from the operating system (carriers), what of it is in use (blocks), and what fragmentation keeps.",
		variables:   chooseNode(), annotations: nodeEvents(),
		sections: []section{
			{panels: allocatorNumbers()},
			{id: 100, title: "By allocator", panels: allocatorKinds()},
			{id: 101, title: "Carriers and blocks", panels: allocatorCarriers()},
		},
	}
}

// allocator is a sum over the chosen node's allocators.
func allocator(usage string, matchers ...string) string {
	return sumBy("node, alloc", nodes.of("erlang_vm_allocators", append([]string{`usage="` + usage + `"`}, matchers...)...))
}

func allocatorNumbers() []panel {
	carriers, blocks := sumBy("node", nodes.of("erlang_vm_allocated_bytes")), sumBy("node", nodes.of("erlang_vm_allocated_used_bytes"))
	one := func(id uint32, title, unit, expr string) panel {
		return panel{id: id, kind: number, title: title, w: 8, h: 3, unit: unit, queries: []query{{expr: expr, legend: title}}}
	}
	used := one(1, "In use of allocated", "percentunit", blocks+" / "+carriers)
	used.limits, used.fall = []float64{0.4, 0.6}, true
	used.normal, used.ill, used.todo = "above 60 %.", "below 40 % with hundreds of megabytes unused: fragmentation.",
		"see which allocator below. After a peak wait: it is reused."
	allocated := one(2, "Allocated", "bytes", carriers)
	allocated.normal, allocated.ill, allocated.todo = "a little above what is in use.", "far above it.", "see the unused memory by allocator."
	inUse := one(3, "In use", "bytes", blocks)
	inUse.normal, inUse.ill, inUse.todo = "follows the load.", "rises for hours.", "see the kinds of memory in the node's dashboard."
	unused := one(4, "Unused", "bytes", carriers+" - "+blocks)
	unused.normal, unused.ill, unused.todo = "a small part of what is allocated.", "gigabytes.", "see which allocator below."
	resident := one(5, "Resident", "bytes", maxBy("node", nodes.of("process_resident_memory_bytes")))
	resident.normal, resident.ill, resident.todo = "close to allocated; below it when pages were never touched.", "far above allocated: memory that the VM does not know of.",
		"look at NIFs, drivers and their versions."
	outside := one(6, "Unaccounted", "bytes", maxBy("node", nodes.of("erlang_vm_memory_unaccounted_bytes")))
	outside.normal, outside.ill, outside.todo = "tens of megabytes (the program itself), or negative.", "grows for hours: a leak in C code.",
		"look at NIFs, drivers and their versions."
	return []panel{used, allocated, inUse, unused, resident, outside}
}

func allocatorKinds() []panel {
	carriers, blocks := maxBy("node, alloc", nodes.of("erlang_vm_allocated_bytes")), maxBy("node, alloc", nodes.of("erlang_vm_allocated_used_bytes"))
	return []panel{
		{
			id: 10, kind: stacked, title: "Allocated by allocator", w: 12, h: 9, unit: "bytes", least: zero,
			normal: "eheap_alloc (heaps), binary_alloc and ets_alloc are the largest and follow the load.", ill: "one that rises for hours.",
			todo:    "eheap: processes. binary: large binaries. ets: tables. driver: ports. ll: code and what lives long.",
			queries: []query{{expr: carriers, legend: "{{alloc}}"}},
		},
		{
			id: 11, kind: stacked, title: "In use by allocator", w: 12, h: 9, unit: "bytes", least: zero,
			normal: "the same picture as allocated, a little lower.", ill: "much lower than allocated for one allocator.",
			todo:    "see its utilisation below.",
			queries: []query{{expr: blocks, legend: "{{alloc}}"}},
		},
		{
			id: 12, kind: lines, title: "Utilisation by allocator", w: 12, h: 9, unit: "percentunit", least: zero, most: one(),
			normal: "above 60 % for the large allocators. Small ones may be lower: a carrier is the smallest step.", ill: "a large allocator below 40 %: fragmentation.",
			todo:    "after a peak wait. Otherwise try +M<S>as aobf or ageffcbf, smaller carriers (+M<S>lmbcs), or restart in a quiet hour.",
			queries: []query{{expr: maxBy("node, alloc", nodes.of("erlang_vm_allocator_utilisation_ratio")), legend: "{{alloc}}"}},
		},
		{
			id: 13, kind: stacked, title: "Unused by allocator", w: 12, h: 9, unit: "bytes", least: zero,
			normal: "some tens of megabytes for each.", ill: "gigabytes in one allocator.",
			todo:    "binary_alloc: processes that keep parts of large binaries. eheap_alloc: a peak of heaps that is over.",
			queries: []query{{expr: carriers + " - " + blocks, legend: "{{alloc}}"}},
		},
	}
}

func allocatorCarriers() []panel {
	return []panel{
		{
			id: 20, kind: lines, title: "Multi-block carriers", w: 8, h: 8, unit: "bytes", least: zero,
			normal: "most of the memory.", ill: "far above the blocks in them.",
			todo:    "see the utilisation above.",
			queries: []query{{expr: allocator("carriers_size", `kind="mbcs"`), legend: "{{alloc}}"}},
		},
		{
			id: 21, kind: lines, title: "Single-block carriers", w: 8, h: 8, unit: "bytes", least: zero,
			normal: "little: only blocks above the threshold (512 KiB by default) have a carrier of their own.", ill: "most of the memory: huge heaps, tables or binaries that come and go cost calls to the operating system.",
			todo:    "find what is so large; or raise +M<S>sbct.",
			queries: []query{{expr: allocator("carriers_size", `kind="sbcs"`), legend: "{{alloc}}"}},
		},
		{
			id: 22, kind: lines, title: "Carriers in the pool", w: 8, h: 8, unit: "bytes", least: zero,
			normal: "little.", ill: "as much as in use: carriers that were given up nearly empty and that no scheduler takes.",
			todo:    "it is fragmentation over schedulers: +M<S>acul says below what use a carrier is given up.",
			queries: []query{{expr: allocator("carriers_size", `kind="mbcs_pool"`), legend: "{{alloc}}"}},
		},
		{
			id: 23, kind: lines, title: "Average size of blocks", w: 12, h: 8, unit: "bytes", least: zero,
			normal: "level for each allocator.", ill: "a rise: data became larger.",
			todo: "compare with a change of the application or of its load.",
			queries: []query{{
				expr:   allocator("blocks_size") + " / (" + allocator("blocks") + " > 0)",
				legend: "{{alloc}}",
			}},
		},
		{
			id: 24, kind: lines, title: "Average size of carriers", w: 12, h: 8, unit: "bytes", least: zero,
			normal: "level for each allocator.", ill: "single-block carriers raise it.",
			todo: "see the single-block carriers above.",
			queries: []query{{
				expr:   allocator("carriers_size") + " / (" + allocator("carriers") + " > 0)",
				legend: "{{alloc}}",
			}},
		},
		{
			id: 25, kind: lines, title: "Single-block carriers for each multi-block carrier", w: 12, h: 8, unit: "short", least: zero,
			normal: "below 1.", ill: "above 1: most blocks are too large to share a carrier; each costs a call to the operating system.",
			todo:    "raise +M<S>sbct and +M<S>lmbcs.",
			queries: []query{{expr: maxBy("node, alloc", nodes.of("erlang_vm_allocator_sbcs_to_mbcs_ratio")), legend: "{{alloc}}"}},
		},
		{
			id: 26, kind: lines, title: "Segments out of the cache", w: 12, h: 8, unit: "ops", least: zero,
			normal: "follows allocation of carriers.", ill: "0 while carriers come and go: every one costs a call to the operating system.",
			todo:    "raise +MMmcs.",
			queries: []query{{expr: maxBy("node", nodes.rate("erlang_vm_mseg_cache_hits_total")), legend: "cache hits a second"}},
		},
		{
			id: 27, kind: lines, title: "Free blocks in carriers, up to a size", w: 12, h: 8, unit: "short", least: zero,
			none:   "The collector carriers is off: metrics.collectors: {carriers: true} switches it on.",
			normal: "few small free blocks.", ill: "many small free blocks: nothing large fits, and new carriers are taken.",
			todo: "it costs the node tens of milliseconds for each reading: switch it off when you have found what you looked for.",
			queries: []query{
				{expr: sumBy("node", nodes.of("erlang_vm_carrier_free_block_histogram", `le="1023"`)), legend: "below 1 KiB"},
				{expr: sumBy("node", nodes.of("erlang_vm_carrier_free_block_histogram", `le="16383"`)), legend: "below 16 KiB"},
				{expr: sumBy("node", nodes.of("erlang_vm_carrier_free_block_histogram", `le="262143"`)), legend: "below 256 KiB"},
				{expr: sumBy("node", nodes.of("erlang_vm_carrier_free_block_histogram", `le="+Inf"`)), legend: "all"},
			},
		},
		{
			id: 28, kind: lines, title: "Memory by who asked for it, top 10", w: 12, h: 8, unit: "bytes", least: zero,
			none:   "The collector carriers is off: metrics.collectors: {carriers: true} switches it on.",
			normal: "system and the applications that you know.", ill: "one origin that grows for hours.", todo: "all of it is seen only with +Muatags true.",
			queries: []query{{expr: top(10, maxBy("node, origin, type", nodes.of("erlang_vm_allocations_bytes"))), legend: "{{origin}} {{type}}"}},
		},
	}
}
