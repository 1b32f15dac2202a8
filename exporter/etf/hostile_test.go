package etf

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/etf/etftest"
)

// TestHostile is not parallel, because it measures memory.
func TestHostile(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range etftest.Hostile() {
		require.False(t, seen[c.Name], "two cases %q", c.Name)
		seen[c.Name] = true
		t.Run(c.Name, func(t *testing.T) {
			b := c.Bytes()
			term, cost := measured(func() (Term, error) { return Decode(b, Limits{}) })
			require.Nil(t, term.value)
			var decode *DecodeError
			require.ErrorAs(t, term.err, &decode)
			require.Less(t, len(term.err.Error()), 200)
			require.Less(t, cost.bytes, uint64(160<<20))
			require.Less(t, cost.time, 5*time.Second)
			t.Logf("%d bytes: %d KiB, %v: %v", len(b), cost.bytes>>10, cost.time, term.err)
		})
	}
}

// TestHostileDepth takes limits so wide that only MaxDepth and the elements
// are left to stop the deepest of the inputs.
func TestHostileDepth(t *testing.T) {
	wide := Limits{Bytes: 1 << 30, Depth: 1 << 30, Inflated: 1 << 30}
	for _, c := range etftest.Hostile() {
		if !strings.HasPrefix(c.Name, "nesting/") {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			_, err := Decode(c.Bytes(), wide)
			var decode *DecodeError
			require.ErrorAs(t, err, &decode)
		})
	}
}

type outcome struct {
	value Term
	err   error
}

type cost struct {
	bytes uint64 // allocated in all, freed since or not
	time  time.Duration
}

func measured(f func() (Term, error)) (outcome, cost) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	t, err := f()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	return outcome{t, err}, cost{after.TotalAlloc - before.TotalAlloc, took}
}
