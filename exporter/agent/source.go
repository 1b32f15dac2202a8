package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/erlops/erlops/exporter/etf"
)

// Term is an Erlang term.
type Term = etf.Term

// Source is a part of the agent that tells what happens on the node, as it
// happens: alarms, log entries, events of the runtime system. Which there are,
// and what their configurations and events look like, is said by the functions
// that make them.
type Source struct {
	// Name is the source's on the node.
	Name string
	// Config is what the source starts with.
	Config Term
	// Handle takes the events of the source, in their order and one at a time,
	// in a goroutine of the source. While it does not return, the agent sends at
	// most eventWindow more and then drops, and counts what it drops. It may be
	// called, with what came before, for a moment after the session has ended.
	Handle func(Event)
}

// Event is something that happened on a node.
type Event struct {
	// Node is the name of the node.
	Node string
	// Term is what the source tells.
	Term Term
	// Received is when it arrived here.
	Received time.Time
	// Lost is how many events of the source right before this one were dropped
	// on the node.
	Lost uint64
}

const (
	// eventWindow is how many events of a source may be on their way.
	eventWindow = 64
	// ownSource is the account of the agent's own events; it is no source.
	ownSource = "agent"
)

// ErrNoAgent is the error of requests to a node that is read without an agent.
var ErrNoAgent = errors.New("the node is read without an agent")

// SourceError is what the agent answers for a source that cannot be asked.
type SourceError struct {
	Node, Source string
	// Reason is the agent's: off, failed, or {missing, Why}.
	Reason etf.Term
}

func (e *SourceError) Error() string {
	return fmt.Sprintf("agent: source %s on %q cannot be asked: %s", e.Source, e.Node, etf.Format(e.Reason))
}

// stream is a source as the session sees it.
type stream struct {
	source Source
	// events has room for all that the agent has credit for.
	events chan Event
	last   uint64 // number of the last event; used by listen only
}

func newStreams(sources []Source) map[string]*stream {
	streams := make(map[string]*stream, len(sources))
	for _, s := range sources {
		streams[s.Name] = &stream{source: s, events: make(chan Event, eventWindow)}
	}
	return streams
}

// sourceTerms are the sources as erl_exporter_agent:start/1 takes them.
func sourceTerms(sources []Source) etf.Map {
	m := make(etf.Map, len(sources))
	for i, s := range sources {
		m[i] = etf.Pair{Key: etf.Atom(s.Name), Value: s.Config}
	}
	return m
}

// happened takes {erl_exporter_agent, event, Source, Seq, Term}.
func (s *Session) happened(source, seq, term etf.Term) {
	name, _ := source.(etf.Atom)
	number, _ := seq.(int64)
	if name == ownSource {
		s.selfReport(term)
		s.giveCredit(context.Background(), ownSource, 1)
		return
	}
	st, ok := s.streams[string(name)]
	if !ok || number <= 0 {
		s.log.Warn("The agent told something of an unknown source", "source", etf.Format(source))
		return
	}
	e := Event{Node: s.conn.Node(), Term: term, Received: time.Now()}
	if uint64(number) > st.last {
		e.Lost, st.last = uint64(number)-st.last-1, uint64(number)
	}
	select {
	case st.events <- e:
	default:
		s.log.Warn("The agent told more than it may", "source", name)
	}
}

// handOver gives the events of a source to whoever handles them, and the agent
// credit for more, until the session has ended and there are none left.
func (s *Session) handOver(st *stream) {
	handled := 0
	for {
		select {
		case e := <-st.events:
			st.source.Handle(e)
			if handled++; handled >= eventWindow/2 {
				s.giveCredit(context.Background(), st.source.Name, handled)
				handled = 0
			}
		case <-s.left:
			s.handOverRest(st)
			return
		}
	}
}

func (s *Session) handOverRest(st *stream) {
	for {
		select {
		case e := <-st.events:
			st.source.Handle(e)
		default:
			return
		}
	}
}

