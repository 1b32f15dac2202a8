package graphite

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// The fields of a Template. That of a label has its name after the dot.
const (
	fieldFamily = "family"
	fieldNode   = "node"
	fieldName   = "name"
	fieldHost   = "host"
	fieldMetric = "metric"
	fieldLabels = "labels"
	fieldLabel  = "label."
)

// needed are fields without which different series would have one path.
var needed = []string{fieldNode, fieldMetric, fieldLabels}

// Template makes dotted paths of series.
type Template struct {
	parts []part
	// named are the labels that have a place of their own.
	named []string
}

// part is a text, or a field when field is not empty.
type part struct{ text, field string }

// ParseTemplate reads a template such as
// erlang.{{family}}.{{node}}.{{metric}}.{{labels}}. Errors give the place in it,
// counted in bytes from 1.
func ParseTemplate(s string) (*Template, error) {
	t := &Template{}
	for rest := s; rest != ""; {
		at := len(s) - len(rest) + 1
		text, after, found := strings.Cut(rest, "{{")
		if i := strings.IndexFunc(text, func(r rune) bool { return r != '.' && !inPath(r) }); i >= 0 {
			r, _ := utf8.DecodeRuneInString(text[i:])
			return nil, fmt.Errorf("at %d: %q cannot be in a path", at+i, r)
		}
		if text != "" {
			t.parts = append(t.parts, part{text: text})
		}
		if !found {
			break
		}
		at += len(text)
		name, behind, closed := strings.Cut(after, "}}")
		if !closed {
			return nil, fmt.Errorf("at %d: {{ without }}", at)
		}
		field := strings.TrimSpace(name)
		if err := t.add(field); err != nil {
			return nil, fmt.Errorf("at %d: %w", at, err)
		}
		rest = behind
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Template) add(field string) error {
	label, isLabel := strings.CutPrefix(field, fieldLabel)
	switch {
	case isLabel && label != "":
		t.named = append(t.named, label)
	case !slices.Contains(Fields(), field):
		return fmt.Errorf("unknown field %q: want one of %s", field, strings.Join(append(Fields(), "label.NAME"), ", "))
	}
	t.parts = append(t.parts, part{field: field})
	return nil
}

// Fields are those that a template may have, but for label.NAME.
func Fields() []string {
	return []string{fieldFamily, fieldNode, fieldName, fieldHost, fieldMetric, fieldLabels}
}

func (t *Template) check() error {
	for _, field := range needed {
		both := field == fieldNode && t.has(fieldName) && t.has(fieldHost)
		if !t.has(field) && !both {
			return fmt.Errorf("has no {{%s}}: different series would have one path", field)
		}
	}
	for i, p := range t.parts {
		if strings.Contains(p.text, "..") || i == 0 && strings.HasPrefix(p.text, ".") ||
			i == len(t.parts)-1 && strings.HasSuffix(p.text, ".") {
			return fmt.Errorf("%q has an empty element", p.text)
		}
	}
	return nil
}

func (t *Template) has(field string) bool {
	return slices.ContainsFunc(t.parts, func(p part) bool { return p.field == field })
}

// path makes the path of a series.
func (t *Template) path(dst []byte, r *Reading, p *Point) []byte {
	skipDot := false
	for _, part := range t.parts {
		text := part.text
		if skipDot {
			text, skipDot = strings.TrimPrefix(text, "."), false
		}
		dst = append(dst, text...)
		switch label, isLabel := strings.CutPrefix(part.field, fieldLabel); {
		case isLabel:
			dst = appendElement(dst, labelOf(r, p, label))
		case part.field == fieldLabels:
			before := len(dst)
			dst = t.labels(dst, p)
			if len(dst) == before { // nor is there a dot for them
				if before > 0 && dst[before-1] == '.' {
					dst = dst[:before-1]
				} else {
					skipDot = true
				}
			}
		case part.field != "":
			dst = appendElement(dst, fieldOf(r, p, part.field))
		}
	}
	return dst
}

// labels appends name.value of all labels that have no place of their own, as
// Prometheus's own bridge to Graphite does.
func (t *Template) labels(dst []byte, p *Point) []byte {
	first := true
	for _, l := range p.Labels {
		if slices.Contains(t.named, l.Name) {
			continue
		}
		if !first {
			dst = append(dst, '.')
		}
		first = false
		dst = appendElement(dst, l.Name)
		dst = append(dst, '.')
		dst = appendElement(dst, l.Value)
	}
	return dst
}

func fieldOf(r *Reading, p *Point, field string) string {
	name, host, _ := strings.Cut(r.Node, "@")
	switch field {
	case fieldFamily:
		return r.Family
	case fieldName:
		return name
	case fieldHost:
		return host
	case fieldMetric:
		return p.Metric
	}
	return r.Node
}

// labelOf is a label of the series, or else of its node.
func labelOf(r *Reading, p *Point, name string) string {
	for _, l := range p.Labels {
		if l.Name == name {
			return l.Value
		}
	}
	return r.Labels[name]
}

// inPath tells whether a character may be in an element of a path: it means
// nothing to Graphite, to the functions of its queries and to file systems.
func inPath(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-:@+%#", r)
}

// appendElement appends an element of a path. What is not allowed there is
// replaced; nothing is told as none.
func appendElement(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "none"...)
	}
	for _, r := range s {
		if !inPath(r) {
			r = '_'
		}
		dst = append(dst, byte(r))
	}
	return dst
}
