package etf

import (
	"bytes"
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
