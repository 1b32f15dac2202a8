package graphite

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Protocol is how points are sent.
type Protocol string

// The protocols of Carbon. Their usual ports are 2003 and 2004.
const (
	Plaintext Protocol = "plaintext"
	Pickle    Protocol = "pickle"
)

const (
	// maxPath is the longest path or name with tags: Carbon reads lines of at most
	// 16 KiB.
	maxPath = 8 << 10
	// maxElement is the longest element of a path, which becomes a file name, and
	// the longest value of a tag, which becomes a column of a database.
	maxElement = 250
	// batchPoints is how many points are in one batch: with the longest paths, a
	// message of the pickle protocol may have a megabyte.
	batchPoints = 500
	batchBytes  = 512 << 10
)

// Reading is what one node told at one time.
type Reading struct {
	Node, Family string
	// Labels are those of the node.
	Labels map[string]string
	Points []Point
}

// Point is one series with its value.
type Point struct {
	Metric string
	Labels []Label
	Value  float64
}

// Label is a label of a Point; its name is a valid one.
type Label struct{ Name, Value string }

// encoder makes batches of readings.
type encoder struct {
	protocol Protocol
	template *Template // nil for tags
	prefix   string
	tags     map[string]string
}

// encoded is what became of a reading.
type encoded struct {
	batches           []*batch
	tooLong, noNumber int
}

// encode makes batches of the wanted points of a reading.
func (e *encoder) encode(r *Reading, at time.Time, wanted func(metric string) bool) encoded {
	var out encoded
	var name []byte
	m := e.message(at)
	for i := range r.Points {
		p := &r.Points[i]
		if !wanted(p.Metric) {
			continue
		}
		if math.IsNaN(p.Value) || math.IsInf(p.Value, 0) {
			out.noNumber++
			continue
		}
		var ok bool
		if name, ok = e.name(name[:0], r, p); !ok {
			out.tooLong++
			continue
		}
		if m.points >= batchPoints || len(m.body)+len(name) > batchBytes {
			out.batches = append(out.batches, m.batch())
			m = e.message(at)
		}
		m.add(name, p.Value)
	}
	if m.points > 0 {
		out.batches = append(out.batches, m.batch())
	}
	return out
}

// name appends the path of a series or its name with tags; false when it is too
// long.
func (e *encoder) name(dst []byte, r *Reading, p *Point) ([]byte, bool) {
	if e.template != nil {
		dst = e.template.path(dst, r, p)
		for element := range strings.SplitSeq(string(dst), ".") {
			if len(element) > maxElement {
				return dst, false
			}
		}
		return dst, len(dst) <= maxPath
	}
	dst = append(append(dst, e.prefix...), p.Metric...)
	own := e.nodeTags(r)
	all := make([]Label, 0, len(own)+len(p.Labels))
	all = append(all, own...)
	for _, l := range p.Labels {
		taken := func(o Label) bool { return o.Name == l.Name }
		if l.Name == "name" || slices.ContainsFunc(own, taken) {
			l.Name = "exported_" + l.Name // name is what Graphite calls the metric itself
		}
		all = append(all, l)
	}
	for _, l := range all {
		if l.Value == "" {
			continue
		}
		if len(l.Value) > maxElement {
			return dst, false
		}
		dst = append(append(append(dst, ';'), l.Name...), '=')
		dst = appendTag(dst, l.Value)
	}
	return dst, len(dst) <= maxPath
}

// nodeTags are the tags that all series of a node have, by name.
func (e *encoder) nodeTags(r *Reading) []Label {
	all := make(map[string]string, len(e.tags)+len(r.Labels)+2)
	for _, from := range []map[string]string{e.tags, r.Labels, {"node": r.Node, "family": r.Family}} {
		for name, value := range from {
			if name == "name" {
				name = "exported_name"
			}
			all[name] = value
		}
	}
	tags := make([]Label, 0, len(all))
	for name, value := range all {
		tags = append(tags, Label{name, value})
	}
	slices.SortFunc(tags, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
	return tags
}

// appendTag appends the value of a tag. Graphite ends it at a semicolon, and a
// line at a space; a tilde in front would be an operator.
func appendTag(dst []byte, s string) []byte {
	for i, r := range s {
		if r == ';' || r <= ' ' || r >= 0x7f && r <= 0xa0 || i == 0 && r == '~' {
			r = '_'
		}
		dst = append(dst, string(r)...)
	}
	return dst
}

// message is a batch in the making.
type message struct {
	protocol Protocol
	at       time.Time
	body     []byte
	points   int
}

func (e *encoder) message(at time.Time) *message {
	m := &message{protocol: e.protocol, at: at}
	if e.protocol == Pickle {
		m.body = append(m.body, 0, 0, 0, 0) // the length, at the end
		m.body = append(m.body, pickleBegin...)
	}
	return m
}

// Operations of pickle's protocol 2: a list of (name, (time, value)).
const (
	pickleBegin   = "\x80\x02](" // PROTO 2, EMPTY_LIST, MARK
	pickleEnd     = "e."         // APPENDS, STOP
	pickleUnicode = 'X'
	pickleInt     = 'J'
	pickleFloat   = 'G'
	pickleTuple2  = '\x86'
)

func (m *message) add(name []byte, value float64) {
	m.points++
	seconds := m.at.Unix()
	if m.protocol == Plaintext {
		m.body = append(append(m.body, name...), ' ')
		m.body = strconv.AppendFloat(m.body, value, 'g', -1, 64)
		m.body = strconv.AppendInt(append(m.body, ' '), seconds, 10)
		m.body = append(m.body, '\n')
		return
	}
	m.body = append(m.body, pickleUnicode)
	m.body = binary.LittleEndian.AppendUint32(m.body, uint32(len(name)))
	m.body = append(m.body, name...)
	if seconds <= math.MaxInt32 {
		m.body = append(m.body, pickleInt)
		m.body = binary.LittleEndian.AppendUint32(m.body, uint32(seconds))
	} else {
		m.body = appendPickleFloat(m.body, float64(seconds))
	}
	m.body = appendPickleFloat(m.body, value)
	m.body = append(m.body, pickleTuple2, pickleTuple2)
}

func appendPickleFloat(dst []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, pickleFloat), math.Float64bits(v))
}

func (m *message) batch() *batch {
	if m.protocol == Pickle {
		m.body = append(m.body, pickleEnd...)
		binary.BigEndian.PutUint32(m.body, uint32(len(m.body)-4))
	}
	return &batch{data: slices.Clip(m.body), points: m.points, at: m.at}
}
