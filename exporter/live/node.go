package live

import (
	"context"
	"slices"
	"time"
)

// node is a node that somebody watches. Its goroutine reads it; what the lock of
// the hub guards are watches, and next of each of them.
type node struct {
	hub     *Hub
	name    string
	watches map[*Watch]struct{}
	changed chan struct{}

	// searched is when all collectors were asked last.
	searched time.Time
}

func (n *node) poke() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// run reads until nobody watches any more.
func (n *node) run() {
	for {
		due, next, watched := n.due()
		switch {
		case !watched:
			return
		case len(due) > 0:
			n.read(due)
			continue
		}
		timer := time.NewTimer(next.Sub(n.hub.Now()))
		select {
		case <-timer.C:
		case <-n.changed:
			timer.Stop()
		}
	}
}

// due returns the watchers that are to be told something, and sets when they are
// again: at multiples of their intervals, so that many share a reading. Without
// any, next is when to look again.
func (n *node) due() (due []*Watch, next time.Time, watched bool) {
	n.hub.mu.Lock()
	defer n.hub.mu.Unlock()
	now := n.hub.Now()
	for w := range n.watches {
		if !w.next.After(now) {
			due = append(due, w)
			w.next = now.Truncate(w.interval).Add(w.interval)
		}
		if next.IsZero() || w.next.Before(next) {
			next = w.next
		}
	}
	return due, next, len(n.watches) > 0
}

// read reads the node for some watchers and tells them.
func (n *node) read(due []*Watch) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	r, ok := n.hub.Source.Read(ctx, n.name, n.collectors(due), fresh)
	n.hub.metrics.readings.Inc()
	if !ok {
		n.end(due)
		return
	}
	now := n.hub.Now()
	encoded := map[string]*Event{} // by what they show
	for _, w := range due {
		w.told(n.hub, r, now, encoded)
	}
}

// collectors are those that the watchers need; nil for all when some look for
// metrics that nobody has found yet.
func (n *node) collectors(due []*Watch) []string {
	var all []string
	searching := false
	for _, w := range due {
		searching = searching || w.selection.searching()
		for _, c := range w.selection.collectors() {
			if !slices.Contains(all, c) {
				all = append(all, c)
			}
		}
	}
	if now := n.hub.Now(); searching && now.Sub(n.searched) >= searchInterval {
		n.searched = now
		return nil
	}
	slices.Sort(all)
	return all
}

// end tells that the node is known no longer.
func (n *node) end(due []*Watch) {
	for _, w := range due {
		w.put(&Event{Type: End, Time: n.hub.Now(), Error: "the node is known no longer"})
	}
}
