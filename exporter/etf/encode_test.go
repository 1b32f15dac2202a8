package etf

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAppendBytes holds the bytes themselves, for what must be understood by
// old releases and for the forms that are chosen by size.
func TestAppendBytes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		term Term
		want []byte
	}{
		"bool":                {true, wire(tagSmallAtomUTF8, 4, "true")},
		"false":               {false, wire(tagSmallAtomUTF8, 5, "false")},
		"int":                 {-1, wire(tagInteger, uint32(math.MaxUint32))},
		"uint64":              {uint64(math.MaxUint64), wire(tagSmallBig, 8, 0, bytesOf(0xff, 8))},
		"small uint64":        {uint64(7), wire(tagSmallInteger, 7)},
		"5 bytes":             {int64(-1 << 32), wire(tagSmallBig, 5, 1, make([]byte, 4), 1)},
		"small big.Int":       {big.NewInt(7), wire(tagSmallInteger, 7)},
		"long atom":           {Atom(strings.Repeat("é", 200)), wire(tagAtomUTF8, 1, 144, strings.Repeat("é", 200))},
		"unused bits":         {BitString{Bytes: []byte{0xff}, Bits: 1}, wire(tagBitBinary, uint32(1), 1, 0x80)},
		"port before V4":      {Port{"a", maxOldPort, 1}, wire(tagNewPort, "w\x01a", uint32(maxOldPort), uint32(1))},
		"V4 port":             {Port{"a", maxOldPort + 1, 1}, wire(tagV4Port, "w\x01a", uint32(0), uint32(maxOldPort+1), uint32(1))},
		"pid":                 {Pid{"a", 1, 2, 3}, wire(tagNewPid, "w\x01a", uint32(1), uint32(2), uint32(3))},
		"reference":           {Ref{"a", 3, []uint32{1, 2}}, wire(tagNewerReference, 0, 2, "w\x01a", uint32(3), uint32(1), uint32(2))},
		"tail that is a list": {ImproperList{Elements: []Term{1}, Tail: List{}}, wire(tagList, uint32(1), tagSmallInteger, 1, tagNil)},
		"nothing but a tail":  {ImproperList{Tail: 1}, wire(tagSmallInteger, 1)},
	} {
		got, err := Append(nil, c.term)
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
		again, err := Decode(got, Limits{})
		require.NoError(t, err, name)
		require.True(t, Equal(c.term, again), name)
	}
}

func TestAppendKeepsUnusedBits(t *testing.T) {
	t.Parallel()
	given := BitString{Bytes: []byte{0xff}, Bits: 1}
	_, err := Append(nil, given)
	require.NoError(t, err)
	require.Equal(t, []byte{0xff}, given.Bytes)
}

func TestAppendLongString(t *testing.T) {
	t.Parallel()
	long := String(strings.Repeat("x", math.MaxUint16+1))
	require.Equal(t, Term(long.list()), rewritten(t, long))
}

func TestAppendErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		term Term
		is   error
		want string
	}{
		{"text", ErrType, "etf: cannot write string: not a term: say Atom, []byte or String"},
		{nil, ErrType, "etf: cannot write <nil>: not a term"},
		{Tuple{List{Map{{1, []int{}}}}}, ErrType, "etf: cannot write []int: not a term"},
		{Map{{"k", 1}}, ErrType, "etf: cannot write string: not a term: say Atom, []byte or String"},
		{(*big.Int)(nil), ErrMalformed, "etf: cannot write *big.Int: malformed: nil"},
		{math.NaN(), ErrMalformed, "etf: cannot write float64: malformed: NaN"},
		{math.Inf(-1), ErrMalformed, "etf: cannot write float64: malformed: -Inf"},
		{Atom("\xff"), ErrMalformed, `etf: cannot write etf.Atom: malformed: atom "\xff" is not UTF-8`},
		{Atom(strings.Repeat("é", 256)), ErrMalformed, "etf: cannot write etf.Atom: malformed: atom of 256 characters"},
		{Pid{Node: "\xff"}, ErrMalformed, `etf: cannot write etf.Atom: malformed: atom "\xff" is not UTF-8`},
		{Port{Node: "\xff"}, ErrMalformed, `etf: cannot write etf.Atom: malformed: atom "\xff" is not UTF-8`},
		{Ref{Node: "\xff", IDs: []uint32{1}}, ErrMalformed, `etf: cannot write etf.Atom: malformed: atom "\xff" is not UTF-8`},
		{Export{Module: "\xff"}, ErrMalformed, `etf: cannot write etf.Atom: malformed: atom "\xff" is not UTF-8`},
		{Export{Function: "\xff"}, ErrMalformed, `etf: cannot write etf.Atom: malformed: atom "\xff" is not UTF-8`},
		{Ref{Node: "a"}, ErrMalformed, "etf: cannot write etf.Ref: malformed: reference of 0 numbers"},
		{Ref{Node: "a", IDs: make([]uint32, 6)}, ErrMalformed, "etf: cannot write etf.Ref: malformed: reference of 6 numbers"},
		{BitString{Bytes: []byte{1}}, ErrMalformed, "etf: cannot write etf.BitString: malformed: 0 bits used in the last of 1 bytes"},
		{BitString{Bytes: []byte{1}, Bits: 8}, ErrMalformed, "etf: cannot write etf.BitString: malformed: 8 bits used in the last of 1 bytes"},
		{BitString{Bits: 1}, ErrMalformed, "etf: cannot write etf.BitString: malformed: 1 bits used in the last of 0 bytes"},
		{ImproperList{Elements: []Term{1}}, ErrMalformed, "etf: cannot write etf.ImproperList: malformed: no tail"},
		{Fun{}, ErrMalformed, "etf: cannot write etf.Fun: malformed: no fun"},
		{nestedList(MaxDepth + 1), ErrLimit, "etf: cannot write term: beyond the limit: nested deeper than 10000"},
	} {
		dst := []byte("kept")
		got, err := Append(dst, c.term)
		require.EqualError(t, err, c.want)
		require.ErrorIs(t, err, c.is)
		var encode *EncodeError
		require.ErrorAs(t, err, &encode)
		require.Equal(t, "kept", string(got))
	}
}

// TestMaxDepth holds that what can be read can be written and compared.
func TestMaxDepth(t *testing.T) {
	t.Parallel()
	deepest := nestedList(MaxDepth)
	b, err := Append(nil, deepest)
	require.NoError(t, err)
	again, err := Decode(b, Limits{Depth: math.MaxInt})
	require.NoError(t, err)
	require.True(t, Equal(deepest, again))
	_, err = Decode(append([]byte{version, tagSmallTuple, 1}, b[1:]...), Limits{Depth: math.MaxInt})
	require.ErrorIs(t, err, ErrLimit)
}
