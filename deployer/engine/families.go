package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/store"
)

// AddFamily makes a node family known, and lets its providers be prepared.
func (e *Engine) AddFamily(ctx context.Context, f fleet.Family) (fleet.Family, error) {
	return update(ctx, e, func(tx *store.Tx) (fleet.Family, error) { return e.addFamily(tx, f) })
}

func (e *Engine) addFamily(tx *store.Tx, f fleet.Family) (fleet.Family, error) {
	f.ID, f.CreatedAt, f.UpdatedAt = uuid.NewString(), tx.Now(), tx.Now()
	f.Prepared, f.Deleting = nil, false
	f, err := e.checkFamily(tx, f.WithDefaults())
	if err != nil {
		return f, err
	}
	if err := errors.Join(tx.PutFamily(f), told(tx, fleet.KindFamily, f.ID, f.Name, actionCreate, "")); err != nil {
		return f, err
	}
	if len(f.Domains) == 0 {
		return f, nil
	}
	return f, e.familyTask(tx, f, fleet.ActionPrepare)
}

// checkFamily checks a family and what it refers to, by ids or names, which
// become ids. New domains get ids.
func (e *Engine) checkFamily(tx *store.Tx, f fleet.Family) (fleet.Family, error) {
	if f.ReleaseID != "" {
		r, err := tx.Release(f.ReleaseID)
		if err != nil {
			return f, err
		}
		f.ReleaseID = r.ID
	}
	f.Domains = slices.Clone(f.Domains)
	for i := range f.Domains {
		d := &f.Domains[i]
		if d.ID == "" {
			d.ID = uuid.NewString()
		}
		if d.ProviderID == "" {
			continue // Validate says so
		}
		p, err := tx.Provider(d.ProviderID)
		if err != nil {
			return f, err
		}
		d.ProviderID = p.ID
		if err := e.checkDomain(p, *d, fmt.Sprintf("domains[%d].", i)); err != nil {
			return f, err
		}
	}
	return f, f.Validate()
}

// checkDomain asks the provider of a domain what is wrong with it.
func (e *Engine) checkDomain(record fleet.Provider, d fleet.Domain, path string) error {
	if !e.supports(record) {
		return nil
	}
	p, err := e.provider(record)
	if err != nil {
		return err
	}
	checker, ok := p.(provider.DomainChecker)
	if !ok {
		return nil
	}
	err = checker.CheckDomain(d)
	var invalid *fleet.ValidationError
	if errors.As(err, &invalid) {
		told := &fleet.ValidationError{What: "node family"}
		for _, problem := range invalid.Problems {
			told.Problems = append(told.Problems, fleet.Problem{Path: path + problem.Path, Message: problem.Message})
		}
		return told
	}
	return err
}

// ChangeFamily changes a family. Its providers are prepared anew when what
// they keep for it is another; running nodes are left as they are.
func (e *Engine) ChangeFamily(ctx context.Context, ref string, change func(*fleet.Family) error) (fleet.Family, error) {
	return update(ctx, e, func(tx *store.Tx) (fleet.Family, error) { return e.changeFamily(tx, ref, change) })
}

func (e *Engine) changeFamily(tx *store.Tx, ref string, change func(*fleet.Family) error) (fleet.Family, error) {
	old, err := tx.Family(ref)
	if err != nil {
		return old, err
	}
	if old.Deleting {
		return old, fleet.Errorf(fleet.ErrConflict, "family %q is being deleted", old.Name)
	}
	f := old
	f.Domains = slices.Clone(old.Domains)
	if err := change(&f); err != nil {
		return old, err
	}
	f.ID, f.CreatedAt, f.UpdatedAt = old.ID, old.CreatedAt, tx.Now()
	f.Prepared, f.Deleting = old.Prepared, old.Deleting
	if f, err = e.checkFamily(tx, f.WithDefaults()); err != nil {
		return old, err
	}
	if err := domainsInUse(tx, f); err != nil {
		return old, err
	}
	if err := errors.Join(tx.PutFamily(f), told(tx, fleet.KindFamily, f.ID, f.Name, actionUpdate, "")); err != nil {
		return old, err
	}
	if e.isPrepared(f) {
		return f, nil
	}
	return f, e.familyTask(tx, f, fleet.ActionPrepare)
}

// isPrepared tells whether the providers have of a family what they should.
func (e *Engine) isPrepared(f fleet.Family) bool {
	want := map[string]string{}
	for _, d := range f.Domains {
		want[d.ProviderID] = e.preparedWith(f, d.ProviderID)
	}
	return maps.Equal(want, f.Prepared)
}

// domainsInUse refuses to take domains away in which there are nodes.
func domainsInUse(tx *store.Tx, f fleet.Family) error {
	nodes, err := tx.Nodes(fleet.NodeFilter{FamilyID: f.ID})
	for _, n := range nodes {
		d, ok := f.Domain(n.DomainID)
		if !ok || d.ProviderID != n.ProviderID {
			return fleet.Errorf(fleet.ErrConflict, "node %s is in domain %s: delete it before you take the domain away", n.ID, n.DomainID)
		}
	}
	return err
}

// Families returns all families by name.
func (e *Engine) Families(ctx context.Context) ([]fleet.Family, error) {
	return view(ctx, e, (*store.Tx).Families)
}

// Family returns one family.
func (e *Engine) Family(ctx context.Context, ref string) (fleet.Family, error) {
	return view(ctx, e, func(tx *store.Tx) (fleet.Family, error) { return tx.Family(ref) })
}

// RemoveFamily deletes a family, with its nodes if asked to, and what it has
// with its providers. It returns at once: the family is Deleting until it is
// gone.
func (e *Engine) RemoveFamily(ctx context.Context, ref string, withNodes bool) error {
	_, err := update(ctx, e, func(tx *store.Tx) (struct{}, error) { return struct{}{}, e.removeFamily(tx, ref, withNodes) })
	return err
}

func (e *Engine) removeFamily(tx *store.Tx, ref string, withNodes bool) error {
	f, err := tx.Family(ref)
	if err != nil {
		return err
	}
	nodes, err := tx.Nodes(fleet.NodeFilter{FamilyID: f.ID})
	if err != nil {
		return err
	}
	switch {
	case f.Protected:
		return fleet.Errorf(fleet.ErrConflict, "family %q is protected: take its protection away first", f.Name)
	case len(nodes) > 0 && !withNodes:
		return fleet.Errorf(fleet.ErrConflict, "family %q has %d nodes: delete them first, or with it", f.Name, len(nodes))
	}
	f.Deleting, f.UpdatedAt = true, tx.Now()
	message := fmt.Sprintf("with %d nodes", len(nodes))
	if err := errors.Join(tx.PutFamily(f), told(tx, fleet.KindFamily, f.ID, f.Name, actionDelete, message)); err != nil {
		return err
	}
	for _, n := range nodes {
		if _, err := e.ask(tx, n, f, fleet.ActionDelete); err != nil {
			return err
		}
	}
	return e.familyTask(tx, f, fleet.ActionRemove)
}