// giveCredit lets the agent send more events of a source. A send that fails has
// ended the connection.
func (s *Session) giveCredit(ctx context.Context, source string, events int) {
	_ = s.conn.Send(ctx, s.pid, etf.Tuple{s.conn.Self(), etf.Atom("credit"), etf.Atom(source), int64(events)})
}

// Request asks a source on the node something and waits for the answer, at most
// until ctx ends. Errors: *SourceError when the source does not run there,
// ErrNoAgent, the reason why the session has ended.
func (s *Session) Request(ctx context.Context, source string, request Term) (Term, error) {
	answer, err := s.request(ctx, source, request)
	if err != nil {
		return nil, err
	}
	if reason, failed := failedReply(answer); failed {
		return nil, &SourceError{Node: s.conn.Node(), Source: source, Reason: reason}
	}
	return answer, nil
}

// Configure gives a source another configuration, or starts it if it does not
// run; it has to be one of those that the node was attached with. It returns
// when that is in force. Errors are those of Request.
func (s *Session) Configure(ctx context.Context, source string, config Term) error {
	_, err := s.Request(ctx, source, etf.Tuple{etf.Atom("configure"), config})
	return err
}

// SwitchOff makes a source take back what it has changed on the node, and end.
// Errors are those of Request.
func (s *Session) SwitchOff(ctx context.Context, source string) error {
	_, err := s.Request(ctx, source, etf.Atom("off"))
	return err
}

// Call calls a function on the node, through rex there, and waits for its
// result, at most until ctx ends. Errors are those of dist.Conn.Call.
func (s *Session) Call(ctx context.Context, module, function string, args ...Term) (Term, error) {
	return s.conn.Call(ctx, module, function, args...)
}

// failedReply reads {error, Reason}.
func failedReply(t etf.Term) (etf.Term, bool) {
	tuple, _ := t.(etf.Tuple)
	if len(tuple) != 2 || tuple[0] != etf.Atom("error") {
		return nil, false
	}
	return tuple[1], true
}

func (s *Session) request(ctx context.Context, source string, request Term) (Term, error) {
	if s.plain != nil {
		return nil, fmt.Errorf("agent: source %s on %q: %w", source, s.conn.Node(), ErrNoAgent)
	}
	ref, reply := s.expect()
	defer s.unexpect(ref)
	message := etf.Tuple{s.conn.Self(), etf.Atom("request"), ref, etf.Atom(source), request}
	if err := s.conn.Send(ctx, s.pid, message); err != nil {
		return nil, err
	}
	select {
	case answer := <-reply:
		return answer, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("agent: no answer of source %s on %q: %w", source, s.conn.Node(), ctx.Err())
	case <-s.done:
		return nil, s.failure
	}
}

// expect makes a number for a request, and a channel for the one answer.
func (s *Session) expect() (int64, <-chan etf.Term) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	reply := make(chan etf.Term, 1)
	s.replies[s.requests] = reply
	return s.requests, reply
}

func (s *Session) unexpect(ref int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.replies, ref)
}

// replied takes {erl_exporter_agent, reply, Ref, Term}. An answer that nobody
// waits for any more is dropped.
func (s *Session) replied(ref, term etf.Term) {
	number, _ := ref.(int64)
	s.mu.Lock()
	reply := s.replies[number]
	delete(s.replies, number)
	s.mu.Unlock()
	if reply != nil {
		reply <- term
	}
}

// selfReport takes an event of the agent itself.
func (s *Session) selfReport(event etf.Term) {
	t, _ := event.(etf.Tuple)
	switch {
	case len(t) == 4 && t[0] == etf.Atom("shedding"):
		s.shedding(t)
	case len(t) == 3 && t[0] == etf.Atom("source_failed"):
		s.log.Warn("A source on the node has failed and is started again in a minute",
			"source", etf.Format(t[1]), "reason", etf.Format(t[2]))
	}
}
