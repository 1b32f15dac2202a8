package metrics

import (
	"slices"
	"strings"

	"github.com/erlops/erlops/exporter/snapshot"
)

// distributionFamilies are the rows of prometheus_vm_dist_collector. All are
// gauges there, the cumulative ones too.
func distributionFamilies() []Family {
	base := Family{Type: Gauge, Collector: snapshot.Distribution, Cost: Moderate, Origin: prometheusErl}
	peer, process := base, base
	peer.Table, peer.Labels = "dist_peer", labelled("peer")
	process.Table, process.Labels = "dist_proc", labelled("peer", "type")
	return slices.Concat(complete(distPeerRows(), peer), complete(distProcessRows(), process), complete(distRows(), base.of("dist")))
}

// distRows are the rows about the node's distribution as a whole.
func distRows() []Family {
	return []Family{
		{
			Name: "erlang_vm_dist_buffer_busy_limit_bytes", Help: "Bytes that may wait for a connection before senders are suspended",
			Call: "erlang:system_info(dist_buf_busy_limit)", Samples: single("buffer_busy_limit"), Cost: Cheap, Origin: "-",
		},
		{
			Name: "erlang_vm_dist_connected_nodes", Help: "Nodes that are connected, visible or hidden, and nodes whose names are known",
			Call: "erlang:nodes/1", Labels: fixed("type"), Cost: Cheap, Origin: "-",
			Samples: []Sample{of("visible", "visible"), of("hidden", "hidden"), of("known", "known")},
		},
		{
			Name: "erlang_vm_dist_net_ticktime_seconds", Help: "Time without a message after which a connection counts as lost",
			Call: "net_kernel:get_net_ticktime/0", Samples: single("net_ticktime"), Origin: "-",
		},
	}
}

// distPeerRows are the rows about a connection: its socket, port and state.
func distPeerRows() []Family {
	const inet, port = "inet:getstat(DistPort)", "erlang:port_info(DistPort, "
	row := func(column, help, call string) Family {
		return Family{Name: "erlang_vm_dist_" + column, Help: help, Call: call, Samples: single(column)}
	}
	return []Family{
		row("recv_bytes", "Bytes received from the peer", inet),
		row("recv_cnt", "Packets received from the peer", inet),
		row("recv_max_bytes", "Size of the largest packet received from the peer", inet),
		row("recv_avg_bytes", "Average size of the packets received from the peer", inet),
		row("recv_dvi_bytes", "Average deviation of the size of the packets received from the peer", inet),
		row("send_bytes", "Bytes sent to the peer", inet),
		row("send_cnt", "Packets sent to the peer", inet),
		row("send_max_bytes", "Size of the largest packet sent to the peer", inet),
		row("send_avg_bytes", "Average size of the packets sent to the peer", inet),
		row("send_pend_bytes", "Bytes that wait to be sent by the socket", inet),
		row("port_input_bytes", "Bytes read from the port of the connection", port+"input)"),
		row("port_output_bytes", "Bytes written to the port of the connection", port+"output)"),
		row("port_memory_bytes", "Memory that the VM allocated for the port of the connection", port+"memory)"),
		row("port_queue_size_bytes", "Bytes in the driver queue of the port of the connection", port+"queue_size)"),
		row("node_state", "State of the connection: 1 pending, 2 up_pending, 3 up", "net_kernel:nodes_info/0"),
		{
			Name: "erlang_vm_dist_node_queue_size_bytes", Call: "erlang:dist_get_stat/1", Samples: single("queue_size"), Since: "22.1",
			Help: "Bytes in the output queue between Erlang and the connection's port; -1 when the VM only says that there are some",
		},
		{
			Name: "erlang_vm_dist_messages_in_total", Type: Counter, Help: "Messages and fragments of them received from the peer",
			Call: "erlang:dist_get_stat/1", Samples: single("messages_in"), Origin: "-",
		},
		{
			Name: "erlang_vm_dist_messages_out_total", Type: Counter, Help: "Messages and fragments of them sent to the peer",
			Call: "erlang:dist_get_stat/1", Samples: single("messages_out"), Origin: "-",
		},
	}
}

