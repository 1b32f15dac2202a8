package exporter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/config"
	"github.com/erlops/erlops/exporter/node"
)

// What the configuration says of groups and of nodes without one reaches the
// fleet.
func TestGroups(t *testing.T) {
	t.Parallel()
	c, err := config.Parse([]byte(`
cookie: all
cookies: [{name: named, cookie: one, nodes: ["a@.*"]}]
agent: {reductions: 100000, deadline: 2s}
targets:
  - {name: own, cookie: own, agent: {memory: 8MiB}}
  - {name: shared}
`), "")
	require.NoError(t, err)
	all := groups(c)
	require.Len(t, all, 3)

	limits := all[node.DefaultGroup].Settings.Limits
	require.Equal(t, agent.Limits{
		Reductions: 100_000, Memory: 32 << 20, Deadline: 2 * time.Second, Bytes: limits.Bytes,
	}, limits)
	limits.Memory = 8 << 20
	require.Equal(t, limits, all["own"].Settings.Limits)

	for _, tc := range []struct{ group, node, ref, want string }{
		{"own", "a@h", "", "own"},
		{"own", "a@h", "named", "one"},
		{"shared", "a@h", "", "one"},
		{"shared", "b@h", "", "all"},
		{node.DefaultGroup, "a@h", "", "one"},
		{node.DefaultGroup, "b@h", "", "all"},
	} {
		got, err := all[tc.group].Cookie(tc.node, tc.ref)
		require.NoError(t, err)
		require.Equal(t, tc.want, got, "%+v", tc)
	}
	_, err = all["own"].Cookie("a@h", "other")
	require.EqualError(t, err, `__erlang_cookie_ref__ is "other", which is not one of named`)
}
