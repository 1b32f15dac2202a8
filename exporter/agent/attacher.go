package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/etf"
)

const (
	defaultLease = 15 * time.Second
	defaultRenew = 3 * time.Second

	// leaveTime is how long an agent may take to leave.
	leaveTime = 5 * time.Second
	// retryPause is between attempts to start while another agent leaves.
	retryPause = 50 * time.Millisecond
)

// Options are those of an Attacher.
type Options struct {
	// Network is what nodes are dialled through; required.
	Network *dist.Network
	// Logger takes what befalls sessions; required.
	Logger *slog.Logger
	// Lease is how long an agent stays without a word from us; 15 s when zero.
	Lease time.Duration
	// Renew is how often the lease is renewed; 3 s when zero.
	Renew time.Duration
}

// Attacher starts agents on nodes. Its methods may be called concurrently.
type Attacher struct {
	opts Options
}

// New returns an Attacher; it starts nothing.
func New(o Options) (*Attacher, error) {
	if o.Network == nil || o.Logger == nil {
		return nil, errors.New("agent: Options.Network and Options.Logger must be set")
	}
	if o.Lease == 0 {
		o.Lease = defaultLease
	}
	if o.Renew == 0 {
		o.Renew = defaultRenew
	}
	if o.Lease < time.Millisecond || o.Renew <= 0 || o.Renew >= o.Lease {
		return nil, fmt.Errorf("agent: Options.Renew (%v) must be positive and shorter than Options.Lease (%v)", o.Renew, o.Lease)
	}
	return &Attacher{opts: o}, nil
}

// Attach dials the node, starts an agent there and returns the session that
// owns it. It blocks until the agent runs, ctx ends, or the node refuses. An
// agent that the same exporter left there, of any version, is replaced.
//
// An application erl_exporter_agent that the node has loaded is used, and
// nothing injected then. If it speaks another protocol, or there is none and
// Settings.Injection forbids to inject, the session reads what plain calls tell
// and says of every other collector why it is missing.
//
// Errors are *dist.Error when the node cannot be reached, *OwnedError when
// another exporter holds it, *UnsupportedError and *InjectionError. The
// connection is closed then.
func (a *Attacher) Attach(ctx context.Context, t Target) (*Session, error) {
	if err := t.Settings.check(); err != nil {
		return nil, err
	}
	conn, err := a.opts.Network.Dial(ctx, dist.Target{
		Node: t.Node, Cookie: t.Cookie, Address: t.Address, EPMD: t.EPMD, TLS: t.TLS,
	})
	if err != nil {
		return nil, err
	}
	s, err := a.attach(ctx, conn, t)
	if err != nil {
		// Closing is what makes an agent leave that was started all the same.
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

func (a *Attacher) attach(ctx context.Context, conn *dist.Conn, t Target) (*Session, error) {
	release, released, err := survey(ctx, conn)
	if err != nil {
		return nil, err
	}
	beam, err := beamFor(release)
	if err != nil {
		if unsupported, ok := errors.AsType[*UnsupportedError](err); ok {
			unsupported.Node = conn.Node()
		}
		return nil, err
	}
	l := launcher{conn: conn, released: released, beam: beam}
	if !released && t.Settings.Injection == InjectionNever {
		return a.attachPlain(ctx, conn, t, release, reasonNever)
	}
	l.argument = etf.Tuple{int64(protocol), conn.Self(), a.opts.Lease.Milliseconds(), t.term()}
	pid, greeting, err := l.launch(ctx)
	if other, ok := errors.AsType[*protocolError](err); ok && released {
		return a.attachPlain(ctx, conn, t, release, other.Error())
	}
	if err != nil {
		return nil, err
	}
	h, err := parseHello(greeting)
	if err != nil {
		return nil, &InjectionError{Node: conn.Node(), Err: err}
	}
	down, err := conn.Monitor(ctx, pid)
	if err != nil {
		return nil, err
	}
	a.complete(ctx, conn, &h.info)
	h.info.Agent = AgentInjected
	if released {
		h.info.Agent = AgentReleased
	}
	s := newSession(conn, pid, down, h, t, a.opts)
	s.start()
	return s, nil
}

// complete adds to info what the agent does not ask for because it would have
// to wait for a server of the node. A node that does not answer stays without.
func (a *Attacher) complete(ctx context.Context, conn *dist.Conn, info *NodeInfo) {
	info.Name, info.NetTick = conn.Node(), conn.Stats().TickTime
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	answer, err := conn.Call(ctx, "application", "which_applications", leaveTime.Milliseconds())
	if err == nil {
		info.Applications, err = parseApplications(answer)
	}
	if err != nil {
		a.opts.Logger.Warn("The node's applications are not known", "node", conn.Node(), "err", err)
	}
	for _, app := range info.Applications {
		if app.Name == "elixir" {
			info.Elixir = app.Version
		}
	}
}
