package alarm

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Settings change the rules: for all nodes, and for those that an override
// names. The zero value leaves all rules as they are.
type Settings struct {
	Rules map[string]RuleSettings
	// Overrides win over Rules, the later ones over the earlier.
	Overrides []Override
	// VIP are registered names that somebody has asked to be watched: each node
	// is to have them. Nil where nobody has.
	VIP []string
}

// Override are rules for some nodes: those that match both lists, where an
// empty one matches all.
type Override struct {
	Families []string
	// Nodes are patterns with * and ?.
	Nodes []string
	Rules map[string]RuleSettings
}

// RuleSettings change one rule; what is nil stays.
type RuleSettings struct {
	Enabled *bool
	Levels  map[Severity]LevelSettings
}

// LevelSettings change one threshold; what is nil stays. A severity that the
// rule does not have by itself needs Raise.
type LevelSettings struct {
	Enabled *bool
	// Without Clear, a new Raise keeps its distance to it, unless that leaves
	// nothing: then Clear stays, or is Raise where that is less.
	Raise, Clear  *float64
	For, ClearFor *time.Duration
}

// levels returns the thresholds of a rule for a node, the least severe first;
// none when it is switched off.
func (s *Settings) levels(r *Rule, n Node) []Level {
	enabled := !r.OptIn
	levels := map[Severity]Level{}
	for _, l := range r.Levels {
		levels[l.Severity] = l
	}
	change := func(rules map[string]RuleSettings) {
		c, ok := rules[r.ID]
		if !ok {
			return
		}
		if c.Enabled != nil {
			enabled = *c.Enabled
		}
		for severity, l := range c.Levels {
			changed, on := l.applied(levels[severity], r)
			if !on {
				delete(levels, severity)
				continue
			}
			changed.Severity = severity
			levels[severity] = changed
		}
	}
	change(s.Rules)
	for _, o := range s.Overrides {
		if o.matches(n) {
			change(o.Rules)
		}
	}
	if !enabled {
		return nil
	}
	return slices.SortedFunc(maps.Values(levels), func(a, b Level) int { return a.Severity.Rank() - b.Severity.Rank() })
}

// Uses tells whether a rule is switched on for any node.
func (s *Settings) Uses(id string) bool {
	all := Rules()
	i := slices.IndexFunc(all, func(r Rule) bool { return r.ID == id })
	if i < 0 {
		return false
	}
	on := func(rules map[string]RuleSettings) bool { return rules[id].Enabled != nil && *rules[id].Enabled }
	if e := s.Rules[id].Enabled; e != nil && *e || e == nil && !all[i].OptIn {
		return true
	}
	return slices.ContainsFunc(s.Overrides, func(o Override) bool { return on(o.Rules) })
}

func (o *Override) matches(n Node) bool {
	return (len(o.Families) == 0 || slices.Contains(o.Families, n.Family)) &&
		(len(o.Nodes) == 0 || slices.ContainsFunc(o.Nodes, func(p string) bool { return MatchPattern(p, n.Name) }))
}

// applied returns the level as the settings want it, and whether there is one.
func (c LevelSettings) applied(l Level, r *Rule) (Level, bool) {
	if c.Enabled != nil && !*c.Enabled {
		return l, false
	}
	if l.Severity == "" && len(r.Levels) > 0 {
		// A severity that the rule does not have is like its first.
		l = r.Levels[0]
	}
	if c.Raise != nil {
		apart := l.Clear - l.Raise
		l.Raise = *c.Raise
		if l.Raise+apart > 0 || l.Clear <= 0 {
			l.Clear = l.Raise + apart
		} else {
			// There is no such value to come back to.
			l.Clear = min(l.Clear, l.Raise)
		}
	}
	if c.Clear != nil {
		l.Clear = *c.Clear
	}
	if c.For != nil {
		l.For = *c.For
	}
	if c.ClearFor != nil {
		l.ClearFor = *c.ClearFor
	}
	return l, true
}

// Problem is something wrong with settings, with its path below them.
type Problem struct {
	Path    []string
	Message string
}

// Check returns what is wrong with the settings of one place: those for all
// nodes, or those of an override on top of them.
func Check(base, rules map[string]RuleSettings) []Problem {
	known := map[string]*Rule{}
	all := Rules()
	for i := range all {
		known[all[i].ID] = &all[i]
	}
	var problems []Problem
	for _, id := range slices.Sorted(maps.Keys(rules)) {
		r, ok := known[id]
		if !ok {
			problems = append(problems, Problem{[]string{id}, fmt.Sprintf("there is no rule %q; docs/alarms.md lists them", id)})
			continue
		}
		s := Settings{Rules: base, Overrides: []Override{{Rules: rules}}}
		problems = append(problems, checkRule(r, rules[id], s.levels(r, Node{}))...)
	}
	return problems
}

func checkRule(r *Rule, c RuleSettings, levels []Level) []Problem {
	var problems []Problem
	wrong := func(s Severity, format string, args ...any) {
		problems = append(problems, Problem{[]string{r.ID, string(s)}, fmt.Sprintf(format, args...)})
	}
	own := map[Severity]bool{}
	for _, l := range r.Levels {
		own[l.Severity] = true
	}
	for _, severity := range Severities() {
		l, ok := c.Levels[severity]
		on := l.Enabled == nil || *l.Enabled
		if ok && on && !own[severity] && l.Raise == nil {
			wrong(severity, "raise must be set: the rule has no threshold of this severity by itself")
		}
	}
	for i, l := range levels {
		if !r.Below && l.Clear > l.Raise || r.Below && l.Clear < l.Raise {
			wrong(l.Severity, "the alarm would clear at %v and be raised at %v, which is the wrong way round", l.Clear, l.Raise)
		}
		if l.For < 0 || l.ClearFor < 0 {
			wrong(l.Severity, "for and clear_for must not be negative")
		}
		if i == 0 {
			continue
		}
		if less := levels[i-1]; !r.Below && l.Raise < less.Raise || r.Below && l.Raise > less.Raise {
			wrong(l.Severity, "%s would be raised at %v, before %s at %v", l.Severity, l.Raise, less.Severity, less.Raise)
		}
	}
	return problems
}
