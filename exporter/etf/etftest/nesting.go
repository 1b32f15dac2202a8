package etftest

// deep is a depth that ends every recursion on a stack of a gigabyte; shallow
// fits the byte limits of a decoder, so that its depth limit is what counts.
const (
	deep    = 20_000_000
	shallow = 1_000_000
)

// nested repeats an opening, with something innermost.
func nested(name string, n int, inner []byte, parts ...any) Case {
	return Case{Name: name, make: func() []byte {
		unit := join(parts...)
		b := make([]byte, 1+n*len(unit)+len(inner))
		b[0] = version
		openings := b[1 : 1+n*len(unit)]
		for done := copy(openings, unit); done < len(openings); done *= 2 {
			copy(openings[done:], openings[:done])
		}
		copy(b[1+len(openings):], inner)
		return b
	}}
}

// nesting goes down in every kind of term that holds others.
func nesting() []Case {
	end := join(106)
	fun := join(112, huge, 0, make([]byte, 16), uint32(0), uint32(1), node, 97, 0, 97, 0, pid)
	return []Case{
		nested("nesting/tuples", shallow, end, 104, 1),
		nested("nesting/large tuples", shallow, end, 105, uint32(1)),
		nested("nesting/lists", shallow, end, 108, uint32(1)),
		nested("nesting/lists without end", shallow, nil, 108, uint32(1)),
		nested("nesting/improper tails", shallow, end, 108, uint32(1), 97, 1, 104, 1),
		nested("nesting/lists without elements", shallow, nil, 108, uint32(0)),
		nested("nesting/lists without elements in tuples", shallow, end, 108, uint32(0), 104, 1),
		nested("nesting/map keys", shallow, end, 116, uint32(1)),
		nested("nesting/map values", shallow, end, 116, uint32(1), 97, 1),
		nested("nesting/funs", shallow/50, end, fun),
		nested("nesting/old funs", shallow/50, end, 117, uint32(1), pid, node, 97, 0, 97, 0),
		nested("nesting/mixed", shallow, end, 104, 1, 108, uint32(1), 116, uint32(1), 97, 1),
		nested("nesting/20M tuples", deep, end, 104, 1),
		nested("nesting/20M lists", deep, end, 108, uint32(1)),
		nested("nesting/20M tails", deep, end, 108, uint32(1), 97, 1),
		nested("nesting/compressed", shallow, end, 80, uint32(1)),
		nested("nesting/private encoding", shallow, end, 104, 1, 121),
	}
}
