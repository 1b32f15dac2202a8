package alertmanager

import (
	"context"
	"errors"
	"maps"
	"strings"
	"time"
)

// silences are what the tracker knows of the silences of its alerts.
type silences struct {
	// known are by the ID of the alert; there is more than one when two
	// Alertmanagers of a cluster were asked at the same time.
	known map[string][]silence
	read  time.Time
	stale bool // they have to be read anew
}

// silence is a silence as the Alertmanager has it.
type silence struct {
	id       string
	starts   time.Time
	ends     time.Time
	matchers map[string]string
	user     string
	comment  string
}

// mark ends the comment of each silence that the exporter sets, so that it
// finds them again after a restart of either side.
func (o *Options) mark(alert string) string { return "[erl-exporter " + o.Owner + " " + alert + "]" }

// marked returns the alert that a silence is for, if this exporter has set it.
func (o *Options) marked(comment string) (alert string, ok bool) {
	i := strings.LastIndex(comment, "[erl-exporter "+o.Owner+" ")
	if i < 0 || !strings.HasSuffix(comment, "]") {
		return "", false
	}
	return strings.TrimSuffix(comment[i+len("[erl-exporter "+o.Owner+" "):], "]"), true
}

// keepSilences sets, renews and removes silences until they are what the
// alerts want.
func (t *tracker) keepSilences(ctx context.Context, current map[string]*Alert) error {
	s, now := &t.silences, t.options.Now()
	wanted := false
	for _, a := range current {
		if a.Silence != nil {
			known := s.known[a.ID]
			wanted = wanted || len(known) == 0 || !maps.Equal(known[0].matchers, a.Silence.Matchers)
		}
	}
	// Read before one is set, for another Alertmanager of the cluster may have
	// passed it on; and now and then, for people may remove them.
	if s.stale || s.read.IsZero() || wanted || now.Sub(s.read) >= t.options.Interval && len(s.known) > 0 {
		if err := t.readSilences(ctx); err != nil {
			return err
		}
	}
	for id, known := range s.known {
		if a, ok := current[id]; ok && a.Silence != nil {
			continue
		}
		if err := t.removeSilences(ctx, id, known); err != nil {
			return err
		}
	}
	for id, a := range current {
		if a.Silence == nil {
			continue
		}
		if err := t.setSilence(ctx, id, a.Silence); err != nil {
			return err
		}
	}
	return nil
}

func (t *tracker) readSilences(ctx context.Context) error {
	all, err := t.api.silences(ctx)
	if err != nil {
		return err
	}
	t.silences = silences{known: map[string][]silence{}, read: t.options.Now()}
	for _, s := range all {
		if alert, ok := t.options.marked(s.comment); ok {
			t.silences.known[alert] = append(t.silences.known[alert], s)
		}
	}
	return nil
}

func (t *tracker) removeSilences(ctx context.Context, id string, known []silence) error {
	for _, s := range known {
		if err := t.api.removeSilence(ctx, s.id); err != nil {
			return err
		}
		t.options.Metrics.silences.WithLabelValues(t.name, "removed").Inc()
	}
	delete(t.silences.known, id)
	return nil
}

// setSilence makes one silence that lasts for at least half of what one lasts.
func (t *tracker) setSilence(ctx context.Context, id string, want *Silence) error {
	now := t.options.Now()
	comment := strings.TrimSpace(want.Comment + " " + t.options.mark(id))
	s := silence{starts: now, ends: now.Add(t.options.SilenceFor), matchers: want.Matchers, user: want.User, comment: comment}
	action := "set"
	switch known := t.silences.known[id]; {
	case len(known) == 0:
	case !maps.Equal(known[0].matchers, want.Matchers):
		// The Alertmanager would make another one of it.
		if err := t.removeSilences(ctx, id, known); err != nil {
			return err
		}
	default:
		old := known[0]
		if old.ends.Sub(now) > t.options.SilenceFor/2 && old.comment == comment && old.user == want.User {
			return nil
		}
		s.id, s.starts = old.id, old.starts
		action = "renewed"
	}
	set, err := t.api.setSilence(ctx, s)
	var refused *refusedError
	if errors.As(err, &refused) || errors.Is(err, errNoSilence) {
		// It was removed meanwhile: it is set anew the next time.
		delete(t.silences.known, id)
		t.silences.stale = true
		t.logger.Debug("a silence could not be set", "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	s.id = set
	t.silences.known[id] = []silence{s}
	t.options.Metrics.silences.WithLabelValues(t.name, action).Inc()
	return nil
}
