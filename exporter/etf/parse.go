package etf

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of Parse.
const (
	maxParse      = 1 << 20
	maxParseDepth = 512
)

// SyntaxError says where a text stops being an Erlang term.
type SyntaxError struct {
	// Line and Column count from 1; columns are characters.
	Line, Column int
	Message      string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// Parse reads the text of one Erlang term, as erl_parse:parse_term/1 does: an
// atom, a number in any notation, a string, a binary, a list, a tuple, a map, or
// fun M:F/A; a comment goes from % to the end of the line. Pids, ports,
// references and other funs have no notation. Text of more than 1 MiB and terms
// nested more than 512 levels are refused. Errors are *SyntaxError.
func Parse(text string) (Term, error) {
	terms, err := ParseList(text)
	if err == nil && len(terms) != 1 {
		err = &SyntaxError{1, 1, fmt.Sprintf("one term is expected here, and there are %d", len(terms))}
	}
	if err != nil {
		return nil, err
	}
	return terms[0], nil
}

// ParseList reads terms with commas between them; there may be none. It is
// Parse otherwise.
func ParseList(text string) ([]Term, error) {
	p, err := newParser(text)
	if err != nil {
		return nil, err
	}
	terms := []Term{}
	if p.skip(); !p.done() {
		terms, err = p.sequence("")
	}
	if err == nil {
		err = p.end()
	}
	return terms, err
}

// ParseCall reads a call, module:function(Arguments), or the name of a function,
// module:function/Arity; arguments are nil then. It is Parse otherwise.
func ParseCall(text string) (module, function Atom, arity int, arguments []Term, err error) {
	p, err := newParser(text)
	if err != nil {
		return "", "", 0, nil, err
	}
	if module, function, err = p.name(); err != nil {
		return "", "", 0, nil, err
	}
	switch {
	case p.accept("/"):
		arity, err = p.arity()
	case p.accept("("):
		arguments, err = p.sequence(")")
		arity = len(arguments)
	default:
		err = p.fail("( with arguments, or / with their number, is expected")
	}
	if err == nil {
		err = p.end()
	}
	return module, function, arity, arguments, err
}

// parser reads text from pos on.
type parser struct {
	text  string
	pos   int
	depth int
}

func newParser(text string) (*parser, error) {
	switch {
	case len(text) > maxParse:
		return nil, &SyntaxError{1, 1, fmt.Sprintf("the text has %d bytes, and at most %d are read", len(text), maxParse)}
	case !utf8.ValidString(text):
		return nil, &SyntaxError{1, 1, "the text is not UTF-8"}
	}
	return &parser{text: text}, nil
}

func (p *parser) fail(format string, args ...any) error { return p.failAt(p.pos, format, args...) }

func (p *parser) failAt(pos int, format string, args ...any) error {
	before := p.text[:pos]
	line := strings.Count(before, "\n")
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	message := fmt.Sprintf(format, args...)
	if pos < len(p.text) {
		r, _ := utf8.DecodeRuneInString(p.text[pos:])
		message += fmt.Sprintf(", not %q", string(r))
	} else {
		message += " before the end"
	}
	return &SyntaxError{line + 1, column + 1, message}
}

func (p *parser) done() bool { return p.pos >= len(p.text) }

// skip passes white space and comments.
func (p *parser) skip() {
	for !p.done() {
		switch c := p.text[p.pos]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			p.pos++
		case c == '%':
			end := strings.IndexByte(p.text[p.pos:], '\n')
			if end < 0 {
				end = len(p.text) - p.pos
			}
			p.pos += end
		default:
			return
		}
	}
}

// accept passes a token if it is next.
func (p *parser) accept(token string) bool {
	p.skip()
	if strings.HasPrefix(p.text[p.pos:], token) {
		p.pos += len(token)
		return true
	}
	return false
}

func (p *parser) expect(token string) error {
	if !p.accept(token) {
		return p.fail("%s is expected", token)
	}
	return nil
}

// end accepts the full stop that ends a term in a file.
func (p *parser) end() error {
	p.accept(".")
	if p.skip(); !p.done() {
		return p.fail("the end is expected")
	}
	return nil
}

