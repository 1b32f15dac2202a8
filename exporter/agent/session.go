package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/exporter/snapshot"
)

const (
	// maxUnanswered is how many requests may wait for an agent, those included
	// whose callers have given up.
	maxUnanswered = 64
	// maxSilence is for how long an agent may answer nothing when so many
	// requests wait; then it is taken for lost.
	maxSilence = time.Minute
)

// Session is an attachment: the agent on a node and the connection to it. It
// ends when it is detached, when the connection ends or when the agent goes.
// Its methods may be called concurrently.
type Session struct {
	conn      *dist.Conn
	pid       etf.Pid
	down      etf.Ref
	info      NodeInfo
	schema    schema
	settings  Settings
	renew     time.Duration
	msaccOurs bool
	log       *slog.Logger
	decoder   *decoder // used by listen only
	streams   map[string]*stream
	plain     *plain // reads a node without an agent; nil where one runs

	stopRenewing chan struct{}
	asking       chan struct{} // holds one while a question is numbered and sent

	left     chan struct{} // closed when the agent has gone, or cannot be heard
	done     chan struct{}
	finished sync.Once
	failure  error // set before done is closed

	mu         sync.Mutex
	detaching  bool
	seq        int64
	unanswered map[int64]*question
	cost       Cost
	requests   int64
	replies    map[int64]chan<- etf.Term
}

// question is a request that the agent has not answered yet.
type question struct {
	collectors []string
	asked      time.Time
	answer     chan answer // takes one without blocking
}

type answer struct {
	snapshot *snapshot.Snapshot
	err      error
}

// Cost is what the agent has cost its node, as of the last reading that had
// the collector "agent" in it.
type Cost struct {
	// Reductions since the attach, by the agent and its helpers.
	Reductions uint64
	// MemoryBytes is the size of the agent's process.
	MemoryBytes uint64
	// MailboxLen is the number of messages that waited for the agent.
	MailboxLen uint64
	// Dropped is the number of messages that the agent could not send.
	Dropped uint64
	// Shedding is whether the agent has passed its own limits and leaves out
	// what is costly.
	Shedding bool
}

func newSession(conn *dist.Conn, pid etf.Pid, down etf.Ref, h hello, t Target, o Options) *Session {
	return &Session{
		conn:         conn,
		pid:          pid,
		down:         down,
		info:         h.info,
		schema:       h.schema,
		settings:     t.Settings,
		renew:        o.Renew,
		msaccOurs:    h.msaccOurs,
		log:          o.Logger.With("node", conn.Node()),
		decoder:      newDecoder(h, t.Settings.Apps.Rules),
		streams:      newStreams(t.Sources),
		stopRenewing: make(chan struct{}),
		asking:       make(chan struct{}, 1),
		left:         make(chan struct{}),
		done:         make(chan struct{}),
		unanswered:   make(map[int64]*question),
		replies:      make(map[int64]chan<- etf.Term),
	}
}

func (s *Session) start() {
	go s.listen()
	go s.keepLease()
	for _, st := range s.streams {
		go s.handOver(st)
	}
}

// Info is what the node said of itself.
func (s *Session) Info() NodeInfo { return s.info }

// Cost gives the agent's own numbers; zero before the first reading.
func (s *Session) Cost() Cost {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cost
}

// Done is closed when the session has ended and its connection is closed.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err says why the session has ended: ErrDetached, a *LostError, or the
// connection's *dist.Error; nil as long as it lasts.
func (s *Session) Err() error {
	select {
	case <-s.done:
		return s.failure
	default:
		return nil
	}
}

// Snapshot asks the agent for a reading and waits for it, at most until ctx
// ends. A collector that fails is told in the reading; an error means that
// there is none. A collector that is switched off for the node is Missing.
func (s *Session) Snapshot(ctx context.Context, r snapshot.Request) (*snapshot.Snapshot, error) {
	asked, refused := s.collectors(r)
	if s.plain != nil {
		return s.readPlain(ctx, asked, refused)
	}
	q := &question{collectors: asked, asked: time.Now(), answer: make(chan answer, 1)}
	if err := s.ask(ctx, q); err != nil {
		return nil, err
	}
	select {
	case a := <-q.answer:
		if a.err == nil {
			a.snapshot.Collectors = append(a.snapshot.Collectors, refused...)
		}
		return a.snapshot, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("agent: no reading of %q: %w", s.conn.Node(), ctx.Err())
	case <-s.done:
		return nil, s.failure
	}
}

