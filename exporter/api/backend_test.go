package api_test

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api"
)

// fleet is a Backend of plain values.
type fleet struct {
	mu          sync.Mutex
	nodes       map[string]api.Node
	added       []api.NodeRegistration
	subscribers map[chan api.Event]struct{}
	fail        error // what every change answers, if set
}

var testTime = time.Date(2026, 11, 23, 17, 4, 5, 0, time.UTC)

func newFleet(nodes ...api.Node) *fleet {
	f := &fleet{nodes: map[string]api.Node{}, subscribers: map[chan api.Event]struct{}{}}
	for _, n := range nodes {
		f.nodes[n.Name] = n
	}
	return f
}

func (f *fleet) Nodes() []api.Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Values(f.nodes))
}

func (f *fleet) Node(name string) (api.Node, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := f.nodes[name]
	return n, ok
}

func (f *fleet) Add(_ context.Context, r api.NodeRegistration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return f.fail
	}
	if _, ok := f.nodes[r.Name]; ok {
		return api.Errorf(api.CodeConflict, "a node %q is known already", r.Name)
	}
	f.added = append(f.added, r)
	f.nodes[r.Name] = api.Node{
		Name: r.Name, ID: "id-of-" + r.Name, Family: r.Family, State: api.StatePending, Since: testTime,
		Source: "registered", Registered: true, Labels: r.Labels, Address: r.Address, EPMD: r.EPMD,
	}
	return nil
}

func (f *fleet) Remove(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := f.nodes[name]
	switch {
	case f.fail != nil:
		return f.fail
	case !ok:
		return api.Errorf(api.CodeNotFound, "no node %q is known", name)
	case !n.Registered:
		return api.Errorf(api.CodeConflict, "node %q comes from discovery (%s): change the configuration, or suspend it", name, n.Source)
	}
	delete(f.nodes, name)
	return nil
}

func (f *fleet) Suspend(_ context.Context, name string) error { return f.set(name, api.StateSuspended) }
func (f *fleet) Resume(_ context.Context, name string) error  { return f.set(name, api.StatePending) }

func (f *fleet) set(name string, state api.State) error {
	f.mu.Lock()
	n, ok := f.nodes[name]
	fail := f.fail
	if ok {
		n.State = state
		f.nodes[name] = n
	}
	f.mu.Unlock()
	if fail != nil {
		return fail
	}
	if !ok {
		return api.Errorf(api.CodeNotFound, "no node %q is known", name)
	}
	f.publish(api.Event{Type: api.EventTypeNodeState, Time: testTime, Node: name, State: state})
	return nil
}

func (f *fleet) Subscribe() (<-chan api.Event, func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	events := make(chan api.Event, 16)
	f.subscribers[events] = struct{}{}
	return events, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.subscribers, events)
	}
}

// publish waits for subscribers that are slow.
func (f *fleet) publish(e api.Event) {
	f.mu.Lock()
	subscribers := slices.Collect(maps.Keys(f.subscribers))
	f.mu.Unlock()
	for _, s := range subscribers {
		s <- e
	}
}

func (f *fleet) subscribed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.subscribers)
}

// dropSubscribers does what a backend does to a subscriber that is too slow.
func (f *fleet) dropSubscribers() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.subscribers {
		close(s)
		delete(f.subscribers, s)
	}
}

// node makes a node that discovery has found.
func node(name, family string, state api.State, age time.Duration) api.Node {
	return api.Node{
		Name: name, ID: "id-of-" + name, Family: family, State: state, Since: testTime.Add(-age),
		Source: "static", Labels: map[string]string{"site": "berlin"},
		Applications: []api.Application{{Name: "kernel", Version: "8.5.3"}},
	}
}

// serve starts a server over f, as somebody that may do everything, and
// returns the address of the API.
func serve(t *testing.T, f *fleet, o api.Options) string {
	t.Helper()
	url, _ := serveUntil(t, f, o)
	return url
}

// serveUntil is serve with a way to end Server.Run before the test does.
func serveUntil(t *testing.T, f *fleet, o api.Options) (url string, stop func()) {
	t.Helper()
	o.Backend = f
	s, err := api.New(o)
	require.NoError(t, err)
	mux := http.NewServeMux()
	for _, r := range s.Routes() {
		mux.Handle(r.Method+" "+r.Pattern, r.Handler)
	}
	server := httptest.NewServer(holdToDocument(t, mux))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	require.Eventually(t, func() bool { return f.subscribed() == 1 }, 10*time.Second, time.Millisecond)
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		server.Close()
		require.Zero(t, f.subscribed(), "Run left its subscription behind")
	})
	return server.URL + api.Prefix, cancel
}

// holdToDocument fails the test for any answer that openapi.yaml does not
// describe. Streams are let through.
func holdToDocument(t *testing.T, next http.Handler) http.Handler {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	require.NoError(t, err)
	router, err := legacy.NewRouter(doc)
	require.NoError(t, err)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route, params, err := router.FindRoute(r)
		if err != nil || strings.HasPrefix(route.Operation.OperationID, "stream") {
			next.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		err = openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route},
			Status:                 answer.Code,
			Header:                 answer.Header(),
			Body:                   io.NopCloser(bytes.NewReader(answer.Body.Bytes())),
			Options:                &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
		})
		if err != nil {
			t.Errorf("%s %s: the answer is not as described: %v", r.Method, r.URL, err)
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}
