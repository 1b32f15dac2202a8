package etf

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type form struct {
	name  string
	bytes []byte
	want  Term
}

// wire joins bytes, strings and big-endian uint32 behind the version byte.
func wire(parts ...any) []byte {
	b := []byte{version}
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case uint32:
			b = binary.BigEndian.AppendUint32(b, p)
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		}
	}
	return b
}

func compressed(b []byte) []byte {
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return wire(tagCompressed, uint32(len(b)), out.Bytes())
}

// oldForms are encodings that Append does not choose, with what they mean.
func oldForms() []form {
	node := []byte{tagAtom, 0, 3, 'a', '@', 'b'}
	float := func(text string) []byte { return wire(tagFloat, text, make([]byte, 31-len(text))) }
	return []form{
		{"latin1 atom", wire(tagAtom, 0, 2, "a\xe9"), Atom("aé")},
		{"small latin1 atom", wire(tagSmallAtom, 2, "a\xe9"), Atom("aé")},
		{"longest latin1 atom", wire(tagAtom, 0, 255, bytes.Repeat([]byte{0xe9}, 255)), Atom(strings.Repeat("é", 255))},
		{"utf8 atom", wire(tagAtomUTF8, 0, 2, "é"), Atom("é")},
		{"float", float("1.50000000000000000000e+00"), 1.5},
		{"negative float", float("-1.79769313486231570815e+308"), -math.MaxFloat64},
		{"float of 31 bytes", float("-1.7976931348623157081500000e+3"), -1797.6931348623157},
		{"wide integer", wire(tagInteger, uint32(5)), int64(5)},
		{"big without digits", wire(tagSmallBig, 0, 0), int64(0)},
		{"minus nothing", wire(tagSmallBig, 0, 1), int64(0)},
		{"big with leading zeros", wire(tagLargeBig, uint32(12), 1, 7, make([]byte, 11)), int64(-7)},
		{"big of 8 bytes", wire(tagSmallBig, 8, 1, make([]byte, 7), 0x80), int64(math.MinInt64)},
		{"big of 8 bytes beyond int64", wire(tagSmallBig, 8, 0, make([]byte, 7), 0x80), power(63)},
		{"any sign is a minus", wire(tagSmallBig, 9, 2, make([]byte, 8), 1), new(big.Int).Neg(power(64))},
		{"bitstring of whole bytes", wire(tagBitBinary, uint32(1), 8, 5), []byte{5}},
		{"empty bitstring", wire(tagBitBinary, uint32(0), 0), []byte{}},
		{"unused bits", wire(tagBitBinary, uint32(1), 3, 0xff), BitString{Bytes: []byte{0xe0}, Bits: 3}},
		{"list of nothing", wire(tagList, uint32(0), tagNil), List{}},
		{"list of nothing but a tail", wire(tagList, uint32(0), tagSmallInteger, 1), int64(1)},
		{"list in tail", wire(tagList, uint32(1), tagNil, tagList, uint32(1), tagSmallInteger, 1, tagNil), List{List{}, int64(1)}},
		{"string in tail", wire(tagList, uint32(1), tagNil, tagString, 0, 2, 1, 255), List{List{}, int64(1), int64(255)}},
		{"improper in tail", wire(tagList, uint32(1), tagNil, tagList, uint32(1), tagNil, tagSmallInteger, 1),
			ImproperList{Elements: []Term{List{}, List{}}, Tail: int64(1)}},
		{"short large tuple", wire(tagLargeTuple, uint32(1), tagNil), Tuple{List{}}},
		{"PID_EXT", wire(tagPid, node, uint32(1), uint32(2), 3), Pid{"a@b", 1, 2, 3}},
		{"PORT_EXT", wire(tagPort, node, uint32(1), 3), Port{"a@b", 1, 3}},
		{"V4_PORT_EXT", wire(tagV4Port, node, uint32(0), uint32(1), uint32(3)), Port{"a@b", 1, 3}},
		{"REFERENCE_EXT", wire(tagReference, node, uint32(1), 3), Ref{"a@b", 3, []uint32{1}}},
		{"NEW_REFERENCE_EXT", wire(tagNewReference, 0, 3, node, 3, uint32(1), uint32(2), uint32(3)), Ref{"a@b", 3, []uint32{1, 2, 3}}},
		{"export with a wide arity", wire(tagExport, node, node, tagInteger, uint32(255)), Export{"a@b", "a@b", 255}},
		{"compressed", compressed([]byte{tagSmallInteger, 7}), int64(7)},
	}
}

