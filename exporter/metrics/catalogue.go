package metrics

import (
	"fmt"
	"slices"
	"strings"
)

// Names says which generation of metric names a page carries. prometheus.erl
// renamed a part of its metrics in version 6.0.0; dashboards of both ages are
// about.
type Names string

// The generations of names.
const (
	// NamesBoth puts both names of a renamed metric on the page.
	NamesBoth Names = "both"
	// NamesLegacy gives the names of prometheus.erl up to 5.1.1.
	NamesLegacy Names = "legacy"
	// NamesV6 gives the names of prometheus.erl from 6.0.0 on.
	NamesV6 Names = "v6"
)

// ParseNames reads a generation of names; the empty string means NamesBoth.
func ParseNames(s string) (Names, error) {
	switch n := Names(s); n {
	case "":
		return NamesBoth, nil
	case NamesBoth, NamesLegacy, NamesV6:
		return n, nil
	}
	return "", fmt.Errorf("exporter/metrics: names %q: must be both, legacy or v6", s)
}

// Type is the type of a family as the exposition format spells it.
type Type string

// The types that families of the catalogue have. Some are cumulative and yet
// gauges, because prometheus.erl declares them so.
const (
	Counter Type = "counter"
	Gauge   Type = "gauge"
	Untyped Type = "untyped"
)

// Cost says what reading a family costs the monitored node.
type Cost string

// The classes of cost.
const (
	// Cheap is below 50 microseconds, however many processes the node has.
	Cheap Cost = "cheap"
	// Moderate is up to 5 milliseconds, or grows with ports and tables.
	Moderate Cost = "moderate"
	// Expensive is what goes through all processes or carriers, off the path of
	// scrapes.
	Expensive Cost = "expensive"
	// None is what the exporter knows by itself.
	None Cost = "none"
)

// Family is one row of the catalogue: a metric family, what it means, where
// its numbers come from and under which names it is exposed.
type Family struct {
	// Name is the name until prometheus.erl 5.1.1, or the only one.
	Name string
	// V6 is the name since prometheus.erl 6.0.0; empty when it is Name.
	V6 string
	// LegacyOnly marks a name that the newer generation dropped.
	LegacyOnly bool
	// V6Divisor divides the value under the V6 name, where the two
	// generations differ in unit; 0 means 1.
	V6Divisor float64

	Type Type
	// Unit is the unit of the value under Name; empty for plain counts.
	Unit string
	// Help says what the value is; HelpText adds the source.
	Help string
	// Call is the Erlang call, or other source, of the numbers.
	Call string

	// Collector and Table say where in a snapshot the numbers are. Both are
	// empty for what the exporter knows by itself.
	Collector, Table string
	// Labels are the labels in the order of prometheus.erl.
	Labels []Label
	// Samples are the series that each row of the table gives.
	Samples []Sample

	Cost Cost
	// Since is the OTP release that introduced the call, where that is newer
	// than OTP 20.
	Since string
	// Origin is the library that introduced the name; empty for ours.
	Origin string
	// Note is a remark for the documentation.
	Note string
}

// Label is one label of a family. Its value is that of the table's label
// From, or, when From is empty, one of the fixed values of the samples.
type Label struct {
	Name, From string
}

// Sample is one series that each row gives.
type Sample struct {
	// Fixed are the values of those labels that have no From, in order.
	Fixed []string
	Value Value
}

// Value is how a number is made of the columns of a row: Column, less all of
// Minus, times Times where it is set, divided by Per where that is set. There is
// no number when one of the columns has none.
type Value struct {
	Column string
	Minus  []string
	Times  string
	Per    float64
}

// String gives the value as a formula over the columns.
func (v Value) String() string {
	s := strings.Join(append([]string{v.Column}, v.Minus...), " - ")
	if v.Times != "" {
		s += " * " + v.Times
	}
	return s
}

// HelpText is the HELP line of the family: what the value is and, where a
// node gave it, by which call.
func (f *Family) HelpText() string {
	if f.Table == "" {
		return f.Help + "."
	}
	return fmt.Sprintf("%s (%s).", f.Help, f.Call)
}

// Series is a name under which a family is exposed, and what its value is
// divided by.
type Series struct {
	Name    string
	Divisor float64
}

// Series lists the names under which the family is exposed in the given
// generation.
func (f *Family) Series(n Names) []Series {
	if f.LegacyOnly && n == NamesV6 {
		return nil
	}
	if f.V6 == "" {
		return []Series{{f.Name, 1}}
	}
	var s []Series
	if n != NamesV6 {
		s = append(s, Series{f.Name, 1})
	}
	if n != NamesLegacy {
		s = append(s, Series{f.V6, max(f.V6Divisor, 1)})
	}
	return s
}

// Catalogue returns all families that a page of a node may carry. Families
// without labels come first: where a limit cuts, it cuts the long tables.
func Catalogue() []Family {
	return slices.Concat(
		memoryFamilies(), statisticsFamilies(), systemInfoFamilies(), vmFamilies(),
		osProcessFamilies(), mnesiaFamilies(), agentFamilies(), agentSourceFamilies(), logFamilies(), scanFamilies(),
		schedulerFamilies(), vipFamilies(), codeFamilies(), portFamilies(), osMonFamilies(),
		distributionFamilies(), msaccFamilies(), allocatorFamilies(), etsFamilies(),
		topFamilies(), vmEventFamilies(), nodeAlarmFamilies(), mnesiaTableFamilies(), carrierFamilies(), pageFamilies(),
	)
}

// labelled makes labels whose values are those of the table's label of the
// same name.
func labelled(names ...string) []Label {
	labels := make([]Label, len(names))
	for i, n := range names {
		labels[i] = Label{Name: n, From: n}
	}
	return labels
}

// fixed makes a label whose values are given by the samples.
func fixed(name string) []Label {
	return []Label{{Name: name}}
}

// of makes a sample out of a column, with the values of the fixed labels.
func of(column string, values ...string) Sample {
	return Sample{Fixed: values, Value: Value{Column: column}}
}

// single makes the only sample of a family without fixed labels.
func single(column string) []Sample {
	return []Sample{of(column)}
}

// less makes a sample out of a column less others.
func less(value, column string, minus ...string) Sample {
	return Sample{Fixed: []string{value}, Value: Value{Column: column, Minus: minus}}
}
