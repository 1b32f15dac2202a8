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
	"strconv"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
)

const (
	// watchRetry is the pause before a lost stream is taken up again.
	watchRetry = time.Second
	// maxEventLine is the most bytes in a line of a stream.
	maxEventLine = 4 << 20
)

// Subscribe returns every entry after the one of that number (-1: from now on)
// and progress as it happens, until cancel is called or ctx is done; then the
// channel is closed. A stream that ends is taken up again where it ended. Only
// an answer that will not change by asking again, such as 403, closes the
// channel before.
func (f *Fleet) Subscribe(ctx context.Context, after int64) (<-chan fleet.Event, func()) {
	ctx, cancel := context.WithCancel(ctx)
	events := make(chan fleet.Event)
	go func() {
		defer close(events)
		if after < 0 {
			// A stream that breaks before its first entry must know where to go
			// on, too.
			if last, err := f.Journal(ctx, fleet.JournalFilter{Last: true, Limit: 1}); err == nil {
				after = lastSeq(last)
			}
		}
		for {
			err := f.follow(ctx, &after, events)
			var problem *ProblemError
			if errors.As(err, &problem) && !errors.Is(problem, fleet.ErrUnavailable) && problem.Problem.Status < http.StatusInternalServerError {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(watchRetry):
			}
		}
	}()
	return events, cancel
}

func lastSeq(entries []fleet.Entry) int64 {
	if len(entries) == 0 {
		return 0
	}
	return entries[len(entries)-1].Seq
}

// follow reads one stream to its end and keeps after up to date.
func (f *Fleet) follow(ctx context.Context, after *int64, events chan<- fleet.Event) error {
	params := &StreamEventsParams{}
	if *after >= 0 {
		id := strconv.FormatInt(*after, 10)
		params.LastEventID = &id
	}
	response, err := f.api.StreamEvents(ctx, params)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		parsed, err := ParseStreamEventsResponse(response)
		return Check(parsed, err)
	}
	return readEvents(response.Body, func(data []byte) error {
		var e fleet.Event
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("event is not JSON: %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case events <- e:
		}
		if e.Entry != nil {
			*after = e.Entry.Seq
		}
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
			data = append(data, bytes.TrimPrefix(value, []byte(" "))...)
		}
	}
	return lines.Err()
}
