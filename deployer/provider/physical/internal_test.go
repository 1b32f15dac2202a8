package physical

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
)

func TestNew(t *testing.T) {
	t.Parallel()
	_, err := New(fleet.Provider{Name: "p", Kind: fleet.KindPhysical}, provider.Environment{})
	require.ErrorIs(t, err, fleet.ErrInvalid, "a provider without hosts")
	_, err = New(fleet.Provider{Name: "p", Kind: fleet.KindPhysical, Servers: []fleet.Server{{Host: "h"}}}, provider.Environment{})
	require.ErrorContains(t, err, "OpenHost")
}

func TestMachineIDs(t *testing.T) {
	t.Parallel()
	p := &Provider{record: fleet.Provider{Name: "p", Servers: []fleet.Server{{Host: "10.0.0.1", User: "root"}}}}
	node := uuid.NewString()
	for _, user := range []string{"erl", ""} {
		l, got, err := p.parse("describe", user+"@10.0.0.1/"+node)
		require.NoError(t, err)
		require.Equal(t, node, got)
		require.Equal(t, map[string]string{"erl": "erl", "": "root"}[user], l.User)
	}
	for _, id := range []string{"", "erl@10.0.0.2/" + node, "erl@10.0.0.1/", "erl@10.0.0.1/../x", "-o@10.0.0.1/" + node, node} {
		_, _, err := p.parse("describe", id)
		require.True(t, provider.IsKind(err, provider.KindNotFound), "%q: %v", id, err)
	}
}

// FuzzReservations reads what hosts print, which others may have written.
func FuzzReservations(f *testing.F) {
	f.Add("hello\n" + mark + `{"owner":"o","node_id":"10a38ed6-e818-4ebc-b5cb-443037965dc1"}` + "\nrubbish\n")
	f.Add(mark)
	f.Add("no mark")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseReservations([]byte(text))
		require.Equal(t, strings.Contains(text, mark), err == nil)
		for _, r := range all {
			require.NoError(t, uuid.Validate(r.NodeID))
		}
	})
}