func TestDecodeOtherForms(t *testing.T) {
	t.Parallel()
	for _, c := range oldForms() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := Decode(c.bytes, Limits{})
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			require.Equal(t, got, rewritten(t, got))
		})
	}
}

func TestDecodeCopies(t *testing.T) {
	t.Parallel()
	for name, term := range terms() {
		b, err := Append(nil, term)
		require.NoError(t, err)
		got, err := Decode(b, Limits{})
		require.NoError(t, err)
		clear(b)
		require.Equal(t, term, got, name)
	}
}

func TestDecodePrefix(t *testing.T) {
	t.Parallel()
	for _, first := range [][]byte{wire(tagNil), compressed([]byte{tagNil}), wire(tagString, 0, 1, 131)} {
		both := slices.Concat(first, wire(tagSmallInteger, 2))
		term, rest, err := DecodePrefix(both, Limits{})
		require.NoError(t, err)
		alone, err := Decode(first, Limits{})
		require.NoError(t, err)
		require.Equal(t, alone, term)
		require.Equal(t, wire(tagSmallInteger, 2), rest)
		_, err = Decode(both, Limits{})
		require.ErrorIs(t, err, ErrTrailing)
	}
}

func TestDecodeErrors(t *testing.T) {
	t.Parallel()
	small := Limits{Bytes: 40, Elements: 5, Depth: 3, Inflated: 10}
	for _, c := range []struct {
		in   []byte
		is   error
		want string
	}{
		{nil, ErrTruncated, "etf: at offset 0: input ends early: no version byte"},
		{[]byte{131}, ErrTruncated, "etf: at offset 1: input ends early: 1 byte wanted"},
		{[]byte{132, 97, 1}, ErrMalformed, "etf: tag 132 at offset 0: malformed: version byte is 132, not 131"},
		{wire(0), ErrMalformed, "etf: at offset 1: malformed: 0 is no tag"},
		{wire(tagSmallTuple, 2, tagNil, tagInteger, 0), ErrTruncated,
			"etf: INTEGER_EXT 98 at offset 4: input ends early: 4 bytes announced, 1 left"},
		{wire(tagList, uint32(7), "1234567"), ErrLimit, "etf: LIST_EXT 108 at offset 1: beyond the limit: 7 terms announced, 4 more are taken"},
		{wire(tagList, uint32(math.MaxUint32)), ErrTruncated,
			"etf: LIST_EXT 108 at offset 1: input ends early: 4294967295 terms announced, 0 bytes left"},
		{wire("h\x01h\x01h\x01h\x00"), ErrLimit, "etf: SMALL_TUPLE_EXT 104 at offset 7: beyond the limit: nested too deep"},
		{make([]byte, 41), ErrLimit, "etf: at offset 0: beyond the limit: 41 bytes, at most 40 are taken"},
		{wire(tagNil, tagNil), ErrTrailing, "etf: NIL_EXT 106 at offset 2: bytes follow the term: 1"},
		{compressed(make([]byte, 11)), ErrLimit, "etf: COMPRESSED 80 at offset 1: beyond the limit: inflates to 11 bytes, at most 10 are taken"},
		{compressed([]byte{tagSmallTuple, 1, 1}), ErrMalformed, "etf: tag 1 at offset 2 of the inflated bytes: malformed: 1 is no tag"},
		{wire(tagSmallAtomUTF8, 2, "\xff\xfe"), ErrMalformed, `etf: SMALL_ATOM_UTF8_EXT 119 at offset 1: malformed: atom "\xff\xfe" is not UTF-8`},
	} {
		_, err := Decode(c.in, small)
		require.EqualError(t, err, c.want)
		require.ErrorIs(t, err, c.is)
	}
}

