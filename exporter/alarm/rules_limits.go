package alarm

import (
	"fmt"
	"math"
	"time"
)

// percent makes thresholds in percent that clear 5 points below.
func percent(raise map[Severity]float64) []Level {
	var levels []Level
	for _, s := range []Severity{Warning, Minor, Major, Critical} {
		if v, ok := raise[s]; ok {
			levels = append(levels, Level{Severity: s, Raise: v, Clear: v - 5, ClearFor: checks})
		}
	}
	return levels
}

// usual are the thresholds of most limits, in percent.
func usual() []Level { return percent(map[Severity]float64{Minor: 70, Major: 80, Critical: 90}) }

// share is the signal of a column as a percentage of another.
func share(table, column, of string) func(*Window) ([]Reading, bool) {
	return func(w *Window) ([]Reading, bool) {
		v, ok := w.Percent(table, column, of)
		if !ok {
			return nil, false
		}
		used, _ := w.Value(table, column)
		most, _ := w.Value(table, of)
		return []Reading{{Value: v, Detail: fmt.Sprintf("%.0f of %.0f when the alarm was raised.", used, most)}}, true
	}
}

// limitRules are about the tables of the VM that can be full.
func limitRules() []Rule {
	return []Rule{
		{
			ID: "process_limit", Title: "Processes near the limit", Unit: "%", Value: "processes as a share of the limit (+P)",
			Levels:  usual(),
			Meaning: "When the limit is reached, spawning fails with system_limit and the application breaks in unexpected places.",
			Cause:   "A leak of processes, or more load than the node is sized for.",
			Repair:  "See which processes there are many of (erlang_vm_processes_by_initial_call, or observer). Raise the limit with +P at the next start.",
			Needs:   []string{"system_info.process_count", "system_info.process_limit"},
			Signal:  share("system_info", "process_count", "process_limit"),
		},
		{
			ID: "port_limit", Title: "Ports near the limit", Unit: "%", Value: "ports as a share of the limit (+Q)",
			Levels:  usual(),
			Meaning: "When the limit is reached, no socket or file can be opened through ports any more.",
			Cause:   "More connections than the node is sized for, or connections that are not closed.",
			Repair:  "Look at erlang_vm_ports_by_driver; find connections that nobody closes. Raise the limit with +Q at the next start.",
			Needs:   []string{"system_info.port_count", "system_info.port_limit"},
			Signal:  share("system_info", "port_count", "port_limit"),
		},
		{
			ID: "ets_limit", Title: "ETS tables near the limit", Unit: "%", Value: "ETS tables as a share of what the node is set up for (+e)",
			Levels:  usual(),
			Meaning: "Beyond the number that the node is set up for, finding tables gets slower; releases before OTP 20 refuse further tables.",
			Cause:   "Tables that are made for each request or user, and not deleted.",
			Repair:  "Find the owners of many tables (erlang_vm_ets_top_memory_bytes, ets:i()). Raise the number with +e at the next start.",
			Needs:   []string{"system_info.ets_count", "system_info.ets_limit"},
			Signal:  share("system_info", "ets_count", "ets_limit"),
		},
		{
			ID: "atom_limit", Title: "Atoms near the limit", Unit: "%", Value: "atoms as a share of the limit (+t)",
			Levels:  percent(map[Severity]float64{Minor: 60, Major: 75, Critical: 90}),
			Meaning: "When the atom table is full, the node crashes. Atoms are never freed.",
			Cause:   "Atoms that are made of input: list_to_atom/1, binary_to_atom/1, decoders that make atoms of keys.",
			Repair:  "Plan a restart, which alone frees atoms; find who makes them and use binary_to_existing_atom/1. Raise the limit with +t at the next start.",
			Clears:  "when the node is started anew",
			Needs:   []string{"system_info.atom_count", "system_info.atom_limit"},
			Signal:  share("system_info", "atom_count", "atom_limit"),
		},
		{
			ID: "atom_growth", Title: "Atoms keep growing", Unit: "atoms/min", Value: "new atoms a minute",
			Levels:  []Level{{Severity: Minor, Raise: 1000, Clear: 100, For: 15 * time.Minute, ClearFor: 30 * time.Minute}},
			Meaning: "The node makes new atoms all the time; in the end its table is full and it crashes.",
			Cause:   "Atoms that are made of input: list_to_atom/1, binary_to_atom/1, decoders that make atoms of keys.",
			Repair:  "Find who makes them (recon_trace on erlang:binary_to_atom/2) and use binary_to_existing_atom/1.",
			Needs:   []string{"system_info.atom_count"},
			Signal:  perMinute("system_info", "atom_count"),
		},
		{
			ID: "module_limit", Title: "Very many modules", Unit: "modules", Value: "loaded modules",
			Levels:  []Level{{Severity: Minor, Raise: 10_000, Clear: 9_500, ClearFor: checks}},
			Meaning: "Far more modules are loaded than a release has.",
			Cause:   "Modules that are compiled at run time, one for each configuration, template or query.",
			Repair:  "Find their names (code:all_loaded/0) and who makes them.",
			Needs:   []string{"code.modules_loaded"}, Since: "the collector code",
			Signal: value("code", "modules_loaded"),
		},
		{
			ID: "export_limit", Title: "Exported functions near the limit", Unit: "%", Value: "exported functions of all modules, as a share of 524,288",
			Levels:  []Level{{Severity: Minor, Raise: 80, Clear: 75, ClearFor: checks}},
			Meaning: "When the export table is full, no further code can be loaded and the node crashes.",
			Cause:   "Modules that are compiled at run time.",
			Repair:  "Find their names (code:all_loaded/0) and who makes them.",
			Needs:   []string{"inspection.exports"}, Since: "the collector vm_events; the functions are counted when code was loaded, only where this alarm is switched on", OptIn: true,
			Signal: func(w *Window) ([]Reading, bool) {
				const most = 524_288
				v, ok := w.Value("inspection", "exports")
				if !ok {
					return nil, false
				}
				return []Reading{{Value: 100 * v / most, Detail: fmt.Sprintf("%.0f of %d when the alarm was raised.", v, most)}}, true
			},
		},
	}
}

