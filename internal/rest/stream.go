package rest

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Times of a stream of events.
const (
	// HeartbeatInterval is after how long silence is broken with a comment,
	// so that proxies keep the connection and a dead client is noticed.
	HeartbeatInterval = 15 * time.Second
	// streamWriteTimeout is how long a client may take to accept a write.
	streamWriteTimeout = 30 * time.Second
	// streamRetry is when a browser that lost the stream comes back.
	streamRetry = 3 * time.Second
)

// EventWriter writes server-sent events until the first error, and then does
// nothing.
type EventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	err     error
}

// NewEventWriter begins a stream of events as the answer to a request.
func NewEventWriter(w http.ResponseWriter) *EventWriter {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	e := &EventWriter{w: w, control: http.NewResponseController(w)}
	e.printf("retry: %d\n\n", streamRetry.Milliseconds())
	e.Flush()
	return e
}

// Event writes one event; without an id clients keep the last one. data must
// be on one line.
func (e *EventWriter) Event(id, event string, data []byte) {
	if id != "" {
		e.printf("id: %s\n", id)
	}
	e.printf("event: %s\ndata: %s\n\n", event, data)
}

// Heartbeat writes a comment.
func (e *EventWriter) Heartbeat() { e.printf(": heartbeat\n\n") }

// Flush sends what was written.
func (e *EventWriter) Flush() {
	if e.err == nil {
		e.err = e.control.Flush()
	}
}

// Err returns what went wrong, if something did: the client is gone.
func (e *EventWriter) Err() error { return e.err }

func (e *EventWriter) printf(format string, args ...any) {
	if e.err != nil {
		return
	}
	// A deadline for each write, since the server's own is for whole answers.
	err := e.control.SetWriteDeadline(time.Now().Add(streamWriteTimeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		e.err = err
		return
	}
	_, e.err = fmt.Fprintf(e.w, format, args...)
}
