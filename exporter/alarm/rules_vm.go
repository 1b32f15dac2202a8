package alarm

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// osRules are about what the node takes of its host.
func osRules() []Rule {
	return []Rule{
		{
			ID: "open_file_limit", Title: "File descriptors near the limit", Unit: "%", Value: "open file descriptors as a share of the limit (ulimit -n)",
			Levels:  usual(),
			Meaning: "When the limit is reached, the node can accept no connection and open no file.",
			Cause:   "More connections than the node is sized for, or files and sockets that are not closed.",
			Repair:  "See what is open (lsof -p PID). Raise the limit of the service (LimitNOFILE) at the next start.",
			Needs:   []string{"process.open_fds", "process.max_fds"},
			Signal:  share("process", "open_fds", "max_fds"),
		},
		{
			ID: "open_socket_limit", Title: "Sockets near the limit", Unit: "%", Value: "open sockets as a share of the limit of file descriptors",
			Levels:  percent(map[Severity]float64{Minor: 70, Major: 80}),
			Meaning: "When the limit is reached, the node can accept no connection.",
			Cause:   "More connections than the node is sized for, or connections that are not closed.",
			Repair:  "See who is connected (inet:i(), ss -p). Raise the limit of the service (LimitNOFILE) at the next start.",
			Needs:   []string{"inet_port.ports", "sockets.sockets", "process.max_fds"}, Since: "the collector ports",
			Signal: sockets,
		},
		{
			ID: "os_cpu_load", Title: "High CPU load", Unit: "%", Value: "CPU time of the node's process as a share of all processors available to it",
			Levels: []Level{
				{Severity: Minor, Raise: 80, Clear: 60, For: 5 * time.Minute, ClearFor: time.Minute},
				{Severity: Major, Raise: 95, Clear: 60, For: 5 * time.Minute, ClearFor: time.Minute},
			},
			Meaning: "The node uses nearly all processor time that it can get.",
			Cause:   "More load than the node is sized for, or a process that never rests. Busy waiting of idle schedulers (+sbwt) counts too.",
			Repair:  "See which processes work most (erlang_vm_process_top_reductions_rate) and compare with erlang_vm_scheduler_utilisation.",
			Needs:   []string{"process.cpu_seconds", "system_info.logical_processors_available"},
			Signal: func(w *Window) ([]Reading, bool) {
				used, ok := w.Value("process", "cpu_seconds")
				processors, known := w.Value("system_info", "logical_processors_available")
				if !known { // unknown to the VM on some systems
					processors, known = w.Value("system_info", "schedulers_online")
				}
				if !ok || !known || processors <= 0 {
					return nil, false
				}
				rate, known := w.Rate("cpu", used)
				return one(math.Round(100*rate/processors), known)
			},
		},
		{
			ID: "disk_capacity", Title: "Disk nearly full", Unit: "%", KeyLabel: "mount", Value: "used space of a file system",
			Levels:  percent(map[Severity]float64{Minor: 80, Major: 90, Critical: 95}),
			Meaning: "A file system of the node's host is nearly full. What cannot be written (logs, queues, Mnesia) stops the application.",
			Cause:   "Logs, crash dumps, or data that nobody removes.",
			Repair:  "Make room or make the file system larger.",
			Needs:   []string{"os_disk.used_ratio"}, Since: "disksup of os_mon on the node (collector os_mon)",
			Signal: func(w *Window) ([]Reading, bool) {
				rows, ok := w.Rows("os_disk")
				if !ok {
					return nil, false
				}
				var readings []Reading
				for _, r := range rows {
					if v, ok := r.Value("used_ratio"); ok {
						readings = append(readings, Reading{Instance: r.Label("mount"), Value: math.Round(100 * v)})
					}
				}
				return readings, true
			},
		},
	}
}

func sockets(w *Window) ([]Reading, bool) {
	rows, ok := w.Rows("inet_port")
	limit, known := w.Value("process", "max_fds")
	if !ok || !known || limit <= 0 {
		return nil, false
	}
	open := 0.0
	for _, r := range rows {
		n, _ := r.Value("ports")
		open += n
	}
	// Sockets of the module socket are no ports; older releases have none.
	others, _ := w.Rows("sockets")
	for _, r := range others {
		n, _ := r.Value("sockets")
		open += n
	}
	return []Reading{{Value: 100 * open / limit}}, true
}

