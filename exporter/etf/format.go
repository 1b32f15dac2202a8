package etf

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxFormat is the greatest length of what Format returns, in bytes, but for
// the three dots.
const maxFormat = 4096

// Format prints t in Erlang syntax on one line, for messages and logs.
// Control characters are escaped. What goes beyond 4096 bytes is cut, and
// "..." says so. Identifiers have the node's name where Erlang prints a
// number that means something on one node only: <rabbit@host.85.0>,
// #Port<rabbit@host.5>, #Ref<rabbit@host.4.3.2.1>.
func Format(t Term) string { return FormatLimit(t, maxFormat) }

// FormatLimit is Format with another limit than 4096 bytes; one that is smaller
// counts as that.
func FormatLimit(t Term, limit int) string {
	p := printer{most: max(limit, maxFormat)}
	p.term(t)
	if p.full() {
		cut := p.most
		for cut > 0 && !utf8.RuneStart(p.out[cut]) {
			cut--
		}
		return string(p.out[:cut]) + "..."
	}
	return string(p.out)
}

// String is [Format].
func (p Pid) String() string { return Format(p) }

// String is [Format].
func (p Port) String() string { return Format(p) }

// String is [Format].
func (r Ref) String() string { return Format(r) }

// printer collects output until it is full. Every nested term writes a byte
// before it goes deeper, so that depth is bounded by length.
type printer struct {
	out  []byte
	most int
}

func (p *printer) full() bool { return len(p.out) > p.most }

func (p *printer) write(s string) {
	if !p.full() {
		p.out = append(p.out, s...)
	}
}

func (p *printer) term(t Term) {
	switch t := t.(type) {
	case Atom:
		p.atom(t)
	case int64:
		p.write(strconv.FormatInt(t, 10))
	case *big.Int:
		p.big(t)
	case float64:
		p.write(formatFloat(t))
	case []byte:
		p.binary(t)
	case BitString:
		p.bitString(t)
	case bool, int, uint64:
		p.write(fmt.Sprint(t))
	default:
		p.compound(t)
	}
}

func (p *printer) compound(t Term) {
	switch t := t.(type) {
	case String:
		p.string(t)
	case List:
		p.list(t)
	case ImproperList:
		p.write("[")
		p.sequence(t.Elements)
		p.write("|")
		p.term(t.Tail)
		p.write("]")
	case Tuple:
		p.write("{")
		p.sequence(t)
		p.write("}")
	case Map:
		p.mapping(t)
	default:
		p.identifier(t)
	}
}

func (p *printer) identifier(t Term) {
	switch t := t.(type) {
	case Pid:
		p.write(fmt.Sprintf("<%s.%d.%d>", unquoted(t.Node), t.ID, t.Serial))
	case Port:
		p.write(fmt.Sprintf("#Port<%s.%d>", unquoted(t.Node), t.ID))
	case Ref:
		p.write("#Ref<" + unquoted(t.Node))
		for _, id := range slices.Backward(t.IDs) {
			p.write(fmt.Sprintf(".%d", id))
		}
		p.write(">")
	case Export:
		p.write("fun ")
		p.atom(t.Module)
		p.write(":")
		p.atom(t.Function)
		p.write("/" + strconv.Itoa(int(t.Arity)))
	case Fun:
		p.write(t.String())
	case Local:
		p.write(fmt.Sprintf("#Local<%d bytes>", len(t.raw)))
	default:
		p.write(fmt.Sprintf("#Go<%T>", t))
	}
}

// unquoted is the name of a node or module as it is known.
func unquoted(a Atom) string {
	p := printer{most: maxFormat}
	p.escaped(string(a), '>')
	return string(p.out)
}

// String is the fun as Erlang prints it, #Fun<Module.Index.Hash>; funs of the
// oldest form are #Fun<>.
func (f Fun) String() string {
	if f.raw == "" || f.raw[0] != tagNewFun {
		return "#Fun<>"
	}
	// The bytes were decoded once, so that these budgets are enough.
	d := decoder{in: []byte(f.raw), pos: 1, elements: len(f.raw), depth: MaxDepth}
	h, err := d.newFun()
	if err != nil {
		return "#Fun<>"
	}
	return fmt.Sprintf("#Fun<%s.%d.%d>", unquoted(h.module), h.index, h.unique)
}

func (p *printer) atom(a Atom) {
	if isBare(string(a)) {
		p.write(string(a))
		return
	}
	p.write("'")
	p.escaped(string(a), '\'')
	p.write("'")
}

var reserved = strings.Fields(`after and andalso band begin bnot bor bsl bsr
	bxor case catch cond div else end fun if let maybe not of or orelse receive
	rem try when xor`)

func isReserved(s string) bool { return slices.Contains(reserved, s) }

// isBare says whether an atom needs no quotes.
func isBare(s string) bool {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	odd := func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '@')
	}
	return !strings.ContainsFunc(s, odd) && !isReserved(s)
}

