package metrics

import (
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/erlops/erlops/exporter/snapshot"
)

// keptBytes is the most that the buffers of a page may have grown to for other
// pages to be made in them.
const keptBytes = 1 << 20

// openMetricsEnd is the last line in the OpenMetrics format.
const openMetricsEnd = "# EOF\n"

// page is one answer in the making. Lines are appended as the samples are read,
// each to the part of the page that its family has, without a registry in
// between: that would sort the labels, and check at every scrape what the tests
// of the catalogue check once.
type page struct {
	*layout
	limits      Limits
	openMetrics bool
	// parts are the lines of layout.series.
	parts [][]byte
	// brought are the families that nodes brought along, by name.
	brought map[string]*brought
	// take takes the series in place of the page, with their labels in braces,
	// which are valid until it returns; nil for a page.
	take func(name string, labels []byte, v float64)
	// whole, labels and positions are buffers.
	whole, labels []byte
	positions     []int
}

// page returns an empty page, which is to be released.
func (l *layout) page(limits Limits, openMetrics bool) *page {
	p, ok := l.pages.Get().(*page)
	if !ok {
		p = &page{layout: l, parts: make([][]byte, len(l.series))}
	}
	p.limits, p.openMetrics = limits, openMetrics
	return p
}

// release gives the page back. Neither it nor its bytes may be used any more.
func (p *page) release() {
	size := cap(p.whole)
	for i, part := range p.parts {
		size += cap(part)
		p.parts[i] = part[:0]
	}
	p.brought, p.take = nil, nil
	if size <= keptBytes {
		p.pages.Put(p)
	}
}

// families is how many families the page has.
func (p *page) families() int {
	n := 0
	for _, part := range p.parts {
		if len(part) > 0 {
			n++
		}
	}
	return n + len(p.brought)
}

