package metrics

import (
	"cmp"
	"slices"

	"github.com/erlops/erlops/exporter/snapshot"
)

// brought is a family that a node brought along, in the making. The page has one
// of each name: on a page of many nodes they share it.
type brought struct {
	name, kind, help string
	lines            []byte
	// seen are the names and labels that the lines have.
	seen map[string]bool
}

// head is the HELP and TYPE lines.
func (b *brought) head(openMetrics bool) string {
	if openMetrics {
		return openMetricsText(b.name, b.help, Type(b.kind))
	}
	return head(b.name, helpEscaper.Replace(b.help), b.kind)
}

// brings writes the metrics that a collector found on the node. Those whose name
// the catalogue has, or another node with another type, are left out, and so is
// what is beyond the limit of one source.
func (n *nodePage) brings(c snapshot.Collector) {
	n.drop(c.Name, c.Dropped)
	left := n.limits.Source
	for i := range c.Families {
		f := &c.Families[i]
		b := n.family(f)
		if b == nil {
			n.drop(c.Name, len(f.Samples))
			continue
		}
		for _, s := range f.Samples {
			if left <= 0 || n.left <= 0 || !n.bring(b, s) {
				n.drop(c.Name, 1)
				continue
			}
			left--
			n.left--
		}
	}
}

// family returns the page's family for one that a node brought; nil when its
// name is taken.
func (p *page) family(f *snapshot.Family) *brought {
	if p.taken(f.Name) {
		return nil
	}
	b, ok := p.brought[f.Name]
	if !ok {
		b = &brought{name: f.Name, kind: f.Type, help: labelValue(f.Help, p.limits.LabelBytes), seen: make(map[string]bool)}
		if p.brought == nil {
			p.brought = make(map[string]*brought)
		}
		p.brought[f.Name] = b
	}
	if b.kind != f.Type {
		return nil
	}
	return b
}

// taken tells whether the layout has the name, or in OpenMetrics the family of
// it.
func (p *page) taken(name string) bool {
	has := func(name string) bool {
		_, found := slices.BinarySearchFunc(p.series, name, func(s series, name string) int { return cmp.Compare(s.Name, name) })
		return found
	}
	return has(name) || has(name+"_total")
}

// bring writes a sample; false when the page has one of the same name and
// labels.
func (n *nodePage) bring(b *brought, s snapshot.Sample) bool {
	n.labels = n.bringLabels(n.labels[:0], s.Labels)
	key := s.Suffix + string(n.labels)
	if b.seen[key] {
		return false
	}
	b.seen[key] = true
	if n.take != nil {
		n.take(b.name+s.Suffix, n.labels, s.Value)
		return true
	}
	b.lines = append(b.lines, b.name...)
	b.lines = append(b.lines, s.Suffix...)
	b.lines = append(b.lines, n.labels...)
	b.lines = append(b.lines, ' ')
	b.lines = n.appendFloat(b.lines, s.Value)
	b.lines = append(b.lines, '\n')
	return true
}

// bringLabels appends labels in braces. The label node is the page's where it has
// one; of labels with one name the first stays.
func (n *nodePage) bringLabels(dst []byte, labels []snapshot.Label) []byte {
	if len(labels) == 0 && n.common == "" {
		return dst
	}
	dst = append(dst, '{')
	dst = append(dst, n.common...)
	for i, l := range labels {
		name := l.Name
		if name == "node" && n.common != "" {
			name = "exported_node"
		}
		if slices.ContainsFunc(labels[:i], func(o snapshot.Label) bool { return o.Name == l.Name }) {
			continue
		}
		if i > 0 || n.common != "" {
			dst = append(dst, ',')
		}
		dst = append(dst, name...)
		dst = append(dst, `="`...)
		dst = append(dst, n.value(l.Value)...)
		dst = append(dst, '"')
	}
	return append(dst, '}')
}
