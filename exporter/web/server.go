package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/erlops/erlops/exporter/api"
)

// Times and sizes of the HTTP server. They keep a client that is slow, on
// purpose or not, from holding on to a connection for ever.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	// writeTimeout is for a whole answer, and has to be longer than the
	// longest scrape. Streams set their own.
	writeTimeout   = 2 * time.Minute
	maxHeaderBytes = 32 << 10
)

// Options of [New].
type Options struct {
	// ListenAddresses are host:port, or unix:/path for a Unix socket, which
	// its owner and group can use. [DefaultListenAddress] when empty.
	ListenAddresses []string
	// MaxRoles has, by address, the highest role that anybody has there,
	// whatever they show. An address that is not in it has no such limit.
	MaxRoles map[string]string
	// ConfigFile is a web configuration file of the Prometheus exporters,
	// for TLS, passwords, headers and a rate limit. Optional; a change is
	// noticed at the next request.
	ConfigFile string
	// ExternalURL is under which others see the exporter; its path is taken
	// off requests that have it. Optional.
	ExternalURL string
	// Auth says who may do what.
	Auth Auth

	// Routes are those of the API.
	Routes []api.Route
	// Metrics, AllNodes, Probe and ServiceDiscovery answer /metrics,
	// /metrics/nodes, /probe and /sd, where there is one.
	Metrics, AllNodes, Probe, ServiceDiscovery http.Handler
	// Nodes returns what the landing page shows. The slice belongs to the
	// caller. It must not wait for a node.
	Nodes func() []api.Node
	// Ready says why the exporter is not ready, nil when it is. Optional.
	Ready func() error
	// Reload loads the configuration anew. Its error is shown to who asked.
	// Optional.
	Reload func(context.Context) error
	// Config returns the configuration in force as YAML, without secrets.
	// Optional.
	Config func() ([]byte, error)

	// NodeName is how Erlang nodes see the exporter, for the landing page.
	NodeName string
	// Version is the exporter's, for the landing page.
	Version string
	// ShutdownTimeout is how long requests may take to end once Run is told
	// to; 5 s when it is zero.
	ShutdownTimeout time.Duration

	Logger     *slog.Logger
	Registerer prometheus.Registerer // optional
	Now        func() time.Time      // time.Now when nil
}

// Server answers HTTP requests. It is a [http.Handler] too.
type Server struct {
	options     Options
	logger      *slog.Logger
	now         func() time.Time
	external    *url.URL // nil when there is none
	prefix      string   // path of external, without a slash at its end
	access      *access
	crossOrigin *http.CrossOriginProtection
	metrics     *metrics
	failureLog  *rate.Limiter
	landing     *landing
	table       []api.Route
	mux         *http.ServeMux
	listeners   []net.Listener
	ceilings    []api.Role // of the addresses in options, in their order
}

// New checks the options and opens the listeners, so that a port that is
// taken is known before anything else is started. [Server.Run] serves;
// a Server that does not get to run needs [Server.Close].
//
// Listening where others can reach it without any authentication, and without
// saying with Auth.UnauthenticatedRole that this is meant, is an error.
func New(o Options) (*Server, error) {
	s, err := newServer(o)
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	if s.listeners, err = listen(s.options.ListenAddresses); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	return s, nil
}

// Check returns what New would find wrong with the options, except for ports
// that are taken. Nothing is opened or registered.
func Check(o Options) error {
	o.Registerer = nil
	if _, err := newServer(o); err != nil {
		return fmt.Errorf("web: %w", err)
	}
	return nil
}

