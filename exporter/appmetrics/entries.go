package appmetrics

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/erlops/erlops/exporter/snapshot"
)

// Rules say what the libraries do not know of their entries. Patterns are
// matched against the printed names.
type Rules struct {
	// Counters are entries that only grow.
	Counters []*regexp.Regexp
	Units    []Unit
}

// Unit is what entries are measured in.
type Unit struct {
	Match *regexp.Regexp
	// Name is the unit that is shown, at the end of the metric's name.
	Name string
	// Divide is what values are divided by to have that unit; 0 means 1.
	Divide float64
}

// Entry is one metric of a library as it gave it.
type Entry struct {
	// Name is the printed term.
	Name string
	// Type is the library's: counter, histogram, spiral.
	Type   string
	Values []Value
}

// Value is a data point of an entry.
type Value struct {
	Point string
	Float float64
}

// Families makes metric families of a library's entries, in the order of their
// names. It tells how many series are left out because others have their names.
func Families(library string, entries []Entry, rules Rules) (families []snapshot.Family, dropped int) {
	m := &maker{byName: make(map[string]*snapshot.Family), owners: make(map[string]string)}
	// Of those with one name, the one whose own it is comes first.
	sorted := slices.SortedFunc(slices.Values(entries), func(a, b Entry) int {
		return cmp.Or(cmp.Compare(changed(a), changed(b)), cmp.Compare(a.Name, b.Name))
	})
	for _, e := range sorted {
		m.entry(library, e, rules)
	}
	for _, f := range m.byName {
		families = append(families, *f)
	}
	slices.SortFunc(families, func(a, b snapshot.Family) int { return cmp.Compare(a.Name, b.Name) })
	return families, m.dropped
}

// changed is 1 when the name of an entry has to be changed for a metric, else 0.
func changed(e Entry) int {
	if name, _ := metricName(e.Name); name == e.Name {
		return 0
	}
	return 1
}

// maker collects families.
type maker struct {
	byName map[string]*snapshot.Family
	// owners are the entries that families were made for first.
	owners  map[string]string
	dropped int
}

// subject is an entry in the making.
type subject struct {
	*maker
	library, entry, base, unit string
	labels                     []snapshot.Label
	divide                     float64
	counter                    bool
}

func (m *maker) entry(library string, e Entry, rules Rules) {
	name, lossless := metricName(e.Name)
	s := subject{maker: m, library: library, entry: e.Name, base: library + "_" + name, divide: 1}
	if !lossless {
		s.labels = []snapshot.Label{{Name: "name", Value: e.Name}}
	}
	// Folsom measures durations in microseconds.
	if library == snapshot.Folsom && e.Type == "duration" {
		s.unit, s.divide = "seconds", 1e6
	}
	if i := slices.IndexFunc(rules.Units, func(u Unit) bool { return u.Match.MatchString(e.Name) }); i >= 0 {
		s.unit, s.divide = rules.Units[i].Name, cmp.Or(rules.Units[i].Divide, 1)
	}
	s.counter = slices.ContainsFunc(rules.Counters, func(p *regexp.Regexp) bool { return p.MatchString(e.Name) })
	s.add(e)
}

func (s *subject) add(e Entry) {
	points := make(map[string]float64, len(e.Values))
	for _, v := range e.Values {
		points[v.Point] = v.Float
	}
	switch e.Type {
	case "counter", "gauge", "fast_counter":
		if v, ok := points["value"]; ok {
			s.value(v, s.counter || e.Type == "fast_counter")
		}
	case "histogram", "duration":
		s.distribution(withoutZeros(points))
		s.count(points)
	case "uniform":
		for _, p := range sortedPoints(points) {
			if q, ok := quantile(p); ok {
				s.put("", "gauge", points[p]/s.divide, snapshot.Label{Name: "quantile", Value: q})
			}
		}
		s.extremes(points)
	case "meter", "meter_reader", "spiral":
		s.count(points)
		s.rates(e.Type, points)
	default:
		for _, p := range sortedPoints(points) {
			s.put("", "gauge", points[p]/s.divide, snapshot.Label{Name: "datapoint", Value: p})
		}
	}
}

// value adds a single number.
func (s *subject) value(v float64, counter bool) {
	if counter {
		s.put("_total", "counter", v/s.divide)
		return
	}
	s.put("", "gauge", v/s.divide)
}

// withoutZeros leaves out what an empty sample has: all of it is zero, which looks
// like a value.
func withoutZeros(points map[string]float64) map[string]float64 {
	if n, ok := points["n"]; !ok || n > 0 {
		return points
	}
	last, ok := points["last"]
	if !ok || points["count"] == 0 {
		return nil
	}
	return map[string]float64{"last": last}
}

