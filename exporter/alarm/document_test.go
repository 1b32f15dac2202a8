package alarm_test

import (
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/alarm"
)

func TestDocumentIsGenerated(t *testing.T) {
	t.Parallel()
	have, err := os.ReadFile("../../docs/alarms.md")
	require.NoError(t, err)
	require.Equal(t, alarm.Document(), string(have), "run go generate ./exporter/alarm")
}

// TestRulesAreComplete holds every rule to what a person needs who is woken up
// by it.
func TestRulesAreComplete(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range alarm.Rules() {
		require.Regexp(t, `^[a-z][a-z_]*[a-z]$`, r.ID)
		require.False(t, seen[r.ID], r.ID)
		seen[r.ID] = true
		for _, text := range []string{r.Title, r.Value, r.Meaning, r.Cause, r.Repair} {
			require.NotEmpty(t, text, r.ID)
		}
		for _, sentence := range []string{r.Meaning, r.Cause, r.Repair} {
			require.Contains(t, ".", sentence[len(sentence)-1:], r.ID)
		}
		require.NotEmpty(t, r.Levels, r.ID)
		require.NotEqual(t, r.Signal == nil, r.Fleet == nil, "%s: one of Signal and Fleet", r.ID)
		require.True(t, slices.IsSortedFunc(r.Levels, func(a, b alarm.Level) int { return a.Severity.Rank() - b.Severity.Rank() }), r.ID)
	}
	require.Empty(t, alarm.Check(nil, every(seen)))
	// With the two of alarm_handler that os_mon raises, the 51 of the catalogue and
	// time zones, which differ by no number of seconds.
	require.Len(t, seen, 50)
	var known []string
	for _, k := range alarm.KnownSASL() {
		known = append(known, k.Name)
	}
	require.Subset(t, known, []string{"system_memory_high_watermark", "process_memory_high_watermark"})
}

func every(ids map[string]bool) map[string]alarm.RuleSettings {
	on, all := true, map[string]alarm.RuleSettings{}
	for id := range ids {
		all[id] = alarm.RuleSettings{Enabled: &on}
	}
	return all
}
