package agent

import (
	"errors"
	"fmt"

	"github.com/erlops/erlops/exporter/etf"
)

// ErrDetached is why a session has ended after Detach.
var ErrDetached = errors.New("agent: detached")

// OwnedError says that another exporter's agent runs on the node. It can be
// attached when that exporter has let go.
type OwnedError struct {
	Node  string
	Owner string // the other exporter's node name
}

func (e *OwnedError) Error() string {
	return fmt.Sprintf("agent: node %q is attached to another exporter, %q; stop that one or take the node off its list",
		e.Node, e.Owner)
}

// UnsupportedError says that the node's Erlang/OTP is older than the agent
// supports.
type UnsupportedError struct {
	Node       string
	OTPRelease string // as erlang:system_info(otp_release) gives it
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("agent: node %q runs Erlang/OTP %q; the agent needs OTP %d or later", e.Node, e.OTPRelease, oldestOTP)
}

// InjectionError says that the agent could not be started on the node.
type InjectionError struct {
	Node string
	Err  error
}

func (e *InjectionError) Error() string {
	return fmt.Sprintf("agent: cannot start on node %q: %v", e.Node, e.Err)
}

// Unwrap gives the cause.
func (e *InjectionError) Unwrap() error { return e.Err }

// protocolError is the answer of a module that speaks another version.
type protocolError struct {
	theirs int64
}

func (e *protocolError) Error() string {
	return fmt.Sprintf("the node's application %s speaks protocol %d and this exporter %d", module, e.theirs, protocol)
}

// reasonNever is why there is no agent where none may be injected.
const reasonNever = "the agent may not be injected into this node and its release has no application " + module

// LostError is why a session has ended when the agent went by itself or was
// ended on the node.
type LostError struct {
	Node   string
	Reason etf.Term // why, in the agent's words or as its exit reason
}

func (e *LostError) Error() string {
	return fmt.Sprintf("agent: the agent left node %q: %s", e.Node, etf.Format(e.Reason))
}

// malformed is an answer of an agent that cannot be read.
func malformed(what string, t etf.Term) error {
	return fmt.Errorf("malformed %s from the agent: %s", what, etf.Format(t))
}
