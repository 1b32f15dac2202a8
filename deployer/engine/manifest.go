package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/store"
)

// correction is one change of a plan with what does it: the plan that is shown
// is the one that is run.
type correction struct {
	fleet.Change
	do func(*store.Tx) error
}

// planner compares a manifest with what there is, in one transaction.
type planner struct {
	e  *Engine
	tx *store.Tx
	m  fleet.Manifest
	// releases are those of the manifest, looked through.
	releases map[string]fleet.Release
	// names of providers and releases by id, as far as they exist.
	names map[string]string
	out   []correction
}

// Plan says what Apply would do.
func (e *Engine) Plan(ctx context.Context, m fleet.Manifest) (fleet.Plan, error) {
	releases, err := e.manifestReleases(ctx, m)
	if err != nil {
		return fleet.Plan{}, err
	}
	return view(ctx, e, func(tx *store.Tx) (fleet.Plan, error) {
		_, plan, err := e.plan(tx, m, releases)
		return plan, err
	})
}

// Apply does what a plan says, all of it or nothing: it is one transaction,
// and what takes long is done by the tasks that it begins.
func (e *Engine) Apply(ctx context.Context, m fleet.Manifest, digest string) (fleet.Plan, error) {
	releases, err := e.manifestReleases(ctx, m)
	if err != nil {
		return fleet.Plan{}, err
	}
	return update(ctx, e, func(tx *store.Tx) (fleet.Plan, error) {
		corrections, plan, err := e.plan(tx, m, releases)
		if err != nil {
			return plan, err
		}
		if digest != "" && digest != plan.Digest {
			return plan, fleet.Errorf(fleet.ErrConflict, "the fleet has changed since the plan was shown: look at the new plan")
		}
		if len(corrections) == 0 {
			return plan, nil
		}
		message := fmt.Sprintf("%d changes", len(corrections))
		if err := told(tx, fleet.KindFleet, "", "", "apply", message); err != nil {
			return plan, err
		}
		for _, c := range corrections {
			if err := c.do(tx); err != nil {
				return plan, fmt.Errorf("%s %s %q: %w", c.Verb, c.Kind, c.Name, err)
			}
		}
		return plan, nil
	})
}

// manifestReleases looks through the archives of the manifest's releases, as
// far as they are not those that the release has already.
func (e *Engine) manifestReleases(ctx context.Context, m fleet.Manifest) (map[string]fleet.Release, error) {
	found := map[string]fleet.Release{}
	for _, mr := range m.Releases {
		old, err := e.Release(ctx, mr.Name)
		if err != nil && !errors.Is(err, fleet.ErrNotFound) {
			return nil, err
		}
		r, err := e.checkRelease(ctx, mr.Release(old))
		if err != nil {
			return nil, err
		}
		found[mr.Name] = r
	}
	return found, nil
}

func (e *Engine) plan(tx *store.Tx, m fleet.Manifest, releases map[string]fleet.Release) ([]correction, fleet.Plan, error) {
	if err := m.Validate(); err != nil {
		return nil, fleet.Plan{}, err
	}
	p := &planner{e: e, tx: tx, m: m, releases: releases, names: map[string]string{}}
	for _, part := range []func() error{p.readNames, p.planProviders, p.planReleases, p.planFamilies, p.prune} {
		if err := part(); err != nil {
			return nil, fleet.Plan{}, err
		}
	}
	plan := fleet.Plan{Changes: []fleet.Change{}}
	for _, c := range p.out {
		plan.Changes = append(plan.Changes, c.Change)
	}
	plan.Digest = digestOf(plan.Changes)
	return p.out, plan, nil
}

func (p *planner) readNames() error {
	providers, err := p.tx.Providers()
	if err != nil {
		return err
	}
	for _, one := range providers {
		p.names[one.ID] = one.Name
	}
	releases, err := p.tx.Releases()
	for _, one := range releases {
		p.names[one.ID] = one.Name
	}
	return err
}

func (p *planner) add(c fleet.Change, do func(*store.Tx) error) {
	p.out = append(p.out, correction{c, do})
}

