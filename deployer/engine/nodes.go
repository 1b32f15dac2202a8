package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/store"
)

// Deploy writes down new nodes in UNINIT, which are deployed while Run runs,
// and returns them.
func (e *Engine) Deploy(ctx context.Context, r fleet.DeployRequest) ([]fleet.Node, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return update(ctx, e, func(tx *store.Tx) ([]fleet.Node, error) {
		nodes, found, err := repeated(tx, r)
		if found || err != nil {
			return nodes, err
		}
		if nodes, err = e.deploy(tx, r); err != nil || r.Key == "" {
			return nodes, err
		}
		ids := make([]string, len(nodes))
		for i, n := range nodes {
			ids[i] = n.ID
		}
		return nodes, tx.PutRequest(r.Key, digestOf(r), ids)
	})
}

// repeated returns the nodes of an earlier request with the same key. Those
// that were deleted meanwhile are left out.
func repeated(tx *store.Tx, r fleet.DeployRequest) (nodes []fleet.Node, found bool, err error) {
	if r.Key == "" {
		return nil, false, nil
	}
	digest, ids, found, err := tx.Request(r.Key)
	if !found || err != nil {
		return nil, false, err
	}
	if digest != digestOf(r) {
		return nil, true, fleet.Errorf(fleet.ErrConflict, "the key %q came with another request before", r.Key)
	}
	for _, id := range ids {
		n, err := tx.Node(id)
		if err == nil {
			nodes = append(nodes, n)
		} else if !errors.Is(err, fleet.ErrNotFound) {
			return nil, true, err
		}
	}
	return nodes, true, nil
}

