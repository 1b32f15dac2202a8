package metrics

import (
	"cmp"
	"slices"
	"strings"
	"sync"
)

// layout is what all pages of a generation of names have in common: every text
// on them but for the values that nodes give. It is made once, and not changed.
type layout struct {
	// rows are those of the catalogue that have a name in the generation, in
	// its order: that is the order in which a limit counts series.
	rows []row
	// own are the rows of pageFamilies by name.
	own map[string]*row
	// series are in the order of the page, that of their names.
	series []series
	// pages are pages that are done with, for their buffers.
	pages sync.Pool
}

// row is a row of the catalogue with what its lines are made of.
type row struct {
	*Family
	// series are indices of layout.series.
	series []int
	// labels are the label parts of the lines, one for each of Samples.
	labels []labelText
}

// series is one name on the page.
type series struct {
	Series
	// text and openMetrics are the HELP and TYPE lines.
	text, openMetrics string
}

func newLayout(catalogue []Family, names Names) *layout {
	l := &layout{own: make(map[string]*row)}
	for i := range catalogue {
		f := &catalogue[i]
		for _, s := range f.Series(names) {
			l.series = append(l.series, series{Series: s, text: textHead(s.Name, f), openMetrics: openMetricsHead(s.Name, f)})
		}
	}
	slices.SortFunc(l.series, func(a, b series) int { return cmp.Compare(a.Name, b.Name) })
	for i := range catalogue {
		r := l.row(&catalogue[i], names)
		switch {
		case r.Table == "":
			l.own[r.Name] = r
		case len(r.series) > 0:
			l.rows = append(l.rows, *r)
		}
	}
	return l
}

func (l *layout) row(f *Family, names Names) *row {
	r := &row{Family: f}
	for _, s := range f.Series(names) {
		i, _ := slices.BinarySearchFunc(l.series, s.Name, func(s series, name string) int { return cmp.Compare(s.Name, name) })
		r.series = append(r.series, i)
	}
	for _, s := range f.Samples {
		r.labels = append(r.labels, newLabelText(f.Labels, s.Fixed))
	}
	if f.Table == "" {
		r.labels = []labelText{newLabelText(f.Labels, nil)}
	}
	return r
}

// Escapers of the exposition formats. OpenMetrics escapes HELP as label values.
var (
	valueEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
	helpEscaper  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
)

func textHead(name string, f *Family) string {
	return head(name, helpEscaper.Replace(f.HelpText()), string(f.Type))
}

// openMetricsHead differs from textHead in that a counter is declared without
// the suffix _total, and is none when it has no such suffix.
func openMetricsHead(name string, f *Family) string {
	return openMetricsText(name, f.HelpText(), f.Type)
}

func openMetricsText(name, help string, t Type) string {
	kind := string(t)
	base, total := strings.CutSuffix(name, "_total")
	switch {
	case t == Counter && total:
		name = base
	case t == Counter || t == Untyped:
		kind = "unknown"
	}
	return head(name, valueEscaper.Replace(help), kind)
}

func head(name, help, kind string) string {
	return "# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n"
}

// labelText is the label part of a line without its braces, cut where the
// values of the node's labels go: `alloc="`, `",kind="mbcs"`.
type labelText []string

// newLabelText makes the text of labels, those that have no From with the fixed
// values, in order.
func newLabelText(labels []Label, fixed []string) labelText {
	var text labelText
	var b strings.Builder
	for i, l := range labels {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(l.Name + `="`)
		if l.From == "" {
			b.WriteString(valueEscaper.Replace(fixed[0]))
			fixed = fixed[1:]
		} else {
			text = append(text, b.String())
			b.Reset()
		}
		b.WriteByte('"')
	}
	return append(text, b.String())
}

// appendTo appends the label part of a line, after the labels common to all
// lines of a node. The values, escaped, go in the order of their positions.
func (t labelText) appendTo(dst []byte, common string, values []string, positions []int) []byte {
	bare := len(t) == 1 && t[0] == ""
	if bare && common == "" {
		return dst
	}
	dst = append(dst, '{')
	dst = append(dst, common...)
	if !bare && common != "" {
		dst = append(dst, ',')
	}
	for i, text := range t[:len(t)-1] {
		dst = append(dst, text...)
		dst = append(dst, values[positions[i]]...)
	}
	dst = append(dst, t[len(t)-1]...)
	return append(dst, '}')
}
