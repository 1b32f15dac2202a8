package dashboards

import "github.com/grafana/grafana-foundation-sdk/go/cog"

var zero = cog.ToPtr(0.0)

func node() *board {
	return &board{
		uid: "erlops-node", title: "Erlang / Node",
		description: "One Erlang node: its memory, schedulers, garbage collection, and what it uses of its limits.",
		variables:   chooseNode(), annotations: nodeEvents(),
		sections: []section{
			{panels: nodeNow()},
			{panels: []panel{activeAlarms(9, 24, 6, severity("alarm, node, key, family, state, source"))}},
			{id: 100, title: "Memory", panels: nodeMemory()},
			{id: 101, title: "CPU and schedulers", panels: nodeSchedulers()},
			{id: 102, title: "Garbage collection and input and output", panels: nodeCollection()},
			{id: 103, title: "Limits, ports and tables", panels: append(nodeLimits(), nodeTables()...)},
			{id: 105, title: "What the VM reports of itself", panels: nodeEventsOfVM()},
			{id: 104, title: "What runs, and its host", panels: nodeIdentity()},
		},
	}
}

func nodeNow() []panel {
	expr, mapping := stateNumber()
	used := func(count, limit string) string { return "max(" + nodes.of(count) + " / " + nodes.of(limit) + ")" }
	small := func(id uint32, title, unit, expr string) panel {
		return panel{id: id, kind: number, title: title, w: 6, h: 3, unit: unit, queries: []query{{expr: expr}}}
	}
	state := small(1, "State", "", expr)
	state.mapping = mapping
	state.normal, state.ill, state.todo = "up.", "down: no answer. refused: the node does not let the exporter in.",
		"see whether the node and its epmd run; the exporter's landing page has the reason in words."
	uptime := small(2, "Uptime", "s", "max("+nodes.of("process_uptime_seconds")+")")
	uptime.normal, uptime.ill, uptime.todo = "the time since your last deployment.", "minutes, when nobody restarted it.",
		"see the node's log and crash dump from before the restart."
	resident := small(3, "Resident memory", "bytes", "max("+nodes.of("process_resident_memory_bytes")+")")
	resident.normal, resident.ill, resident.todo = "like the other nodes of the family.", "much more than they have, or a rise for hours.",
		"see below which kind of memory it is."
	busy := small(4, "CPU", "percentunit", "max("+cpuUsed()+")")
	busy.limits = []float64{0.8, 0.95}
	busy.normal, busy.ill, busy.todo = "below 80 % of the schedulers.", "above 95 % for minutes.", "see the run queue and the reductions."
	queue := small(5, "Run queue", "short", "max("+queued()+")")
	queue.limits = []float64{5, 20}
	queue.normal, queue.ill, queue.todo = "below 1, with short peaks.", "above 5 for minutes: every process waits.",
		"see whether the CPU is used up; if not, look for NIFs and dirty schedulers."
	procs := small(6, "Processes of limit", "percentunit", used("erlang_vm_process_count", "erlang_vm_process_limit"))
	procs.limits = []float64{0.7, 0.9}
	procs.normal, procs.ill, procs.todo = "below 70 %.", "at 100 % the node can start no process, and dies of it.", "see which processes they are (dashboard Processes)."
	atoms := small(7, "Atoms of limit", "percentunit", used("erlang_vm_atom_count", "erlang_vm_atom_limit"))
	atoms.limits = []float64{0.6, 0.9}
	atoms.normal, atoms.ill, atoms.todo = "below 60 %, and level.", "atoms are never freed: at 100 % the node ends at once.",
		"plan a restart; find what makes atoms (list_to_atom, XML and JSON parsers with atom keys)."
	files := small(8, "Open files of limit", "percentunit", used("process_open_fds", "process_max_fds"))
	files.limits = []float64{0.7, 0.9}
	files.normal, files.ill, files.todo = "below 70 %.", "at 100 % no connection and no file can be opened.", "raise ulimit -n, or find what does not close."
	return []panel{state, uptime, resident, busy, queue, procs, atoms, files}
}