// bytes returns the whole page, valid until the page is released.
func (p *page) bytes() []byte {
	size := len(openMetricsEnd)
	for i, part := range p.parts {
		size += len(p.head(i)) + len(part)
	}
	for _, b := range p.brought {
		size += 2*len(b.name) + len(b.help) + len(b.lines) + 64
	}
	p.whole = slices.Grow(p.whole[:0], size)
	for i, part := range p.parts {
		if len(part) > 0 {
			p.whole = append(p.whole, p.head(i)...)
			p.whole = append(p.whole, part...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.brought)) {
		if b := p.brought[name]; len(b.lines) > 0 {
			p.whole = append(p.whole, b.head(p.openMetrics)...)
			p.whole = append(p.whole, b.lines...)
		}
	}
	if p.openMetrics {
		p.whole = append(p.whole, openMetricsEnd...)
	}
	return p.whole
}

func (p *page) head(series int) string {
	if p.openMetrics {
		return p.series[series].openMetrics
	}
	return p.series[series].text
}

// line appends a line to one of the series; labels are in their braces.
func (p *page) line(series int, labels []byte, v float64) {
	s := &p.series[series]
	if p.take != nil {
		p.take(s.Name, labels, v/s.Divisor)
		return
	}
	line := p.parts[series]
	line = append(line, s.Name...)
	line = append(line, labels...)
	line = append(line, ' ')
	line = p.appendFloat(line, v/s.Divisor)
	p.parts[series] = append(line, '\n')
}

// appendFloat appends a number as expfmt writes it: OpenMetrics tells floats
// from integers, and all of ours are floats.
func (p *page) appendFloat(dst []byte, v float64) []byte {
	start := len(dst)
	switch {
	case v == 0: // minus zero, too
		dst = append(dst, '0')
	case math.IsNaN(v) || math.IsInf(v, 0):
		return strconv.AppendFloat(dst, v, 'g', -1, 64)
	default:
		dst = strconv.AppendFloat(dst, v, 'g', -1, 64)
	}
	if p.openMetrics && !slices.ContainsFunc(dst[start:], func(c byte) bool { return c == '.' || c == 'e' }) {
		dst = append(dst, ".0"...)
	}
	return dst
}

// nodePage writes the series of one node on a page.
type nodePage struct {
	*page
	// common are labels that every line of the node gets, as text.
	common string
	// left is how many series the node may still have.
	left int
	// dropped counts by collector what the limits kept off the page.
	dropped map[string]int
}

// node returns what writes a node that has the page to itself.
func (p *page) node() *nodePage {
	return &nodePage{page: p, left: p.limits.Series, dropped: make(map[string]int)}
}

// oneOf returns what writes a node that the label node tells from others.
func (p *page) oneOf(node string) *nodePage {
	n := p.node()
	n.common = `node="` + n.value(node) + `"`
	return n
}

// value makes the text of a label's value out of any string.
func (p *page) value(s string) string {
	return valueEscaper.Replace(labelValue(s, p.limits.LabelBytes))
}

// reading writes all that a reading of the node gave.
func (n *nodePage) reading(r reading) {
	tables := n.tables(r)
	for i := range n.rows {
		row := &n.rows[i]
		if t, ok := tables[row.Table]; ok {
			n.write(row, &t)
		}
	}
	for _, c := range r.collectors {
		if c.Err == "" {
			n.brings(c)
		}
	}
	n.about(r)
}

// tables makes the tables of a reading fit for the page.
func (n *nodePage) tables(r reading) map[string]table {
	tables := make(map[string]table, 2*len(r.collectors)) // no collector has more
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
	return tables
}

// write adds the series that a table gives for a row of the catalogue.
func (n *nodePage) write(r *row, t *table) {
	var ok bool
	if n.positions, ok = t.positions(n.positions[:0], r.Labels); !ok {
		return
	}
	for i, sample := range r.Samples {
		value, ok := t.compile(sample.Value)
		if !ok {
			continue
		}
		for _, from := range t.rows {
			if v, ok := value.of(from.values); ok {
				n.labels = r.labels[i].appendTo(n.labels[:0], n.common, from.labels, n.positions)
				n.add(r, n.labels, v)
			}
		}
	}
}

// add writes a sample under each of its names, or counts it as dropped when the
// node has too many series.
func (n *nodePage) add(r *row, labels []byte, v float64) {
	for _, series := range r.series {
		if n.left <= 0 {
			n.drop(r.Collector, 1)
			continue
		}
		n.left--
		n.line(series, labels, v)
	}
}

func (n *nodePage) drop(collector string, series int) {
	if series > 0 {
		n.dropped[collector] += series
	}
}

// about writes what the exporter knows of the node and of this scrape. The
// limits do not apply: these series say what the limits did.
func (n *nodePage) about(r reading) {
	n.up(r)
	n.exporter(agentUpName, flag(r.snapshot != nil && !r.snapshot.Agentless))
	for _, state := range States() {
		n.exporter(nodeStateName, flag(state == r.node.State), string(state))
	}
	if r.snapshot == nil {
		return
	}
	n.rabbitMQIdentity(r.node)
	n.exporter(roundTripName, r.snapshot.RoundTrip.Seconds())
	n.exporter(snapshotAgeName, r.age.Seconds())
	n.exporter(snapshotBytesName, float64(r.snapshot.Bytes))
	for _, c := range r.collectors {
		n.outcome(c)
	}
}

// up writes whether the node answered. It has the label family on pages that
// tell nodes apart by labels; on a page of its own a node has it from service
// discovery.
func (n *nodePage) up(r reading) {
	common := n.common
	if common != "" && r.node.Family != "" {
		common += `,family="` + n.value(r.node.Family) + `"`
	}
	up := n.own[upName]
	n.labels = up.labels[0].appendTo(n.labels[:0], common, nil, nil)
	n.line(up.series[0], n.labels, flag(r.snapshot != nil))
}

// outcome writes what came of a collector.
func (n *nodePage) outcome(c snapshot.Collector) {
	n.exporter(durationName, c.Duration.Seconds(), c.Name)
	n.exporter(ageName, c.Age.Seconds(), c.Name)
	n.exporter(successName, flag(c.Err == ""), c.Name)
	n.exporter(shedName, flag(c.Shed), c.Name)
	n.exporter(droppedName, float64(n.dropped[c.Name]), c.Name)
	if c.Failed > 0 || len(c.Families) > 0 {
		n.exporter(failedName, float64(c.Failed), c.Name)
	}
	if c.Missing != "" {
		n.exporter(missingName, 1, c.Name, n.value(c.Missing))
	}
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// inOrder are the positions of values that are in the order of their labels.
var inOrder = [...]int{0, 1, 2}

// exporter writes a series of one of pageFamilies, with the values of its
// labels.
func (n *nodePage) exporter(name string, v float64, values ...string) {
	row := n.own[name]
	n.labels = row.labels[0].appendTo(n.labels[:0], n.common, values, inOrder[:])
	n.line(row.series[0], n.labels, v)
}
