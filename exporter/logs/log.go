package logs

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	defaultKeep      = 10_000
	defaultKeepBytes = 64 << 20
)

// Sink takes what is published to somewhere else. Add is called with entries in
// the order in which they are published, one call at a time. It keeps nothing
// of the slice, may wait for a disk and must not wait for a network.
type Sink interface {
	Add(entries []Entry)
}

// Options of a Log.
type Options struct {
	// Keep is how many entries are kept in memory (10,000), and KeepBytes what
	// they may take there, about (64 MiB).
	Keep      int
	KeepBytes int
	// Sinks get everything.
	Sinks []Sink
	// Registerer gets the metrics of this package; nil for none.
	Registerer prometheus.Registerer
	// Now is the clock (time.Now).
	Now func() time.Time
}

// Log is the stream of entries. Its methods may be called concurrently.
type Log struct {
	keep, keepBytes int
	epoch           string // of this process: ids of another one mean nothing
	sinks           []Sink
	published       *prometheus.CounterVec

	// publishing makes the sinks see the order of the ring.
	publishing sync.Mutex

	mu      sync.Mutex
	ring    []Entry
	first   uint64 // number of the oldest entry that is kept; the first ever is 1
	next    uint64
	bytes   int
	since   time.Time     // from when on everything is kept
	changed chan struct{} // closed and replaced when there is something new
	closed  bool

	last atomic.Uint64 // tells entries of one microsecond apart
}

// New makes a Log and registers its metrics.
func New(o Options) (*Log, error) {
	if o.Keep < 0 || o.KeepBytes < 0 {
		return nil, errors.New("exporter/logs: Options.Keep and KeepBytes must not be negative")
	}
	if o.Keep == 0 {
		o.Keep = defaultKeep
	}
	if o.KeepBytes == 0 {
		o.KeepBytes = defaultKeepBytes
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	l := &Log{
		keep: o.Keep, keepBytes: o.KeepBytes, epoch: hex.EncodeToString(b[:]), sinks: o.Sinks,
		published: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "erlang_exporter_notifications_total",
			Help: "Log entries and other notifications of nodes, by source and level.",
		}, []string{"source", "level"}),
		ring: make([]Entry, o.Keep), first: 1, next: 1, since: o.Now(), changed: make(chan struct{}),
	}
	if o.Registerer != nil {
		if err := o.Registerer.Register(l.published); err != nil {
			return nil, fmt.Errorf("exporter/logs: register metrics: %w", err)
		}
	}
	return l, nil
}

// Publish appends entries to the stream. It returns when all sinks have them,
// so that a publisher can only be as fast as the slowest disk.
func (l *Log) Publish(entries ...Entry) {
	if len(entries) == 0 {
		return
	}
	l.publishing.Lock()
	defer l.publishing.Unlock()
	for _, s := range l.sinks {
		s.Add(entries)
	}
	for _, e := range entries {
		l.published.WithLabelValues(string(e.Source), e.Level.String()).Inc()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		l.append(e)
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Log) append(e Entry) {
	l.bytes += e.size()
	for l.first < l.next && (l.next-l.first >= uint64(l.keep) || l.bytes > l.keepBytes) {
		oldest := &l.ring[l.first%uint64(l.keep)]
		l.bytes -= oldest.size()
		l.since = oldest.Time
		*oldest = Entry{}
		l.first++
	}
	l.ring[l.next%uint64(l.keep)] = e
	l.next++
}

// Close ends all who follow.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

// Numbered is an entry with its place in the stream.
type Numbered struct {
	Entry
	// ID is the same for all readers, as long as the process runs.
	ID string
}

func (l *Log) id(number uint64) string { return l.epoch + "-" + strconv.FormatUint(number, 10) }

// number is the number of an id, and whether it is one of this process.
func (l *Log) number(id string) (uint64, bool) {
	epoch, digits, _ := strings.Cut(id, "-")
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && epoch == l.epoch
}

// ErrUnknownID is the error of an id that is not, or no longer, known.
var ErrUnknownID = errors.New("no entry with this id is kept; the exporter was started anew, or it is too old")

// Last returns the last entries that match, the newest first, at most limit of
// them, and the id to go on with, which is empty when there are no more. Before
// is such an id, or empty.
func (l *Log) Last(f Filter, limit int, before string) (entries []Numbered, more string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := l.next
	if before != "" {
		n, ok := l.number(before)
		if !ok || n < l.first || n > l.next {
			return nil, "", ErrUnknownID
		}
		from = n
	}
	for n := from; n > l.first; n-- {
		e := l.ring[(n-1)%uint64(l.keep)]
		if !f.Match(e) {
			continue
		}
		if len(entries) == limit {
			return entries, l.id(n), nil
		}
		entries = append(entries, Numbered{Entry: e, ID: l.id(n - 1)})
	}
	return entries, "", nil
}

// KeptSince returns from when on all entries are kept: the time when the Log was
// made, or that of the last one that it no longer has.
func (l *Log) KeptSince() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.since
}

// Start returns where to begin to Read: after the entry with this id, or at
// what comes next when it is empty. An id that is not known is a place that
// Read takes for missed.
func (l *Log) Start(after string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if after == "" {
		return l.next
	}
	if n, ok := l.number(after); ok && n < l.next {
		return n + 1
	}
	return 0
}

// maxRead is how many entries one Read looks at.
const maxRead = 1000

// Reading is what Read returns.
type Reading struct {
	Entries []Numbered
	// Next is where to go on.
	Next uint64
	// Missed is whether entries before these are no longer kept.
	Missed bool
	// Changed is closed when there is more to read; nil when there is already.
	Changed <-chan struct{}
	// Closed is whether nothing will come any more.
	Closed bool
}

// Read returns the entries from a place on that match. It does not block.
func (l *Log) Read(from uint64, f Filter) Reading {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := Reading{Closed: l.closed}
	if from < l.first {
		r.Missed, from = true, l.first
	}
	r.Next = min(l.next, from+maxRead)
	for n := from; n < r.Next; n++ {
		if e := l.ring[n%uint64(l.keep)]; f.Match(e) {
			r.Entries = append(r.Entries, Numbered{Entry: e, ID: l.id(n)})
		}
	}
	if r.Next == l.next {
		r.Changed = l.changed
	}
	return r
}

// Unique gives a number that tells entries of one node apart which bear the
// same microsecond: 0 to 999, in turn. Loki takes entries of one stream with the
// same time and text for one.
func (l *Log) Unique() int64 { return int64(l.last.Add(1) % 1000) }
