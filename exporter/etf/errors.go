package etf

import (
	"errors"
	"fmt"
)

// What is wrong with an input or a term; test with errors.Is.
var (
	// ErrTruncated: the input ends before the term does.
	ErrTruncated = errors.New("input ends early")
	// ErrMalformed: no node would write, or read, these bytes or this value.
	ErrMalformed = errors.New("malformed")
	// ErrLimit: the term goes beyond the Limits given, beyond MaxDepth, or
	// beyond what the format can hold.
	ErrLimit = errors.New("beyond the limit")
	// ErrTrailing: the input goes on after the term.
	ErrTrailing = errors.New("bytes follow the term")
	// ErrType: a Go value is none of the types of Term.
	ErrType = errors.New("not a term")
)

// DecodeError says where in the input [Decode] failed.
type DecodeError struct {
	// Offset is that of the tag of the innermost term that was refused, from
	// the beginning of the input, or of the inflated bytes when Inflated.
	Offset int
	// Tag is the byte at Offset; 0 when the input ends there.
	Tag byte
	// Inflated is set when the fault is inside a compressed term.
	Inflated bool
	// Err says what is wrong and wraps one of the sentinel errors.
	Err error
}

func (e *DecodeError) Error() string {
	tag, in := "", ""
	if e.Tag != 0 {
		tag = tagName(e.Tag) + " "
	}
	if e.Inflated {
		in = " of the inflated bytes"
	}
	return fmt.Sprintf("etf: %sat offset %d%s: %v", tag, e.Offset, in, e.Err)
}

func (e *DecodeError) Unwrap() error { return e.Err }

// EncodeError says which value [Append] could not write.
type EncodeError struct {
	// Type is the Go type of the value, or "term" when the whole is too deep or
	// too large.
	Type string
	// Err says what is wrong and wraps one of the sentinel errors.
	Err error
}

func (e *EncodeError) Error() string {
	return fmt.Sprintf("etf: cannot write %s: %v", e.Type, e.Err)
}

func (e *EncodeError) Unwrap() error { return e.Err }
