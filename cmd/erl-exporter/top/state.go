package top

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erlops/erlops/exporter/api/client"
)

// The metrics that the view is made of.
const (
	memoryBytes    = "erlang_vm_memory_bytes_total"
	memorySystem   = "erlang_vm_memory_system_bytes_total"
	resident       = "process_resident_memory_bytes"
	uptime         = "process_uptime_seconds"
	cpu            = "process_cpu_seconds_total"
	active         = "erlang_vm_scheduler_active_seconds_total"
	wall           = "erlang_vm_scheduler_wall_seconds_total"
	runQueue       = "erlang_vm_statistics_run_queues_length"
	dirtyCPUQueue  = "erlang_vm_statistics_dirty_cpu_run_queue_length"
	dirtyIOQueue   = "erlang_vm_statistics_dirty_io_run_queue_length"
	reductions     = "erlang_vm_statistics_reductions_total"
	switches       = "erlang_vm_statistics_context_switches"
	collections    = "erlang_vm_statistics_garbage_collection_number_of_gcs"
	reclaimed      = "erlang_vm_statistics_garbage_collection_bytes_reclaimed"
	received       = "erlang_vm_statistics_bytes_received_total"
	sent           = "erlang_vm_statistics_bytes_output_total"
	processCount   = "erlang_vm_process_count"
	processLimit   = "erlang_vm_process_limit"
	portCount      = "erlang_vm_port_count"
	portLimit      = "erlang_vm_port_limit"
	atomCount      = "erlang_vm_atom_count"
	atomLimit      = "erlang_vm_atom_limit"
	etsTables      = "erlang_vm_memory_ets_tables"
	normalType     = "normal"
	schedulerType  = "type"
	schedulerID    = "id"
	memoryKind     = "kind"
	memoryUsage    = "usage"
	kindProcesses  = "processes"
	kindSystem     = "system"
	histogramLimit = "le"
)

// Metrics are the names of those that a State needs.
func Metrics() []string {
	return []string{
		memoryBytes, memorySystem, resident, uptime, cpu, active, wall, runQueue, dirtyCPUQueue, dirtyIOQueue, reductions, switches,
		collections, reclaimed, received, sent, processCount, processLimit, portCount, portLimit, atomCount, atomLimit, etsTables,
	}
}

// Node is what is known of one node. Its zero value, with a name, is one that
// nothing is known of.
type Node struct {
	Name string
	// State and Error are those that were told last.
	State, Error string
	Top          client.NodeTop
	// TopError says why there is no list of processes.
	TopError string

	now, before reading
}

// reading is one event with its metrics by name.
type reading struct {
	at      time.Time
	metrics map[string][]client.LiveMetric
}

// Take takes an event.
func (n *Node) Take(e client.LiveEvent) {
	switch e.Type {
	case client.LiveEventTypeReading:
		n.before, n.now = n.now, reading{at: e.Time, metrics: map[string][]client.LiveMetric{}}
		n.State, n.Error = string(client.StateUp), ""
		for _, m := range e.Metrics {
			n.now.metrics[m.Name] = append(n.now.metrics[m.Name], m)
		}
	case client.LiveEventTypeState, client.LiveEventTypeEnd:
		n.State, n.Error = cmp.Or(string(e.State), "gone"), e.Error
		n.before, n.now = reading{}, reading{} // a rate over a gap would be none
	case client.LiveEventTypeSkipped:
	}
}

// Ready tells whether rates are known.
func (n *Node) Ready() bool { return !n.before.at.IsZero() }

// value is a metric's, of the series with the given labels.
func (r *reading) value(name string, labels ...string) (float64, bool) {
	for _, m := range r.metrics[name] {
		ok := m.Value != nil
		for pair := range slices.Chunk(labels, 2) {
			ok = ok && m.Labels[pair[0]] == pair[1]
		}
		if ok {
			return *m.Value, true
		}
	}
	return 0, false
}

func (n *Node) value(name string, labels ...string) (float64, bool) {
	return n.now.value(name, labels...)
}

// rate is how much a counter grew a second.
func (n *Node) rate(name string, labels ...string) (float64, bool) {
	now, ok := n.now.value(name, labels...)
	before, was := n.before.value(name, labels...)
	took := n.now.at.Sub(n.before.at).Seconds()
	if !ok || !was || took <= 0 || now < before {
		return 0, false
	}
	return (now - before) / took, true
}

// Scheduler is how much of its time one was active, from 0 to 1.
type Scheduler struct {
	Type        string  `json:"type" yaml:"type"`
	ID          int     `json:"id" yaml:"id"`
	Utilisation float64 `json:"utilisation" yaml:"utilisation"`
}

