package etf

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func power(exponent uint) *big.Int { return new(big.Int).Lsh(big.NewInt(1), exponent) }

// terms is one of everything, and what lies at the edges of each tag.
func terms() map[string]Term {
	return map[string]Term{
		"empty atom":        Atom(""),
		"atom":              Atom("ok"),
		"atom latin1":       Atom("é"),
		"atom utf8":         Atom("日本語"),
		"atom 255 ascii":    Atom(strings.Repeat("a", 255)),
		"atom 255 wide":     Atom(strings.Repeat("語", 255)),
		"0":                 int64(0),
		"255":               int64(255),
		"256":               int64(256),
		"-1":                int64(-1),
		"max int32":         int64(math.MaxInt32),
		"max int32 + 1":     int64(math.MaxInt32 + 1),
		"min int32":         int64(math.MinInt32),
		"min int32 - 1":     int64(math.MinInt32 - 1),
		"max int64":         int64(math.MaxInt64),
		"min int64":         int64(math.MinInt64),
		"max int64 + 1":     power(63),
		"min int64 - 1":     new(big.Int).Sub(big.NewInt(math.MinInt64), big.NewInt(1)),
		"-2^64":             new(big.Int).Neg(power(64)),
		"254 bytes":         power(254*8 - 1),
		"255 bytes":         power(255*8 - 1),
		"256 bytes":         new(big.Int).Neg(power(256*8 - 1)),
		"0.0":               0.0,
		"-0.0":              math.Copysign(0, -1),
		"0.1":               0.1,
		"max float":         math.MaxFloat64,
		"min float":         -math.SmallestNonzeroFloat64,
		"empty binary":      []byte{},
		"binary":            []byte{0, 1, 255},
		"bit string":        BitString{Bytes: []byte{1, 0xa0}, Bits: 3},
		"string":            String("abc\xff"),
		"empty string":      String{},
		"longest string":    String(strings.Repeat("x", 65535)),
		"[]":                List{},
		"list":              List{int64(1), Atom("a"), List{}},
		"list of bytes":     List{int64(1), int64(2)},
		"improper":          ImproperList{Elements: []Term{Atom("a"), int64(1)}, Tail: Atom("b")},
		"{}":                Tuple{},
		"255-tuple":         make256(255),
		"256-tuple":         make256(256),
		"#{}":               Map{},
		"map with odd keys": Map{{List{}, int64(1)}, {Map{{1.5, Tuple{}}}, int64(2)}, {[]byte("k"), int64(3)}, {Tuple{}, int64(4)}},
		"pid":               Pid{Node: "a@b", ID: 85, Serial: 1, Creation: 1653106858},
		"port":              Port{Node: "a@b", ID: maxOldPort, Creation: 3},
		"port V4":           Port{Node: "a@b", ID: math.MaxUint64, Creation: 3},
		"reference 1":       Ref{Node: "a@b", Creation: 3, IDs: []uint32{1}},
		"reference 3":       Ref{Node: "a@b", Creation: 3, IDs: []uint32{1, 2, 3}},
		"reference V4":      Ref{Node: "a@b", Creation: 3, IDs: []uint32{1, 2, 3, 4, math.MaxUint32}},
		"export":            Export{Module: "lists", Function: "map", Arity: 2},
		"nested":            Tuple{List{Map{{Atom("a"), List{Tuple{[]byte("x")}}}}}},
	}
}

func make256(n int) Tuple {
	t := make(Tuple, n)
	for i := range t {
		t[i] = int64(i)
	}
	return t
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for name, term := range terms() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := Append([]byte("before"), term)
			require.NoError(t, err)
			got, err := Decode(b[len("before"):], Limits{})
			require.NoError(t, err)
			require.Equal(t, term, got)
			require.True(t, Equal(term, got))
		})
	}
}