// processRules are about single processes, as scans and the list of important
// processes tell.
func processRules() []Rule {
	const scan = "the collector processes"
	return []Rule{
		{
			ID: "shell_history_size", Title: "Large shell history", Unit: "words", KeyLabel: "shell", Value: "size of a shell's history",
			Levels: []Level{
				{Severity: Minor, Raise: 10_000, Clear: 9_000, ClearFor: checks},
				{Severity: Major, Raise: 20_000, Clear: 18_000, ClearFor: checks},
			},
			Meaning: "An Erlang shell on the node keeps large results in its history.",
			Cause:   "Somebody looked at something large in a shell and left it open.",
			Repair:  "In that shell: results(0), history(0), garbage_collect(). Or close it.",
			Needs:   []string{"shell.history_words"}, Since: "the collector vm_events, on nodes with at most 10,000 processes; shells are looked for once a minute",
			Signal: labelled("shell", "history_words", "name"),
		},
		{
			ID: "process_message_queue", Title: "Long message queue", Unit: "messages", KeyLabel: "process", Value: "messages that wait for one process, at two scans",
			Levels: []Level{
				{Severity: Minor, Raise: 5_000, Clear: 2_500, For: checks, ClearFor: checks},
				{Severity: Major, Raise: 50_000, Clear: 25_000, For: checks, ClearFor: checks},
				{Severity: Critical, Raise: 500_000, Clear: 250_000, For: checks, ClearFor: checks},
			},
			Meaning: "A process does not keep up with its messages. Its senders are not slowed down, so that memory grows.",
			Cause:   "A process that is a bottleneck, waits for something outside, or selects its messages by a pattern that few match.",
			Repair:  "See what it does (process_info(Pid, current_stacktrace)) and what its messages are.",
			Needs:   []string{"top_mailbox.value"}, Since: scan,
			Signal: top("top_mailbox"),
		},
		{
			ID: "vip_process_message_queue", Title: "Long message queue of an important process", Unit: "messages", KeyLabel: "process", Value: "messages that wait for a process that much depends on",
			Levels:  []Level{{Severity: Major, Raise: 1000, Clear: 100, ClearFor: checks}},
			Meaning: "A process that all others depend on does not keep up: logging, loading of code, transactions or distribution stall.",
			Cause:   "For logger and error_logger a flood of log messages, for mnesia_tm of transactions, for code_server calls of functions that do not exist, for net_kernel and global connections that come and go.",
			Repair:  "See what its messages are (process_info(whereis(Name), messages), once) and stop who sends them.",
			Needs:   []string{"vip.message_queue_len"}, Since: "the collector vip",
			Signal: labelled("vip", "message_queue_len", "name"),
		},
		{
			ID: "vip_process_missing", Title: "Important process missing", KeyLabel: "process", Value: "1 for each name of the list that is registered no more, or never was where the list was configured",
			Levels:  []Level{{Severity: Major, Raise: 1, Clear: 1, For: checks, ClearFor: checks}},
			Meaning: "A process that should be there is not registered.",
			Cause:   "It has crashed and was not restarted, or the application that it belongs to has stopped.",
			Repair:  "Look for its crash report, and restart the application.",
			Needs:   []string{"vip.up"}, Since: "the collector vip",
			Signal: vipMissing,
		},
		{
			ID: "process_memory", Title: "Large process", Unit: "bytes", KeyLabel: "process", Value: "memory of one process",
			Levels:  []Level{{Severity: Minor, Raise: 500 << 20, Clear: 400 << 20, ClearFor: checks}},
			Meaning: "One process holds so much memory that its garbage collections stop a scheduler for long, and may need as much again.",
			Cause:   "Large state, a long mailbox, or large terms that are built up in one process.",
			Repair:  "See what it is (process_info(Pid, [current_stacktrace, message_queue_len, dictionary])).",
			Needs:   []string{"top_memory.value"}, Since: scan,
			Signal: top("top_memory"),
		},
		{
			ID: "process_churn", Title: "Process that never rests", Unit: "%", KeyLabel: "process", Value: "work of one process as a share of what one scheduler does",
			Levels:  []Level{{Severity: Warning, Raise: 90, Clear: 50, For: time.Minute, ClearFor: checks}},
			Meaning: "One process keeps one scheduler busy all the time. What depends on it cannot become faster with more cores.",
			Cause:   "A bottleneck, or an endless loop.",
			Repair:  "See what it does (process_info(Pid, current_stacktrace), some times).",
			Needs:   []string{"top_reductions.value", "statistics.reductions", "scheduler_time.active_seconds"}, Since: scan,
			Signal: churn,
		},
	}
}

// labelled is the signal of a column with one alarm a row, by a label.
func labelled(table, column, label string) func(*Window) ([]Reading, bool) {
	return func(w *Window) ([]Reading, bool) {
		rows, ok := w.Rows(table)
		if !ok {
			return nil, false
		}
		var readings []Reading
		for _, r := range rows {
			if v, ok := r.Value(column); ok {
				readings = append(readings, Reading{Instance: r.Label(label), Value: v})
			}
		}
		return readings, true
	}
}

