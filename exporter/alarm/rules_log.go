package alarm

import "time"

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
			Needs:   []string{"log_gave_up.times"}, Since: since,
			Signal: gaveUp,
		},
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

// gaveUp are the supervisors that have ended since the last reading, by counts
// that begin anew with each agent.
func gaveUp(w *Window) ([]Reading, bool) {
	const note, agent = "gave_up.", "agent_reductions"
	rows, ok := w.Rows("log_gave_up")
	if !ok {
		w.carry(note)
		w.carry(agent)
		return nil, false
	}
	// An agent that has done less than the last one did is another.
	done, _ := w.Value("agent", "reductions")
	anew := done < w.before[agent].value
	w.after[agent] = point{w.Now, done}
	var readings []Reading
	for _, r := range rows {
		times, ok := r.Value("times")
		if !ok {
			continue
		}
		name := r.Label("supervisor")
		if last := w.before[note+name].value; anew || times != last {
			readings = append(readings, Reading{Instance: name, Value: 1, Again: true})
		}
		w.after[note+name] = point{w.Now, times}
	}
	return readings, true
}
