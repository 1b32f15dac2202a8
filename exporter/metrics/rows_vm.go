package metrics

import (
	"slices"

	"github.com/erlops/erlops/exporter/snapshot"
)

// prometheusErl is the library whose names, types and labels are kept.
const prometheusErl = "prometheus.erl"

// memoryFamilies are the rows of prometheus_vm_memory_collector and the
// persistent terms.
func memoryFamilies() []Family {
	rows := []Family{
		{
			Name: "erlang_vm_memory_bytes_total", V6: "erlang_vm_memory_bytes",
			Help: "Memory allocated by the VM: that of processes and that of the system together are all", Call: "erlang:memory/0",
			Labels: fixed("kind"), Samples: []Sample{of("system", "system"), of("processes", "processes")},
		},
		{
			Name: "erlang_vm_memory_processes_bytes_total", V6: "erlang_vm_memory_processes_bytes",
			Help: "Memory allocated for Erlang processes, used and free", Call: "erlang:memory/0",
			Labels:  fixed("usage"),
			Samples: []Sample{of("processes_used", "used"), less("free", "processes", "processes_used")},
		},
		{
			Name: "erlang_vm_memory_system_bytes_total", V6: "erlang_vm_memory_system_bytes",
			Help: "Memory allocated for what belongs to no process, by use", Call: "erlang:memory/0",
			Labels: fixed("usage"),
			Samples: []Sample{
				of("atom", "atom"), of("binary", "binary"), of("code", "code"), of("ets", "ets"),
				less("other", "system", "atom", "binary", "code", "ets"),
			},
		},
		{
			Name: "erlang_vm_memory_atom_bytes_total", V6: "erlang_vm_memory_atom_bytes",
			Help: "Memory allocated for atoms, used and free; part of the system memory", Call: "erlang:memory/0",
			Labels:  fixed("usage"),
			Samples: []Sample{of("atom_used", "used"), less("free", "atom", "atom_used")},
		},
		{
			Name: "erlang_vm_memory_ets_tables", Help: "ETS tables", Call: "ets:all/0", Samples: single("ets_tables"),
		},
		{
			Name: "erlang_vm_memory_dets_tables", Help: "Open DETS tables", Call: "dets:all/0", Samples: single("dets_tables"),
		},
		{
			Name: "erlang_vm_persistent_terms", Help: "Persistent terms", Call: "persistent_term:info/0",
			Samples: single("persistent_terms"), Since: "21.2", Origin: "-",
		},
		{
			Name: "erlang_vm_persistent_term_memory_bytes", Help: "Memory taken by persistent terms", Call: "persistent_term:info/0",
			Samples: single("persistent_term_memory"), Since: "21.2", Origin: "-",
		},
	}
	return complete(rows, Family{Type: Gauge, Collector: snapshot.Memory, Table: "memory", Cost: Cheap, Origin: prometheusErl})
}

