package etf_test

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/internal/erltest"
)

// parsed are texts and what erl_parse makes of them; TestParseIsErlangs holds
// them against a node.
var parsed = map[string]etf.Term{
	"ok": etf.Atom("ok"), "a@b_C9": etf.Atom("a@b_C9"), "'Hello \\'World\\''": etf.Atom("Hello 'World'"), "straße": etf.Atom("straße"),
	"''": etf.Atom(""), "'end'": etf.Atom("end"),
	"0": int64(0), "-17": int64(-17), "+3": int64(3), "16#fF": int64(255), "-2#101": int64(-5), "1_000": int64(1000),
	"$a": int64('a'), "$\\n": int64('\n'), "$ ": int64(' '), "-$a": int64(-'a'), "$\\x{1F600}": int64(0x1F600), "$\\101": int64('A'),
	"123456789012345678901234567890": mustBig("123456789012345678901234567890"),
	"1.5":                            1.5, "-1.0e-3": -0.001, "2.0E3": 2000.0,
	`"ab" "c"`: etf.List{int64('a'), int64('b'), int64('c')}, `""`: etf.List{}, `"\x41\^A"`: etf.List{int64('A'), int64(1)},
	`<<"ab">>`: []byte("ab"), "<<>>": []byte{}, "<<1, 255, -1>>": []byte{1, 255, 255}, `<<"ä"/utf8>>`: []byte("ä"), `<<"a", 0>>`: []byte("a\x00"),
	"[]": etf.List{}, "[1, [a]]": etf.List{int64(1), etf.List{etf.Atom("a")}}, "[1 | 2]": etf.ImproperList{Elements: []etf.Term{int64(1)}, Tail: int64(2)},
	"[1 | [2 | [3]]]": etf.List{int64(1), int64(2), int64(3)},
	"{}":              etf.Tuple{}, "{a, 1} % comment": etf.Tuple{etf.Atom("a"), int64(1)}, "{\n% comment\na}": etf.Tuple{etf.Atom("a")},
	"#{}": etf.Map{}, "#{a => 1, \"b\" => <<>>}": etf.Map{{Key: etf.Atom("a"), Value: int64(1)}, {Key: etf.List{int64('b')}, Value: []byte{}}},
	"fun lists:seq/2": etf.Export{Module: "lists", Function: "seq", Arity: 2},
	"{a}.":            etf.Tuple{etf.Atom("a")},
}

func mustBig(s string) *big.Int {
	n, _ := new(big.Int).SetString(s, 10)
	return n
}

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range parsed {
		got, err := etf.Parse(text)
		require.NoError(t, err, text)
		require.True(t, etf.Equal(want, got), "%s: %s", text, etf.Format(got))
	}
}

// TestParseIsErlangs has a node read the same texts.
func TestParseIsErlangs(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	for text, want := range parsed {
		source := strings.TrimSuffix(text, ".")
		source, _, _ = strings.Cut(source, " % comment")
		source = strings.ReplaceAll(source, "% comment\n", "")
		require.Equal(t, "true", n.Eval(t, "("+source+") =:= ("+etf.Format(want)+")"), text)
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                       `line 1, column 1: one term is expected here, and there are 0`,
		"a, b":                   `line 1, column 1: one term is expected here, and there are 2`,
		"[1, 2":                  `line 1, column 6: , or | or ] is expected before the end`,
		"{a,\n b c}":             `line 2, column 4: , or } is expected, not "c"`,
		"[ä, ]":                  `line 1, column 5: a term is expected, not "]"`,
		"X":                      `line 1, column 1: a variable has no value here; a term is expected, not "X"`,
		"<0.85.0>":               `line 1, column 1: a pid cannot be written; a term is expected, not "<"`,
		"end":                    `line 1, column 1: end is a reserved word and needs quotes to be an atom, not "e"`,
		"37#1":                   `line 1, column 1: the base of a number is from 2 to 36, not "3"`,
		"1.0e":                   `line 1, column 5: the digits of the exponent are expected before the end`,
		`"abc`:                   `line 1, column 1: the closing " is missing, not "\""`,
		`<<"é€">>`:               `line 1, column 3: the string has characters beyond 255 and needs /utf8, not "\""`,
		"<<256>>":                `line 1, column 3: a byte is from 0 to 255, not "2"`,
		"#{a => 1, a=>2}":        `line 1, column 11: the key a is there twice, not "a"`,
		"#{a 1}":                 `line 1, column 5: => is expected, not "1"`,
		"fun a:b/300":            `line 1, column 9: a number from 0 to 255 is expected, not "3"`,
		"a b":                    `line 1, column 3: the end is expected, not "b"`,
		"\xff":                   `line 1, column 1: the text is not UTF-8`,
		strings.Repeat("[", 600): `line 1, column 513: at most 512 levels can be nested, not "["`,
	} {
		_, err := etf.Parse(text)
		require.EqualError(t, err, want, text)
	}
	_, err := etf.Parse(strings.Repeat("9", 10_001))
	require.ErrorContains(t, err, "at most 10000 digits")
	_, err = etf.Parse("'" + strings.Repeat("a", 256) + "'")
	require.ErrorContains(t, err, "at most 255 characters")
	_, err = etf.Parse(strings.Repeat(" ", 1<<20+1))
	require.ErrorContains(t, err, "at most 1048576 are read")
}

