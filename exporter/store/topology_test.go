package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/store"
)

func TestTopologySurvivesARestart(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, url string) {
		now := clock()
		s := open(t, store.Options{URL: url, Now: now})
		connected := &store.Connected{Include: []string{"a@.*"}, Exclude: []string{"b@.*"}, MaxDepth: 2, MaxNodes: 9, Hidden: true, ForgetAfter: time.Hour}
		_, err := s.Register(t.Context(), store.Registration{Name: "a@h", Connected: connected})
		require.NoError(t, err)
		nodes := []store.ConnectedNode{
			{Name: "b@h", Root: "a@h", Via: "a@h", Depth: 1, FirstSeen: now(), LastSeen: now()},
			{Name: "c@h", Root: "a@h", Via: "b@h", Depth: 2, Hidden: true, FirstSeen: now(), LastSeen: now()},
		}
		require.NoError(t, s.SaveConnectedNodes(t.Context(), []store.ConnectedNode{{Name: "gone@h"}}))
		require.NoError(t, s.SaveConnectedNodes(t.Context(), nodes))
		require.NoError(t, s.SaveFamily(t.Context(), "a@h", "old"))
		require.NoError(t, s.SaveFamily(t.Context(), "a@h", "shop"))
		rules := []store.FamilyRule{
			{ID: "1", Kind: store.FamilyPattern, Matches: "a.*", Family: "x", CreatedAt: now()},
			{ID: "2", Kind: store.FamilyRename, Matches: "x", Family: "y", CreatedAt: now()},
		}
		require.NoError(t, s.ReplaceFamilyRules(t.Context(), nil, rules))
		require.Error(t, s.ReplaceFamilyRules(t.Context(), []string{"1"}, rules[1:]), "the same id twice")
		require.NoError(t, s.Close())

		s = open(t, store.Options{URL: url, Now: now})
		registered, err := s.Registrations(t.Context())
		require.NoError(t, err)
		require.Equal(t, connected, registered[0].Connected)
		got, err := s.ConnectedNodes(t.Context())
		require.NoError(t, err)
		require.Equal(t, nodes, got)
		gotRules, err := s.FamilyRules(t.Context())
		require.NoError(t, err)
		require.Equal(t, rules, gotRules, "a change that fails changes nothing")
		families, err := s.Families(t.Context())
		require.NoError(t, err)
		require.Equal(t, map[string]string{"a@h": "shop"}, families)

		late := func() time.Time { return now().Add(100 * 24 * time.Hour) }
		s = open(t, store.Options{URL: url, Now: late})
		families, err = s.Families(t.Context())
		require.NoError(t, err)
		require.Empty(t, families)
	})
}
