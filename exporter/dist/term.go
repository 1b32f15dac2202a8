package dist

import "github.com/erlops/erlops/exporter/etf"

// The terms that a caller of a few functions needs, so that who only asks a
// node whether it lives need not know package etf.
type (
	// Term is any Erlang term.
	Term = etf.Term
	// Atom is an atom.
	Atom = etf.Atom
	// Tuple is a tuple.
	Tuple = etf.Tuple
)
