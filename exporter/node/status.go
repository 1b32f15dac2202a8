package node

import (
	"time"

	"github.com/erlops/erlops/exporter/agent"
)

// Status is all that is known of a node at one moment. Its maps and slices are
// shared and must not be changed.
type Status struct {
	Name string
	// ID is made from the name and stays the same over restarts.
	ID string
	// Family is made from the name as long as nothing is known that tells it.
	Family string
	State  State
	// Since is when it got into its state.
	Since time.Time
	// Reason says in words why it is in its state; empty when up.
	Reason string
	// LastError is what went wrong last, in words, and stays when the node is
	// up again; LastErrorKind is the same for programs, one of a small set.
	LastError     string
	LastErrorKind string
	LastErrorTime time.Time
	// NextAttempt is when it is dialled again; zero unless it waits for that.
	NextAttempt time.Time
	// Labels are from discovery or registration.
	Labels map[string]string
	// Source is the mechanism that found it, or "registered".
	Source     string
	Group      string
	Registered bool
	// Connected says which of the nodes that it is connected to are attached too;
	// nil when none are.
	Connected *Connected
	// Found says how it became known when its Source is "connected"; else nil.
	Found *ConnectedNode
	// Address and EPMD say how it is reached, as far as that is configured.
	Address, EPMD string
	// TLS is whether it is dialled over TLS, Settings how it is read.
	TLS      bool
	Settings agent.Settings
	// Reconnects counts how often it was attached again.
	Reconnects uint64
	// Info is of the last session; zero when there was none.
	Info agent.NodeInfo
	// Cost is that of the agent; zero unless up.
	Cost agent.Cost
}

func (a *actor) status() Status {
	a.mu.Lock()
	c, spec := a.condition, a.spec
	a.mu.Unlock()
	s := Status{
		Name: a.name, ID: a.id, Family: c.family,
		State: c.state, Since: c.since, Reason: c.reason,
		LastErrorKind: c.lastKind, LastErrorTime: c.lastTime, NextAttempt: c.nextAttempt,
		Labels: spec.labels, Source: spec.source, Group: spec.group, Registered: spec.registered,
		Connected: spec.connected, Found: spec.found,
		Address: spec.target.Address, EPMD: spec.target.EPMD,
		TLS: spec.target.TLS != nil, Settings: spec.target.Settings, Reconnects: c.reconnects(),
	}
	if c.lastErr != nil {
		s.LastError = c.lastErr.Error()
	}
	if c.info != nil {
		s.Info = *c.info
	}
	if c.session != nil {
		s.Cost = c.session.Cost()
	}
	return s
}