// nodeEventsOfVM are what erlang:system_monitor tells.
func nodeEventsOfVM() []panel {
	told := func(event string) string {
		return maxBy("node", nodes.rate("erlang_vm_system_monitor_"+event+"_total"))
	}
	return []panel{
		{
			id: 60, kind: lines, title: "Suspended senders", w: 7, h: 8, unit: "ops", least: zero,
			normal: "0.", ill: "processes that wait because a socket, a file or another node does not take what they send.",
			todo: "busy_dist_port: see the links (dashboard Distribution). busy_port: find the client that does not read.",
			queries: []query{
				{expr: told("busy_port"), legend: "busy_port"},
				{expr: told("busy_dist_port"), legend: "busy_dist_port"},
			},
		},
		{
			id: 61, kind: lines, title: "Long work, large heaps, long mailboxes", w: 7, h: 8, unit: "ops", least: zero,
			normal: "0, with single events.", ill: "long_schedule: a NIF or BIF that holds a scheduler. large_heap and long_gc: a process with much data. long_message_queue: one that does not keep up.",
			todo: "see which processes they are (dashboard Processes).",
			queries: []query{
				{expr: told("long_gc"), legend: "long_gc"},
				{expr: told("long_schedule"), legend: "long_schedule"},
				{expr: told("large_heap"), legend: "large_heap"},
				{expr: told("long_message_queue"), legend: "long_message_queue"},
			},
		},
		{
			id: 62, kind: lines, title: "Time of long garbage collections", w: 5, h: 8, unit: "percentunit", least: zero,
			normal: "0 %.", ill: "seconds in which a process did nothing else.", todo: "find the process with the large heap (dashboard Processes).",
			queries: []query{{expr: maxBy("node", nodes.rate("erlang_vm_system_monitor_long_gc_seconds_total")), legend: "of a scheduler"}},
		},
		{
			id: 63, kind: number, title: "System monitor", w: 5, h: 8, mapping: map[string]state{"0": {"not ours", "yellow"}, "1": {"ours", "green"}},
			normal: "ours: the agent has it.", ill: "not ours: another process of the node has it, and the panels beside stay empty. RabbitMQ has it before OTP 28.",
			todo:    "nothing, or look at what that process logs.",
			queries: []query{{expr: "max(" + nodes.of("erlang_vm_system_monitor_available") + ")"}},
		},
		{
			id: 64, kind: lines, title: "Alarms that the node itself has", w: 24, h: 6, unit: "short", least: zero, none: "Neither SASL nor Elarm runs on this node.",
			normal: "0.", ill: "any that stay.", todo: "see dashboard Alarms, which has each of them with its text.",
			queries: []query{
				{expr: maxBy("node", nodes.of("erlang_vm_sasl_alarms")), legend: "SASL"},
				{expr: maxBy("node, severity, state", nodes.of("erlang_vm_elarm_alarms")) + " > 0", legend: "Elarm {{severity}} {{state}}"},
			},
		},
	}
}

// nodeIdentity says what runs on the node and on its host.
func nodeIdentity() []panel {
	return []panel{
		{
			id: 50, kind: list, title: "Versions", w: 24, h: 4, none: "The node did not tell its versions.",
			normal: "what you deployed.", ill: "an older version than the other nodes of the family.", todo: "end the roll-out.",
			queries: []query{{expr: nodes.of("erlang_vm_info"), table: true}},
			columns: []column{
				{name: "release_name", title: "Release"}, {name: "release_version", title: "Version"}, {name: "otp_release", title: "OTP"},
				{name: "erts_version", title: "ERTS"}, {name: "emu_flavor", title: "Flavour"}, {name: "elixir", title: "Elixir"},
				{name: "architecture", title: "Architecture"}, {name: "family", title: "Family"}, {name: "node"}, {name: "Value"},
			},
		},
		{
			id: 51, kind: lines, title: "Modules, registered and global names", w: 8, h: 8, unit: "short", least: zero,
			normal: "level after the start.", ill: "modules that grow: code is made at run time. Old code that stays: an upgrade that processes still have to notice.",
			todo: "old code: see which processes run it (erlang:check_process_code/2) before the next upgrade kills them.",
			queries: []query{
				{expr: maxBy("node", nodes.of("erlang_vm_modules_loaded")), legend: "loaded modules"},
				{expr: maxBy("node", nodes.of("erlang_vm_modules_old_code")), legend: "modules with old code"},
				{expr: maxBy("node", nodes.of("erlang_vm_registered_processes")), legend: "registered names"},
				{expr: maxBy("node", nodes.of("erlang_vm_global_names")), legend: "global names"},
			},
		},
		{
			id: 52, kind: lines, title: "Clock: the host's time less Erlang's", w: 8, h: 8, unit: "s",
			normal: "near 0: Erlang follows the host's clock slowly (time correction).", ill: "seconds: somebody set the host's clock. The node takes hours to follow.",
			todo:    "see NTP on the host. A restart of the node takes the time over at once.",
			queries: []query{{expr: maxBy("node", nodes.of("erlang_vm_clock_drift_seconds")), legend: "drift"}},
		},
		{
			id: 53, kind: lines, title: "Load of the host", w: 8, h: 8, unit: "short", least: zero, none: "os_mon does not run on this node.",
			normal: "below the number of processors.", ill: "above it for minutes.",
			todo:    "see what else runs on the host.",
			queries: []query{{expr: maxBy("node, period", nodes.of("erlang_os_load")), legend: "{{period}} min"}},
		},
		{
			id: 54, kind: lines, title: "Memory of the host", w: 12, h: 8, unit: "bytes", least: zero, none: "os_mon does not run on this node.",
			normal: "available far from 0.", ill: "available near 0: the out-of-memory killer comes next.",
			todo:    "see which program has it.",
			queries: []query{{expr: maxBy("node, kind", nodes.of("erlang_os_memory_bytes")), legend: "{{kind}}"}},
		},
		{
			id: 55, kind: lines, title: "Disks of the host", w: 12, h: 8, unit: "percentunit", least: zero, most: one(), limits: []float64{0.8, 0.95}, none: "os_mon does not run on this node.",
			normal: "below 80 %.", ill: "full: logs, Mnesia and queues cannot be written.",
			todo:    "make room; see what grows.",
			queries: []query{{expr: maxBy("node, mount", nodes.of("erlang_os_disk_used_ratio")), legend: "{{mount}}"}},
		},
	}
}

