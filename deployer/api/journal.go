package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/rest"
)

// ListJournal implements [StrictServerInterface].
func (s *Server) ListJournal(ctx context.Context, r ListJournalRequestObject) (ListJournalResponseObject, error) {
	p := r.Params
	filter := fleet.JournalFilter{
		After: value(p.After), Subject: value(p.Subject), TaskID: value(p.Task), Types: p.Type,
		Since: value(p.Since), Limit: int(value(p.Limit)), Last: value(p.Last),
	}
	if ref := value(p.Family); ref != "" {
		// The journal outlives families: one that is gone is known by its id.
		filter.Family = ref
		if f, err := s.backend.Family(ctx, ref); err == nil {
			filter.Family = f.ID
		}
	}
	entries, err := s.backend.Journal(ctx, filter)
	return ListJournal200JSONResponse{Entries: list(entries)}, err
}

// StreamEvents implements [StrictServerInterface].
func (s *Server) StreamEvents(ctx context.Context, r StreamEventsRequestObject) (StreamEventsResponseObject, error) {
	after := int64(-1)
	if id := r.Params.LastEventID; id != nil {
		var err error
		if after, err = strconv.ParseInt(*id, 10, 64); err != nil {
			return nil, fleet.Errorf(fleet.ErrInvalid, "Last-Event-ID %q is not the number of an entry", *id)
		}
	}
	if s.streams.Add(1) > maxStreams {
		s.streams.Add(-1)
		return nil, fleet.Errorf(fleet.ErrUnavailable, "%d clients follow events already, and no more are served", maxStreams)
	}
	return &eventStream{ctx: ctx, server: s, after: after}, nil
}

// eventStream answers one client with events until the client goes, the server
// closes, or the client accepts nothing any more.
type eventStream struct {
	ctx    context.Context
	server *Server
	after  int64
}

// VisitStreamEventsResponse implements [StreamEventsResponseObject].
func (e *eventStream) VisitStreamEventsResponse(w http.ResponseWriter) error {
	defer e.server.streams.Add(-1)
	// Subscribed before the first byte: who has read that misses nothing.
	events, cancel := e.server.backend.Subscribe(e.ctx, e.after)
	defer cancel()
	out := rest.NewEventWriter(w)
	beat := time.NewTicker(e.server.heartbeat)
	defer beat.Stop()
	for out.Err() == nil {
		select {
		case <-e.ctx.Done():
			return nil
		case <-e.server.closed:
			return nil
		case event, ok := <-events:
			if !ok {
				return nil
			}
			if err := writeEvent(out, event); err != nil {
				return err
			}
			beat.Reset(e.server.heartbeat)
		case <-beat.C:
			out.Heartbeat()
		}
		out.Flush()
	}
	// The status is long sent: there is nobody to tell.
	return nil
}

func writeEvent(out *rest.EventWriter, event fleet.Event) error {
	data, err := json.Marshal(event)
	if err != nil {
		return err
	}
	if event.Entry != nil {
		out.Event(strconv.FormatInt(event.Entry.Seq, 10), "entry", data)
		return nil
	}
	out.Event("", "progress", data)
	return nil
}
