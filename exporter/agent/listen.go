package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/exporter/snapshot"
)

// listen handles what the agent sends until it has gone or the connection
// ends.
func (s *Session) listen() {
	defer close(s.left)
	var reason etf.Term
	for {
		select {
		case event, open := <-s.conn.Events():
			if !open {
				s.lost(nil, nil)
				return
			}
			if exit, ended := downReason(event, s.down); ended {
				s.lost(reason, exit)
				return
			}
			left, err := s.handle(event)
			if err != nil {
				// Its labels and ours differ from here on.
				s.finish(err)
				return
			}
			if left != nil {
				reason = left
			}
		case <-s.conn.Done():
			s.lost(nil, nil)
			return
		}
	}
}

// handle takes a message of the agent. It returns the reason when the agent
// says goodbye, and an error when the agent cannot be understood.
func (s *Session) handle(event etf.Term) (leaving etf.Term, err error) {
	t, _ := event.(etf.Tuple)
	if len(t) < 3 || t[0] != etf.Atom(module) {
		return nil, nil
	}
	switch {
	case t[1] == etf.Atom("snapshot") && len(t) == 4:
		return nil, s.answered(t[2], t[3])
	case t[1] == etf.Atom("event") && len(t) == 5:
		s.happened(t[2], t[3], t[4])
	case t[1] == etf.Atom("reply") && len(t) == 4:
		s.replied(t[2], t[3])
	case t[1] == etf.Atom("leaving"):
		return t[2], nil
	}
	return nil, nil
}

// shedding tells what the agent leaves out from now on, by its event
// {shedding, LeftOut, {What, Limit}, Used}.
func (s *Session) shedding(t etf.Tuple) {
	left, _ := names(t[1])
	if len(left) == 0 {
		s.log.Info("The agent is within its limits again and leaves nothing out")
		return
	}
	s.log.Warn("The agent leaves collectors out to stay within its limits",
		"left_out", left, "limit", etf.Format(t[2]), "used", etf.Format(t[3]))
}

// answered hands a reading to whoever asked for it. An answer that nobody
// waits for any more is decoded all the same, for its labels.
func (s *Session) answered(seq, binary etf.Term) error {
	number, _ := seq.(int64)
	q := s.settle(number)
	body, ok := binary.([]byte)
	if q == nil || !ok {
		return malformed("answer", etf.Tuple{seq, binary})
	}
	now := time.Now()
	collectors, err := s.decoder.decode(body, q.collectors)
	if err != nil {
		err = fmt.Errorf("agent: on %q: %w", s.conn.Node(), err)
		q.answer <- answer{err: err}
		return err
	}
	read := &snapshot.Snapshot{
		Taken: now, RoundTrip: now.Sub(q.asked), Bytes: len(body), Collectors: collectors,
	}
	s.noteCost(read)
	q.answer <- answer{snapshot: read}
	return nil
}

// settle takes the question with this number off the list. The agent answers
// in order, so that of those before it there will be no answer: they never
// arrived, or the answer could not be sent.
func (s *Session) settle(number int64) *question {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, q := range s.unanswered {
		if n < number {
			delete(s.unanswered, n)
			q.answer <- answer{err: fmt.Errorf("agent: the reading of %q got lost on the way", s.conn.Node())}
		}
	}
	q := s.unanswered[number]
	delete(s.unanswered, number)
	return q
}

func (s *Session) noteCost(read *snapshot.Snapshot) {
	t, ok := read.Table(snapshot.Agent)
	if !ok {
		return
	}
	column := func(name string) uint64 {
		value, _ := t.Value(name)
		return uint64(value)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cost = Cost{
		Reductions:  column("reductions"),
		MemoryBytes: column("memory_bytes"),
		MailboxLen:  column("message_queue_len"),
		Dropped:     column("dropped"),
		Shedding:    column("shedding") == 1,
	}
}

// lost ends the session because the agent has gone (reason is what it said,
// exit how it ended) or the connection has (both are nil).
func (s *Session) lost(reason, exit etf.Term) {
	s.mu.Lock()
	detaching := s.detaching
	s.mu.Unlock()
	switch {
	case detaching:
		// Detach ends the session.
	case exit == nil:
		s.finish(s.conn.Err())
	case reason != nil:
		s.finish(&LostError{Node: s.conn.Node(), Reason: reason})
	default:
		s.sweep(exit)
	}
}

// sweep does for an agent that was killed what it could not do itself, then
// ends the session.
func (s *Session) sweep(exit etf.Term) {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	if s.msaccOurs {
		_, _ = s.conn.Call(ctx, "erlang", "system_flag", etf.Atom("microstate_accounting"), false)
	}
	for _, c := range s.settings.Custom {
		if c.Beam != nil {
			_, _ = s.conn.Call(ctx, "code", "delete", etf.Atom(c.Module))
			_, _ = s.conn.Call(ctx, "code", "purge", etf.Atom(c.Module))
		}
	}
	if s.info.Agent == AgentInjected {
		remove(ctx, s.conn)
	}
	s.finish(&LostError{Node: s.conn.Node(), Reason: exit})
}
