package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/dist"
)

// Errors of commands, to be found with errors.Is.
var (
	// ErrUnknown says that no such node is known.
	ErrUnknown = errors.New("no such node is known")
	// ErrKnown says that a node to be added is there already.
	ErrKnown = errors.New("the node is known already")
	// ErrDiscovered says that a node to be removed was not registered.
	ErrDiscovered = errors.New("the node was not registered but discovered: change the configuration, or suspend it")
	// ErrNotRunning says that the fleet is not started yet, or has ended.
	ErrNotRunning = errors.New("the fleet is not running")
)

// InvalidError is a registration with a wrong field.
type InvalidError struct {
	Field string // as in the API: "name", "cookie_ref", ...
	Err   error
}

func (e *InvalidError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *InvalidError) Unwrap() error { return e.Err }

// StateError is the answer to a question to a node that is not up.
type StateError struct {
	Node   string
	State  State
	Since  time.Time
	Reason string
	// Err is what went wrong last; nil when nothing did, as for a node that is
	// suspended or was never dialled.
	Err error
}

func (e *StateError) Error() string {
	text := fmt.Sprintf("node %q is %s since %s", e.Node, e.State, e.Since.UTC().Format(time.RFC3339))
	switch {
	case e.Err != nil:
		return text + ": " + e.Err.Error()
	case e.Reason != "":
		return text + ": " + e.Reason
	}
	return text
}

// Unwrap gives what went wrong last.
func (e *StateError) Unwrap() error { return e.Err }

// Kinds of errors beside those of package dist.
const (
	kindConfiguration = "configuration"
	kindOwned         = "owned"
	kindUnsupported   = "unsupported"
	kindInjection     = "injection"
	kindAgentLost     = "agent_lost"
	kindTimeout       = string(dist.KindTimeout)
	kindOther         = "other"
)

// personal are the errors that no waiting mends: the node, or who answers in
// its place, was reached, and somebody has to change something.
var personal = map[dist.Kind]bool{
	dist.KindCookie:       true,
	dist.KindNameMismatch: true,
	dist.KindNameTaken:    true,
	dist.KindOTPTooOld:    true,
	dist.KindNotAllowed:   true,
	dist.KindTLS:          true,
	dist.KindBadName:      true,
}

// verdict sorts an error of an attempt to attach: the state that the node is
// in after it, and the kind of error for programs, one of a small set.
func verdict(err error) (State, string) {
	if _, ok := errors.AsType[*agent.OwnedError](err); ok {
		return Refused, kindOwned
	}
	if _, ok := errors.AsType[*agent.UnsupportedError](err); ok {
		return Refused, kindUnsupported
	}
	if e, ok := errors.AsType[*dist.Error](err); ok {
		if personal[e.Kind] {
			return Refused, string(e.Kind)
		}
		return Down, string(e.Kind)
	}
	if _, ok := errors.AsType[*agent.InjectionError](err); ok {
		return Down, kindInjection
	}
	if _, ok := errors.AsType[*agent.LostError](err); ok {
		return Down, kindAgentLost
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Down, kindTimeout
	}
	return Down, kindOther
}
