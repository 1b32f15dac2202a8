package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/etf"
)

// errNotGone is the state of a node on which another agent is still leaving.
var errNotGone = errors.New("another agent has not left yet")

// launcher starts an agent on a node.
type launcher struct {
	conn *dist.Conn
	// released says that the node has the module itself; otherwise beam is
	// injected.
	released bool
	beam     []byte
	argument etf.Term // of erl_exporter_agent:start/1
}

// survey asks for the node's OTP release and whether it has the application
// erl_exporter_agent, which is a look into a table there: a release loads what
// it includes.
func survey(ctx context.Context, conn *dist.Conn) (release string, released bool, err error) {
	apply, funs, args := batch([]call{
		{"erlang", "system_info", etf.List{etf.Atom("otp_release")}},
		{"application", "get_key", etf.List{etf.Atom(module), etf.Atom("vsn")}},
	})
	value, err := conn.Call(ctx, "lists", "zipwith", apply, funs, args)
	if err != nil {
		return "", false, err
	}
	answers, _ := etf.AsList(value)
	if len(answers) != 2 {
		return "", false, &InjectionError{Node: conn.Node(), Err: malformed("answer", value)}
	}
	release, _ = etf.AsString(answers[0])
	return release, answers[1] != etf.Atom("undefined"), nil
}

// launch claims the node and starts the agent. It tries again as long as an
// earlier agent is on its way out, at most for the time that may take.
func (l launcher) launch(ctx context.Context) (etf.Pid, etf.Term, error) {
	conn := l.conn
	deadline := time.Now().Add(2 * leaveTime)
	for {
		pid, greeting, err := l.attempt(ctx)
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

func (l launcher) attempt(ctx context.Context) (etf.Pid, etf.Term, error) {
	if err := claim(ctx, l.conn); err != nil {
		return etf.Pid{}, nil, err
	}
	if !l.released {
		return l.inject(ctx)
	}
	answer, err := l.conn.Call(ctx, module, "start", l.argument)
	if remote, ok := errors.AsType[*dist.RemoteError](err); ok {
		return etf.Pid{}, nil, &InjectionError{Node: l.conn.Node(), Err: remote}
	}
	if err != nil {
		return etf.Pid{}, nil, err
	}
	return started(l.conn, answer)
}

func (l launcher) inject(ctx context.Context) (etf.Pid, etf.Term, error) {
	conn := l.conn
	apply, funs, args := batch(injection(l.beam, l.argument))
	value, err := conn.Call(ctx, "lists", "zipwith", apply, funs, args)
	if remote, ok := errors.AsType[*dist.RemoteError](err); ok {
		return etf.Pid{}, nil, diagnose(ctx, conn, l.beam, remote)
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
	if len(answer) == 2 && answer[0] == etf.Atom("error") {
		if reason, ok := answer[1].(etf.Tuple); ok && len(reason) == 2 && reason[0] == etf.Atom("protocol") {
			theirs, _ := reason[1].(int64)
			return etf.Pid{}, nil, &InjectionError{Node: conn.Node(), Err: &protocolError{theirs}}
		}
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
	if strings.Contains(etf.Format(seen.Reason), "{undef,[{"+module+",start,") {
		// An agent that was just leaving took the module away between the load
		// and the start.
		return errNotGone
	}
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
