package etf

import (
	"math"
	"math/big"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestFormat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		term Term
		want string
	}{
		{Atom("ok"), "ok"},
		{Atom("rabbit@host"), "rabbit@host"},
		{Atom(""), "''"},
		{Atom("Ok"), "'Ok'"},
		{Atom("receive"), "'receive'"},
		{Atom("a-b"), "'a-b'"},
		{Atom("it's\\\n\x00"), `'it\'s\\\n\x{0}'`},
		{Atom("żółw"), "'żółw'"},
		{true, "true"},
		{5, "5"},
		{uint64(math.MaxUint64), "18446744073709551615"},
		{int64(-5), "-5"},
		{power(64), "18446744073709551616"},
		{1.0, "1.0"},
		{0.1, "0.1"},
		{1e21, "1.0e21"},
		{1.5e-7, "1.5e-7"},
		{-2e100, "-2.0e100"},
		{math.Copysign(0, -1), "-0.0"},
		{[]byte{}, "<<>>"},
		{[]byte("abc"), `<<"abc">>`},
		{[]byte("\"é\"\n"), `<<"\"é\"\n"/utf8>>`},
		{[]byte{0, 255}, "<<0,255>>"},
		{BitString{Bytes: []byte{0xa0}, Bits: 3}, "<<5:3>>"},
		{BitString{Bytes: []byte{1, 2}, Bits: 7}, "<<1,1:7>>"},
		{String("abc"), `"abc"`},
		{String("é"[1:]), `"©"`},
		{String{1, 2}, "[1,2]"},
		{String{}, "[]"},
		{List{}, "[]"},
		{List{int64('ż'), int64('"')}, `"ż\""`},
		{List{int64(1), Atom("a"), List{Atom("b")}}, "[1,a,[b]]"},
		{List{int64(-1)}, "[-1]"},
		{List{int64(math.MaxInt64)}, "[9223372036854775807]"},
		{ImproperList{Elements: []Term{int64(97), Atom("a")}, Tail: Atom("b")}, "[97,a|b]"},
		{Tuple{}, "{}"},
		{Tuple{Atom("a"), Tuple{int64(1)}}, "{a,{1}}"},
		{Map{}, "#{}"},
		{Map{{Atom("a"), int64(1)}, {List{}, Map{}}}, "#{a => 1,[] => #{}}"},
		{Pid{Node: "rabbit@host-1", ID: 85, Serial: 1}, "<rabbit@host-1.85.1>"},
		{Pid{Node: "a>\n@b", ID: 1}, `<a\>\n@b.1.0>`},
		{Port{Node: "a@b", ID: 5}, "#Port<a@b.5>"},
		{Ref{Node: "a@b", IDs: []uint32{1, 2, 3}}, "#Ref<a@b.3.2.1>"},
		{Export{"lists", "Map", 2}, "fun lists:'Map'/2"},
		{newFun("m", 1, 2, 3, Atom("free")), "#Fun<m.2.3>"},
		{Fun{}, "#Fun<>"},
		{Local{raw: "abc"}, "#Local<3 bytes>"},
		{nil, "#Go<<nil>>"},
		{"text", "#Go<string>"},
		{(*big.Int)(nil), "#Go<nil>"},
		{BitString{}, "#Go<etf.BitString>"},
		{ImproperList{}, "[|#Go<<nil>>]"},
	} {
		require.Equal(t, c.want, Format(c.term))
	}
	require.Equal(t, "<a@b.1.2>", Pid{Node: "a@b", ID: 1, Serial: 2}.String())
	require.Equal(t, "#Port<a@b.1>", Port{Node: "a@b", ID: 1}.String())
	require.Equal(t, "#Ref<a@b.1>", Ref{Node: "a@b", IDs: []uint32{1}}.String())
}

func TestFormatBounded(t *testing.T) {
	t.Parallel()
	many := make(List, 1_000_000)
	pairs := make(Map, 100_000)
	var deep Term = List{}
	for i := range many {
		many[i] = int64(i) << 20
		deep = Tuple{deep}
	}
	for i := range pairs {
		pairs[i] = Pair{int64(i), int64(i)}
	}
	for name, term := range map[string]Term{
		"list":          many,
		"tuple":         Tuple(many),
		"map":           pairs,
		"deep":          deep,
		"binary":        make([]byte, 1<<20),
		"text":          []byte(strings.Repeat("語", 1<<20)),
		"text shifted":  []byte("x" + strings.Repeat("語", 1<<20)),
		"text shifted2": []byte("xx" + strings.Repeat("語", 1<<20)),
		"string":        String(strings.Repeat("\xe9", 60_000)),
		"control":       String(strings.Repeat("\n", 60_000)),
		"number":        power(1 << 24),
		"negative":      new(big.Int).Neg(power(1 << 24)),
		"atom":          Atom(strings.Repeat("\u0600", 10_000)),
		"bits":          BitString{Bytes: make([]byte, 1<<20), Bits: 1},
	} {
		got := Format(term)
		require.LessOrEqual(t, len(got), maxFormat+3, name)
		require.Greater(t, len(got), maxFormat-4, name)
		require.True(t, strings.HasSuffix(got, "..."), name)
		require.True(t, utf8.ValidString(got), name)
	}
	require.True(t, strings.HasPrefix(Format([]byte("x"+strings.Repeat("語", 1<<20))), `<<"x語`))
	// The digits of a number do not depend on where it is cut.
	digits := strings.Repeat("123456789ABCDEF", 1000)
	n, ok := new(big.Int).SetString(digits, 16)
	require.True(t, ok)
	require.Equal(t, ("16#" + digits)[:maxFormat]+"...", Format(n))
}
