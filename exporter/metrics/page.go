package metrics

import (
	"cmp"
	"maps"
	"slices"

	dto "github.com/prometheus/client_model/go"

	"github.com/erlops/erlops/exporter/snapshot"
)

// page gathers the families of one answer. Samples are written as they are
// read, without a registry in between: that would sort the labels, and check
// at every scrape what the tests of the catalogue check once.
type page struct {
	names     Names
	limits    Limits
	catalogue []Family
	families  map[string]*dto.MetricFamily
}

func newPage(catalogue []Family, names Names, limits Limits) *page {
	return &page{
		names: names, limits: limits, catalogue: catalogue,
		families: make(map[string]*dto.MetricFamily),
	}
}

// gather returns the families in the order of their names.
func (p *page) gather() ([]*dto.MetricFamily, error) {
	return slices.SortedFunc(maps.Values(p.families), func(a, b *dto.MetricFamily) int {
		return cmp.Compare(a.GetName(), b.GetName())
	}), nil
}

// family returns the named family, new when the page has none yet.
func (p *page) family(name string, row *Family) *dto.MetricFamily {
	mf, ok := p.families[name]
	if !ok {
		help := row.HelpText()
		mf = &dto.MetricFamily{Name: &name, Help: &help, Type: row.Type.dto().Enum()}
		p.families[name] = mf
	}
	return mf
}

// nodePage writes the series of one node on a page.
type nodePage struct {
	*page
	// common are labels that every series of the node gets.
	common []*dto.LabelPair
	// left is how many series the node may still have.
	left int
	// dropped counts by collector what the limits kept off the page.
	dropped map[string]int
}

func (p *page) node(common ...*dto.LabelPair) *nodePage {
	return &nodePage{page: p, common: common, left: p.limits.Series, dropped: make(map[string]int)}
}

// reading writes all that a reading of the node gave.
func (n *nodePage) reading(r reading) {
	tables := make(map[string]*table)
	for _, c := range r.collectors {
		if c.Err != "" {
			continue
		}
		for _, t := range c.Tables {
			bounded := newTable(t, n.limits)
			n.drop(c.Name, bounded.dropped)
			tables[t.Name] = bounded
		}
	}
	for i := range n.catalogue {
		row := &n.catalogue[i]
		if t, ok := tables[row.Table]; ok {
			n.write(row, t)
		}
	}
	n.about(r)
}

// write adds the series that a table gives for a row of the catalogue.
func (n *nodePage) write(row *Family, t *table) {
	names := row.Series(n.names)
	if len(names) == 0 || !t.has(row.Labels) {
		return
	}
	for _, sample := range row.Samples {
		value, ok := t.compile(sample.Value)
		if !ok {
			continue
		}
		for i := range t.rows {
			v, ok := value.of(t.rows[i].values)
			if !ok {
				continue
			}
			labels := n.labels(row, t, i, sample)
			for _, name := range names {
				n.add(row, name, labels, v)
			}
		}
	}
}

// add writes one series, or counts it as dropped when the node has too many.
func (n *nodePage) add(row *Family, name Series, labels []*dto.LabelPair, v float64) {
	if n.left <= 0 {
		n.drop(row.Collector, 1)
		return
	}
	n.left--
	n.put(row, name, labels, v)
}

func (n *nodePage) put(row *Family, name Series, labels []*dto.LabelPair, v float64) {
	v /= name.Divisor
	m := &dto.Metric{Label: labels}
	switch row.Type {
	case Counter:
		m.Counter = &dto.Counter{Value: &v}
	case Gauge:
		m.Gauge = &dto.Gauge{Value: &v}
	case Untyped:
		m.Untyped = &dto.Untyped{Value: &v}
	}
	mf := n.family(name.Name, row)
	mf.Metric = append(mf.Metric, m)
}

// labels are the labels of one series, in the order of the catalogue.
func (n *nodePage) labels(row *Family, t *table, i int, sample Sample) []*dto.LabelPair {
	pairs := make([]*dto.LabelPair, 0, len(n.common)+len(row.Labels))
	pairs = append(pairs, n.common...)
	given := sample.Fixed
	for _, l := range row.Labels {
		var value string
		if l.From == "" {
			value, given = given[0], given[1:]
		} else {
			value = t.label(i, l.From)
		}
		pairs = append(pairs, pair(l.Name, value))
	}
	return pairs
}

func (n *nodePage) drop(collector string, series int) {
	if series > 0 {
		n.dropped[collector] += series
	}
}

// about writes what the exporter knows of the node and of this scrape. The
// limits do not apply: these series say what the limits did.
func (n *nodePage) about(r reading) {
	up := 0.0
	if r.snapshot != nil {
		up = 1
	}
	n.exporter(upName, up, n.familyLabel(r.node)...)
	for _, state := range States() {
		value := 0.0
		if state == r.node.State {
			value = 1
		}
		n.exporter(nodeStateName, value, pair("state", string(state)))
	}
	if r.snapshot == nil {
		return
	}
	n.exporter(roundTripName, r.snapshot.RoundTrip.Seconds())
	n.exporter(snapshotBytesName, float64(r.snapshot.Bytes))
	for _, c := range r.collectors {
		n.outcome(c)
	}
}

// outcome writes what came of a collector.
func (n *nodePage) outcome(c snapshot.Collector) {
	label := pair("collector", c.Name)
	n.exporter(durationName, c.Duration.Seconds(), label)
	n.exporter(successName, flag(c.Err == ""), label)
	n.exporter(shedName, flag(c.Shed), label)
	n.exporter(droppedName, float64(n.dropped[c.Name]), label)
	if c.Missing != "" {
		n.exporter(missingName, 1, label, pair("reason", labelValue(c.Missing, n.limits.LabelBytes)))
	}
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// familyLabel is the label family on pages that tell nodes apart by labels;
// on a page of its own a node has it from service discovery.
func (n *nodePage) familyLabel(node Node) []*dto.LabelPair {
	if len(n.common) == 0 || node.Family == "" {
		return nil
	}
	return []*dto.LabelPair{pair("family", labelValue(node.Family, n.limits.LabelBytes))}
}

// exporter writes a series of one of pageFamilies.
func (n *nodePage) exporter(name string, v float64, labels ...*dto.LabelPair) {
	i := slices.IndexFunc(n.catalogue, func(f Family) bool { return f.Name == name })
	n.put(&n.catalogue[i], Series{Name: name, Divisor: 1}, slices.Concat(n.common, labels), v)
}

func pair(name, value string) *dto.LabelPair {
	return &dto.LabelPair{Name: &name, Value: &value}
}