// newServer is New without the listeners.
func newServer(o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.ShutdownTimeout == 0 {
		o.ShutdownTimeout = 5 * time.Second
	}
	if len(o.ListenAddresses) == 0 {
		o.ListenAddresses = []string{DefaultListenAddress}
	}
	s := &Server{
		options: o, logger: o.Logger, now: o.Now,
		crossOrigin: http.NewCrossOriginProtection(),
		failureLog:  rate.NewLimiter(1, 5),
	}
	if err := s.setExternalURL(o.ExternalURL); err != nil {
		return nil, err
	}
	exposed := ""
	for _, address := range o.ListenAddresses {
		if err := checkAddress(address); err != nil {
			return nil, fmt.Errorf("cannot listen on %q: %w", address, err)
		}
		if exposed == "" && reachable(address) {
			exposed = address
		}
		ceiling := api.RoleAdmin
		if name, limited := o.MaxRoles[address]; limited {
			var err error
			if ceiling, err = api.ParseRole(name); err != nil {
				return nil, fmt.Errorf("the highest role at %q: %w", address, err)
			}
		}
		s.ceilings = append(s.ceilings, ceiling)
	}
	var err error
	if s.access, err = newAccess(o.ConfigFile, exposed, o.Auth, o.Logger); err != nil {
		return nil, err
	}
	if s.metrics, err = newMetrics(o.Registerer); err != nil {
		return nil, err
	}
	if s.landing, err = newLanding(); err != nil {
		return nil, err
	}
	s.table = s.routes()
	s.mux = s.newMux()
	return s, nil
}

func (s *Server) setExternalURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return fmt.Errorf("external URL %q is no URL", text)
	case (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("external URL %q is not like http://host:port/path", u.Redacted())
	}
	s.external = u
	s.prefix = strings.TrimRight(u.Path, "/")
	// Browsers say which site a request comes from by the name they know.
	return s.crossOrigin.AddTrustedOrigin(u.Scheme + "://" + u.Host)
}

// Addresses returns where the server listens, in the order of the options;
// with port 0 there, this is where to find out which one it is.
func (s *Server) Addresses() []net.Addr {
	addresses := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		addresses[i] = l.Addr()
	}
	return addresses
}

// Routes returns the table of all that is served, and the role it needs.
func (s *Server) Routes() []api.Route { return s.table }

// Apply puts another Auth in force, and reads the web configuration file
// again. When there is an error, everything stays as it was.
func (s *Server) Apply(auth Auth) error {
	if err := s.access.apply(auth); err != nil {
		return fmt.Errorf("web: %w", err)
	}
	return nil
}

// Run serves until ctx is done. It then lets requests come to their end for
// the time of Options.ShutdownTimeout, and breaks off the others; streams of
// events should be told to end at the same time, see [api.Server.Run]. It
// returns nil after that, or the error that kept it from serving.
func (s *Server) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readHeaderTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		TLSConfig:         s.access.tlsConfig(),
		BaseContext:       s.baseContext,
		ConnContext:       boundBuffer,
		// Failed handshakes, mostly: not worth more than debug.
		ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	if server.TLSConfig != nil && !s.access.policy().file.http2 {
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	}
	failed := make(chan error, len(s.listeners))
	// Asked before the first listener serves: that fills in TLSConfig anyway.
	encrypted := server.TLSConfig != nil
	for _, l := range s.listeners {
		go func() { failed <- s.serve(server, l, encrypted && l.Addr().Network() != "unix") }()
	}
	running := len(s.listeners)
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed: // the others are of no use alone
		running--
	}
	grace, cancel := context.WithTimeout(context.Background(), s.options.ShutdownTimeout)
	defer cancel()
	if server.Shutdown(grace) != nil {
		s.logger.Warn("breaking off requests that do not end", "after", s.options.ShutdownTimeout)
		_ = server.Close()
	}
	for range running {
		err = errors.Join(err, <-failed)
	}
	if err != nil {
		return fmt.Errorf("web: %w", err)
	}
	return nil
}

// serve serves one listener. Unix sockets have no TLS: the file system says
// who may use them.
func (s *Server) serve(server *http.Server, l net.Listener, encrypted bool) error {
	s.logger.Info("listening", "address", l.Addr().String(), "tls", encrypted, "max_role", s.ceiling(l.Addr()).String())
	serve := server.Serve
	if encrypted {
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("listener %s: %w", l.Addr(), err)
	}
	return nil
}

// Close closes the listeners of a server that has not run.
func (s *Server) Close() error {
	var err error
	for _, l := range s.listeners {
		err = errors.Join(err, l.Close())
	}
	return err
}
