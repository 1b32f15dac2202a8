// Package doctor finds out, step by step, why a node cannot be attached: its
// name, the host's address, epmd, the port, TLS, the handshake, the cookie, the
// release of OTP, and whether an agent can be started there.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/dist"
)

// The steps, in the order in which a node is attached.
const (
	StepName      = "name"
	StepDNS       = "dns"
	StepEPMD      = "epmd"
	StepPort      = "port"
	StepTLS       = "tls"
	StepHandshake = "handshake"
	StepCookie    = "cookie"
	StepOTP       = "otp"
	StepInjection = "injection"
)

// Steps are all steps, in their order.
func Steps() []string {
	return []string{StepName, StepDNS, StepEPMD, StepPort, StepTLS, StepHandshake, StepCookie, StepOTP, StepInjection}
}

// Status is the outcome of a step.
type Status string

// The outcomes of a step.
const (
	OK      Status = "ok"
	Failed  Status = "failed"
	Skipped Status = "skipped"
)

// Step is what was found out in one step.
type Step struct {
	Step   string `json:"step"`
	Status Status `json:"status"`
	// Detail says what was seen, or why it was not looked at.
	Detail string `json:"detail"`
	// Advice says what to do; only where the step failed.
	Advice string `json:"advice,omitempty"`
}

// networkTime bounds each question to a name server, an epmd or a port.
const networkTime = 5 * time.Second

// Options of a Doctor.
type Options struct {
	// Attacher attaches the node as the exporter would; required.
	Attacher *agent.Attacher
	// Exporter is the node name of the exporter that the node is to be attached
	// to. That it is attached to that one already is no fault.
	Exporter string
}

// Doctor examines nodes. Its methods may be called concurrently.
type Doctor struct{ o Options }

// New returns a Doctor; it asks nobody anything.
func New(o Options) (*Doctor, error) {
	if o.Attacher == nil {
		return nil, errors.New("doctor: Options.Attacher is required")
	}
	return &Doctor{o}, nil
}

// examination is that of one node.
type examination struct {
	doctor *Doctor
	target agent.Target
	// host and port are where epmd says that the node listens.
	host string
	port string
	tell func(Step)
	done []string
}

// Examine goes through the steps until one fails, and tells each as soon as it
// is known; those after it are told as skipped. The node is as before when it
// returns. It reports whether the node can be attached; it blocks until ctx
// ends at the latest.
func (d *Doctor) Examine(ctx context.Context, t agent.Target, tell func(Step)) bool {
	e := &examination{doctor: d, target: t, tell: tell}
	healthy := e.name() && e.dns(ctx) && e.epmd(ctx) && e.listener(ctx) && e.attach(ctx)
	if !healthy {
		for _, step := range Steps() {
			if !slices.Contains(e.done, step) {
				e.say(Step{Step: step, Status: Skipped, Detail: "not reached"})
			}
		}
	}
	return healthy
}

func (e *examination) say(s Step) {
	e.done = append(e.done, s.Step)
	e.tell(s)
}

func (e *examination) ok(step, format string, args ...any) bool {
	e.say(Step{Step: step, Status: OK, Detail: fmt.Sprintf(format, args...)})
	return true
}

func (e *examination) skip(step, why string) bool {
	e.say(Step{Step: step, Status: Skipped, Detail: why})
	return true
}

func (e *examination) fail(step, detail, advice string) bool {
	e.say(Step{Step: step, Status: Failed, Detail: detail, Advice: advice})
	return false
}

func (e *examination) name() bool {
	if err := dist.CheckNodeName(e.target.Node); err != nil {
		detail, advice := words(err)
		return e.fail(StepName, detail, advice)
	}
	_, host, _ := strings.Cut(e.target.Node, "@")
	kind := "short"
	if strings.ContainsAny(host, ".:") {
		kind = "long"
	}
	return e.ok(StepName, "%s is a %s name", e.target.Node, kind)
}

