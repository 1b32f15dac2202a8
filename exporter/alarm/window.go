package alarm

import (
	"slices"
	"strings"
	"time"

	"github.com/erlops/erlops/exporter/snapshot"
)

// Window is what a rule sees of one node at one pulse: this reading, the one
// before, and what it has noted at earlier ones.
type Window struct {
	Node Node
	// Now is when the reading was taken.
	Now time.Time

	snapshot *snapshot.Snapshot
	// before has the values of the last reading that counters are compared
	// with.
	before, after map[string]point
	notes         map[string]*series
	// vip are the names of processes that every node is to have.
	vip []string
}

// carry keeps what was noted under names with a prefix for the next reading,
// where this one cannot tell.
func (w *Window) carry(prefix string) {
	for name, p := range w.before {
		if strings.HasPrefix(name, prefix) {
			w.after[name] = p
		}
	}
}

// point is a number at a moment.
type point struct {
	at    time.Time
	value float64
}

// Row is a row of a table, for rules.
type Row struct {
	table  snapshot.Table
	labels []string
	values []snapshot.Value
}

// Label returns a label of the row; empty when there is none of that name.
func (r Row) Label(name string) string {
	if i := slices.Index(r.table.Labels, name); i >= 0 && i < len(r.labels) {
		return r.labels[i]
	}
	return ""
}

// Value returns a column of the row and whether the node had a number for it.
func (r Row) Value(column string) (float64, bool) {
	i := slices.Index(r.table.Columns, column)
	if i < 0 || i >= len(r.values) || !r.values[i].Valid {
		return 0, false
	}
	return r.values[i].Float, true
}

// Value returns a column of the first row of a table.
func (w *Window) Value(table, column string) (float64, bool) {
	for _, c := range w.snapshot.Collectors {
		// A node may have several tables of one name, with different columns.
		for _, t := range c.Tables {
			if t.Name != table {
				continue
			}
			if v, ok := t.Value(column); ok {
				return v, true
			}
		}
	}
	return 0, false
}

// Rows returns all rows of a table and whether there is one.
func (w *Window) Rows(table string) ([]Row, bool) {
	t, ok := w.snapshot.Table(table)
	if !ok {
		return nil, false
	}
	rows := make([]Row, len(t.Rows))
	for i, r := range t.Rows {
		rows[i] = Row{table: t, labels: r.Labels, values: r.Values}
	}
	return rows, true
}

// Percent returns a column as a share of another one, from 0 to 100.
func (w *Window) Percent(table, column, of string) (float64, bool) {
	part, ok := w.Value(table, column)
	whole, known := w.Value(table, of)
	if !ok || !known || whole <= 0 {
		return 0, false
	}
	return 100 * part / whole, true
}

// Rate returns by how much a number has grown a second since the reading
// before. There is none at the first reading, or when the number went down: the
// node was started again. The name tells numbers apart.
func (w *Window) Rate(name string, value float64) (float64, bool) {
	w.after[name] = point{w.Now, value}
	last, ok := w.before[name]
	seconds := w.Now.Sub(last.at).Seconds()
	if !ok || seconds <= 0 || value < last.value {
		return 0, false
	}
	return (value - last.value) / seconds, true
}

// maxNotes bounds what is noted of a node under names of its own making, such
// as peers.
const maxNotes = 512

// note remembers a number for as long as age, and returns what is remembered:
// the series of at most 120 points, this one included.
func (w *Window) note(name string, value float64, age time.Duration) *series {
	s, ok := w.notes[name]
	if !ok {
		s = &series{}
		if len(w.notes) >= maxNotes {
			return s // of one point, so that nothing follows from it
		}
		w.notes[name] = s
	}
	s.add(point{w.Now, value}, age)
	return s
}

// Increase returns by how much a counter has grown in the last while, and
// whether it was watched for that long. A counter that starts anew counts from
// zero.
func (w *Window) Increase(name string, value float64, while time.Duration) (float64, bool) {
	s := w.note(name, value, while+time.Minute)
	return s.increase(w.Now.Add(-while))
}

// seriesPoints bounds a series.
const seriesPoints = 120

// series is a number over time, the oldest point first.
type series struct {
	points []point
	last   point // the newest of all, also when it is too near to be kept
}

// add appends a point unless one within age/seriesPoints is there, and drops
// what is older than age.
func (s *series) add(p point, age time.Duration) {
	s.last = p
	oldest := p.at.Add(-age)
	s.points = slices.DeleteFunc(s.points, func(q point) bool { return q.at.Before(oldest) })
	if n := len(s.points); n > 0 && p.at.Sub(s.points[n-1].at) < age/seriesPoints {
		return
	}
	s.points = append(s.points, p)
}

// since returns the points from a time on, the newest included, and whether
// the series reaches back to it, give or take a tenth.
func (s *series) since(t time.Time) (points []point, whole bool) {
	if len(s.points) == 0 {
		return nil, false
	}
	slack := s.last.at.Sub(t) / 10
	i := slices.IndexFunc(s.points, func(p point) bool { return !p.at.Before(t.Add(-slack)) })
	if i < 0 {
		return []point{s.last}, false
	}
	points = slices.Clone(s.points[i:])
	if points[len(points)-1].at.Before(s.last.at) {
		points = append(points, s.last)
	}
	return points, !points[0].at.After(t.Add(slack))
}

// increase sums up the growth since a time; going down is starting at zero.
func (s *series) increase(t time.Time) (float64, bool) {
	points, whole := s.since(t)
	sum := 0.0
	for i := 1; i < len(points); i++ {
		if d := points[i].value - points[i-1].value; d >= 0 {
			sum += d
		} else {
			sum += points[i].value
		}
	}
	return sum, whole
}

// grows tells whether the number has gone up over the time since t, and never
// far down within it: each third of the time is higher than the one before.
func (s *series) grows(t time.Time) bool {
	points, whole := s.since(t)
	if !whole || len(points) < 6 {
		return false
	}
	third := len(points) / 3
	mean := func(p []point) float64 {
		sum := 0.0
		for _, x := range p {
			sum += x.value
		}
		return sum / float64(len(p))
	}
	a, b, c := mean(points[:third]), mean(points[third:2*third]), mean(points[2*third:])
	return a < b && b < c
}

// slope is the growth a second since t by least squares, as predict_linear of
// Prometheus has it, and whether the series is long enough to tell.
func (s *series) slope(t time.Time) (float64, bool) {
	points, whole := s.since(t)
	if !whole || len(points) < 6 {
		return 0, false
	}
	var sumX, sumY, sumXY, sumXX float64
	for _, p := range points {
		x := p.at.Sub(points[0].at).Seconds()
		sumX, sumY, sumXY, sumXX = sumX+x, sumY+p.value, sumXY+x*p.value, sumXX+x*x
	}
	n := float64(len(points))
	divisor := n*sumXX - sumX*sumX
	if divisor == 0 {
		return 0, false
	}
	return (n*sumXY - sumX*sumY) / divisor, true
}
