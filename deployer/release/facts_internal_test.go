package release

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzFacts: whatever a host prints is facts that can be, or is refused.
func FuzzFacts(f *testing.F) {
	f.Add("Linux\nx86_64\nhost\n12345\n22\n4369\n")
	f.Add("Linux\nx86_64\nhost\n9007199254740992\n65536\n")
	f.Fuzz(func(t *testing.T, out string) {
		facts, err := readFacts(out)
		if err != nil {
			return
		}
		require.GreaterOrEqual(t, facts.FreeBytes, int64(0))
		require.True(t, slices.IsSorted(facts.Listening))
	})
}
