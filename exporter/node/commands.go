package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/store"
)

// Add registers a node, so that it is attached now and after a restart. It
// blocks for the store only. Errors: *InvalidError, ErrKnown, store.ErrNoKey
// for a cookie that cannot be encrypted, ErrNotRunning.
func (f *Fleet) Add(ctx context.Context, r store.Registration) error {
	f.commands.Lock()
	defer f.commands.Unlock()
	if err := f.checkNew(r); err != nil {
		return err
	}
	if _, err := f.store.Register(ctx, r); err != nil {
		return err
	}
	f.update(func() { f.registered[r.Name] = r })
	return nil
}

func (f *Fleet) checkNew(r store.Registration) error {
	if err := dist.CheckNodeName(r.Name); err != nil {
		return &InvalidError{"name", err}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.isRunning():
		return ErrNotRunning
	case f.actors[r.Name] != nil && f.actors[r.Name].foundBy() != sourceConnected:
		// One that others are connected to may be registered: it then stays when
		// they go.
		return fmt.Errorf("node %q: %w", r.Name, ErrKnown)
	}
	if c := r.Connected; c != nil {
		for _, pattern := range slices.Concat(c.Include, c.Exclude) {
			if _, err := CompilePattern(pattern); err != nil {
				return &InvalidError{"connected_nodes", err}
			}
		}
	}
	// The same sentence that such a node would have as its last error.
	if s := registeredSpec(r, f.group(r.CookieRef)); s.blocked != nil {
		return &InvalidError{"cookie_ref", s.blocked}
	}
	return nil
}

// Remove forgets a registered node, which is detached unless discovery has it
// too. It blocks until the agent has left, for as long as ctx allows. Errors:
// ErrUnknown, ErrDiscovered, ErrNotRunning, those of the store.
func (f *Fleet) Remove(ctx context.Context, name string) error {
	a, err := f.remove(ctx, name)
	if err != nil {
		return err
	}
	if _, still := f.find(name); still {
		return nil
	}
	select {
	case <-a.done:
	case <-ctx.Done():
	}
	return nil
}

func (f *Fleet) remove(ctx context.Context, name string) (*actor, error) {
	f.commands.Lock()
	defer f.commands.Unlock()
	a, err := f.command(name)
	if err != nil {
		return nil, err
	}
	if !a.isRegistered() {
		return nil, fmt.Errorf("node %q: %w", name, ErrDiscovered)
	}
	// Another exporter on the same database may have been faster.
	if err := f.store.Unregister(ctx, name); err != nil && !errors.Is(err, store.ErrNotRegistered) {
		return nil, err
	}
	f.update(func() { delete(f.registered, name) })
	if _, still := f.find(name); still {
		return a, nil
	}
	// Nobody would find the suspension of a node that is not listed.
	if err := f.store.Resume(ctx, name); err != nil {
		return nil, err
	}
	f.update(func() { delete(f.suspended, name) })
	return a, nil
}

// Suspend detaches a node, and has nothing asked of it until Resume, over
// restarts too. It blocks until the agent has left, for as long as ctx allows:
// when ctx ends earlier, the node is suspended all the same. Errors:
// ErrUnknown, ErrNotRunning, those of the store.
func (f *Fleet) Suspend(ctx context.Context, name string) error {
	a, err := f.setSuspended(name, func() error { return f.store.Suspend(ctx, name) }, true)
	if err != nil {
		return err
	}
	a.await(ctx, Suspended)
	return nil
}

// Resume ends a suspension; the node is attached again. It does nothing to a
// node that is not suspended. Errors as for Suspend.
func (f *Fleet) Resume(ctx context.Context, name string) error {
	_, err := f.setSuspended(name, func() error { return f.store.Resume(ctx, name) }, false)
	return err
}

func (f *Fleet) setSuspended(name string, save func() error, suspended bool) (*actor, error) {
	f.commands.Lock()
	defer f.commands.Unlock()
	a, err := f.command(name)
	if err != nil {
		return nil, err
	}
	if err := save(); err != nil {
		return nil, err
	}
	f.update(func() { f.suspended[name] = suspended })
	return a, nil
}

// command finds the node of a command.
func (f *Fleet) command(name string) (*actor, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.isRunning() {
		return nil, ErrNotRunning
	}
	a, ok := f.actors[name]
	if !ok {
		return nil, fmt.Errorf("node %q: %w", name, ErrUnknown)
	}
	return a, nil
}

// update changes what is wanted.
func (f *Fleet) update(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	f.reconcile()
}

func (a *actor) foundBy() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.spec.source
}

func (a *actor) isRegistered() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.spec.registered
}
