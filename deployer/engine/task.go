package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/store"
)

// work is one step that is being done, with all that it may need to know. It
// was read in one transaction; what has to be true when something is written is
// read again then.
type work struct {
	e    *Engine
	task store.Task
	step fleet.Step

	family  fleet.Family
	node    fleet.Node // of a task of a node, as all that follows
	domain  fleet.Domain
	release fleet.Release
	record  fleet.Provider
}

// outcome is what a step that succeeded leaves.
type outcome struct {
	message string
	skipped bool // there was nothing to do
	// node changes the node, when the result is written.
	node func(*fleet.Node)
	// state is what the node is in now; empty leaves it.
	state fleet.State
	// also is written in the same transaction.
	also func(*store.Tx) error
}

// waiting is the error of a step that has nothing to do for a while.
type waiting struct {
	after  time.Duration
	reason string
}

func (w *waiting) Error() string { return w.reason }

func wait(after time.Duration, format string, args ...any) error {
	return &waiting{after: after, reason: fmt.Sprintf(format, args...)}
}

// keepSlot is the longest wait for which a task keeps its slot: writing that
// it waits costs about as much.
const keepSlot = 900 * time.Millisecond

// runTask does the steps of a task one after the other until it ends, has to
// wait, or ctx is done.
func (e *Engine) runTask(ctx context.Context, task store.Task) {
	for {
		again, err := e.runStep(ctx, task)
		switch {
		case errors.Is(err, store.ErrLost), errors.Is(context.Cause(ctx), errLeaseLost):
			e.log.Warn("a task was taken over by another deployer, or replaced by another task", "task", task.ID, "subject", task.Subject)
			return
		case errors.Is(context.Cause(ctx), errCancelled):
			e.endCancelled(ctx, task)
			return
		case ctx.Err() != nil:
			e.giveBack(ctx, task)
			return
		case err != nil:
			// The storage failed, and nothing is known of the step: whoever
			// comes next finds its intent and checks what came of it.
			e.log.Error("cannot go on with a task; it is tried again", "task", task.ID, "subject", task.Subject, "err", err)
			sleep(ctx, idlePoll)
			e.giveBack(ctx, task)
			return
		case !again:
			return
		}
	}
}

// runStep does the current step. It returns whether the task goes on at once.
// Its error is one of the storage.
func (e *Engine) runStep(ctx context.Context, task store.Task) (again bool, err error) {
	w, err := e.begin(ctx, task)
	if err != nil || w == nil {
		return false, err
	}
	if w.step.Status != fleet.StepRunning { // it may not begin yet
		return false, nil
	}
	until := w.until()
	stepCtx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	out, err := e.act(stepCtx, w)
	if ctx.Err() != nil && err != nil {
		// Interrupted from outside: that says nothing of the step.
		return false, nil
	}
	if errors.Is(err, store.ErrLost) { // somebody else has the task, or another is in its place
		return false, err
	}
	return e.end(ctx, w, out, err)
}

// act does the step, and waits in it for what is soon.
func (e *Engine) act(ctx context.Context, w *work) (outcome, error) {
	for {
		out, err := actionOf(w.step.Name)(ctx, w)
		var pause *waiting
		if !errors.As(err, &pause) || pause.after > keepSlot {
			return out, err
		}
		if !sleep(ctx, pause.after) {
			return outcome{}, fmt.Errorf("%s: %w", pause.reason, ctx.Err())
		}
	}
}

// until is when the step must have ended.
func (w *work) until() time.Time {
	until := w.step.StartedAt.Add(w.e.opts.StepTimeouts[w.step.Name])
	if w.task.Deadline.Before(until) {
		return w.task.Deadline
	}
	return until
}

// begin reads what the current step needs and writes down that it begins. It
// returns nil when the task has ended.
func (e *Engine) begin(ctx context.Context, task store.Task) (*work, error) {
	w := &work{e: e}
	ended := false
	err := e.db.Update(fleet.WithActor(ctx, task.Actor), func(tx *store.Tx) (err error) {
		if w.task, err = tx.Held(task); err != nil {
			return err
		}
		if err := w.read(tx); err != nil {
			return err
		}
		current, ok := w.task.Current()
		w.step = current
		switch {
		case w.task.Cancelled:
			ended = true
			return w.finishCancelled(tx)
		case !ok:
			ended = true
			return w.finish(tx)
		}
		return w.intend(tx)
	})
	if err != nil || ended {
		return nil, err
	}
	return w, nil
}

// read fills in what the step works with.
func (w *work) read(tx *store.Tx) (err error) {
	if w.family, err = tx.Family(w.task.FamilyID); err != nil || w.task.Kind != fleet.KindNode {
		return err
	}
	if w.node, err = tx.Node(w.task.Subject); err != nil {
		return err
	}
	w.domain, _ = w.family.Domain(w.node.DomainID)
	if w.record, err = tx.Provider(w.node.ProviderID); err != nil {
		return err
	}
	if w.family.ReleaseID == "" {
		return nil
	}
	w.release, err = tx.Release(w.family.ReleaseID)
	return err
}

