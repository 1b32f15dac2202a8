package alarm

import (
	"path"
	"slices"
	"strings"
	"time"
)

// Filter selects alarms: those that match every list that is not empty.
type Filter struct {
	IDs        []string
	States     []State
	Severities []Severity
	Sources    []Source
	Names      []string
	Families   []string
	// Nodes are patterns in which * stands for any characters and ? for one.
	Nodes []string
	// Since and Until bound when history was cleared; zero for no bound.
	Since, Until time.Time
}

// IsZero reports whether the filter selects everything.
func (f *Filter) IsZero() bool {
	return len(f.IDs)+len(f.States)+len(f.Severities)+len(f.Sources)+len(f.Names)+len(f.Families)+len(f.Nodes) == 0 &&
		f.Since.IsZero() && f.Until.IsZero()
}

// Matches tells whether the filter selects the alarm.
func (f *Filter) Matches(a *Alarm) bool {
	return anyOf(f.IDs, a.ID) && anyOf(f.States, a.State) && anyOf(f.Severities, a.Severity) &&
		anyOf(f.Sources, a.Source) && anyOf(f.Names, a.Name) && anyOf(f.Families, a.Node.Family) &&
		(len(f.Nodes) == 0 || slices.ContainsFunc(f.Nodes, func(p string) bool { return MatchPattern(p, a.Node.Name) })) &&
		(f.Since.IsZero() || !a.ClearedAt.Before(f.Since)) && (f.Until.IsZero() || a.ClearedAt.Before(f.Until))
}

// anyOf reports whether the list is empty or has the value.
func anyOf[T comparable](list []T, v T) bool { return len(list) == 0 || slices.Contains(list, v) }

// MatchPattern matches a whole text against a pattern with * and ?.
func MatchPattern(pattern, text string) bool {
	// path.Match knows more than * and ?, and its * stops at slashes.
	escaped := strings.NewReplacer(`\`, `\\`, `[`, `\[`, "/", "\x00").Replace(pattern)
	ok, err := path.Match(escaped, strings.ReplaceAll(text, "/", "\x00"))
	return err == nil && ok
}
