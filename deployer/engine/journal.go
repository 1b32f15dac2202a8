package engine

import (
	"context"
	"sync"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/store"
)

// Journal returns the entries that a filter selects, oldest first.
func (e *Engine) Journal(ctx context.Context, f fleet.JournalFilter) ([]fleet.Entry, error) {
	return view(ctx, e, func(tx *store.Tx) ([]fleet.Entry, error) { return tx.Journal(f) })
}

const (
	// followEvery is how often the journal is looked at for what other
	// deployers write to it.
	followEvery = time.Second
	// progressWaits is how much progress a slow subscriber may have waiting.
	progressWaits = 64
	// followBatch is how many entries are read at a time.
	followBatch = 256
)

// Subscribe returns entries as they are written, and progress as it happens.
// What the journal holds is never lost: it is read from there.
func (e *Engine) Subscribe(ctx context.Context, after int64) (events <-chan fleet.Event, cancel func()) {
	ctx, cancel = context.WithCancel(ctx)
	out := make(chan fleet.Event)
	progress, leave := e.progress.join()
	go func() {
		defer close(out)
		defer leave()
		e.follow(ctx, after, out, progress)
	}()
	return out, cancel
}

func (e *Engine) follow(ctx context.Context, after int64, out chan<- fleet.Event, progress <-chan fleet.Progress) {
	for after < 0 {
		last, err := view(ctx, e, (*store.Tx).LastSeq)
		if err == nil {
			after = last
		} else if !sleep(ctx, followEvery) {
			return
		}
	}
	for {
		changed := e.db.Changed() // before reading: nothing falls in between
		entries, err := e.Journal(ctx, fleet.JournalFilter{After: after, Limit: followBatch})
		if err != nil && ctx.Err() == nil {
			e.log.Error("cannot read the journal", "err", err)
		}
		for i := range entries {
			if !send(ctx, out, fleet.Event{Entry: &entries[i]}) {
				return
			}
			after = entries[i].Seq
		}
		if len(entries) == followBatch {
			continue
		}
		if !awaitEvent(ctx, out, progress, changed) {
			return
		}
	}
}

// awaitEvent passes progress on until there may be entries.
func awaitEvent(ctx context.Context, out chan<- fleet.Event, progress <-chan fleet.Progress, changed <-chan struct{}) bool {
	t := time.NewTimer(followEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-changed:
			return true
		case <-t.C:
			return true
		case p := <-progress:
			if !send(ctx, out, fleet.Event{Progress: &p}) {
				return false
			}
		}
	}
}

func send(ctx context.Context, out chan<- fleet.Event, event fleet.Event) bool {
	select {
	case <-ctx.Done():
		return false
	case out <- event:
		return true
	}
}

// hub passes progress to all who listen, and drops what they have no room
// for: the next one says more.
type hub struct {
	mu        sync.Mutex
	listeners map[chan fleet.Progress]struct{}
}

func (h *hub) join() (<-chan fleet.Progress, func()) {
	c := make(chan fleet.Progress, progressWaits)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listeners == nil {
		h.listeners = map[chan fleet.Progress]struct{}{}
	}
	h.listeners[c] = struct{}{}
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.listeners, c)
	}
}

func (h *hub) tell(p fleet.Progress) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.listeners {
		select {
		case c <- p:
		default:
		}
	}
}