// intend writes down that the step begins, unless it only goes on waiting.
func (w *work) intend(tx *store.Tx) error {
	if busy, err := w.alone(tx); err != nil || busy {
		w.step.Status = fleet.StepPending // not now
		if err == nil {
			err = tx.GiveBack(w.task, tx.Now().Add(time.Second))
		}
		return err
	}
	resumed := w.step.Status == fleet.StepRunning
	if w.task.Waiting && resumed {
		w.task.Waiting = false
		return tx.ChangeTask(w.task, false)
	}
	w.step.Status = fleet.StepRunning
	w.step.Attempts++
	if w.step.StartedAt.IsZero() {
		w.step.StartedAt = tx.Now()
	}
	w.setStep()
	if err := tx.ChangeTask(w.task, false); err != nil {
		return err
	}
	entry := w.entry(fleet.EntryIntent)
	entry.Digest = w.digest()
	if resumed {
		entry.Message = "taken up again: how it ended was not written"
	}
	return tx.Append(entry)
}

// alone tells whether another node of the family is joining or leaving it: two
// at a time would change the membership under each other.
func (w *work) alone(tx *store.Tx) (busy bool, err error) {
	if !changesMembership(w.step.Name) || w.step.Status == fleet.StepRunning && !w.task.Waiting {
		return false, nil // or it is this one, resumed
	}
	tasks, err := tx.Tasks()
	return slices.ContainsFunc(tasks, func(other store.Task) bool {
		step, ok := other.Current()
		return ok && other.FamilyID == w.task.FamilyID && other.Subject != w.task.Subject &&
			changesMembership(step.Name) && step.Status == fleet.StepRunning && !other.Waiting
	}), err
}

func changesMembership(step fleet.StepName) bool {
	return step == fleet.StepBootstrap || step == fleet.StepLeave
}

// setStep puts the step back into the task.
func (w *work) setStep() {
	w.task.Steps = slices.Clone(w.task.Steps)
	i := slices.IndexFunc(w.task.Steps, func(s fleet.Step) bool { return s.Name == w.step.Name && !ended(s) })
	w.task.Steps[i] = w.step
}

func ended(s fleet.Step) bool { return s.Status == fleet.StepDone || s.Status == fleet.StepSkipped }

// end writes down how the step ended.
func (e *Engine) end(ctx context.Context, w *work, out outcome, failure error) (again bool, err error) {
	var pause *waiting
	left := w.until().Sub(e.opts.Now())
	switch {
	case failure == nil:
		elapsed := e.opts.Now().Sub(w.step.StartedAt)
		e.metrics.steps.WithLabelValues(string(w.step.Name)).Observe(elapsed.Seconds())
		if changesMembership(w.step.Name) {
			defer e.poke() // others may have been waiting for it
		}
		return true, e.update(ctx, w, func(tx *store.Tx) error { return w.succeed(tx, out) })
	case errors.As(failure, &pause) && left > 0:
		pause.after = min(pause.after, left)
		return false, e.update(ctx, w, func(tx *store.Tx) error { return w.pause(tx, pause) })
	case errors.As(failure, &pause):
		failure = w.late(failure)
	case retryable(failure):
		after := max(backoff(w.step.Attempts), provider.RetryAfter(failure))
		if after < left {
			e.metrics.retries.WithLabelValues(string(w.step.Name)).Inc()
			return false, e.update(ctx, w, func(tx *store.Tx) error { return w.retry(tx, failure, after) })
		}
		failure = w.late(failure)
	}
	if w.step.Name == fleet.StepAnswer {
		failure = w.withStart(ctx, failure)
	}
	e.metrics.failures.WithLabelValues(string(w.step.Name)).Inc()
	e.log.Error("a step failed", "kind", w.task.Kind, "subject", w.task.Subject, "step", w.step.Name, "err", failure)
	return false, e.update(ctx, w, func(tx *store.Tx) error { return w.fail(tx, failure) })
}

// late is the failure of a step whose time is over.
func (w *work) late(failure error) error {
	if errors.Is(failure, context.DeadlineExceeded) && w.step.Message != "" {
		failure = fmt.Errorf("%w; before: %s", failure, w.step.Message)
	}
	if w.task.Deadline.Equal(w.until()) {
		return fmt.Errorf("the whole task did not end within %s: %w", w.e.opts.TaskTimeout, failure)
	}
	return fmt.Errorf("it did not end within %s: %w", w.e.opts.StepTimeouts[w.step.Name], failure)
}

// update writes for a task that is still ours, and on what is stored now.
func (e *Engine) update(ctx context.Context, w *work, f func(*store.Tx) error) error {
	// What was done must be written, also when the engine is being stopped.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.opts.Lease)
	defer cancel()
	step := w.step
	return e.db.Update(fleet.WithActor(ctx, w.task.Actor), func(tx *store.Tx) (err error) {
		if w.task, err = tx.Held(w.task); err != nil {
			return err
		}
		if err := w.read(tx); err != nil {
			return err
		}
		w.step = step
		return f(tx)
	})
}

// retryable tells whether the same step may succeed later.
func retryable(err error) bool {
	var command *fleet.CommandError
	var permanent *fleet.PermanentError
	var refusal *fleet.Error
	var invalid *fleet.ValidationError
	var p *provider.Error
	switch {
	case errors.As(err, &permanent), errors.As(err, &command), errors.As(err, &invalid):
		return false
	case errors.As(err, &p):
		return provider.Retryable(err)
	case errors.As(err, &refusal):
		return errors.Is(err, fleet.ErrUnavailable)
	}
	return true
}
