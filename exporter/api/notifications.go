package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Notifications is what the API answers from about what nodes log, and what
// happens to them in words. Its methods may be called concurrently; their errors
// are as those of [Backend].
type Notifications interface {
	// Last returns the last ones that are kept and match, the newest first, at
	// most limit of them, and a cursor for those before them, or "".
	Last(f NotificationFilter, limit int, cursor string) (page []Notification, next string, err error)
	// KeptSince is from when on all are kept.
	KeptSince() time.Time
	// Start returns where to Read what comes after the notification with this
	// id; with "" what comes next.
	Start(after string) uint64
	// Read returns what matches from a place on. It does not block.
	Read(from uint64, f NotificationFilter) NotificationReading
	// QueryRange asks Loki. CodeUnavailable when there is none.
	QueryRange(ctx context.Context, q NotificationQuery) ([]Notification, error)
	// LogLevels are those of a node, by source. CodeNotFound when it is not known.
	LogLevels(node string) ([]LogLevelOfSource, error)
	// SetLogLevel sets the level of a source, or of all when it is empty.
	SetLogLevel(ctx context.Context, node, source, level string) error
}

// NotificationFilter says which notifications are wanted; what is empty is no
// limit.
type NotificationFilter struct {
	Nodes, Families []string
	Level           LogLevel
	Sources         []NotificationSource
	Text            string
}

// NotificationReading is what Read returns.
type NotificationReading struct {
	Notifications []Notification
	// Next is where to go on.
	Next uint64
	// Missed is whether some before these are no longer kept.
	Missed bool
	// Changed is closed when there is more; nil when there is already.
	Changed <-chan struct{}
	// Closed is whether nothing will come any more.
	Closed bool
}

// NotificationQuery is a question to Loki.
type NotificationQuery struct {
	Filter     NotificationFilter
	Start, End time.Time
	Limit      int
	Forward    bool
}

const (
	defaultNotifications = 100
	// tagNotifications is the tag of the operations that Notifications answers.
	tagNotifications = "notifications"
)

// ListNotifications implements [StrictServerInterface].
func (s *Server) ListNotifications(_ context.Context, r ListNotificationsRequestObject) (ListNotificationsResponseObject, error) {
	p := r.Params
	f := NotificationFilter{Nodes: p.Node, Families: p.Family, Level: value(p.Level), Sources: p.Source, Text: value(p.Text)}
	limit := defaultNotifications
	if p.Limit != nil {
		limit = int(*p.Limit)
	}
	page, next, err := s.notifications.Last(f, limit, value(p.Cursor))
	if err != nil {
		return nil, err
	}
	list := notificationList(page, next)
	list.KeptSince = s.notifications.KeptSince()
	return ListNotifications200JSONResponse(list), nil
}

func notificationList(page []Notification, next string) NotificationList {
	if page == nil { // never null in JSON
		page = []Notification{}
	}
	return NotificationList{Notifications: page, NextCursor: next}
}

// QueryNotifications implements [StrictServerInterface].
func (s *Server) QueryNotifications(ctx context.Context, r QueryNotificationsRequestObject) (QueryNotificationsResponseObject, error) {
	p := r.Params
	q := NotificationQuery{
		Filter: NotificationFilter{Nodes: p.Node, Families: p.Family, Level: value(p.Level), Sources: p.Source, Text: value(p.Text)},
		Start:  value(p.Start), End: value(p.End), Limit: defaultNotifications,
		Forward: value(p.Direction) == QueryNotificationsParamsDirectionForward,
	}
	if p.Limit != nil {
		q.Limit = int(*p.Limit)
	}
	if p.End == nil {
		q.End = s.now()
	}
	if p.Start == nil {
		q.Start = q.End.Add(-time.Hour)
	}
	if !q.Start.Before(q.End) {
		return nil, &Error{Code: CodeInvalid, Message: "The range is empty.", Fields: []FieldError{{
			Parameter: "start", Detail: "must be before end, which is " + q.End.UTC().Format(time.RFC3339),
		}}}
	}
	found, err := s.notifications.QueryRange(ctx, q)
	if err != nil {
		return nil, err
	}
	return QueryNotifications200JSONResponse(notificationList(found, "")), nil
}

// GetLogLevel implements [StrictServerInterface].
func (s *Server) GetLogLevel(_ context.Context, r GetLogLevelRequestObject) (GetLogLevelResponseObject, error) {
	levels, err := s.notifications.LogLevels(r.Name)
	return GetLogLevel200JSONResponse{Levels: levels}, err
}

// SetLogLevel implements [StrictServerInterface].
func (s *Server) SetLogLevel(ctx context.Context, r SetLogLevelRequestObject) (SetLogLevelResponseObject, error) {
	if err := s.notifications.SetLogLevel(ctx, r.Name, string(r.Body.Source), string(r.Body.Level)); err != nil {
		return nil, err
	}
	levels, err := s.notifications.LogLevels(r.Name)
	return SetLogLevel200JSONResponse{Levels: levels}, err
}

// StreamNotifications implements [StrictServerInterface].
func (s *Server) StreamNotifications(ctx context.Context, r StreamNotificationsRequestObject) (StreamNotificationsResponseObject, error) {
	p := r.Params
	if s.streams.Add(1) > maxStreams {
		s.streams.Add(-1)
		return nil, Errorf(CodeUnavailable, "%d clients follow events already, and no more are served", maxStreams)
	}
	return &notificationStream{
		ctx: ctx, source: s.notifications, from: s.notifications.Start(value(p.LastEventID)), heartbeat: s.heartbeat,
		filter: NotificationFilter{Nodes: p.Node, Families: p.Family, Level: value(p.Level), Sources: p.Source, Text: value(p.Text)},
		ended:  func() { s.streams.Add(-1) },
	}, nil
}

// notificationStream answers one client with server-sent events until the
// client goes, the source closes, or the client accepts nothing any more.
type notificationStream struct {
	ctx       context.Context
	source    Notifications
	from      uint64
	filter    NotificationFilter
	heartbeat time.Duration
	ended     func()
}

// VisitStreamNotificationsResponse implements [StreamNotificationsResponseObject].
func (s *notificationStream) VisitStreamNotificationsResponse(w http.ResponseWriter) error {
	defer s.ended()
	out := beginStream(w)
	beat := time.NewTicker(s.heartbeat)
	defer beat.Stop()
	for from := s.from; out.err == nil; {
		r := s.source.Read(from, s.filter)
		from = r.Next
		if r.Missed {
			out.printf("event: reset\ndata: {}\n\n")
		}
		for _, n := range r.Notifications {
			data, err := json.Marshal(n)
			if err != nil { // strings and a time: cannot happen
				return err
			}
			out.printf("id: %s\nevent: notification\ndata: %s\n\n", n.ID, data)
		}
		if len(r.Notifications) > 0 || r.Missed {
			out.flush()
			beat.Reset(s.heartbeat)
		}
		switch {
		case r.Closed && r.Changed != nil:
			return nil
		case r.Changed == nil:
			continue
		}
		select {
		case <-s.ctx.Done():
			return nil
		case <-r.Changed:
		case <-beat.C:
			out.printf(": heartbeat\n\n")
			out.flush()
		}
	}
	return nil
}
