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
	for {
		err := follow(ctx, c, &lastID, f)
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

func final(status int) bool {
	return status < http.StatusInternalServerError && status != http.StatusTooManyRequests
}

// follow reads one stream to its end and keeps lastID up to date.
func follow(ctx context.Context, c ClientInterface, lastID *string, f func(Event) error) error {
	params := &StreamEventsParams{}
	if *lastID != "" {
		params.LastEventID = lastID
	}
	response, err := c.StreamEvents(ctx, params)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		parsed, err := ParseStreamEventsResponse(response)
		return Check(parsed, err)
	}
	return readEvents(response.Body, func(data []byte) error {
		var e Event
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("event is not JSON: %w", err)
		}
		if err := f(e); err != nil {
			return &stopError{err}
		}
		*lastID = e.ID
		return nil
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
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}
