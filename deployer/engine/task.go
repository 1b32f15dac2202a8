package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
			e.log.Warn("a task was taken over by another deployer", "task", task.ID, "subject", task.Subject)
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

// succeed ends the step; the next begins at once.
func (w *work) succeed(tx *store.Tx, out outcome) error {
	result := fleet.ResultOK
	w.step.Status, w.step.Message, w.step.EndedAt = fleet.StepDone, out.message, tx.Now()
	if out.skipped {
		w.step.Status, result = fleet.StepSkipped, fleet.ResultSkipped
	}
	w.setStep()
	w.task.Waiting = false
	entry := w.entry(fleet.EntryResult)
	entry.Result, entry.Message = result, out.message
	if err := errors.Join(tx.ChangeTask(w.task, false), tx.Append(entry)); err != nil {
		return err
	}
	if w.task.Kind == fleet.KindNode {
		w.node.Reason = nil
		if out.node != nil {
			out.node(&w.node)
		}
		if err := w.putNode(tx, out.state); err != nil {
			return err
		}
	}
	if changesMembership(w.step.Name) {
		if err := wakeFamily(tx, w.task.FamilyID); err != nil {
			return err
		}
	}
	if out.also != nil {
		return out.also(tx)
	}
	return nil
}

// wakeFamily lets those of a family go on at once that wait for the others.
// Those that failed and are to be tried again keep their time.
func wakeFamily(tx *store.Tx, familyID string) error {
	tasks, err := tx.Tasks()
	for _, task := range tasks {
		step, ok := task.Current()
		waits := task.Waiting || step.Attempts == 0
		if err != nil || !ok || !waits || task.FamilyID != familyID {
			continue
		}
		if changesMembership(step.Name) || step.Name == fleet.StepWithdraw {
			err = tx.ChangeTask(task, true)
		}
	}
	return err
}

// pause leaves the step running, to be asked again. Only that it waits is
// written, and no entry: nothing has happened.
func (w *work) pause(tx *store.Tx, p *waiting) error {
	w.task.Waiting = true
	w.step.Message = p.reason
	w.setStep()
	return errors.Join(tx.ChangeTask(w.task, false), tx.GiveBack(w.task, tx.Now().Add(p.after)))
}

// The back-off of retries.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// backoff doubles with each attempt, and differs by a fifth so that those that
// failed together do not come back together.
func backoff(attempts int) time.Duration {
	d := lastRetry
	if attempts < 6 {
		d = min(lastRetry, firstRetry<<max(0, attempts-1))
	}
	return d - d/10 + rand.N(d/5) //nolint:gosec // nobody gains from guessing it
}

// retry lets the step be tried again later.
func (w *work) retry(tx *store.Tx, failure error, after time.Duration) error {
	w.step.Status, w.step.Message = fleet.StepPending, failure.Error()
	w.setStep()
	w.task.Waiting = false
	entry := w.entry(fleet.EntryResult)
	entry.Result = fleet.ResultRetry
	entry.Message = fmt.Sprintf("%s; tried again in %s", failure, after.Round(time.Second))
	if w.task.Kind == fleet.KindNode {
		w.node.Reason = w.reason(tx, failure)
		if err := w.putNode(tx, ""); err != nil {
			return err
		}
	}
	return errors.Join(tx.ChangeTask(w.task, false), tx.Append(entry), tx.GiveBack(w.task, tx.Now().Add(after)))
}

// fail ends the task with its step.
func (w *work) fail(tx *store.Tx, failure error) error {
	reason := w.reason(tx, failure)
	entry := w.entry(fleet.EntryResult)
	entry.Result, entry.Message, entry.Reason = fleet.ResultFailed, failure.Error(), reason
	end := w.entry(fleet.EntryTask)
	end.Step, end.Result, end.Message = w.step.Name, fleet.ResultFailed, failure.Error()
	if err := tx.Append(entry); err != nil {
		return err
	}
	if w.task.Kind == fleet.KindNode {
		w.node.Reason = reason
		if err := w.putNode(tx, fleet.StateError); err != nil {
			return err
		}
	}
	return errors.Join(tx.Append(end), w.remove(tx))
}

