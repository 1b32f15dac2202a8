package fleet

import (
	"errors"
	"fmt"
	"strings"
)

// The kinds of refusals that a caller can tell apart with errors.Is. Their
// messages are for users; every other error is an internal one.
var (
	// ErrNotFound says that what was named does not exist.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that the state of things does not allow it now.
	ErrConflict = errors.New("conflict")
	// ErrInvalid says that the request itself is wrong; a [*ValidationError]
	// says where.
	ErrInvalid = errors.New("invalid")
	// ErrUnavailable says that something needed cannot be reached now.
	ErrUnavailable = errors.New("unavailable")
)

// What can be wrong with logging in to a host, to tell apart with errors.Is.
var (
	// ErrHostKey says that a host is not the known one, or that no key of it
	// is known.
	ErrHostKey = errors.New("host key not accepted")
	// ErrLogin says that a host accepted none of our keys.
	ErrLogin = errors.New("login refused")
)

// Error is a refusal that the user gets to read.
type Error struct {
	// Kind is one of the sentinels of this package.
	Kind error
	// Message says in a sentence what is wrong and what to do.
	Message string
	// Err is the cause, if there is one.
	Err error
}

// Errorf makes an [*Error] with a formatted message; %w sets its cause.
func Errorf(kind error, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: err.Error(), Err: errors.Unwrap(err)}
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// NotFound is the [*Error] of something that does not exist.
func NotFound(what, ref string) *Error {
	return Errorf(ErrNotFound, "there is no %s %q", what, ref)
}

// Problem is one thing that is wrong with a value.
type Problem struct {
	// Path leads to the field, such as firewall[2].port_from; empty for the
	// whole.
	Path string `json:"path"`
	// Message says what is wrong with it, value quoted.
	Message string `json:"message"`
}

// ValidationError lists everything that is wrong with a value.
type ValidationError struct {
	// What was checked, such as "node family".
	What     string
	Problems []Problem
}

func (e *ValidationError) Error() string {
	parts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		parts[i] = strings.TrimPrefix(p.Path+": "+p.Message, ": ")
	}
	return e.What + ": " + strings.Join(parts, "; ")
}

// Unwrap makes it an [ErrInvalid].
func (*ValidationError) Unwrap() error { return ErrInvalid }

// checker collects problems.
type checker struct{ problems []Problem }

func (c *checker) check(ok bool, path, format string, args ...any) {
	if !ok {
		c.problems = append(c.problems, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
}

// err gives what was collected, or nil.
func (c *checker) err(what string) error {
	if len(c.problems) == 0 {
		return nil
	}
	return &ValidationError{What: what, Problems: c.problems}
}
