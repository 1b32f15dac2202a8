package api

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/rest"
)

const (
	// operationTimeout is how long one operation may take.
	operationTimeout = 30 * time.Second
	// examineTimeout is the same for those that ask every host and provider.
	examineTimeout = 5 * time.Minute
	// maxStreams is how many clients may follow events at once.
	maxStreams = 256
	// uploadIdle is how long an upload may stand still.
	uploadIdle = time.Minute
)

//go:embed openapi.yaml
var specYAML []byte

// Options of [New].
type Options struct {
	// Backend answers; it is required.
	Backend Backend
	// Logger gets the errors that clients do not get to read.
	Logger *slog.Logger
	// Registerer gets the metrics of this package, if there is one.
	Registerer prometheus.Registerer
	// Heartbeat is after how long a silent stream of events gets a comment;
	// [rest.HeartbeatInterval] when it is zero.
	Heartbeat time.Duration
}

// Server answers the operations of both forms of the API.
type Server struct {
	backend   Backend
	logger    *slog.Logger
	document  *rest.Document
	heartbeat time.Duration
	routes    []rest.Route
	streams   atomic.Int64
	uploads   prometheus.Counter
	closed    chan struct{}
	closing   sync.Once
}

// New makes a Server; it answers at once.
func New(o Options) (*Server, error) {
	if o.Backend == nil {
		return nil, errors.New("api: Options.Backend is required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = rest.HeartbeatInterval
	}
	doc, err := rest.LoadDocument(specYAML)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	s := &Server{backend: o.Backend, logger: o.Logger, document: doc, heartbeat: o.Heartbeat, closed: make(chan struct{})}
	if err := s.register(o.Registerer); err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	s.routes = append(s.collectRoutes(), s.seedRoutes()...)
	return s, nil
}

func (s *Server) register(r prometheus.Registerer) error {
	s.uploads = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "erl_deploy_api_uploaded_bytes_total",
		Help: "Bytes of release archives that clients have sent, decoded.",
	})
	if r == nil {
		return nil
	}
	streams := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "erl_deploy_api_event_streams",
		Help: "Clients that follow events of the API at the moment.",
	}, func() float64 { return float64(s.streams.Load()) })
	return errors.Join(r.Register(s.uploads), r.Register(streams))
}

// Routes returns all operations. The handlers check the request, but not the
// role of who sent it.
func (s *Server) Routes() []rest.Route { return slices.Clone(s.routes) }

// Close ends all streams of events, so that a server can shut down. It may be
// called more than once.
func (s *Server) Close() { s.closing.Do(func() { close(s.closed) }) }

// collector is the mux that the generated code registers its handlers on.
type collector struct {
	http.Handler // part of the interface, never called
	register     func(pattern string, handler http.HandlerFunc)
}

func (c collector) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	c.register(pattern, handler)
}

func (s *Server) collectRoutes() []rest.Route {
	var routes []rest.Route
	strict := NewStrictHandlerWithOptions(s, nil, StrictHTTPServerOptions{
		RequestErrorHandlerFunc:  s.writeError,
		ResponseErrorHandlerFunc: s.writeError,
	})
	HandlerWithOptions(strict, StdHTTPServerOptions{
		BaseURL:          rest.Prefix,
		ErrorHandlerFunc: s.writeError,
		BaseRouter: collector{register: func(pattern string, handler http.HandlerFunc) {
			op := s.document.Operation(pattern)
			method, path, _ := strings.Cut(pattern, " ")
			routes = append(routes, rest.Route{
				Method: method, Pattern: path, Role: op.Role, Summary: op.Summary,
				Handler: s.prepare(op, handler),
			})
		}},
	})
	return routes
}

// prepare checks requests before the generated code decodes them, and gives
// each the time that it may take.
func (s *Server) prepare(op *rest.Operation, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := op.Check(w, r); err != nil {
			s.writeError(w, r, err)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		r = r.WithContext(withActor(r.Context()))
		switch op.ID {
		case "streamEvents":
			if r.Method == http.MethodHead { // must not stay open
				w.Header().Set("Content-Type", "text/event-stream")
				return
			}
			next(w, r)
		case "uploadArchive", "appendArchive":
			r.Body = s.patientBody(w, r)
			next(w, r)
		case "collectOrphans", "examine":
			s.within(examineTimeout, w, r, next)
		default:
			s.within(operationTimeout, w, r, next)
		}
	})
}

// within runs an operation with a deadline. What changes something and was
// begun is brought to its end, also when the client does not wait for it.
func (s *Server) within(timeout time.Duration, w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	ctx := r.Context()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// The server's own deadline may be shorter; not every connection has one.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout + operationTimeout))
	next(w, r.WithContext(ctx))
}

// withActor tells the backend in whose name something is done.
func withActor(ctx context.Context) context.Context {
	name := rest.IdentityFrom(ctx).Name
	if name == "" {
		name = "anonymous"
	}
	return fleet.WithActor(ctx, name)
}