func nodeMemory() []panel {
	carriers := sumBy("node", nodes.of("erlang_vm_allocated_bytes"))
	blocks := sumBy("node", nodes.of("erlang_vm_allocated_used_bytes"))
	return []panel{
		{
			id: 10, kind: stacked, title: "Memory by kind", w: 12, h: 9, unit: "bytes", least: zero,
			normal: "level shares; processes and binaries follow the load.", ill: "one kind that grows for hours. binary: large binaries that processes keep. ets: a table that nobody cleans. processes: mailboxes or heaps. atom and code: code that is loaded or atoms that are made at run time.",
			todo: "processes: dashboard Processes. ets and Mnesia: their tables. binary: processes that receive large messages and seldom collect garbage.",
			queries: []query{
				{expr: sumBy("node", nodes.of("erlang_vm_memory_bytes_total", `kind="processes"`)), legend: "processes"},
				{expr: sumBy("node, usage", nodes.of("erlang_vm_memory_system_bytes_total")), legend: "{{usage}}"},
			},
		},
		{
			id: 11, kind: lines, title: "Resident memory against what the VM knows of", w: 12, h: 9, unit: "bytes",
			normal: "resident close to allocated; in use a little below.", ill: "allocated far above in use: fragmentation. Resident far above allocated: memory that the VM does not know of, from NIFs, drivers or a leak in C.",
			todo: "fragmentation: dashboard Allocators. Unaccounted memory that grows: look at NIFs and their versions.",
			queries: []query{
				{expr: maxBy("node", nodes.of("process_resident_memory_bytes")), legend: "resident"},
				{expr: carriers, legend: "allocated (carriers)"},
				{expr: blocks, legend: "in use (blocks)"},
				{expr: maxBy("node", nodes.of("erlang_vm_memory_unaccounted_bytes")), legend: "unaccounted (resident less allocated)"},
			},
		},
		{
			id: 12, kind: lines, title: "Memory of processes: allocated and used", w: 8, h: 8, unit: "bytes", least: zero,
			normal: "free is a small part.", ill: "free that stays large after a peak.",
			todo:    "it is reused by the next peak; see fragmentation of eheap_alloc when it is not.",
			queries: []query{{expr: sumBy("usage", nodes.of("erlang_vm_memory_processes_bytes_total")), legend: "{{usage}}"}},
		},
		{
			id: 13, kind: lines, title: "Persistent terms", w: 8, h: 8, unit: "bytes", least: zero,
			normal: "level after the start.", ill: "changes under load: replacing or erasing a persistent term makes every process scan its heap.",
			todo: "find the library that writes them at run time.",
			queries: []query{
				{expr: maxBy("node", nodes.of("erlang_vm_persistent_term_memory_bytes")), legend: "memory"},
			},
		},
		{
			id: 14, kind: lines, title: "Memory of atoms", w: 8, h: 8, unit: "bytes", least: zero,
			normal: "level after the start.", ill: "a steady rise: atoms are made at run time, and never freed.",
			todo:    "find what makes atoms out of input.",
			queries: []query{{expr: sumBy("usage", nodes.of("erlang_vm_memory_atom_bytes_total")), legend: "{{usage}}"}},
		},
	}
}

