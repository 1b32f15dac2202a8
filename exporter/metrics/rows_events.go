package metrics

import (
	"slices"

	"github.com/erlops/erlops/exporter/snapshot"
)

// vmEventFamilies count what the runtime system, the distribution and Mnesia
// told since the agent came.
func vmEventFamilies() []Family {
	base := Family{Type: Counter, Collector: snapshot.VMEvents, Table: "vm_events", Cost: Cheap, Call: "erlang:system_monitor/2, trace:system/3"}
	const note = "only while the agent has the system monitor; from OTP 28 on it has one of its own"
	event := func(name, help string) Family {
		return Family{Name: "erlang_vm_system_monitor_" + name + "_total", Help: help, Samples: single(name), Note: note}
	}
	seconds := event("long_gc_seconds", "Time of the garbage collections that took too long")
	seconds.Unit = "seconds"
	long := event("long_message_queue", "Times that a mailbox began or ceased to be too long")
	long.Since = "27"
	rows := []Family{
		{
			Name: "erlang_vm_system_monitor_available", Type: Gauge, Samples: single("monitored"),
			Help: "1 while the agent is told what the system monitor tells, 0 while another process of the node has it",
		},
		event("busy_port", "Times that a process was suspended because it sent to a busy port"),
		event("busy_dist_port", "Times that a process was suspended because it sent to a node over a busy connection"),
		event("long_gc", "Garbage collections that took too long"),
		event("long_schedule", "Times that a process or port ran too long without a pause"),
		event("large_heap", "Times that a garbage collection left a heap that is too large"),
		long, seconds,
		{
			Name: "erlang_mnesia_overload_events_total", Help: "Times that Mnesia said it was overloaded", Call: "mnesia:subscribe(system)",
			Samples: single("mnesia_overload"), Note: "only where Mnesia runs",
		},
	}
	peers := base.of("dist_events")
	peers.Labels, peers.Call = labelled("peer", "event"), "net_kernel:monitor_nodes/2"
	return slices.Concat(complete(rows, base), complete([]Family{{
		Name: "erlang_vm_dist_connection_events_total", Help: "Connections to nodes that came up or went down since the agent came",
		Samples: single("events"), Note: "event is nodeup or nodedown; of the first 200 peers, and of the others together",
	}}, peers))
}

// nodeAlarmFamilies count the alarms that the node itself says are active.
func nodeAlarmFamilies() []Family {
	base := Family{Type: Gauge, Collector: snapshot.Alarms, Cost: Cheap}
	elarm := base.of("elarm_alarms")
	elarm.Labels = labelled("severity", "state")
	return slices.Concat(complete([]Family{{
		Name: "erlang_vm_sasl_alarms", Help: "Active alarms of alarm_handler, and of RabbitMQ's rabbit_alarm", Call: "alarm_handler:get_alarms/0", Samples: single("alarms"),
		Note: "only where SASL runs and alarms.sasl is on; one that was set twice is one; 1,000 at most",
	}}, base.of("sasl_alarms")), complete([]Family{{
		Name: "erlang_vm_elarm_alarms", Help: "Active alarms of Elarm by severity and state", Call: "elarm:get_alarms/1", Samples: single("alarms"),
		Note: "state is new or acknowledged; only where Elarm runs and alarms.elarm is on; 1,000 at most",
	}}, elarm))
}
