package api

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ringSize is how many events are kept for clients that come back.
const ringSize = 1024

// hub keeps the last events in a ring from which any number of streams read,
// each at its own pace. Publishing never waits: a reader that is overtaken is
// told so, and has nothing queued for it anywhere.
type hub struct {
	epoch string // of this process: ids of another one mean nothing
	now   func() time.Time
	reset streamed // tells a reader that it was overtaken

	mu      sync.Mutex
	ring    [ringSize]message
	next    uint64        // number of the next event; the first is 1
	changed chan struct{} // closed when there is something new
	closed  bool
}

// streamed is something that happened, for a stream.
type streamed interface {
	// stamped returns the name of the event and what is sent of it.
	stamped(id string, now time.Time) (name string, data any)
}

func (e Event) stamped(id string, now time.Time) (name string, data any) {
	e.ID = id
	if e.Time.IsZero() {
		e.Time = now
	}
	e.Reason = strings.ToValidUTF8(e.Reason, "�")
	return string(e.Type), e
}

// message is an event as it goes over the wire.
type message struct {
	id    string
	event string
	data  []byte
}

func newHub(now func() time.Time, reset streamed) *hub {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return &hub{epoch: hex.EncodeToString(b[:]), now: now, reset: reset, next: 1, changed: make(chan struct{})}
}

// publish appends an event, which gets its id here.
func (h *hub) publish(e streamed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ring[h.next%ringSize] = h.message(h.next, e)
	h.next++
	h.wake()
}

// close ends all streams.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.wake()
}

// wake is called with the lock held.
func (h *hub) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *hub) message(number uint64, e streamed) message {
	id := h.epoch + "-" + strconv.FormatUint(number, 10)
	name, value := e.stamped(id, h.now())
	data, err := json.Marshal(value)
	if err != nil { // strings, numbers and times: cannot happen
		panic(err)
	}
	return message{id: id, event: name, data: data}
}

// start returns the number of the first event that a client is to get that
// has seen lastID, or none when it is empty. A number that is not there any
// more, or never was, is that of an overtaken reader.
func (h *hub) start(lastID string) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if lastID == "" {
		return h.next
	}
	epoch, digits, _ := strings.Cut(lastID, "-")
	last, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || epoch != h.epoch || last >= h.next {
		return 0
	}
	return last + 1
}

// read returns the events from a number on, and the number to go on with. An
// overtaken reader gets a reset in place of what it missed. Without events,
// changed tells when to read again.
func (h *hub) read(from uint64) (messages []message, next uint64, changed <-chan struct{}, closed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	oldest := uint64(1)
	if h.next > ringSize {
		oldest = h.next - ringSize
	}
	if from < oldest {
		messages = append(messages, h.message(h.next-1, h.reset))
		return messages, h.next, h.changed, h.closed
	}
	for number := from; number < h.next; number++ {
		messages = append(messages, h.ring[number%ringSize])
	}
	return messages, h.next, h.changed, h.closed
}
