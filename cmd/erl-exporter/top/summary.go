package top

import "time"

// Summary is what a State shows of a node, for programs. What the node does not
// tell is left out.
type Summary struct {
	Node             string             `json:"node" yaml:"node"`
	State            string             `json:"state" yaml:"state"`
	Error            string             `json:"error,omitempty" yaml:"error,omitempty"`
	Time             time.Time          `json:"time,omitzero" yaml:"time,omitempty"`
	MemoryBytes      map[string]float64 `json:"memory_bytes,omitempty" yaml:"memory_bytes,omitempty"`
	RunQueues        map[string]float64 `json:"run_queues,omitempty" yaml:"run_queues,omitempty"`
	PerSecond        map[string]float64 `json:"per_second,omitempty" yaml:"per_second,omitempty"`
	Counts           map[string]float64 `json:"counts,omitempty" yaml:"counts,omitempty"`
	Schedulers       []Scheduler        `json:"schedulers,omitempty" yaml:"schedulers,omitempty"`
	ScanAgeSeconds   float64            `json:"scan_age_seconds" yaml:"scan_age_seconds"`
	ProcessesSkipped bool               `json:"processes_skipped,omitempty" yaml:"processes_skipped,omitempty"`
	Processes        []Process          `json:"processes,omitempty" yaml:"processes,omitempty"`
	Tables           []Table            `json:"tables,omitempty" yaml:"tables,omitempty"`
	Metrics          []Number           `json:"metrics,omitempty" yaml:"metrics,omitempty"`
}

// Number is a metric that was asked for by name.
type Number struct {
	Name   string            `json:"name" yaml:"name"`
	Labels map[string]string `json:"labels,omitempty" yaml:"labels,omitempty"`
	Value  float64           `json:"value" yaml:"value"`
}

// Summary gives what is shown of the node, with the metrics that were asked for.
func (n *Node) Summary(extra []string) Summary {
	s := Summary{
		Node: n.Name, State: n.State, Error: n.Error, Time: n.now.at, Schedulers: n.schedulers(),
		ScanAgeSeconds: n.Top.AgeSeconds, ProcessesSkipped: n.Top.Skipped, Processes: n.sorted(ByReductions, ""), Tables: n.sortedTables(""),
	}
	put := func(to *map[string]float64, name string, v float64, ok bool) {
		if !ok {
			return
		}
		if *to == nil {
			*to = map[string]float64{}
		}
		(*to)[name] = v
	}
	for _, p := range memoryParts {
		v, ok := n.value(p.metric, p.labels...)
		put(&s.MemoryBytes, p.name, v, ok)
	}
	v, ok := n.value(resident)
	put(&s.MemoryBytes, "resident", v, ok)
	for name, metric := range map[string]string{"normal": runQueue, "dirty_cpu": dirtyCPUQueue, "dirty_io": dirtyIOQueue} {
		v, ok := n.value(metric)
		put(&s.RunQueues, name, v, ok)
	}
	for name, metric := range map[string]string{
		"reductions": reductions, "context_switches": switches, "garbage_collections": collections, "bytes_reclaimed": reclaimed,
		"bytes_received": received, "bytes_sent": sent, "cpu_seconds": cpu,
	} {
		v, ok := n.rate(metric)
		put(&s.PerSecond, name, v, ok)
	}
	for name, metric := range map[string]string{
		"processes": processCount, "process_limit": processLimit, "ports": portCount, "port_limit": portLimit,
		"atoms": atomCount, "atom_limit": atomLimit, "ets_tables": etsTables, "uptime_seconds": uptime,
	} {
		v, ok := n.value(metric)
		put(&s.Counts, name, v, ok)
	}
	// Those that stand out by something else come behind.
	for _, p := range n.processes() {
		if p.Reductions == nil {
			s.Processes = append(s.Processes, p)
		}
	}
	for _, m := range n.extra(extra) {
		if m.Value != nil {
			s.Metrics = append(s.Metrics, Number{m.Name, m.Labels, *m.Value})
		}
	}
	return s
}