// count adds how often something happened since the entry was made. n is of the
// sample that quantiles are made of, goes up and down, and tells nothing.
func (s *subject) count(points map[string]float64) {
	if v, ok := points["count"]; ok {
		s.unitless().put("_total", "counter", v)
	}
}

func (s *subject) unitless() *subject {
	without := *s
	without.unit = ""
	return &without
}

// distribution adds quantiles of the library's present sample: neither their
// count nor their sum is one of all observations, so there is none.
func (s *subject) distribution(points map[string]float64) {
	for _, p := range sortedPoints(points) {
		if q, ok := quantile(p); ok {
			s.put("", "summary", points[p]/s.divide, snapshot.Label{Name: "quantile", Value: q})
		}
	}
	s.extremes(points)
}

func (s *subject) extremes(points map[string]float64) {
	for _, p := range []string{"min", "max", "mean", "last"} {
		if v, ok := points[p]; ok {
			named := *s
			named.base += "_" + p
			named.put("", "gauge", v/s.divide)
		}
	}
}

// windows are the averages that libraries keep, by the time they are over.
var windows = []struct{ point, window string }{
	{"one", "1m"}, {"five", "5m"}, {"fifteen", "15m"}, {"day", "1d"}, {"mean", "all"},
}

// rates adds events a second; of a spiral, events in the window.
func (s *subject) rates(kind string, points map[string]float64) {
	suffix := "_rate"
	if kind == "spiral" {
		suffix = "_in_window"
	}
	for _, w := range windows {
		if v, ok := points[w.point]; ok {
			s.unitless().put(suffix, "gauge", v, snapshot.Label{Name: "window", Value: w.window})
		}
	}
}

// put adds a sample to the family of the subject's name with a suffix. A second
// entry of that name is told apart by a label.
func (s *subject) put(suffix, kind string, v float64, labels ...snapshot.Label) {
	name := s.base
	if s.unit != "" && !strings.HasSuffix(name, "_"+s.unit) {
		name += "_" + s.unit
	}
	if suffix != "_total" || !strings.HasSuffix(name, suffix) {
		name += suffix
	}
	f, ok := s.byName[name]
	if !ok {
		f = &snapshot.Family{Name: name, Type: kind, Help: helpOf(s.library, s.entry, len(s.labels) > 0), Entry: s.entry}
		s.byName[name], s.owners[name] = f, s.entry
	}
	if f.Type != kind {
		s.dropped++
		return
	}
	all := slices.Concat(s.labels, labels)
	if s.owners[name] != s.entry && len(s.labels) == 0 {
		all = append([]snapshot.Label{{Name: "name", Value: s.entry}}, labels...)
	}
	f.Samples = append(f.Samples, snapshot.Sample{Labels: all, Value: v})
}

// helpOf says where a family comes from; the printed name of an entry that has
// it as a label stands there.
func helpOf(library, entry string, labelled bool) string {
	title := map[string]string{snapshot.Folsom: "Folsom", snapshot.Exometer: "Exometer"}[library]
	if labelled {
		return "Metric of " + title + "."
	}
	return "Metric " + entry + " of " + title + "."
}

func sortedPoints(points map[string]float64) []string {
	names := make([]string, 0, len(points))
	for p := range points {
		names = append(names, p)
	}
	slices.Sort(names)
	return names
}

// quantile reads the name of a percentile: 50 is 0.5, 999 is 0.999.
func quantile(point string) (string, bool) {
	if point == "" || strings.Trim(point, "0123456789") != "" {
		return "", false
	}
	q := strings.TrimRight(point, "0")
	if q == "" {
		return "0", true
	}
	return "0." + q, true
}

// plain are printed terms that names can be made of without a loss: a word, or a
// list or tuple of words and numbers.
var plain = regexp.MustCompile(`^(?:[a-zA-Z0-9_]+|\[[a-zA-Z0-9_]+(?:,[a-zA-Z0-9_]+)*\]|\{[a-zA-Z0-9_]+(?:,[a-zA-Z0-9_]+)*\})$`)

// impossible are runs of what a metric may not have in its name.
var impossible = regexp.MustCompile(`[^a-zA-Z0-9_]+`)

// maxName is the longest part of a name that is made of an entry's.
const maxName = 200

// metricName makes a part of a metric's name out of a printed term, and tells
// whether nothing is lost by that.
func metricName(printed string) (name string, lossless bool) {
	name = strings.Trim(impossible.ReplaceAllString(printed, "_"), "_")
	lossless = plain.MatchString(printed) && len(name) <= maxName
	if len(name) > maxName {
		name = name[:maxName]
	}
	if name == "" {
		return "metric", false
	}
	return name, lossless
}