// distProcessRows are the rows about the processes that serve a connection:
// of type dist, and tls_connection and tls_sender under TLS.
func distProcessRows() []Family {
	row := func(column, unit, help string) Family {
		return Family{
			Name: strings.TrimSuffix("erlang_vm_dist_proc_"+column+"_"+unit, "_"),
			Help: help, Call: "erlang:process_info(Pid, " + column + ")", Samples: single(column),
		}
	}
	return []Family{
		row("memory", "bytes", "Memory of the process of the connection"),
		row("heap_size", "words", "Youngest heap generation of the process, with its stack"),
		{
			Name: "erlang_vm_dist_proc_min_heap_size_words", Call: "erlang:process_info(Pid, garbage_collection)",
			Help: "Minimum heap size of the process", Samples: single("min_heap_size"),
		},
		{
			Name: "erlang_vm_dist_proc_min_bin_vheap_size_words", Call: "erlang:process_info(Pid, garbage_collection)",
			Help: "Minimum virtual binary heap size of the process", Samples: single("min_bin_vheap_size"),
		},
		row("stack_size", "words", "Stack of the process"),
		row("total_heap_size", "words", "All heap fragments of the process, with stack and messages on the heap"),
		row("message_queue_len", "", "Messages in the mailbox of the process"),
		row("reductions", "", "Reductions of the process since it started"),
		row("status", "", "Status of the process: 1 exiting, 2 suspended, 3 runnable, 4 garbage_collecting, 5 running, 6 waiting"),
	}
}

// mnesiaFamilies are the rows of prometheus_mnesia_collector without labels.
func mnesiaFamilies() []Family {
	const info = "mnesia:system_info("
	counter := func(column, help, item string) Family {
		name := "erlang_mnesia_" + column + "_transactions"
		return Family{Name: name, V6: name + "_total", Type: Counter, Help: help, Call: info + item + ")", Samples: single(column)}
	}
	rows := []Family{
		{
			Name: "erlang_mnesia_held_locks", Help: "Locks that transactions hold",
			Call: "ets:info(mnesia_held_locks, size)", Samples: single("held_locks"),
		},
		{
			Name: "erlang_mnesia_lock_queue", Help: "Transactions that wait for a lock",
			Call: "ets:info(mnesia_lock_queue, size)", Samples: single("lock_queue"),
		},
		{
			Name: "erlang_mnesia_transaction_participants", Help: "Transactions that the node takes part in",
			Call: info + "transactions)", Samples: single("transaction_participants"),
		},
		{
			Name: "erlang_mnesia_transaction_coordinators", Help: "Transactions that the node coordinates",
			Call: info + "transactions)", Samples: single("transaction_coordinators"),
		},
		counter("failed", "Transactions that failed, that is, were aborted", "transaction_failures"),
		counter("committed", "Transactions that were committed", "transaction_commits"),
		counter("logged", "Transactions that were logged", "transaction_log_writes"),
		counter("restarted", "Restarts of transactions", "transaction_restarts"),
		{
			Name: "erlang_mnesia_memory_usage_bytes", Help: "Memory of all Mnesia tables", Cost: Moderate,
			Call: "mnesia:table_info(Table, memory) * erlang:system_info(wordsize)", Samples: single("memory"),
		},
		{
			Name: "erlang_mnesia_db_nodes", Help: "Nodes of the Mnesia schema, all and those where Mnesia runs", Origin: "-",
			Call: info + "db_nodes), " + info + "running_db_nodes)", Labels: fixed("state"),
			Samples: []Sample{of("configured_nodes", "configured"), of("running_nodes", "running")},
		},
		{
			Name: "erlang_mnesia_tables", Help: "Tables: all, those with a copy on the node, those with master nodes", Origin: "-",
			Call: info + "tables), " + info + "local_tables), " + info + "master_node_tables)", Labels: fixed("scope"),
			Samples: []Sample{of("tables", "all"), of("local_tables", "local"), of("master_tables", "master")},
		},
		{
			Name: "erlang_mnesia_checkpoints", Help: "Active checkpoints", Origin: "-", Call: info + "checkpoints)", Samples: single("checkpoints"),
		},
		{
			Name: "erlang_mnesia_subscribers", Help: "Processes that subscribe to system events", Origin: "-",
			Call: info + "subscribers)", Samples: single("subscribers"),
		},
		{
			Name: "erlang_mnesia_dump_log_time_threshold_seconds", Help: "Time after which the transaction log is dumped", Origin: "-",
			Call: info + "dump_log_time_threshold)", Samples: []Sample{{Value: Value{Column: "dump_log_time_threshold_ms", Per: 1000}}},
		},
		{
			Name: "erlang_mnesia_dump_log_write_threshold", Help: "Writes after which the transaction log is dumped", Origin: "-",
			Call: info + "dump_log_write_threshold)", Samples: single("dump_log_write_threshold"),
		},
	}
	return complete(rows, Family{Type: Gauge, Collector: snapshot.Mnesia, Table: "mnesia", Cost: Cheap, Origin: prometheusErl})
}

