package engine

import (
	"github.com/google/uuid"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/store"
)

// stepsOf plans what an action takes for a node. Every step checks before it
// acts, so that a plan may begin at the beginning again: what is done already
// is found done.
func stepsOf(a fleet.Action, n fleet.Node, made bool) []fleet.StepName {
	start := []fleet.StepName{fleet.StepStart, fleet.StepAnswer, fleet.StepBootstrap, fleet.StepRegister}
	switch a {
	case fleet.ActionDeploy:
		return deploySteps(n, made, start)
	case fleet.ActionStart:
		// What is left of a node that does not answer is stopped first.
		return append([]fleet.StepName{fleet.StepConnect, fleet.StepStop}, start...)
	case fleet.ActionRestart:
		return append([]fleet.StepName{fleet.StepConnect, fleet.StepStop}, start...)
	case fleet.ActionStop:
		return []fleet.StepName{fleet.StepDeregister, fleet.StepConnect, fleet.StepStop}
	case fleet.ActionDelete:
		return deleteSteps(n, made)
	case fleet.ActionForget:
		return []fleet.StepName{fleet.StepDeregister}
	}
	return nil
}

func deploySteps(n fleet.Node, made bool, start []fleet.StepName) []fleet.StepName {
	steps := []fleet.StepName{fleet.StepPlace, fleet.StepPrepare, fleet.StepMachine, fleet.StepBoot, fleet.StepConnect}
	if made {
		steps = append(steps, fleet.StepUser)
	}
	steps = append(steps, fleet.StepInspect, fleet.StepUpload, fleet.StepInstall, fleet.StepConfigure)
	if n.Goal == fleet.GoalStopped {
		return steps
	}
	if installed(n) {
		steps = append(steps, fleet.StepStop)
	}
	return append(steps, start...)
}

func deleteSteps(n fleet.Node, made bool) []fleet.StepName {
	steps := []fleet.StepName{fleet.StepDeregister}
	if n.MachineID != "" && !n.Login.IsZero() {
		steps = append(steps, fleet.StepConnect, fleet.StepLeave, fleet.StepStop)
		if !made { // what is made is given back with all that is on it
			steps = append(steps, fleet.StepClean)
		}
	}
	return append(steps, fleet.StepDestroy)
}

// installed tells whether a release has been unpacked for the node.
func installed(n fleet.Node) bool { return n.Archive.SHA256 != "" }

// startTask writes down that an action is to be done with a node which has no
// task.
func (e *Engine) startTask(tx *store.Tx, n fleet.Node, a fleet.Action, actor string) (fleet.Node, error) {
	record, err := tx.Provider(n.ProviderID)
	if err != nil {
		return n, err
	}
	made, err := e.makesMachines(record)
	if err != nil {
		return n, err
	}
	switch a {
	case fleet.ActionDelete, fleet.ActionForget:
		n.Goal = fleet.GoalDeleted
	case fleet.ActionStop:
		n.Goal = fleet.GoalStopped
	case fleet.ActionStart, fleet.ActionRestart:
		n.Goal = fleet.GoalRunning
	}
	task := e.newTask(tx, fleet.KindNode, n.ID, n.FamilyID, a, actor, stepsOf(a, n, made))
	state := fleet.State("")
	if n.State == fleet.StateError && n.Goal != fleet.GoalDeleted {
		state = fleet.StateUninit
		if installed(n) {
			state = fleet.StateStopped
		}
	}
	n.Reason = nil
	if err := putNode(tx, n, state, task.ID); err != nil {
		return n, err
	}
	if err := tx.PutTask(task); err != nil {
		return n, err
	}
	return tx.Node(n.ID)
}

func (e *Engine) newTask(tx *store.Tx, kind, subject, familyID string, a fleet.Action, actor string, steps []fleet.StepName) store.Task {
	task := store.Task{Kind: kind, Subject: subject, FamilyID: familyID}
	task.Task = fleet.Task{
		ID: uuid.NewString(), Action: a, Actor: actor,
		CreatedAt: tx.Now(), Deadline: tx.Now().Add(e.opts.TaskTimeout),
	}
	for _, name := range steps {
		task.Steps = append(task.Steps, fleet.Step{Name: name, Status: fleet.StepPending})
	}
	return task
}

// familyTask writes down that something is to be done with what a family
// shares, in the place of what was to be done before.
func (e *Engine) familyTask(tx *store.Tx, f fleet.Family, a fleet.Action) error {
	step := fleet.StepPrepare
	if a == fleet.ActionRemove {
		step = fleet.StepWithdraw
	}
	return tx.PutTask(e.newTask(tx, fleet.KindFamily, f.ID, f.ID, a, fleet.Actor(tx.Context()), []fleet.StepName{step}))
}
