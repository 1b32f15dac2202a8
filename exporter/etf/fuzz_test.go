package etf

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/etf/etftest"
)

// fuzzLimits are small, so that inputs which meet them are found.
var fuzzLimits = Limits{Bytes: 1 << 16, Elements: 1 << 12, Depth: 64, Inflated: 1 << 16}

// fuzzMemory is what fuzzLimits let a call allocate: 150 bytes an element, the
// input and what it inflates to in a few copies, and zlib's own memory.
const fuzzMemory = 150<<12 + 4<<16 + 4<<16 + 64<<10

// FuzzDecode holds that no input makes the decoder fail otherwise than with a
// DecodeError or take more memory than the limits allow, and that a term that was read is written as itself.
func FuzzDecode(f *testing.F) {
	for _, term := range terms() {
		b, err := Append(nil, term)
		require.NoError(f, err)
		f.Add(b)
	}
	for _, c := range oldForms() {
		f.Add(c.bytes)
	}
	f.Add(oldFunBytes())
	f.Add(wire(tagLocal, "private"))
	for _, c := range etftest.Hostile() {
		if !strings.Contains(c.Name, "20M") {
			b := c.Bytes()
			f.Add(b[:min(len(b), 1000)])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var rest []byte
		read, cost := measured(func() (t Term, err error) {
			t, rest, err = DecodePrefix(b, fuzzLimits)
			return t, err
		})
		require.Less(t, cost.bytes, uint64(fuzzMemory))
		term, err := read.value, read.err
		if err != nil {
			var decode *DecodeError
			require.ErrorAs(t, err, &decode)
			require.NotEmpty(t, decode.Error())
			require.LessOrEqual(t, decode.Offset, max(len(b), fuzzLimits.Inflated))
			return
		}
		require.True(t, bytes.HasSuffix(b, rest))
		again := rewritten(t, term)
		require.True(t, Equal(term, again), "%s\n%s", Format(term), Format(again))
		require.Equal(t, term, again)
		require.LessOrEqual(t, len(Format(term)), maxFormat+3)
		AsString(term)
	})
}

// rewritten is what becomes of a term that is written and read. Its written
// form may be longer than what it was read from: short numbers are widened.
func rewritten(t *testing.T, term Term) Term {
	t.Helper()
	b, err := Append(nil, term)
	require.NoError(t, err)
	again, err := Decode(b, Limits{})
	require.NoError(t, err)
	return again
}

// FuzzEncode holds that every term that can be built is read as it was
// written, and from no other bytes.
func FuzzEncode(f *testing.F) {
	for seed := range byte(20) {
		for _, term := range randomTerms(seed, 1) {
			b, err := Append(nil, term)
			require.NoError(f, err)
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		g := generator{in: b, depth: 12}
		term := g.term()
		again := rewritten(t, term)
		require.True(t, Equal(term, again), "%s\n%s", Format(term), Format(again))
		require.Equal(t, term, again)
		first, err := Append(nil, term)
		require.NoError(t, err)
		second, err := Append(nil, again)
		require.NoError(t, err)
		require.Equal(t, first, second)
	})
}