// statisticsFamilies are the rows of prometheus_vm_statistics_collector.
func statisticsFamilies() []Family {
	const runQueue = "Processes and ports ready to run on the normal schedulers"
	rows := []Family{
		{
			Name: "erlang_vm_statistics_bytes_output_total",
			Help: "Bytes written to ports", Call: "erlang:statistics(io)", Samples: single("bytes_output"),
		},
		{
			Name: "erlang_vm_statistics_bytes_received_total",
			Help: "Bytes read from ports", Call: "erlang:statistics(io)", Samples: single("bytes_received"),
		},
		{
			Name: "erlang_vm_statistics_context_switches", V6: "erlang_vm_statistics_context_switches_total",
			Help: "Context switches since the node started", Call: "erlang:statistics(context_switches)",
			Samples: single("context_switches"),
		},
		{
			Name: "erlang_vm_statistics_dirty_cpu_run_queue_length", Type: Gauge,
			Help: "Processes ready to run on the dirty CPU schedulers", Call: "erlang:statistics(run_queue_lengths_all)",
			Samples: single("dirty_cpu_run_queue"),
		},
		{
			Name: "erlang_vm_statistics_dirty_io_run_queue_length", Type: Gauge,
			Help: "Processes ready to run on the dirty I/O schedulers", Call: "erlang:statistics(run_queue_lengths_all)",
			Samples: single("dirty_io_run_queue"),
		},
		{
			Name: "erlang_vm_statistics_garbage_collection_number_of_gcs",
			V6:   "erlang_vm_statistics_garbage_collection_number_of_gcs_total",
			Help: "Garbage collections since the node started", Call: "erlang:statistics(garbage_collection)",
			Samples: single("gcs"),
		},
		{
			Name: "erlang_vm_statistics_garbage_collection_bytes_reclaimed",
			V6:   "erlang_vm_statistics_garbage_collection_bytes_reclaimed_total",
			Help: "Bytes reclaimed by garbage collections", Call: "erlang:statistics(garbage_collection) * erlang:system_info(wordsize)",
			Samples: []Sample{{Value: Value{Column: "words_reclaimed", Times: "wordsize"}}},
		},
		{
			Name: "erlang_vm_statistics_garbage_collection_words_reclaimed",
			V6:   "erlang_vm_statistics_garbage_collection_words_reclaimed_total",
			Help: "Words reclaimed by garbage collections", Call: "erlang:statistics(garbage_collection)",
			Samples: single("words_reclaimed"),
		},
		{
			Name: "erlang_vm_statistics_reductions_total",
			Help: "Reductions since the node started", Call: "erlang:statistics(reductions)", Samples: single("reductions"),
		},
		{
			Name: "erlang_vm_statistics_run_queues_length", Type: Gauge,
			Help: runQueue, Call: "erlang:statistics(run_queue)", Samples: single("run_queue"),
		},
		{
			Name: "erlang_vm_statistics_run_queues_length_total", Type: Gauge, LegacyOnly: true,
			Help: runQueue, Call: "erlang:statistics(run_queue)", Samples: single("run_queue"),
			Note: "name before prometheus.erl 4.9.0, which RabbitMQ's Erlang-BEAM dashboard asks for",
		},
		{
			Name: "erlang_vm_statistics_runtime_milliseconds", V6: "erlang_vm_statistics_runtime_seconds_total", V6Divisor: 1000,
			Help: "CPU time of all threads of the VM", Call: "erlang:statistics(runtime)", Samples: single("runtime_ms"),
			Note: "prometheus.erl 6 exposes milliseconds under the name in seconds; here they are seconds",
		},
		{
			Name: "erlang_vm_statistics_wallclock_time_milliseconds",
			V6:   "erlang_vm_statistics_wallclock_time_seconds_total", V6Divisor: 1000,
			Help: "Time since the node started", Call: "erlang:statistics(wall_clock)", Samples: single("wallclock_ms"),
			Note: "prometheus.erl 6 exposes milliseconds under the name in seconds; here they are seconds",
		},
	}
	return complete(rows, Family{
		Type: Counter, Collector: snapshot.Statistics, Table: "statistics", Cost: Cheap, Origin: prometheusErl,
	})
}

// systemInfoFamilies are the rows of prometheus_vm_system_info_collector but
// for the allocators.
func systemInfoFamilies() []Family {
	rows := []Family{
		systemInfo("dirty_cpu_schedulers", "Dirty CPU scheduler threads"),
		systemInfo("dirty_cpu_schedulers_online", "Dirty CPU scheduler threads online"),
		systemInfo("dirty_io_schedulers", "Dirty I/O scheduler threads"),
		systemInfo("ets_limit", "Most ETS tables that the node was set up for; not enforced by newer releases"),
		systemInfo("logical_processors", "Logical processors configured in the system"),
		systemInfo("logical_processors_available", "Logical processors available to the VM"),
		systemInfo("logical_processors_online", "Logical processors online in the system"),
		systemInfo("port_count", "Ports"),
		systemInfo("port_limit", "Most ports that can exist"),
		systemInfo("process_count", "Processes"),
		systemInfo("process_limit", "Most processes that can exist"),
		systemInfo("schedulers", "Scheduler threads"),
		systemInfo("schedulers_online", "Scheduler threads online"),
		systemInfo("smp_support", "1 when the VM was built with SMP support, else 0"),
		systemInfo("threads", "1 when the VM was built with thread support, else 0"),
		systemInfo("thread_pool_size", "Async threads"),
		systemInfo("time_correction", "1 when time correction is on, else 0"),
		systemInfo("wordsize", "Size of a word"),
		systemInfo("atom_count", "Atoms"),
		systemInfo("atom_limit", "Most atoms that can exist"),
		{
			Name: "erlang_vm_ets_count", Help: "ETS tables", Call: "erlang:system_info(ets_count)", Samples: single("ets_count"),
			Since: "21.1", Origin: "-",
		},
	}
	renamed := map[string]string{
		"erlang_vm_port_count":    "erlang_vm_ports",
		"erlang_vm_process_count": "erlang_vm_processes",
		"erlang_vm_atom_count":    "erlang_vm_atoms",
	}
	for i := range rows {
		row := &rows[i]
		row.V6 = renamed[row.Name]
		switch row.Samples[0].Value.Column {
		case "smp_support", "threads", "time_correction":
			row.Type = Untyped // prometheus.erl's booleans
		case "wordsize":
			row.Name, row.Unit = "erlang_vm_wordsize_bytes", "bytes"
		}
	}
	return complete(rows, Family{
		Type: Gauge, Collector: snapshot.SystemInfo, Table: "system_info", Cost: Cheap, Origin: prometheusErl,
	})
}

// systemInfo is the row of an item of erlang:system_info/1 that is exposed
// under its own name.
func systemInfo(item, help string) Family {
	return Family{
		Name: "erlang_vm_" + item, Help: help, Call: "erlang:system_info(" + item + ")", Samples: single(item),
	}
}

