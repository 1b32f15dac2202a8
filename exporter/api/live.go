package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Live is what the API answers from about metrics as they change.
type Live interface {
	// Watch begins to watch metrics of a node; its errors are as those of [Backend].
	Watch(ctx context.Context, node string, metrics []string, interval time.Duration) (LiveWatch, error)
	// Top gives what the last scan of a node found. CodeNotFound when it is not
	// known, CodeUnavailable when it cannot be read.
	Top(ctx context.Context, node string) (NodeTop, error)
	// Histogram gives the bins of a histogram of a library; metric is LIBRARY:NAME.
	// CodeNotFound when there is none, CodeUnavailable when the node cannot be asked.
	Histogram(ctx context.Context, node, metric string) (NodeHistogram, error)
}

// LiveWatch is one watcher, who must close it.
type LiveWatch interface {
	// Next waits for what is to be told next; nil when ctx is done.
	Next(ctx context.Context) *LiveMessage
	Close()
}

// LiveMessage is an event of a stream. Data is shared and must not be changed.
type LiveMessage struct {
	Event string
	Data  []byte
	// Skipped is what is to be told before: a second event, or nil.
	Skipped []byte
	Last    bool
}

const (
	// defaultLiveInterval is that of watchers who say nothing.
	defaultLiveInterval = time.Second
	// tagMetrics is the tag of the operations that Live answers.
	tagMetrics = "metrics"
)

// StreamMetrics implements [StrictServerInterface].
func (s *Server) StreamMetrics(ctx context.Context, r StreamMetricsRequestObject) (StreamMetricsResponseObject, error) {
	interval := defaultLiveInterval
	if text := value(r.Params.Interval); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < time.Second || d > time.Minute {
			detail := fmt.Sprintf("%q is no time from 1s to 1m", text)
			return nil, &Error{Code: CodeInvalid, Message: "The interval is not valid.", Fields: []FieldError{{Parameter: "interval", Detail: detail}}}
		}
		interval = d
	}
	watch, err := s.live.Watch(ctx, r.Name, splitMetrics(r.Params.Metrics), interval)
	if err != nil {
		return nil, err
	}
	return &liveStream{ctx: ctx, stopped: s.stopped, watch: watch, heartbeat: s.heartbeat}, nil
}

// splitMetrics takes names apart that are separated by commas, but not where a
// comma is inside of brackets: names of Exometer have them there.
func splitMetrics(texts []string) []string {
	var names []string
	for _, text := range texts {
		depth, begin := 0, 0
		for i, r := range text {
			switch {
			case strings.ContainsRune("[{(", r):
				depth++
			case strings.ContainsRune("]})", r):
				depth = max(depth-1, 0)
			case r == ',' && depth == 0:
				names = append(names, strings.TrimSpace(text[begin:i]))
				begin = i + 1
			}
		}
		names = append(names, strings.TrimSpace(text[begin:]))
	}
	return names
}

// liveStream answers one watcher until the client goes or accepts nothing any
// more, the node is known no longer, or the server ends.
type liveStream struct {
	ctx       context.Context
	stopped   <-chan struct{}
	watch     LiveWatch
	heartbeat time.Duration
}

// VisitStreamMetricsResponse implements [StreamMetricsResponseObject].
func (s *liveStream) VisitStreamMetricsResponse(w http.ResponseWriter) error {
	defer s.watch.Close()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	go func() {
		select {
		case <-s.stopped:
			cancel()
		case <-ctx.Done():
		}
	}()
	out := beginStream(w)
	for out.err == nil && ctx.Err() == nil {
		silence, done := context.WithTimeout(ctx, s.heartbeat)
		m := s.watch.Next(silence)
		done()
		switch {
		case m != nil:
			if m.Skipped != nil {
				out.printf("event: skipped\ndata: %s\n\n", m.Skipped)
			}
			out.printf("event: %s\ndata: %s\n\n", m.Event, m.Data)
		case ctx.Err() == nil:
			out.printf(": heartbeat\n\n")
		}
		out.flush()
		if m != nil && m.Last {
			return nil
		}
	}
	return nil
}

// GetNodeTop implements [StrictServerInterface].
func (s *Server) GetNodeTop(ctx context.Context, r GetNodeTopRequestObject) (GetNodeTopResponseObject, error) {
	top, err := s.live.Top(ctx, r.Name)
	return GetNodeTop200JSONResponse(top), err
}

// GetNodeHistogram implements [StrictServerInterface].
func (s *Server) GetNodeHistogram(ctx context.Context, r GetNodeHistogramRequestObject) (GetNodeHistogramResponseObject, error) {
	h, err := s.live.Histogram(ctx, r.Name, r.Params.Metric)
	return GetNodeHistogram200JSONResponse(h), err
}