// top is the signal of a list of the largest processes. The alarm is by name or
// initial call: pids are no names that stay. Of several with one name the
// largest counts.
func top(table string) func(*Window) ([]Reading, bool) {
	return func(w *Window) ([]Reading, bool) {
		rows, ok := w.Rows(table)
		if !ok {
			return nil, false
		}
		var readings []Reading
		for _, r := range rows { // the largest first
			if v, ok := r.Value("value"); ok {
				readings = append(readings, Reading{Instance: processName(r), Value: v})
			}
		}
		return readings, true
	}
}

func processName(r Row) string {
	if name := r.Label("name"); name != "" {
		return name
	}
	return r.Label("initial_call")
}

func vipMissing(w *Window) ([]Reading, bool) {
	rows, ok := w.Rows("vip")
	if !ok {
		return nil, false
	}
	var readings []Reading
	for _, r := range rows {
		up, ok := r.Value("up")
		if !ok {
			continue
		}
		name := r.Label("name")
		// What never was there is no loss: not every node runs Mnesia.
		note := "vip_up." + name
		if up == 1 {
			w.after[note] = point{w.Now, 1}
		} else if seen, ok := w.before[note]; ok {
			w.after[note] = seen
		}
		_, seen := w.after[note]
		readings = append(readings, Reading{Instance: name, Value: truth(up == 0 && seen)})
	}
	return readings, true
}

func churn(w *Window) ([]Reading, bool) {
	reductions, ok := w.Value("statistics", "reductions")
	rows, known := w.Rows("top_reductions")
	times, timed := w.Rows("scheduler_time")
	if !ok || !known || !timed {
		return nil, false
	}
	active := 0.0
	for _, r := range times {
		if v, ok := r.Value("active_seconds"); ok && r.Label("type") == "normal" {
			active += v
		}
	}
	all, ok := w.Rate("reductions", reductions)
	busy, known := w.Rate("active_seconds", active)
	if !ok || !known || busy <= 0 {
		return nil, false
	}
	var readings []Reading
	for _, r := range rows {
		if v, ok := r.Value("value"); ok {
			readings = append(readings, Reading{Instance: processName(r), Value: math.Round(min(100, 100*v/(all/busy)))})
		}
	}
	return readings, true
}

// schedulerRules are about who waits for a processor.
func schedulerRules() []Rule {
	return []Rule{
		{
			ID: "run_queue_length", Title: "Long run queue", Unit: "x", Value: "processes and ports that are ready to run, for each scheduler",
			Levels: []Level{
				{Severity: Minor, Raise: 5, Clear: 2, For: 2 * time.Minute, ClearFor: checks},
				{Severity: Major, Raise: 20, Clear: 2, For: 2 * time.Minute, ClearFor: checks},
			},
			Meaning: "Everything on the node waits its turn: all answers are late.",
			Cause:   "More load than the node has processors for, or processors that the host does not give it.",
			Repair:  "Compare with os_cpu_load: when the CPU is not busy, the host or a CPU limit of its container holds it back. Else take load off it.",
			Needs:   []string{"statistics.run_queue", "system_info.schedulers_online"},
			Signal: func(w *Window) ([]Reading, bool) {
				queue, ok := w.Value("statistics", "run_queue")
				schedulers, known := w.Value("system_info", "schedulers_online")
				if !ok || !known || schedulers <= 0 {
					return nil, false
				}
				return one(queue/schedulers, true)
			},
		},
		{
			ID: "scheduler_saturated", Title: "Schedulers saturated", Unit: "%", Value: "share of the time that the normal schedulers were busy",
			Levels: []Level{
				{Severity: Minor, Raise: 85, Clear: 75, For: 5 * time.Minute, ClearFor: checks},
				{Severity: Major, Raise: 95, Clear: 75, For: 5 * time.Minute, ClearFor: checks},
			},
			Meaning: "The node has hardly any time left.",
			Cause:   "More load than the node is sized for, or processes that never rest.",
			Repair:  "See which processes work most (erlang_vm_process_top_reductions_rate). Add nodes, or cores.",
			Needs:   []string{"scheduler_use.utilisation"}, Since: "the collector schedulers",
			Signal: func(w *Window) ([]Reading, bool) {
				rows, ok := w.Rows("scheduler_use")
				if !ok {
					return nil, false
				}
				for _, r := range rows {
					if v, ok := r.Value("utilisation"); ok && r.Label("type") == "normal" {
						return one(math.Round(100*v), true)
					}
				}
				return nil, false
			},
		},
		{
			ID: "scheduler_collapse", Title: "Scheduler asleep while others are overloaded", KeyLabel: "scheduler", Value: "1 for each normal scheduler that was busy for less than 5 % of the time while the others were for more than 90 % and processes waited",
			Levels:  []Level{{Severity: Major, Raise: 1, Clear: 1, For: time.Minute, ClearFor: 2 * time.Minute}},
			Meaning: "The VM does not spread the work over its schedulers.",
			Cause:   "Long calls of native code confuse the balancing of load (scheduler collapse), or a processor that the host does not give.",
			Repair:  "Start the node with +sfwi 500 or +swt very_low, and move long native calls to dirty schedulers.",
			Needs:   []string{"scheduler_time.active_seconds", "scheduler_time.wall_seconds", "statistics.run_queue"}, Since: "the collector schedulers",
			Signal: collapse,
		},
		{
			ID: "dirty_scheduler_exhausted", Title: "Dirty schedulers exhausted", Unit: "processes", KeyLabel: "type", Value: "processes that wait for a dirty scheduler",
			Levels:  []Level{{Severity: Major, Raise: 10, Clear: 1, For: time.Minute, ClearFor: time.Minute}},
			Meaning: "Calls that run on dirty schedulers (files, crypto, compression, large garbage collections) wait.",
			Cause:   "Slow disks for type io, heavy native code for type cpu.",
			Repair:  "For io see the disks (iostat) and raise +SDio; for cpu see who calls native code.",
			Needs:   []string{"statistics.dirty_cpu_run_queue", "statistics.dirty_io_run_queue"},
			Signal: func(w *Window) ([]Reading, bool) {
				cpu, ok := w.Value("statistics", "dirty_cpu_run_queue")
				io, known := w.Value("statistics", "dirty_io_run_queue")
				if !ok || !known {
					return nil, false
				}
				return []Reading{{Instance: "cpu", Value: cpu}, {Instance: "io", Value: io}}, true
			},
		},
	}
}

