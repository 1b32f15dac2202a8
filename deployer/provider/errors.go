package provider

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrorKind says what kind of trouble an [Error] is.
type ErrorKind string

// The kinds. Those marked so may pass by themselves.
const (
	KindNotFound    ErrorKind = "not_found"   // there is no such thing, or no longer
	KindAuth        ErrorKind = "auth"        // credentials were refused
	KindInvalid     ErrorKind = "invalid"     // the request can never succeed as it is
	KindQuota       ErrorKind = "quota"       // the account's limit is reached
	KindCapacity    ErrorKind = "capacity"    // no machine of that kind is left; may pass
	KindThrottled   ErrorKind = "throttled"   // too many requests; may pass
	KindUnavailable ErrorKind = "unavailable" // no answer, or a 5xx; may pass, may have had its effect
	KindConflict    ErrorKind = "conflict"    // in use, or in a state that passes
	KindUnsupported ErrorKind = "unsupported" // this provider cannot do that
	KindHostKey     ErrorKind = "host_key"    // not the host that was pinned
	KindMismatch    ErrorKind = "mismatch"    // the token was used with other parameters
)

// Error is every error of a provider.
type Error struct {
	// Provider and Op say who failed at what, such as "EC2", "create".
	Provider, Op string
	Kind         ErrorKind
	// Message says in a sentence, in the user's words, what is wrong and what
	// to do.
	Message string
	// RetryAfter is how long the provider asks to wait; 0 when it does not.
	RetryAfter time.Duration
	// Err is the cause.
	Err error
}

func (e *Error) Error() string {
	text := fmt.Sprintf("provider %s: %s: %s", e.Provider, e.Op, e.Message)
	if e.Message == "" {
		text = fmt.Sprintf("provider %s: %s: %s", e.Provider, e.Op, e.Kind)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// IsKind tells whether an error is one of a provider of that kind.
func IsKind(err error, kind ErrorKind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == kind
}

// Retryable tells whether the same call may succeed later. A deadline inside
// the provider may pass; a context that was cancelled was meant.
func Retryable(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	var e *Error
	if errors.As(err, &e) {
		switch e.Kind {
		case KindCapacity, KindThrottled, KindUnavailable, KindConflict:
			return true
		}
		return false
	}
	return errors.Is(err, context.DeadlineExceeded)
}

// RetryAfter returns how long the provider asks to wait, or 0.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}
