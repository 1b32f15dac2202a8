package node

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// EventType says what happened.
type EventType string

// The types of events.
const (
	// EventAdded is a node that became known.
	EventAdded EventType = "added"
	// EventRemoved is a node that is no longer known.
	EventRemoved EventType = "removed"
	// EventState is a node in another state.
	EventState EventType = "state"
	// EventDropped stands where events are missing, because the subscriber was
	// too slow: it has to look at all nodes again. Only Time is set.
	EventDropped EventType = "dropped"
)

// Event is something that happened to a node. The events of one node are in
// order.
type Event struct {
	Type     EventType
	Time     time.Time
	Node     string
	ID       string
	Family   string
	State    State
	Previous State // for EventState
	Reason   string
}

// eventBuffer is how many events a subscriber may be behind.
const eventBuffer = 1024

// hub hands events to its subscribers and never waits for one.
type hub struct {
	dropped prometheus.Counter
	buffer  int

	mu          sync.Mutex
	subscribers map[*subscriber]struct{}
}

type subscriber struct {
	events chan Event
	lossy  bool // the newest event in the channel is EventDropped
}

func newHub(buffer int, dropped prometheus.Counter) *hub {
	return &hub{dropped: dropped, buffer: buffer, subscribers: map[*subscriber]struct{}{}}
}

// subscribe returns a channel of events, which is closed by cancel.
func (h *hub) subscribe() (<-chan Event, func()) {
	// The place beyond the buffer is for EventDropped: it can be told at the
	// moment of the loss, and need not wait for the next event.
	s := &subscriber{events: make(chan Event, h.buffer+1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subscribers[s] = struct{}{}
	return s.events, sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.subscribers, s)
		close(s.events)
	})
}

// publish gives e to all subscribers.
func (h *hub) publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subscribers {
		if !s.offer(e, h.buffer) {
			h.dropped.Inc()
		}
	}
}

// offer returns false when there was no room. Only the hub sends, and it holds
// its lock: so there can only be more room than len says, never less.
func (s *subscriber) offer(e Event, buffer int) bool {
	if len(s.events) < buffer {
		s.events <- e
		s.lossy = false
		return true
	}
	if !s.lossy {
		s.events <- Event{Type: EventDropped, Time: e.Time}
		s.lossy = true
	}
	return false
}
