package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/store"
)

// prepareFamily brings all providers of a family to what it says now, and
// takes away what is with those that it has left.
func (w *work) prepareFamily(ctx context.Context) (outcome, error) {
	wanted := map[string]bool{}
	for _, d := range w.family.Domains {
		wanted[d.ProviderID] = true
	}
	var done []string
	var failures []error
	for _, record := range w.providersOf(ctx, wanted) {
		err := w.prepareOne(ctx, record, wanted[record.ID])
		if err != nil {
			failures = append(failures, err)
			continue
		}
		done = append(done, record.Name)
	}
	if err := all(failures); err != nil {
		return outcome{}, err
	}
	return outcome{message: "key and firewall with " + strings.Join(done, ", "), skipped: len(done) == 0}, nil
}

// all joins what failed with several providers. It is tried again when one of
// them may pass.
func all(failures []error) error {
	if len(failures) == 0 {
		return nil
	}
	deciding := failures[max(slices.IndexFunc(failures, retryable), 0)]
	return &failedWithError{error: errors.Join(failures...), deciding: deciding}
}

// failedWithError tells all failures, and is handled as one of them.
type failedWithError struct {
	error
	deciding error
}

func (e *failedWithError) Unwrap() error { return e.deciding }

func (w *work) prepareOne(ctx context.Context, record fleet.Provider, wanted bool) error {
	if !w.e.supports(record) {
		return nil // nothing can be there
	}
	defer w.e.lockPreparing(w.family.ID + record.ID)()
	var also func(*store.Tx) error
	var err error
	if wanted {
		also, err = w.prepareWith(ctx, record)
	} else {
		also, err = w.withdrawFrom(ctx, record)
	}
	if err != nil {
		return err
	}
	return w.e.update(ctx, w, also)
}

// providersOf returns the providers that a family uses or was prepared with.
// One that is not there any more has nothing of the family.
func (w *work) providersOf(ctx context.Context, wanted map[string]bool) []fleet.Provider {
	ids := maps.Clone(wanted)
	for id := range w.family.Prepared {
		ids[id] = true
	}
	var records []fleet.Provider
	_ = w.e.db.View(ctx, func(tx *store.Tx) error {
		for _, id := range slices.Sorted(maps.Keys(ids)) {
			if record, err := tx.Provider(id); err == nil {
				records = append(records, record)
			}
		}
		return nil
	})
	return records
}

func (w *work) withdrawFrom(ctx context.Context, record fleet.Provider) (func(*store.Tx) error, error) {
	p, err := w.e.provider(record)
	if err != nil {
		return nil, err
	}
	if err := p.RemoveFamily(ctx, provider.Tag{Owner: w.e.db.Owner(), FamilyID: w.family.ID}); err != nil {
		return nil, err
	}
	return func(tx *store.Tx) error { return w.setPrepared(tx, record.ID, "") }, nil
}

// withdrawPoll is how often it is asked whether a family's nodes are gone; the
// last of them asks sooner.
const withdrawPoll = 5 * time.Second

// withdraw removes what a family has with its providers, once its nodes are
// gone.
func withdraw(ctx context.Context, w *work) (outcome, error) {
	var nodes []fleet.Node
	err := w.e.db.View(ctx, func(tx *store.Tx) (err error) {
		nodes, err = tx.Nodes(fleet.NodeFilter{FamilyID: w.family.ID})
		return err
	})
	if err != nil {
		return outcome{}, err
	}
	if len(nodes) > 0 {
		return outcome{}, wait(withdrawPoll, "%d nodes are still there", len(nodes))
	}
	wanted := map[string]bool{}
	for _, d := range w.family.Domains {
		wanted[d.ProviderID] = true
	}
	// One that cannot be asked keeps nobody from removing what the others have.
	var failures []error
	for _, record := range w.providersOf(ctx, wanted) {
		if err := w.prepareOne(ctx, record, false); err != nil {
			failures = append(failures, fmt.Errorf("remove key and firewall: %w", err))
		}
	}
	return outcome{message: "key and firewall are gone"}, all(failures)
}
