package apitest

import (
	"context"
	"slices"

	"github.com/erlops/erlops/deployer/fleet"
)

// AddFamily implements api.Backend.
func (f *Fleet) AddFamily(ctx context.Context, family fleet.Family) (fleet.Family, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	family.ID, family.CreatedAt = f.id(), f.tick()
	family.UpdatedAt = family.CreatedAt
	family = f.withDomainIDs(family.WithDefaults())
	return add(ctx, f, &f.families, "node family", family, fleet.Family.Validate)
}

// withDomainIDs is called with the lock held.
func (f *Fleet) withDomainIDs(family fleet.Family) fleet.Family {
	family.Domains = slices.Clone(family.Domains)
	for i := range family.Domains {
		if family.Domains[i].ID == "" {
			family.Domains[i].ID = f.id()
		}
	}
	return family
}

// ChangeFamily implements api.Backend.
func (f *Fleet) ChangeFamily(ctx context.Context, ref string, edit func(*fleet.Family) error) (fleet.Family, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return change(ctx, f, f.families, "node family", ref, func(family *fleet.Family) error {
		if err := edit(family); err != nil {
			return err
		}
		*family = f.withDomainIDs(*family)
		return nil
	}, fleet.Family.Validate)
}

// Families implements api.Backend.
func (f *Fleet) Families(context.Context) ([]fleet.Family, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return byName(f.families), nil
}

// Family implements api.Backend.
func (f *Fleet) Family(_ context.Context, ref string) (fleet.Family, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := find(f.families, "node family", ref)
	if err != nil {
		return fleet.Family{}, err
	}
	return f.families[i], nil
}

// RemoveFamily implements api.Backend. Nodes go at once.
func (f *Fleet) RemoveFamily(ctx context.Context, ref string, withNodes bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := find(f.families, "node family", ref)
	if err != nil {
		return err
	}
	family := f.families[i]
	has := func(n fleet.Node) bool { return n.FamilyID == family.ID }
	switch {
	case family.Protected:
		return fleet.Errorf(fleet.ErrConflict, "the node family %q is protected", family.Name)
	case !withNodes && slices.ContainsFunc(f.nodes, has):
		return fleet.Errorf(fleet.ErrConflict, "the node family %q has nodes", family.Name)
	}
	f.nodes = slices.DeleteFunc(f.nodes, has)
	return remove(ctx, f, &f.families, "node family", ref)
}

// Deploy implements api.Backend.
func (f *Fleet) Deploy(ctx context.Context, r fleet.DeployRequest) ([]fleet.Node, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	nodes, err := f.deploy(ctx, r)
	if err == nil {
		f.tell(nodes...)
	}
	return nodes, err
}

func (f *Fleet) deploy(ctx context.Context, r fleet.DeployRequest) ([]fleet.Node, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := find(f.families, "node family", r.Family)
	if err != nil {
		return nil, err
	}
	family := f.families[i]
	if ids, ok := f.keys[r.Key]; ok && r.Key != "" {
		return slices.DeleteFunc(slices.Clone(f.nodes), func(n fleet.Node) bool { return !slices.Contains(ids, n.ID) }), nil
	}
	domain, err := f.domain(family, r)
	if err != nil {
		return nil, err
	}
	goal := fleet.GoalRunning
	if r.Stopped {
		goal = fleet.GoalStopped
	}
	var nodes []fleet.Node
	for range r.Amount {
		at := f.tick()
		n := fleet.Node{
			ID: f.id(), FamilyID: family.ID, DomainID: domain.ID, ProviderID: domain.ProviderID,
			State: fleet.StateUninit, Since: at, Goal: goal, CreatedAt: at, UpdatedAt: at,
		}
		n.Task = f.task(ctx, fleet.ActionDeploy, fleet.StepPlace, fleet.StepUpload, fleet.StepStart)
		nodes = append(nodes, n)
		f.keys[r.Key] = append(f.keys[r.Key], n.ID)
		f.note(fleet.Entry{
			Actor: fleet.Actor(ctx), Type: fleet.EntryRequest, Kind: fleet.KindNode, Subject: n.ID,
			FamilyID: family.ID, TaskID: n.Task.ID, Action: string(fleet.ActionDeploy), State: n.State,
		})
	}
	f.nodes = append(f.nodes, nodes...)
	return nodes, nil
}

// domain and task are called with the lock held.
func (f *Fleet) domain(family fleet.Family, r fleet.DeployRequest) (fleet.Domain, error) {
	if r.Domain != "" {
		if d, ok := family.Domain(r.Domain); ok {
			return d, nil
		}
		return fleet.Domain{}, fleet.NotFound("domain", r.Domain)
	}
	if r.Provider != "" {
		i, err := find(f.providers, "provider", r.Provider)
		if err != nil {
			return fleet.Domain{}, err
		}
		if d, ok := family.DomainOf(f.providers[i].ID); ok {
			return d, nil
		}
		return fleet.Domain{}, fleet.Errorf(fleet.ErrConflict, "the node family %q has no domain with the provider %q", family.Name, r.Provider)
	}
	if len(family.Domains) != 1 {
		return fleet.Domain{}, fleet.Errorf(fleet.ErrConflict, "the node family %q has %d domains: say which", family.Name, len(family.Domains))
	}
	return family.Domains[0], nil
}

