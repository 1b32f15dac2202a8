//go:build e2e_full

package agent_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// TestShedCollectorsComeBack waits for the minutes after which the agent reads
// again what it left out.
func TestShedCollectorsComeBack(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	// Four readings a minute need less than half of it.
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n,
		agent.Settings{Limits: agent.Limits{Bytes: 100_000}})
	for !s.Cost().Shedding {
		read(t, s)
	}
	require.NotEmpty(t, collector(t, read(t, s), snapshot.Allocators).Err)
	require.Eventually(t, func() bool {
		return collector(t, read(t, s), snapshot.Allocators).Err == ""
	}, 7*time.Minute, 15*time.Second)
	require.NoError(t, s.Detach(deadline(t)))
}
