package etf

import (
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

//go:embed testdata/etf_peer.erl
var peerSource string

// startPeer starts a real node with the module that answers these tests.
func startPeer(t *testing.T, release string) *erltest.Node {
	t.Helper()
	if release == "" {
		erltest.RequireErlang(t, "compiler")
	}
	n := erltest.Start(t, erltest.Options{OTP: release, EPMD: erltest.SharedEPMD(t)})
	source := filepath.Join(n.Dir, "etf_peer.erl")
	require.NoError(t, os.WriteFile(source, []byte(peerSource), 0o600))
	loaded := n.Eval(t, fmt.Sprintf(
		`{ok, M, B} = compile:file(%q, [binary]), code:load_binary(M, "etf_peer.erl", B)`, source))
	require.Equal(t, "{module,etf_peer}", loaded)
	return n
}

// TestNode exchanges terms with the machine's own release of Erlang.
func TestNode(t *testing.T) {
	t.Parallel()
	testNode(t, "")
}

func testNode(t *testing.T, release string) {
	t.Helper()
	n := startPeer(t, release)
	t.Run("table", func(t *testing.T) { testNodeTable(t, n) })
	t.Run("random terms of the node", func(t *testing.T) { testNodeRandom(t, n) })
	if release == "23" {
		return // identifiers as large as ours can be came with release 24
	}
	t.Run("foreign identifiers", func(t *testing.T) { testNodeForeign(t, n) })
	t.Run("random terms of ours", func(t *testing.T) { testNodeEcho(t, n) })
	t.Run("damaged terms", func(t *testing.T) { testNodeDamaged(t, n) })
}

// expressions are Erlang, each with the term that it is; nil where only the
// node can know.
func expressions() map[string]Term {
	return map[string]Term{
		`ok`:       Atom("ok"),
		`''`:       Atom(""),
		`true`:     Atom("true"),
		`'é'`:      Atom("é"),
		`'żółw 龜'`: Atom("żółw 龜"),
		`list_to_atom(lists:duplicate(255, 16#9f9c))`: Atom(strings.Repeat("龜", 255)),
		`0`: int64(0), `255`: int64(255), `256`: int64(256), `-1`: int64(-1),
		`1 bsl 27`: int64(1 << 27), `-(1 bsl 27) - 1`: int64(-1<<27 - 1),
		`1 bsl 31`: int64(1 << 31), `-(1 bsl 31)`: int64(math.MinInt32), `-(1 bsl 31) - 1`: int64(math.MinInt32 - 1),
		`(1 bsl 63) - 1`: int64(math.MaxInt64), `-(1 bsl 63)`: int64(math.MinInt64),
		`1 bsl 63`: power(63), `-(1 bsl 64)`: new(big.Int).Neg(power(64)),
		`1 bsl (254 * 8 - 1)`: power(254*8 - 1), `1 bsl (255 * 8 - 1)`: power(255*8 - 1),
		`-(1 bsl (255 * 8))`: new(big.Int).Neg(power(255 * 8)), `1 bsl 10000`: power(10_000),
		`0.0`: 0.0, `list_to_float("-0.0")`: math.Copysign(0, -1), `0.1`: 0.1, `-1.5e300`: -1.5e300, `5.0e-324`: 5e-324,
		`1.7976931348623157e308`: math.MaxFloat64,
		`<<>>`:                   []byte{}, `<<"abc">>`: []byte("abc"), `<<0:800>>`: make([]byte, 100),
		`<<5:3>>`: BitString{Bytes: []byte{0xa0}, Bits: 3}, `<<1,2,1:7>>`: BitString{Bytes: []byte{1, 2, 2}, Bits: 7},
		`<<X:3/bits, _/bits>> = <<255>>, X`: BitString{Bytes: []byte{0xe0}, Bits: 3},
		`""`:                                List{},
		`"abc"`:                             String("abc"),
		`[0,255]`:                           String("\x00\xff"),
		`[0,256]`:                           List{int64(0), int64(256)},
		`[a|b]`:                             ImproperList{Elements: []Term{Atom("a")}, Tail: Atom("b")},
		`[1,2|3]`:                           ImproperList{Elements: []Term{int64(1), int64(2)}, Tail: int64(3)},
		`[[]|<<>>]`:                         ImproperList{Elements: []Term{List{}}, Tail: []byte{}},
		`[[],[[]]]`:                         List{List{}, List{List{}}},
		`{}`:                                Tuple{},
		`{a,{}}`:                            Tuple{Atom("a"), Tuple{}},
		`list_to_tuple(lists:seq(0, 254))`:  make256(255),
		`list_to_tuple(lists:seq(0, 255))`:  make256(256),
		`#{}`:                               Map{},
		`#{[1] => a, {} => b, <<"k">> => #{}, #{x => 1} => 1.5}`: Map{
			{String("\x01"), Atom("a")}, {Tuple{}, Atom("b")}, {[]byte("k"), Map{}}, {Map{{Atom("x"), int64(1)}}, 1.5}},
		`maps:from_list([{N, [N]} || N <- lists:seq(1, 100)])`: nil,
		`fun lists:map/2`:                      Export{"lists", "map", 2},
		`fun 'é':'żółw'/255`:                   Export{"é", "żółw", 255},
		`fun(X) -> X end`:                      nil,
		`Y = [1, {a}], fun(X) -> {X, Y} end`:   nil,
		`F = fun() -> 1 end, fun() -> F() end`: nil,
		`self()`:                               nil,
		`list_to_pid("<0.32767.8191>")`:        nil,
		`make_ref()`:                           nil,
		`hd(erlang:ports())`:                   nil,
		`lists:foldl(fun(_, T) -> {T} end, [], lists:seq(1, 500))`: nil,
		`process_info(self())`:                  nil,
		`erlang:memory()`:                       nil,
		`application:loaded_applications()`:     nil,
		`supervisor:which_children(kernel_sup)`: nil,
		`logger:get_config()`:                   nil,
	}
}

// foreign are identifiers of other nodes, of every age, which a node can only
// be given as bytes.
func foreign() []form {
	var forms []form
	for _, f := range oldForms() {
		switch f.want.(type) {
		case Pid, Port, Ref:
			forms = append(forms, f)
		}
	}
	return append(forms,
		form{"V4 port", wire(tagV4Port, "w\x03a@b", bytesOf(0xff, 8), uint32(9)), Port{"a@b", math.MaxUint64, 9}},
		form{"V4 reference", wire(tagNewerReference, 0, 5, "w\x03a@b", bytesOf(0xff, 24)),
			Ref{"a@b", math.MaxUint32, []uint32{math.MaxUint32, math.MaxUint32, math.MaxUint32, math.MaxUint32, math.MaxUint32}}},
		form{"V4 pid", wire(tagNewPid, "w\x03a@b", bytesOf(0xff, 12)), Pid{"a@b", math.MaxUint32, math.MaxUint32, math.MaxUint32}},
	)
}

func bytesOf(b byte, n int) []byte { return []byte(strings.Repeat(string([]byte{b}), n)) }

func testNodeTable(t *testing.T, n *erltest.Node) {
	t.Helper()
	for expr, want := range expressions() {
		t.Run(expr, func(t *testing.T) { exchange(t, n, expr, want) })
	}
}

func testNodeForeign(t *testing.T, n *erltest.Node) {
	t.Helper()
	for _, f := range foreign() {
		expr := fmt.Sprintf("binary_to_term(%s)", erlangBytes(f.bytes))
		t.Run(f.name, func(t *testing.T) { exchange(t, n, expr, f.want) })
	}
}

var quoted = regexp.MustCompile(`"([^"]*)"`)

// exchange reads what the node writes in each of its encodings, and has the
// node read what is written of that.
func exchange(t *testing.T, n *erltest.Node, expr string, want Term) {
	t.Helper()
	encodings := quotedBytes(t, n.Eval(t, "etf_peer:encode(begin "+expr+" end)"))
	require.GreaterOrEqual(t, len(encodings), 6)
	for _, b := range encodings {
		term, err := Decode(b, Limits{})
		require.NoError(t, err)
		if want != nil {
			require.True(t, Equal(want, term), "want %s\ngot  %s", Format(want), Format(term))
		}
		again, err := Append(nil, term)
		require.NoError(t, err)
		require.Equal(t, "true", n.Eval(t, fmt.Sprintf("etf_peer:same(%s)", erlangBytes(again))), Format(term))
	}
}

// erlangBytes is an expression for a binary.
func erlangBytes(b []byte) string {
	return fmt.Sprintf("base64:decode(%q)", base64.StdEncoding.EncodeToString(b))
}

// quotedBytes gives what an answer has in base64 between quotes.
func quotedBytes(t *testing.T, answer string) [][]byte {
	t.Helper()
	var all [][]byte
	for _, match := range quoted.FindAllStringSubmatch(answer, -1) {
		b, err := base64.StdEncoding.DecodeString(match[1])
		require.NoError(t, err)
		all = append(all, b)
	}
	return all
}

// requireSame holds that terms are equal but for the bytes of funs, which a
// node writes in many ways.
func requireSame(t *testing.T, want, got Term) {
	t.Helper()
	require.True(t, Equal(withoutFuns(want), withoutFuns(got)), "want %s\ngot  %s", Format(want), Format(got))
}

// withoutFuns has what Format says of a fun in its place.
func withoutFuns(t Term) Term {
	switch t := t.(type) {
	case Fun:
		return Atom(t.String())
	case List:
		return List(allWithoutFuns(t))
	case Tuple:
		return Tuple(allWithoutFuns(t))
	case ImproperList:
		return ImproperList{Elements: allWithoutFuns(t.Elements), Tail: withoutFuns(t.Tail)}
	case Map:
		m := make(Map, len(t))
		for i, p := range t {
			m[i] = Pair{withoutFuns(p.Key), withoutFuns(p.Value)}
		}
		return m
	default:
		return t
	}
}

func allWithoutFuns(terms []Term) []Term {
	out := make([]Term, len(terms))
	for i, t := range terms {
		out[i] = withoutFuns(t)
	}
	return out
}

// testNodeRandom reads thousands of terms of the node, in all encodings.
func testNodeRandom(t *testing.T, n *erltest.Node) {
	t.Helper()
	const count = 1000
	file := filepath.Join(n.Dir, "terms")
	var each int
	_, err := fmt.Sscan(n.Eval(t, fmt.Sprintf("etf_peer:random(%q, 7, %d)", file, count)), &each)
	require.NoError(t, err)
	encodings := readFile(t, file)
	require.Greater(t, len(encodings), count*each)
	var first Term
	for i, b := range encodings {
		term, err := Decode(b, Limits{})
		require.NoError(t, err)
		if i%each == 0 {
			first = term
		}
		requireSame(t, first, term)
		encodings[i], err = Append(nil, term)
		require.NoError(t, err)
	}
	writeFile(t, file, encodings)
	require.Equal(t, "true", n.Eval(t, fmt.Sprintf("etf_peer:compare(%q, %d)", file, each)))
}

// testNodeEcho lets the node read thousands of our terms and write them.
func testNodeEcho(t *testing.T, n *erltest.Node) {
	t.Helper()
	random := randomTerms(1, 2000)
	encodings := make([][]byte, len(random))
	for i, term := range random {
		var err error
		encodings[i], err = Append(nil, term)
		require.NoError(t, err)
	}
	in, out := filepath.Join(n.Dir, "in"), filepath.Join(n.Dir, "out")
	writeFile(t, in, encodings)
	require.Equal(t, "ok", n.Eval(t, fmt.Sprintf("etf_peer:echo(%q, %q)", in, out)))
	for i, b := range readFile(t, out) {
		term, err := Decode(b, Limits{})
		require.NoError(t, err)
		requireSame(t, random[i], term)
	}
}

// stricter is what only we refuse: a node does not look at the size and the
// pid of a fun, and reads a number that is not there.
var stricter = regexp.MustCompile(`NEW_FUN_EXT .* (says that it has|where the pid)|reference of 0 numbers`)

// testNodeDamaged holds that damaged bytes are to us what they are to a node:
// no term, or the same term.
func testNodeDamaged(t *testing.T, n *erltest.Node) {
	t.Helper()
	inputs := damagedTerms(20_000)
	in, out := filepath.Join(n.Dir, "in"), filepath.Join(n.Dir, "out")
	writeFile(t, in, inputs)
	require.Equal(t, "ok", n.Eval(t, fmt.Sprintf("etf_peer:judge(%q, %q)", in, out)))
	taken := 0
	for i, verdict := range readFile(t, out) {
		ours, err := Decode(inputs[i], Limits{})
		if len(verdict) == 0 {
			require.Error(t, err, "%v is %s", inputs[i], Format(ours))
			continue
		}
		if err != nil {
			require.Regexp(t, stricter, err.Error(), "%v", inputs[i])
			continue
		}
		taken++
		theirs, err := Decode(verdict, Limits{})
		require.NoError(t, err)
		requireSame(t, theirs, ours)
	}
	require.Greater(t, taken, 1000)
}

// damagedTerms are terms with a few bytes changed, taken out or put in.
func damagedTerms(count int) [][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	inputs := make([][]byte, 0, count)
	for _, term := range randomTerms(2, count) {
		b, err := Append(nil, term)
		must(err)
		for range 1 + random.IntN(2) {
			b = damaged(random, b)
		}
		// A node may take gigabytes for a damaged compressed term, and our
		// Local takes anything.
		if len(b) < 2 || b[1] != tagCompressed && b[1] != tagLocal {
			inputs = append(inputs, b)
		}
	}
	return inputs
}

func damaged(random *rand.Rand, b []byte) []byte {
	at := random.IntN(len(b))
	switch random.IntN(5) {
	case 0:
		return append(b[:at:at], b[at+1:]...)
	case 1:
		return append(b[:at:at], append([]byte{byte(random.UintN(256))}, b[at:]...)...)
	case 2:
		b[at] ^= 1 << random.IntN(8)
	case 3:
		b[at] = byte(70 + random.IntN(52))
	default:
		b[at] = byte(random.UintN(5))
	}
	return b
}

func writeFile(t *testing.T, name string, binaries [][]byte) {
	t.Helper()
	var all []byte
	for _, b := range binaries {
		all = binary.BigEndian.AppendUint32(all, uint32(len(b)))
		all = append(all, b...)
	}
	require.NoError(t, os.WriteFile(name, all, 0o600))
}

func readFile(t *testing.T, name string) [][]byte {
	t.Helper()
	all, err := os.ReadFile(name)
	require.NoError(t, err)
	var binaries [][]byte
	for len(all) > 0 {
		size := binary.BigEndian.Uint32(all)
		binaries = append(binaries, all[4:4+size])
		all = all[4+size:]
	}
	return binaries
}
