package etf

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/etf/etftest"
)

// wide are limits that leave MaxDepth and the default number of elements to
// stop what is deepest.
var wide = Limits{Bytes: 1 << 30, Depth: 1 << 30, Inflated: 1 << 30}

// TestHostile is not parallel, because it measures memory.
func TestHostile(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range etftest.Hostile() {
		require.False(t, seen[c.Name], "two cases %q", c.Name)
		seen[c.Name] = true
		t.Run(c.Name, func(t *testing.T) {
			b := c.Bytes()
			requireRefused(t, b, Limits{})
			if strings.HasPrefix(c.Name, "nesting/") {
				requireRefused(t, b, wide)
			}
		})
	}
}

// requireRefused holds that bytes are refused in little time and memory.
func requireRefused(t *testing.T, b []byte, l Limits) {
	t.Helper()
	got, cost := measured(func() (Term, error) { return Decode(b, l) })
	require.Nil(t, got.value)
	var decode *DecodeError
	require.ErrorAs(t, got.err, &decode)
	require.Less(t, len(got.err.Error()), 200)
	require.Less(t, cost.bytes, uint64(160<<20))
	require.Less(t, cost.time, 5*time.Second)
	t.Logf("%d bytes: %d KiB, %v: %v", len(b), cost.bytes>>10, cost.time, got.err)
}

// TestMemory holds what Limits say of the memory that a term takes. It is not
// parallel, because it measures.
func TestMemory(t *testing.T) {
	const count = 1 << 16
	for name, element := range map[string][]byte{
		"integers":       wire(tagSmallBig, 7, 0, "1234567"),
		"big integers":   wire(tagSmallBig, 9, 0, "123456789"),
		"floats":         wire(tagNewFloat, "12345678"),
		"tuples":         wire(tagSmallTuple, 0),
		"binaries":       wire(tagBinary, uint32(1), 1),
		"bit strings":    wire(tagBitBinary, uint32(1), 1, 1),
		"improper lists": wire(tagList, uint32(1), tagNil, tagSmallInteger, 1),
		"maps":           wire(tagMap, uint32(1), tagNil, tagNil),
		"pids":           wire(tagNewPid, "w\x01a", uint32(1), uint32(1), uint32(1)),
		"ports":          wire(tagNewPort, "w\x01a", uint32(1), uint32(1)),
		"references":     wire(tagNewerReference, 0, 5, "w\x01a", make([]byte, 24)),
		"exports":        wire(tagExport, "w\x01aw\x01b", tagSmallInteger, 1),
		"lists of one":   wire(tagList, uint32(1), tagNil, tagNil),
		"tails":          nil,
	} {
		var in []byte
		if element != nil {
			in = wire(tagLargeTuple, uint32(count), bytes.Repeat(element[1:], count))
		} else {
			in = append(wire(bytes.Repeat(wire(tagList, uint32(1), tagNil)[1:], count)), tagNil)
		}
		taken, cost := measured(func() (Term, error) { return Decode(in, Limits{}) })
		require.NoError(t, taken.err)
		require.Less(t, cost.bytes/count, uint64(150), name)
		t.Logf("%s: %d bytes each", name, cost.bytes/count)
	}
}