// sequence reads terms up to a token, which is passed, or to the end of the text
// where it is "".
func (p *parser) sequence(closing string) ([]Term, error) {
	terms := []Term{}
	if closing != "" && p.accept(closing) {
		return terms, nil
	}
	for {
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		terms = append(terms, t)
		if p.accept(",") {
			continue
		}
		if closing == "" {
			return terms, nil
		}
		if !p.accept(closing) {
			return nil, p.fail(", or %s is expected", closing)
		}
		return terms, nil
	}
}

func (p *parser) term() (Term, error) {
	if p.depth++; p.depth > maxParseDepth {
		return nil, p.fail("at most %d levels can be nested", maxParseDepth)
	}
	defer func() { p.depth-- }()
	p.skip()
	if p.done() {
		return nil, p.fail("a term is expected")
	}
	switch c := p.text[p.pos]; {
	case c == '\'' || c >= 'a' && c <= 'z' || c >= utf8.RuneSelf:
		return p.atomOrFun()
	case c >= '0' && c <= '9' || c == '-' || c == '+' || c == '$':
		return p.number()
	case c == '"':
		return p.string()
	case strings.HasPrefix(p.text[p.pos:], "<<"):
		p.pos += 2
		return p.binary()
	}
	switch {
	case p.accept("["):
		return p.list()
	case p.accept("{"):
		terms, err := p.sequence("}")
		return Tuple(terms), err
	case p.accept("#{"):
		return p.mapping()
	}
	return nil, p.noTerm()
}

// noTerm says why what comes next is no term.
func (p *parser) noTerm() error {
	switch c := p.text[p.pos]; {
	case c == '<':
		return p.fail("a pid cannot be written; a term is expected")
	case c == '_' || c >= 'A' && c <= 'Z':
		return p.fail("a variable has no value here; a term is expected")
	}
	return p.fail("a term is expected")
}

func (p *parser) list() (Term, error) {
	if p.accept("]") {
		return List{}, nil
	}
	var elements []Term
	for {
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		elements = append(elements, t)
		switch {
		case p.accept(","):
		case p.accept("]"):
			return List(elements), nil
		case p.accept("|"):
			tail, err := p.term()
			if err == nil {
				err = p.expect("]")
			}
			return join(elements, tail), err
		default:
			return nil, p.fail(", or | or ] is expected")
		}
	}
}

// join makes a list of elements and a tail.
func join(elements []Term, tail Term) Term {
	switch tail := tail.(type) {
	case ImproperList:
		return ImproperList{append(elements, tail.Elements...), tail.Tail}
	default:
		if l, ok := AsList(tail); ok {
			return List(append(elements, l...))
		}
		return ImproperList{elements, tail}
	}
}

func (p *parser) mapping() (Term, error) {
	m := Map{}
	if p.accept("}") {
		return m, nil
	}
	for {
		p.skip()
		start := p.pos
		key, err := p.term()
		if err != nil {
			return nil, err
		}
		if _, twice := MapGet(m, key); twice {
			return nil, p.failAt(start, "the key %s is there twice", Format(key))
		}
		if err := p.expect("=>"); err != nil {
			return nil, err
		}
		value, err := p.term()
		if err != nil {
			return nil, err
		}
		m = append(m, Pair{key, value})
		switch {
		case p.accept(","):
		case p.accept("}"):
			return m, nil
		default:
			return nil, p.fail(", or } is expected")
		}
	}
}

// name reads module:function.
func (p *parser) name() (module, function Atom, err error) {
	if module, err = p.atom(); err != nil {
		return "", "", err
	}
	if err = p.expect(":"); err != nil {
		return "", "", err
	}
	function, err = p.atom()
	return module, function, err
}

func (p *parser) arity() (int, error) {
	p.skip()
	start := p.pos
	n, err := strconv.ParseUint(p.digits(10), 10, 8)
	if err != nil {
		return 0, p.failAt(start, "a number from 0 to 255 is expected")
	}
	return int(n), nil
}

func (p *parser) atomOrFun() (Term, error) {
	start := p.pos
	a, err := p.atom()
	if err == nil {
		return a, nil
	}
	p.pos = start
	if p.word() != "fun" {
		return nil, err
	}
	module, function, err := p.name()
	if err != nil {
		return nil, err
	}
	if err := p.expect("/"); err != nil {
		return nil, err
	}
	n, err := p.arity()
	return Export{module, function, uint8(n)}, err
}

