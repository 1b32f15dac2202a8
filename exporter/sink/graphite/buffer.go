package graphite

import (
	"sync"
	"time"
)

// batch is some points in the form in which they are sent.
type batch struct {
	data   []byte
	points int
	at     time.Time // of its points
	sent   time.Time // zero before it has arrived
}

// buffer holds batches that wait, and behind them those that have arrived a short
// time ago: they are sent again when Carbon turns out to have gone. It is
// bounded; the oldest go first.
type buffer struct {
	max    int64
	resend time.Duration
	wake   chan struct{} // has one when something was added

	mu      sync.Mutex
	batches []*batch
	// next is the index of the first that waits, bytes the size of all, and gone
	// how many have left the buffer since the start.
	next  int
	bytes int64
	gone  int
}

func newBuffer(size int64, resend time.Duration) *buffer {
	return &buffer{max: size, resend: resend, wake: make(chan struct{}, 1)}
}

// add appends batches and returns how many points had to go for them.
func (b *buffer) add(batches []*batch, now time.Time) (dropped int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, more := range batches {
		b.batches = append(b.batches, more)
		b.bytes += int64(len(more.data))
	}
	b.forget(now)
	for b.bytes > b.max && len(b.batches) > 0 {
		if b.batches[0].sent.IsZero() {
			dropped += b.batches[0].points
		}
		b.shift()
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return dropped
}

// forget lets go of what has arrived long ago.
func (b *buffer) forget(now time.Time) {
	for b.next > 0 && now.Sub(b.batches[0].sent) > b.resend {
		b.shift()
	}
}

func (b *buffer) shift() {
	b.bytes -= int64(len(b.batches[0].data))
	b.batches[0] = nil
	b.batches = b.batches[1:]
	b.next = max(b.next-1, 0)
	b.gone++
}

// group are batches that are sent together.
type group struct {
	batches []*batch
	first   int // the number of the first since the start
}

// take returns the next batches, of about the given size; they stay in the
// buffer.
func (b *buffer) take(size int) group {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := group{first: b.gone + b.next}
	for _, waiting := range b.batches[b.next:] {
		if len(g.batches) > 0 && size < len(waiting.data) {
			break
		}
		size -= len(waiting.data)
		g.batches = append(g.batches, waiting)
	}
	return g
}

// arrived notes that a group has arrived. It returns how many points arrived for
// the first time, and how many once more; those that had to leave the buffer
// meanwhile are counted as dropped already.
func (b *buffer) arrived(g group, now time.Time) (first, again int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, sent := range g.batches {
		if g.first+i < b.gone {
			continue
		}
		if sent.sent.IsZero() {
			first += sent.points
		} else {
			again += sent.points
		}
		sent.sent = now
	}
	b.next = max(b.next, g.first+len(g.batches)-b.gone)
	b.forget(now)
	return first, again
}

// rewind makes all wait again that has arrived lately.
func (b *buffer) rewind(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(now)
	b.next = 0
}

// waiting tells how much waits, and since when the oldest does.
func (b *buffer) waiting() (points int, bytes int64, oldest time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.batches[b.next:] {
		if !w.sent.IsZero() {
			continue // to be sent once more; nothing is missing without it
		}
		points += w.points
		bytes += int64(len(w.data))
		if oldest.IsZero() || w.at.Before(oldest) {
			oldest = w.at
		}
	}
	return points, bytes, oldest
}

// empty tells whether nothing is to be sent.
func (b *buffer) empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next >= len(b.batches)
}