func collapse(w *Window) ([]Reading, bool) {
	rows, ok := w.Rows("scheduler_time")
	queue, known := w.Value("statistics", "run_queue")
	if !ok || !known {
		return nil, false
	}
	use := map[string]float64{}
	for _, r := range rows {
		active, ok := r.Value("active_seconds")
		wall, known := r.Value("wall_seconds")
		if !ok || !known || r.Label("type") != "normal" {
			continue
		}
		id := r.Label("id")
		busy, ok := w.Rate("scheduler_active."+id, active)
		time, known := w.Rate("scheduler_wall."+id, wall)
		if ok && known && time > 0 {
			use[id] = busy / time
		}
	}
	if len(use) < 2 {
		return nil, false
	}
	var readings []Reading
	for id, own := range use {
		asleep := own < 0.05 && queue > 0
		for other, u := range use {
			asleep = asleep && (other == id || u > 0.9)
		}
		readings = append(readings, Reading{Instance: id, Value: truth(asleep)})
	}
	return readings, true
}

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

// mnesiaRules are about the database that is part of OTP.
func mnesiaRules() []Rule {
	return []Rule{
		{
			ID: "mnesia_inconsistent", Title: "Mnesia is inconsistent", KeyLabel: "peer", Value: "1 for each node with which Mnesia reported inconsistent data",
			Levels:  []Level{{Severity: Critical, Raise: 1, Clear: 1, ClearFor: checks}},
			Meaning: "Mnesia has run in two parts, and both may have changed the same data. It does not merge them by itself.",
			Cause:   "A network partition, or nodes that were started before the others of the cluster.",
			Repair:  "Choose the part whose data is right; on the nodes of the other part call mnesia:set_master_nodes/1 and restart Mnesia there. Then clear the alarm.",
			Clears:  "by hand, or when the node is started anew",
			Needs:   []string{"mnesia_events.inconsistent"}, Since: "the collector vm_events, for what Mnesia reports while the node is attached", Stays: true,
			Signal: inconsistent,
		},
		{
			ID: "mnesia_overloaded", Title: "Mnesia overloaded", Unit: "events", Value: "mnesia_overload events in the last 10 minutes",
			Levels:  []Level{{Severity: Minor, Raise: 1, Clear: 1}},
			Meaning: "Mnesia writes its log faster than it can move it to the tables' files.",
			Cause:   "Many writes to disc_copies, or a slow disk.",
			Repair:  "Raise dump_log_write_threshold and dump_log_time_threshold, use dirty writes or fewer, or a faster disk.",
			Clears:  "none for 10 minutes",
			Needs:   []string{"vm_events.mnesia_overload"}, Since: "the collector vm_events",
			Signal: recent("vm_events", "mnesia_overload", 10*time.Minute),
		},
	}
}

