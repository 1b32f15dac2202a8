package top

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/clikit"
)

// cellWidth is that of a column of numbers.
const cellWidth = 11

// cells are the numbers of a row, as many as there is room for beside the name;
// the first is always there.
func cells(width int, texts ...string) string {
	s := ""
	for i, t := range texts {
		if i > 0 && width-(i+1)*cellWidth < sideBySide/2 {
			break
		}
		s += right(t, cellWidth-1) + " "
	}
	return s
}

func optional(f *float64, unit func(float64) string) string {
	if f == nil {
		return "·"
	}
	return unit(*f)
}

// processLines are the processes that stand out.
func (v *View) processLines(n *Node, width int) []string {
	head := "PROCESSES by " + v.Sort.String()
	switch {
	case n.TopError != "":
		return []string{v.paint(head, clikit.Bold), clikit.OneLine(n.TopError)}
	case n.Top.Skipped:
		return []string{v.paint(head, clikit.Bold), "not scanned: there are too many"}
	}
	if width >= sideBySide && !n.Top.Time.IsZero() {
		head += fmt.Sprintf(", scanned %.0f s ago", n.Top.AgeSeconds+max(0, v.Now.Sub(n.Top.Time).Seconds()))
	}
	type column struct {
		sort Sort
		name string
		unit func(float64) string
	}
	columns := []column{{ByReductions, "red/s", number}, {ByMemory, "memory", size}, {ByMailbox, "mailbox", number}, {ByBinary, "binaries", size}}
	// The one that is sorted by comes first: it is there however narrow it is.
	slices.SortStableFunc(columns, func(a, b column) int {
		switch v.Sort {
		case a.sort:
			return -1
		case b.sort:
			return 1
		}
		return 0
	})
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = c.name
	}
	lines := []string{v.paint(head, clikit.Bold), v.paint(cells(width, titles...)+"process", clikit.Faint)}
	rows := n.sorted(v.Sort, v.Search)
	for _, p := range rows[min(v.Scroll, len(rows)):] {
		values := make([]string, len(columns))
		for i, c := range columns {
			values[i] = optional(p.of(c.sort), c.unit)
		}
		name := clikit.OneLine(p.InitialCall)
		if p.Name != "" {
			name = v.paint(clikit.OneLine(p.Name), clikit.Bold) + " " + name
		}
		lines = append(lines, cells(width, values...)+name)
	}
	if len(rows) == 0 {
		lines = append(lines, "none")
	}
	return lines
}

// tableLines are the ETS tables that stand out.
func (v *View) tableLines(n *Node, width int) []string {
	rows := n.sortedTables(v.Search)
	if len(rows) == 0 {
		return nil
	}
	lines := []string{
		v.paint("ETS TABLES by memory", clikit.Bold),
		v.paint(cells(width, "memory", "objects")+"table", clikit.Faint),
	}
	for _, t := range rows {
		name := clikit.OneLine(t.Name)
		if t.Owner != "" {
			name += v.paint(" of "+clikit.OneLine(t.Owner), clikit.Faint)
		}
		lines = append(lines, cells(width, optional(t.Memory, size), optional(t.Objects, number))+name)
	}
	return lines
}

// mailboxLines are how many processes have long mailboxes.
func (v *View) mailboxLines(n *Node, width int) []string {
	if len(n.Top.Mailboxes) == 0 {
		return nil
	}
	all := 1.0
	for _, m := range n.Top.Mailboxes {
		all = max(all, float64(m.Processes))
	}
	if n.Top.Mailboxes[0].Processes == 0 {
		return []string{v.paint("MAILBOXES", clikit.Bold) + fmt.Sprintf(" none has more than %d messages", n.Top.Mailboxes[0].Threshold)}
	}
	lines := []string{v.paint("MAILBOXES, processes with more messages", clikit.Bold)}
	for _, m := range n.Top.Mailboxes {
		lines = append(lines, v.plainBar("> "+strconv.Itoa(m.Threshold), float64(m.Processes)/all, strconv.Itoa(m.Processes), width))
	}
	return lines
}

// extra are the metrics that were asked for: those that are none of Metrics.
func (n *Node) extra(names []string) []client.LiveMetric {
	if len(names) == 0 {
		return nil
	}
	var all []client.LiveMetric
	for name, series := range n.now.metrics {
		if !slices.Contains(Metrics(), name) || slices.Contains(names, name) {
			all = append(all, series...)
		}
	}
	slices.SortFunc(all, func(a, b client.LiveMetric) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(labelText(a, histogramLimit), labelText(b, histogramLimit)),
			cmp.Compare(limit(a), limit(b)))
	})
	return all
}

// limit is the upper end of a bucket of a histogram.
func limit(m client.LiveMetric) float64 {
	f, err := strconv.ParseFloat(m.Labels[histogramLimit], 64)
	if err != nil {
		return -1
	}
	return f
}

// labelText are the labels of a series but one, in order.
func labelText(m client.LiveMetric, without string) string {
	names := make([]string, 0, len(m.Labels))
	for name := range m.Labels {
		if name != without {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	text := ""
	for _, name := range names {
		text += " " + m.Labels[name]
	}
	return text
}

// extraLines are the metrics that were asked for. Several series of one are drawn
// as bars; of a histogram, how many are in each bucket.
func (v *View) extraLines(n *Node, width int) []string {
	all := n.extra(v.Extra)
	var lines []string
	for len(all) > 0 {
		end := slices.IndexFunc(all, func(m client.LiveMetric) bool { return m.Name != all[0].Name })
		if end < 0 {
			end = len(all)
		}
		lines = append(lines, v.family(all[:end], width)...)
		all = all[end:]
	}
	return lines
}

func (v *View) family(series []client.LiveMetric, width int) []string {
	type row struct {
		name  string
		value float64
	}
	var rows []row
	most := 0.0
	for i, m := range series {
		if m.Value == nil {
			continue
		}
		r := row{name: labelText(m, ""), value: *m.Value}
		if le, ok := m.Labels[histogramLimit]; ok {
			r.name = labelText(m, histogramLimit) + " ≤ " + le
			if i > 0 && series[i-1].Value != nil && labelText(series[i-1], histogramLimit) == labelText(m, histogramLimit) {
				r.value -= *series[i-1].Value
			}
		}
		most = max(most, r.value)
		rows = append(rows, r)
	}
	if len(rows) == 1 && rows[0].name == "" {
		return []string{clikit.OneLine(series[0].Name) + " " + plainNumber(rows[0].value)}
	}
	lines := []string{v.paint(clikit.OneLine(series[0].Name), clikit.Bold)}
	for _, r := range rows {
		part := 0.0
		if most > 0 {
			part = r.value / most
		}
		lines = append(lines, v.plainBar(clikit.OneLine(r.name), part, plainNumber(r.value), width))
	}
	return lines
}

// plainBar is a bar without colours: a large part is nothing bad.
func (v *View) plainBar(name string, part float64, text string, width int) string {
	plain := *v
	plain.Colour = false
	return plain.bar(name, part, text, width)
}

func plainNumber(f float64) string { return strconv.FormatFloat(f, 'g', 6, 64) }
