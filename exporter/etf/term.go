package etf

import "math/big"

// Term is an Erlang term. [Decode] gives exactly these types, and [Append]
// takes them:
//
//	Atom             atom, true and false included
//	int64            integer that fits
//	*big.Int         integer that does not fit int64
//	float64          float, never NaN or infinite
//	[]byte           binary
//	BitString        binary whose last byte is used in part
//	String           list of bytes that the wire holds as a string
//	List             proper list, [] included
//	ImproperList     list whose tail is not a list
//	Tuple, Map       tuple, map
//	Pid, Port, Ref   identifiers
//	Export, Fun      fun M:F/A, and any other fun
//	Local            term in a node's private encoding
//
// Append takes bool, int and uint64 too. A Go string is refused: whether it
// is an atom, a binary or a list is for the caller to say.
type Term = any

// Atom is the name of an atom in UTF-8, at most 255 characters.
type Atom string

// String is a list of bytes that was sent as STRING_EXT: text in Latin-1, or
// any other short list of integers from 0 to 255. To Erlang, and to [Equal],
// it is the same term as the List of these integers; a node chooses the form.
// Use [AsList] where a list is expected and [AsString] where text is.
type String []byte

// BitString is a bitstring whose length is not a multiple of eight.
type BitString struct {
	Bytes []byte
	// Bits is the number of bits used in the last byte, 1 to 7, counted from
	// the most significant one.
	Bits uint8
}

// List is a proper list. List{} is [].
type List []Term

// ImproperList is a list of at least one element whose tail is not a list:
// [Elements... | Tail].
type ImproperList struct {
	Elements []Term
	Tail     Term
}

// Tuple is a tuple.
type Tuple []Term

// Map is a map in the order of the wire. Keys are not checked for being
// unique; a node refuses a map in which they are not.
type Map []Pair

// Pair is an association in a Map.
type Pair struct {
	Key, Value Term
}

// Pid is a process identifier.
type Pid struct {
	Node     Atom
	ID       uint32
	Serial   uint32
	Creation uint32
}

// Port is a port identifier. Releases before 24 use 28 bits of ID.
type Port struct {
	Node     Atom
	ID       uint64
	Creation uint32
}

// Ref is a reference: one to five numbers, five since release 24.
type Ref struct {
	Node     Atom
	Creation uint32
	IDs      []uint32
}

// Export is a fun made by fun Module:Function/Arity.
type Export struct {
	Module, Function Atom
	Arity            uint8
}

// Fun is a fun other than an [Export]. It is opaque, comparable, and written
// byte for byte as it was read. The zero value is no fun and is not written.
type Fun struct {
	raw string // with the tag
}

// Local is a term in the private encoding that term_to_binary(T, [local])
// makes (release 26); only the node that made it understands it. It has no
// length, so it is always the outermost term and takes all that follows. The
// zero value is not written.
type Local struct {
	raw string // with the tag
}

// MaxDepth is the deepest nesting that this package handles: Limits.Depth
// beyond it counts as MaxDepth, deeper terms are not written, and are equal
// to nothing.
const MaxDepth = 10_000

const (
	maxAtomChars = 255
	maxRefWords  = 5
)

// smallest gives n in the type that [Decode] uses for its value.
func smallest(n *big.Int) Term {
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}
