package clikit

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// The exit codes of all programs, for scripts. What a program does not list in
// its documents it does not use.
const (
	ExitOK           = 0
	ExitFailed       = 1
	ExitUsage        = 2
	ExitNotFound     = 3
	ExitRefused      = 4 // the request is wrong, or the state does not allow it
	ExitUnreachable  = 5
	ExitNodes        = 6 // nodes are not as they should be
	ExitNotConfirmed = 7
	ExitChanges      = 8   // there are differences, and --exit-code asked for them
	ExitDenied       = 9   // the server wants other credentials
	ExitInterrupted  = 130 // by a signal
)

// ExitError is an error with an exit code of its own. Err is nil when there is
// nothing to say.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap gives the cause.
func (e *ExitError) Unwrap() error { return e.Err }

// Usagef is a wrong call of the program.
func Usagef(format string, args ...any) error {
	return &ExitError{ExitUsage, fmt.Errorf(format, args...)}
}

// Silent tells whether err only carries an exit code.
func Silent(err error) bool {
	own, ok := errors.AsType[*ExitError](err)
	return ok && own.Err == nil
}

// Code gives the exit code for what a program ended with: that of an ExitError,
// ExitUsage when a flag is missing, ExitInterrupted when the context was
// cancelled, and ExitFailed for all else.
func Code(err error) int {
	own, ok := errors.AsType[*ExitError](err)
	switch {
	case err == nil:
		return ExitOK
	case ok:
		return own.Code
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	case strings.HasPrefix(err.Error(), "Required flag"):
		// The library has neither a type for it nor a hook.
		return ExitUsage
	}
	return ExitFailed
}
