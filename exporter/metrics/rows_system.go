package metrics

import (
	"slices"

	"github.com/erlops/erlops/exporter/snapshot"
)

// vmFamilies say what a node is, and what its clocks and sockets do.
func vmFamilies() []Family {
	const info = "erlang:system_info("
	base := Family{Type: Gauge, Collector: snapshot.VM, Table: "vm", Cost: Cheap}
	rows := []Family{
		{
			Name: "erlang_vm_time_offset_seconds", Help: "Erlang system time less Erlang monotonic time",
			Call: "erlang:time_offset/1", Samples: single("time_offset_seconds"),
		},
		{
			Name: "erlang_vm_clock_drift_seconds", Help: "The operating system's time less Erlang system time",
			Call: "os:system_time/1, erlang:system_time/1", Samples: single("clock_drift_seconds"),
		},
		{
			Name: "erlang_vm_check_io_poll_set_size", Help: "File descriptors that are polled",
			Call: info + "check_io)", Samples: single("poll_set_size"),
		},
		{
			Name: "erlang_vm_check_io_max_fds", Help: "Most file descriptors that can be polled",
			Call: info + "check_io)", Samples: single("check_io_max_fds"),
		},
		{
			Name: "erlang_vm_start_time_seconds", Help: "When the node started, in seconds since 1970",
			Call: info + "start_time)", Samples: single("start_time_seconds"),
		},
		{
			Name: "erlang_vm_code_mode_interactive", Help: "1 when modules are loaded as they are called, 0 in embedded mode",
			Call: "code:get_mode/0", Samples: single("code_mode_interactive"),
		},
	}
	labels := []string{"otp_release", "erts_version", "emu_flavor", "architecture", "release_name", "release_version", "elixir"}
	about := []Family{
		{
			Name: "erlang_vm_info", Help: "1; versions of the runtime system and of the release as labels", Table: "vm_info",
			Call: info + "...), init:script_id/0, application:get_key(elixir, vsn)", Labels: labelled(labels...), Samples: single("info"),
		},
		{
			Name: "erlang_vm_time_warp_mode_info", Help: "1; the time warp mode as label", Table: "time_warp_mode",
			Call: info + "time_warp_mode)", Labels: labelled("mode"), Samples: single("info"),
		},
		{
			Name: "erlang_vm_sockets", Help: "Open sockets of the module socket, of all and of each domain, type and protocol", Table: "sockets",
			Call: "socket:info/0", Labels: labelled("domain_type"), Samples: single("sockets"), Since: "22",
			Note: "only where the module is in use; those of gen_tcp are ports",
		},
	}
	tables := complete(rows, base)
	for _, f := range about {
		tables = append(tables, complete([]Family{f}, base.of(f.Table))...)
	}
	return tables
}

// codeFamilies are about modules, applications and registered names.
func codeFamilies() []Family {
	base := Family{Type: Gauge, Collector: snapshot.Code, Table: "code", Cost: Moderate}
	rows := []Family{
		{Name: "erlang_vm_modules_loaded", Help: "Loaded modules", Call: "erlang:loaded/0", Samples: single("modules_loaded")},
		{
			Name: "erlang_vm_modules_old_code", Help: "Modules of which an older version is still loaded, without those that were made in memory",
			Call: "erlang:check_old_code/1", Samples: single("modules_old_code"),
		},
		{
			Name: "erlang_vm_registered_processes", Help: "Registered names of processes and ports",
			Call: "erlang:registered/0", Samples: single("registered_processes"),
		},
		{Name: "erlang_vm_global_names", Help: "Globally registered names", Call: "ets:info(global_names, size)", Samples: single("global_names")},
		{
			Name: "erlang_vm_applications", Help: "Applications that run, and that are loaded",
			Call: "application:which_applications/1, application:loaded_applications/0", Labels: fixed("state"),
			Samples: []Sample{of("applications_running", "running"), of("applications_loaded", "loaded")},
		},
	}
	return slices.Concat(complete(rows, base), complete([]Family{{
		Name: "erlang_vm_application_info", Help: "1; an application with its version, and whether it runs or is only loaded",
		Call: "application:which_applications/1, application:loaded_applications/0", Labels: labelled("application", "version", "state"),
		Samples: single("info"),
	}}, base.of("application")))
}