// value is the signal of a column as it is.
func value(table, column string) func(*Window) ([]Reading, bool) {
	return func(w *Window) ([]Reading, bool) { return one(w.Value(table, column)) }
}

// perMinute is the signal of a column's growth.
func perMinute(table, column string) func(*Window) ([]Reading, bool) {
	return func(w *Window) ([]Reading, bool) {
		v, ok := w.Value(table, column)
		if !ok {
			return nil, false
		}
		rate, known := w.Rate(table+"."+column, v)
		return one(math.Round(60*rate), known)
	}
}

// memoryRules are about memory of the node.
func memoryRules() []Rule {
	return []Rule{
		{
			ID: "memory_limit", Title: "Memory near the limit", Unit: "%", Value: "resident memory as a share of the least of the cgroup's limit and the host's memory",
			Levels:  usual(),
			Meaning: "When the limit is reached, the kernel kills the node.",
			Cause:   "Large mailboxes, ETS tables or binaries, a leak, or a limit that is too small.",
			Repair:  "See which kind of memory has grown (erlang_vm_memory_*), and which processes are large. Then give the node more memory or take load off it.",
			Needs:   []string{"process.resident_bytes", "inspection.memory_limit_bytes or os_memory.total"},
			Since:   "the collector vm_events on Linux, which looks for the limit once a minute; elsewhere os_mon on the node (collector os_mon)",
			Signal: func(w *Window) ([]Reading, bool) {
				used, ok := w.Value("process", "resident_bytes")
				limit, known := memoryLimit(w)
				if !ok || !known {
					return nil, false
				}
				return []Reading{{Value: 100 * used / limit, Detail: bytes(used) + " of " + bytes(limit) + " when the alarm was raised."}}, true
			},
		},
		{
			ID: "memory_growth", Title: "Memory will reach the limit", Unit: "%", Value: "resident memory in 4 hours, as it has grown in the last hour, as a share of the limit",
			Levels:  []Level{{Severity: Minor, Raise: 100, Clear: 95, For: 5 * time.Minute, ClearFor: 30 * time.Minute}},
			Meaning: "The node's memory has grown for an hour, and reaches the limit within 4 hours if it goes on like that.",
			Cause:   "A leak, or a queue that grows because its consumers are too slow or gone.",
			Repair:  "See which kind of memory grows (erlang_vm_memory_*), and which processes or tables.",
			Needs:   []string{"process.resident_bytes", "inspection.memory_limit_bytes or os_memory.total"},
			Since:   "the collector vm_events on Linux, elsewhere os_mon on the node (collector os_mon), and an hour of readings",
			Signal: func(w *Window) ([]Reading, bool) {
				used, ok := w.Value("process", "resident_bytes")
				if !ok {
					return nil, false
				}
				slope, whole := w.note("rss", used, time.Hour).slope(w.Now.Add(-time.Hour))
				limit, known := memoryLimit(w)
				if !whole || !known {
					return nil, false
				}
				return one(100*(used+max(0, slope)*4*3600)/limit*truth(slope > 0), true)
			},
		},
		{
			ID: "allocator_fragmentation", Title: "Fragmented memory", Unit: "%", KeyLabel: "allocator", Below: true,
			Value: "blocks as a share of their carriers, of allocators that leave more than 512 MiB unused",
			Levels: []Level{
				{Severity: Minor, Raise: 60, Clear: 70, For: 5 * time.Minute, ClearFor: checks},
				{Severity: Major, Raise: 40, Clear: 50, For: 5 * time.Minute, ClearFor: checks},
			},
			Meaning: "The allocator holds much more memory than what lives in it, and cannot give it back.",
			Cause:   "A peak of memory that left long-lived blocks spread over many carriers.",
			Repair:  "recon_alloc:fragmentation(current) shows more. A restart gives the memory back; another allocation strategy (+M<S>as aobf) or smaller carriers keep it from coming again.",
			Needs:   []string{"allocators.*_carriers_size", "allocators.*_blocks_size"},
			Signal:  fragmentation,
		},
		{
			ID: "binary_leak_suspected", Title: "Binaries may leak", Unit: "%", Value: "binaries as a share of all memory, while they have grown for 30 minutes",
			Levels:  []Level{{Severity: Minor, Raise: 50, Clear: 40, ClearFor: checks}},
			Meaning: "Most of the memory are binaries, and they grow.",
			Cause:   "Processes that seldom collect garbage hold references to large binaries, often to small parts of them.",
			Repair:  "recon:bin_leak(10) shows processes whose binaries a garbage collection frees. Copy small parts (binary:copy/1), or let such processes hibernate.",
			Needs:   []string{"memory.binary", "memory.total"},
			Since:   "half an hour of readings",
			Signal:  binaryLeak,
		},
		{
			ID: "persistent_term_growth", Title: "Persistent terms misused", Unit: "terms", Value: "persistent terms, or a hundred times those that come or go a minute",
			Levels:  []Level{{Severity: Warning, Raise: 10_000, Clear: 5_000, For: time.Minute, ClearFor: checks}},
			Meaning: "There are very many persistent terms, or they change all the time. Each that is changed or erased may make the node scan the heaps of all processes.",
			Cause:   "persistent_term is used as a cache or for data that changes.",
			Repair:  "Move what changes to ETS.",
			Needs:   []string{"memory.persistent_terms"},
			Signal: func(w *Window) ([]Reading, bool) {
				count, ok := w.Value("memory", "persistent_terms")
				if !ok {
					return nil, false
				}
				last, known := w.before["persistent_terms"]
				w.after["persistent_terms"] = point{w.Now, count}
				churn := 0.0
				if seconds := w.Now.Sub(last.at).Seconds(); known && seconds > 0 {
					churn = math.Abs(count-last.value) / seconds * 60
				}
				return one(max(count, churn*100), true)
			},
		},
	}
}

