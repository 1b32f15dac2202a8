// Package snapshot holds what one reading of an Erlang node gives: tables of
// numbers, as the agent sent them. It is plain data shared by the packages
// that produce readings (agent, node) and those that use them (metrics,
// alarms); it imports nothing of ours.
package snapshot

import (
	"slices"
	"time"
)

// Names of the collectors that an agent knows. A collector is the unit that
// is switched on and off, timed, and allowed to fail by itself.
const (
	Memory       = "memory"
	Statistics   = "statistics"
	SystemInfo   = "system_info"
	Allocators   = "allocators"
	MSAcc        = "msacc"
	Distribution = "distribution"
	Mnesia       = "mnesia"
	OSProcess    = "process"
	Agent        = "agent"
	VM           = "vm"
	Schedulers   = "schedulers"
	Code         = "code"
	Ports        = "ports"
	ETS          = "ets"
	VIP          = "vip"
	OSMon        = "os_mon"
	Processes    = "processes"
	Carriers     = "carriers"
	VMEvents     = "vm_events"
	Folsom       = "folsom"
	Exometer     = "exometer"
	Prometheus   = "prometheus"
	Telemetry    = "telemetry"
	Logs         = "logs"
	Alarms       = "alarms"
)

// CustomPrefix begins the names of collectors that the configuration describes.
const CustomPrefix = "custom:"

// AgentSource is the table of the collector Agent with a row for each source of
// events.
const AgentSource = "agent_source"

// OnDemand are the collectors that are off unless they are switched on.
func OnDemand() []string { return []string{Carriers} }

// ShedOrder are the collectors that are left out, in this order, when a node
// costs more than its budget: the dearest first. The others cost next to
// nothing and are always read.
func ShedOrder() []string {
	return []string{
		Allocators, MSAcc, Mnesia, Distribution, ETS, Ports, Code, OSMon, VIP, Schedulers, OSProcess, Processes, Carriers,
		Folsom, Exometer, Prometheus, Telemetry,
	}
}

// Request says which collectors to read. A nil or empty list means all that
// are switched on for the node.
type Request struct {
	Collectors []string
	// Without are left out to keep the node within its budget, and Reason says
	// so in words.
	Without []string
	Reason  string
	// Switches are collectors that are on or off for the node's family, whatever
	// its settings say.
	Switches map[string]bool
	// Stale allows the last reading instead, up to this age, when the node does
	// not answer in time; zero does not.
	Stale time.Duration
	// Fresh is how old a shared reading may be; zero leaves it to who shares.
	Fresh time.Duration
}

// Snapshot is one reading of one node. It is immutable once handed out and may
// be shared between goroutines.
type Snapshot struct {
	// Taken is when the answer arrived, on the exporter's clock.
	Taken time.Time
	// Stale is whether it is the last reading of a node that did not answer.
	Stale bool
	// Agentless is whether it was read by plain calls, without an agent.
	Agentless bool
	// RoundTrip is the time from asking to having the answer.
	RoundTrip time.Duration
	// Bytes is the size of the answer on the wire.
	Bytes int
	// Collectors are in the order in which the agent ran them.
	Collectors []Collector
}

// Collector is the outcome of one collector in a reading.
type Collector struct {
	Name string
	// Duration is the time the collector took on the node.
	Duration time.Duration
	// Age is how old the oldest part of it was when the node answered: what is
	// dear is not read each time.
	Age time.Duration
	// Err says in words why the collector failed; empty when it succeeded. A
	// failed collector has no tables.
	Err string
	// Missing says in words why the collector does not apply to this node
	// (Mnesia does not run, the flag is off); empty otherwise.
	Missing string
	// Shed is whether the collector was left out so that the node does not cost
	// more than its budget; Err says so in words.
	Shed   bool
	Tables []Table
	// Families are the metrics of a collector that has no tables: those that
	// applications of the node keep themselves.
	Families []Family
	// Dropped is how many of them a limit kept on the node, Failed how many could
	// not be read.
	Dropped, Failed int
}

// Family is a metric family that a node brought along.
type Family struct {
	// Name is a valid name of a metric.
	Name string
	// Type is counter, gauge, summary, histogram or untyped.
	Type    string
	Help    string
	Samples []Sample
	// Entry is the printed name of what a library knows it as, if it does. That of
	// a sample with a label name is there.
	Entry string
}

// Sample is one series of a Family, whose name has Suffix at its end.
type Sample struct {
	Suffix string
	Labels []Label
	Value  float64
}

// Label is a label of a Sample. Its name is valid, its value any string.
type Label struct{ Name, Value string }

// Table is a matrix: every row has the same labels and the same columns.
type Table struct {
	Name    string
	Labels  []string
	Columns []string
	Rows    []Row
}

// Row is one line of a Table; Values is parallel to Table.Columns.
type Row struct {
	Labels []string
	Values []Value
}

// Value is a number, or nothing where the node had none to give.
type Value struct {
	Float float64
	Valid bool
}

// Table returns the named table of whichever collector delivered it, and
// whether there is one.
func (s *Snapshot) Table(name string) (Table, bool) {
	for _, c := range s.Collectors {
		for _, t := range c.Tables {
			if t.Name == name {
				return t, true
			}
		}
	}
	return Table{}, false
}

// Value returns a column of the first row: the way to read a table without
// labels. It returns false when the table, row or column is not there or the
// node had no number to give.
func (t Table) Value(column string) (float64, bool) {
	i := slices.Index(t.Columns, column)
	if i < 0 || len(t.Rows) == 0 || i >= len(t.Rows[0].Values) || !t.Rows[0].Values[i].Valid {
		return 0, false
	}
	return t.Rows[0].Values[i].Float, true
}
