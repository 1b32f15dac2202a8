package alarm

import (
	"cmp"
	"slices"
)

// Known is an alarm of a node's own making that much software raises, with
// what to tell people about it.
type Known struct {
	// Name is what the alarm is called, the first word of its id.
	Name string
	// By says who raises it.
	By       string
	Severity Severity
	Title    string
	// KeyLabel says what the rest of the id is; empty where there is none.
	KeyLabel               string
	Meaning, Cause, Repair string
}

// KnownSASL lists the alarms of alarm_handler that Erlang/OTP and widely used
// servers raise. Any other is taken as well, with the words that it brings.
func KnownSASL() []Known {
	return []Known{
		{
			Name: "system_memory_high_watermark", By: "memsup of os_mon", Severity: Major,
			Title:   "Host memory above the high watermark",
			Meaning: "More of the host's memory is allocated than memsup allows (80 % unless configured).",
			Cause:   "The node or something else on its host needs much memory. memsup counts caches of the operating system on some systems.",
			Repair:  "Compare with memory_limit: when the node itself is not large, look at the host. system_memory_high_watermark of os_mon sets the threshold.",
		},
		{
			Name: "process_memory_high_watermark", By: "memsup of os_mon", Severity: Major,
			Title:   "Process above the high watermark",
			Meaning: "One Erlang process has allocated more of the host's memory than memsup allows (5 % unless configured).",
			Cause:   "Large state, a long mailbox, or large terms that are built up in one process.",
			Repair:  "The description names the process; see what it is (process_info/1). process_memory_high_watermark of os_mon sets the threshold.",
		},
		{
			Name: "disk_almost_full", By: "disksup of os_mon", Severity: Major, KeyLabel: "mount",
			Title:   "Disk almost full",
			Meaning: "More of a file system is used than disksup allows (80 % unless configured).",
			Cause:   "Logs, crash dumps, or data that nobody removes.",
			Repair:  "Make room or make the file system larger.",
		},
		{
			Name: "resource_limit", By: "RabbitMQ", Severity: Critical, KeyLabel: "resource",
			Title:   "RabbitMQ blocks publishers",
			Meaning: "A resource of the broker (memory or disk) is beyond its limit. All connections that publish are blocked until it is not.",
			Cause:   "Queues that grow because consumers are too slow or gone, or a limit that is too small (vm_memory_high_watermark, disk_free_limit).",
			Repair:  "rabbitmq-diagnostics memory_breakdown and rabbitmqctl list_queues name messages memory show what needs it. Let consumers catch up, purge, or raise the limit.",
		},
		{
			Name: "file_descriptor_limit", By: "RabbitMQ", Severity: Critical,
			Title:   "RabbitMQ is out of file descriptors",
			Meaning: "The broker accepts no further connections.",
			Cause:   "More connections and queues than the limit of file descriptors allows.",
			Repair:  "Raise the limit of the service (LimitNOFILE), or close connections.",
		},
	}
}

// SASLSettings give severities to alarms of alarm_handler, which has none.
type SASLSettings struct {
	// Severities are by pattern of the name, with * and ?; the first that
	// matches counts, before that of Known.
	Severities []SASLSeverity
	// Default is for all others; major when it is empty.
	Default Severity
}

// SASLSeverity is the severity of all alarms whose name matches.
type SASLSeverity struct {
	Match    string
	Severity Severity
}

// SASLAlarm is an alarm of alarm_handler, as text.
type SASLAlarm struct {
	// Name and Instance are the first word of the id and the rest of it.
	Name, Instance string
	Description    string
}

// Report makes the report of an alarm of a node's alarm_handler.
func (s *SASLSettings) Report(n Node, a SASLAlarm) Report {
	r := Report{
		Node: n, Source: SASL, Name: a.Name, Instance: a.Instance,
		Severity: cmp.Or(s.Default, Major), Description: a.Description,
	}
	title, keyLabel := a.Name, ""
	all := KnownSASL()
	if i := slices.IndexFunc(all, func(k Known) bool { return k.Name == a.Name }); i >= 0 {
		k := all[i]
		title, keyLabel, r.Severity, r.ProbableCause, r.RepairAction = k.Title, k.KeyLabel, k.Severity, k.Cause, k.Repair
		r.Description = k.Meaning
		if a.Description != "" && a.Description != "[]" {
			r.Description += "\n" + a.Description
		}
	}
	r.Summary = title + " on " + n.Name
	if a.Instance != "" {
		if keyLabel != "" {
			keyLabel += " "
		}
		r.Summary += " (" + keyLabel + a.Instance + ")"
	}
	for _, x := range s.Severities {
		if MatchPattern(x.Match, a.Name) {
			r.Severity = x.Severity
			break
		}
	}
	return r
}
