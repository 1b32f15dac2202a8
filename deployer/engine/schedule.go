package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/erlops/erlops/deployer/store"
)

const (
	// idlePoll is how often the database is asked for what others wrote to it.
	idlePoll = time.Second
	// cleanupTime is how long giving tasks back may take at the end.
	cleanupTime = 5 * time.Second
)

var (
	// errCancelled is why a task's context ends that somebody gave up.
	errCancelled = errors.New("it was cancelled")
	// errLeaseLost is why one ends whose lease could not be renewed.
	errLeaseLost = errors.New("the lease ran out")
)

// holding is a task that this engine works at.
type holding struct {
	task   store.Task
	ctx    context.Context // of its steps
	cancel context.CancelCauseFunc
	until  time.Time // end of the lease as it was last renewed
	again  bool      // it was claimed while it was held
}

// schedule takes tasks that are due, as many at a time as is allowed, until
// ctx is done and all of them have been given back.
func (e *Engine) schedule(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	free := make(chan struct{}, e.opts.Parallelism)
	for {
		tasks, next := e.claim(ctx, e.opts.Parallelism-len(free))
		for _, task := range tasks {
			h := e.hold(ctx, task)
			if h == nil {
				continue
			}
			free <- struct{}{}
			wg.Go(func() {
				defer e.poke()
				defer func() { <-free }()
				defer e.drop(h)
				e.runTask(h.ctx, task)
			})
		}
		t := time.NewTimer(next)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-e.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// claim leases what is due, and says when to look again.
func (e *Engine) claim(ctx context.Context, limit int) (tasks []store.Task, next time.Duration) {
	if limit <= 0 {
		return nil, idlePoll // a task that ends wakes us sooner
	}
	next = idlePoll
	due := false
	// Looking costs little and writing does not: most of the time there is
	// nothing to take.
	err := e.db.View(ctx, func(tx *store.Tx) error {
		at, err := tx.NextDue()
		if at.IsZero() || err != nil {
			return err
		}
		wait := at.Sub(tx.Now())
		due = wait <= 0
		next = min(idlePoll, max(wait, time.Millisecond))
		return nil
	})
	if err == nil && due {
		next = time.Millisecond // for what the limit left out
		err = e.db.Update(ctx, func(tx *store.Tx) (err error) {
			tasks, err = tx.Claim(e.holder, e.opts.Lease, limit)
			return err
		})
		if len(tasks) == limit {
			next = idlePoll // no slot is left until one wakes us
		}
	}
	if err != nil {
		if ctx.Err() == nil {
			e.log.Error("cannot take tasks from the storage; it is tried again", "err", err)
		}
		return nil, idlePoll
	}
	return tasks, next
}

// hold begins to hold a task. It returns nil when this engine works at it still:
// that is just ending, or the lease had run out, because renewing it took too
// long, and nobody else had taken it.
func (e *Engine) hold(ctx context.Context, task store.Task) *holding {
	e.mu.Lock()
	defer e.mu.Unlock()
	if h := e.held[task.ID]; h != nil {
		h.until, h.again = task.Until, true
		return nil
	}
	h := &holding{task: task, until: task.Until}
	h.ctx, h.cancel = context.WithCancelCause(ctx)
	e.held[task.ID] = h
	return h
}

// drop ends to hold a task.
func (e *Engine) drop(h *holding) {
	e.mu.Lock()
	again := h.again
	delete(e.held, h.task.ID)
	e.mu.Unlock()
	if again { // claimed while it was ending: it is to be begun anew
		e.giveBack(h.ctx, h.task)
	}
	h.cancel(nil)
}

// interrupt ends the running step of a task in this process; another process
// learns of it when it renews its lease.
func (e *Engine) interrupt(taskID string, cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if h := e.held[taskID]; h != nil {
		h.cancel(cause)
	}
}

// renew prolongs the leases of what is being done, and stops what was
// cancelled or taken away.
func (e *Engine) renew(ctx context.Context) {
	// Tasks are still being ended when ctx is done; their leases last for that.
	for sleep(ctx, e.opts.Lease/3) {
		e.mu.Lock()
		none := len(e.held) == 0
		e.mu.Unlock()
		if none {
			continue
		}
		var held []store.Task
		err := e.db.Update(ctx, func(tx *store.Tx) (err error) {
			held, err = tx.Renew(e.holder, e.opts.Lease)
			return err
		})
		if err != nil && ctx.Err() == nil {
			e.log.Error("cannot renew leases", "err", err)
		}
		e.renewed(held, err == nil)
	}
}

// renewed compares what is being done with what the database says of it.
func (e *Engine) renewed(stored []store.Task, known bool) {
	byID := map[string]store.Task{}
	for _, task := range stored {
		byID[task.ID] = task
	}
	now := e.opts.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, h := range e.held {
		task, ok := byID[id]
		switch {
		case ok && task.Cancelled:
			h.cancel(errCancelled)
			h.until = task.Until
		case ok:
			h.until = task.Until
		case !h.until.After(now), known && h.until.Before(now.Add(e.opts.Lease/3)):
			// Without an answer the lease is ours to its end; what was claimed
			// after the question was asked is not in the answer.
			h.cancel(errLeaseLost)
		}
	}
}

// giveBack lets another engine go on with a task at once.
func (e *Engine) giveBack(ctx context.Context, task store.Task) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	err := e.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Held(task); err != nil {
			return err
		}
		return tx.GiveBack(task, tx.Now())
	})
	if err != nil && !errors.Is(err, store.ErrLost) {
		e.log.Warn("cannot give a task back; it is gone on with when its lease has run out", "task", task.ID, "err", err)
	}
}
