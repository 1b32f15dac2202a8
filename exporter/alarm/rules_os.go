package alarm

import (
	"math"
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