// ask sends a question. Questions are sent in the order of their numbers, for
// an answer tells that those before it are lost.
func (s *Session) ask(ctx context.Context, q *question) error {
	select {
	case s.asking <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("agent: no reading of %q: %w", s.conn.Node(), ctx.Err())
	case <-s.done:
		return s.failure
	}
	defer func() { <-s.asking }()
	seq, err := s.enter(q)
	if err != nil {
		return err
	}
	return s.conn.Send(ctx, s.pid, etf.Tuple{s.conn.Self(), etf.Atom("snapshot"), seq, atoms(q.collectors)})
}

// readPlain is Snapshot without an agent. The session ends when another
// exporter turns out to come first.
func (s *Session) readPlain(ctx context.Context, asked []string, refused []snapshot.Collector) (*snapshot.Snapshot, error) {
	read, err := s.plain.read(ctx, asked)
	if owned, ok := errors.AsType[*OwnedError](err); ok {
		s.finish(owned)
	}
	if err != nil {
		return nil, err
	}
	read.Collectors = append(read.Collectors, refused...)
	return read, nil
}

// collectors gives what to ask the agent for, and the outcome of what it need
// not be asked for.
func (s *Session) collectors(r snapshot.Request) (asked []string, refused []snapshot.Collector) {
	wanted := r.Collectors
	if len(wanted) == 0 {
		for _, c := range s.schema {
			if s.enabled(c.name, r.Switches) {
				wanted = append(wanted, c.name)
			}
		}
	}
	for i, name := range wanted {
		_, known := s.schema.collector(name)
		switch {
		case slices.Contains(wanted[:i], name):
		case !known:
			refused = append(refused, snapshot.Collector{Name: name, Err: fmt.Sprintf("there is no collector %q", name)})
		case !s.enabled(name, r.Switches):
			refused = append(refused, snapshot.Collector{Name: name, Missing: "switched off for this node"})
		case slices.Contains(r.Without, name):
			refused = append(refused, snapshot.Collector{Name: name, Err: r.Reason, Shed: true})
		default:
			asked = append(asked, name)
		}
	}
	return asked, refused
}

func (s *Session) enabled(collector string, switches map[string]bool) bool {
	if on, said := switches[collector]; said && (collector != snapshot.MSAcc || !on) {
		return on
	}
	return s.settings.on(collector) && (collector != snapshot.MSAcc || s.settings.msacc() != MSAccOff)
}

func atoms(names []string) etf.List {
	l := make(etf.List, len(names))
	for i, n := range names {
		l[i] = etf.Atom(n)
	}
	return l
}

// enter notes a question and gives its number. It ends the session when the
// agent has been silent for too long.
func (s *Session) enter(q *question) (int64, error) {
	s.mu.Lock()
	full := len(s.unanswered) >= maxUnanswered
	silent := q.asked.Sub(s.oldest())
	if !full {
		s.seq++
		s.unanswered[s.seq] = q
	}
	seq := s.seq
	s.mu.Unlock()
	if !full {
		return seq, nil
	}
	err := fmt.Errorf("agent: %d readings of %q are asked for and not answered yet, the first for %v",
		maxUnanswered, s.conn.Node(), silent)
	if silent > maxSilence {
		s.finish(err)
	}
	return 0, err
}

// oldest is when the first of the unanswered questions was asked.
func (s *Session) oldest() time.Time {
	oldest := time.Now()
	for _, q := range s.unanswered {
		if q.asked.Before(oldest) {
			oldest = q.asked
		}
	}
	return oldest
}

// Detach makes the agent leave and ends the session. It returns when the agent
// has gone; when ctx ends before that, the connection is closed, which makes
// the agent leave too.
func (s *Session) Detach(ctx context.Context) error {
	s.mu.Lock()
	s.detaching = true
	s.mu.Unlock()
	if s.plain != nil {
		s.finish(ErrDetached)
		return nil
	}
	err := s.conn.Send(ctx, s.pid, etf.Tuple{s.conn.Self(), etf.Atom("detach")})
	if err == nil {
		select {
		case <-s.left:
		case <-ctx.Done():
			err = fmt.Errorf("agent: waiting for the agent on %q to leave: %w", s.conn.Node(), ctx.Err())
		}
	}
	s.finish(ErrDetached)
	if errors.Is(err, dist.ErrClosed) {
		return nil
	}
	return err
}

// finish ends the session; the first reason counts.
func (s *Session) finish(reason error) {
	s.finished.Do(func() {
		_ = s.conn.Close()
		s.failure = reason
		close(s.done)
	})
	<-s.done
}

// keepLease renews the lease until the session ends.
func (s *Session) keepLease() {
	ticker := time.NewTicker(s.renew)
	defer ticker.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		// A failed send has ended the connection, or will not repeat itself.
		_ = s.conn.Send(ctx, s.pid, etf.Tuple{s.conn.Self(), etf.Atom("renew")})
		select {
		case <-ticker.C:
		case <-s.stopRenewing:
			return
		case <-s.done:
			return
		}
	}
}