// portFamilies are about ports.
func portFamilies() []Family {
	base := Family{Type: Gauge, Collector: snapshot.Ports, Cost: Moderate}
	return slices.Concat(
		complete([]Family{{
			Name: "erlang_vm_port_queue_bytes", Help: "Bytes that wait in the driver queues of all ports",
			Call: "erlang:port_info(Port, queue_size)", Samples: single("queue_bytes"),
		}}, base.of("ports")),
		complete([]Family{{
			Name: "erlang_vm_ports_by_driver", Help: "Ports by driver", Call: "erlang:port_info(Port, name)",
			Labels: labelled("driver"), Samples: single("ports"), Note: "those that run a program are of the driver spawn",
		}}, base.of("port_driver")),
		complete([]Family{{
			Name: "erlang_vm_inet_ports", Help: "Ports that are sockets, by protocol", Call: "erlang:port_info(Port, name)",
			Labels: labelled("proto"), Samples: single("ports"),
		}}, base.of("inet_port")),
	)
}

// osMonFamilies are what os_mon knows of the host.
func osMonFamilies() []Family {
	base := Family{Type: Gauge, Collector: snapshot.OSMon, Cost: Moderate, Note: "only where os_mon runs already"}
	row := func(f Family, table string) []Family {
		f.Note = base.Note
		return complete([]Family{f}, base.of(table))
	}
	return slices.Concat(
		row(Family{
			Name: "erlang_os_memory_bytes", Help: "Memory of the host", Call: "memsup:get_system_memory_data/0",
			Labels: labelled("kind"), Samples: single("bytes"),
		}, "os_memory"),
		row(Family{
			Name: "erlang_os_disk_used_ratio", Help: "Part of a file system that is in use, 0 to 1", Call: "disksup:get_disk_data/0",
			Labels: labelled("mount"), Samples: single("used_ratio"), Cost: Cheap,
		}, "os_disk"),
		row(Family{
			Name: "erlang_os_load", Help: "Processes of the host that run or wait to, averaged over minutes", Call: "cpu_sup:avg1/0, avg5/0, avg15/0",
			Labels: labelled("period"), Samples: single("load"),
		}, "os_load"),
	)
}

// etsFamilies are about ETS and DETS tables.
func etsFamilies() []Family {
	base := Family{Type: Gauge, Collector: snapshot.ETS, Cost: Moderate}
	ranked := labelled("rank", "table", "owner")
	const note = "owner is the registered name or the initial call of the owner"
	return slices.Concat(
		complete([]Family{{
			Name: "erlang_vm_ets_top_memory_bytes", Help: "Memory of the largest ETS tables, by rank",
			Call: "ets:info(Table, memory) * erlang:system_info(wordsize)", Labels: ranked, Samples: single("bytes"), Note: note,
		}}, base.of("ets_top_memory")),
		complete([]Family{{
			Name: "erlang_vm_ets_top_objects", Help: "Objects in the ETS tables that have the most, by rank",
			Call: "ets:info(Table, size)", Labels: ranked, Samples: single("objects"), Note: note,
		}}, base.of("ets_top_objects")),
		complete([]Family{{
			Name: "erlang_vm_ets_tables_by_type", Help: "ETS tables by type and protection", Call: "ets:info(Table, type), ets:info(Table, protection)",
			Labels: labelled("type", "protection"), Samples: single("tables"),
		}}, base.of("ets_type")),
		complete([]Family{{
			Name: "erlang_vm_dets_file_bytes", Help: "Size of the file of an open DETS table", Call: "dets:info(Table, file_size)",
			Labels: labelled("table"), Samples: single("file_bytes"),
		}}, base.of("dets")),
	)
}
