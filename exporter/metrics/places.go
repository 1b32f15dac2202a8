package metrics

import (
	"context"
	"sync"
	"time"
)

// allNodes stands for the target of Nodes; no node has this name.
const allNodes = ""

// places are the bounds on scrapes. A scrape has a place of its target's until
// it is answered, so that a node that hangs costs only those who ask for it.
// It has one of the places of all targets only while its page is made, for
// which nobody else is waited for.
type places struct {
	perTarget int
	making    chan struct{}

	mu    sync.Mutex
	taken map[string]int // by target, those with some only
}

func newPlaces(perTarget, making int) *places {
	return &places{perTarget: perTarget, making: make(chan struct{}, making), taken: make(map[string]int)}
}

// take takes a place of the target's, and tells whether one was left. The
// place is taken until leave is called, which is nil without one.
func (p *places) take(target string) (leave func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[target] >= p.perTarget {
		return nil, false
	}
	p.taken[target]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.taken[target]--; p.taken[target] == 0 {
			delete(p.taken, target)
		}
	}, true
}

// makePage calls fill in one of the places of all targets. It waits for one
// until the given time, or until the request is done with, and tells whether
// there was one.
func (p *places) makePage(ctx context.Context, until time.Time, fill func()) bool {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	select {
	case p.making <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-p.making }()
	fill()
	return true
}