func (f *Fleet) task(ctx context.Context, a fleet.Action, steps ...fleet.StepName) *fleet.Task {
	t := &fleet.Task{ID: f.id(), Action: a, Actor: fleet.Actor(ctx), CreatedAt: f.now, Deadline: f.now.AddDate(0, 0, 1)}
	for _, name := range steps {
		t.Steps = append(t.Steps, fleet.Step{Name: name, Status: fleet.StepPending})
	}
	return t
}

// tell calls OnTask without the lock.
func (f *Fleet) tell(nodes ...fleet.Node) {
	if f.OnTask == nil {
		return
	}
	for _, n := range nodes {
		f.OnTask(n)
	}
}

// Nodes implements api.Backend.
func (f *Fleet) Nodes(_ context.Context, filter fleet.NodeFilter) ([]fleet.Node, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var nodes []fleet.Node
	for _, n := range f.nodes {
		if (filter.FamilyID == "" || filter.FamilyID == n.FamilyID) &&
			(filter.ProviderID == "" || filter.ProviderID == n.ProviderID) &&
			(len(filter.States) == 0 || slices.Contains(filter.States, n.State)) {
			nodes = append(nodes, n)
		}
	}
	return nodes, nil
}

// Node implements api.Backend.
func (f *Fleet) Node(_ context.Context, ref string) (fleet.Node, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := find(f.nodes, "node", ref)
	if err != nil {
		return fleet.Node{}, err
	}
	return f.nodes[i], nil
}

// Act implements api.Backend.
func (f *Fleet) Act(ctx context.Context, ref string, a fleet.Action) (fleet.Node, error) {
	n, err := f.act(ctx, ref, a)
	if err == nil {
		f.tell(n)
	}
	return n, err
}

func (f *Fleet) act(ctx context.Context, ref string, a fleet.Action) (fleet.Node, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := find(f.nodes, "node", ref)
	if err != nil {
		return fleet.Node{}, err
	}
	n := &f.nodes[i]
	if n.Task != nil && n.Task.Action != a {
		return fleet.Node{}, fleet.Errorf(fleet.ErrConflict, "the node %q is busy: %s", n.ID, n.Task.Action)
	}
	n.Task = f.task(ctx, a, fleet.StepStop)
	switch a {
	case fleet.ActionDelete, fleet.ActionForget:
		n.Goal = fleet.GoalDeleted
	case fleet.ActionStop:
		n.Goal = fleet.GoalStopped
	case fleet.ActionStart, fleet.ActionRestart:
		n.Goal = fleet.GoalRunning
	}
	f.note(fleet.Entry{
		Actor: fleet.Actor(ctx), Type: fleet.EntryRequest, Kind: fleet.KindNode, Subject: n.ID, Name: n.Name,
		FamilyID: n.FamilyID, TaskID: n.Task.ID, Action: string(a),
	})
	return *n, nil
}

// Cancel implements api.Backend.
func (f *Fleet) Cancel(ctx context.Context, ref string) (fleet.Node, error) {
	n, err := f.Node(ctx, ref)
	if err != nil {
		return n, err
	}
	f.Finish(n.ID, fleet.StateError, "cancelled by "+fleet.Actor(ctx))
	return f.Node(ctx, ref)
}

// Finish ends what is being done with a node. With a message that is the reason
// of its state.
func (f *Fleet) Finish(id string, state fleet.State, message string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := find(f.nodes, "node", id)
	if err != nil {
		panic(err) // a mistake in the test
	}
	n := &f.nodes[i]
	n.Task, n.State, n.Reason = nil, state, nil
	n.Since = f.tick()
	n.UpdatedAt = n.Since
	e := fleet.Entry{Actor: fleet.ActorEngine, Type: fleet.EntryState, Kind: fleet.KindNode, Subject: id, FamilyID: n.FamilyID, State: state}
	if message != "" {
		n.Reason = &fleet.Reason{Step: fleet.StepStart, Message: message, Command: "bin/kv start", ExitStatus: 1, Output: "no such file", At: n.Since}
		e.Result, e.Message, e.Reason = fleet.ResultFailed, message, n.Reason
	}
	f.note(e)
}

// Place puts a node on a host, so that it has a name.
func (f *Fleet) Place(id, host string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := find(f.nodes, "node", id)
	if err != nil {
		panic(err) // a mistake in the test
	}
	f.nodes[i].Host, f.nodes[i].Name = host, fleet.NodeName(id, host)
	f.note(fleet.Entry{
		Actor: fleet.ActorEngine, Type: fleet.EntryResult, Kind: fleet.KindNode, Subject: id, FamilyID: f.nodes[i].FamilyID,
		Step: fleet.StepPlace, Result: fleet.ResultOK, Message: "on " + host,
	})
}

// Vanish takes a node away, as at the end of deleting it.
func (f *Fleet) Vanish(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := find(f.nodes, "node", id)
	if err != nil {
		panic(err) // a mistake in the test
	}
	n := f.nodes[i]
	f.nodes = slices.Delete(f.nodes, i, i+1)
	f.note(fleet.Entry{
		Actor: fleet.ActorEngine, Type: fleet.EntryTask, Kind: fleet.KindNode, Subject: id, Name: n.Name, FamilyID: n.FamilyID,
		Action: string(n.Task.Action), Result: fleet.ResultOK,
	})
}
