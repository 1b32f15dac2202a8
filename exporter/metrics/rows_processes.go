package metrics

import (
	"slices"

	"github.com/erlops/erlops/exporter/snapshot"
)

// schedulerFamilies are about run queues and the use of schedulers.
func schedulerFamilies() []Family {
	base := Family{Type: Gauge, Collector: snapshot.Schedulers, Cost: Cheap}
	const wall = "erlang:statistics(scheduler_wall_time_all)"
	use := []Family{
		{
			Name: "erlang_vm_scheduler_utilisation_ratio", Samples: single("utilisation"),
			Help: "Part of the time that online schedulers of a type were active lately, 0 to 1; weighted: " +
				"time that those of all types were active, for each second of each processor",
			Note: "over the last 5 s or more",
		},
		{
			Name: "erlang_vm_scheduler_utilisation_max_ratio", Samples: single("max"),
			Help: "The same of the busiest scheduler of a type", Note: "over the last 5 s or more",
		},
	}
	times := []Family{
		{Name: "erlang_vm_scheduler_active_seconds_total", Help: "Time that a scheduler was active", Samples: single("active_seconds")},
		{Name: "erlang_vm_scheduler_wall_seconds_total", Help: "Time that a scheduler's time has been counted", Samples: single("wall_seconds")},
	}
	base.Call = wall
	useBase, timeBase := base.of("scheduler_use"), base.of("scheduler_time")
	useBase.Labels, timeBase.Labels, timeBase.Type = labelled("type"), labelled("type", "id"), Counter
	return slices.Concat(
		complete([]Family{
			{
				Name: "erlang_vm_total_run_queue_length", Help: "Processes and ports ready to run on schedulers of all types",
				Call: "erlang:statistics(total_run_queue_lengths_all)", Samples: single("total_length"),
			},
			{
				Name: "erlang_vm_total_active_tasks", Help: "Processes and ports ready to run or running on schedulers of all types",
				Call: "erlang:statistics(total_active_tasks_all)", Samples: single("total_active"),
			},
		}, base.of("run_queues")),
		complete([]Family{
			{
				Name: "erlang_vm_run_queue_length", Help: "Processes and ports ready to run, by run queue", Labels: labelled("queue"),
				Call: "erlang:statistics(run_queue_lengths_all)", Samples: single("length"),
			},
			{
				Name: "erlang_vm_active_tasks", Help: "Processes and ports ready to run or running, by run queue", Labels: labelled("queue"),
				Call: "erlang:statistics(active_tasks_all)", Samples: single("active"),
			},
		}, base.of("run_queue")),
		complete(use, useBase), complete(times, timeBase),
	)
}

// vipFamilies are about the processes that everything needs.
func vipFamilies() []Family {
	base := Family{Type: Gauge, Collector: snapshot.VIP, Table: "vip", Labels: labelled("name"), Cost: Cheap}
	rows := []Family{
		{Name: "erlang_vm_vip_process_up", Help: "1 when a process has the name, else 0", Call: "erlang:whereis/1", Samples: single("up")},
		{
			Name: "erlang_vm_vip_process_message_queue_len", Help: "Messages in the mailbox of the process",
			Call: "erlang:process_info(Pid, message_queue_len)", Samples: single("message_queue_len"),
		},
		{
			Name: "erlang_vm_vip_process_memory_bytes", Help: "Memory of the process", Call: "erlang:process_info(Pid, memory)",
			Samples: single("memory"), Note: "not while more than 100,000 messages wait for it",
		},
		{
			Name: "erlang_vm_vip_process_reductions_total", Type: Counter, Help: "Reductions of the process",
			Call: "erlang:process_info(Pid, reductions)", Samples: single("reductions"),
		},
	}
	handlers := base.of("logger_handler")
	handlers.Labels = labelled("handler")
	return slices.Concat(complete(rows, base), complete([]Family{{
		Name: "erlang_vm_logger_handler_message_queue_len", Help: "Messages in the mailbox of a log handler's process",
		Call: "erlang:process_info(Pid, message_queue_len)", Samples: single("message_queue_len"), Since: "21",
	}}, handlers))
}

