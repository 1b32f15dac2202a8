package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/snapshot"
)

// defaultPulse is the time between two readings that the fleet takes by itself.
const defaultPulse = 15 * time.Second

// Ref says which node something comes from. Labels is shared and must not be
// changed.
type Ref struct {
	Name, ID, Family string
	// Group is the target group, empty for nodes of none.
	Group  string
	Labels map[string]string
}

// Pulse is a reading of a node that nobody asked for: what watches nodes must
// not depend on who scrapes them, or how often.
type Pulse struct {
	Node Ref
	// Time is when the reading was there or had failed.
	Time time.Time
	// Info is that of the session.
	Info agent.NodeInfo
	// Snapshot has all collectors that are switched on for the node; nil when Err
	// says why there is none.
	Snapshot *snapshot.Snapshot
	Err      error
}

func (a *actor) ref() Ref {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Ref{Name: a.name, ID: a.id, Family: a.family, Group: a.spec.group, Labels: a.spec.labels}
}

// pulse takes a reading at once and then one every Options.Pulse until ctx is
// done. A reading younger than a second is shared with who else wanted it. A
// node that answers too late for one pulse does not get the next one sooner.
func (a *actor) pulse(ctx context.Context, s Session) {
	if a.env.onPulse == nil {
		return
	}
	ticker := time.NewTicker(a.env.pulse)
	defer ticker.Stop()
	for ctx.Err() == nil {
		a.beat(ctx, s)
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

func (a *actor) beat(ctx context.Context, s Session) {
	reading, cancel := context.WithTimeout(ctx, a.env.pulse)
	defer cancel()
	read, err := a.snapshot(reading, snapshot.Request{})
	// A session that has ended is told by the node's state, not by its pulse.
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return
	}
	a.env.onPulse(Pulse{Node: a.ref(), Time: a.env.now(), Info: s.Info(), Snapshot: read, Err: err})
}

// Session gives the attachment of a node, to ask it what readings do not have.
// It may end at any time. Errors: ErrUnknown, *StateError when it is not up.
func (f *Fleet) Session(name string) (Session, error) {
	a, ok := f.find(name)
	if !ok {
		return nil, fmt.Errorf("node %q: %w", name, ErrUnknown)
	}
	return a.attachment()
}

func (a *actor) attachment() (Session, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.session == nil {
		return nil, a.unreadable(a.name)
	}
	return a.session, nil
}
