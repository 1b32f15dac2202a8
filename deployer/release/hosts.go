package release

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/ssh"
)

// idleConnection is how long a login that nobody uses is kept for the next
// step.
const idleConnection = 30 * time.Second

// Options say what to work with.
type Options struct {
	// Dial logs in to a host, as [ssh.Dialer.Dial] does.
	Dial func(ctx context.Context, l fleet.Login) (*ssh.Conn, error)
	// PublicKey is what users that are created let in, as in authorized_keys;
	// empty when none can be created.
	PublicKey string
	Logger    *slog.Logger
}

// Hosts opens hosts. Logins are shared by all that work on a host at the same
// time, and so are uploads.
type Hosts struct {
	options Options

	mu      sync.Mutex
	logins  map[string]*login
	uploads map[string]chan struct{}
	closed  bool
}

// New checks the options and connects to nothing.
func New(o Options) (*Hosts, error) {
	if o.Dial == nil {
		return nil, errors.New("release: Options.Dial is missing")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Hosts{options: o, logins: map[string]*login{}, uploads: map[string]chan struct{}{}}, nil
}

// login is a connection that is shared by the hosts opened with it.
type login struct {
	key   string
	users int
	idle  *time.Timer
	// dialling is held while somebody connects, so that others wait for that.
	dialling chan struct{}
	conn     *ssh.Conn
}

// Open logs in to a host, or joins a login that there is. Whoever opens a host
// must close it.
func (s *Hosts) Open(ctx context.Context, l fleet.Login) (*Host, error) {
	id, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	in, err := s.acquire(string(id))
	if err != nil {
		return nil, err
	}
	h := &Host{hosts: s, login: in, name: l.Host, where: l.User + "@" + l.Host}
	if h.conn, err = s.connect(ctx, in, l); err != nil {
		s.release(in)
		return nil, err
	}
	return h, nil
}

func (s *Hosts) acquire(key string) (*login, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("release: closed")
	}
	in := s.logins[key]
	if in == nil {
		in = &login{key: key, dialling: make(chan struct{}, 1)}
		s.logins[key] = in
	}
	if in.idle != nil {
		in.idle.Stop()
		in.idle = nil
	}
	in.users++
	return in, nil
}

// connect returns the login's connection, and makes one if there is none that
// lives.
func (s *Hosts) connect(ctx context.Context, in *login, l fleet.Login) (*ssh.Conn, error) {
	select {
	case in.dialling <- struct{}{}:
		defer func() { <-in.dialling }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if in.conn != nil && in.conn.Err() == nil {
		return in.conn, nil
	}
	conn, err := s.options.Dial(ctx, l)
	if err != nil {
		return nil, err
	}
	in.conn = conn
	return conn, nil
}

// release gives a login back; it is closed when nobody has wanted it for a
// while.
func (s *Hosts) release(in *login) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in.users--
	if in.users > 0 {
		return
	}
	if s.closed {
		s.drop(in)
		return
	}
	in.idle = time.AfterFunc(idleConnection, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if in.users == 0 && s.logins[in.key] == in {
			s.drop(in)
		}
	})
}

// drop forgets a login that has no users. The caller holds mu.
func (s *Hosts) drop(in *login) {
	delete(s.logins, in.key)
	if in.conn != nil {
		in.conn.Close()
	}
}

// Close closes what nobody uses, and the rest as soon as it is given back.
func (s *Hosts) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, in := range s.logins {
		if in.idle != nil {
			in.idle.Stop()
		}
		if in.users == 0 {
			s.drop(in)
		}
	}
	return nil
}

// uploading waits until nobody else uploads the same to the same place.
func (s *Hosts) uploading(ctx context.Context, key string) (done func(), err error) {
	s.mu.Lock()
	turn := s.uploads[key]
	if turn == nil {
		turn = make(chan struct{}, 1)
		s.uploads[key] = turn
	}
	s.mu.Unlock()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
