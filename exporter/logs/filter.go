package logs

import (
	"path"
	"slices"
	"strings"
)

// Filter says which entries somebody wants; the zero value is all of them.
type Filter struct {
	// Nodes are patterns of node names, in which * stands for any characters and
	// ? for one. Families and Sources are names. Of each at least one must
	// match, where there are any.
	Nodes    []string
	Families []string
	Sources  []Source
	// Level is the least severe level, if there is a limit.
	Level *Level
	// Text must be in the message, in upper or lower case.
	Text string
}

// Match tells whether an entry is wanted.
func (f Filter) Match(e Entry) bool {
	switch {
	case f.Level != nil && !e.Level.AtLeast(*f.Level):
	case len(f.Families) > 0 && !slices.Contains(f.Families, e.Family):
	case len(f.Sources) > 0 && !slices.Contains(f.Sources, e.Source):
	case len(f.Nodes) > 0 && !slices.ContainsFunc(f.Nodes, func(p string) bool { return MatchName(p, e.Node) }):
	case f.Text != "" && !strings.Contains(strings.ToLower(e.Message), strings.ToLower(f.Text)):
	default:
		return true
	}
	return false
}

var escapePattern = strings.NewReplacer(`\`, `\\`, `[`, `\[`)

// MatchName tells whether a pattern matches a whole name.
func MatchName(pattern, name string) bool {
	// A name has no slash, and a bracket in a pattern is no more than one.
	ok, err := path.Match(escapePattern.Replace(pattern), name)
	return err == nil && ok
}