// scanFamilies are the sums that a scan of the processes gives.
func scanFamilies() []Family {
	rows := []Family{
		{
			Name: "erlang_vm_process_scan_skipped", Help: "1 while processes are not scanned because there are too many, else 0",
			Call: "erlang:system_info(process_count)", Labels: fixed("reason"), Samples: []Sample{of("skipped", "too_many")}, Cost: Cheap,
		},
		{
			Name: "erlang_vm_process_scan_duration_seconds", Help: "Time from the beginning of the last scan to its end, pauses included",
			Call: "agent", Samples: single("duration_seconds"), Cost: Cheap,
		},
		{
			Name: "erlang_vm_process_scan_processes", Help: "Processes that the last scan looked at",
			Call: "agent", Samples: single("processes"), Cost: Cheap,
		},
		{
			Name: "erlang_vm_process_scan_incomplete", Help: "1 when the last scan ran out of time before it had seen all processes, else 0",
			Call: "agent", Samples: single("incomplete"), Cost: Cheap,
		},
		{Name: "erlang_vm_messages_in_queues", Help: "Messages in the mailboxes of all processes", Samples: single("messages")},
		{Name: "erlang_vm_process_mailbox_max", Help: "Messages in the longest mailbox", Samples: single("mailbox_max")},
	}
	return complete(rows, Family{
		Type: Gauge, Collector: snapshot.Processes, Table: "scan", Call: "erlang:process_info(Pid, message_queue_len)", Cost: Expensive,
	})
}

// topFamilies are what a scan gives by process, initial call and application.
func topFamilies() []Family {
	base := Family{Type: Gauge, Collector: snapshot.Processes, Cost: Expensive}
	ranked := base
	ranked.Labels = labelled("rank", "name", "initial_call")
	top := func(table, name, help, item, note string) []Family {
		return complete([]Family{{
			Name: "erlang_vm_process_top_" + name, Help: help, Call: "erlang:process_info(Pid, " + item + ")", Samples: single("value"), Note: note,
		}}, ranked.of(table))
	}
	applications := base.of("by_application")
	applications.Labels, applications.Call = labelled("application"), "erlang:process_info(Pid, group_leader)"
	mailboxes := base.of("scan_mailbox")
	mailboxes.Labels = labelled("threshold")
	calls := base.of("by_initial_call")
	calls.Labels = labelled("initial_call")
	return slices.Concat(
		complete([]Family{{
			Name: "erlang_vm_processes_with_mailbox_above", Help: "Processes with more messages in their mailboxes than the threshold",
			Call: "erlang:process_info(Pid, message_queue_len)", Samples: single("processes"),
		}}, mailboxes),
		top("top_memory", "memory_bytes", "Memory of the processes that have the most, by rank", "memory", "not of those with more than 100,000 messages"),
		top("top_mailbox", "message_queue_len", "Messages in the longest mailboxes, by rank", "message_queue_len", ""),
		top("top_reductions", "reductions_rate", "Reductions a second of the busiest processes during the scan, by rank", "reductions", ""),
		top("top_binary", "binary_bytes", "Binaries that processes refer to, by rank", "binary", "of a sample and of those with the most memory below 32 MiB"),
		complete([]Family{{
			Name: "erlang_vm_processes_by_initial_call", Help: "Processes by the function that they were started with; the others together as other",
			Call: "erlang:process_info(Pid, initial_call), its dictionary for those of proc_lib", Samples: single("processes"),
			Note: "estimated from a sample of about 1,000",
		}}, calls),
		complete([]Family{
			{Name: "erlang_vm_processes_by_application", Help: "Processes by the application that they belong to", Samples: single("processes")},
			{
				Name: "erlang_vm_process_memory_by_application_bytes", Help: "Memory of processes by application", Samples: single("memory"),
				Call: "erlang:process_info(Pid, memory)",
			},
			{
				Name: "erlang_vm_process_reductions_by_application_total", Type: Counter, Samples: single("reductions"),
				Help: "Reductions of processes by application, as they grew from scan to scan", Call: "erlang:process_info(Pid, reductions)",
			},
		}, applications),
	)
}

// carrierFamilies come from going through all carriers of the allocators.
func carrierFamilies() []Family {
	base := Family{Type: Gauge, Collector: snapshot.Carriers, Cost: Expensive}
	const note = "off unless the collector carriers is switched on; needs runtime_tools on the node"
	return slices.Concat(
		complete([]Family{{
			Name: "erlang_vm_carrier_free_block_histogram", Help: "Free blocks in the carriers of an allocator that have at most so many bytes",
			Call: "instrument:carriers/0", Labels: labelled("alloc", "le"), Samples: single("blocks"), Note: note,
		}}, base.of("carrier_blocks")),
		complete([]Family{{
			Name: "erlang_vm_allocations_bytes", Help: "Allocated memory by who asked for it and what for, estimated from a histogram of sizes",
			Call: "instrument:allocations/0", Labels: labelled("origin", "type"), Samples: single("bytes"),
			Note: note + "; all of it only with +Muatags true",
		}}, base.of("allocations")),
	)
}
