package metrics

import (
	"bytes"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/snapshot"
)

// oracle makes a page the plain way: families as the client library has them,
// written by the library.
type oracle struct {
	catalogue []Family
	names     Names
	limits    Limits
	families  map[string]*dto.MetricFamily

	// Of the node that is being added:
	common  []*dto.LabelPair
	left    int
	dropped map[string]int
}

func (o *oracle) page(t *testing.T, format expfmt.Format) string {
	t.Helper()
	var out bytes.Buffer
	encoder := expfmt.NewEncoder(&out, format)
	for _, name := range slices.Sorted(maps.Keys(o.families)) {
		require.NoError(t, encoder.Encode(o.families[name]))
	}
	require.NoError(t, encoder.(expfmt.Closer).Close())
	return out.String()
}

// node adds a node; its name is a label unless it is empty.
func (o *oracle) node(name string, r reading) {
	o.common, o.left, o.dropped = nil, o.limits.Series, make(map[string]int)
	if name != "" {
		o.common = []*dto.LabelPair{pair("node", o.value(name))}
	}
	tables := make(map[string]snapshot.Table)
	for _, c := range r.collectors {
		for _, t := range c.Tables {
			if c.Err == "" {
				t.Rows = o.rows(c.Name, t)
				tables[t.Name] = t
			}
		}
	}
	for _, f := range o.catalogue {
		if t, ok := tables[f.Table]; ok {
			for _, s := range f.Samples {
				for _, row := range t.Rows {
					o.sample(&f, s, t, row)
				}
			}
		}
	}
	o.about(r)
}

// rows are the rows of a table that go on the page, with their labels as there.
func (o *oracle) rows(collector string, t snapshot.Table) []snapshot.Row {
	var rows []snapshot.Row
	for _, r := range t.Rows {
		labels := make([]string, len(r.Labels))
		for i, v := range r.Labels {
			labels[i] = o.value(v)
		}
		same := func(other snapshot.Row) bool { return slices.Equal(other.Labels, labels) }
		if len(labels) == len(t.Labels) && !slices.ContainsFunc(rows, same) {
			rows = append(rows, snapshot.Row{Labels: labels, Values: r.Values})
		}
	}
	if len(rows) > o.limits.Rows {
		slices.SortFunc(rows, func(a, b snapshot.Row) int { return slices.Compare(a.Labels, b.Labels) })
		rows = rows[:o.limits.Rows]
	}
	if n := len(t.Rows) - len(rows); n > 0 {
		o.dropped[collector] += n
	}
	return rows
}

func (o *oracle) sample(f *Family, s Sample, t snapshot.Table, row snapshot.Row) {
	number := func(column string) float64 {
		i := slices.Index(t.Columns, column)
		if i < 0 || i >= len(row.Values) || !row.Values[i].Valid {
			panic(column)
		}
		return row.Values[i].Float
	}
	defer func() { _ = recover() }() // there is no sample without one of its numbers
	v := number(s.Value.Column)
	for _, c := range s.Value.Minus {
		v -= number(c)
	}
	if s.Value.Times != "" {
		v *= number(s.Value.Times)
	}
	if s.Value.Per != 0 {
		v /= s.Value.Per
	}
	labels := slices.Clone(o.common)
	fixed := s.Fixed
	for _, l := range f.Labels {
		if l.From == "" {
			labels, fixed = append(labels, pair(l.Name, fixed[0])), fixed[1:]
		} else {
			labels = append(labels, pair(l.Name, row.Labels[slices.Index(t.Labels, l.From)]))
		}
	}
	for _, name := range f.Series(o.names) {
		if o.left--; o.left < 0 {
			o.dropped[f.Collector]++
		} else {
			o.put(f, name.Name, v/name.Divisor, labels)
		}
	}
}

func (o *oracle) about(r reading) {
	up := slices.Clone(o.common)
	if len(up) > 0 && r.node.Family != "" {
		up = append(up, pair("family", o.value(r.node.Family)))
	}
	o.put(o.own(upName), upName, flag(r.snapshot != nil), up)
	o.exporter(agentUpName, flag(r.snapshot != nil && !r.snapshot.Agentless))
	for _, s := range States() {
		o.exporter(nodeStateName, flag(s == r.node.State), "state", string(s))
	}
	if r.snapshot == nil {
		return
	}
	o.exporter(roundTripName, r.snapshot.RoundTrip.Seconds())
	o.exporter(snapshotAgeName, r.age.Seconds())
	o.exporter(snapshotBytesName, float64(r.snapshot.Bytes))
	for _, c := range r.collectors {
		o.exporter(durationName, c.Duration.Seconds(), "collector", c.Name)
		o.exporter(ageName, c.Age.Seconds(), "collector", c.Name)
		o.exporter(successName, flag(c.Err == ""), "collector", c.Name)
		o.exporter(shedName, flag(c.Shed), "collector", c.Name)
		o.exporter(droppedName, float64(o.dropped[c.Name]), "collector", c.Name)
		if c.Failed > 0 || len(c.Families) > 0 {
			o.exporter(failedName, float64(c.Failed), "collector", c.Name)
		}
		if c.Missing != "" {
			o.exporter(missingName, 1, "collector", c.Name, "reason", o.value(c.Missing))
		}
	}
}

func (o *oracle) own(name string) *Family {
	return &o.catalogue[slices.IndexFunc(o.catalogue, func(f Family) bool { return f.Name == name })]
}

func (o *oracle) exporter(name string, v float64, labels ...string) {
	pairs := slices.Clone(o.common)
	for l := range slices.Chunk(labels, 2) {
		pairs = append(pairs, pair(l[0], l[1]))
	}
	o.put(o.own(name), name, v, pairs)
}

