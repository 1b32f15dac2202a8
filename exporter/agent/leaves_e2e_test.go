//go:build e2e

package agent_test

import (
	"testing"
	"time"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/internal/erltest"
)

// TestLeavesAtOnce detaches before the agent's helpers have answered: what one of
// them loads for it goes all the same.
func TestLeavesAtOnce(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{OTP: "29"})
	remember(t, n)
	for range 30 {
		visit(t, n, target(n, agent.Settings{}))
		n.RequireAsBefore(t, 5*time.Second)
	}
}