// inconsistent is the signal of what Mnesia has reported of each peer.
func inconsistent(w *Window) ([]Reading, bool) {
	const note = "mnesia_inconsistent."
	rows, ok := w.Rows("mnesia_events")
	if !ok { // compared with what comes after
		for name, p := range w.before {
			if strings.HasPrefix(name, note) {
				w.after[name] = p
			}
		}
		return nil, false
	}
	var readings []Reading
	for _, r := range rows {
		v, ok := r.Value("inconsistent")
		if !ok {
			continue
		}
		peer := r.Label("peer")
		again := v > w.before[note+peer].value
		w.after[note+peer] = point{w.Now, v}
		readings = append(readings, Reading{Instance: peer, Value: truth(v > 0), Again: again})
	}
	return readings, true
}

// recent is the signal of a counter's growth in the last while.
func recent(table, column string, while time.Duration) func(*Window) ([]Reading, bool) {
	return func(w *Window) ([]Reading, bool) {
		v, ok := w.Value(table, column)
		if !ok {
			return nil, false
		}
		grown, _ := w.Increase(table+"."+column, v, while)
		return one(grown, true)
	}
}

// crashes is the signal of how many processes crashed in the last minute.
func crashes(w *Window) ([]Reading, bool) {
	rows, ok := w.Rows("log_reports")
	if !ok {
		return nil, false
	}
	total := 0.0
	for _, r := range rows {
		// A crash of a behaviour is told by its supervisor and by itself, too.
		if kind := r.Label("type"); kind == "crash" || kind == "process" {
			v, _ := r.Value("reports")
			total += v
		}
	}
	grown, _ := w.Increase("crashes", total, time.Minute)
	return one(grown, true)
}

// gaveUp are the supervisors that have ended since the last look.
func gaveUp(_ *Fleet, m *member) ([]Reading, bool) {
	var readings []Reading
	for _, name := range slices.Sorted(maps.Keys(m.gaveUp)) {
		readings = append(readings, Reading{Instance: name, Value: 1, Again: true})
	}
	clear(m.gaveUp)
	return readings, true
}

// loggerRules are about the node's log.
func loggerRules() []Rule {
	const since = "the exporter's handler for logs on the node"
	return []Rule{
		{
			ID: "logger_overload", Title: "Logging overloaded", Unit: "messages", KeyLabel: "handler", Value: "messages that wait for a handler of OTP's logger",
			Levels:  []Level{{Severity: Major, Raise: 200, Clear: 10, ClearFor: checks}},
			Meaning: "A log handler does not keep up, so that log messages are dropped and processes that log are slowed down.",
			Cause:   "A flood of log messages, or a disk or console that does not take them.",
			Repair:  "See what is logged most; raise the level of that module (logger:set_module_level/2).",
			Needs:   []string{"logger_handler.message_queue_len"}, Since: "the collector vip",
			Signal: labelled("logger_handler", "message_queue_len", "handler"),
		},
		{
			ID: "crash_rate", Title: "Many crashes", Unit: "crashes/min", Value: "processes that crashed in the last minute, of OTP's behaviours and others",
			Levels: []Level{
				{Severity: Minor, Raise: 10, Clear: 5, ClearFor: 10 * time.Minute},
				{Severity: Major, Raise: 100, Clear: 50, ClearFor: 10 * time.Minute},
			},
			Meaning: "Processes crash at an unusual rate.",
			Cause:   "A fault in a release, bad input, or something that the node depends on is gone.",
			Repair:  "Read the crash reports in the node's log.",
			Needs:   []string{"log_reports.reports"}, Since: since,
			Signal: crashes,
		},
		{
			ID: "supervisor_restart_intensity", Title: "Supervisor gave up", KeyLabel: "supervisor", Value: "1 for each supervisor that ended because its children crashed too often",
			Levels:  []Level{{Severity: Major, Raise: 1, Clear: 1, ClearFor: time.Hour}},
			Meaning: "A supervisor has reached its maximum restart intensity and ended, with all that it supervises.",
			Cause:   "A process that crashes as soon as it is started.",
			Repair:  "Look for reached_max_restart_intensity in the node's log and for the crash reports before it. See whether the application still runs.",
			Clears:  "by hand, or after an hour",
			Since:   "the log entries of the node, from the level error on (logs.level)",
			Fleet:   gaveUp,
		},
	}
}
