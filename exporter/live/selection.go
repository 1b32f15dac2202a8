package live

import (
	"fmt"
	"slices"
	"strings"
)

// entryPrefixes are how metrics are named as their libraries name them:
// folsom:requests, exometer:[web,hits].
var entryPrefixes = []string{"folsom:", "exometer:"}

// selection is which metrics a watcher wants.
type selection struct {
	key   string
	wants []want
}

// want is one of them.
type want struct {
	index int // among those that were asked for
	text  string
	// entry is the printed name in library; empty for the name of a metric.
	library, entry string
	// collector is where it comes from; empty as long as that is not known.
	collector string
}

func newSelection(source Source, metrics []string) (*selection, error) {
	s := &selection{}
	if len(metrics) == 0 || len(metrics) > MaxMetrics {
		return nil, &InvalidError{0, fmt.Sprintf("name from 1 to %d metrics", MaxMetrics)}
	}
	for i, text := range metrics {
		w := want{index: i, text: text}
		for _, prefix := range entryPrefixes {
			if entry, ok := strings.CutPrefix(text, prefix); ok {
				w.library = strings.TrimSuffix(prefix, ":")
				w.entry, w.collector = entry, w.library
			}
		}
		if w.library == "" {
			collector, expensive, known := source.Collector(text)
			if expensive {
				return nil, &InvalidError{i, expensiveReason(text)}
			}
			if known {
				w.collector = collector
			}
		}
		if text == "" || w.library != "" && w.entry == "" {
			return nil, &InvalidError{i, "a name is empty"}
		}
		if !slices.ContainsFunc(s.wants, func(o want) bool { return o.text == text }) {
			s.wants = append(s.wants, w)
		}
	}
	slices.SortFunc(s.wants, func(a, b want) int { return strings.Compare(a.text, b.text) })
	for _, w := range s.wants {
		s.key += w.text + "\n"
	}
	return s, nil
}

func expensiveReason(metric string) string {
	return fmt.Sprintf("%s comes from a scan of all processes or all memory of the node, which is not done every second: "+
		"its page (/probe) has what the last scan found", metric)
}

// searching tells whether some of the metrics have not been found yet.
func (s *selection) searching() bool {
	return slices.ContainsFunc(s.wants, func(w want) bool { return w.collector == "" })
}

// collectors are those that are known to be needed, never none: that would mean
// all.
func (s *selection) collectors() []string {
	var all []string
	for _, w := range s.wants {
		if w.collector != "" && !slices.Contains(all, w.collector) {
			all = append(all, w.collector)
		}
	}
	if len(all) == 0 {
		return []string{Itself}
	}
	return all
}

// resolve finds out where metrics come from that are in no catalogue, in a
// reading of all collectors. It returns an *InvalidError for one that is not
// there, or expensive.
func (s *selection) resolve(source Source, r Reading) error {
	var first error
	for i := range s.wants {
		w := &s.wants[i]
		found := slices.IndexFunc(r.Metrics, func(m Metric) bool { return w.matches(&m) })
		var reason string
		switch {
		case found >= 0 && w.collector == "":
			if source.IsExpensive(r.Metrics[found].Collector) {
				reason = expensiveReason(w.text)
			} else {
				w.collector = r.Metrics[found].Collector
			}
		case found < 0 && w.collector == "":
			reason = fmt.Sprintf("%q is neither in the catalogue (docs/metrics.md) nor does the node have it now", w.text)
		case found < 0 && w.entry != "":
			reason = fmt.Sprintf("%s has no metric %q on this node", w.library, w.entry)
		}
		if reason != "" && first == nil {
			first = &InvalidError{w.index, reason}
		}
	}
	return first
}

func (w *want) matches(m *Metric) bool {
	if w.entry != "" {
		return m.Collector == w.library && m.Entry == w.entry
	}
	return m.Name == w.text
}

// event makes of a reading what is told of it.
func (s *selection) event(r Reading) *Event {
	e := &Event{Type: Numbers, Time: r.Taken, State: r.State, Metrics: []Metric{}}
	for i := range s.wants {
		w := &s.wants[i]
		before := len(e.Metrics)
		for _, m := range r.Metrics {
			if w.matches(&m) {
				e.Metrics = append(e.Metrics, m)
			}
		}
		if why, failed := r.Failed[w.collector]; failed {
			if e.Failed == nil {
				e.Failed = map[string]string{}
			}
			e.Failed[w.collector] = why
		}
		if len(e.Metrics) == before {
			e.Missing = append(e.Missing, w.text)
		}
	}
	return e
}