func (p *planner) planProviders() error {
	for _, mp := range p.m.Providers {
		old, err := p.tx.Provider(mp.Name)
		if errors.Is(err, fleet.ErrNotFound) {
			wanted := mp.Provider(fleet.Provider{})
			if err := p.e.checkProvider(wanted); err != nil {
				return err
			}
			p.add(fleet.Change{Verb: fleet.VerbCreate, Kind: fleet.KindProvider, Name: mp.Name, Detail: "kind " + mp.Kind},
				func(tx *store.Tx) error { _, err := p.e.addProvider(tx, wanted); return err })
			continue
		}
		if err != nil {
			return err
		}
		wanted := mp.Provider(old)
		if err := p.e.checkProvider(wanted); err != nil {
			return err
		}
		fields := fleet.Diff(fleet.ProviderManifest(old), fleet.ProviderManifest(wanted))
		if len(fields) == 0 {
			continue
		}
		p.add(fleet.Change{Verb: fleet.VerbUpdate, Kind: fleet.KindProvider, Name: mp.Name, ID: old.ID, Fields: fields},
			func(tx *store.Tx) error {
				_, err := p.e.changeProvider(tx, old.ID, func(now *fleet.Provider) error { *now = wanted; return nil })
				return err
			})
	}
	return nil
}

func (p *planner) planReleases() error {
	for _, mr := range p.m.Releases {
		wanted := p.releases[mr.Name]
		old, err := p.tx.Release(mr.Name)
		if errors.Is(err, fleet.ErrNotFound) {
			p.add(fleet.Change{Verb: fleet.VerbCreate, Kind: fleet.KindRelease, Name: mr.Name},
				func(tx *store.Tx) error { _, err := addRelease(tx, wanted); return err })
			continue
		}
		if err != nil {
			return err
		}
		fields := fleet.Diff(fleet.ReleaseManifest(old), fleet.ReleaseManifest(wanted))
		if len(fields) == 0 {
			continue
		}
		p.add(fleet.Change{Verb: fleet.VerbUpdate, Kind: fleet.KindRelease, Name: mr.Name, ID: old.ID, Fields: fields},
			func(tx *store.Tx) error { _, err := putRelease(tx, old, wanted); return err })
	}
	return nil
}

