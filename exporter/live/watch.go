package live

import (
	"context"
	"sync"
	"time"
)

// Types of events.
const (
	// Numbers is a reading.
	Numbers = "reading"
	// State is told when the node cannot be read, and when that changes.
	State = "state"
	// End is the last one: the node is known no longer.
	End = "end"
)

// Event is what a watcher is told. It is shared and must not be changed.
type Event struct {
	Type string
	// Time is when the node answered, or when its state was seen.
	Time time.Time
	// State and Error are those of the node.
	State, Error string
	Metrics      []Metric
	// Missing are those of the wanted metrics that the node does not have now.
	Missing []string
	// Failed are collectors of wanted metrics that failed, and why.
	Failed map[string]string

	once sync.Once
	body []byte
}

// Encoded is what encode makes of the event, which is called once for all who
// are told it.
func (e *Event) Encoded(encode func(*Event) []byte) []byte {
	e.once.Do(func() { e.body = encode(e) })
	return e.body
}

// maxPending is how many events wait for a watcher. Of readings only the last
// one waits.
const maxPending = 4

// Watch is one watcher. Next must not be called concurrently; Close may.
type Watch struct {
	hub       *Hub
	node      *node
	selection *selection
	interval  time.Duration
	next      time.Time // guarded by the hub

	// reason and state are what was told last, by the node's goroutine.
	state, reason string
	taken         time.Time // of the last reading that was told

	mu      sync.Mutex
	pending []*Event
	skipped int
	changed chan struct{}
}

// Next returns what is to be told next, and how many readings before it were not
// taken in time. It blocks until there is something or ctx is done, and then
// returns nil.
func (w *Watch) Next(ctx context.Context) (e *Event, skipped int) {
	for {
		if e, skipped := w.take(); e != nil {
			return e, skipped
		}
		select {
		case <-ctx.Done():
			return nil, 0
		case <-w.changed:
		}
	}
}

func (w *Watch) take() (e *Event, skipped int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) == 0 {
		return nil, 0
	}
	e, w.pending = w.pending[0], w.pending[1:]
	skipped, w.skipped = w.skipped, 0
	return e, skipped
}

// Close ends it; closing twice does nothing.
func (w *Watch) Close() { w.hub.leave(w) }

// put makes an event wait. A reading takes the place of one that waits.
func (w *Watch) put(e *Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := len(w.pending) - 1
	switch {
	case last >= 0 && e.Type == Numbers && w.pending[last].Type == Numbers:
		w.pending[last] = e
		w.skip()
	case len(w.pending) >= maxPending:
		w.pending = append(w.pending[1:], e)
		w.skip()
	default:
		w.pending = append(w.pending, e)
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *Watch) skip() {
	w.skipped++
	w.hub.metrics.skipped.Inc()
}

// told makes of a reading what this watcher is told. Events are shared between
// watchers of the same metrics.
func (w *Watch) told(h *Hub, r Reading, now time.Time, shared map[string]*Event) {
	if r.State != Up || r.Error != "" {
		if w.state != r.State || w.reason != r.Error {
			w.put(&Event{Type: State, Time: now, State: r.State, Error: r.Error})
		}
		w.state, w.reason = r.State, r.Error
		return
	}
	if w.state != "" && w.state != Up || w.reason != "" {
		w.put(&Event{Type: State, Time: now, State: r.State})
	}
	w.state, w.reason = r.State, ""
	if r.Taken.Equal(w.taken) {
		return // one that was shared with somebody else, and is told already
	}
	w.taken = r.Taken
	if w.selection.searching() {
		_ = w.selection.resolve(h.Source, r) // what is not there yet is in Missing
	}
	e, ok := shared[w.selection.key]
	if !ok {
		e = w.selection.event(r)
		shared[w.selection.key] = e
	}
	w.put(e)
}
