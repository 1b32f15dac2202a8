package cloud

import (
	"context"
	"sync"
)

// Reading is a question that many ask at the same time and that is answered
// for all of them at once: who asks gets the answer to a question that was put
// after he asked. A hundred machines that boot cost as many calls as one.
type Reading[T any] struct {
	// Read asks. It is given a context that ends when nobody waits any more.
	Read func(ctx context.Context) (T, error)

	mu      sync.Mutex
	running bool
	next    *answer[T] // of those that came while one was running
}

type answer[T any] struct {
	done    chan struct{}
	waiting int
	cancel  context.CancelFunc
	ctx     context.Context
	value   T
	err     error
}

// Get returns what there is now.
func (r *Reading[T]) Get(ctx context.Context) (T, error) {
	r.mu.Lock()
	if r.next == nil {
		r.next = &answer[T]{done: make(chan struct{})}
		r.next.ctx, r.next.cancel = context.WithCancel(context.WithoutCancel(ctx))
	}
	a := r.next
	a.waiting++
	if !r.running {
		r.running = true
		go r.run()
	}
	r.mu.Unlock()
	select {
	case <-a.done:
		return a.value, a.err
	case <-ctx.Done():
		r.mu.Lock()
		if a.waiting--; a.waiting == 0 {
			a.cancel()
			if r.next == a {
				r.next = nil
			}
		}
		r.mu.Unlock()
		var none T
		return none, ctx.Err()
	}
}

// run answers until nobody asks.
func (r *Reading[T]) run() {
	for {
		r.mu.Lock()
		a := r.next
		r.next = nil
		if a == nil {
			r.running = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		a.value, a.err = r.Read(a.ctx)
		a.cancel()
		close(a.done)
	}
}