// word passes letters, digits, _ and @.
func (p *parser) word() string {
	start := p.pos
	for p.pos < len(p.text) {
		r, size := utf8.DecodeRuneInString(p.text[p.pos:])
		if !wordRune(r) {
			break
		}
		p.pos += size
	}
	return p.text[start:p.pos]
}

// wordRune is that of names in Erlang: letters of Latin-1 too.
func wordRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '@' ||
		r >= 'À' && r <= 'ÿ' && r != '×' && r != '÷'
}

func (p *parser) atom() (Atom, error) {
	p.skip()
	start := p.pos
	if p.done() {
		return "", p.fail("an atom is expected")
	}
	var text string
	if p.text[p.pos] == '\'' {
		p.pos++
		chars, err := p.quoted('\'')
		if err != nil {
			return "", err
		}
		text = string(chars)
	} else {
		first, _ := utf8.DecodeRuneInString(p.text[p.pos:])
		if first < 'a' || first > 'z' && first < 'ß' || first > 'ÿ' || first == '÷' {
			return "", p.fail("an atom is expected")
		}
		if text = p.word(); !isBare(text) && first < utf8.RuneSelf && isReserved(text) {
			return "", p.failAt(start, "%s is a reserved word and needs quotes to be an atom", text)
		}
	}
	if utf8.RuneCountInString(text) > maxAtomChars {
		return "", p.failAt(start, "an atom has at most %d characters", maxAtomChars)
	}
	return Atom(text), nil
}

// digits passes digits of a base, with single _ between them, and returns them
// without.
func (p *parser) digits(base int) string {
	var b strings.Builder
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		if c == '_' && b.Len() > 0 && p.pos+1 < len(p.text) && digit(p.text[p.pos+1]) < base {
			p.pos++
			continue
		}
		if digit(c) >= base {
			break
		}
		b.WriteByte(c)
		p.pos++
	}
	return b.String()
}

func digit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'Z':
		return int(c-'A') + 10
	}
	return 99
}

// maxDigits bounds a number: reading it takes more than linear time.
const maxDigits = 10_000

func (p *parser) number() (Term, error) {
	negative := false
	switch p.text[p.pos] {
	case '-':
		negative = true
		p.pos++
	case '+':
		p.pos++
	}
	p.skip()
	start := p.pos
	if p.accept("$") {
		r, err := p.character()
		if negative {
			r = -r
		}
		return int64(r), err
	}
	whole := p.digits(10)
	switch {
	case whole == "":
		return nil, p.fail("a number is expected")
	case len(whole) > maxDigits:
		return nil, p.failAt(start, "a number has at most %d digits", maxDigits)
	case p.pos+1 < len(p.text) && p.text[p.pos] == '.' && digit(p.text[p.pos+1]) < 10:
		return p.float(start, whole, negative)
	}
	base := 10
	if p.pos < len(p.text) && p.text[p.pos] == '#' {
		n, err := strconv.Atoi(whole)
		if err != nil || n < 2 || n > 36 {
			return nil, p.failAt(start, "the base of a number is from 2 to 36")
		}
		p.pos++
		base = n
		if whole = p.digits(base); whole == "" || len(whole) > maxDigits {
			return nil, p.fail("1 to %d digits of base %d are expected", maxDigits, base)
		}
	}
	n, ok := new(big.Int).SetString(whole, base)
	if !ok { // they are digits
		return nil, p.failAt(start, "a number is expected")
	}
	if negative {
		n.Neg(n)
	}
	return smallest(n), nil
}

func (p *parser) float(start int, whole string, negative bool) (Term, error) {
	p.pos++
	text := whole + "." + p.digits(10)
	if rest := p.text[p.pos:]; rest != "" && (rest[0] == 'e' || rest[0] == 'E') {
		p.pos++
		sign := ""
		if p.pos < len(p.text) && (p.text[p.pos] == '-' || p.text[p.pos] == '+') {
			sign = p.text[p.pos : p.pos+1]
			p.pos++
		}
		exponent := p.digits(10)
		if exponent == "" {
			return nil, p.fail("the digits of the exponent are expected")
		}
		text += "e" + sign + exponent
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, p.failAt(start, "the number is no float")
	}
	if negative {
		f = -f
	}
	return f, nil
}