// memoryLimit is the most resident memory that the node may have.
func memoryLimit(w *Window) (float64, bool) {
	limit := math.Inf(1)
	if v, ok := w.Value("inspection", "memory_limit_bytes"); ok && v > 0 {
		limit = v
	}
	if rows, ok := w.Rows("os_memory"); ok {
		for _, r := range rows {
			if v, ok := r.Value("bytes"); ok && r.Label("kind") == "total" && v > 0 {
				limit = min(limit, v)
			}
		}
	}
	return limit, !math.IsInf(limit, 1)
}

func fragmentation(w *Window) ([]Reading, bool) {
	const unused = 512 << 20
	rows, ok := w.Rows("allocators")
	if !ok {
		return nil, false
	}
	carriers, blocks := map[string]float64{}, map[string]float64{}
	for _, r := range rows {
		for _, kind := range []string{"mbcs", "mbcs_pool", "sbcs"} {
			c, _ := r.Value(kind + "_carriers_size")
			b, _ := r.Value(kind + "_blocks_size")
			carriers[r.Label("alloc")] += c
			blocks[r.Label("alloc")] += b
		}
	}
	var readings []Reading
	for name, size := range carriers {
		use := 100.0
		if size-blocks[name] > unused {
			use = 100 * blocks[name] / size
		}
		readings = append(readings, Reading{Instance: name, Value: use})
	}
	return readings, true
}

func binaryLeak(w *Window) ([]Reading, bool) {
	binary, ok := w.Value("memory", "binary")
	total, known := w.Value("memory", "total")
	if !ok || !known || total <= 0 {
		return nil, false
	}
	const while = 30 * time.Minute
	s := w.note("binary", binary, while+while/6)
	_, whole := s.since(w.Now.Add(-while))
	if !whole {
		return nil, false
	}
	percent := 100 * binary / total
	if percent >= 40 && !s.grows(w.Now.Add(-while)) {
		// Between the thresholds: an alarm stays, and none is raised.
		percent = min(percent, 49)
	}
	return one(percent, true)
}
