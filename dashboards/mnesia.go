package dashboards

func mnesia() *board {
	const none = "Mnesia does not run on these nodes."
	each := func(id uint32, title, unit, expr, legend, normal, ill, todo string) panel {
		return panel{
			id: id, kind: lines, title: title, w: 12, h: 8, unit: unit, least: zero, none: none,
			normal: normal, ill: ill, todo: todo, queries: []query{{expr: expr, legend: legend}},
		}
	}
	// beside adds another question to a panel.
	beside := func(p panel, expr, legend string) panel {
		p.queries = append(p.queries, query{expr: expr, legend: legend})
		return p
	}
	rate := func(name string) string { return maxBy("node", nodes.rate("erlang_mnesia_"+name)) }
	last := func(name string) string { return maxBy("node", nodes.of("erlang_mnesia_"+name)) }
	share := rate("restarted_transactions") + " / (" + rate("committed_transactions") + " > 0)"
	return &board{
		uid: "erlops-mnesia", title: "Erlang / Mnesia",
		description: "Mnesia's transactions, locks and tables.",
		variables:   chooseNodes(), annotations: nodeEvents(),
		sections: []section{
			{id: 100, title: "Transactions", panels: []panel{
				each(1, "Committed", "ops", rate("committed_transactions"), "{{node}}",
					"follows the load.", "falls to 0 under load: transactions hang.", "see locks and the lock queue."),
				each(2, "Failed", "ops", rate("failed_transactions"), "{{node}}",
					"near 0, or what the application aborts itself.", "rises with the load.", "see the application's log for aborted transactions."),
				each(3, "Restarts for each commit", "percentunit", share, "{{node}}",
					"near 0 %.", "above 10 %: transactions fight for the same records.", "make transactions shorter, or use fewer table locks."),
				each(4, "Written to the log", "ops", rate("logged_transactions"), "{{node}}",
					"follows the writes to disc copies.", "so many that dumping the log does not keep up (mnesia_overload).", "raise dump_log_write_threshold, or write less."),
				each(5, "Overloaded", "ops", maxBy("node", nodes.rate("erlang_mnesia_overload_events_total")), "{{node}}",
					"0.", "Mnesia says mnesia_overload: its log is dumped slower than it is written.", "raise dump_log_write_threshold, give it faster disks, or write less."),
			}},
			{id: 101, title: "Locks and open transactions", panels: []panel{
				each(10, "Held locks", "short", last("held_locks"), "{{node}}",
					"near 0, with short peaks.", "locks that stay: a transaction that hangs.", "look for processes in mnesia:transaction for long."),
				each(11, "Transactions that wait for a lock", "short", last("lock_queue"), "{{node}}",
					"0.", "a queue that stays.", "find who holds the lock: see mnesia:system_info(held_locks) on the node."),
				each(12, "Coordinated here", "short", last("transaction_coordinators"), "{{node}}",
					"near 0, with short peaks.", "rises and stays.", "see locks; compare with the other nodes."),
				each(13, "Taken part in", "short", last("transaction_participants"), "{{node}}",
					"near 0, with short peaks.", "rises and stays: a coordinator on another node hangs.", "see that node, and the distribution."),
			}},
			{id: 102, title: "Cluster and tables", panels: []panel{
				each(14, "Nodes of the schema and those that run", "short", maxBy("node, state", nodes.of("erlang_mnesia_db_nodes")), "{{node}} {{state}}",
					"running equals configured.", "running below configured: nodes are down, or Mnesia is partitioned.", "see the fleet, and inconsistent_database in the log."),
				each(15, "Tables", "short", maxBy("node, scope", nodes.of("erlang_mnesia_tables")), "{{node}} {{scope}}",
					"level.", "local below the other nodes: tables that were not loaded.", "see mnesia:system_info() on the node."),
				beside(each(16, "Checkpoints and subscribers", "short", last("checkpoints"), "{{node}} checkpoints",
					"0 checkpoints but during backups; subscribers are the applications that watch.", "checkpoints that stay: a backup that did not end.", "see mnesia:system_info(checkpoints) on the node."),
					last("subscribers"), "{{node}} subscribers"),
				each(20, "Memory of all tables", "bytes", last("memory_usage_bytes"), "{{node}}",
					"follows the data.", "grows for days.", "see which table below, and who should clean it."),
				each(21, "Memory of the 10 largest tables", "bytes", top(10, maxBy("node, table", nodes.of("erlang_mnesia_tablewise_memory_usage_bytes"))), "{{node}} {{table}}",
					"follows the data.", "one table that grows for days.", "find who should clean it."),
				each(22, "Records of the 10 longest tables", "short", top(10, maxBy("node, table", nodes.of("erlang_mnesia_tablewise_size"))), "{{node}} {{table}}",
					"the same on all nodes with a copy.", "copies of different length: nodes that lost each other.", "see Mnesia's events inconsistent_database in the log."),
			}},
		},
	}
}