func nodeSchedulers() []panel {
	return []panel{
		{
			id: 25, kind: lines, title: "Utilisation of schedulers", w: 8, h: 8, unit: "percentunit", least: zero, limits: []float64{0.85, 0.95},
			normal: "weighted below 85 %.", ill: "weighted above 95 %: no CPU left. Busiest near 100 % while the others idle: one hot scheduler, a process that never yields.",
			todo: "one hot scheduler: look for the process with the most reductions, and for NIFs. dirty CPU or dirty I/O near 100 %: +SDcpu, +SDio.",
			queries: []query{
				{expr: maxBy("node, type", nodes.of("erlang_vm_scheduler_utilisation_ratio")), legend: "{{type}}"},
				{expr: maxBy("node", nodes.of("erlang_vm_scheduler_utilisation_max_ratio", `type="normal"`)), legend: "busiest normal scheduler"},
			},
		},
		{
			id: 26, kind: lines, title: "Each normal scheduler", w: 8, h: 8, unit: "percentunit", least: zero,
			normal: "lines that stay together; under low load the last ones sleep.", ill: "one line at 100 % and the others low: a hot scheduler. One at 0 % under high load: schedulers have collapsed.",
			todo: "collapsed: a long NIF; +sfwi 500 wakes schedulers.",
			queries: []query{{
				expr: maxBy("node, id", nodes.rate("erlang_vm_scheduler_active_seconds_total", `type="normal"`)+" / "+
					nodes.rate("erlang_vm_scheduler_wall_seconds_total", `type="normal"`)),
				legend: "{{id}}",
			}},
		},
		{
			id: 27, kind: lines, title: "Run queue of each scheduler", w: 8, h: 8, unit: "short", least: zero,
			normal: "lines that stay together, near 0.", ill: "one queue that is long while the others are empty.",
			todo:    "look for a process with a high priority or a long NIF.",
			queries: []query{{expr: maxBy("node, queue", nodes.of("erlang_vm_run_queue_length")), legend: "{{queue}}"}},
		},
		{
			id: 20, kind: lines, title: "CPU used, in cores", w: 8, h: 8, unit: "short", least: zero,
			normal: "below the schedulers that are online.", ill: "at the number of schedulers: the node has no CPU left.",
			todo: "see the run queue: only a queue shows that something waits. Busy waiting (+sbwt) looks like work, too.",
			queries: []query{
				{expr: maxBy("node", cpu()), legend: "CPU of the OS process"},
				{expr: maxBy("node", nodes.rate("erlang_vm_statistics_runtime_milliseconds")), legend: "CPU of the VM's threads"},
				{expr: maxBy("node", nodes.of("erlang_vm_schedulers_online")), legend: "schedulers online"},
				{expr: maxBy("node", nodes.of("erlang_vm_logical_processors_available")), legend: "processors available"},
			},
		},
		{
			id: 21, kind: lines, title: "Run queues", w: 8, h: 8, unit: "short", least: zero,
			normal: "near 0, with short peaks.", ill: "normal: more work than CPU. dirty CPU, dirty I/O: long NIFs or slow disks.",
			todo: "normal: see reductions and CPU. dirty: find the NIF or the disk; +SDcpu and +SDio give more threads.",
			queries: []query{
				{expr: maxBy("node", nodes.of("erlang_vm_statistics_run_queues_length")), legend: "normal"},
				{expr: maxBy("node", nodes.of("erlang_vm_statistics_dirty_cpu_run_queue_length")), legend: "dirty CPU"},
				{expr: maxBy("node", nodes.of("erlang_vm_statistics_dirty_io_run_queue_length")), legend: "dirty I/O"},
				{expr: maxBy("node", nodes.of("erlang_vm_total_run_queue_length")), legend: "all"},
				{expr: maxBy("node", nodes.of("erlang_vm_total_active_tasks")), legend: "all, with those that run"},
			},
		},
		{
			id: 22, kind: lines, title: "Reductions", w: 8, h: 8, unit: "ops", least: zero,
			normal: "follows the load.", ill: "rises without more load: something loops. Falls while the run queue rises: the schedulers are stuck.",
			todo:    "see the busiest processes (dashboard Processes).",
			queries: []query{{expr: maxBy("node", nodes.rate("erlang_vm_statistics_reductions_total")), legend: "reductions a second"}},
		},
		{
			id: 23, kind: lines, title: "Context switches", w: 8, h: 8, unit: "ops", least: zero,
			normal: "follows the load.", ill: "a multiple at the same load: many small messages.",
			todo:    "compare with the other nodes of the family.",
			queries: []query{{expr: maxBy("node", nodes.rate("erlang_vm_statistics_context_switches")), legend: "context switches a second"}},
		},
		{
			id: 24, kind: stacked, title: "What the threads do (microstate accounting)", w: 16, h: 8, unit: "percentunit", least: zero,
			none:   "Microstate accounting is off: metrics.msacc: on switches it on.",
			normal: "mostly emulator and sleep.", ill: "gc above 20 %: heaps that are too small or large live data. port or check_io above 20 %: I/O. aux: allocators and code loading.",
			todo:    "gc: see garbage collection below. It costs some per cent of CPU; switch it off when you have found what you looked for.",
			queries: microstates(),
		},
	}
}

