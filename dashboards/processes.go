package dashboards

func processes() *board {
	return &board{
		uid: "erlops-processes", title: "Erlang / Processes",
		description: "Which processes have long mailboxes, much memory or much work; what they belong to; and what they cost together.",
		variables:   chooseNodes(), annotations: nodeEvents(),
		sections: []section{
			{panels: processOffenders()},
			{id: 100, title: "Mailboxes", panels: processMailboxes()},
			{id: 101, title: "By application and initial call", panels: processKinds()},
			{id: 102, title: "Counts", panels: processCounts()},
			{id: 103, title: "Processes that everything needs", panels: processVIPs()},
			{id: 104, title: "The scans themselves", panels: processScans()},
		},
	}
}

const noScan = "No processes are scanned: the collector processes is off, or there are too many."

func processOffenders() []panel {
	offenders := func(id uint32, title, metric, unit, heading, ill, todo string) panel {
		return panel{
			id: id, kind: list, title: title, w: 12, h: 9, none: noScan,
			normal: "the processes that you know to be busy.", ill: ill, todo: todo,
			queries: []query{{expr: "topk(15, " + maxBy("node, name, initial_call, rank", nodes.of(metric)) + ")", table: true}},
			columns: []column{
				// The number is second: in a narrow window the last columns are scrolled to.
				{name: "node", title: "Node", link: true}, {name: "Value", title: heading, unit: unit, width: 100},
				{name: "name", title: "Name", width: 150}, {name: "initial_call", title: "Started with", width: 170}, {name: "rank"},
			},
		}
	}
	mailboxes := offenders(10, "Longest mailboxes", "erlang_vm_process_top_message_queue_len", "short", "Messages",
		"thousands of messages: the process gets more than it can do, or waits for something.",
		"look at what it waits for (process_info current_stacktrace); slow its senders down.")
	mailboxes.limits = []float64{1000, 5000}
	mailboxes.none = "No mailbox has a message, or no processes are scanned: the collector processes is off, or there are too many."
	return []panel{
		mailboxes,
		offenders(11, "Most memory", "erlang_vm_process_top_memory_bytes", "bytes", "Memory",
			"hundreds of megabytes in one process.",
			"a long mailbox, or a state that grows: sys:get_status/1 shows small ones; never ask for large ones."),
		offenders(12, "Most reductions", "erlang_vm_process_top_reductions_rate", "ops", "Reductions",
			"one process with millions a second: it takes a whole scheduler, and all who call it wait.", "spread its work over more processes."),
		offenders(13, "Most binaries", "erlang_vm_process_top_binary_bytes", "bytes", "Binaries",
			"a process that refers to hundreds of megabytes: it keeps parts of large binaries.", "binary:copy/1 of what is kept; hibernate; or fullsweep_after."),
	}
}

func processMailboxes() []panel {
	return []panel{
		{
			id: 20, kind: lines, title: "Longest mailbox", w: 8, h: 8, unit: "short", least: zero, limits: []float64{5000, 50000}, none: noScan,
			normal: "below some hundreds.", ill: "thousands that stay.", todo: "see which process above.",
			queries: []query{{expr: maxBy("node", nodes.of("erlang_vm_process_mailbox_max")), legend: "{{node}}"}},
		},
		{
			id: 21, kind: lines, title: "Messages in all mailboxes", w: 8, h: 8, unit: "short", least: zero, none: noScan,
			normal: "near 0, with short peaks.", ill: "grows.", todo: "see whether it is one mailbox or many.",
			queries: []query{{expr: maxBy("node", nodes.of("erlang_vm_messages_in_queues")), legend: "{{node}}"}},
		},
		{
			id: 22, kind: lines, title: "Processes with mailboxes above a length", w: 8, h: 8, unit: "short", least: zero, none: noScan,
			normal: "0.", ill: "many processes: they all wait for the same, or there is no CPU.", todo: "see the run queue.",
			queries: []query{{expr: sumBy("threshold", nodes.of("erlang_vm_processes_with_mailbox_above")), legend: "above {{threshold}}"}},
		},
	}
}

func processKinds() []panel {
	by := func(id uint32, title, unit, label, expr, ill, todo string) panel {
		return panel{
			id: id, kind: lines, title: title, w: 12, h: 9, unit: unit, least: zero, none: noScan,
			normal: "follows the load.", ill: ill, todo: todo,
			queries: []query{{expr: top(10, sumBy(label, expr)), legend: "{{" + label + "}}"}},
		}
	}
	return []panel{
		by(30, "Processes by application, top 10", "short", "application", nodes.of("erlang_vm_processes_by_application"),
			"one that grows without more load.", "see its initial calls beside."),
		by(31, "Processes by initial call, top 10", "short", "initial_call", nodes.of("erlang_vm_processes_by_initial_call"),
			"one that grows without more load.", "find who starts them and who should end them."),
		by(32, "Memory by application, top 10", "bytes", "application", nodes.of("erlang_vm_process_memory_by_application_bytes"),
			"one that grows without more load.", "see the processes with the most memory above."),
		by(33, "Reductions by application, top 10", "ops", "application", nodes.rate("erlang_vm_process_reductions_by_application_total"),
			"one that rises without more load.", "see the processes with the most reductions above."),
	}
}

