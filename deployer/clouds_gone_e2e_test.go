//go:build e2e

package deployer_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/fakeopenstack"
)

// TestGoneBefore deletes a family whose machines, and whose keys and groups, are
// gone already.
func TestGoneBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.run()
	for _, provider := range []string{"EC2", "HP", "Rackspace"} {
		w.deploy(provider, 1)
	}
	for _, n := range w.settled() {
		require.Equal(t, fleet.StateUp, n.State, "%v", n.Reason)
		for _, kill := range []func(string){w.amazon.Kill, w.hp.Kill, w.rackspace.Kill} {
			kill(n.MachineID)
		}
	}
	w.removeAll()
	w.requireNothing()
}

// made counts the machines that were ever made.
func (w *world) made() []int { return []int{w.amazon.Made(), w.hp.Made(), w.rackspace.Made()} }

// TestFamilyDeletedMeanwhile deletes a family whose nodes are being deployed.
func TestFamilyDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	for _, step := range []fleet.StepName{fleet.StepPrepare, fleet.StepMachine, fleet.StepBoot, fleet.StepUpload} {
		t.Run(string(step), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{})
			begun := make(chan struct{})
			w.at(step, func(fleet.Node) { close(begun) })
			w.run()
			w.deploySeven()
			<-begun
			w.removeAll()
			w.requireNothing()
		})
	}
}

// refused is what is said about credentials that a cloud no longer takes.
const refused = "the cloud refused the credentials: check username, password and tenant_name"

// TestMachineOutOfReach deletes a family when the credentials of one of its
// clouds are no longer good: the machine there is not forgotten, the others go.
func TestMachineOutOfReach(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.run()
	w.deploy("EC2", 1)
	w.deploy("HP", 1)
	for _, n := range w.settled() {
		require.Equal(t, fleet.StateUp, n.State, "%v", n.Reason)
	}
	w.password("HP", "another")
	w.removeAll()
	left := w.settled()
	require.Len(t, left, 1)
	require.Equal(t, fleet.StateError, left[0].State)
	require.Equal(t, fleet.StepDestroy, left[0].Reason.Step)
	require.Contains(t, left[0].Reason.Message, refused)
	require.Len(t, w.machines.All(), 1)

	w.password("HP", fakeopenstack.Password)
	w.removeAll()
	w.requireNothing()
}

// TestFamilyOutOfReach is the same without a machine there: key and firewall of
// the other clouds are removed all the same.
func TestFamilyOutOfReach(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.run()
	w.deploy("EC2", 1)
	w.settled()
	w.password("HP", "another")
	node := w.deploy("HP", 1)[0]
	failed := slices.DeleteFunc(w.settled(), func(n fleet.Node) bool { return n.ID != node.ID })[0]
	require.Equal(t, fleet.StateError, failed.State)
	require.Contains(t, failed.Reason.Message, refused)

	w.removeAll()
	require.Eventually(t, func() bool {
		entries, err := w.b.Journal(t.Context(), fleet.JournalFilter{Subject: w.family.ID})
		require.NoError(t, err)
		return slices.ContainsFunc(entries, func(e fleet.Entry) bool {
			return e.Kind == fleet.KindFamily && strings.Contains(e.Message, "remove key and firewall: provider HP: ") && strings.Contains(e.Message, refused)
		})
	}, patience, 100*time.Millisecond)
	require.Empty(t, w.amazon.Left())
	families, err := w.b.Families(t.Context())
	require.NoError(t, err)
	require.Len(t, families, 1, "there may be something of it at HP")

	w.password("HP", fakeopenstack.Password)
	w.removeAll()
	w.requireNothing()
}

// password changes the password with which a provider is asked.
func (w *world) password(provider string, secret fleet.Secret) {
	w.t.Helper()
	_, err := w.b.ChangeProvider(fleet.WithActor(w.t.Context(), "alice"), provider, func(p *fleet.Provider) error {
		p.Secrets["password"] = secret
		return nil
	})
	require.NoError(w.t, err)
}

// TestGarbage forgets a node whose machine still runs, and collects what is left
// of it: nothing at first, but all when asked to.
func TestGarbage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.run()
	ctx := fleet.WithActor(t.Context(), "alice")
	node := w.deploy("HP", 1)[0]
	require.Equal(t, fleet.StateUp, w.settled()[0].State)
	_, err := w.b.Act(ctx, node.ID, fleet.ActionForget)
	require.NoError(t, err)
	require.Empty(t, w.settled())
	kinds := func(remove bool) (all []string) {
		found, err := w.b.Collect(ctx, fleet.CollectRequest{Remove: remove, MinAge: time.Millisecond})
		require.NoError(t, err)
		for _, o := range found {
			require.Equal(t, node.ID, o.NodeID)
			require.Equal(t, remove, o.Removed, o.Error)
			all = append(all, o.Kind)
		}
		return all
	}
	require.Equal(t, []string{"machine", "address"}, kinds(false))
	require.Equal(t, []string{"machine", "address"}, kinds(false), "the dry run changes nothing")
	require.Equal(t, []string{"machine", "address"}, kinds(true))
	require.Empty(t, kinds(true))
	w.removeAll()
	w.requireNothing()
}
