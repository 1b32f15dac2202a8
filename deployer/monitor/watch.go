package monitor

import (
	"context"
	"sync"
	"time"

	"github.com/erlops/erlops/deployer/engine"
	"github.com/erlops/erlops/exporter/api/client"
)

// pageSize is how many nodes are asked for at a time.
const pageSize = 500

// Watch calls f, one call at a time, with the state of every node and with what
// changes, until ctx is done. The list is read again from time to time, so that
// neither a lost event nor an exporter that was restarted goes unnoticed.
// It returns an error when the exporter will not let us follow it.
func (e *Exporter) Watch(ctx context.Context, f func(engine.MonitorState), away func(error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &watch{e: e, f: f, again: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	wg.Go(func() {
		// From now on, and before the first list: nothing falls in between.
		err := client.Watch(ctx, e.Stream, "", func(event client.Event) error {
			w.take(event)
			return nil
		})
		cancel(err)
	})
	for {
		if err := w.list(ctx); err != nil && ctx.Err() == nil {
			away(err)
		}
		t := time.NewTimer(e.Resync)
		select {
		case <-ctx.Done():
			t.Stop()
			wg.Wait()
			return context.Cause(ctx)
		case <-t.C:
		case <-w.again:
		}
		t.Stop()
	}
}

// watch is one Watch.
type watch struct {
	e     *Exporter
	f     func(engine.MonitorState)
	again chan struct{} // events were missed

	mu   sync.Mutex
	seen map[string]told
}

// told is what f was told of a node last: since when it is so by the exporter's
// clock, and when that was by ours.
type told struct{ since, at time.Time }

// take passes an event on.
func (w *watch) take(event client.Event) {
	switch event.Type {
	case client.EventTypeReset:
		select {
		case w.again <- struct{}{}:
		default:
		}
	case client.EventTypeNodeRemoved:
		w.tell(engine.MonitorState{Name: event.Node}, event.Time)
	default:
		w.tell(engine.MonitorState{
			Name: event.Node, Known: true, Up: event.State == client.StateUp, Reason: reason(event.State, event.Reason),
		}, event.Time)
	}
}

// tell passes a state on, unless a newer one was told: a list is older than the
// events that come while it is read.
func (w *watch) tell(s engine.MonitorState, since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen == nil {
		w.seen = map[string]told{}
	}
	if since.Before(w.seen[s.Name].since) {
		return
	}
	w.seen[s.Name] = told{since, time.Now()}
	w.f(s)
}

// list reads all nodes, and tells of those that are gone.
func (w *watch) list(ctx context.Context) error {
	asked := time.Now()
	found := map[string]bool{}
	params := &client.ListNodesParams{Limit: limit(pageSize)}
	for {
		nodes, next, err := w.page(ctx, params)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			found[n.Name] = true
			w.tell(engine.MonitorState{
				Name: n.Name, Known: true, Up: n.State == client.StateUp, Reason: reason(n.State, firstOf(n.LastError, n.Reason)),
			}, n.Since)
		}
		if next == "" {
			break
		}
		params.Cursor = &next
	}
	w.forget(found, asked)
	return nil
}

func (w *watch) page(ctx context.Context, params *client.ListNodesParams) ([]client.Node, string, error) {
	ctx, cancel := context.WithTimeout(ctx, w.e.Timeout)
	defer cancel()
	answer, err := w.e.Client.ListNodesWithResponse(ctx, params)
	if err := client.Check(answer, err); err != nil {
		return nil, "", w.e.failed("list", "nodes", err)
	}
	if answer.JSON200 == nil {
		return nil, "", nil
	}
	return answer.JSON200.Nodes, answer.JSON200.NextCursor, nil
}

// forget tells of nodes that were known before a list was asked for and are
// not in it.
func (w *watch) forget(found map[string]bool, asked time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, last := range w.seen {
		if !found[name] && last.at.Before(asked) {
			delete(w.seen, name)
			w.f(engine.MonitorState{Name: name})
		}
	}
}

// reason says why a node is not up.
func reason(s client.State, words string) string {
	switch {
	case s == client.StateUp:
		return ""
	case words == "":
		return "the exporter says: " + string(s)
	}
	return "the exporter says: " + string(s) + ": " + words
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