// microstates are the parts of the schedulers' time; those that only some VMs have
// are drawn where they are.
func microstates() []query {
	var all []query
	for _, state := range []string{
		"emulator", "gc", "port", "check_io", "aux", "other", "sleep",
		"alloc", "bif", "busy_wait", "ets", "gc_full", "nif", "send", "timers",
	} {
		name := "erlang_vm_msacc_" + state + "_seconds_total"
		all = append(all, query{
			expr:   "avg by (node) (" + nodes.rate(name, `type="scheduler"`) + ")",
			legend: state,
		})
	}
	return all
}

func nodeCollection() []panel {
	return []panel{
		{
			id: 30, kind: lines, title: "Garbage collections", w: 8, h: 8, unit: "ops", least: zero,
			normal: "follows the load.", ill: "a multiple at the same load.",
			todo:    "see which processes allocate (dashboard Processes).",
			queries: []query{{expr: maxBy("node", nodes.rate("erlang_vm_statistics_garbage_collection_number_of_gcs")), legend: "collections a second"}},
		},
		{
			id: 31, kind: lines, title: "Reclaimed by garbage collections", w: 8, h: 8, unit: "Bps", least: zero,
			normal: "follows the load.", ill: "near 0 while the collections stay many: full heaps that have nothing to give back.",
			todo:    "look for processes with large heaps and long mailboxes.",
			queries: []query{{expr: maxBy("node", nodes.rate("erlang_vm_statistics_garbage_collection_bytes_reclaimed")), legend: "bytes a second"}},
		},
		{
			id: 32, kind: lines, title: "Input and output of ports", w: 8, h: 8, unit: "Bps",
			normal: "follows the load.", ill: "input without output, or the other way round, for a service that answers.",
			todo: "see the distribution dashboard for what of it goes between nodes.",
			queries: []query{
				{expr: maxBy("node", nodes.rate("erlang_vm_statistics_bytes_received_total")), legend: "read"},
				{expr: maxBy("node", nodes.rate("erlang_vm_statistics_bytes_output_total")), legend: "written"},
			},
		},
	}
}

func nodeLimits() []panel {
	return []panel{
		{
			id: 40, kind: lines, title: "Used of each limit", w: 12, h: 8, unit: "percentunit", least: zero, most: cog.ToPtr(1.0), limits: []float64{0.7, 0.9},
			normal: "below 70 %.", ill: "above 90 %: the next peak reaches the limit.",
			todo:    "find what grows before raising a limit (+P, +Q, +t, ulimit -n).",
			queries: []query{{expr: maxBy("node, limit", nearLimits()), legend: "{{limit}}"}},
		},
		{
			id: 41, kind: lines, title: "Processes, ports, ETS tables, atoms, open files", w: 12, h: 8, unit: "short", least: zero,
			normal: "processes, ports and files follow the load; ETS tables and atoms are level.", ill: "lines that rise and do not come back.",
			todo: "ETS tables: who creates them? Ports and files: connections that are not closed.",
			queries: []query{
				{expr: maxBy("node", nodes.of("erlang_vm_process_count")), legend: "processes"},
				{expr: maxBy("node", nodes.of("erlang_vm_port_count")), legend: "ports"},
				{expr: maxBy("node", nodes.of("erlang_vm_memory_ets_tables")), legend: "ETS tables"},
				{expr: maxBy("node", nodes.of("erlang_vm_memory_dets_tables")), legend: "DETS tables"},
				{expr: maxBy("node", nodes.of("erlang_vm_persistent_terms")), legend: "persistent terms"},
				{expr: maxBy("node", nodes.of("erlang_vm_atom_count")), legend: "atoms"},
				{expr: maxBy("node", nodes.of("process_open_fds")), legend: "open files"},
			},
		},
		{
			id: 42, kind: lines, title: "Threads", w: 12, h: 7, unit: "short", least: zero,
			normal: "level.", ill: "threads that grow: a NIF or a port program starts them.",
			todo: "find the library that starts threads.",
			queries: []query{
				{expr: maxBy("node", nodes.of("process_threads_total")), legend: "threads"},
			},
		},
		{
			id: 43, kind: lines, title: "Uptime", w: 12, h: 7, unit: "s", least: zero,
			normal: "a line that rises.", ill: "a fall to 0: a restart.",
			todo:    "see the node's log and crash dump from before it.",
			queries: []query{{expr: maxBy("node", nodes.of("process_uptime_seconds")), legend: "uptime"}},
		},
	}
}

