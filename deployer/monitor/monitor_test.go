package monitor_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/engine"
	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/monitor"
	"github.com/erlops/erlops/exporter/api"
	"github.com/erlops/erlops/exporter/api/client"
)

// backend is what the exporter's own API answers from.
type backend struct {
	mu     sync.Mutex
	nodes  map[string]api.Node
	added  []api.NodeRegistration
	events chan api.Event
	fail   error
}

func (b *backend) Nodes() []api.Node {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.nodes))
}

func (b *backend) Node(name string) (api.Node, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, ok := b.nodes[name]
	return n, ok
}

func (b *backend) Add(_ context.Context, r api.NodeRegistration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return b.fail
	}
	b.added = append(b.added, r)
	b.nodes[r.Name] = api.Node{Name: r.Name, Family: r.Family, EPMD: r.EPMD, Labels: r.Labels, Registered: true, State: api.StateDown, Since: time.Now()}
	return nil
}

func (b *backend) Remove(_ context.Context, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, ok := b.nodes[name]
	switch {
	case !ok:
		return api.Errorf(api.CodeNotFound, "there is no node %q", name)
	case !n.Registered:
		return api.Errorf(api.CodeConflict, "node %q is discovered", name)
	}
	delete(b.nodes, name)
	return nil
}

func (b *backend) Suspend(context.Context, string) error { return nil }
func (b *backend) Resume(context.Context, string) error  { return nil }
func (b *backend) Subscribe() (<-chan api.Event, func()) { return b.events, func() {} }
func (b *backend) set(name string, change func(n *api.Node)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.nodes[name]
	change(&n)
	n.Name = name
	b.nodes[name] = n
}

// newExporter serves the exporter's API over a backend.
func newExporter(t *testing.T, o monitor.Options) (*monitor.Exporter, *backend, *httptest.Server) {
	t.Helper()
	b := &backend{nodes: map[string]api.Node{}, events: make(chan api.Event)}
	s, err := api.New(api.Options{Backend: b})
	require.NoError(t, err)
	mux := http.NewServeMux()
	for _, r := range s.Routes() {
		mux.Handle(r.Method+" "+r.Pattern, r.Handler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		cancel()
		<-done
		server.Close()
	})
	c, err := client.NewClientWithResponses(server.URL + "/api/v1")
	require.NoError(t, err)
	o.Client, o.Stream = c, c.ClientInterface
	return monitor.New(o), b, server
}

func node(name string) engine.MonitorNode {
	return engine.MonitorNode{
		NodeAddress: engine.NodeAddress{Name: name, Cookie: "monster", EPMD: "h:4369"},
		Family:      "kv", Labels: map[string]string{"family_uuid": "f1"},
	}
}

func TestRegister(t *testing.T) {
	t.Parallel()
	e, b, _ := newExporter(t, monitor.Options{})
	ctx := t.Context()
	require.NoError(t, e.Check(ctx))
	for range 3 {
		require.NoError(t, e.Register(ctx, node("a@h")))
	}
	require.Len(t, b.added, 1, "it is registered once")
	require.Equal(t, api.Secret("monster"), b.added[0].Cookie)
	require.Equal(t, "f1", b.added[0].Labels["family_uuid"])

	moved := node("a@h")
	moved.EPMD = "h:4370"
	require.NoError(t, e.Register(ctx, moved))
	require.Len(t, b.added, 2, "what has changed is registered anew")
	b.set("a@h", func(n *api.Node) { n.State = api.StateRefused })
	require.NoError(t, e.Register(ctx, moved))
	require.Len(t, b.added, 3, "its cookie may be another now")

	b.set("b@h", func(n *api.Node) { n.State = api.StateUp })
	require.NoError(t, e.Register(ctx, node("b@h")))
	require.Len(t, b.added, 3, "what the exporter discovers is left to it")
	for range 2 {
		require.NoError(t, e.Deregister(ctx, "a@h"))
		require.NoError(t, e.Deregister(ctx, "b@h"))
	}
	require.Len(t, b.Nodes(), 1)
}

func TestCookieRef(t *testing.T) {
	t.Parallel()
	e, b, _ := newExporter(t, monitor.Options{CookieRef: "kv"})
	require.NoError(t, e.Register(t.Context(), node("a@h")))
	require.Empty(t, b.added[0].Cookie)
	require.Equal(t, "kv", b.added[0].CookieRef)
}

func TestRefusalsAndAbsence(t *testing.T) {
	t.Parallel()
	e, b, server := newExporter(t, monitor.Options{Timeout: time.Second})
	b.fail = api.Errorf(api.CodeInvalid, "no key is configured")
	err := e.Register(t.Context(), node("a@h"))
	require.ErrorContains(t, err, "No key is configured")
	require.NotErrorIs(t, err, fleet.ErrUnavailable)
	require.NotContains(t, err.Error(), "monster")
	b.fail = errors.New("broken")
	require.ErrorIs(t, e.Register(t.Context(), node("a@h")), fleet.ErrUnavailable)
	server.Close()
	for _, call := range []func() error{
		func() error { return e.Register(t.Context(), node("a@h")) },
		func() error { return e.Deregister(t.Context(), "a@h") },
		func() error { return e.Check(t.Context()) },
	} {
		require.ErrorIs(t, call(), fleet.ErrUnavailable)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	e, b, server := newExporter(t, monitor.Options{Resync: 50 * time.Millisecond, Timeout: time.Second})
	start := time.Now().Add(-time.Hour)
	b.set("a@h", func(n *api.Node) { n.State, n.Since = api.StateUp, start })
	b.set("b@h", func(n *api.Node) { n.State, n.Since, n.LastError = api.StateDown, start, "connection refused" })
	states := make(chan engine.MonitorState, 100)
	away := make(chan error, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- e.Watch(ctx, func(s engine.MonitorState) { states <- s }, func(err error) {
			select {
			case away <- err:
			default:
			}
		})
	}()
	await := func(want engine.MonitorState) {
		t.Helper()
		timeout := time.After(20 * time.Second)
		for {
			select {
			case got := <-states:
				if got == want {
					return
				}
			case <-timeout:
				require.FailNow(t, "it was not told", "%+v", want)
			}
		}
	}
	await(engine.MonitorState{Name: "a@h", Known: true, Up: true})
	await(engine.MonitorState{Name: "b@h", Known: true, Reason: "the exporter says: down: connection refused"})
	b.set("b@h", func(n *api.Node) { n.State, n.Since = api.StateUp, time.Now() })
	await(engine.MonitorState{Name: "b@h", Known: true, Up: true})
	// An event that is newer than what the list says wins.
	b.events <- api.Event{Type: api.EventTypeNodeState, Time: time.Now(), Node: "a@h", State: api.StateDown, Reason: "net tick"}
	await(engine.MonitorState{Name: "a@h", Known: true, Reason: "the exporter says: down: net tick"})
	require.NoError(t, b.remove("b@h"))
	await(engine.MonitorState{Name: "b@h"})
	server.CloseClientConnections()
	server.Listener.Close()
	select {
	case err := <-away:
		require.ErrorIs(t, err, fleet.ErrUnavailable)
	case <-time.After(20 * time.Second):
		require.FailNow(t, "nobody was told that the exporter is away")
	}
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}

func (b *backend) remove(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.nodes, name)
	return nil
}
