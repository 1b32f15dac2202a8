package dist

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/erlops/erlops/exporter/etf"
)

// Kind is the cause of an [Error], fit for a label or a JSON field.
type Kind string

// The kinds of errors.
const (
	KindCookie          Kind = "cookie"
	KindNameMismatch    Kind = "name_mismatch"
	KindNameTaken       Kind = "name_taken"
	KindNotNoticed      Kind = "not_noticed"
	KindEPMDUnreachable Kind = "epmd_unreachable"
	KindUnknownToEPMD   Kind = "unknown_to_epmd"
	KindDNS             Kind = "dns"
	KindRefused         Kind = "refused"
	KindOTPTooOld       Kind = "otp_too_old"
	KindTimeout         Kind = "timeout"
	KindClosed          Kind = "closed"
	KindProtocol        Kind = "protocol"
	KindNotAllowed      Kind = "not_allowed"
	KindTLS             Kind = "tls"
	KindBadName         Kind = "bad_name"
	KindConflict        Kind = "conflict"
	KindCanceled        Kind = "canceled"
	KindBadTerm         Kind = "bad_term"
	KindTooManyFiles    Kind = "too_many_files"
)

// One error per [Kind], to be found with errors.Is.
var (
	ErrCookie          = errors.New("wrong cookie")
	ErrNameMismatch    = errors.New("the node has another name")
	ErrNameTaken       = errors.New("the exporter's name is taken")
	ErrNotNoticed      = errors.New("the node has not noticed yet that our last connection ended")
	ErrEPMDUnreachable = errors.New("epmd cannot be reached")
	ErrUnknownToEPMD   = errors.New("epmd does not know the node")
	ErrDNS             = errors.New("the host name does not resolve")
	ErrRefused         = errors.New("connection refused")
	ErrOTPTooOld       = errors.New("the node's Erlang/OTP is too old")
	ErrTimeout         = errors.New("timed out")
	ErrClosed          = errors.New("the connection is closed")
	ErrProtocol        = errors.New("the peer broke the distribution protocol")
	ErrNotAllowed      = errors.New("the node does not allow us to connect")
	ErrTLS             = errors.New("TLS failed")
	ErrBadName         = errors.New("impossible node name")
	ErrConflict        = errors.New("already connected with other settings")
	ErrCanceled        = errors.New("canceled")
	ErrBadTerm         = errors.New("not an Erlang term")
	ErrTooManyFiles    = errors.New("the exporter has no file descriptor left")
)

// kinds gives each kind its error and the sentence that says what to do.
var kinds = map[Kind]struct {
	sentinel error
	advice   string
}{
	KindCookie:          {ErrCookie, "compare the configured cookie with erlang:get_cookie() on the node"},
	KindNameMismatch:    {ErrNameMismatch, "configure the name that node() gives on the node, host part included"},
	KindNameTaken:       {ErrNameTaken, "give each exporter a name of its own, or stop the other one"},
	KindNotNoticed:      {ErrNotNoticed, "wait: it does so within its tick time (net_ticktime, 60 s by default)"},
	KindEPMDUnreachable: {ErrEPMDUnreachable, "start epmd there, open its port in the firewall, or configure the node's own address"},
	KindUnknownToEPMD:   {ErrUnknownToEPMD, "start the node, or correct the part of its name before the @"},
	KindDNS:             {ErrDNS, "correct the host or its DNS entry, or configure the node's address"},
	KindRefused:         {ErrRefused, "start the node, or open its distribution port in the firewall"},
	KindOTPTooOld:       {ErrOTPTooOld, "only Erlang/OTP 23 and later can be monitored"},
	KindTimeout:         {ErrTimeout, "check that the node runs and is not overloaded, and that no firewall drops packets"},
	KindClosed:          {ErrClosed, "it has to be dialled again"},
	KindProtocol:        {ErrProtocol, "check that an Erlang node with the same TLS setting listens there"},
	KindNotAllowed:      {ErrNotAllowed, "add the exporter's name to net_kernel:allow/1 on the node"},
	KindTLS:             {ErrTLS, "compare the certificates and the node's ssl_dist options"},
	KindBadName:         {ErrBadName, "a node name is name@host"},
	KindConflict:        {ErrConflict, "close the other connection first"},
	KindCanceled:        {ErrCanceled, "the caller gave up"},
	KindBadTerm:         {ErrBadTerm, "see package etf for the types that can be sent"},
	KindTooManyFiles:    {ErrTooManyFiles, "raise the exporter's limit of open files (LimitNOFILE= of systemd, ulimit -n)"},
}

// Error is what all functions of this package that speak to a node or an epmd
// return. Its text says what was tried, what is wrong and what to do; it never
// holds a cookie.
type Error struct {
	Node string // the node as it was to be dialled, or the address of an epmd
	Op   string // what was tried: "dial", "call lists:seq/2", ...
	Kind Kind
	Err  error // what was seen, in detail
}

func (e *Error) Error() string {
	return fmt.Sprintf("dist: %s %q: %s; %s", e.Op, e.Node, e.Problem(), e.Advice())
}

// Problem says what is wrong, without what was tried and what to do.
func (e *Error) Problem() string {
	text := kinds[e.Kind].sentinel.Error()
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Advice says what to do.
func (e *Error) Advice() string { return kinds[e.Kind].advice }

// Unwrap gives the details.
func (e *Error) Unwrap() error { return e.Err }

// Is tells whether target is the sentinel error of e's kind.
func (e *Error) Is(target error) bool { return target == kinds[e.Kind].sentinel }

// Timeout tells whether time ran out, also where Kind says on what.
func (e *Error) Timeout() bool { return e.Kind == KindTimeout || isTimeout(e.Err) }

// RemoteError is what a called function answered instead of a value.
type RemoteError struct {
	Node   string
	Call   string   // module:function/arity
	Reason etf.Term // R of {badrpc, R} or {error, R}
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("dist: call %s on %q failed on the node: %s", e.Call, e.Node, etf.Format(e.Reason))
}

// fault is an error that already knows its kind and still lacks the node and
// the operation.
type fault struct {
	kind Kind
	err  error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

func (f *fault) Is(target error) bool { return target == kinds[f.kind].sentinel }

func faultf(kind Kind, format string, args ...any) error {
	return &fault{kind, fmt.Errorf(format, args...)}
}

// asError makes err an *Error about op on node.
func asError(node, op string, err error) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*fault](err); ok {
		return &Error{Node: node, Op: op, Kind: f.kind, Err: f.err}
	}
	return &Error{Node: node, Op: op, Kind: netKind(err), Err: err}
}

// netKind sorts the errors of package net and of contexts.
func netKind(err error) Kind {
	if errors.Is(err, context.Canceled) {
		return KindCanceled
	}
	if isTimeout(err) {
		return KindTimeout
	}
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return KindTooManyFiles
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsTimeout {
			return KindTimeout
		}
		return KindDNS
	}
	for _, unreachable := range []error{syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH} {
		if errors.Is(err, unreachable) {
			return KindRefused
		}
	}
	return KindClosed
}

func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}
