package api

import (
	"context"
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
)

const (
	// operationTimeout is how long one operation may take. It has to be long
	// enough for an agent to leave a slow node.
	operationTimeout = 30 * time.Second
	// maxStreams is how many clients may follow events at once.
	maxStreams = 256
	// resubscribeDelay keeps a backend that ends every subscription at once
	// from being asked without pause.
	resubscribeDelay = time.Second
)

// Options of [New].
type Options struct {
	// Backend answers; it is required.
	Backend Backend
	// Alarms answers what is about alarms; without it that is not available.
	Alarms Alarms
	// Topology answers what is about families and connections; without it those
	// operations are not available.
	Topology Topology
	// Notifications answers what concerns them; without one, their operations
	// are not there.
	Notifications Notifications
	// Live answers watchers of metrics; without it, that operation is not there.
	Live Live
	// Past answers what was before; without it, its operation is not there.
	Past Past
	// Commands runs them; without it they are switched off.
	Commands Commands
	// Logger gets the errors that clients do not get to read.
	Logger *slog.Logger
	// Registerer gets the metrics of this package, if there is one.
	Registerer prometheus.Registerer
	// Heartbeat is after how long a silent stream of events gets a comment;
	// 15 s when it is zero.
	Heartbeat time.Duration
	// Now is the clock; time.Now when it is nil.
	Now func() time.Time
}

// Route is one operation for somebody's mux.
type Route struct {
	Method string
	// Pattern is the path as in [http.ServeMux], without the method.
	Pattern string
	// Role is what somebody needs who asks.
	Role    Role
	Handler http.Handler
	// Summary says in a few words what it does.
	Summary string
}

// Server answers the operations of openapi.yaml.
type Server struct {
	backend Backend
	// notifications is nil where there are none.
	notifications Notifications
	now           func() time.Time
	commands      Commands
	topology      Topology
	live          Live
	past          Past
	stopped       chan struct{} // closed when Run ends
	logger        *slog.Logger
	document      *document
	hub           *hub
	alarms        Alarms
	alarmHub      *hub
	heartbeat     time.Duration
	routes        []Route
	streams       atomic.Int64
}

// New makes a Server; it answers at once. [Server.Run] feeds its events.
func New(o Options) (*Server, error) {
	if o.Backend == nil {
		return nil, errors.New("api: Options.Backend is required")
	}
	if o.Topology == nil {
		o.Topology = noTopology{}
	}
	if o.Commands == nil {
		o.Commands = noCommands{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = heartbeatInterval
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	doc, err := loadDocument(specYAML)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	s := &Server{
		backend: o.Backend, topology: o.Topology, commands: o.Commands, notifications: o.Notifications, live: o.Live, past: o.Past, stopped: make(chan struct{}), now: o.Now, logger: o.Logger, document: doc,
		hub: newHub(o.Now, Event{Type: EventTypeReset}), heartbeat: o.Heartbeat,
	}
	if o.Registerer != nil {
		streams := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "erlang_exporter_api_event_streams",
			Help: "Clients that follow events of the API at the moment.",
		}, func() float64 { return float64(s.streams.Load()) })
		if err := o.Registerer.Register(streams); err != nil {
			return nil, fmt.Errorf("api: %w", err)
		}
	}
	s.alarms, s.alarmHub = o.Alarms, newHub(o.Now, AlarmEvent{Type: AlarmEventTypeAlarmReset})
	s.routes = s.collectRoutes()
	return s, nil
}

// Routes returns all operations. The handlers check the request, but not the
// role of who sent it.
func (s *Server) Routes() []Route { return slices.Clone(s.routes) }

// Run takes over the events of the backend until ctx is done, and then ends
// all streams. It returns nil.
func (s *Server) Run(ctx context.Context) error {
	defer s.hub.close()
	defer close(s.stopped)
	if s.alarms != nil {
		var followed sync.WaitGroup
		defer followed.Wait()
		followed.Go(func() { s.followAlarms(ctx) })
	}
	for {
		s.follow(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(resubscribeDelay):
		}
		s.hub.publish(Event{Type: EventTypeReset})
	}
}

// follow publishes the events of one subscription until it ends.
func (s *Server) follow(ctx context.Context) {
	events, cancel := s.backend.Subscribe()
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				s.logger.Warn("subscription to node events ended; subscribing again")
				return
			}
			s.hub.publish(e)
		}
	}
}

// collector is the mux that the generated code registers its handlers on.
type collector struct {
	http.Handler // part of the interface, never called
	register     func(pattern string, handler http.HandlerFunc)
}

func (c collector) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	c.register(pattern, handler)
}

// answers tells whether there is who answers operations with these tags.
func (s *Server) answers(tags []string) bool {
	return (s.notifications != nil || !slices.Contains(tags, tagNotifications)) &&
		(s.live != nil || !slices.Contains(tags, tagMetrics)) &&
		(s.past != nil || !slices.Contains(tags, tagHistory))
}

func (s *Server) collectRoutes() []Route {
	var routes []Route
	strict := NewStrictHandlerWithOptions(s, nil, StrictHTTPServerOptions{
		RequestErrorHandlerFunc:  s.writeError,
		ResponseErrorHandlerFunc: s.writeError,
	})
	HandlerWithOptions(strict, StdHTTPServerOptions{
		BaseURL:          Prefix,
		ErrorHandlerFunc: s.writeError,
		BaseRouter: collector{register: func(pattern string, handler http.HandlerFunc) {
			op := s.document.operations[pattern]
			if !s.answers(op.route.Operation.Tags) {
				return
			}
			method, path, _ := strings.Cut(pattern, " ")
			route := Route{
				Method: method, Pattern: path, Role: op.role, Summary: op.summary,
				Handler: s.prepare(op, handler),
			}
			routes = append(routes, route)
			// What WombatOAM has too is also where it has it.
			if action, ok := strings.CutPrefix(path, Prefix+"/actions/"); ok {
				route.Pattern = "/api/actions/" + action
				routes = append(routes, route)
			}
		}},
	})
	return routes
}

// prepare checks requests before the generated code decodes them.
func (s *Server) prepare(op *operation, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := checkRequest(w, r, op); err != nil {
			s.writeError(w, r, err)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		if op.id == "streamEvents" || op.id == "streamAlarmEvents" || op.id == "streamNotifications" || op.id == "streamMetrics" {
			if r.Method == http.MethodHead { // must not stay open
				w.Header().Set("Content-Type", "text/event-stream")
				return
			}
			next(w, r)
			return
		}
		ctx := r.Context()
		if r.Method != http.MethodGet && r.Method != http.MethodHead && !slices.Contains(op.route.Operation.Tags, tagCommands) {
			// What was begun is brought to its end, also when the client
			// does not wait for it.
			ctx = context.WithoutCancel(ctx)
		}
		ctx, cancel := context.WithTimeout(ctx, operationTimeout)
		defer cancel()
		next(w, r.WithContext(ctx))
	})
}
