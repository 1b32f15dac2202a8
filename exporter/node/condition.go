package node

import (
	"context"
	"log/slog"
	"time"
)

// Reasons of states that are not errors.
const (
	reasonSuspended = "suspended by hand"
	reasonDetaching = "being detached"
	reasonLost      = "connection lost"
)

// become sets the state, if it is another one, and tells the subscribers.
func (a *actor) become(s State, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.set(s, reason)
}

// set is become for callers that hold the lock: events leave in the order of
// the changes.
func (a *actor) set(s State, reason string) {
	previous := a.state
	a.reason = reason
	if s != previous {
		if err := checkTransition(a.name, previous, s); err != nil {
			a.logger.Error("impossible change of state", "err", err)
		}
		a.state, a.since = s, a.env.now()
		// After retire the node is nobody's concern any more.
		if a.ctx.Err() == nil {
			a.env.hub.publish(a.event(EventState, previous))
		}
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

// event describes the actor as it is; the lock is held.
func (a *actor) event(t EventType, previous State) Event {
	return Event{
		Type: t, Time: a.env.now(), Node: a.name, ID: a.id, Family: a.family,
		State: a.state, Previous: previous, Reason: a.reason,
	}
}

// dialling marks the first attempt with a spec; later ones leave the state as
// it is, see the package comment.
func (a *actor) dialling() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nextAttempt = time.Time{}
	if a.state == Pending {
		a.set(Connecting, "")
	}
}

// up notes a new session.
func (a *actor) up(s Session) {
	info := s.Info()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.attached++
	a.info, a.session = &info, s
	a.governor.start(a.spec.target.Settings.Limits)
	a.reader = &reader{session: s, governor: a.governor, maxAge: a.env.readingAge, now: a.env.now}
	a.refamily()
	if found := foundFamily(a.name, a.spec.family, a.info); found != a.lastFamily {
		a.lastFamily = found
		a.env.memory.keep(a.name, found)
	}
	a.set(Up, "")
}

// lost notes that the session has ended by itself.
func (a *actor) lost(err error) {
	a.logger.Warn(reasonLost, "err", err)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.session, a.reader = nil, nil
	reason := reasonLost
	if err != nil {
		_, kind := verdict(err)
		a.note(err, kind)
		reason += ": " + err.Error()
	}
	a.set(Down, reason)
}

// leave notes that the session is to be ended: nothing is asked of it any more.
func (a *actor) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.session, a.reader = nil, nil
	a.set(Pending, reasonDetaching)
}

// failed notes an attempt that did not succeed and returns the state after it.
func (a *actor) failed(err error) State {
	state, kind := verdict(err)
	a.env.metrics.failures.WithLabelValues(kind).Inc()
	a.mu.Lock()
	again := a.state == state && a.lastKind == kind
	a.note(err, kind)
	a.set(state, err.Error())
	a.mu.Unlock()
	// Said once: the same failure every 30 s for a week is no news.
	level := slog.LevelWarn
	if again {
		level = slog.LevelDebug
	}
	a.logger.Log(a.ctx, level, "cannot attach", "state", state, "err", err)
	return state
}

// block notes why the node cannot even be dialled.
func (a *actor) block(err error) {
	a.logger.Warn("cannot be dialled", "err", err)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.note(err, kindConfiguration)
	a.set(Pending, err.Error())
}

// note keeps err as the last error; the lock is held.
func (a *actor) note(err error, kind string) {
	a.lastErr, a.lastKind, a.lastTime = err, kind, a.env.now()
}

// plan notes when the next attempt is, which is after d, and returns d.
func (a *actor) plan(d time.Duration) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nextAttempt = a.env.now().Add(d)
	return d
}

// await waits until the actor is in the state, has ended, or ctx is done.
func (a *actor) await(ctx context.Context, s State) {
	for {
		a.mu.Lock()
		state, changed := a.state, a.changed
		a.mu.Unlock()
		if state == s {
			return
		}
		select {
		case <-changed:
		case <-a.done:
			return
		case <-ctx.Done():
			return
		}
	}
}