// schedulers are those of the last interval, the normal ones first.
func (n *Node) schedulers() []Scheduler {
	var all []Scheduler
	for _, m := range n.now.metrics[wall] {
		labels := []string{schedulerType, m.Labels[schedulerType], schedulerID, m.Labels[schedulerID]}
		total, ok := n.rate(wall, labels...)
		busy, known := n.rate(active, labels...)
		id, err := strconv.Atoi(m.Labels[schedulerID])
		if !ok || !known || total <= 0 || err != nil {
			continue
		}
		all = append(all, Scheduler{Type: m.Labels[schedulerType], ID: id, Utilisation: min(busy/total, 1)})
	}
	order := func(s Scheduler) int { return slices.Index([]string{"dirty_io", "dirty_cpu", normalType}, s.Type) }
	slices.SortFunc(all, func(a, b Scheduler) int { return cmp.Or(order(b)-order(a), a.ID-b.ID) })
	return all
}

// Process is a process that stands out. What is not known of it is nil: the scan
// tells only what it stands out by.
type Process struct {
	Name        string   `json:"name,omitempty" yaml:"name,omitempty"`
	InitialCall string   `json:"initial_call" yaml:"initial_call"`
	Reductions  *float64 `json:"reductions_per_second,omitempty" yaml:"reductions_per_second,omitempty"`
	Memory      *float64 `json:"memory_bytes,omitempty" yaml:"memory_bytes,omitempty"`
	Mailbox     *float64 `json:"message_queue_len,omitempty" yaml:"message_queue_len,omitempty"`
	Binary      *float64 `json:"binary_bytes,omitempty" yaml:"binary_bytes,omitempty"`
}

// processes merges the lists of what stands out: named processes are known in
// all, others are rows of their own.
func (n *Node) processes() []Process {
	var all []Process
	for _, t := range n.Top.Processes {
		i := -1
		if t.Name != "" {
			i = slices.IndexFunc(all, func(p Process) bool { return p.Name == t.Name })
		}
		if i < 0 {
			i = len(all)
			all = append(all, Process{Name: t.Name, InitialCall: t.InitialCall})
		}
		value := t.Value
		switch t.By {
		case client.TopProcessByReductions:
			all[i].Reductions = &value
		case client.TopProcessByMemory:
			all[i].Memory = &value
		case client.TopProcessByMessageQueueLen:
			all[i].Mailbox = &value
		case client.TopProcessByBinary:
			all[i].Binary = &value
		}
	}
	return all
}

// Table is an ETS table that stands out.
type Table struct {
	Name    string   `json:"table" yaml:"table"`
	Owner   string   `json:"owner,omitempty" yaml:"owner,omitempty"`
	Memory  *float64 `json:"memory_bytes,omitempty" yaml:"memory_bytes,omitempty"`
	Objects *float64 `json:"objects,omitempty" yaml:"objects,omitempty"`
}

func (n *Node) tables() []Table {
	var all []Table
	for _, t := range n.Top.Tables {
		i := slices.IndexFunc(all, func(x Table) bool { return x.Name == t.Table && x.Owner == t.Owner })
		if i < 0 || t.By == client.TopTableByMemory && all[i].Memory != nil || t.By == client.TopTableByObjects && all[i].Objects != nil {
			i = len(all) // two tables of one name and owner are two rows
			all = append(all, Table{Name: t.Table, Owner: t.Owner})
		}
		value := t.Value
		if t.By == client.TopTableByMemory {
			all[i].Memory = &value
		} else {
			all[i].Objects = &value
		}
	}
	return all
}

// of is the value that a process or a table is sorted by.
func (p *Process) of(s Sort) *float64 {
	switch s {
	case ByMemory:
		return p.Memory
	case ByMailbox:
		return p.Mailbox
	case ByBinary:
		return p.Binary
	default:
		return p.Reductions
	}
}

// sorted are the processes that match, those with the most first; those without
// a value are left out.
func (n *Node) sorted(s Sort, search string) []Process {
	all := slices.DeleteFunc(n.processes(), func(p Process) bool {
		return p.of(s) == nil || !matches(search, p.Name, p.InitialCall)
	})
	slices.SortStableFunc(all, func(a, b Process) int { return cmp.Compare(*b.of(s), *a.of(s)) })
	return all
}

func (n *Node) sortedTables(search string) []Table {
	all := slices.DeleteFunc(n.tables(), func(t Table) bool { return !matches(search, t.Name, t.Owner) })
	value := func(p *float64) float64 {
		if p == nil {
			return -1
		}
		return *p
	}
	slices.SortStableFunc(all, func(a, b Table) int { return cmp.Compare(value(b.Memory), value(a.Memory)) })
	return all
}

// matches tells whether one of the texts has the words that are searched for.
func matches(search string, texts ...string) bool {
	return search == "" || slices.ContainsFunc(texts, func(text string) bool {
		return strings.Contains(strings.ToLower(text), strings.ToLower(search))
	})
}
