package exporter

import (
	"context"
	"errors"
	"time"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/api"
	"github.com/erlops/erlops/exporter/config"
	"github.com/erlops/erlops/exporter/logs"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/sink"
	"github.com/erlops/erlops/exporter/store"
)

// Last implements api.Notifications, as do the other methods here.
func (l *logging) Last(f api.NotificationFilter, limit int, cursor string) ([]api.Notification, string, error) {
	entries, more, err := l.log.Last(logFilter(f), limit, cursor)
	if errors.Is(err, logs.ErrUnknownID) {
		return nil, "", &api.Error{Code: api.CodeInvalid, Message: err.Error(), Err: err, Fields: []api.FieldError{{
			Parameter: "cursor", Detail: err.Error(),
		}}}
	}
	return notifications(entries), more, err
}

func (l *logging) KeptSince() time.Time { return l.log.KeptSince().UTC() }

func (l *logging) Start(after string) uint64 { return l.log.Start(after) }

func (l *logging) Read(from uint64, f api.NotificationFilter) api.NotificationReading {
	r := l.log.Read(from, logFilter(f))
	return api.NotificationReading{
		Notifications: notifications(r.Entries), Next: r.Next, Missed: r.Missed, Changed: r.Changed, Closed: r.Closed,
	}
}

func (l *logging) QueryRange(ctx context.Context, q api.NotificationQuery) ([]api.Notification, error) {
	if l.loki == nil {
		return nil, api.Errorf(api.CodeUnavailable, "no Loki is configured: set logs.loki.url")
	}
	found, err := l.loki.QueryRange(ctx, sink.Range{
		Filter: logFilter(q.Filter), Start: q.Start, End: q.End, Limit: q.Limit, Forward: q.Forward,
	})
	if err != nil {
		l.logger.Warn("Loki could not be asked", "err", err)
		return nil, api.Errorf(api.CodeUnavailable, "Loki cannot be asked: %w", err)
	}
	all := make([]api.Notification, len(found))
	for i, e := range found {
		all[i] = notification(e)
	}
	return all, nil
}

func (l *logging) LogLevels(name string) ([]api.LogLevelOfSource, error) {
	s, ok := l.status(name)
	if !ok {
		return nil, api.Errorf(api.CodeNotFound, "no node %q is known", name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	settings := l.settings(name, s.Group)
	var all []api.LogLevelOfSource
	for _, source := range config.LogSources() {
		level := settings.Logger
		if source == config.LogSourceLager {
			level = settings.Lager
		}
		if !l.config.Logs.Enabled {
			level = agent.LogLevelNone
		}
		_, set := l.levels[levelKey{name, source}]
		all = append(all, api.LogLevelOfSource{Source: source, Level: level, Default: !set})
	}
	return all, nil
}

// levelDefault as a level is that of the configuration.
const levelDefault = "default"

func (l *logging) SetLogLevel(ctx context.Context, name, source, level string) error {
	s, ok := l.status(name)
	if !ok {
		return api.Errorf(api.CodeNotFound, "no node %q is known", name)
	}
	sources := config.LogSources()
	if source != "" {
		sources = []string{source}
	}
	if level == levelDefault {
		level = ""
	}
	for _, source := range sources {
		if err := l.store.SetLogLevel(ctx, store.LogLevel{Node: name, Source: source, Level: level}); err != nil {
			return err
		}
		l.mu.Lock()
		if level == "" {
			delete(l.levels, levelKey{name, source})
		} else {
			l.levels[levelKey{name, source}] = level
		}
		l.mu.Unlock()
	}
	if s.State != node.Up {
		return nil
	}
	if err := l.configure(ctx, name, s.Group); err != nil && !errors.Is(err, agent.ErrNoAgent) {
		return api.Errorf(api.CodeUnavailable, "the level is stored, but the node could not be told: %w", err)
	}
	return nil
}

// logFilter reads a filter of the API, which has checked it.
func logFilter(f api.NotificationFilter) logs.Filter {
	filter := logs.Filter{Nodes: f.Nodes, Families: f.Families, Text: f.Text}
	for _, s := range f.Sources {
		filter.Sources = append(filter.Sources, logs.Source(s))
	}
	if level, err := logs.ParseLevel(string(f.Level)); err == nil {
		filter.Level = &level
	}
	return filter
}

func notifications(entries []logs.Numbered) []api.Notification {
	all := make([]api.Notification, len(entries))
	for i, e := range entries {
		all[i] = notification(e.Entry)
		all[i].ID = e.ID
	}
	return all
}

func notification(e logs.Entry) api.Notification {
	n := api.Notification{
		Time: e.Time.UTC(), Node: e.Node, Family: e.Family, Level: api.LogLevel(e.Level.String()),
		Source: api.NotificationSource(e.Source), Event: e.Event, Message: e.Message,
	}
	if len(e.Fields) > 0 {
		n.Metadata = make(map[string]string, len(e.Fields))
		for _, f := range e.Fields {
			n.Metadata[f.Name] = f.Value
		}
	}
	return n
}
