package etf

import (
	"strings"
	"unicode/utf8"
)

// AsString gives the text that t holds: an atom's name, a binary in UTF-8 or
// else Latin-1, a string, or a list of characters, binaries and such lists
// (unicode:chardata()). It says false for anything else.
func AsString(t Term) (string, bool) {
	if a, ok := t.(Atom); ok {
		return string(a), true
	}
	var s strings.Builder
	if !writeChars(&s, t, MaxDepth) {
		return "", false
	}
	return s.String(), true
}

func writeChars(s *strings.Builder, t Term, depth int) bool {
	switch t := t.(type) {
	case []byte:
		s.WriteString(text(t))
		return true
	case String:
		s.WriteString(latin1(t))
		return true
	case List:
		return writeCharList(s, t, depth)
	case ImproperList:
		// The tail of chardata may be a binary.
		_, ok := t.Tail.([]byte)
		return ok && writeCharList(s, t.Elements, depth) && writeChars(s, t.Tail, depth)
	default:
		return false
	}
}

func writeCharList(s *strings.Builder, l []Term, depth int) bool {
	if depth == 0 {
		return false
	}
	for _, t := range l {
		c, ok := t.(int64)
		if !ok {
			if !writeChars(s, t, depth-1) {
				return false
			}
			continue
		}
		if c < 0 || c > utf8.MaxRune || !utf8.ValidRune(rune(c)) {
			return false
		}
		s.WriteRune(rune(c))
	}
	return true
}

// text reads b as UTF-8 if it is that, else as Latin-1.
func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return latin1(b)
}

// AsList gives the elements of a proper list, in whichever form the node sent
// it. They must not be changed.
func AsList(t Term) ([]Term, bool) {
	switch t := t.(type) {
	case List:
		return t, true
	case String:
		return t.list(), true
	default:
		return nil, false
	}
}

func (s String) list() List {
	l := make(List, len(s))
	for i, c := range s {
		l[i] = int64(c)
	}
	return l
}

// MapGet is maps:find/2: the value of key in t, and whether t is a map that
// has it. It takes time in proportion to the map.
func MapGet(t, key Term) (Term, bool) {
	m, _ := t.(Map)
	for _, p := range m {
		if Equal(p.Key, key) {
			return p.Value, true
		}
	}
	return nil, false
}

// ProplistGet is proplists:lookup/2 on the list t: the value of the first
// entry {Key, Value}, or true for an entry that is the bare Key.
func ProplistGet(t Term, key Atom) (Term, bool) {
	l, _ := t.(List)
	for _, entry := range l {
		switch entry := entry.(type) {
		case Atom:
			if entry == key {
				return Atom("true"), true
			}
		case Tuple:
			if len(entry) == 2 && entry[0] == Term(key) {
				return entry[1], true
			}
		}
	}
	return nil, false
}
