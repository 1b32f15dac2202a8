package node_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/discovery"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/store"
)

func (f *fleet) family(t *testing.T, name string) string {
	t.Helper()
	s, ok := f.Node(name)
	require.True(t, ok, name)
	return s.Family
}

// A node that cannot be attached after a restart keeps the family that it was
// found to have before.
func TestFamilySurvivesARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, m := newScript(), newMemoryStore()
		s.info[a] = agent.NodeInfo{ScriptName: "shop", ScriptVersion: "1"}
		f := startFleet(t, s, m)
		f.discover(a, b)
		require.Equal(t, "shop", f.family(t, a))
		f.stop()
		require.Equal(t, map[string]string{a: "shop", b: "b"}, m.families)

		s.fail(a, unreachable())
		f = startFleet(t, s, m)
		f.discover(a)
		state, _ := f.Node(a)
		require.Equal(t, node.Down, state.State)
		require.Equal(t, "shop", state.Family)
		f.stop()
	})
}

func TestFamiliesAreRenamedMergedAndGivenByPattern(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, m := newScript(), newMemoryStore()
		s.info[a] = agent.NodeInfo{ScriptName: "shop"}
		s.info[b] = agent.NodeInfo{ScriptName: "cart"}
		f := startFleet(t, s, m)
		f.discover(a, b)
		ctx := t.Context()

		require.ErrorIs(t, f.RenameFamily(ctx, "nobody", "x"), node.ErrNoFamily)
		require.ErrorIs(t, f.RenameFamily(ctx, "shop", "cart"), node.ErrFamilyKnown)
		require.NoError(t, f.RenameFamily(ctx, "shop", "store"))
		require.Equal(t, "store", f.family(t, a))
		require.NoError(t, f.RenameFamily(ctx, "store", "shop"), "and back")
		require.Equal(t, "shop", f.family(t, a))

		require.ErrorIs(t, f.MergeFamilies(ctx, "all", []string{"shop", "nobody"}), node.ErrNoFamily)
		require.NoError(t, f.MergeFamilies(ctx, "all", []string{"shop", "cart"}))
		require.Equal(t, "all", f.family(t, a))
		require.Equal(t, "all", f.family(t, b))

		_, err := f.AddFamilyPattern(ctx, "(", "x")
		require.ErrorContains(t, err, "pattern: bad pattern")
		rule, err := f.AddFamilyPattern(ctx, "b@.*", "mine")
		require.NoError(t, err)
		require.Equal(t, "mine", f.family(t, b))
		f.stop()

		f = startFleet(t, s, m)
		f.discover(a, b)
		require.Equal(t, "mine", f.family(t, b), "after a restart")
		require.NoError(t, f.RemoveFamilyRule(ctx, rule.ID))
		require.Equal(t, "all", f.family(t, b))
		require.ErrorIs(t, f.RemoveFamilyRule(ctx, rule.ID), node.ErrNoRule)
		for _, r := range f.FamilyRules() {
			require.NoError(t, f.RemoveFamilyRule(ctx, r.ID))
		}
		require.Equal(t, "cart", f.family(t, b))

		require.ErrorContains(t, f.SetFamilies([]node.FamilyPattern{{Nodes: "(", Family: "x"}}), "bad pattern")
		require.NoError(t, f.SetFamilies([]node.FamilyPattern{{Nodes: "a@.*", Family: "configured"}}))
		require.Equal(t, "configured", f.family(t, a))
		f.stop()
	})
}

// A connected node is dialled as the node that the search began at.
func TestConnectedNodes(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		all := groups("secret")
		g := all[group]
		g.Connected, g.Family = &node.Connected{MaxDepth: 1, MaxNodes: 10}, "fam"
		all[group] = g
		f.Apply(all)
		f.SetTargets([]discovery.Target{{
			Node: a, Group: group, Source: "static", EPMD: "h:4370", Labels: map[string]string{"site": "lab", "family": "special"},
		}})
		f.SetConnected([]node.ConnectedNode{
			{Name: b, Root: a, Via: a, Depth: 1, Hidden: true},
			{Name: "far@other", Root: a, Via: a, Depth: 1},
			{Name: "lost@h", Root: "nobody@h", Via: a, Depth: 1},
			{Name: a, Root: a, Via: b, Depth: 2},
		})
		synctest.Wait()
		require.Len(t, f.Nodes(), 3)
		s, _ := f.Node(b)
		require.Equal(t, node.Up, s.State)
		require.Equal(t, "connected", s.Source)
		require.Equal(t, group, s.Group)
		require.Equal(t, "fam", s.Family)
		require.Equal(t, map[string]string{"site": "lab"}, s.Labels)
		require.True(t, s.Found.Hidden)
		require.Nil(t, s.Connected)
		require.Equal(t, "secret", f.targets[b][0].Cookie)
		require.Equal(t, "h:4370", f.targets[b][0].EPMD)
		require.Equal(t, ":4370", f.targets["far@other"][0].EPMD, "the epmd of another host")
		require.ErrorIs(t, f.Remove(t.Context(), b), node.ErrDiscovered)

		// Somebody may add it, to keep it.
		require.NoError(t, f.Add(t.Context(), store.Registration{Name: b, CookieRef: group}))
		f.SetConnected(nil)
		f.after(time.Second)
		require.Len(t, f.Nodes(), 2)
		f.discover()
		require.Len(t, f.Nodes(), 1, "without the root there are no connected ones")
	})
}

// The cookie of a node that was added is that of those it is connected to.
func TestConnectedNodesOfRegistered(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, f *fleet) {
		r := store.Registration{Name: a, Cookie: "own", EPMD: "127.0.0.1:99", Family: "mine", Connected: &node.Connected{Exclude: []string{"["}}}
		require.ErrorContains(t, f.Add(t.Context(), r), "connected_nodes: bad pattern")
		r.Connected.Exclude = nil
		require.NoError(t, f.Add(t.Context(), r))
		f.SetConnected([]node.ConnectedNode{{Name: b, Root: a, Via: a, Depth: 1}, {Name: "c@other", Root: a, Via: a, Depth: 1}})
		synctest.Wait()
		require.Equal(t, "own", f.targets[b][0].Cookie)
		require.Equal(t, "127.0.0.1:99", f.targets[b][0].EPMD)
		require.Empty(t, f.targets["c@other"][0].EPMD)
		require.Equal(t, "b", f.family(t, b), "the family of one node is not that of others")
		s, _ := f.Node(a)
		require.NotNil(t, s.Connected)
	})
}
