package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/store"
)

// view reads one value.
func view[T any](ctx context.Context, e *Engine, f func(*store.Tx) (T, error)) (T, error) {
	var v T
	err := e.db.View(ctx, func(tx *store.Tx) (err error) {
		v, err = f(tx)
		return err
	})
	return v, err
}

// update writes, returns one value, and lets the scheduler look.
func update[T any](ctx context.Context, e *Engine, f func(*store.Tx) (T, error)) (T, error) {
	var v T
	err := e.db.Update(ctx, func(tx *store.Tx) (err error) {
		v, err = f(tx)
		return err
	})
	e.poke()
	return v, err
}

// told writes that somebody asked for something.
func told(tx *store.Tx, kind, id, name, action, message string) error {
	familyID := ""
	if kind == fleet.KindFamily {
		familyID = id
	}
	return tx.Append(fleet.Entry{
		Type: fleet.EntryRequest, Kind: kind, Subject: id, Name: name, FamilyID: familyID,
		Action: action, Result: fleet.ResultOK, Message: message,
	})
}

const (
	actionCreate = "create"
	actionUpdate = "update"
	actionDelete = "delete"
	actionCancel = "cancel"
)

// AddProvider makes a provider known. Its kind checks it; nothing outside is
// asked.
func (e *Engine) AddProvider(ctx context.Context, p fleet.Provider) (fleet.Provider, error) {
	return update(ctx, e, func(tx *store.Tx) (fleet.Provider, error) { return e.addProvider(tx, p) })
}

func (e *Engine) addProvider(tx *store.Tx, p fleet.Provider) (fleet.Provider, error) {
	p.ID, p.CreatedAt, p.UpdatedAt = uuid.NewString(), tx.Now(), tx.Now()
	if err := e.checkProvider(p); err != nil {
		return p, err
	}
	return p, errors.Join(tx.PutProvider(p), told(tx, fleet.KindProvider, p.ID, p.Name, actionCreate, "kind "+p.Kind))
}

func (e *Engine) checkProvider(p fleet.Provider) error {
	if err := p.Validate(); err != nil {
		return err
	}
	if !e.supports(p) && slices.Contains(fleet.CloudKinds(), p.Kind) {
		return nil
	}
	p.ID = "" // not to be kept: it may not be written in the end
	_, err := e.provider(p)
	return err
}

// ChangeProvider changes a provider.
func (e *Engine) ChangeProvider(ctx context.Context, ref string, change func(*fleet.Provider) error) (fleet.Provider, error) {
	return update(ctx, e, func(tx *store.Tx) (fleet.Provider, error) { return e.changeProvider(tx, ref, change) })
}

func (e *Engine) changeProvider(tx *store.Tx, ref string, change func(*fleet.Provider) error) (fleet.Provider, error) {
	old, err := tx.Provider(ref)
	if err != nil {
		return old, err
	}
	p := old
	if err := change(&p); err != nil {
		return old, err
	}
	p.ID, p.CreatedAt, p.UpdatedAt = old.ID, old.CreatedAt, tx.Now()
	if err := e.checkProvider(p); err != nil {
		return old, err
	}
	if err := errors.Join(hostsInUse(tx, p), e.placeInUse(tx, old, p)); err != nil {
		return old, err
	}
	return p, errors.Join(tx.PutProvider(p), told(tx, fleet.KindProvider, p.ID, p.Name, actionUpdate, ""))
}

// hostsInUse refuses to take a host away on which there are nodes, and to
// make machines where hosts were chosen.
func hostsInUse(tx *store.Tx, p fleet.Provider) error {
	nodes, err := tx.Nodes(fleet.NodeFilter{ProviderID: p.ID})
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if _, ok := p.Server(n.Host); !ok && p.Kind == fleet.KindPhysical && n.Host != "" {
			return fleet.Errorf(fleet.ErrConflict, "node %s is on host %q: delete it before you take the host away", n.ID, n.Host)
		}
	}
	return nil
}

// placeInUse refuses to ask elsewhere for what was made: nothing of it would be
// found, and it would count as gone.
func (e *Engine) placeInUse(tx *store.Tx, old, changed fleet.Provider) error {
	was := e.placeOf(old)
	if was == "" || was == e.placeOf(changed) {
		return nil
	}
	families, err := tx.Families()
	if err != nil {
		return err
	}
	for _, f := range families {
		if f.Prepared[old.ID] != "" {
			return fleet.Errorf(fleet.ErrConflict, "provider %s has things of family %s at %s: remove the family before you change that, or add another provider",
				old.Name, f.Name, was)
		}
	}
	return nil
}

// placeOf is where a provider makes things; empty when that is not known.
func (e *Engine) placeOf(p fleet.Provider) string {
	if !e.supports(p) {
		return ""
	}
	p.ID = "" // not to be kept: it may not be written in the end
	made, err := e.provider(p)
	if placer, ok := made.(provider.Placer); ok && err == nil {
		return placer.Place()
	}
	return ""
}

// Providers returns all providers by name.
func (e *Engine) Providers(ctx context.Context) ([]fleet.Provider, error) {
	return view(ctx, e, (*store.Tx).Providers)
}

// Provider returns one provider.
func (e *Engine) Provider(ctx context.Context, ref string) (fleet.Provider, error) {
	return view(ctx, e, func(tx *store.Tx) (fleet.Provider, error) { return tx.Provider(ref) })
}

// RemoveProvider forgets a provider that no family uses.
func (e *Engine) RemoveProvider(ctx context.Context, ref string) error {
	_, err := update(ctx, e, func(tx *store.Tx) (struct{}, error) { return struct{}{}, removeProvider(tx, ref) })
	return err
}