// nodeTables say what the node's ports and tables are.
func nodeTables() []panel {
	return []panel{
		{
			id: 44, kind: stacked, title: "Ports by driver", w: 8, h: 8, unit: "short", least: zero,
			normal: "follows the connections.", ill: "spawn that grows: programs that are started and not ended.",
			todo:    "see which process owns the ports.",
			queries: []query{{expr: maxBy("node, driver", nodes.of("erlang_vm_ports_by_driver")), legend: "{{driver}}"}},
		},
		{
			id: 45, kind: lines, title: "Sockets", w: 8, h: 8, unit: "short", least: zero,
			normal: "follows the connections.", ill: "grows without more clients: connections that nobody closes.",
			todo: "see what is on the other end.",
			queries: []query{
				{expr: maxBy("node, proto", nodes.of("erlang_vm_inet_ports")), legend: "ports {{proto}}"},
				{expr: maxBy("node, domain_type", nodes.of("erlang_vm_sockets")), legend: "sockets {{domain_type}}"},
				{expr: maxBy("node", nodes.of("erlang_vm_check_io_poll_set_size")), legend: "polled"},
			},
		},
		{
			id: 46, kind: lines, title: "Bytes that wait in ports", w: 8, h: 8, unit: "bytes", least: zero,
			normal: "near 0, with short peaks.", ill: "grows: clients that do not read.",
			todo:    "see send timeouts and high watermarks of the sockets.",
			queries: []query{{expr: maxBy("node", nodes.of("erlang_vm_port_queue_bytes")), legend: "queued"}},
		},
		{
			id: 47, kind: list, title: "Largest ETS tables", w: 12, h: 9, none: "No table was read.",
			normal: "the caches and registries that you know.", ill: "a table that grows for days.", todo: "find who should clean it: the owner is beside.",
			queries: []query{{expr: "sort_desc(" + maxBy("table, owner", nodes.of("erlang_vm_ets_top_memory_bytes")) + ")", table: true}},
			columns: []column{{name: "table", title: "Table"}, {name: "owner", title: "Owner"}, {name: "Value", title: "Memory", unit: "bytes"}},
		},
		{
			id: 48, kind: list, title: "ETS tables with the most objects", w: 12, h: 9, none: "No table was read.",
			normal: "the caches and registries that you know.", ill: "a table that grows for days.", todo: "find who should clean it: the owner is beside.",
			queries: []query{{expr: "sort_desc(" + maxBy("table, owner", nodes.of("erlang_vm_ets_top_objects")) + ")", table: true}},
			columns: []column{{name: "table", title: "Table"}, {name: "owner", title: "Owner"}, {name: "Value", title: "Objects", unit: "short"}},
		},
		{
			id: 49, kind: lines, title: "ETS tables by type", w: 12, h: 8, unit: "short", least: zero,
			normal: "level.", ill: "grows: tables whose owners live on and do not delete them.", todo: "see the tables above.",
			queries: []query{{expr: maxBy("node, type, protection", nodes.of("erlang_vm_ets_tables_by_type")), legend: "{{type}} {{protection}}"}},
		},
		{
			id: 56, kind: lines, title: "Files of DETS tables", w: 12, h: 8, unit: "bytes", least: zero, none: "No DETS table is open.",
			normal: "level.", ill: "near 2 GB: a DETS file cannot be larger.", todo: "clean the table, or use another store.",
			queries: []query{{expr: maxBy("node, table", nodes.of("erlang_vm_dets_file_bytes")), legend: "{{table}}"}},
		},
	}
}