// string reads one or more strings that follow each other.
func (p *parser) string() (Term, error) {
	var all []rune
	for p.accept(`"`) {
		chars, err := p.quoted('"')
		if err != nil {
			return nil, err
		}
		all = append(all, chars...)
	}
	l := make(List, len(all))
	for i, r := range all {
		l[i] = int64(r)
	}
	return l, nil
}

// binary reads what follows <<: bytes, and strings with or without /utf8.
func (p *parser) binary() (Term, error) {
	out := []byte{}
	if p.accept(">>") {
		return out, nil
	}
	for {
		var err error
		if out, err = p.segment(out); err != nil {
			return nil, err
		}
		switch {
		case p.accept(","):
		case p.accept(">>"):
			return out, nil
		default:
			return nil, p.fail(", or >> is expected")
		}
	}
}

func (p *parser) segment(out []byte) ([]byte, error) {
	p.skip()
	start := p.pos
	if p.accept(`"`) {
		chars, err := p.quoted('"')
		if err != nil {
			return nil, err
		}
		if p.accept("/utf8") {
			return append(out, string(chars)...), nil
		}
		for _, r := range chars {
			if r > 255 {
				return nil, p.failAt(start, "the string has characters beyond 255 and needs /utf8")
			}
			out = append(out, byte(r))
		}
		return out, nil
	}
	if p.done() || digit(p.text[p.pos]) >= 10 && !strings.ContainsRune("-+$", rune(p.text[p.pos])) {
		return nil, p.fail("a byte or a string is expected")
	}
	t, err := p.number()
	if err != nil {
		return nil, err
	}
	n, ok := t.(int64)
	if !ok || n < -255 || n > 255 {
		return nil, p.failAt(start, "a byte is from 0 to 255")
	}
	return append(out, byte(n)), nil
}

// quoted reads up to the closing quote.
func (p *parser) quoted(quote byte) ([]rune, error) {
	start := p.pos - 1
	var chars []rune
	for {
		if p.done() {
			return nil, p.failAt(start, "the closing %c is missing", quote)
		}
		if p.text[p.pos] == quote {
			p.pos++
			return chars, nil
		}
		r, err := p.character()
		if err != nil {
			return nil, err
		}
		chars = append(chars, r)
	}
}

var escapes = map[rune]rune{'b': '\b', 'd': 127, 'e': 27, 'f': '\f', 'n': '\n', 'r': '\r', 's': ' ', 't': '\t', 'v': '\v'}

// character reads a character, or an escape for one.
func (p *parser) character() (rune, error) {
	if p.done() {
		return 0, p.fail("a character is expected")
	}
	r, size := utf8.DecodeRuneInString(p.text[p.pos:])
	p.pos += size
	if r != '\\' {
		return r, nil
	}
	if p.done() {
		return 0, p.fail("a character is expected")
	}
	start := p.pos
	r, size = utf8.DecodeRuneInString(p.text[p.pos:])
	p.pos += size
	switch {
	case r >= '0' && r <= '7':
		p.pos = start
		end := start
		for end < len(p.text) && end < start+3 && p.text[end] >= '0' && p.text[end] <= '7' {
			end++
		}
		p.pos = end
		n, _ := strconv.ParseUint(p.text[start:end], 8, 16) // digits, and few
		return rune(n), nil
	case r == 'x':
		return p.hexadecimal(start)
	case r == '^' && !p.done():
		c := p.text[p.pos]
		p.pos++
		return rune(c & 31), nil
	}
	if escaped, ok := escapes[r]; ok {
		return escaped, nil
	}
	return r, nil
}

func (p *parser) hexadecimal(start int) (rune, error) {
	var digits string
	if p.pos < len(p.text) && p.text[p.pos] == '{' {
		end := strings.IndexByte(p.text[p.pos:], '}')
		if end < 0 {
			return 0, p.failAt(start, "} is missing after \\x{")
		}
		digits = p.text[p.pos+1 : p.pos+end]
		p.pos += end + 1
	} else {
		digits = p.text[p.pos:min(p.pos+2, len(p.text))]
		p.pos += len(digits)
	}
	n, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || n > utf8.MaxRune || !utf8.ValidRune(rune(n)) {
		return 0, p.failAt(start, "\\x needs two hexadecimal digits, or some in braces that are a character")
	}
	return rune(n), nil
}
