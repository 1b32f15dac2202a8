package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTransitions(t *testing.T) {
	t.Parallel()
	require.NoError(t, checkTransition("a@h", Pending, Connecting))
	err := checkTransition("a@h", Suspended, Up)
	require.EqualError(t, err, `node "a@h" cannot go from state suspended to up`)
	var typed *TransitionError
	require.ErrorAs(t, err, &typed)

	// Every state can be reached, and left again: no node is stuck.
	reached := map[State]bool{}
	for from, to := range successors {
		require.NotEmpty(t, to, from)
		require.NotContains(t, to, from)
		for _, s := range to {
			require.NoError(t, checkTransition("a@h", from, s))
			reached[s] = true
		}
	}
	for _, s := range States() {
		require.True(t, reached[s], s)
		require.Contains(t, successors, s)
	}
}

// TestBackoffLimits has the shortest and the longest jitter.
func TestBackoffLimits(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		random float64
		want   []int // milliseconds
	}{
		"no jitter":   {0, []int{2000, 4000, 8000, 16000, 24000, 24000}},
		"most jitter": {1, []int{2500, 5000, 10000, 20000, 30000, 30000}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &backoff{min: 2 * time.Second, max: 30 * time.Second, random: func() float64 { return tc.random }}
			for range 2 {
				for i, want := range tc.want {
					require.EqualValues(t, want, b.next().Milliseconds(), "wait %d", i)
				}
				require.EqualValues(t, tc.want[5], b.slow().Milliseconds())
				b.reset()
			}
			narrow := &backoff{min: time.Second, max: time.Second, random: b.random}
			require.Equal(t, time.Second, narrow.next())
			require.Equal(t, time.Second, narrow.slow())
		})
	}
}