// reason puts a failure in the words of a node.
func (w *work) reason(tx *store.Tx, failure error) *fleet.Reason {
	r := &fleet.Reason{Step: w.step.Name, Message: failure.Error(), At: tx.Now()}
	var c *fleet.CommandError
	if errors.As(failure, &c) {
		r.Command, r.ExitStatus, r.Output = c.Command, c.ExitStatus, c.Output
	}
	return r
}

// finish ends a task whose steps have all ended.
func (w *work) finish(tx *store.Tx) error {
	end := w.entry(fleet.EntryTask)
	end.Result = fleet.ResultOK
	if err := errors.Join(tx.Append(end), w.remove(tx)); err != nil {
		return err
	}
	switch w.task.Action {
	case fleet.ActionDelete, fleet.ActionForget:
		return errors.Join(tx.DeleteNode(w.task.Subject), wakeFamily(tx, w.task.FamilyID))
	case fleet.ActionRemove:
		return tx.DeleteFamily(w.task.Subject)
	}
	return nil
}

// endCancelled ends a task whose step was interrupted.
func (e *Engine) endCancelled(ctx context.Context, task store.Task) {
	w := &work{e: e, task: task}
	err := e.update(ctx, w, func(tx *store.Tx) error {
		if !w.task.Cancelled { // who cancelled could not write it
			return tx.GiveBack(w.task, tx.Now())
		}
		w.step, _ = w.task.Current()
		return w.finishCancelled(tx)
	})
	if err != nil && !errors.Is(err, store.ErrLost) {
		e.log.Warn("cannot end a cancelled task; it is tried again", "task", task.ID, "err", err)
	}
}

// finishCancelled ends a task that was given up, and begins what is to be done
// in its place.
func (w *work) finishCancelled(tx *store.Tx) error {
	message := "given up by " + w.task.CancelledBy
	end := w.entry(fleet.EntryTask)
	end.Actor, end.Step, end.Result, end.Message = w.task.CancelledBy, w.step.Name, fleet.ResultCancelled, message
	if err := errors.Join(tx.Append(end), w.remove(tx)); err != nil {
		return err
	}
	if w.task.Next != "" {
		_, err := w.e.startTask(tx, w.node, w.task.Next, w.task.NextActor)
		return err
	}
	w.node.Reason = &fleet.Reason{Step: w.step.Name, Message: message, At: tx.Now()}
	return w.putNode(tx, fleet.StateError)
}

// remove forgets the task, and its being in the way of others.
func (w *work) remove(tx *store.Tx) error {
	return errors.Join(tx.DeleteTask(w.task), wakeFamily(tx, w.task.FamilyID))
}

// putNode writes the node, in a new state unless it is empty.
func (w *work) putNode(tx *store.Tx, state fleet.State) error {
	return putNode(tx, w.node, state, w.task.ID)
}

// putNode writes a node, and tells the journal when its state is another.
func putNode(tx *store.Tx, n fleet.Node, state fleet.State, taskID string) error {
	if state == "" || state == n.State {
		return tx.PutNode(n)
	}
	n.State, n.Since = state, tx.Now()
	entry := fleet.Entry{
		Type: fleet.EntryState, Kind: fleet.KindNode, Subject: n.ID, Name: n.Name, FamilyID: n.FamilyID,
		TaskID: taskID, State: state, Reason: n.Reason,
	}
	return errors.Join(tx.PutNode(n), tx.Append(entry))
}

// entry begins a journal entry about the step.
func (w *work) entry(t fleet.EntryType) fleet.Entry {
	name := w.family.Name
	if w.task.Kind == fleet.KindNode {
		name = w.node.Name
	}
	entry := fleet.Entry{
		Type: t, Kind: w.task.Kind, Subject: w.task.Subject, Name: name, FamilyID: w.task.FamilyID,
		TaskID: w.task.ID, Action: string(w.task.Action),
	}
	if t != fleet.EntryTask {
		entry.Step, entry.Attempt = w.step.Name, w.step.Attempts
	}
	return entry
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
