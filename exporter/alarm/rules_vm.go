package alarm

import (
	"math"
	"time"
)

// vmEventRules are about what the VM reports of itself (erlang:system_monitor).
func vmEventRules() []Rule {
	event := func(id, kind, title, cause, repair string, levels ...Level) Rule {
		return Rule{
			ID: id, Title: title, Unit: "events/min", Value: kind + " events in the last minute",
			Levels: levels, Cause: cause, Repair: repair,
			Needs: []string{"vm_events." + kind}, Since: "the collector vm_events, which watches the VM only where nobody else does",
			Signal: vmEvents(kind),
		}
	}
	rules := []Rule{
		event("long_gc", "long_gc", "Long garbage collections",
			"Processes with very large heaps.", "Find large processes (process_memory, large_heap) and split their data or move it to ETS.",
			Level{Severity: Warning, Raise: 5, Clear: 1, ClearFor: 5 * time.Minute}),
		event("long_schedule", "long_schedule", "Long uninterrupted runs",
			"Native code (NIFs, drivers) that does not yield, or a host that takes the processor away.",
			"Find the process and function in the events; move long native calls to dirty schedulers.",
			Level{Severity: Warning, Raise: 5, Clear: 1, ClearFor: 5 * time.Minute}),
		event("large_heap", "large_heap", "Large heaps",
			"Processes that build very large terms.", "Find the process in the events, and see what it holds.",
			Level{Severity: Warning, Raise: 1, Clear: 1, ClearFor: 10 * time.Minute}),
		event("busy_port", "busy_port", "Busy ports",
			"Peers that read slowly: senders are suspended until the socket takes more.",
			"Find the peer in the events. Set send_timeout on such sockets.",
			Level{Severity: Warning, Raise: 10, Clear: 1, ClearFor: 5 * time.Minute}),
		event("busy_dist_port", "busy_dist_port", "Busy distribution connections",
			"A connection between nodes that is too slow for what is sent over it, often large messages.",
			"See erlang_vm_dist_node_queue_size_bytes by peer. Send less over distribution, or raise +zdbbl.",
			Level{Severity: Minor, Raise: 10, Clear: 1, ClearFor: 5 * time.Minute},
			Level{Severity: Major, Raise: 600, Clear: 1, ClearFor: 5 * time.Minute}),
	}
	meanings := []string{
		"Garbage collections of single processes hold up a scheduler for half a second and more.",
		"Processes or ports run for half a second and more without giving the scheduler back.",
		"Processes have grown to very large heaps.",
		"Processes are suspended because a port does not take what they send.",
		"Processes are suspended because a connection to another node does not take what they send.",
	}
	for i := range rules {
		rules[i].Meaning = meanings[i]
	}
	return rules
}

// vmEvents is the signal of how many events of a kind came in the last minute.
func vmEvents(kind string) func(*Window) ([]Reading, bool) {
	return func(w *Window) ([]Reading, bool) {
		total, ok := w.Value("vm_events", kind)
		if !ok {
			return nil, false
		}
		recent, _ := w.Increase("vm_events."+kind, total, time.Minute)
		return one(recent, true)
	}
}

// distributionRules are about connections to other nodes.
func distributionRules() []Rule {
	return []Rule{{
		ID: "dist_queue", Title: "Distribution queue nearly full", Unit: "%", KeyLabel: "peer", Value: "bytes that wait for a connection, as a share of the limit (+zdbbl) from which on senders are suspended",
		Levels: []Level{
			{Severity: Minor, Raise: 50, Clear: 25, For: checks, ClearFor: checks},
			{Severity: Major, Raise: 90, Clear: 25, For: checks, ClearFor: checks},
		},
		Meaning: "The connection to another node is too slow for what is sent over it.",
		Cause:   "Large messages, a slow network, or a peer that is overloaded.",
		Repair:  "See what is sent to the peer, and how the peer is. Raise +zdbbl when it comes in bursts.",
		Needs:   []string{"dist_peer.queue_size"},
		Since:   "the limit (dist.buffer_busy_limit); 1 MiB, the default of Erlang, where a node does not tell it",
		Signal: func(w *Window) ([]Reading, bool) {
			rows, ok := w.Rows("dist_peer")
			if !ok {
				return nil, false
			}
			limit := float64(1 << 20)
			if v, ok := w.Value("dist", "buffer_busy_limit"); ok && v > 0 {
				limit = v
			}
			var readings []Reading
			for _, r := range rows {
				if v, ok := r.Value("queue_size"); ok && v >= 0 {
					readings = append(readings, Reading{Instance: r.Label("peer"), Value: math.Round(100 * v / limit)})
				}
			}
			return readings, true
		},
	}}
}

// codeRules are about what is loaded.
func codeRules() []Rule {
	return []Rule{
		{
			ID: "old_code", Title: "Old code lingers", Unit: "modules", Value: "modules of which old code is there; not those that a program makes in memory",
			Levels:  []Level{{Severity: Warning, Raise: 1, Clear: 1, For: 15 * time.Minute, ClearFor: checks}},
			Meaning: "Processes may still run the code from before an upgrade, and the next upgrade of those modules kills them.",
			Cause:   "An upgrade by hand that was not finished with a purge.",
			Repair:  "code:soft_purge(Module) removes old code that nobody runs; code:purge(Module) kills those that do.",
			Needs:   []string{"code.modules_old_code"}, Since: "the collector code",
			Signal: value("code", "modules_old_code"),
		},
		{
			ID: "module_clash", Title: "Module in two places", Unit: "modules", Value: "modules that are in more than one directory of the code path; not those that Elixir has consolidated",
			Levels:  []Level{{Severity: Warning, Raise: 1, Clear: 1, ClearFor: checks}},
			Meaning: "Which of two modules of one name is loaded depends on the order of the code path.",
			Cause:   "Two versions of an application in one release, or two applications with a module of the same name.",
			Repair:  "code:clash() lists them. Remove one from the code path.",
			Needs:   []string{"inspection.module_clashes"}, Since: "the collector vm_events; the code path is gone through once a minute, only where this alarm is switched on", OptIn: true,
			Signal: value("inspection", "module_clashes"),
		},
	}
}
