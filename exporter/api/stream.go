package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Times of a stream of events.
const (
	// heartbeatInterval is after how long silence is broken with a comment,
	// so that proxies keep the connection and a dead client is noticed.
	heartbeatInterval = 15 * time.Second
	// streamWriteTimeout is how long a client may take to accept a write.
	streamWriteTimeout = 30 * time.Second
	// streamRetry is when a browser that lost the stream comes back.
	streamRetry = 3 * time.Second
)

// eventStream answers one client with server-sent events until the client
// goes, the hub closes, or the client accepts nothing any more.
type eventStream struct {
	ctx       context.Context
	hub       *hub
	from      uint64
	heartbeat time.Duration
	ended     func()
}

// VisitStreamEventsResponse implements [StreamEventsResponseObject].
func (s *eventStream) VisitStreamEventsResponse(w http.ResponseWriter) error { return s.serve(w) }

// VisitStreamAlarmEventsResponse implements [StreamAlarmEventsResponseObject].
func (s *eventStream) VisitStreamAlarmEventsResponse(w http.ResponseWriter) error { return s.serve(w) }

func (s *eventStream) serve(w http.ResponseWriter) error {
	defer s.ended()
	out := beginStream(w)
	beat := time.NewTicker(s.heartbeat)
	defer beat.Stop()
	for from := s.from; out.err == nil; {
		messages, next, changed, closed := s.hub.read(from)
		from = next
		for _, m := range messages {
			out.printf("id: %s\nevent: %s\ndata: %s\n\n", m.id, m.event, m.data)
		}
		if len(messages) > 0 {
			out.flush()
			beat.Reset(s.heartbeat)
		}
		if closed {
			return nil
		}
		select {
		case <-s.ctx.Done():
			return nil
		case <-changed:
		case <-beat.C:
			out.printf(": heartbeat\n\n")
			out.flush()
		}
	}
	// The status is long sent: there is nobody to tell.
	return nil
}

// beginStream sends what is before the first event.
func beginStream(w http.ResponseWriter) *streamWriter {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)

	out := &streamWriter{w: w, control: http.NewResponseController(w)}
	out.printf("retry: %d\n\n", streamRetry.Milliseconds())
	out.flush()
	return out
}

// streamWriter writes until the first error and then does nothing.
type streamWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	err     error
}

func (s *streamWriter) printf(format string, args ...any) {
	if s.err != nil {
		return
	}
	// A deadline for each write, since the server's own is for whole answers.
	err := s.control.SetWriteDeadline(time.Now().Add(streamWriteTimeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		s.err = err
		return
	}
	_, s.err = fmt.Fprintf(s.w, format, args...)
}

func (s *streamWriter) flush() {
	if s.err == nil {
		s.err = s.control.Flush()
	}
}
