package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
)

// TestCreateCancelled deletes a family while a slow cloud is making a machine:
// nobody waits for the answer, and the machine is given back all the same once
// it can be found.
func TestCreateCancelled(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.memory.Settle = 10 * time.Second
		made := make(chan struct{})
		w.memory.Before = func(_ context.Context, op string) error {
			if op == "create" {
				time.Sleep(12 * time.Second)
			}
			return w.alive()
		}
		w.memory.After = func(ctx context.Context, op string) error {
			if op != "create" {
				return nil
			}
			close(made)
			<-ctx.Done()
			return ctx.Err()
		}
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e)
		_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 1})
		require.NoError(t, err)
		<-made
		require.NoError(t, e.RemoveFamily(t.Context(), s.family.ID, true))
		w.untilGone(e, s)
		require.Equal(t, 1, w.memory.Created())
		require.Empty(t, w.memory.Machines())
	})
}

// TestMadeJustBefore deploys again a node whose machine is there and not in the
// cloud's lists yet.
func TestMadeJustBefore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.memory.Settle = 10 * time.Second
		refused := false
		w.memory.Before = func(_ context.Context, op string) error {
			if op == "describe" && !refused {
				refused = true
				return &provider.Error{Provider: "cloud", Op: op, Kind: provider.KindAuth, Message: "may not read consoles"}
			}
			return w.alive()
		}
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e)
		nodes, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 1})
		require.NoError(t, err)
		w.until(e, 5*time.Second, "it failed", all(1, fleet.StateError))
		_, err = e.Act(t.Context(), nodes[0].ID, fleet.ActionDeploy)
		require.NoError(t, err)
		w.until(e, time.Minute, "it is UP", all(1, fleet.StateUp))
		require.Equal(t, 1, w.memory.Created(), "the machine that was made is used")
	})
}

// TestHostKeyKept goes on with a machine whose console does not show its host
// key any more: it was read when the machine was new.
func TestHostKeyKept(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPSL2KRdYFqJ4qs6JsZGG7lWmDdIv6e8R8oH7l8hMTh"
		w.memory.HostKeys = []string{key}
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e)
		broken := true
		w.failing(func(op, _ string) error {
			if broken && op == "upload" {
				return fleet.Permanent(errors.New("no room"))
			}
			return nil
		})
		nodes, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 1})
		require.NoError(t, err)
		failed := w.until(e, time.Minute, "it failed", all(1, fleet.StateError))
		require.Equal(t, []string{key}, failed[0].Login.HostKeys)
		broken, w.memory.HostKeys = false, nil
		w.memory.KeyMissing = true
		_, err = e.Act(t.Context(), nodes[0].ID, fleet.ActionDeploy)
		require.NoError(t, err)
		up := w.until(e, time.Minute, "it is UP", all(1, fleet.StateUp))
		require.Equal(t, []string{key}, up[0].Login.HostKeys)
	})
}

// TestPlaceInUse asks to look elsewhere for what was made.
func TestPlaceInUse(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		o := w.options()
		o.Providers["cloud"] = func(p fleet.Provider, _ provider.Environment) (provider.Provider, error) {
			made, err := w.memory.Factory(p, provider.Environment{})
			return placed{made, "region " + p.Settings["region"]}, err
		}
		e, _, stop := w.run(o, 0)
		defer stop()
		s := w.prepare(e)
		change := func(settings map[string]string) error {
			_, err := e.ChangeProvider(t.Context(), "cloud", func(p *fleet.Provider) error { p.Settings = settings; return nil })
			return err
		}
		w.untilIdle(e)
		err := change(map[string]string{"region": "north"})
		require.ErrorIs(t, err, fleet.ErrConflict)
		require.ErrorContains(t, err, "provider cloud has things of family Shop Cluster at region ")
		require.NoError(t, change(map[string]string{"settle": "1s"}))
		require.NoError(t, e.RemoveFamily(t.Context(), s.family.ID, true))
		w.untilGone(e, s)
		require.NoError(t, change(map[string]string{"region": "north"}))
	})
}

// placed is a provider that makes things somewhere.
type placed struct {
	provider.Provider
	place string
}

func (p placed) Place() string { return p.place }