// escaped writes text so that it can stand between quotes.
func (p *printer) escaped(s string, quote rune) {
	for _, c := range s {
		if p.full() {
			return
		}
		switch {
		case c == quote || c == '\\':
			p.out = append(p.out, '\\', byte(c))
		case c == '\n':
			p.write(`\n`)
		case c == '\t':
			p.write(`\t`)
		case c == '\r':
			p.write(`\r`)
		case unicode.IsPrint(c):
			p.out = utf8.AppendRune(p.out, c)
		default:
			p.write(fmt.Sprintf(`\x{%X}`, c))
		}
	}
}

// big writes decimal digits, or hexadecimal ones when the number has more
// than Format shows: converting to decimal takes more than linear time.
func (p *printer) big(n *big.Int) {
	const maxBits = 4 * (maxFormat + 1)
	if n == nil {
		p.write("#Go<nil>")
		return
	}
	if n.BitLen() <= maxBits {
		p.write(n.String())
		return
	}
	if n.Sign() < 0 {
		p.write("-")
	}
	// Cutting at a whole digit leaves the digits before it as they are.
	below := uint(n.BitLen()-maxBits+3) / 4 * 4
	top := new(big.Int).Rsh(new(big.Int).Abs(n), below)
	p.write("16#" + strings.ToUpper(top.Text(16)))
}

// formatFloat is the shortest text that reads as f. Erlang wants a digit on
// both sides of the point, with an exponent too.
func formatFloat(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	mantissa, exponent, scientific := strings.Cut(s, "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	if !scientific {
		return mantissa
	}
	// Go pads the exponent to two digits and signs it.
	sign := ""
	if exponent[0] == '-' {
		sign = "-"
	}
	return mantissa + "e" + sign + strings.TrimLeft(exponent, "+-0")
}

func (p *printer) binary(b []byte) {
	shown := head(b, p.most)
	if len(b) > 0 && utf8.Valid(shown) && isText(string(shown)) {
		p.write(`<<"`)
		p.escaped(string(shown), '"')
		p.write(`"`)
		if !isASCII(shown) {
			p.write("/utf8")
		}
		p.write(">>")
	} else {
		p.write("<<")
		p.bytes(b)
		p.write(">>")
	}
}

// head is as much of b as can be shown, without half a character at its end.
func head(b []byte, most int) []byte {
	if len(b) <= most+utf8.UTFMax {
		return b
	}
	b = b[:most+utf8.UTFMax]
	for i := 1; i < utf8.UTFMax; i++ {
		if last := b[len(b)-i:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}

// isText says whether all of s is printable or white space.
func isText(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return !isTextRune(c) })
}

func isTextRune(c rune) bool {
	return unicode.IsPrint(c) || c == '\n' || c == '\t' || c == '\r'
}

func (p *printer) bytes(b []byte) {
	for i, c := range b {
		if p.full() {
			return
		}
		if i > 0 {
			p.write(",")
		}
		p.write(strconv.Itoa(int(c)))
	}
}

func (p *printer) bitString(b BitString) {
	if b.Bits < 1 || b.Bits > 7 || len(b.Bytes) == 0 {
		p.write("#Go<etf.BitString>")
		return
	}
	last := len(b.Bytes) - 1
	p.write("<<")
	p.bytes(b.Bytes[:last])
	if last > 0 {
		p.write(",")
	}
	p.write(fmt.Sprintf("%d:%d>>", b.Bytes[last]>>(8-b.Bits), b.Bits))
}

func (p *printer) string(s String) {
	shown := s[:min(len(s), p.most+1)]
	if text := latin1(shown); len(s) > 0 && isText(text) {
		p.write(`"`)
		p.escaped(text, '"')
		p.write(`"`)
		return
	}
	p.write("[")
	p.bytes(shown)
	p.write("]")
}

func (p *printer) list(l List) {
	if text, ok := characters(l[:min(len(l), p.most+1)]); ok {
		p.write(`"`)
		p.escaped(text, '"')
		p.write(`"`)
		return
	}
	p.write("[")
	p.sequence(l)
	p.write("]")
}

// characters gives the text that a list of characters is.
func characters(l List) (string, bool) {
	var s strings.Builder
	for _, t := range l {
		c, ok := t.(int64)
		if !ok || c > utf8.MaxRune || !isTextRune(rune(c)) {
			return "", false
		}
		s.WriteRune(rune(c))
	}
	return s.String(), len(l) > 0
}

func (p *printer) sequence(terms []Term) {
	for i, t := range terms {
		if p.full() {
			return
		}
		if i > 0 {
			p.write(",")
		}
		p.term(t)
	}
}

func (p *printer) mapping(m Map) {
	p.write("#{")
	for i, pair := range m {
		if p.full() {
			return
		}
		if i > 0 {
			p.write(",")
		}
		p.term(pair.Key)
		p.write(" => ")
		p.term(pair.Value)
	}
	p.write("}")
}
