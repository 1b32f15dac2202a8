package etf

// Limits bound what one call of [Decode] may cost. A field that is zero or
// negative has its value of [DefaultLimits].
type Limits struct {
	// Bytes is the greatest length of the input.
	Bytes int
	// Elements is the greatest number of terms, counting every element of
	// every list, tuple, map and string tail. A term takes 16 to about 130
	// bytes of memory beside the bytes that it has on the wire.
	Elements int
	// Depth is the greatest nesting of lists, tuples, maps and funs, at most
	// MaxDepth. A list in the tail of a list is no nesting.
	Depth int
	// Inflated is the greatest size of a compressed term after inflation, in
	// bytes.
	Inflated int
}

// DefaultLimits returns the limits that stand for zero fields: 32 MiB of
// input, a million (2^20) terms, 512 levels, 32 MiB inflated.
func DefaultLimits() Limits {
	return Limits{Bytes: 32 << 20, Elements: 1 << 20, Depth: 512, Inflated: 32 << 20}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	if l.Bytes <= 0 {
		l.Bytes = d.Bytes
	}
	if l.Elements <= 0 {
		l.Elements = d.Elements
	}
	if l.Depth <= 0 {
		l.Depth = d.Depth
	}
	if l.Inflated <= 0 {
		l.Inflated = d.Inflated
	}
	l.Depth = min(l.Depth, MaxDepth)
	return l
}
