package etf

import (
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAsString(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		term Term
		want string
	}{
		{Atom("ok"), "ok"},
		{[]byte("żółw"), "żółw"},
		{[]byte("\xe9"), "é"},
		{String("abc\xe9"), "abcé"},
		{List{}, ""},
		{List{int64('ż')}, "ż"},
		{List{String("a"), List{[]byte("b"), int64('c')}, []byte{}}, "abc"},
		{ImproperList{Elements: []Term{int64('a')}, Tail: []byte("b")}, "ab"},
	} {
		got, ok := AsString(c.term)
		require.True(t, ok, Format(c.term))
		require.Equal(t, c.want, got)
	}
	for _, bad := range []Term{
		int64('a'), 1.5, Tuple{}, Map{}, nil, "go",
		List{int64('a'), Atom("a")}, List{int64(-1)}, List{int64(0xd800)}, List{int64(0x110000)}, List{int64(math.MaxInt64)},
		ImproperList{Elements: []Term{int64('a')}, Tail: int64('b')},
		ImproperList{Elements: []Term{Atom("a")}, Tail: []byte("b")},
		nestedList(MaxDepth + 1),
	} {
		got, ok := AsString(bad)
		require.False(t, ok, Format(bad))
		require.Empty(t, got)
	}
}

func nestedList(depth int) Term {
	var t Term = List{}
	for range depth {
		t = List{t}
	}
	return t
}

func TestAsList(t *testing.T) {
	t.Parallel()
	got, ok := AsList(String("\x01\xff"))
	require.True(t, ok)
	require.Equal(t, []Term{int64(1), int64(255)}, got)
	got, ok = AsList(List{Atom("a")})
	require.True(t, ok)
	require.Equal(t, []Term{Atom("a")}, got)
	for _, bad := range []Term{Tuple{}, ImproperList{}, []byte{}, nil} {
		_, ok = AsList(bad)
		require.False(t, ok)
	}
}

func TestLookups(t *testing.T) {
	t.Parallel()
	m := Map{{Atom("a"), int64(1)}, {String("k"), int64(2)}, {Atom("a"), int64(3)}}
	got, ok := MapGet(m, Atom("a"))
	require.True(t, ok)
	require.Equal(t, int64(1), got)
	got, ok = MapGet(m, List{int64('k')})
	require.True(t, ok)
	require.Equal(t, int64(2), got)
	_, ok = MapGet(m, Atom("b"))
	require.False(t, ok)
	_, ok = MapGet(List{}, Atom("b"))
	require.False(t, ok)

	l := List{int64(1), Tuple{Atom("a"), int64(1)}, Tuple{Atom("b"), int64(1), int64(2)}, Atom("c"), Tuple{List{}, int64(1)}}
	got, ok = ProplistGet(l, "a")
	require.True(t, ok)
	require.Equal(t, int64(1), got)
	got, ok = ProplistGet(l, "c")
	require.True(t, ok)
	require.Equal(t, Atom("true"), got)
	for _, missing := range []Atom{"b", "d"} {
		_, ok = ProplistGet(l, missing)
		require.False(t, ok)
	}
	_, ok = ProplistGet(Tuple{}, "a")
	require.False(t, ok)
}

func TestEqual(t *testing.T) {
	t.Parallel()
	all := terms()
	for name, a := range all {
		for other, b := range all {
			require.Equal(t, name == other || name == "[]" && other == "empty string" || name == "empty string" && other == "[]",
				Equal(a, b), "%s and %s", name, other)
		}
	}
	for _, same := range [][2]Term{
		{true, Atom("true")}, {false, Atom("false")}, {1, int64(1)}, {uint64(1), int64(1)}, {uint64(math.MaxUint64), new(big.Int).SetUint64(math.MaxUint64)},
		{big.NewInt(5), int64(5)},
		{String("ab"), List{int64('a'), int64('b')}},
		{ImproperList{Elements: []Term{int64('a')}, Tail: String("b")}, String("ab")},
		{ImproperList{Elements: []Term{int64('a')}, Tail: List{int64('b')}}, String("ab")},
		{ImproperList{Elements: []Term{int64('a')}, Tail: ImproperList{Elements: []Term{int64('b')}, Tail: List{}}}, String("ab")},
		{ImproperList{Tail: ImproperList{Tail: int64(1)}}, 1},
		{BitString{Bytes: []byte{0xff}, Bits: 1}, BitString{Bytes: []byte{0x80}, Bits: 1}},
		{Map{{1, 2}, {3, 4}}, Map{{3, 4}, {1, 2}}},
		{Map{{Map{{1, 2}, {String("x"), 4}}, 5}, {3, 4}}, Map{{3, 4}, {Map{{List{120}, 4}, {1, 2}}, 5}}},
		{Map{{Tuple{Map{{1, 2}, {3, 4}}}, 1}, {ImproperList{Elements: []Term{Map{}}, Tail: 2}, 1}},
			Map{{ImproperList{Elements: []Term{Map{}}, Tail: 2}, 1}, {Tuple{Map{{3, 4}, {1, 2}}}, 1}}},
	} {
		require.True(t, Equal(same[0], same[1]), "%s and %s", Format(same[0]), Format(same[1]))
		require.True(t, Equal(same[1], same[0]), "%s and %s", Format(same[1]), Format(same[0]))
	}
	for _, differ := range [][2]Term{
		{1, 1.0}, {Atom("a"), String("a")}, {[]byte("a"), String("a")}, {List{1}, Tuple{1}}, {List{1}, List{1, 2}},
		{ImproperList{Elements: []Term{1}, Tail: 2}, ImproperList{Elements: []Term{1}, Tail: 3}},
		{ImproperList{Elements: []Term{1}, Tail: 2}, List{1, 2}},
		{Map{{1, 2}, {3, 4}}, Map{{3, 4}, {1, 3}}},
		{Map{{1, 2}, {3, 4}}, Map{{3, 4}, {5, 2}}},
		{Map{{1, 2}, {1, 2}}, Map{{3, 4}, {1, 2}}},
		{Map{{3, 4}, {1, 2}}, Map{{1, 2}, {1, 2}}},
		{Map{{1, 2}}, Map{}},
		{Map{{"no", 2}, {1, 1}}, Map{{1, 1}, {"no", 2}}},
		{BitString{Bytes: []byte{0x80}, Bits: 1}, BitString{Bytes: []byte{0x80}, Bits: 2}},
		{BitString{Bytes: []byte{0x80}, Bits: 1}, BitString{Bytes: []byte{0x80, 0}, Bits: 1}},
		{BitString{}, BitString{}}, {nil, nil}, {"go", "go"}, {[]int{1}, []int{1}}, {(*big.Int)(nil), (*big.Int)(nil)},
		{nestedList(MaxDepth + 2), nestedList(MaxDepth + 2)},
		{Ref{Node: "a", IDs: []uint32{1}}, Ref{Node: "a", IDs: []uint32{2}}},
		{Pid{Node: "a", Creation: 1}, Pid{Node: "a", Creation: 2}},
	} {
		require.False(t, Equal(differ[0], differ[1]), "%s and %s", Format(differ[0]), Format(differ[1]))
	}
}
