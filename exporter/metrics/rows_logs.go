package metrics

import "github.com/erlops/erlops/exporter/snapshot"

// logFamilies are what the node has logged. They begin at zero when the node is
// attached, as no runtime system keeps such counts itself.
func logFamilies() []Family {
	rows := []Family{
		{
			Name: "erlang_vm_log_events_total", Help: "Log entries by level, those that were dropped included", Table: "log_events",
			Call: "logger:add_handler/3, lager_event", Labels: labelled("level"), Samples: single("events"),
			Note: "since the node was attached, from the level on that its logs are read from, errors at least",
		},
		{
			Name: "erlang_vm_crash_reports_total", Table: "log_reports",
			Help: "Reports of processes that crash (proc_lib), of supervisors, of generic servers that terminate, and of other processes with an error",
			Call: "logger:add_handler/3, lager_event", Labels: labelled("type"), Samples: single("reports"),
			Note: "crash, supervisor, terminate, process; since the node was attached",
		},
		{
			Name: "erlang_vm_supervisor_restarts_total", Help: "Children that a supervisor saw terminate, by its name or module", Table: "log_restarts",
			Call: "logger:add_handler/3, lager_event", Labels: labelled("supervisor"), Samples: single("restarts"),
			Note: "since the node was attached; 50 supervisors at most, then other",
		},
		{
			Name: "erlang_vm_log_events_dropped_total", Help: "Log entries that the agent's handler has dropped on the node", Table: "log_drops",
			Call: "agent", Labels: labelled("reason"), Samples: single("dropped"),
			Note: "rate_limit, overload, failed; since the node was attached",
		},
	}
	base := Family{Type: Counter, Collector: snapshot.Logs, Cost: Cheap}
	var all []Family
	for _, f := range rows {
		all = append(all, complete([]Family{f}, base.of(f.Table))...)
	}
	return all
}
