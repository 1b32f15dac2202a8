package dist

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/ergo-services/ergo/gen"

	"github.com/erlops/erlops/exporter/etf"
)

const (
	// A node that we have just left may need a moment to see that we are gone,
	// and says until then that our name is taken.
	goodbyeTime = 5 * time.Second
	// retryTime is the time between attempts while an error is about to pass.
	retryTime = 100 * time.Millisecond
	// endedMemory is how long the end of a connection is remembered, for the
	// text of an error.
	endedMemory = 2 * time.Minute
)

// dial connects, again as long as the node needs to see that our last
// connection is gone, or that it cannot dial us.
func (n *Network) dial(ctx context.Context, t Target) (*Conn, error) {
	if err := n.awaitEnd(ctx, t.Node); err != nil {
		return nil, err
	}
	var last error
	for {
		c, err := n.connect(ctx, t)
		if err != nil {
			err = n.explain(err, t.Node)
		}
		// A deadline passes for sockets a moment before it does for ctx.
		if err != nil && last != nil && (ctx.Err() != nil || isTimeout(err)) {
			return nil, last // it says more than that time ran out
		}
		if !passing(err) {
			return c, err
		}
		last = err
		select {
		case <-time.After(retryTime):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// leaving is why a node says that our name is taken: it may not have seen yet
// that our own last connection is gone.
type leaving struct {
	err error
	ago time.Duration
}

func (l *leaving) Error() string {
	return fmt.Sprintf("%v; our own last connection ended %s ago", l.err, l.ago.Round(time.Millisecond))
}

func (l *leaving) Unwrap() error { return l.err }

// explain tells a name that we had ourselves a moment ago from one that
// somebody else has: the former mends itself.
func (n *Network) explain(err error, name string) error {
	f, ok := errors.AsType[*fault](err)
	if !ok || f.kind != KindNameTaken {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if at, known := n.ended[name]; known {
		return &fault{KindNotNoticed, &leaving{f.err, time.Since(at)}}
	}
	return err
}

// passing tells whether an error goes away by itself in a moment.
func passing(err error) bool {
	if l, ok := errors.AsType[*leaving](err); ok {
		return l.ago < goodbyeTime
	}
	return errors.Is(err, errBusyDialling)
}

// awaitEnd waits until ergo has forgotten the node's last connection.
func (n *Network) awaitEnd(ctx context.Context, name string) error {
	n.mu.Lock()
	old := n.conns[name]
	n.mu.Unlock()
	if old == nil {
		return nil
	}
	enter(ctx, "waiting for the last connection to end")
	select {
	case <-old.terminated:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// connect makes one attempt.
func (n *Network) connect(ctx context.Context, t Target) (*Conn, error) {
	sock, err := open(ctx, t)
	if err != nil {
		return nil, err
	}
	c, err := n.newConn(sock, t)
	if err != nil {
		_ = sock.Close()
		return nil, err
	}
	if err := handOver(n.ergo, n.dials, t.Node, &dialing{ctx: ctx, conn: c}); err != nil {
		_ = sock.Close()
		c.box.end()
		return nil, err
	}
	if err := c.askTickTime(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// newConn makes a connection with its process, not yet served.
func (n *Network) newConn(sock net.Conn, t Target) (*Conn, error) {
	c := &Conn{
		net: n, target: t, sock: sock, log: n.log,
		out:        make(chan outgoing, 4),
		tickBack:   make(chan struct{}, 1),
		done:       make(chan struct{}),
		terminated: make(chan struct{}),
		calls:      map[uint64]chan etf.Term{},
		monitors:   map[uint64]etf.Pid{},
	}
	c.ticking.Store(int64(defaultTickTime))
	c.box = newMailbox(c.answer, n.opts.Mailbox)
	p, err := n.ergo.Spawn("", gen.ProcessOptions{MailboxSize: ergoMailbox, DirectboxSize: 1}, c.box)
	if err != nil {
		return nil, fmt.Errorf("start a process: %w", err)
	}
	c.box.pid = p.Self()
	c.self = n.pid(c.box.pid.ID)
	return c, nil
}

// serving enters a connection that ergo begins to serve.
func (n *Network) serving(c *Conn) {
	n.mu.Lock()
	n.conns[c.Node()] = c
	n.mu.Unlock()
}

// gone is called when ergo has forgotten the connection.
func (c *Conn) gone() {
	c.log.Debug("A connection to a node has ended", "node", c.Node(), "reason", c.failure)
	c.box.end()
	n := c.net
	n.mu.Lock()
	delete(n.conns, c.Node())
	now := time.Now()
	for name, at := range n.ended {
		if now.Sub(at) > endedMemory {
			delete(n.ended, name)
		}
	}
	n.ended[c.Node()] = now
	n.mu.Unlock()
	close(c.terminated)
	n.wg.Done()
}

// askTickTime asks the node for its tick time (net_kernel:get_net_ticktime/0).
// A node that cannot tell has the default; one that does not answer cannot be
// monitored.
func (c *Conn) askTickTime(ctx context.Context) error {
	enter(ctx, "asking the node for its tick time")
	answer, err := c.call(ctx, "net_kernel", "get_net_ticktime", nil)
	if err != nil && c.Err() != nil {
		return c.failure
	}
	if err != nil {
		return fmt.Errorf("asking the node for its tick time: %w", err)
	}
	tick, err := parseTickTime(answer)
	if err != nil {
		c.log.Warn("A node's tick time is unknown", "node", c.Node(), "assumed", defaultTickTime, "error", err)
		tick = defaultTickTime
	}
	c.learnTickTime(tick)
	c.log.Debug("Connected to a node", "node", c.Node(), "address", c.sock.RemoteAddr(), "tick_time", tick)
	return nil
}

// open finds the node and connects to it, without the handshake.
func open(ctx context.Context, t Target) (net.Conn, error) {
	address, err := resolve(ctx, t)
	if err != nil {
		return nil, err
	}
	enter(ctx, "connecting to the node at %s", address)
	sock, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, contextual(ctx, err)
	}
	if t.TLS == nil {
		return sock, nil
	}
	secure, err := encrypt(ctx, sock, t)
	if err != nil {
		_ = sock.Close()
		return nil, err
	}
	return secure, nil
}

// resolve gives the address of the node's listener.
func resolve(ctx context.Context, t Target) (string, error) {
	if t.Address != "" {
		if _, _, err := splitHostPort(t.Address); err != nil {
			return "", faultf(KindDNS, "address of the node: %w", err)
		}
		return t.Address, nil
	}
	addr, err := t.epmdAddress()
	if err != nil {
		return "", err
	}
	name, _, _ := strings.Cut(t.Node, "@")
	enter(ctx, "asking epmd at %s", addr)
	port, err := lookup(ctx, addr, name)
	if err != nil {
		return "", err
	}
	host, _, err := net.SplitHostPort(addr)
	return net.JoinHostPort(host, fmt.Sprint(port)), err
}

// encrypt makes the TLS handshake.
func encrypt(ctx context.Context, sock net.Conn, t Target) (net.Conn, error) {
	config := t.TLS.Clone()
	if config.ServerName == "" {
		_, config.ServerName, _ = strings.Cut(t.Node, "@")
	}
	enter(ctx, "TLS handshake with the node at %s", sock.RemoteAddr())
	secure := tls.Client(sock, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		if err := contextual(ctx, err); netKind(err) == KindTimeout {
			// To a node without TLS, a hello of TLS is half a message.
			return nil, faultf(KindTLS, "no answer to the TLS handshake, nor is there one from a node without TLS: %w", err)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &fault{KindTLS, err}
	}
	return secure, nil
}
