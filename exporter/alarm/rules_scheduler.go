package alarm

import (
	"math"
	"time"
)

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
