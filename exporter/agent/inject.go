package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/etf"
)

// errNotGone is the state of a node on which another agent is still leaving.
var errNotGone = errors.New("another agent has not left yet")

// launch claims the node and starts the agent. It tries again as long as an
// earlier agent is on its way out, at most for the time that may take.
func launch(ctx context.Context, conn *dist.Conn, beam []byte, argument etf.Term) (etf.Pid, etf.Term, error) {
	deadline := time.Now().Add(2 * leaveTime)
	for {
		pid, greeting, err := attempt(ctx, conn, beam, argument)
		if !errors.Is(err, errNotGone) {
			return pid, greeting, err
		}
		if time.Now().After(deadline) {
			return etf.Pid{}, nil, &InjectionError{Node: conn.Node(), Err: err}
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return etf.Pid{}, nil, &InjectionError{Node: conn.Node(), Err: fmt.Errorf("%w: %w", err, ctx.Err())}
		}
	}
}

func attempt(ctx context.Context, conn *dist.Conn, beam []byte, argument etf.Term) (etf.Pid, etf.Term, error) {
	if err := claim(ctx, conn); err != nil {
		return etf.Pid{}, nil, err
	}
	apply, funs, args := batch(injection(beam, argument))
	value, err := conn.Call(ctx, "lists", "zipwith", apply, funs, args)
	if remote, ok := errors.AsType[*dist.RemoteError](err); ok {
		return etf.Pid{}, nil, diagnose(ctx, conn, beam, remote)
	}
	if err != nil {
		return etf.Pid{}, nil, err
	}
	answers, _ := etf.AsList(value)
	if len(answers) != startAnswer+1 {
		return etf.Pid{}, nil, &InjectionError{Node: conn.Node(), Err: malformed("answer", value)}
	}
	pid, greeting, err := started(conn, answers[startAnswer])
	if err != nil {
		return etf.Pid{}, nil, err
	}
	if err := loaded(conn, answers[loadAnswer]); err != nil {
		// What has started is not what we sent.
		_ = conn.Send(ctx, pid, etf.Tuple{conn.Self(), etf.Atom("detach")})
		return etf.Pid{}, nil, err
	}
	return pid, greeting, nil
}

// started reads what erl_exporter_agent:start/1 answered.
func started(conn *dist.Conn, t etf.Term) (etf.Pid, etf.Term, error) {
	answer, _ := t.(etf.Tuple)
	if len(answer) == 3 && answer[0] == etf.Atom("ok") {
		if pid, ok := answer[1].(etf.Pid); ok {
			return pid, answer[2], nil
		}
	}
	// Another exporter was faster between our question and our start; the next
	// attempt asks it.
	if len(answer) == 2 && answer[1] == etf.Atom("owned") {
		return etf.Pid{}, nil, errNotGone
	}
	return etf.Pid{}, nil, &InjectionError{Node: conn.Node(), Err: fmt.Errorf("the agent did not start: %s", etf.Format(t))}
}

// loaded reads what code:load_binary/3 answered. Old code that is not purged
// yet is no fault.
func loaded(conn *dist.Conn, t etf.Term) error {
	answer, _ := t.(etf.Tuple)
	if len(answer) == 2 && answer[0] == etf.Atom("module") {
		return nil
	}
	if len(answer) == 2 && answer[1] == etf.Atom("not_purged") {
		return errNotGone
	}
	return &InjectionError{Node: conn.Node(), Err: fmt.Errorf("module %s is refused: %s", module, etf.Format(t))}
}

// diagnose finds out why the node refuses the module, which a call of many
// functions does not tell when the last of them fails.
func diagnose(ctx context.Context, conn *dist.Conn, beam []byte, seen *dist.RemoteError) error {
	answer, err := conn.Call(ctx, "code", "load_binary", etf.Atom(module), etf.String(module+".beam"), beam)
	if err != nil {
		return err
	}
	if err := loaded(conn, answer); err != nil {
		return err
	}
	remove(ctx, conn)
	return &InjectionError{Node: conn.Node(), Err: seen}
}

// remove takes the module off a node, unless an agent runs there. Whether it
// worked shows at the next attach.
func remove(ctx context.Context, conn *dist.Conn) {
	running, err := conn.Call(ctx, "erlang", "whereis", etf.Atom(module))
	if err != nil || running != etf.Atom("undefined") {
		return
	}
	apply, funs, args := batch(removal())
	_, _ = conn.Call(ctx, "lists", "zipwith", apply, funs, args)
}

// claim makes an agent leave that an earlier life of this exporter, or a dead
// one, has left on the node. An agent with another owner that lives makes it an
// *OwnedError. The two messages of this exchange are the same in all versions
// of the protocol.
func claim(ctx context.Context, conn *dist.Conn) error {
	found, err := conn.Call(ctx, "erlang", "whereis", etf.Atom(module))
	if err != nil {
		return err
	}
	pid, there := found.(etf.Pid)
	if !there {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	down, err := conn.Monitor(ctx, pid)
	if err != nil {
		return err
	}
	defer conn.Demonitor(ctx, down) //nolint:errcheck // a connection that fails tells the next call
	if err := conn.Send(ctx, pid, etf.Tuple{etf.Atom("handover"), conn.Self()}); err != nil {
		return err
	}
	return awaitHandover(ctx, conn, down)
}

func awaitHandover(ctx context.Context, conn *dist.Conn, down etf.Ref) error {
	for {
		select {
		case event, open := <-conn.Events():
			if !open {
				return conn.Err()
			}
			if owner, ok := ownedBy(event); ok {
				return &OwnedError{Node: conn.Node(), Owner: owner}
			}
			if _, ok := downReason(event, down); ok {
				return nil
			}
		case <-conn.Done():
			return conn.Err()
		case <-ctx.Done():
			return &InjectionError{
				Node: conn.Node(), Err: fmt.Errorf("%w: it did not answer: %w", errNotGone, ctx.Err()),
			}
		}
	}
}

// ownedBy reads {erl_exporter_agent, owned, Node}.
func ownedBy(event etf.Term) (string, bool) {
	t, _ := event.(etf.Tuple)
	if len(t) != 3 || t[0] != etf.Atom(module) || t[1] != etf.Atom("owned") {
		return "", false
	}
	owner, ok := t[2].(etf.Atom)
	return string(owner), ok
}

// downReason reads {'DOWN', Ref, process, Pid, Reason}.
func downReason(event etf.Term, ref etf.Ref) (etf.Term, bool) {
	t, _ := event.(etf.Tuple)
	if len(t) != 5 || t[0] != etf.Atom("DOWN") || !etf.Equal(t[1], ref) {
		return nil, false
	}
	return t[4], true
}