func (o *oracle) put(f *Family, name string, v float64, labels []*dto.LabelPair) {
	mf, ok := o.families[name]
	if !ok {
		help := f.HelpText()
		mf = &dto.MetricFamily{Name: &name, Help: &help}
		o.families[name] = mf
	}
	m := &dto.Metric{Label: labels}
	switch f.Type {
	case Counter:
		mf.Type, m.Counter = dto.MetricType_COUNTER.Enum(), &dto.Counter{Value: &v}
	case Gauge:
		mf.Type, m.Gauge = dto.MetricType_GAUGE.Enum(), &dto.Gauge{Value: &v}
	case Untyped:
		mf.Type, m.Untyped = dto.MetricType_UNTYPED.Enum(), &dto.Untyped{Value: &v}
	}
	mf.Metric = append(mf.Metric, m)
}

func (o *oracle) value(s string) string { return labelValue(s, o.limits.LabelBytes) }

func pair(name, value string) *dto.LabelPair {
	return &dto.LabelPair{Name: &name, Value: &value}
}

// random makes readings out of random numbers, and of a string and a number
// that it uses besides its own.
type random struct {
	*rand.Rand
	catalogue []Family
	label     string
	number    float64
}

func (r random) string() string {
	return r.pick("a", "b", "rabbit@h", "", `q"`, `\`, "a\nb", "a\xff", "é\u0085", strings.Repeat("é", 20), r.label, r.label+"2")
}

func (r random) pick(of ...string) string { return of[r.IntN(len(of))] }

// rarely returns 1, else 0.
func (r random) rarely() int { return r.IntN(20) / 19 }

func (r random) value() snapshot.Value {
	numbers := []float64{
		0, math.Copysign(0, -1), 1, -1, 999999, 1e6, 1234567, 1e20, 1e21, 1e-5, 0.25, 1.0 / 3,
		math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, r.NormFloat64(), float64(r.Int64()), r.number,
	}
	return snapshot.Value{Float: numbers[r.IntN(len(numbers))], Valid: r.IntN(10) > 0}
}

// reading makes a reading of tables of the catalogue, some of them broken.
func (r random) reading() reading {
	got := reading{node: Node{Family: r.string(), State: StateDown}}
	if r.IntN(8) == 0 {
		return got
	}
	got.node.State = StateUp
	got.snapshot = &snapshot.Snapshot{Bytes: r.IntN(1e7), RoundTrip: time.Duration(r.IntN(1e9))}
	for _, name := range collectorsOf(r.catalogue) {
		c := snapshot.Collector{Name: name, Duration: time.Duration(r.IntN(1e7)), Shed: r.IntN(8) == 0}
		c.Missing, c.Err = r.pick("", "", r.label), r.pick("", "", "", "badarg")
		for _, f := range r.catalogue {
			same := func(t snapshot.Table) bool { return t.Name == f.Table }
			if f.Collector == name && !slices.ContainsFunc(c.Tables, same) {
				c.Tables = append(c.Tables, r.table(f.Table))
			}
		}
		got.collectors = append(got.collectors, c)
	}
	return got
}

func (r random) table(name string) snapshot.Table {
	t := snapshot.Table{Name: name}
	for _, f := range r.catalogue {
		if f.Table != name {
			continue
		}
		for _, l := range f.Labels {
			t.Labels = append(t.Labels, l.From)
		}
		for _, s := range f.Samples {
			t.Columns = slices.Concat(t.Columns, s.Value.Minus, []string{s.Value.Column, s.Value.Times})
		}
	}
	set := func(names []string) []string {
		slices.Sort(names)
		names = slices.DeleteFunc(slices.Compact(names), func(s string) bool { return s == "" || r.IntN(40) == 0 })
		r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		return names
	}
	t.Labels, t.Columns = set(t.Labels), set(t.Columns)
	for range r.IntN(5) {
		var row snapshot.Row
		for range len(t.Labels) + r.rarely() {
			row.Labels = append(row.Labels, r.string())
		}
		for range len(t.Columns) - r.rarely() {
			row.Values = append(row.Values, r.value())
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// Pages of random readings are, byte for byte, what the client library makes of
// them. Each is made with the buffers of those before.
func FuzzPage(f *testing.F) {
	generations := []Names{NamesBoth, NamesLegacy, NamesV6}
	catalogue := Catalogue()
	layouts := make(map[Names]*layout)
	for _, names := range generations {
		layouts[names] = newLayout(catalogue, names)
	}
	for seed := range uint64(60) {
		f.Add(seed, `a"b\c`, 1e15)
	}
	f.Fuzz(func(t *testing.T, seed uint64, label string, number float64) {
		r := random{rand.New(rand.NewPCG(seed, 0)), catalogue, label, number}
		names := generations[r.IntN(3)]
		limits := Limits{Series: 1 + r.IntN(300), Rows: 1 + r.IntN(4), LabelBytes: 1 + r.IntN(40)}
		for format, openMetrics := range map[expfmt.Format]bool{expfmt.FmtText: false, expfmt.FmtOpenMetrics_1_0_0: true} {
			want := &oracle{catalogue: catalogue, names: names, limits: limits, families: make(map[string]*dto.MetricFamily)}
			page := layouts[names].page(limits, openMetrics)
			for _, node := range [][]string{{""}, {"a@h", r.string() + "@h", "c@h"}}[r.IntN(2)] {
				got := r.reading()
				want.node(node, got)
				n := page.node()
				if node != "" {
					n = page.oneOf(node)
				}
				n.reading(got)
				require.Equal(t, want.dropped, n.dropped)
			}
			require.Equal(t, want.page(t, format), string(page.bytes()))
			require.Equal(t, len(want.families), page.families())
			page.release()
		}
	})
}
