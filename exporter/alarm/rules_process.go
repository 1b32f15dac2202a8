package alarm

import (
	"math"
	"slices"
	"time"
)

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
			ID: "vip_process_missing", Title: "Important process missing", KeyLabel: "process", Value: "1 for each name of the list (metrics.vip) that is not registered; of the list that is used where none is configured, only for those that were registered before",
			Levels:  []Level{{Severity: Major, Raise: 1, Clear: 1, For: checks, ClearFor: checks}},
			Meaning: "A process that should be there is not registered.",
			Cause:   "It has crashed and was not restarted, or the application that it belongs to has stopped.",
			Repair:  "Look for its crash report, and restart the application. Where only some nodes are to have it, switch the alarm off for the others (alarms.overrides).",
			Needs:   []string{"vip.up"}, Since: "the collector vip; for names that were never registered, a minute since the node was started",
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

// settling is how long a node that was started may be without the processes
// that it is to have.
const settling = time.Minute

// vipMissing tells of names that were there and are gone. One that was never
// seen is missing where somebody has asked for it, and not where it is only on
// the list that is used when there is no other: not every node has a user.
func vipMissing(w *Window) ([]Reading, bool) {
	const note = "vip_up."
	rows, ok := w.Rows("vip")
	if !ok {
		w.carry(note)
		return nil, false
	}
	uptime, known := w.Value("process", "uptime_seconds")
	settled := !known || uptime >= settling.Seconds()
	var readings []Reading
	for _, r := range rows {
		up, ok := r.Value("up")
		if !ok {
			continue
		}
		name := r.Label("name")
		seen, wasSeen := w.before[note+name]
		switch {
		case up == 1:
			w.after[note+name] = point{w.Now, 1}
		case wasSeen:
			w.after[note+name] = seen
		}
		missing := up == 0 && (wasSeen || settled && slices.Contains(w.vip, name))
		readings = append(readings, Reading{Instance: name, Value: truth(missing)})
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