// TestDecodeCut holds that every beginning of a term is told from one that is
// broken: more bytes could make it whole.
func TestDecodeCut(t *testing.T) {
	t.Parallel()
	whole := oldForms()
	for name, term := range terms() {
		b, err := Append(nil, term)
		require.NoError(t, err)
		whole = append(whole, form{name, b[:min(len(b), 400)], term})
	}
	whole = append(whole, form{name: "old fun", bytes: oldFunBytes()})
	for _, f := range whole {
		for n := range f.bytes {
			_, err := Decode(f.bytes[:n], Limits{})
			require.ErrorIs(t, err, ErrTruncated, "%s: %d of %d bytes", f.name, n, len(f.bytes))
		}
	}
}

// TestLimitsExact holds that a limit is what is still taken.
func TestLimitsExact(t *testing.T) {
	t.Parallel()
	five := wire(tagList, uint32(2), tagNil, tagSmallTuple, 2, tagNil, tagNil, tagNil)
	for _, c := range []struct {
		in     []byte
		limits Limits
	}{
		{five, Limits{Bytes: len(five)}},
		{five, Limits{Elements: 5}},
		{five, Limits{Depth: 2}},
		{wire(tagMap, uint32(1), tagNil, tagNil), Limits{Elements: 3}},
		{wire(tagList, uint32(1), tagNil, tagString, 0, 2, "ab"), Limits{Elements: 4}},
		{wire(tagList, uint32(1), tagNil, tagSmallInteger, 1), Limits{Elements: 3}},
		{compressed([]byte{tagSmallInteger, 7}), Limits{Inflated: 2}},
	} {
		_, err := Decode(c.in, c.limits)
		require.NoError(t, err, "%+v", c.limits)
		less := Limits{Bytes: c.limits.Bytes - 1, Elements: c.limits.Elements - 1, Depth: c.limits.Depth - 1, Inflated: c.limits.Inflated - 1}
		_, err = Decode(c.in, less)
		require.ErrorIs(t, err, ErrLimit, "%+v", less)
	}
}

// TestLongTail holds that the length of a list is no depth, however it is
// written.
func TestLongTail(t *testing.T) {
	t.Parallel()
	const n = 100_000
	b := slices.Concat(wire(), bytes.Repeat(wire(tagList, uint32(1), tagNil)[1:], n), []byte{tagNil})
	got, err := Decode(b, Limits{Depth: 1})
	require.NoError(t, err)
	require.Len(t, got, n)
}

func TestFunsInFuns(t *testing.T) {
	t.Parallel()
	inner := newFun("m", 1, 7, -5, int64(1))
	outer := Tuple{newFun("m", 2, 8, 5, Tuple{inner, inner}), inner, Export{"m", "f", 1}}
	require.Equal(t, Term(outer), rewritten(t, outer))
	require.Equal(t, "{#Fun<m.8.5>,#Fun<m.7.-5>,fun m:f/1}", Format(outer))
	_, err := Append(nil, Fun{})
	require.ErrorIs(t, err, ErrMalformed)
}

// oldFunBytes is a fun as releases before R15 sent it.
func oldFunBytes() []byte {
	pid := wire(tagPid, "w\x03a@b", uint32(1), uint32(2), 3)[1:]
	return wire(tagFun, uint32(2), pid, "w\x01m", tagSmallInteger, 1, tagInteger, uint32(5), tagNil, "k\x00\x01x")
}

func TestOldFun(t *testing.T) {
	t.Parallel()
	in := oldFunBytes()
	term, err := Decode(in, Limits{})
	require.NoError(t, err)
	require.Equal(t, Fun{raw: string(in[1:])}, term)
	require.Equal(t, "#Fun<>", Format(term))
	out, err := Append(nil, term)
	require.NoError(t, err)
	require.Equal(t, in, out)
}

func TestLocal(t *testing.T) {
	t.Parallel()
	in := wire(tagLocal, "anything\x00")
	term, err := Decode(in, Limits{})
	require.NoError(t, err)
	require.IsType(t, Local{}, term)
	out, err := Append(nil, term)
	require.NoError(t, err)
	require.Equal(t, in, out)
	_, err = Append(nil, Tuple{term})
	require.ErrorIs(t, err, ErrMalformed)
	_, err = Append(nil, Local{})
	require.ErrorIs(t, err, ErrMalformed)
}