func (p *planner) planFamilies() error {
	for _, mf := range p.m.Families {
		old, err := p.tx.Family(mf.Name)
		if errors.Is(err, fleet.ErrNotFound) {
			if err := p.createFamily(mf); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if old.Deleting {
			return fleet.Errorf(fleet.ErrConflict, "family %q is being deleted: wait until it is gone", mf.Name)
		}
		if err := p.changeFamily(mf, old); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) createFamily(mf fleet.ManifestFamily) error {
	wanted, err := mf.Family(fleet.Family{}, p.names)
	if err != nil {
		return err
	}
	p.add(fleet.Change{Verb: fleet.VerbCreate, Kind: fleet.KindFamily, Name: mf.Name},
		func(tx *store.Tx) error { _, err := p.e.addFamily(tx, wanted); return err })
	for i, md := range mf.Domains {
		p.deployNodes(mf.Name, i, md, md.Nodes)
	}
	return nil
}

func (p *planner) changeFamily(mf fleet.ManifestFamily, old fleet.Family) error {
	wanted, err := mf.Family(old, p.names)
	if err != nil {
		return err
	}
	fields := fleet.Diff(fleet.FamilyManifest(old, p.names), fleet.FamilyManifest(wanted, p.names))
	if len(fields) > 0 {
		p.add(fleet.Change{Verb: fleet.VerbUpdate, Kind: fleet.KindFamily, Name: mf.Name, ID: old.ID, Fields: fields},
			func(tx *store.Tx) error {
				_, err := p.e.changeFamily(tx, old.ID, func(now *fleet.Family) error { *now = wanted; return nil })
				return err
			})
	}
	nodes, err := p.tx.Nodes(fleet.NodeFilter{FamilyID: old.ID})
	if err != nil {
		return err
	}
	// What goes goes first: its slots and ports may be needed.
	for i, md := range mf.Domains {
		p.planNodes(mf.Name, i, md, wanted.Domains[i].ID, nodes)
	}
	return nil
}

// planNodes brings a domain to its number of nodes: those that failed are gone
// on with, those too many are deleted, failed and young ones first.
func (p *planner) planNodes(family string, domain int, md fleet.ManifestDomain, domainID string, all []fleet.Node) {
	var failed, rest []fleet.Node
	for _, n := range all {
		switch {
		case domainID == "" || n.DomainID != domainID || n.Goal == fleet.GoalDeleted:
		case n.State == fleet.StateError && n.Task == nil:
			failed = append(failed, n)
		default:
			rest = append(rest, n)
		}
	}
	surplus := len(failed) + len(rest) - md.Nodes
	for ; surplus > 0 && len(failed) > 0; surplus-- {
		p.actOn(failed[len(failed)-1], fleet.ActionDelete, md.Provider)
		failed = failed[:len(failed)-1]
	}
	for ; surplus > 0; surplus-- {
		p.actOn(rest[len(rest)-1], fleet.ActionDelete, md.Provider)
		rest = rest[:len(rest)-1]
	}
	for _, n := range failed {
		p.actOn(n, fleet.ActionDeploy, md.Provider)
	}
	p.deployNodes(family, domain, md, -surplus)
}

func (p *planner) actOn(n fleet.Node, a fleet.Action, provider string) {
	c := fleet.Change{Verb: fleet.VerbRetry, Kind: fleet.KindNode, Name: n.Name, ID: n.ID, Detail: "at " + provider}
	if n.Name == "" {
		c.Name = n.ID
	}
	if a == fleet.ActionDelete {
		c.Verb, c.Destroys = fleet.VerbDelete, true
	}
	p.add(c, func(tx *store.Tx) error {
		now, err := tx.Node(n.ID)
		if err != nil {
			return err
		}
		f, err := tx.Family(n.FamilyID)
		if err != nil {
			return err
		}
		_, err = p.e.ask(tx, now, f, a)
		return err
	})
}

func (p *planner) deployNodes(family string, domain int, md fleet.ManifestDomain, amount int) {
	for range max(0, amount) {
		p.add(fleet.Change{Verb: fleet.VerbDeploy, Kind: fleet.KindNode, Name: family, Detail: "at " + md.Provider},
			func(tx *store.Tx) error {
				f, err := tx.Family(family)
				if err != nil {
					return err
				}
				_, err = p.e.deploy(tx, fleet.DeployRequest{Family: f.ID, Domain: f.Domains[domain].ID, Amount: 1, Stopped: md.Stopped})
				return err
			})
	}
}

// prune deletes what the manifest does not name. A release or provider that a
// family still has that is going goes with the next plan.
func (p *planner) prune() error {
	if !p.m.Prune {
		return nil
	}
	named := p.m.Names()
	families, err := p.tx.Families()
	if err != nil {
		return err
	}
	used := map[string]bool{}
	for _, f := range families {
		used[f.ReleaseID] = true
		for _, d := range f.Domains {
			used[d.ProviderID] = true
		}
		for id := range f.Prepared {
			used[id] = true
		}
		if !named[fleet.KindFamily+f.Name] && !f.Deleting {
			p.add(fleet.Change{Verb: fleet.VerbDelete, Kind: fleet.KindFamily, Name: f.Name, ID: f.ID, Detail: "with all of its nodes", Destroys: true},
				func(tx *store.Tx) error { return p.e.removeFamily(tx, f.ID, true) })
		}
	}
	return p.pruneRest(named, used)
}

func (p *planner) pruneRest(named, used map[string]bool) error {
	releases, err := p.tx.Releases()
	if err != nil {
		return err
	}
	for _, r := range releases {
		if !named[fleet.KindRelease+r.Name] && !used[r.ID] {
			p.add(fleet.Change{Verb: fleet.VerbDelete, Kind: fleet.KindRelease, Name: r.Name, ID: r.ID, Destroys: true},
				func(tx *store.Tx) error { _, err := removeRelease(tx, r.ID); return err })
		}
	}
	providers, err := p.tx.Providers()
	for _, one := range providers {
		if !named[fleet.KindProvider+one.Name] && !used[one.ID] {
			p.add(fleet.Change{Verb: fleet.VerbDelete, Kind: fleet.KindProvider, Name: one.Name, ID: one.ID, Destroys: true},
				func(tx *store.Tx) error { return removeProvider(tx, one.ID) })
		}
	}
	return err
}
