package agent

import (
	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/exporter/snapshot"
)

// systemInfoItems are the columns of system_info, each also what
// erlang:system_info/1 is asked for.
var systemInfoItems = []string{
	"port_count", "process_count", "atom_count", "ets_count", "dirty_cpu_schedulers",
	"dirty_cpu_schedulers_online", "dirty_io_schedulers", "ets_limit", "logical_processors",
	"logical_processors_available", "logical_processors_online", "port_limit", "process_limit",
	"schedulers", "schedulers_online", "smp_support", "threads", "thread_pool_size",
	"time_correction", "atom_limit", "wordsize",
}

// memoryItems are what erlang:memory/0 gives on every node.
var memoryItems = []string{
	"total", "processes", "processes_used", "system", "atom", "atom_used", "binary", "code", "ets",
}

func systemCall(item string) call {
	return call{"erlang", "system_info", etf.List{etf.Atom(item)}}
}

func statisticsCall(item string) call {
	return call{"erlang", "statistics", etf.List{etf.Atom(item)}}
}

// plainItems are the collectors that can be read without an agent, with the
// tables and columns that the agent has.
func plainItems() []plainItem {
	info := plainItem{collector: snapshot.SystemInfo, table: systemInfoTable}
	for _, item := range systemInfoItems {
		info.calls = append(info.calls, systemCall(item))
	}
	return []plainItem{
		{snapshot.Memory, []call{
			{"erlang", "memory", nil},
			systemCall("ets_count"),
			{"ets", "info", etf.List{etf.Atom("dets_registry"), etf.Atom("size")}},
			{"persistent_term", "info", nil},
		}, memoryTable},
		{snapshot.Statistics, []call{
			statisticsCall("io"), statisticsCall("garbage_collection"), statisticsCall("context_switches"),
			statisticsCall("reductions"), statisticsCall("runtime"), statisticsCall("wall_clock"),
			statisticsCall("run_queue"), statisticsCall("run_queue_lengths_all"),
			systemCall("schedulers_online"), systemCall("wordsize"),
		}, statisticsTable},
		info,
	}
}

// row is a table under construction: one row without labels.
type row struct {
	table snapshot.Table
	err   error
}

func newRow(name string) *row {
	return &row{table: snapshot.Table{Name: name, Rows: make([]snapshot.Row, 1)}}
}

// add appends a column; atoms are flags, or the word of a node that does not
// know.
func (r *row) add(column string, t etf.Term) {
	var value snapshot.Value
	switch t {
	case etf.Atom("true"):
		value = snapshot.Value{Float: 1, Valid: true}
	case etf.Atom("false"):
		value = snapshot.Value{Valid: true}
	case etf.Atom("unknown"), etf.Atom("undefined"), nil:
	default:
		var err error
		if value, err = number(t); err != nil && r.err == nil {
			r.err = err
		}
	}
	r.table.Columns = append(r.table.Columns, column)
	r.table.Rows[0].Values = append(r.table.Rows[0].Values, value)
}

func (r *row) done() (snapshot.Table, error) { return r.table, r.err }

func systemInfoTable(answers etf.List) (snapshot.Table, error) {
	r := newRow(snapshot.SystemInfo)
	for i, item := range systemInfoItems {
		r.add(item, answers[i])
	}
	return r.done()
}

func memoryTable(answers etf.List) (snapshot.Table, error) {
	r := newRow(snapshot.Memory)
	for _, item := range memoryItems {
		value, _ := etf.ProplistGet(answers[0], etf.Atom(item))
		r.add(item, value)
	}
	r.add("ets_tables", answers[1])
	dets := answers[2]
	if dets == etf.Atom("undefined") {
		dets = int64(0) // the table is there from the first use of dets on
	}
	r.add("dets_tables", dets)
	terms, _ := answers[3].(etf.Map)
	for _, item := range []etf.Atom{"count", "memory"} {
		value, _ := etf.MapGet(terms, item)
		column := "persistent_terms"
		if item == "memory" {
			column = "persistent_term_memory"
		}
		r.add(column, value)
	}
	return r.done()
}

func statisticsTable(answers etf.List) (snapshot.Table, error) {
	r := newRow(snapshot.Statistics)
	// {{input, Input}, {output, Output}}
	for i, column := range []string{"bytes_received", "bytes_output"} {
		r.add(column, element(element(answers[0], i), 1))
	}
	r.add("gcs", element(answers[1], 0))
	r.add("words_reclaimed", element(answers[1], 1))
	for i, column := range []string{"context_switches", "reductions", "runtime_ms", "wallclock_ms"} {
		r.add(column, element(answers[2+i], 0))
	}
	r.add("run_queue", answers[6])
	cpu, io := dirtyRunQueues(answers[7], answers[8])
	r.add("dirty_cpu_run_queue", cpu)
	r.add("dirty_io_run_queue", io)
	r.add("wordsize", answers[9])
	return r.done()
}

// dirtyRunQueues are the last two of run_queue_lengths_all; nil where there
// are none.
func dirtyRunQueues(lengths, online etf.Term) (cpu, io etf.Term) {
	list, _ := etf.AsList(lengths)
	schedulers, _ := online.(int64)
	if int64(len(list)) < schedulers+2 {
		return nil, nil
	}
	return list[len(list)-2], list[len(list)-1]
}

func element(t etf.Term, i int) etf.Term {
	tuple, _ := t.(etf.Tuple)
	if i >= len(tuple) {
		return etf.Tuple{} // which is no value
	}
	return tuple[i]
}