func (e *Engine) deploy(tx *store.Tx, r fleet.DeployRequest) ([]fleet.Node, error) {
	f, d, err := target(tx, r)
	if err != nil {
		return nil, err
	}
	var nodes []fleet.Node
	if r.Continue {
		if nodes, err = e.unfinished(tx, f, d, r.Amount); err != nil {
			return nil, err
		}
	}
	if len(nodes) < r.Amount {
		message := fmt.Sprintf("%d nodes", r.Amount-len(nodes))
		if err := told(tx, fleet.KindFamily, f.ID, f.Name, string(fleet.ActionDeploy), message); err != nil {
			return nil, err
		}
	}
	for len(nodes) < r.Amount {
		n, err := e.newNode(tx, f, d, r.Stopped)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// target finds the family and the domain that a request means.
func target(tx *store.Tx, r fleet.DeployRequest) (fleet.Family, fleet.Domain, error) {
	f, err := tx.Family(r.Family)
	if err != nil {
		return f, fleet.Domain{}, err
	}
	switch {
	case f.Deleting:
		return f, fleet.Domain{}, fleet.Errorf(fleet.ErrConflict, "family %q is being deleted", f.Name)
	case f.ReleaseID == "":
		return f, fleet.Domain{}, fleet.Errorf(fleet.ErrConflict, "family %q has no release: connect it with one first", f.Name)
	}
	release, err := tx.Release(f.ReleaseID)
	if err != nil {
		return f, fleet.Domain{}, err
	}
	if len(release.Archives) == 0 {
		return f, fleet.Domain{}, fleet.Errorf(fleet.ErrConflict, "release %q has no archive: upload one first", release.Name)
	}
	d, err := domainOf(tx, f, r)
	return f, d, err
}

func domainOf(tx *store.Tx, f fleet.Family, r fleet.DeployRequest) (fleet.Domain, error) {
	switch {
	case r.Domain != "":
		if d, ok := f.Domain(r.Domain); ok {
			return d, nil
		}
		return fleet.Domain{}, fleet.NotFound("domain of family "+f.Name, r.Domain)
	case r.Provider != "":
		p, err := tx.Provider(r.Provider)
		if err != nil {
			return fleet.Domain{}, err
		}
		if d, ok := f.DomainOf(p.ID); ok {
			return d, nil
		}
		return fleet.Domain{}, fleet.Errorf(fleet.ErrInvalid, "family %q has no domain with provider %q", f.Name, p.Name)
	case len(f.Domains) == 1:
		return f.Domains[0], nil
	}
	return fleet.Domain{}, fleet.Errorf(fleet.ErrInvalid, "family %q has %d domains: name a provider or a domain", f.Name, len(f.Domains))
}

// unfinished returns at most limit nodes that an earlier deployment did not
// bring to its end, going on with those that failed.
func (e *Engine) unfinished(tx *store.Tx, f fleet.Family, d fleet.Domain, limit int) ([]fleet.Node, error) {
	all, err := tx.Nodes(fleet.NodeFilter{FamilyID: f.ID})
	if err != nil {
		return nil, err
	}
	var found []fleet.Node
	for _, n := range all {
		if len(found) == limit || n.DomainID != d.ID || n.Goal == fleet.GoalDeleted {
			continue
		}
		switch {
		case n.Task != nil && n.Task.Action == fleet.ActionDeploy:
			found = append(found, n)
		case n.Task == nil && n.State == fleet.StateError:
			n, err := e.ask(tx, n, f, fleet.ActionDeploy)
			if err != nil {
				return nil, err
			}
			found = append(found, n)
		}
	}
	return found, nil
}

func (e *Engine) newNode(tx *store.Tx, f fleet.Family, d fleet.Domain, stopped bool) (fleet.Node, error) {
	n := fleet.Node{
		ID: uuid.NewString(), FamilyID: f.ID, DomainID: d.ID, ProviderID: d.ProviderID,
		State: fleet.StateUninit, Since: tx.Now(), Goal: fleet.GoalRunning, CreatedAt: tx.Now(),
	}
	if stopped {
		n.Goal = fleet.GoalStopped
	}
	if err := putNode(tx, n, "", ""); err != nil {
		return n, err
	}
	return e.startTask(tx, n, fleet.ActionDeploy, fleet.Actor(tx.Context()))
}

// Nodes returns the nodes that the filter selects, in the order in which they
// were asked for.
func (e *Engine) Nodes(ctx context.Context, f fleet.NodeFilter) ([]fleet.Node, error) {
	return view(ctx, e, func(tx *store.Tx) ([]fleet.Node, error) { return tx.Nodes(f) })
}

// Node returns one node with the steps of its task.
func (e *Engine) Node(ctx context.Context, ref string) (fleet.Node, error) {
	return view(ctx, e, func(tx *store.Tx) (fleet.Node, error) { return tx.Node(ref) })
}

// Act asks for an action and returns at once. A node that is already there, or
// on its way, is left as it is.
func (e *Engine) Act(ctx context.Context, ref string, a fleet.Action) (fleet.Node, error) {
	return update(ctx, e, func(tx *store.Tx) (fleet.Node, error) {
		n, err := tx.Node(ref)
		if err != nil {
			return n, err
		}
		f, err := tx.Family(n.FamilyID)
		if err != nil {
			return n, err
		}
		return e.ask(tx, n, f, a)
	})
}

// ask writes down what is wanted of a node.
func (e *Engine) ask(tx *store.Tx, n fleet.Node, f fleet.Family, a fleet.Action) (fleet.Node, error) {
	if err := allowed(n, f, a); err != nil {
		return n, err
	}
	actor := fleet.Actor(tx.Context())
	switch {
	case n.Task != nil && n.Task.Action == a && !n.Task.Cancelled:
		return n, nil
	case n.Task == nil && there(n, a):
		return n, nil
	}
	err := tx.Append(fleet.Entry{
		Type: fleet.EntryRequest, Kind: fleet.KindNode, Subject: n.ID, Name: n.Name,
		FamilyID: n.FamilyID, Action: string(a), Result: fleet.ResultOK,
	})
	if err != nil {
		return n, err
	}
	if n.Task == nil {
		return e.startTask(tx, n, a, actor)
	}
	n.Goal = fleet.GoalDeleted
	if err := tx.PutNode(n); err != nil {
		return n, err
	}
	return e.cancel(tx, n, func(t *store.Task) { t.Next, t.NextActor = a, actor })
}

// allowed says why an action cannot be asked of a node, or nil.
func allowed(n fleet.Node, f fleet.Family, a fleet.Action) error {
	deletes := a == fleet.ActionDelete || a == fleet.ActionForget
	switch {
	case stepsOf(a, n, false) == nil:
		return fleet.Errorf(fleet.ErrInvalid, "there is no action %q", a)
	case deletes && f.Protected:
		return fleet.Errorf(fleet.ErrConflict, "family %q is protected: take its protection away first", f.Name)
	case deletes:
		return nil // also in the place of what is being done
	case n.Goal == fleet.GoalDeleted:
		return fleet.Errorf(fleet.ErrConflict, "node %s is being deleted", n.ID)
	case n.Task != nil && n.Task.Action != a:
		return fleet.Errorf(fleet.ErrConflict, "node %s has another task, %s: wait for its end or cancel it", n.ID, n.Task.Action)
	case a != fleet.ActionDeploy && !installed(n):
		return fleet.Errorf(fleet.ErrConflict, "node %s is not deployed yet: deploy it", n.ID)
	}
	return nil
}

// there tells whether a node without a task is where an action would bring it.
func there(n fleet.Node, a fleet.Action) bool {
	switch a {
	case fleet.ActionStart:
		return n.State == fleet.StateUp
	case fleet.ActionStop:
		return n.State == fleet.StateStopped
	case fleet.ActionDeploy:
		return n.State == fleet.StateUp || n.State == fleet.StateStopped && n.Goal == fleet.GoalStopped
	}
	return false
}

// Cancel gives up what is being done with a node, which goes to ERROR.
func (e *Engine) Cancel(ctx context.Context, ref string) (fleet.Node, error) {
	return update(ctx, e, func(tx *store.Tx) (fleet.Node, error) {
		n, err := tx.Node(ref)
		switch {
		case err != nil:
			return n, err
		case n.Task == nil:
			return n, fleet.Errorf(fleet.ErrConflict, "nothing is being done with node %s", n.ID)
		case n.Task.Cancelled:
			return n, nil
		}
		err = tx.Append(fleet.Entry{
			Type: fleet.EntryRequest, Kind: fleet.KindNode, Subject: n.ID, Name: n.Name, FamilyID: n.FamilyID,
			TaskID: n.Task.ID, Action: actionCancel, Result: fleet.ResultOK,
		})
		if err != nil {
			return n, err
		}
		return e.cancel(tx, n, func(*store.Task) {})
	})
}

// cancel marks the task of a node, and interrupts it if it is done here.
func (e *Engine) cancel(tx *store.Tx, n fleet.Node, change func(*store.Task)) (fleet.Node, error) {
	task, ok, err := tx.TaskOf(n.ID)
	if err != nil || !ok {
		return n, err
	}
	if !task.Cancelled {
		task.Cancelled, task.CancelledBy = true, fleet.Actor(tx.Context())
	}
	change(&task)
	if err := tx.ChangeTask(task, true); err != nil {
		return n, err
	}
	// Should this not be committed, the task finds itself not cancelled and
	// goes on.
	e.interrupt(task.ID, errCancelled)
	return tx.Node(n.ID)
}

// Idle tells whether nothing is being done or waits to be done: no task is
// left, here or with another engine.
func (e *Engine) Idle(ctx context.Context) (bool, error) {
	return view(ctx, e, func(tx *store.Tx) (bool, error) {
		tasks, err := tx.Tasks()
		return len(tasks) == 0, err
	})
}
