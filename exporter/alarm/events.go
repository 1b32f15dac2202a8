package alarm

import (
	"sync"
	"time"
)

// EventType says what happened to an alarm.
type EventType string

// The types of events.
const (
	EventRaised EventType = "raised"
	// EventChanged is another severity or other texts.
	EventChanged        EventType = "changed"
	EventAcknowledged   EventType = "acknowledged"
	EventUnacknowledged EventType = "unacknowledged"
	EventCommented      EventType = "commented"
	EventCleared        EventType = "cleared"
	// EventDropped stands where events are missing, because the subscriber was
	// too slow: it has to look at all alarms again. Only Time is set.
	EventDropped EventType = "dropped"
)

// Event is something that happened to an alarm. The events of one alarm are in
// order.
type Event struct {
	Type EventType
	Time time.Time
	// User is who did it; empty for what nobody did by hand.
	User string
	// Alarm is as it was afterwards.
	Alarm Alarm
}

// eventBuffer is how many events a subscriber may be behind.
const eventBuffer = 1024

// hub hands events to its subscribers and never waits for one.
type hub struct {
	mu          sync.Mutex
	closed      bool
	subscribers map[*subscriber]struct{}
	watchers    map[chan struct{}]struct{}
}

type subscriber struct {
	events chan Event
	lossy  bool // the newest event in the channel is EventDropped
}

func newHub() *hub {
	return &hub{subscribers: map[*subscriber]struct{}{}, watchers: map[chan struct{}]struct{}{}}
}

func (h *hub) subscribe() (<-chan Event, func()) {
	// The place beyond the buffer is for EventDropped.
	s := &subscriber{events: make(chan Event, eventBuffer+1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(s.events)
		return s.events, func() {}
	}
	h.subscribers[s] = struct{}{}
	return s.events, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, ok := h.subscribers[s]; ok {
			delete(h.subscribers, s)
			close(s.events)
		}
	}
}

func (h *hub) watch() (<-chan struct{}, func()) {
	w := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers[w] = struct{}{}
	return w, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, w)
	}
}

// publish gives e to all subscribers.
func (h *hub) publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subscribers {
		s.offer(e)
	}
	for w := range h.watchers {
		select {
		case w <- struct{}{}:
		default: // it is awake
		}
	}
}

// offer is called with the lock of the hub, which alone sends.
func (s *subscriber) offer(e Event) {
	switch {
	case len(s.events) < eventBuffer:
		s.events <- e
		s.lossy = false
	case !s.lossy:
		s.events <- Event{Type: EventDropped, Time: e.Time}
		s.lossy = true
	}
}

// close ends all subscriptions.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s := range h.subscribers {
		delete(h.subscribers, s)
		close(s.events)
	}
}
