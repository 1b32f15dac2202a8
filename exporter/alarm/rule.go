package alarm

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Rule is one built-in alarm: when it is raised, when it clears, and what
// people are told. What it needs of a reading is in Needs; where a node does not
// give that, the rule says nothing, and an alarm that is active stays.
type Rule struct {
	// ID is the name of its alarms.
	ID string
	// Levels are the thresholds by severity.
	Levels []Level
	// Unit is that of thresholds and values, such as "%" or "messages".
	Unit string
	// Below is set where a low value is bad.
	Below bool
	// KeyLabel says what the instance of an alarm is, such as "peer"; empty
	// where there is one alarm a node.
	KeyLabel string

	// Needs are the columns of readings that the rule looks at, as
	// "table.column"; nil for rules on the fleet.
	Needs []string
	// Since says in words what has to be there for the rule to say anything;
	// empty for what every node gives.
	Since string
	// OptIn is set where the rule says nothing unless it is switched on.
	OptIn bool
	// Stays is set where a value that is gone means nothing: the alarm clears
	// when the node is started anew.
	Stays bool

	// Title is what is wrong, in a few words.
	Title string
	// Value says what is compared with the thresholds.
	Value string
	// Meaning, Cause and Repair are for the person who is woken up by it.
	Meaning, Cause, Repair string
	// Clears says when the alarm clears, where that is not told by the levels.
	Clears string

	// Signal reads the values of a pulse, one an instance, and returns false
	// when the reading does not have what it needs. Nil for rules on the fleet.
	Signal func(*Window) ([]Reading, bool)
	// Fleet reads the values of a node out of what is known of all nodes. Nil
	// for rules on a pulse.
	Fleet func(*Fleet, *member) ([]Reading, bool)
}

// Level is a threshold of a rule.
type Level struct {
	Severity Severity
	// Raise is the value from which on the alarm has this severity, once it
	// stayed there for For; Clear is the value below which it has it no more,
	// once it stayed there for ClearFor.
	Raise, Clear  float64
	For, ClearFor time.Duration
}

// Reading is the value of a rule at one pulse.
type Reading struct {
	// Instance tells the alarms of one rule on a node apart.
	Instance string
	Value    float64
	// Detail is for the description; the same value should have the same.
	Detail string
	// Again is set when what the alarm is about has happened once more since
	// the last reading. It is raised then even where somebody has cleared it.
	Again bool
}

// one is the reading of a rule with one alarm a node.
func one(value float64, ok bool) ([]Reading, bool) {
	if !ok {
		return nil, false
	}
	return []Reading{{Value: value}}, true
}

// raised tells whether a value passes the threshold.
func (r *Rule) raised(l Level, v float64) bool {
	if r.Below {
		return v < l.Raise
	}
	return v >= l.Raise
}

// recovered tells whether a value is back on the other side.
func (r *Rule) recovered(l Level, v float64) bool {
	if r.Below {
		return v >= l.Clear
	}
	return v < l.Clear
}

// report makes the report of an alarm of the rule.
func (r *Rule) report(n Node, x Reading, l Level) Report {
	summary := r.Title + " on " + n.Name
	if x.Instance != "" && r.KeyLabel != "" {
		summary = fmt.Sprintf("%s (%s %s)", summary, r.KeyLabel, x.Instance)
	}
	if r.Unit != "" {
		side := "from"
		if r.Below {
			side = "below"
		}
		summary += fmt.Sprintf(": %s (%s %s %s)", number(x.Value, r.Unit), l.Severity, side, number(l.Raise, r.Unit))
	}
	description := r.Meaning
	if x.Detail != "" {
		description += "\n" + x.Detail
	}
	return Report{
		Node: n, Source: Builtin, Name: r.ID, Instance: x.Instance, Severity: l.Severity,
		Summary: summary, Description: description, ProbableCause: r.Cause, RepairAction: r.Repair,
	}
}

// number writes a value for people.
func number(v float64, unit string) string {
	digits := 0
	if a := math.Abs(v); a < 10 && v != math.Trunc(v) {
		digits = 1
	}
	text := strconv.FormatFloat(v, 'f', digits, 64)
	switch unit {
	case "":
		return text
	case "bytes":
		return bytes(v)
	}
	return text + " " + unit
}

// bytes writes a size for people.
func bytes(v float64) string {
	for _, u := range []struct {
		name string
		size float64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if v >= u.size {
			return strconv.FormatFloat(v/u.size, 'f', 1, 64) + " " + u.name
		}
	}
	return strconv.FormatFloat(v, 'f', 0, 64) + " bytes"
}

// Rules returns all built-in alarms, in the order of the documentation.
func Rules() []Rule {
	var all []Rule
	for _, part := range [][]Rule{
		outsideRules(), agentRules(), limitRules(), memoryRules(), osRules(), processRules(),
		schedulerRules(), vmEventRules(), distributionRules(), codeRules(), mnesiaRules(), loggerRules(),
	} {
		all = append(all, part...)
	}
	return all
}
