package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/erlops/erlops/exporter/etf"
)

// commands is the name of the source.
const commands = "commands"

// CommandSource is the source that Run asks. It tells nothing by itself.
func CommandSource() Source {
	return Source{Name: commands, Config: etf.Map{}, Handle: func(Event) {}}
}

// Command is what Run has a node do.
type Command struct{ term etf.Term }

// CallCommand calls a function.
func CallCommand(module, function string, arguments []Term) Command {
	return Command{etf.Tuple{etf.Atom("call"), etf.Atom(module), etf.Atom(function), etf.List(arguments)}}
}

// The commands about a process take its registered name, or its pid as the node
// prints it: <0.85.0>.

// GarbageCollectCommand has a process collect its garbage.
func GarbageCollectCommand(process string) Command { return named("garbage_collect", process) }

// InspectProcessCommand tells all about a process but its messages; of its
// dictionary the keys.
func InspectProcessCommand(process string) Command { return named("inspect_process", process) }

// ProcessStateCommand is sys:get_state/2.
func ProcessStateCommand(process string, timeout time.Duration) Command {
	return Command{etf.Tuple{etf.Atom("process_state"), []byte(process), timeout.Milliseconds()}}
}

// SoftPurgeCommand is code:soft_purge/1.
func SoftPurgeCommand(module string) Command { return named("soft_purge", module) }

// TopETSCommand tells the largest tables by memory.
func TopETSCommand(count int) Command { return Command{etf.Tuple{etf.Atom("top_ets"), int64(count)}} }

// ApplicationEnvCommand is application:get_all_env/1, with secrets.
func ApplicationEnvCommand(application string) Command { return named("application_env", application) }

// ApplicationsCommand tells the loaded applications, ReleasesCommand is
// release_handler:which_releases/0, and ChangedCodeCommand tells the modules
// whose files are newer than the node, or not there.
func ApplicationsCommand() Command { return Command{etf.Atom("applications")} }

// ReleasesCommand is release_handler:which_releases/0.
func ReleasesCommand() Command { return Command{etf.Atom("releases")} }

// ChangedCodeCommand tells the modules whose files are newer than the node, or
// are not there.
func ChangedCodeCommand() Command { return Command{etf.Atom("changed_code")} }

func named(command, name string) Command {
	return Command{etf.Tuple{etf.Atom(command), []byte(name)}}
}

// Errors of Run, to be found with errors.Is.
var (
	// ErrCommandTime says that a command was ended at its deadline.
	ErrCommandTime = errors.New("it took longer than it may, and was ended")
	// ErrCommandHeap says that a command was ended because it took more memory
	// than it may, 64 MB.
	ErrCommandHeap = errors.New("it took more memory on the node than it may, and was ended")
	// ErrCommandBusy says that as many commands run on the node as may.
	ErrCommandBusy = errors.New("as many commands run on the node as may")
)

// TooLargeError says that a result was larger than asked for. It was not sent.
type TooLargeError struct{ Bytes, Limit int64 }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the result has %d bytes, and at most %d are told", e.Bytes, e.Limit)
}

// RaisedError says that a command raised an exception on the node.
type RaisedError struct {
	Class  string // error, exit or throw
	Reason Term
	Place  string // module:function; empty when that is not known
}

func (e *RaisedError) Error() string {
	text := e.Class + ": " + etf.Format(e.Reason)
	if e.Place != "" {
		text += " in " + e.Place
	}
	return text
}

const (
	// giveUpTime is how long the agent may take to end a command.
	giveUpTime = 5 * time.Second
	// answerTime is how much longer than the command itself its answer may take.
	answerTime = 2 * time.Second
)

// Run has the agent run a command on the node, once, in a process of its own
// that is ended after timeout or when ctx is done before it. A result larger
// than maxBytes (in external term format) does not leave the node.
//
// Errors: ErrCommandTime, ErrCommandHeap, ErrCommandBusy, *TooLargeError,
// *RaisedError, those of Request.
func (s *Session) Run(ctx context.Context, c Command, timeout time.Duration, maxBytes int) (Term, error) {
	if s.plain != nil {
		return nil, fmt.Errorf("agent: %q: %w", s.conn.Node(), ErrNoAgent)
	}
	ref, reply := s.expect()
	defer s.unexpect(ref)
	request := etf.Tuple{etf.Atom("run"), c.term, timeout.Milliseconds(), int64(maxBytes)}
	if err := s.conn.Send(ctx, s.pid, s.question(ref, request)); err != nil {
		return nil, err
	}
	late := time.NewTimer(timeout + answerTime)
	defer late.Stop()
	select {
	case answer := <-reply:
		if reason, failed := failedReply(answer); failed {
			return nil, &SourceError{Node: s.conn.Node(), Source: commands, Reason: reason}
		}
		return result(answer, maxBytes)
	case <-s.done:
		return nil, s.failure
	case <-ctx.Done():
		s.giveUp(ctx, ref)
		return nil, fmt.Errorf("agent: a command on %q was given up: %w", s.conn.Node(), ctx.Err())
	case <-late.C:
		s.giveUp(ctx, ref)
		return nil, ErrCommandTime
	}
}

// question is a message to the source.
func (s *Session) question(ref int64, request etf.Term) etf.Term {
	return etf.Tuple{s.conn.Self(), etf.Atom("request"), ref, etf.Atom(commands), request}
}

// giveUp has the agent end a command that nobody waits for any more. A send that
// fails has ended the connection, and with it the command.
func (s *Session) giveUp(ctx context.Context, run int64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpTime)
	defer cancel()
	ref, _ := s.expect()
	defer s.unexpect(ref)
	_ = s.conn.Send(ctx, s.pid, s.question(ref, etf.Tuple{etf.Atom("cancel"), run}))
}

// result reads the answer of a run.
func result(answer etf.Term, maxBytes int) (Term, error) {
	switch answer {
	case etf.Atom("timeout"):
		return nil, ErrCommandTime
	case etf.Atom("killed"):
		return nil, ErrCommandHeap
	}
	t, _ := answer.(etf.Tuple)
	switch {
	case len(t) == 2 && t[0] == etf.Atom("value"):
		value, _ := t[1].([]byte)
		return etf.Decode(value, etf.Limits{Bytes: maxBytes + 1<<10})
	case len(t) == 2 && t[0] == etf.Atom("too_large"):
		size, _ := t[1].(int64)
		return nil, &TooLargeError{Bytes: size, Limit: int64(maxBytes)}
	case len(t) == 2 && t[0] == etf.Atom("busy"):
		return nil, ErrCommandBusy
	case len(t) == 4 && t[0] == etf.Atom("raised"):
		class, _ := t[1].(etf.Atom)
		return nil, &RaisedError{Class: string(class), Reason: t[2], Place: placeText(t[3])}
	}
	return nil, malformed("answer of a command", answer)
}

func placeText(t etf.Term) string {
	place, _ := t.(etf.Tuple)
	if len(place) != 2 {
		return ""
	}
	return etf.Format(place[0]) + ":" + etf.Format(place[1])
}
