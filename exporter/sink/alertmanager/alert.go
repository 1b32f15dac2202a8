package alertmanager

import (
	"maps"
	"time"
)

// Alert is an alert that is firing. It is not changed once handed out: another
// state of it is another Alert with the same ID.
type Alert struct {
	// ID tells alerts apart, also when their labels change.
	ID string
	// Labels are the identity of the alert to Alertmanager.
	Labels      map[string]string
	Annotations map[string]string
	StartsAt    time.Time
	// GeneratorURL is where to read more.
	GeneratorURL string
	// Silence is wanted as long as it is set.
	Silence *Silence
}

// Silence says who has silenced an alert, and why.
type Silence struct {
	User, Comment string
	// Matchers are the labels that have to be equal.
	Matchers map[string]string
}

// Source has the alerts. Its methods may be called from several goroutines.
type Source interface {
	// Alerts returns all alerts that are firing, by ID. An alert that has not
	// changed is the same pointer again. The map belongs to the caller.
	Alerts() map[string]*Alert
	// Changed returns a channel that holds a value when Alerts may have changed
	// since it was last read.
	Changed() (changed <-chan struct{}, cancel func())
	// Ended returns alerts that ended since a time, as far as that is known:
	// those that an Alertmanager may still take for firing when the exporter
	// was started anew. It may block.
	Ended(since time.Time) []*Alert
}

// same tells whether two states of an alert are one alert to Alertmanager.
func (a *Alert) same(b *Alert) bool { return maps.Equal(a.Labels, b.Labels) }
