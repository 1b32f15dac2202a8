package api

import (
	"context"
	"fmt"
)

// Backend is what the API answers from. Its methods may be called from many
// goroutines at once. Those that return an error return an [*Error] where the
// client is to read why; any other error becomes a 500 whose text goes to the
// log only.
type Backend interface {
	// Nodes returns all known nodes in any order. The slice belongs to the
	// caller, what its elements point to does not. It is called for every
	// list and must not wait for a node.
	Nodes() []Node
	// Node returns one node, and whether it is known.
	Node(name string) (Node, bool)
	// Add registers a node and keeps it over restarts. CodeConflict when the
	// name is known already.
	Add(ctx context.Context, r NodeRegistration) error
	// Remove forgets a registered node. CodeNotFound when it is not known,
	// CodeConflict when it was not registered.
	Remove(ctx context.Context, name string) error
	// Suspend detaches a node until Resume. Both do nothing when there is
	// nothing to do; CodeNotFound when the node is not known.
	Suspend(ctx context.Context, name string) error
	Resume(ctx context.Context, name string) error
	// Subscribe returns what happens from now on, until cancel is called.
	// A backend that closes the channel has given up on a subscriber that
	// was too slow: it is asked again, and clients are told that events are
	// missing. The id of an event is not used.
	Subscribe() (events <-chan Event, cancel func())
}

// Code says what kind of error an [Error] is.
type Code int

// The codes, and the HTTP status that each becomes.
const (
	CodeInvalid     Code = iota + 1 // 400
	CodeNotFound                    // 404
	CodeConflict                    // 409
	CodeUnavailable                 // 503
	CodeForbidden                   // 403
	CodeBusy                        // 429
)

// Error is an error of a [Backend] that the client gets to read.
type Error struct {
	Code Code
	// Message says in a sentence what is wrong and what to do.
	Message string
	// Fields name the parts of the request that are wrong, if that is it.
	Fields []FieldError
	// Err is the cause; it is not shown.
	Err error
}

// Errorf makes an [Error] with a formatted message; %w sets its cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: err}
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
