package sink

import (
	"context"
	"fmt"
	"time"

	"github.com/erlops/erlops/exporter/logs"
)

// Sender delivers batches of entries to one receiver. Send is not called
// concurrently.
type Sender interface {
	// Send delivers the entries in their order. It blocks until the receiver
	// has answered or ctx is done. Errors: *RefusedError for what is not to be
	// tried again, *PartialError when the first entries are done with,
	// *RetryError for what is not to be tried before a while; with any other
	// error the whole batch is tried again.
	Send(ctx context.Context, batch []logs.Entry) error
}

// RefusedError is the error of a batch that the receiver will never take as a
// whole. What it took of it, it has.
type RefusedError struct {
	// Entries is how many it did not take.
	Entries int
	Err     error
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%d entries are refused: %v", e.Entries, e.Err)
}

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// PartialError is the error of a batch whose first entries need not be sent
// again.
type PartialError struct {
	// Done is how many these are.
	Done int
	// Refused has those of them that the receiver did not take; nil without any.
	Refused *RefusedError
	// Err is the error of the others, which are to be tried again.
	Err error
}

func (e *PartialError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *PartialError) Unwrap() error { return e.Err }

// RetryError is the error of a receiver that says when to come back.
type RetryError struct {
	After time.Duration
	Err   error
}

func (e *RetryError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *RetryError) Unwrap() error { return e.Err }