func removeProvider(tx *store.Tx, ref string) error {
	p, err := tx.Provider(ref)
	if err != nil {
		return err
	}
	families, err := tx.Families()
	if err != nil {
		return err
	}
	for _, f := range families {
		_, prepared := f.Prepared[p.ID]
		if _, used := f.DomainOf(p.ID); used || prepared {
			return fleet.Errorf(fleet.ErrConflict, "provider %q is used by family %q: remove its domain first", p.Name, f.Name)
		}
	}
	return errors.Join(tx.DeleteProvider(p.ID), told(tx, fleet.KindProvider, p.ID, p.Name, actionDelete, ""))
}

// AddRelease makes a release known. Its archives must have been uploaded.
func (e *Engine) AddRelease(ctx context.Context, r fleet.Release) (fleet.Release, error) {
	r, err := e.checkRelease(ctx, r)
	if err != nil {
		return r, err
	}
	return update(ctx, e, func(tx *store.Tx) (fleet.Release, error) { return addRelease(tx, r) })
}

func addRelease(tx *store.Tx, r fleet.Release) (fleet.Release, error) {
	r.ID, r.CreatedAt, r.UpdatedAt = uuid.NewString(), tx.Now(), tx.Now()
	return r, errors.Join(tx.PutRelease(r), told(tx, fleet.KindRelease, r.ID, r.Name, actionCreate, ""))
}

// checkRelease looks for the archives, and for the templates in them. It sets
// the sizes and the warnings.
func (e *Engine) checkRelease(ctx context.Context, r fleet.Release) (fleet.Release, error) {
	if err := r.Validate(); err != nil {
		return r, err
	}
	r.Archives = slices.Clone(r.Archives)
	r.Warnings = nil
	for i := range r.Archives {
		a := &r.Archives[i]
		warnings, err := e.checkArchive(ctx, a, r.Templates)
		if err != nil {
			return r, err
		}
		for _, w := range warnings {
			if !slices.Contains(r.Warnings, w) {
				r.Warnings = append(r.Warnings, w)
			}
		}
	}
	return r, nil
}

func (e *Engine) checkArchive(ctx context.Context, a *fleet.Archive, templates []string) ([]string, error) {
	f, err := e.opts.Archives.Open(a.SHA256)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	a.Size = info.Size()
	return e.opts.CheckTemplates(ctx, f, templates)
}

// changeTries is how often a change is tried again that others got between.
const changeTries = 5

// ChangeRelease changes a release. Nodes take it up when they are deployed
// again.
func (e *Engine) ChangeRelease(ctx context.Context, ref string, change func(*fleet.Release) error) (fleet.Release, error) {
	for range changeTries {
		old, err := e.Release(ctx, ref)
		if err != nil {
			return old, err
		}
		r := old
		if err := change(&r); err != nil {
			return old, err
		}
		// Archives are looked through before anything is locked: that takes
		// long.
		if r, err = e.checkRelease(ctx, r); err != nil {
			return old, err
		}
		written := false
		r, err = update(ctx, e, func(tx *store.Tx) (fleet.Release, error) {
			now, err := tx.Release(old.ID)
			if err != nil || !now.UpdatedAt.Equal(old.UpdatedAt) {
				return now, err
			}
			written = true
			return putRelease(tx, old, r)
		})
		if written || err != nil {
			return r, err
		}
	}
	return fleet.Release{}, fleet.Errorf(fleet.ErrConflict, "release %q is being changed by others: try again", ref)
}

func putRelease(tx *store.Tx, old, r fleet.Release) (fleet.Release, error) {
	r.ID, r.CreatedAt, r.UpdatedAt = old.ID, old.CreatedAt, tx.Now()
	return r, errors.Join(tx.PutRelease(r), told(tx, fleet.KindRelease, r.ID, r.Name, actionUpdate, ""))
}

// Releases returns all releases by name.
func (e *Engine) Releases(ctx context.Context) ([]fleet.Release, error) {
	return view(ctx, e, (*store.Tx).Releases)
}

// Release returns one release.
func (e *Engine) Release(ctx context.Context, ref string) (fleet.Release, error) {
	return view(ctx, e, func(tx *store.Tx) (fleet.Release, error) { return tx.Release(ref) })
}

// RemoveRelease forgets a release that no family uses, and archives that no
// other release has.
func (e *Engine) RemoveRelease(ctx context.Context, ref string) error {
	unused, err := update(ctx, e, func(tx *store.Tx) ([]string, error) { return removeRelease(tx, ref) })
	if err != nil {
		return err
	}
	return e.removeArchives(unused)
}

func (e *Engine) removeArchives(digests []string) error {
	var failures []error
	for _, digest := range digests {
		failures = append(failures, e.opts.Archives.Remove(digest))
	}
	return errors.Join(failures...)
}

func removeRelease(tx *store.Tx, ref string) (unused []string, err error) {
	r, err := tx.Release(ref)
	if err != nil {
		return nil, err
	}
	families, err := tx.Families()
	if err != nil {
		return nil, err
	}
	for _, f := range families {
		if f.ReleaseID == r.ID {
			return nil, fleet.Errorf(fleet.ErrConflict, "release %q is used by family %q", r.Name, f.Name)
		}
	}
	if err := errors.Join(tx.DeleteRelease(r.ID), told(tx, fleet.KindRelease, r.ID, r.Name, actionDelete, "")); err != nil {
		return nil, err
	}
	rest, err := tx.Releases()
	for _, a := range r.Archives {
		if !slices.ContainsFunc(rest, func(o fleet.Release) bool {
			return slices.ContainsFunc(o.Archives, func(b fleet.Archive) bool { return a.SHA256 == b.SHA256 })
		}) {
			unused = append(unused, a.SHA256)
		}
	}
	return unused, err
}
