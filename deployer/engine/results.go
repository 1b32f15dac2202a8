package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/store"
)

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