// mnesiaTableFamilies are the rows of prometheus_mnesia_collector by table.
func mnesiaTableFamilies() []Family {
	rows := []Family{
		{
			Name: "erlang_mnesia_tablewise_memory_usage_bytes", Help: "Memory of a Mnesia table",
			Call: "mnesia:table_info(Table, memory) * erlang:system_info(wordsize)", Samples: single("memory"),
		},
		{
			Name: "erlang_mnesia_tablewise_size", Help: "Records in a Mnesia table",
			Call: "mnesia:table_info(Table, size)", Samples: single("size"),
		},
	}
	return complete(rows, Family{
		Type: Gauge, Collector: snapshot.Mnesia, Table: "mnesia_table", Labels: labelled("table"),
		Cost: Moderate, Origin: prometheusErl,
	})
}

// osProcessFamilies describe the node's operating system process, under the
// names of prometheus_process_collector.
func osProcessFamilies() []Family {
	const status = "/proc/self/status of the node"
	rows := []Family{
		{Name: "process_resident_memory_bytes", Help: "Resident memory of the node's OS process", Call: status, Samples: single("resident_bytes")},
		{Name: "process_virtual_memory_bytes", Help: "Virtual memory of the node's OS process", Call: status, Samples: single("virtual_bytes")},
		{
			Name: "process_open_fds", Help: "Open file descriptors of the node's OS process",
			Call: "/proc/self/fd of the node", Samples: single("open_fds"),
		},
		{
			Name: "process_max_fds", Help: "Most file descriptors that the node's OS process may open",
			Call: "/proc/self/limits of the node", Samples: single("max_fds"),
		},
		{
			Name: "process_cpu_seconds_total", Help: "User and system CPU time of the node's OS process", Type: Counter,
			Call: "/proc/self/stat of the node", Samples: single("cpu_seconds"),
		},
		{Name: "process_threads_total", Help: "Threads of the node's OS process", Call: status, Samples: single("threads")},
		{
			Name: "process_start_time_seconds", Help: "When the node started, in seconds since 1970", Cost: Cheap,
			Call: "erlang:system_info(start_time)", Samples: single("start_time_seconds"),
		},
		{
			Name: "process_uptime_seconds", Help: "Time since the node started", Cost: Cheap,
			Call: "erlang:statistics(wall_clock)", Samples: single("uptime_seconds"),
		},
		{
			Name: "erlang_vm_memory_unaccounted_bytes", Samples: single("unaccounted_bytes"), Origin: "-",
			Help: "Resident memory less what the VM's allocators have: grows where NIFs or ports leak; negative while carriers are not resident",
			Call: status + ", erlang:system_info({allocator, Alloc})", Note: "with the collector allocators only",
		},
	}
	return complete(rows, Family{
		Type: Gauge, Collector: snapshot.OSProcess, Table: "process", Cost: Moderate, Origin: "prometheus_process_collector",
	})
}

// unitOf reads the unit off a name.
func unitOf(name string) string {
	for word := range strings.SplitSeq(name, "_") {
		switch word {
		case "bytes", "seconds", "milliseconds", "words":
			return word
		}
	}
	return ""
}
