package node

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/snapshot"
)

// environment is what all actors share.
type environment struct {
	attach        AttachFunc
	attachTimeout time.Duration
	detachTimeout time.Duration
	readingAge    time.Duration
	retryMin      time.Duration
	retryMax      time.Duration
	// first and again bound the dialling that goes on at the same time. Nodes
	// that failed before have places of their own, so that hundreds of hosts
	// that swallow packets never keep a new node waiting.
	first, again chan struct{}
	pulse        time.Duration
	onPulse      func(Pulse)
	sources      func(Ref) []agent.Source
	families     atomic.Pointer[familyBook]
	memory       *familyMemory
	random       func() float64
	now          func() time.Time
	logger       *slog.Logger
	hub          *hub
	metrics      *metrics
}

func (e *environment) backoff() *backoff {
	return &backoff{min: e.retryMin, max: e.retryMax, random: e.random}
}

// actor attaches one node and keeps it attached. Its goroutine is the only one
// that dials, detaches and, but for the first, sets states.
type actor struct {
	env    *environment
	name   string
	id     string
	logger *slog.Logger
	// governor goes on over all sessions.
	governor *governor
	// after is closed when an earlier actor of the same name has detached; nil
	// when there is none.
	after <-chan struct{}
	done  chan struct{} // closed when this one has

	ctx    context.Context // of its life
	cancel context.CancelFunc

	mu   sync.Mutex
	spec spec
	// turn is done when the spec changes so that what is going on is no longer
	// wanted.
	turn    context.Context
	endTurn context.CancelFunc
	changed chan struct{} // closed and replaced when the condition changes
	condition
}

// condition is what is known of the node, as Status shows it.
type condition struct {
	state       State
	since       time.Time
	reason      string
	lastErr     error
	lastKind    string
	lastTime    time.Time
	nextAttempt time.Time
	attached    uint64 // how often
	family      string
	lastFamily  string          // what it was found to have, in this life or before
	info        *agent.NodeInfo // of the last session
	session     Session         // nil unless up
	reader      *reader         // nil unless up
}

func (c *condition) reconnects() uint64 { return max(c.attached, 1) - 1 }

// newActor makes the actor of a node whose family is lastFamily, as far as
// that is known.
func newActor(ctx context.Context, env *environment, id string, s spec, lastFamily string, after <-chan struct{}) *actor {
	name := s.target.Node
	a := &actor{
		env: env, name: name, id: id, logger: env.logger.With("node", name),
		after: after, done: make(chan struct{}), changed: make(chan struct{}), spec: s,
	}
	a.governor = &governor{logger: a.logger, now: env.now}
	a.ctx, a.cancel = context.WithCancel(ctx)
	a.turn, a.endTurn = context.WithCancel(a.ctx)
	a.state, a.since = Pending, env.now()
	if s.suspended {
		a.state, a.reason = Suspended, reasonSuspended
	}
	a.lastFamily = lastFamily
	a.refamily()
	return a
}

// apply tells the actor what is wanted of now on.
func (a *actor) apply(s spec) {
	a.mu.Lock()
	defer a.mu.Unlock()
	same := a.spec.sameSession(s)
	a.spec = s
	a.refamily()
	if !same {
		a.endTurn()
		a.turn, a.endTurn = context.WithCancel(a.ctx)
	}
}

// retire ends the actor, which detaches the node. Nothing is published of it
// once retire has returned.
func (a *actor) retire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cancel()
}

// run is the life of the actor. It returns, with the node detached, after
// retire or when the context of the actor is done.
func (a *actor) run() {
	defer close(a.done)
	if a.after != nil {
		<-a.after
	}
	for a.ctx.Err() == nil {
		a.mu.Lock()
		ctx, s := a.turn, a.spec
		a.mu.Unlock()
		a.take(ctx, s)
	}
}

// take does what one spec wants until ctx is done.
func (a *actor) take(ctx context.Context, s spec) {
	switch {
	case s.suspended:
		a.become(Suspended, reasonSuspended)
		<-ctx.Done()
	case s.blocked != nil:
		a.block(s.blocked)
		<-ctx.Done()
	default:
		a.become(Pending, "")
		b := a.env.backoff()
		for ctx.Err() == nil {
			sleep(ctx, a.attempt(ctx, s.target, b))
		}
	}
}

// attempt attaches the node and stays until the session ends, or fails to. It
// returns how long to wait before the next attempt.
func (a *actor) attempt(ctx context.Context, t agent.Target, b *backoff) time.Duration {
	session, err := a.attach(ctx, t, b)
	switch {
	case err == nil:
		begun := a.env.now()
		a.hold(ctx, session)
		// Only a session that lasted earns a new start: a node that is lost
		// right after each attachment must not be attached in a tight loop.
		if a.env.now().Sub(begun) >= a.env.retryMax {
			b.reset()
			return 0
		}
		return a.plan(b.next())
	case ctx.Err() != nil:
		return 0
	}
	if a.failed(err) == Refused {
		return a.plan(b.slow())
	}
	return a.plan(b.next())
}

// attach waits for its place among those that dial, and dials.
func (a *actor) attach(ctx context.Context, t agent.Target, b *backoff) (Session, error) {
	places := a.env.again
	if b.planned == 0 {
		places = a.env.first
	}
	select {
	case places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-places }()

	a.dialling()
	if a.env.sources != nil {
		t.Sources = a.env.sources(a.ref())
	}
	ctx, cancel := context.WithTimeout(ctx, a.env.attachTimeout)
	defer cancel()
	begun := time.Now()
	session, err := a.env.attach(ctx, t)
	a.env.metrics.attachSeconds.Observe(time.Since(begun).Seconds())
	return session, err
}

// hold keeps the session until it ends by itself, or until ctx is done and
// then detaches.
func (a *actor) hold(ctx context.Context, s Session) {
	a.up(s)
	a.logger.Info("attached", "otp_release", s.Info().OTPRelease)
	pulsing, stopPulse := context.WithCancel(ctx)
	var pulse sync.WaitGroup
	pulse.Go(func() { a.pulse(pulsing, s) })
	select {
	case <-s.Done():
		stopPulse()
		a.lost(s.Err())
	case <-ctx.Done():
		stopPulse()
		a.leave()
		a.detach(s)
	}
	// No pulse of this session comes after the next has begun.
	pulse.Wait()
}

func (a *actor) detach(s Session) {
	// The context of the turn is done: detaching has a time of its own.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), a.env.detachTimeout)
	defer cancel()
	if err := s.Detach(ctx); err != nil {
		a.logger.Warn("the agent was not seen to leave; it leaves by itself when its lease ends", "err", err)
		return
	}
	a.logger.Info("detached")
}

// snapshot reads the node, or tells with a *StateError why it cannot be read.
func (a *actor) snapshot(ctx context.Context, req snapshot.Request) (*snapshot.Snapshot, error) {
	a.mu.Lock()
	r, c := a.reader, a.condition
	req.Switches = a.spec.switches[a.family]
	a.mu.Unlock()
	if r != nil {
		return r.read(ctx, req)
	}
	return nil, c.unreadable(a.name)
}

// unreadable says why a node that is not up cannot be read.
func (c *condition) unreadable(name string) *StateError {
	e := &StateError{Node: name, State: c.state, Since: c.since, Reason: c.reason}
	// What went wrong before a person suspended the node, or changed its
	// settings, is not why it cannot be read now.
	if c.state == Down || c.state == Refused || c.state == Connecting {
		e.Err = c.lastErr
	}
	return e
}

// sleep waits for d, or until ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