// dns resolves the host that is dialled first: that of epmd, or of the node's
// own address.
func (e *examination) dns(ctx context.Context) bool {
	address, err := dist.EPMDAddress(e.target.Node, e.target.EPMD)
	if e.target.Address != "" {
		address = e.target.Address
	}
	if err == nil {
		e.host, e.port, err = net.SplitHostPort(address)
	}
	if err != nil {
		return e.fail(StepDNS, fmt.Sprintf("%q is not host:port", address), "correct the address of the node or of its epmd")
	}
	if ip := net.ParseIP(e.host); ip != nil {
		return e.ok(StepDNS, "%s is an address, there is nothing to resolve", e.host)
	}
	ctx, cancel := context.WithTimeout(ctx, networkTime)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, e.host)
	if err != nil {
		return e.fail(StepDNS, fmt.Sprintf("%s does not resolve: %v", e.host, err),
			"correct the part of the name after the @ or its entry in DNS or /etc/hosts; or give the node's own host:port as its address (--address), which leaves its name alone")
	}
	return e.ok(StepDNS, "%s is %s", e.host, strings.Join(addresses, ", "))
}

func (e *examination) epmd(ctx context.Context) bool {
	if e.target.Address != "" {
		return e.skip(StepEPMD, "not asked: the node's own address is given")
	}
	name, _, _ := strings.Cut(e.target.Node, "@")
	epmd := net.JoinHostPort(e.host, e.port)
	names, err := dist.Names(ctx, epmd)
	if unreached, ok := errors.AsType[*dist.Error](err); ok && unreached.Kind == dist.KindEPMDUnreachable && unreached.Timeout() {
		return e.fail(StepEPMD, fmt.Sprintf("epmd at %s did not answer in time", epmd),
			"let the firewall pass epmd's port, and check that the host is up; or give the node's own host:port as its address (--address), which does without epmd")
	}
	if err != nil {
		detail, advice := words(err)
		return e.fail(StepEPMD, detail, advice)
	}
	known := make([]string, len(names))
	for i, n := range names {
		if n.Name == name {
			e.port = strconv.Itoa(int(n.Port))
			return e.ok(StepEPMD, "epmd at %s says that %s listens on port %d", epmd, name, n.Port)
		}
		known[i] = n.Name
	}
	detail := fmt.Sprintf("epmd at %s knows no node %q", epmd, name)
	advice := "start the node there; if it runs, compare node() on it with the name, and its ERL_EPMD_PORT with the port of epmd"
	if len(known) > 0 {
		detail += "; it knows " + strings.Join(known[:min(len(known), 10)], ", ")
		advice = "correct the part of the name before the @, or start the node"
	}
	return e.fail(StepEPMD, detail, advice)
}

// listener opens the node's port and closes it again.
func (e *examination) listener(ctx context.Context) bool {
	address := net.JoinHostPort(e.host, e.port)
	ctx, cancel := context.WithTimeout(ctx, networkTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return e.closed(address, err)
	}
	_ = conn.Close()
	return e.ok(StepPort, "%s accepts connections", address)
}

// closed says of a port that cannot be opened whether somebody drops what is
// sent there or nobody listens.
func (e *examination) closed(address string, err error) bool {
	const fixed = "inet_dist_listen_min and inet_dist_listen_max fix which port that is"
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return e.fail(StepPort, fmt.Sprintf("%s did not answer within %s", address, networkTime),
			"let the firewall pass the node's distribution port ("+fixed+"), and check that the host is up")
	}
	return e.fail(StepPort, err.Error(),
		"check that the node runs and listens on this address (inet_dist_use_interface) and port ("+fixed+"), and that no firewall refuses it")
}

// stepOf is where an error of package dist belongs.
var stepOf = map[dist.Kind]string{
	dist.KindBadName: StepName, dist.KindDNS: StepDNS,
	dist.KindEPMDUnreachable: StepEPMD, dist.KindUnknownToEPMD: StepEPMD, dist.KindRefused: StepPort,
	dist.KindTLS: StepTLS, dist.KindCookie: StepCookie, dist.KindOTPTooOld: StepOTP,
}

