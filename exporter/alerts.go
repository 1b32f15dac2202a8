package exporter

import (
	"context"
	"maps"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/erlops/erlops/exporter/alarm"
	"github.com/erlops/erlops/exporter/config"
	"github.com/erlops/erlops/exporter/sink/alertmanager"
)

// deadMan is the alert that fires as long as the exporter lives.
const deadMan = "ErlExporterAlive"

// alertSource makes alerts of the active alarms.
type alertSource struct {
	manager *alarm.Manager
	begun   time.Time

	mu      sync.Mutex
	name    string
	labels  map[string]string // external ones
	url     string
	deadMan *alertmanager.Alert // nil when there is to be none
	// made has the alerts of the alarms that were active last, so that what has
	// not changed is not made again.
	made map[string]madeAlert
}

type madeAlert struct {
	of    *alarm.Alarm
	alert *alertmanager.Alert
}

func newAlertSource(m *alarm.Manager) *alertSource {
	return &alertSource{manager: m, begun: time.Now(), made: map[string]madeAlert{}}
}

// setURL says where people reach the exporter; "" when that is not known.
func (s *alertSource) setURL(u *url.URL) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u != nil {
		s.url = strings.TrimSuffix(u.String(), "/")
	}
}

// apply takes a configuration.
func (s *alertSource) apply(c *config.Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.name != c.Name || !maps.Equal(s.labels, c.ExternalLabels) || (s.deadMan != nil) != c.Alertmanager.DeadMan {
		clear(s.made)
		s.name, s.labels, s.deadMan = c.Name, c.ExternalLabels, nil
		if c.Alertmanager.DeadMan {
			s.deadMan = s.alive()
		}
	}
}

// alive is the dead man's alert.
func (s *alertSource) alive() *alertmanager.Alert {
	labels := map[string]string{"alertname": deadMan, "exporter": s.name, "severity": "none", "source": "exporter"}
	return &alertmanager.Alert{
		ID: deadMan, StartsAt: s.begun, Labels: withExternal(labels, s.labels),
		Annotations: map[string]string{
			"summary":     "erl-exporter " + s.name + " is alive",
			"description": "This alert fires as long as the exporter lives and reaches this Alertmanager. Route it to a service that raises the alarm when it stops.",
		},
	}
}

// Alerts implements [alertmanager.Source].
func (s *alertSource) Alerts() map[string]*alertmanager.Alert {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]*alertmanager.Alert{}
	made := make(map[string]madeAlert, len(s.made))
	s.manager.Each(func(a *alarm.Alarm) {
		m, ok := s.made[a.ID]
		if !ok || m.of != a {
			m = s.make(a, m)
		}
		made[a.ID], all[a.ID] = m, m.alert
	})
	s.made = made
	if s.deadMan != nil {
		all[deadMan] = s.deadMan
	}
	return all
}

// make makes the alert of an alarm; it is the last one when nothing in it has
// changed, as when the alarm was only reported once more.
func (s *alertSource) make(a *alarm.Alarm, last madeAlert) madeAlert {
	alert := &alertmanager.Alert{
		ID: a.ID, StartsAt: a.Raised, Labels: s.labelsOf(a, a.Severity), Annotations: s.annotations(a),
	}
	if s.url != "" {
		alert.GeneratorURL = s.url + "/api/v1/alarms/" + a.ID
	}
	if a.State == alarm.StateAcknowledged {
		matchers := maps.Clone(alert.Labels)
		// A lesser severity stays silent; a worse one ends the acknowledgement.
		delete(matchers, "severity")
		comment := "acknowledged"
		if n := len(a.Comments); n > 0 {
			comment = a.Comments[n-1].Text
		}
		alert.Silence = &alertmanager.Silence{User: a.AcknowledgedBy, Comment: comment, Matchers: matchers}
	}
	if old := last.alert; old != nil && old.StartsAt.Equal(alert.StartsAt) && old.GeneratorURL == alert.GeneratorURL &&
		maps.Equal(old.Labels, alert.Labels) && maps.Equal(old.Annotations, alert.Annotations) && sameSilence(old.Silence, alert.Silence) {
		alert = old
	}
	return madeAlert{a, alert}
}

func sameSilence(a, b *alertmanager.Silence) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.User == b.User && a.Comment == b.Comment && maps.Equal(a.Matchers, b.Matchers)
}

func (s *alertSource) labelsOf(a *alarm.Alarm, severity alarm.Severity) map[string]string {
	labels := maps.Clone(a.Node.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, map[string]string{
		"alertname": a.Name, "node": a.Node.Name, "family": a.Node.Family,
		"severity": string(severity), "source": string(a.Source), "key": a.Instance,
	})
	return withExternal(labels, s.labels)
}

// withExternal adds the labels of the exporter itself, which give way, and drops
// empty ones, which Alertmanager refuses.
func withExternal(labels, external map[string]string) map[string]string {
	for name, value := range external {
		if _, ok := labels[name]; !ok {
			labels[name] = value
		}
	}
	maps.DeleteFunc(labels, func(_, value string) bool { return value == "" })
	return labels
}

func (s *alertSource) annotations(a *alarm.Alarm) map[string]string {
	all := map[string]string{
		"summary": a.Summary, "description": a.Description,
		"probable_cause": a.ProbableCause, "repair_action": a.RepairAction,
		"state": string(a.State), "acknowledged_by": a.AcknowledgedBy, "comments": comments(a.Comments),
		"alarm_id": a.ID,
	}
	if a.Source == alarm.Builtin {
		all["runbook_url"] = "https://github.com/erlops/erlops/blob/main/docs/alarms.md#" + a.Name
	}
	if s.url != "" {
		all["link"] = s.url + "/api/v1/alarms/" + a.ID
		all["node_link"] = s.url + "/probe?target=" + url.QueryEscape(a.Node.Name)
	}
	maps.DeleteFunc(all, func(_, value string) bool { return value == "" })
	return all
}

// comments are one a line.
func comments(all []alarm.Comment) string {
	lines := make([]string, len(all))
	for i, c := range all {
		lines[i] = c.Time.UTC().Format(time.RFC3339) + " " + c.User + ": " + c.Text
	}
	return strings.Join(lines, "\n")
}

// Changed implements [alertmanager.Source].
func (s *alertSource) Changed() (changed <-chan struct{}, cancel func()) { return s.manager.Changed() }

// Ended implements [alertmanager.Source].
func (s *alertSource) Ended(since time.Time) []*alertmanager.Alert {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	// What cannot be read ends by itself, when what was posted runs out.
	cleared, _ := s.manager.ClearedSince(ctx, since)
	s.mu.Lock()
	defer s.mu.Unlock()
	var ended []*alertmanager.Alert
	end := func(a *alarm.Alarm, severity alarm.Severity) {
		ended = append(ended, &alertmanager.Alert{ID: a.ID, StartsAt: a.Raised, Labels: s.labelsOf(a, severity), Annotations: s.annotations(a)})
	}
	for i := range cleared {
		end(&cleared[i], cleared[i].Severity)
	}
	s.manager.Each(func(a *alarm.Alarm) {
		if a.PreviousSeverity != "" && a.SeverityChanged.After(since) {
			end(a, a.PreviousSeverity)
		}
	})
	return ended
}
