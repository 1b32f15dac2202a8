package ssh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/erlops/erlops/deployer/fleet"
)

// The defaults of [Options].
const (
	DefaultDialTimeout      = 10 * time.Second
	DefaultHandshakeTimeout = 20 * time.Second
	DefaultKeepAlive        = 15 * time.Second
)

// Options say how to log in to hosts.
type Options struct {
	// ConfigFile is a file as ~/.ssh/config; empty for none. One that does not
	// exist is as good as an empty one.
	ConfigFile string
	// KnownHosts are files as ~/.ssh/known_hosts; those that do not exist are
	// passed over.
	KnownHosts []string
	// KeyFiles are private keys for hosts that name none of their own; those
	// that do not exist are passed over.
	KeyFiles []string
	// AgentSocket is the socket of an ssh-agent; empty for none.
	AgentSocket string
	// DialTimeout bounds a TCP connection, HandshakeTimeout what follows until
	// the login is done. Zero for the defaults.
	DialTimeout, HandshakeTimeout time.Duration
	// KeepAlive is how often a connection is probed; one that does not answer
	// within that time is closed. Zero for the default, negative for never.
	KeepAlive time.Duration
	// InsecureAcceptNew trusts a host of which no key is known, and writes its
	// key to AcceptedHosts, which is from then on a known_hosts file. A key
	// that is another than the known one is refused all the same.
	InsecureAcceptNew bool
	AcceptedHosts     string
	// User logs in where neither the login nor ConfigFile says who; empty for
	// the one this process runs as.
	User   string
	Logger *slog.Logger
	// Dial makes TCP connections; nil for a plain net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func (o Options) withDefaults() Options {
	if o.DialTimeout == 0 {
		o.DialTimeout = DefaultDialTimeout
	}
	if o.HandshakeTimeout == 0 {
		o.HandshakeTimeout = DefaultHandshakeTimeout
	}
	if o.KeepAlive == 0 {
		o.KeepAlive = DefaultKeepAlive
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.User == "" {
		o.User = currentUser()
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	return o
}

// Dialer logs in to hosts. Its methods may be called from many goroutines.
type Dialer struct {
	options Options
	// accepting keeps lines of AcceptedHosts whole.
	accepting sync.Mutex
}

// New checks the options. It reads no file and connects to nothing: key files,
// known_hosts and configuration are read at each Dial, so that changes count at
// once.
func New(o Options) (*Dialer, error) {
	if o.InsecureAcceptNew && o.AcceptedHosts == "" {
		return nil, errors.New("ssh: accepting unknown host keys needs a file to write them to")
	}
	return &Dialer{options: o.withDefaults()}, nil
}

// Dial logs in to a host, through its jump hosts if it has any.
//
// An error that does not pass by itself is a [*fleet.PermanentError]: of
// [fleet.ErrHostKey] when the host, or one on the way, is not known or not the
// one that is known; of [fleet.ErrLogin] when no key was accepted.
func (d *Dialer) Dial(ctx context.Context, l fleet.Login) (*Conn, error) {
	route, err := d.route(l)
	if err != nil {
		return nil, fleet.Permanent(err)
	}
	var clients []*ssh.Client
	closeAll := func() {
		for _, c := range slices.Backward(clients) {
			c.Close()
		}
	}
	for _, h := range route {
		client, err := d.connect(ctx, clients, h)
		if err != nil {
			closeAll()
			return nil, err
		}
		clients = append(clients, client)
	}
	return newConn(clients, l.Host, d.options), nil
}

// connect goes one hop further than the clients that there are.
func (d *Dialer) connect(ctx context.Context, before []*ssh.Client, h hop) (*ssh.Client, error) {
	trust, err := d.trust(h)
	if err != nil {
		return nil, fleet.Permanent(fmt.Errorf("host %s: %w", h.name, err))
	}
	keys, err := d.keys(ctx, h)
	if err != nil {
		return nil, fleet.Permanent(fmt.Errorf("host %s: %w", h.name, err))
	}
	defer keys.close()
	raw, err := d.dialTCP(ctx, before, h)
	if err != nil {
		return nil, fmt.Errorf("host %s: cannot connect to %s: %w", h.name, h.address(), err)
	}
	client, err := d.handshake(ctx, raw, h, trust, keys)
	if err != nil {
		raw.Close()
		return nil, d.explain(ctx, h, keys, err)
	}
	return client, nil
}

func (d *Dialer) dialTCP(ctx context.Context, before []*ssh.Client, h hop) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.options.DialTimeout)
	defer cancel()
	if len(before) > 0 {
		return before[len(before)-1].DialContext(ctx, "tcp", h.address())
	}
	return d.options.Dial(ctx, "tcp", h.address())
}

// handshake does what follows a TCP connection. The client's own timeout covers
// the connect only, and connections through a jump host know no deadlines, so a
// connection that takes too long is closed.
func (d *Dialer) handshake(ctx context.Context, raw net.Conn, h hop, trust trust, keys *keys) (*ssh.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, d.options.HandshakeTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	config := &ssh.ClientConfig{
		User:              h.user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeysCallback(keys.signers)},
		HostKeyCallback:   trust.check,
		HostKeyAlgorithms: trust.algorithms,
	}
	c, channels, requests, err := ssh.NewClientConn(raw, h.hostKeyName(), config)
	if !stop() {
		if err == nil {
			c.Close()
		}
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), nil
}

// explain says what a failed handshake means.
func (d *Dialer) explain(ctx context.Context, h hop, keys *keys, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("host %s: %w", h.name, context.Cause(ctx))
	}
	var untrusted *untrustedError
	var mismatch *ssh.AlgorithmNegotiationError
	switch {
	case errors.As(err, &untrusted):
		return fleet.Permanent(fmt.Errorf("host %s: %w", h.name, untrusted))
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("host %s: no SSH login at %s within %s", h.name, h.address(), d.options.HandshakeTimeout)
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fleet.Permanent(fmt.Errorf("host %s: %w: user %q, offered %s", h.name, fleet.ErrLogin, h.user, keys.offered()))
	case errors.As(err, &mismatch) && mismatch.What == "host key":
		return fleet.Permanent(fmt.Errorf("host %s: %w: it has no key of a type that is known of it: %w", h.name, fleet.ErrHostKey, mismatch))
	default:
		return fmt.Errorf("host %s: SSH with %s: %w", h.name, h.address(), err)
	}
}