// attach attaches the node and detaches it at once. The error of the attempt
// says up to which step it came.
func (e *examination) attach(ctx context.Context) bool {
	session, err := e.doctor.o.Attacher.Attach(ctx, e.target)
	if owned, ok := errors.AsType[*agent.OwnedError](err); ok {
		e.passed(StepInjection)
		return e.owned(owned)
	}
	if err != nil {
		return e.broken(err)
	}
	info := session.Info()
	e.passed(StepOTP)
	e.ok(StepOTP, "Erlang/OTP %s, ERTS %s; the agent runs on OTP 23 and later", info.OTPRelease, info.ERTS)
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), networkTime)
	defer cancel()
	if err := session.Detach(leaving); err != nil {
		return e.fail(StepInjection, "the agent was started and was not seen to leave: "+err.Error(),
			"nothing: it leaves by itself when its lease of 15 s ends")
	}
	switch info.Agent {
	case agent.AgentReleased:
		return e.ok(StepInjection, "the node's release includes the agent; it has run and is idle again")
	case agent.AgentNone:
		return e.ok(StepInjection, "injection is off: the node can be read by plain calls, with fewer metrics")
	}
	return e.ok(StepInjection, "the agent has run and left again")
}

// owned judges a node that another exporter holds.
func (e *examination) owned(err *agent.OwnedError) bool {
	if err.Owner == e.doctor.o.Exporter {
		return e.ok(StepInjection, "the exporter %s is attached to it right now", err.Owner)
	}
	return e.fail(StepInjection, fmt.Sprintf("it is attached to the exporter %s, and one at a time can be", err.Owner),
		"stop that exporter or take the node off its list; if it is the one that you mean, give its name with --name")
}

// broken tells the step that failed, and those before it that did not.
func (e *examination) broken(err error) bool {
	detail, advice := words(err)
	step := StepInjection
	if unreached, ok := errors.AsType[*dist.Error](err); ok {
		step = StepHandshake
		if known, ok := stepOf[unreached.Kind]; ok {
			step = known
		}
	}
	if unsupported, ok := errors.AsType[*agent.UnsupportedError](err); ok {
		step, detail = StepOTP, fmt.Sprintf("the node runs Erlang/OTP %s", unsupported.OTPRelease)
		advice = "only Erlang/OTP 23 and later can be monitored"
	}
	switch {
	case step == StepTLS:
		advice = e.adviceOnTLS(err, advice)
	case step == StepOTP && !askedFor(err):
		// The node is too old to shake hands with.
		for _, untried := range []string{StepTLS, StepHandshake, StepCookie} {
			e.skip(untried, "not tried")
		}
	case step != StepName && step != StepDNS && step != StepEPMD && step != StepPort:
		e.passed(step)
	}
	return e.fail(step, detail, advice)
}

// askedFor tells whether an error of the release is one of a node that was asked
// which it runs.
func askedFor(err error) bool {
	_, ok := errors.AsType[*agent.UnsupportedError](err)
	return ok
}

// adviceOnTLS says what to do where one side speaks TLS and the other does not.
func (e *examination) adviceOnTLS(err error, otherwise string) string {
	switch unreached, ok := errors.AsType[*dist.Error](err); {
	case e.target.TLS == nil:
		return "give the node's group tls_config in the configuration, with the ca_file of the node's certificate (and cert_file and key_file where the node asks for them), and examine it with --config.file; see the node's ssl_dist options"
	case ok && unreached.Timeout():
		return "take tls_config off the node's group, or start the node with -proto_dist inet_tls and ssl_dist options"
	}
	return otherwise
}

// passed tells the steps of the attempt that come before one.
func (e *examination) passed(step string) {
	for _, before := range Steps()[slices.Index(Steps(), StepTLS):slices.Index(Steps(), step)] {
		switch {
		case slices.Contains(e.done, before):
		case before == StepTLS && e.target.TLS == nil:
			e.skip(before, "none is configured for the node")
		case before == StepTLS:
			e.ok(before, "the certificates are good")
		case before == StepHandshake:
			e.ok(before, "the node has this name and lets us in")
		case before == StepCookie:
			e.ok(before, "it is the node's")
		case before == StepOTP:
			e.ok(before, "OTP 23 or later")
		}
	}
}

// words takes an error apart: what was seen, and what to do.
func words(err error) (detail, advice string) {
	if e, ok := errors.AsType[*dist.Error](err); ok {
		return e.Problem(), e.Advice()
	}
	// What could not be started is told by the step; the cause is news.
	for {
		failed, ok := errors.AsType[*agent.InjectionError](err)
		if !ok || failed.Err == nil {
			break
		}
		err = failed.Err
	}
	return err.Error(), "see what the node logs at this moment; agent.injection: never reads a node without an agent"
}
