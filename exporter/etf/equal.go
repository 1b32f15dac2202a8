package etf

import (
	"bytes"
	"math"
	"math/big"
	"slices"
)

// Equal is Erlang's =:=. 1 and 1.0 differ, and so do 0.0 and -0.0 (as since
// release 27); a String is equal to the list of the same integers, and the
// order of maps does not matter. Funs are equal when their bytes are, of which
// a node may write several for one fun. The Go types that only [Append] takes
// are equal to what they are written as. Terms nested deeper than MaxDepth,
// and what is no Term, are equal to nothing.
func Equal(a, b Term) bool { return equal(a, b, MaxDepth) }

func equal(a, b Term, depth int) bool {
	if depth < 0 {
		return false
	}
	a, b = normal(a), normal(b)
	if s, ok := b.(String); ok {
		return equalString(s, a)
	}
	switch a := a.(type) {
	case String:
		return equalString(a, b)
	case List:
		b, ok := b.(List)
		return ok && equalAll(a, b, depth)
	case ImproperList:
		b, ok := b.(ImproperList)
		return ok && equalAll(a.Elements, b.Elements, depth) && equal(a.Tail, b.Tail, depth-1)
	case Tuple:
		b, ok := b.(Tuple)
		return ok && equalAll(a, b, depth)
	case Map:
		b, ok := b.(Map)
		return ok && equalMaps(a, b, depth)
	default:
		return equalLeaves(a, b)
	}
}

// equalLeaves compares terms that hold no others. The types that can be
// compared with == are listed, because it panics for some that are no Term.
func equalLeaves(a, b Term) bool {
	switch a := a.(type) {
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b)
	case BitString:
		b, ok := b.(BitString)
		return ok && equalBits(a, b)
	case *big.Int:
		b, ok := b.(*big.Int)
		return ok && a != nil && b != nil && a.Cmp(b) == 0
	case Atom, int64, Pid, Port, Export, Fun, Local:
		return a == b
	case float64:
		b, ok := b.(float64)
		return ok && math.Float64bits(a) == math.Float64bits(b)
	case Ref:
		b, ok := b.(Ref)
		return ok && a.Node == b.Node && a.Creation == b.Creation && slices.Equal(a.IDs, b.IDs)
	default:
		return false
	}
}

// equalString compares s with a term in normal form.
func equalString(s String, t Term) bool {
	switch t := t.(type) {
	case String:
		return bytes.Equal(s, t)
	case List:
		same := func(c byte, element Term) bool { return normal(element) == Term(int64(c)) }
		return slices.EqualFunc(s, t, same)
	default:
		return false
	}
}

// normal gives the one form, of those that t can have, that terms are
// compared in. A String stays as it is.
func normal(t Term) Term {
	switch t := t.(type) {
	case bool:
		return boolAtom(t)
	case int:
		return int64(t)
	case uint64:
		if t <= math.MaxInt64 {
			return int64(t)
		}
		return new(big.Int).SetUint64(t)
	case *big.Int:
		if t != nil {
			return smallest(t)
		}
	case ImproperList:
		return joinTails(t)
	}
	return t
}

// joinTails makes one list of a list whose tail is a list.
func joinTails(l ImproperList) Term {
	elems := l.Elements
	for {
		var more []Term
		switch tail := l.Tail.(type) {
		case List:
			return slices.Concat(elems, tail)
		case String:
			return slices.Concat(elems, tail.list())
		case ImproperList:
			l, more = tail, tail.Elements
		default:
			if len(elems) == 0 {
				return normal(l.Tail)
			}
			return ImproperList{Elements: elems, Tail: l.Tail}
		}
		elems = append(slices.Clip(elems), more...)
	}
}

func equalAll(a, b []Term, depth int) bool {
	return slices.EqualFunc(a, b, func(a, b Term) bool { return equal(a, b, depth-1) })
}

func equalBits(a, b BitString) bool {
	if a.Bits != b.Bits || a.Bits < 1 || a.Bits > 7 {
		return false
	}
	if len(a.Bytes) != len(b.Bytes) || len(a.Bytes) == 0 {
		return false
	}
	last := len(a.Bytes) - 1
	return bytes.Equal(a.Bytes[:last], b.Bytes[:last]) && (a.Bytes[last]^b.Bytes[last])>>(8-a.Bits) == 0
}

// equalMaps expects the keys in the same order, as two readings of one map
// have them, and looks them up otherwise.
func equalMaps(a, b Map, depth int) bool {
	if len(a) != len(b) {
		return false
	}
	sameKey := func(a, b Pair) bool { return equal(a.Key, b.Key, depth-1) }
	if slices.EqualFunc(a, b, sameKey) {
		return slices.EqualFunc(a, b, func(a, b Pair) bool { return equal(a.Value, b.Value, depth-1) })
	}
	values := make(map[string]Term, len(a))
	for _, p := range a {
		if id, ok := identity(p.Key, depth-1); ok {
			values[id] = p.Value
		}
	}
	if len(values) != len(a) {
		return false
	}
	for _, p := range b {
		id, _ := identity(p.Key, depth-1)
		v, ok := values[id]
		if !ok || !equal(v, p.Value, depth-1) {
			return false
		}
		delete(values, id)
	}
	return true
}

// identity gives bytes that are the same for equal terms, and only for them.
func identity(t Term, depth int) (string, bool) {
	b, err := Append(nil, sorted(t, depth))
	return string(b), err == nil
}

// sorted is t in normal form with its maps in a fixed order. What is nested
// deeper than depth is left as it is: it cannot be written anyway.
func sorted(t Term, depth int) Term {
	if depth < 0 {
		return t
	}
	switch t := normal(t).(type) {
	case String:
		return t.list()
	case List:
		return List(sortedAll(t, depth))
	case ImproperList:
		return ImproperList{Elements: sortedAll(t.Elements, depth), Tail: sorted(t.Tail, depth-1)}
	case Tuple:
		return Tuple(sortedAll(t, depth))
	case Map:
		return sortedMap(t, depth)
	default:
		return t
	}
}

func sortedAll(terms []Term, depth int) []Term {
	out := make([]Term, len(terms))
	for i, t := range terms {
		out[i] = sorted(t, depth-1)
	}
	return out
}

func sortedMap(m Map, depth int) Map {
	type entry struct {
		id   []byte
		pair Pair
	}
	entries := make([]entry, len(m))
	for i, p := range m {
		p = Pair{Key: sorted(p.Key, depth-1), Value: sorted(p.Value, depth-1)}
		id, err := Append(nil, p.Key)
		if err != nil {
			return m
		}
		entries[i] = entry{id, p}
	}
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.id, b.id) })
	out := make(Map, len(m))
	for i, e := range entries {
		out[i] = e.pair
	}
	return out
}
