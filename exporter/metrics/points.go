package metrics

import (
	"context"
	"strings"
	"time"

	"github.com/erlops/erlops/exporter/snapshot"
)

// Point is one series of a node's page, with its value. Values are as on the
// page, NaN and infinite ones among them.
type Point struct {
	Name   string
	Labels []snapshot.Label
	Value  float64
}

// PointsRequest says what is wanted of a node.
type PointsRequest struct {
	// Collectors are those to read; all that are on when empty.
	Collectors []string
	// Fresh is how old a shared reading may be, at most a second, which is the
	// default.
	Fresh time.Duration
	// AllNames gives what has two names under both, whatever the settings say.
	AllNames bool
}

// Points are what a probe would have told of a node.
type Points struct {
	Node Node
	// Taken is when the node answered; zero when it is not up or did not.
	Taken time.Time
	// Reason says as a label value why there is no reading, or only an old one.
	Reason string
	Points []Point
	// Brought says of metrics that are in no catalogue where they come from.
	Brought map[string]Origin
	// Failed are the collectors that failed, and why.
	Failed map[string]string
	// Dropped is how many series a limit left out.
	Dropped int
}

// Origin is where a metric comes from that a node brought along.
type Origin struct {
	Collector string
	// Entry is the printed name that its library has for it, if it has one.
	Entry string
}

// Points reads a node as a probe does and gives the series one by one; false
// when there is no such node. It blocks until the node answered or ctx is done:
// the time of a scrape is the caller's to set.
func (h *Handler) Points(ctx context.Context, name string, r PointsRequest) (Points, bool) {
	node, ok := h.fleet.Node(name)
	if !ok {
		return Points{}, false
	}
	settings := h.settings.Load()
	names := settings.Names
	if r.AllNames {
		names = NamesBoth
	}
	got := h.read(ctx, h.logger.With("node", name), node, snapshot.Request{Collectors: r.Collectors, Fresh: r.Fresh})
	out := Points{Node: node, Reason: got.reason, Failed: map[string]string{}, Brought: map[string]Origin{}}
	if got.snapshot != nil {
		out.Taken = got.snapshot.Taken
	}
	for _, c := range got.collectors {
		if c.Err != "" {
			out.Failed[c.Name] = c.Err
		}
		for i := range c.Families {
			f := &c.Families[i]
			for _, s := range f.Samples {
				out.Brought[f.Name+s.Suffix] = Origin{Collector: c.Name, Entry: f.Entry}
			}
		}
	}
	p := h.layouts[form{names, settings.RabbitMQIdentity}].page(settings.Limits, false)
	defer p.release()
	p.take = func(name string, labels []byte, v float64) {
		out.Points = append(out.Points, Point{Name: name, Labels: parseLabels(labels), Value: v})
	}
	n := p.node()
	n.reading(got)
	for _, dropped := range n.dropped {
		out.Dropped += dropped
	}
	return out, true
}

// NodeNames are those of all known nodes, whatever their state.
func (h *Handler) NodeNames() []string {
	nodes := h.fleet.Nodes()
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.Name
	}
	return names
}

// Find returns the row of the catalogue with a name, of either generation; what
// nodes bring along is in none.
func Find(name string) (Family, bool) {
	for _, f := range Catalogue() {
		for _, s := range f.Series(NamesBoth) {
			if s.Name == name {
				return f, true
			}
		}
	}
	return Family{}, false
}

// parseLabels reads the label part of a line as this package writes it.
func parseLabels(text []byte) []snapshot.Label {
	if len(text) < 2 {
		return nil
	}
	rest := string(text[1 : len(text)-1])
	var labels []snapshot.Label
	for rest != "" {
		name, quoted, _ := strings.Cut(rest, `="`)
		end := closingQuote(quoted)
		labels = append(labels, snapshot.Label{Name: name, Value: valueUnescaper.Replace(quoted[:end])})
		rest = strings.TrimPrefix(quoted[min(end+1, len(quoted)):], ",")
	}
	return labels
}

// closingQuote finds the end of a value.
func closingQuote(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(s)
}

// valueUnescaper takes back what valueEscaper did.
var valueUnescaper = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\"`, `"`)
