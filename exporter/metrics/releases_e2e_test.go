//go:build e2e

package metrics_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/internal/erltest"
)

// TestReleases reads nodes of the oldest and of newer releases.
func TestReleases(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"23", "27", "29"} {
		t.Run("OTP "+release, func(t *testing.T) {
			t.Parallel()
			requireFamilies(t, realPage(t, erltest.Start(t, erltest.Options{OTP: release})), "erlang_vm_")
		})
	}
}

func TestEjabberd(t *testing.T) {
	t.Parallel()
	page := realPage(t, erltest.StartEjabberd(t, erltest.ServerOptions{}).Node)
	requireFamilies(t, page, "erlang_")
	require.Contains(t, page, `erlang_mnesia_tablewise_size{table="session"} 0`)
}

func realPage(t *testing.T, n *erltest.Node) string {
	t.Helper()
	session := attach(t, n, agent.Settings{MSAcc: agent.MSAccOn})
	h := newHandler(t, metrics.Options{Fleet: attached(n, session)})
	page := get(h.Probe(), "/probe?target="+n.Name).Body.String()
	require.Contains(t, page, "\nerlang_up 1\n")
	require.NotContains(t, page, "erlang_exporter_scrape_success{collector=\"memory\"} 0")
	return page
}