// allocatorFamilies are the allocators of prometheus_vm_system_info_collector.
func allocatorFamilies() []Family {
	var samples []Sample
	for _, kind := range []string{"mbcs", "mbcs_pool", "sbcs"} {
		for _, usage := range []string{"carriers", "carriers_size", "blocks", "blocks_size"} {
			samples = append(samples, of(kind+"_"+usage, kind, usage))
		}
	}
	rows := []Family{{
		Name: "erlang_vm_allocators", Type: Gauge,
		Help: "Carriers and blocks of the VM's memory allocators: counts, and sizes in bytes",
		Call: "erlang:system_info({allocator, Alloc})", Table: "allocators",
		Labels:  []Label{{"alloc", "alloc"}, {"instance_no", "instance"}, {Name: "kind"}, {Name: "usage"}},
		Samples: samples, Origin: prometheusErl,
		Note: `summed over the instances under instance_no="all", unless allocators is per_instance`,
	}}
	derived := []Family{
		{
			Name: "erlang_vm_allocated_bytes", Help: "Memory that an allocator has from the operating system: the sizes of its carriers",
			Samples: single("allocated"),
		},
		{Name: "erlang_vm_allocated_used_bytes", Help: "Memory of an allocator that is in use: the sizes of its blocks", Samples: single("used")},
		{
			Name: "erlang_vm_allocator_utilisation_ratio", Samples: single("utilisation"),
			Help: "Part of an allocator's memory that is in use, 0 to 1; a low one means fragmentation",
		},
		{
			Name: "erlang_vm_allocator_sbcs_to_mbcs_ratio", Samples: single("sbcs_to_mbcs"),
			Help: "Blocks with a carrier of their own, for each block that shares one",
		},
	}
	base := Family{Type: Gauge, Collector: snapshot.Allocators, Cost: Moderate, Labels: labelled("alloc"), Call: "erlang:system_info({allocator, Alloc})"}
	sums, mseg := base, base
	sums.Table, mseg.Table, mseg.Labels = "allocated", "mseg", nil
	return slices.Concat(complete(rows, base.of("allocators")), complete(derived, sums), complete([]Family{{
		Name: "erlang_vm_mseg_cache_hits_total", Type: Counter, Help: "Requests for memory segments that were answered out of the cache",
		Call: "erlang:system_info({allocator, mseg_alloc})", Samples: single("cache_hits"),
	}}, mseg))
}

// of is the family with another table.
func (f *Family) of(table string) Family {
	other := *f
	other.Table = table
	return other
}

// msaccFamilies are the rows of prometheus_vm_msacc_collector.
func msaccFamilies() []Family {
	const extra = "only VMs built with --with-microstate-accounting=extra"
	rows := []Family{
		msacc("aux", "auxiliary jobs", ""),
		msacc("check_io", "checking for new I/O events", ""),
		msacc("emulator", "executing Erlang processes", ""),
		msacc("gc", "garbage collections; with extra states only those that are no fullsweep", ""),
		msacc("other", "anything else", ""),
		msacc("port", "executing ports", ""),
		msacc("sleep", "sleeping", ""),
		msacc("alloc", "managing memory", extra),
		msacc("bif", "BIFs", extra),
		msacc("busy_wait", "busy waiting", extra),
		msacc("ets", "ETS BIFs", extra),
		msacc("gc_full", "fullsweep garbage collections", extra),
		msacc("nif", "NIFs", extra),
		msacc("send", "sending messages", extra),
		msacc("timers", "managing timers", extra),
	}
	return complete(rows, Family{
		Type: Counter, Unit: "seconds", Collector: snapshot.MSAcc, Table: "msacc", Labels: labelled("type", "id"),
		Call: "erlang:statistics(microstate_accounting)", Cost: Cheap, Origin: prometheusErl,
	})
}

func msacc(state, help, note string) Family {
	return Family{
		Name: "erlang_vm_msacc_" + state + "_seconds_total", Help: "Time that a thread of the VM spent on " + help,
		Samples: single(state), Note: note,
	}
}

// complete fills what the rows leave open: type, place, call, labels, cost
// and origin from base, the unit from the name. Origin "-" means ours.
func complete(rows []Family, base Family) []Family {
	for i := range rows {
		r := &rows[i]
		r.Collector, r.Table = base.Collector, base.Table
		setDefault(&r.Type, base.Type)
		setDefault(&r.Unit, base.Unit)
		setDefault(&r.Call, base.Call)
		setDefault(&r.Cost, base.Cost)
		setDefault(&r.Unit, unitOf(r.Name))
		setDefault(&r.Origin, base.Origin)
		if r.Origin == "-" {
			r.Origin = ""
		}
		if r.Labels == nil {
			r.Labels = base.Labels
		}
	}
	return rows
}

func setDefault[T ~string](field *T, value T) {
	if *field == "" {
		*field = value
	}
}
