package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/store"
)

// order is in what order kinds of orphans go: what is used before what it
// uses.
var order = []string{"machine", "files", "address", "volume", "firewall", "key"}

// Collect finds what carries our owner's tag and belongs to no node or family
// of ours, and removes it if asked to. What is young is spared, and what is so
// new that its age is not known.
func (e *Engine) Collect(ctx context.Context, r fleet.CollectRequest) ([]fleet.Orphan, error) {
	records, err := e.Providers(ctx)
	if err != nil {
		return nil, err
	}
	if r.MinAge <= 0 {
		r.MinAge = e.opts.MinOrphanAge
	}
	var all []fleet.Orphan
	for _, record := range records {
		found, err := e.collectFrom(ctx, record, r)
		all = append(all, found...)
		switch {
		case ctx.Err() != nil:
			return all, ctx.Err()
		case err != nil: // what the others have is worth showing all the same
			all = append(all, fleet.Orphan{
				ProviderID: record.ID, Provider: record.Name, Kind: fleet.KindProvider, ID: record.ID, Error: err.Error(),
			})
		}
	}
	return all, nil
}

func (e *Engine) collectFrom(ctx context.Context, record fleet.Provider, r fleet.CollectRequest) ([]fleet.Orphan, error) {
	p, err := e.provider(record)
	if err != nil {
		return nil, err
	}
	resources, err := p.Resources(ctx, e.db.Owner())
	if err != nil {
		return nil, err
	}
	// Read after the provider was asked: whatever was made before that is
	// known by now.
	needed, err := e.needs(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(resources, func(a, b provider.Resource) int {
		return cmp.Compare(slices.Index(order, a.Kind), slices.Index(order, b.Kind))
	})
	var found []fleet.Orphan
	for _, res := range resources {
		if needed(record, res) || res.CreatedAt.IsZero() || e.opts.Now().Sub(res.CreatedAt) < r.MinAge {
			continue
		}
		o := fleet.Orphan{
			ProviderID: record.ID, Provider: record.Name, Kind: res.Kind, ID: res.ID,
			NodeID: res.Tag.NodeID, FamilyID: res.Tag.FamilyID, CreatedAt: res.CreatedAt,
		}
		if r.Remove {
			o = e.collectOne(ctx, p, res, o)
		}
		found = append(found, o)
	}
	return found, nil
}

// needs returns whether something belongs to a node or family that there is.
func (e *Engine) needs(ctx context.Context) (func(fleet.Provider, provider.Resource) bool, error) {
	nodes, families := map[string]fleet.Node{}, map[string]bool{}
	err := e.db.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Nodes(fleet.NodeFilter{})
		if err != nil {
			return err
		}
		for _, n := range all {
			nodes[n.ID] = n
		}
		known, err := tx.Families()
		for _, f := range known {
			families[f.ID] = true
		}
		return err
	})
	return func(record fleet.Provider, r provider.Resource) bool {
		if r.Tag.NodeID == "" {
			return families[r.Tag.FamilyID]
		}
		n, ok := nodes[r.Tag.NodeID]
		return ok && n.ProviderID == record.ID
	}, err
}

// collectOne removes an orphan, with its intent in the journal before.
func (e *Engine) collectOne(ctx context.Context, p provider.Provider, r provider.Resource, o fleet.Orphan) fleet.Orphan {
	entry := fleet.Entry{
		Kind: fleet.KindProvider, Subject: o.ProviderID, Name: o.Provider, FamilyID: o.FamilyID,
		Action: "collect", Message: fmt.Sprintf("%s %s of node %q", o.Kind, o.ID, o.NodeID),
	}
	tell := func(t fleet.EntryType, result string) error {
		entry.Type, entry.Result = t, result
		return e.db.Update(ctx, func(tx *store.Tx) error { return tx.Append(entry) })
	}
	err := tell(fleet.EntryIntent, "")
	if err == nil {
		err = p.Remove(ctx, r)
	}
	if err != nil {
		o.Error = err.Error()
		entry.Message += ": " + o.Error
		_ = tell(fleet.EntryResult, fleet.ResultFailed)
		return o
	}
	o.Removed = true
	if err := tell(fleet.EntryResult, fleet.ResultOK); err != nil {
		o.Error = err.Error()
	}
	return o
}
