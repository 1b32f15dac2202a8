package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// watchRetry is the pause before a lost stream is taken up again.
	watchRetry = time.Second
	// maxEventLine is the most bytes in a line of a stream.
	maxEventLine = 1 << 20
)

// Watch follows what happens to nodes and calls f with each event, one after
// the other. It blocks until ctx is done or f returns an error, and returns
// that. A stream that ends is taken up again where it ended; what cannot be
// made up for arrives as an event of type reset, after which the list of
// nodes is to be read again. Only an answer that will not change by asking
// again, such as 403, ends it with a [*ProblemError].
//
// lastID is the id of the last event that the caller has seen; empty to begin
// now. The http.Client in c must have no timeout of its own.
func Watch(ctx context.Context, c ClientInterface, lastID string, f func(Event) error) error {
	return stream{
		open: func(ctx context.Context, lastID *string) (*http.Response, error) {
			return c.StreamEvents(ctx, &StreamEventsParams{LastEventID: lastID})
		},
		refused: func(r *http.Response) error {
			parsed, err := ParseStreamEventsResponse(r)
			return Check(parsed, err)
		},
		take: func(data []byte) (string, error) {
			var e Event
			if err := json.Unmarshal(data, &e); err != nil {
				return "", fmt.Errorf("event is not JSON: %w", err)
			}
			return e.ID, stop(f(e))
		},
	}.watch(ctx, lastID)
}

// NotificationWatch is what [WatchNotifications] calls, one after the other. An
// error of Take or Missed ends it. Missed and Lost may be nil.
type NotificationWatch struct {
	// Take gets each notification.
	Take func(Notification) error
	// Missed is called where some are missing that the exporter no longer has.
	Missed func() error
	// Lost is called with the reason when the stream has ended, and each time
	// that it cannot be taken up again.
	Lost func(error)
}

// WatchNotifications follows what nodes log and what else happens to them, as
// far as params choose it, from params.LastEventID on. It blocks until ctx is
// done or a function of w returns an error, and returns that; it ends otherwise
// as [Watch] does.
func WatchNotifications(ctx context.Context, c ClientInterface, params StreamNotificationsParams, w NotificationWatch) error {
	last := ""
	if params.LastEventID != nil {
		last = *params.LastEventID
	}
	return stream{
		open: func(ctx context.Context, lastID *string) (*http.Response, error) {
			params.LastEventID = lastID
			return c.StreamNotifications(ctx, &params)
		},
		refused: func(r *http.Response) error {
			parsed, err := ParseStreamNotificationsResponse(r)
			return Check(parsed, err)
		},
		take: w.take,
		lost: w.Lost,
	}.watch(ctx, last)
}

func (w *NotificationWatch) take(data []byte) (id string, err error) {
	var n Notification
	if err := json.Unmarshal(data, &n); err != nil {
		return "", fmt.Errorf("notification is not JSON: %w", err)
	}
	switch {
	case n.ID != "":
		return n.ID, stop(w.Take(n))
	case w.Missed != nil:
		return "", stop(w.Missed())
	}
	return "", nil
}

// WatchMetrics follows metrics of a node and calls f with each event, one after
// the other. It blocks until ctx is done or f returns an error, and returns that;
// it ends otherwise as [Watch] does, with 404 when the node is known no longer.
// lost may be nil; it is called with the reason when the stream has ended, and
// each time that it cannot be taken up again.
func WatchMetrics(
	ctx context.Context, c ClientInterface, node string, params StreamMetricsParams, f func(LiveEvent) error, lost func(error),
) error {
	return stream{
		open: func(ctx context.Context, _ *string) (*http.Response, error) {
			return c.StreamMetrics(ctx, node, &params)
		},
		refused: func(r *http.Response) error {
			parsed, err := ParseStreamMetricsResponse(r)
			return Check(parsed, err)
		},
		take: func(data []byte) (string, error) {
			var e LiveEvent
			if err := json.Unmarshal(data, &e); err != nil {
				return "", fmt.Errorf("event is not JSON: %w", err)
			}
			return "", stop(f(e))
		},
		lost: lost,
	}.watch(ctx, "")
}

// stream is a stream of server-sent events that is taken up again.
type stream struct {
	// open asks for what comes after lastID, or for what comes next.
	open func(ctx context.Context, lastID *string) (*http.Response, error)
	// refused makes an error of an answer that is no stream.
	refused func(*http.Response) error
	// take gets the data of each event and returns its id.
	take func(data []byte) (id string, err error)
	lost func(error)
}

func (s stream) watch(ctx context.Context, lastID string) error {
	for {
		err := s.follow(ctx, &lastID)
		var stop *stopError
		var problem *ProblemError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &stop):
			return stop.err
		case errors.As(err, &problem) && final(problem.Status):
			return problem
		}
		if s.lost != nil {
			s.lost(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(watchRetry):
		}
	}
}

// stopError tells an error of the callback from one of the stream.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

func stop(err error) error {
	if err == nil {
		return nil
	}
	return &stopError{err}
}

func final(status int) bool {
	return status < http.StatusInternalServerError && status != http.StatusTooManyRequests
}

// follow reads one stream to its end and keeps lastID up to date.
func (s stream) follow(ctx context.Context, lastID *string) error {
	var after *string
	if *lastID != "" {
		after = lastID
	}
	response, err := s.open(ctx, after)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return s.refused(response)
	}
	return readEvents(response.Body, func(data []byte) error {
		id, err := s.take(data)
		if id != "" && err == nil {
			*lastID = id
		}
		return err
	})
}

// readEvents calls f with the data of each event of a stream as of "9.2
// Server-sent events" in the HTML standard. All else in it is in the data too.
func readEvents(r io.Reader, f func(data []byte) error) error {
	var data []byte
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEventLine)
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) == 0 {
			if len(data) > 0 {
				if err := f(data); err != nil {
					return err
				}
			}
			data = nil
			continue
		}
		if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			if data != nil {
				data = append(data, '\n')
			}
			data = append(data, bytes.TrimPrefix(value, []byte(" "))...)
			if len(data) > maxEventLine {
				return fmt.Errorf("an event has more than %d bytes", maxEventLine)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}
