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
	// key is all labels, for comparison.
	key string
	// labels are the values of the labels, escaped.
	labels []string
	values []snapshot.Value
}

func newTable(t snapshot.Table, limits Limits) table {
	out := table{labels: t.Labels, columns: t.Columns, rows: make([]tableRow, 0, len(t.Rows))}
	// The labels of all rows share their memory.
	labels := make([]string, 0, len(t.Rows)*len(t.Labels))
	for _, r := range t.Rows {
		if len(r.Labels) != len(t.Labels) {
			out.dropped++
			continue
		}
		first := len(labels)
		for _, v := range r.Labels {
			labels = append(labels, labelValue(v, limits.LabelBytes))
		}
		out.rows = append(out.rows, tableRow{labels: labels[first:], values: r.Values})
	}
	if len(out.rows) > 1 {
		out.setKeys()
		out.unite()
		out.cut(limits.Rows)
	}
	for i, v := range labels {
		labels[i] = valueEscaper.Replace(v)
	}
	return out
}

// setKeys makes the keys of the rows, which share their memory, too.
func (t *table) setKeys() {
	size := 0
	for _, r := range t.rows {
		size += r.keySize()
	}
	var keys strings.Builder
	keys.Grow(size)
	for i, r := range t.rows {
		for _, v := range r.labels {
			keys.WriteString(v)
			keys.WriteByte(0) // which is in no label
		}
		t.rows[i].key = keys.String()[keys.Len()-r.keySize():]
	}
}

func (r *tableRow) keySize() int {
	n := 0
	for _, v := range r.labels {
		n += len(v) + 1
	}
	return n
}

// unite keeps the first of rows with the same labels.
func (t *table) unite() {
	seen := make(map[string]bool, len(t.rows))
	rows := t.rows[:0]
	for _, r := range t.rows {
		if seen[r.key] {
			t.dropped++
			continue
		}
		seen[r.key] = true
		rows = append(rows, r)
	}
	t.rows = rows
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

// positions appends where in a row the labels are that a family takes from it;
// false when the table lacks one.
func (t *table) positions(dst []int, labels []Label) ([]int, bool) {
	for _, l := range labels {
		if l.From == "" {
			continue
		}
		i := slices.Index(t.labels, l.From)
		if i < 0 {
			return dst, false
		}
		dst = append(dst, i)
	}
	return dst, true
}

// formula is a Value with its columns looked up.
type formula struct {
	column, times int
	minus         []int
	per           float64
}

// compile looks up the columns of a value; false when the table lacks one.
func (t *table) compile(v Value) (formula, bool) {
	f := formula{column: slices.Index(t.columns, v.Column), minus: make([]int, len(v.Minus)), times: -1, per: v.Per}
	ok := f.column >= 0
	for i, c := range v.Minus {
		f.minus[i] = slices.Index(t.columns, c)
		ok = ok && f.minus[i] >= 0
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
	if f.per != 0 {
		v /= f.per
	}
	return v, ok
}

func number(values []snapshot.Value, i int) (float64, bool) {
	if i >= len(values) || !values[i].Valid {
		return 0, false
	}
	return values[i].Float, true
}