func TestParseCall(t *testing.T) {
	t.Parallel()
	m, f, arity, args, err := etf.ParseCall(" lists : seq(1, 'x') ")
	require.NoError(t, err)
	require.Equal(t, []any{etf.Atom("lists"), etf.Atom("seq"), 2, []etf.Term{int64(1), etf.Atom("x")}}, []any{m, f, arity, args})
	_, _, arity, args, err = etf.ParseCall("'Elixir.Foo':'bar?'/3")
	require.NoError(t, err)
	require.Equal(t, 3, arity)
	require.Nil(t, args)
	_, _, _, args, err = etf.ParseCall("erlang:memory()")
	require.NoError(t, err)
	require.NotNil(t, args)
	for text, want := range map[string]string{
		"lists":          `line 1, column 6: : is expected before the end`,
		"lists:seq":      `line 1, column 10: ( with arguments, or / with their number, is expected before the end`,
		"lists:seq(1, 2": `line 1, column 15: , or ) is expected before the end`,
		"lists:seq(1) x": `line 1, column 14: the end is expected, not "x"`,
	} {
		_, _, _, _, err := etf.ParseCall(text)
		require.EqualError(t, err, want)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	got, err := etf.FromJSON([]byte(`[null, true, 1, 12345678901234567890, 1.5, "ä", {"a": []}]`))
	require.NoError(t, err)
	require.Equal(t, `[null,true,1,12345678901234567890,1.5,<<"ä"/utf8>>,#{<<"a">> => []}]`, etf.Format(got))
	for _, bad := range []string{"", "[1", "1 2", "1e999", strings.Repeat("[", 600) + strings.Repeat("]", 600)} {
		_, err := etf.FromJSON([]byte(bad))
		require.Error(t, err, bad)
	}
	term, err := etf.Parse(`#{a => [true, undefined, x, "text", [1, 2], {k, <<255>>}], 1 => 2.5}`)
	require.NoError(t, err)
	text, err := json.Marshal(etf.ToJSON(term))
	require.NoError(t, err)
	require.JSONEq(t, `{"a": [true, null, "x", "text", [1, 2], ["k", "<<255>>"]], "1": 2.5}`, string(text))
}

// FuzzParse reads what Format prints again, and must never fail otherwise than
// with an error.
func FuzzParse(f *testing.F) {
	for text := range parsed {
		f.Add(text)
	}
	f.Add("[1|2") // cut short
	f.Fuzz(func(t *testing.T, text string) {
		term, err := etf.Parse(text)
		_, _, _, _, _ = etf.ParseCall(text)
		if err != nil {
			return
		}
		printed := etf.FormatLimit(term, 1<<20)
		again, err := etf.Parse(printed)
		if strings.HasSuffix(printed, "...") || strings.Contains(printed, "16#") {
			return // shortened
		}
		if err != nil || !etf.Equal(term, again) {
			t.Fatalf("%q is %s, which reads as %s: %v", text, printed, etf.Format(again), err)
		}
	})
}

// FuzzFromJSON must never fail otherwise than with an error.
func FuzzFromJSON(f *testing.F) {
	f.Add([]byte(`{"a": [1, 2.5, null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if term, err := etf.FromJSON(data); err == nil {
			if _, err := json.Marshal(etf.ToJSON(term)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
