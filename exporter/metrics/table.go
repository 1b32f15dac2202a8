package metrics

import (
	"slices"
	"strings"

	"github.com/erlops/erlops/exporter/snapshot"
)

// table is a table of a snapshot, made fit for a page: label values are valid,
// no two rows have the same labels, and there are no more rows than allowed.
type table struct {
	labels, columns []string
	rows            []tableRow
	dropped         int
}

type tableRow struct {
	key    string
	labels []string
	values []snapshot.Value
}

func newTable(t snapshot.Table, limits Limits) *table {
	out := &table{labels: t.Labels, columns: t.Columns, rows: make([]tableRow, 0, len(t.Rows))}
	seen := make(map[string]bool, len(t.Rows))
	for _, r := range t.Rows {
		if len(r.Labels) != len(t.Labels) {
			out.dropped++
			continue
		}
		row := tableRow{labels: make([]string, len(r.Labels)), values: r.Values}
		for i, v := range r.Labels {
			row.labels[i] = labelValue(v, limits.LabelBytes)
		}
		row.key = strings.Join(row.labels, "\x00")
		if seen[row.key] {
			out.dropped++
			continue
		}
		seen[row.key] = true
		out.rows = append(out.rows, row)
	}
	out.cut(limits.Rows)
	return out
}

// cut keeps the rows whose labels come first, so that it is the same rows in
// every scrape, whatever order the node gives them in.
func (t *table) cut(rows int) {
	if len(t.rows) <= rows {
		return
	}
	slices.SortFunc(t.rows, func(a, b tableRow) int { return strings.Compare(a.key, b.key) })
	t.dropped += len(t.rows) - rows
	t.rows = t.rows[:rows]
}

// has says whether the table has the labels that a family takes from it.
func (t *table) has(labels []Label) bool {
	for _, l := range labels {
		if l.From != "" && !slices.Contains(t.labels, l.From) {
			return false
		}
	}
	return true
}

func (t *table) label(row int, name string) string {
	return t.rows[row].labels[slices.Index(t.labels, name)]
}

// formula is a Value with its columns looked up.
type formula struct {
	column, times int
	minus         []int
}

// compile looks up the columns of a value; false when the table lacks one.
func (t *table) compile(v Value) (formula, bool) {
	f := formula{column: slices.Index(t.columns, v.Column), times: -1}
	ok := f.column >= 0
	for _, c := range v.Minus {
		i := slices.Index(t.columns, c)
		f.minus, ok = append(f.minus, i), ok && i >= 0
	}
	if v.Times != "" {
		f.times = slices.Index(t.columns, v.Times)
		ok = ok && f.times >= 0
	}
	return f, ok
}

// of computes the value of a row; false when the node had no number for one
// of the columns.
func (f formula) of(values []snapshot.Value) (float64, bool) {
	v, ok := number(values, f.column)
	for _, i := range f.minus {
		m, valid := number(values, i)
		v, ok = v-m, ok && valid
	}
	if f.times >= 0 {
		m, valid := number(values, f.times)
		v, ok = v*m, ok && valid
	}
	return v, ok
}

func number(values []snapshot.Value, i int) (float64, bool) {
	if i >= len(values) || !values[i].Valid {
		return 0, false
	}
	return values[i].Float, true
}
