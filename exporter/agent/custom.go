package agent

import (
	"strconv"
	"strings"
	"time"

	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/exporter/snapshot"
)

// Custom is a collector of the configuration: a function of the node, and what
// metrics are made of what it returns.
type Custom struct {
	// Name is the collector's, after snapshot.CustomPrefix.
	Name             string
	Module, Function string
	// Arguments is an Erlang list as text.
	Arguments string
	// Interval is between two calls, at least.
	Interval time.Duration
	// Timeout is how long a call may take.
	Timeout time.Duration
	// Beam is a compiled module that is loaded for the collector, and removed
	// with the agent; nil when the node has it.
	Beam    []byte
	Metrics []CustomMetric
}

// CustomMetric is one metric family of a Custom.
type CustomMetric struct {
	Name, Type, Help string
	// Value is the path from a row of the result to a number: keys of maps and
	// property lists, and numbers of elements of tuples, with dots in between.
	// The row itself when empty.
	Value  string
	Labels []CustomLabel
	// Aggregate is sum, max, min or count, over all rows with the same labels, or
	// empty for one series a row.
	Aggregate string
}

// CustomLabel is a label of a CustomMetric, and the path to its value.
type CustomLabel struct{ Name, Value string }

// collector is the name by which the agent knows it.
func (c Custom) collector() etf.Atom { return etf.Atom(snapshot.CustomPrefix + c.Name) }

func customTerms(all []Custom, series int) etf.Map {
	m := make(etf.Map, len(all))
	for i, c := range all {
		m[i] = etf.Pair{Key: c.collector(), Value: c.term(series)}
	}
	return m
}

func (c Custom) term(series int) etf.Term {
	metrics := make(etf.List, len(c.Metrics))
	for i, m := range c.Metrics {
		labels := make(etf.List, len(m.Labels))
		for k, l := range m.Labels {
			labels[k] = etf.Tuple{[]byte(l.Name), pathTerm(l.Value)}
		}
		aggregate := etf.Atom("none")
		if m.Aggregate != "" {
			aggregate = etf.Atom(m.Aggregate)
		}
		metrics[i] = etf.Tuple{[]byte(m.Name), etf.Atom(m.Type), []byte(m.Help), pathTerm(m.Value), labels, aggregate}
	}
	beam := etf.Term(etf.Atom("none"))
	if c.Beam != nil {
		beam = c.Beam
	}
	return etf.Map{
		{Key: etf.Atom("name"), Value: []byte(c.Name)},
		{Key: etf.Atom("module"), Value: etf.Atom(c.Module)},
		{Key: etf.Atom("function"), Value: etf.Atom(c.Function)},
		{Key: etf.Atom("arguments"), Value: []byte(c.Arguments)},
		{Key: etf.Atom("interval"), Value: c.Interval.Milliseconds()},
		{Key: etf.Atom("timeout"), Value: c.Timeout.Milliseconds()},
		{Key: etf.Atom("max"), Value: int64(series)},
		{Key: etf.Atom("beam"), Value: beam},
		{Key: etf.Atom("metrics"), Value: metrics},
	}
}

// pathTerm makes a list of a path, of numbers and binaries.
func pathTerm(path string) etf.List {
	steps := etf.List{}
	if path == "" {
		return steps
	}
	for step := range strings.SplitSeq(path, ".") {
		if n, err := strconv.ParseInt(step, 10, 32); err == nil {
			steps = append(steps, n)
		} else {
			steps = append(steps, []byte(step))
		}
	}
	return steps
}
