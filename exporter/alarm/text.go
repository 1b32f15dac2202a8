package alarm

import (
	"strings"
	"unicode/utf8"
)

// Limits of texts, in bytes. Names and instances become label values.
const (
	maxName    = 128
	maxText    = 4096
	maxUser    = 128
	maxComment = 2048
	// maxComments is how many comments an alarm keeps: the first ones go.
	maxComments = 100
)

// bounded makes valid UTF-8 without control characters other than newlines of
// any text, and cuts it to at most n bytes.
func bounded(s string, n int) string {
	// Each byte that is no text becomes a mark of three, so that comes first.
	s = strings.ToValidUTF8(s[:min(len(s), 2*n)], "�")
	if len(s) > n {
		cut := n - len("…")
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < ' ' || r == 0x7f:
			return ' '
		}
		return r
	}, s)
}

// word is bounded for label values: on one line.
func word(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		return r
	}, bounded(s, maxName))
}

// clean bounds all texts of a report. Names and instances that are cut keep
// what tells them apart from others only if whoever reports them saw to it.
func (r *Report) clean() {
	r.Name, r.Instance = word(r.Name), word(r.Instance)
	if r.Name == "" {
		r.Name = "unnamed"
	}
	r.Summary = strings.ReplaceAll(bounded(r.Summary, maxText), "\n", " ")
	r.Description = bounded(r.Description, maxText)
	r.ProbableCause, r.RepairAction = bounded(r.ProbableCause, maxText), bounded(r.RepairAction, maxText)
	if r.Severity.Rank() == 0 {
		r.Severity = Warning
	}
	for i := range r.Comments {
		r.Comments[i] = r.Comments[i].clean()
	}
	if over := len(r.Comments) - maxComments; over > 0 {
		r.Comments = r.Comments[over:]
	}
}

func (c Comment) clean() Comment {
	c.User, c.Text = bounded(c.User, maxUser), bounded(c.Text, maxComment)
	return c
}
