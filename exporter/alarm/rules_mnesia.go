package alarm

import "time"

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
	if !ok {
		w.carry(note)
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