func processCounts() []panel {
	count := nodes.of("erlang_vm_process_count")
	perProcess := func(id uint32, title, unit, expr, ill, todo string) panel {
		return panel{
			id: id, kind: lines, title: title, w: 12, h: 8, unit: unit, least: zero,
			normal: "level, and about the same for the nodes of a family.", ill: ill, todo: todo,
			queries: []query{{expr: maxBy("node", byNode(expr)+" / "+byNode(count)), legend: "{{node}}"}},
		}
	}
	return []panel{
		{
			id: 1, kind: lines, title: "Processes", w: 12, h: 8, unit: "short", least: zero,
			normal: "follows the load (connections, channels, sessions).", ill: "grows and does not come back: processes that nobody ends.",
			todo:    "see which initial calls they have above.",
			queries: []query{{expr: maxBy("node", count), legend: "{{node}}"}},
		},
		{
			id: 2, kind: lines, title: "Processes of the limit", w: 12, h: 8, unit: "percentunit", least: zero, most: one(), limits: []float64{0.7, 0.9},
			normal: "below 70 %.", ill: "at 100 % the node can start no process, and dies of it.",
			todo:    "find what grows before raising the limit (+P).",
			queries: []query{{expr: maxBy("node", count+" / "+nodes.of("erlang_vm_process_limit")), legend: "{{node}}"}},
		},
		perProcess(3, "Memory for each process", "bytes", nodes.of("erlang_vm_memory_bytes_total", `kind="processes"`),
			"rises: heaps or mailboxes grow.", "see the processes with the most memory above."),
		perProcess(4, "Reductions for each process", "ops", nodes.rate("erlang_vm_statistics_reductions_total"),
			"rises at the same load: some processes loop.", "see the processes with the most reductions above."),
		perProcess(5, "Garbage collections for each process", "ops", nodes.rate("erlang_vm_statistics_garbage_collection_number_of_gcs"),
			"rises at the same load: processes make more garbage.", "look for large messages and binaries that are built up piece by piece."),
		{
			id: 6, kind: lines, title: "Run queue for each scheduler", w: 12, h: 8, unit: "short", least: zero, limits: []float64{5, 20},
			normal: "below 1, with short peaks.", ill: "above 5 for minutes: processes wait before they run.",
			todo:    "see CPU and dirty schedulers in the node's dashboard.",
			queries: []query{{expr: maxBy("node", queued()), legend: "{{node}}"}},
		},
	}
}

func processVIPs() []panel {
	vip := func(id uint32, title, unit, label, expr, ill, todo string) panel {
		return panel{
			id: id, kind: lines, title: title, w: 12, h: 8, unit: unit, least: zero,
			normal: "near 0, or level.", ill: ill, todo: todo,
			queries: []query{{expr: top(10, maxBy("node, "+label, expr)), legend: "{{node}} {{" + label + "}}"}},
		}
	}
	return []panel{
		{
			id: 40, kind: list, title: "Missing", w: 24, h: 5, none: "All of them run.",
			normal: "an empty list.", ill: "a process that everything needs is gone: its application has ended or restarts.",
			todo:    "see the node's log for its crash.",
			queries: []query{{expr: maxBy("node, name", nodes.of("erlang_vm_vip_process_up")) + " == 0", table: true}},
			columns: []column{{name: "node", title: "Node", link: true}, {name: "name", title: "Name"}, {name: "Value"}},
		},
		vip(41, "Their mailboxes, top 10", "short", "name", nodes.of("erlang_vm_vip_process_message_queue_len"),
			"above 100 for minutes: all who need it wait.",
			"code_server: code is loaded under load. net_kernel and global: the cluster is unsteady. logger: too much is logged."),
		vip(42, "Their memory, top 10", "bytes", "name", nodes.of("erlang_vm_vip_process_memory_bytes"), "grows.", "see their mailboxes."),
		vip(43, "Their reductions, top 10", "ops", "name", nodes.rate("erlang_vm_vip_process_reductions_total"),
			"one with millions a second.", "see who calls it."),
		vip(44, "Mailboxes of log handlers, top 10", "short", "handler", nodes.of("erlang_vm_logger_handler_message_queue_len"),
			"above 200 the handler drops log entries, above 1,000 all that wait.", "something logs too much: see the log."),
	}
}

func processScans() []panel {
	return []panel{
		{
			id: 50, kind: lines, title: "Time of a scan", w: 12, h: 8, unit: "s", least: zero, none: noScan,
			normal: "seconds, with its pauses; it grows with the processes.", ill: "as long as the time between scans.",
			todo:    "switch the collector processes off for this group.",
			queries: []query{{expr: maxBy("node", nodes.of("erlang_vm_process_scan_duration_seconds")), legend: "{{node}}"}},
		},
		{
			id: 51, kind: lines, title: "What a scan saw", w: 12, h: 8, unit: "short", least: zero,
			normal: "all processes, and nothing skipped.", ill: "skipped: the node has too many processes. incomplete: the scan ran out of time.",
			todo: "what is above is then of a part of the processes.",
			queries: []query{
				{expr: maxBy("node", nodes.of("erlang_vm_process_scan_processes")), legend: "{{node}} processes"},
				{expr: maxBy("node, reason", nodes.of("erlang_vm_process_scan_skipped")) + " > 0", legend: "{{node}} skipped: {{reason}}"},
				{expr: maxBy("node", nodes.of("erlang_vm_process_scan_incomplete")) + " > 0", legend: "{{node}} incomplete"},
			},
		},
	}
}
