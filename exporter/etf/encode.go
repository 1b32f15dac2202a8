package etf

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"slices"
)

// Append writes t behind dst as term_to_binary/1 would, with a leading 131
// and uncompressed, and returns the extended slice. Atoms are written in
// UTF-8, identifiers with creations of 32 bits: every release from 23 on
// reads them. On error, an *EncodeError, dst is returned as it was.
func Append(dst []byte, t Term) ([]byte, error) {
	e := encoder{out: append(dst, version), depth: MaxDepth}
	if l, ok := t.(Local); ok && l.raw != "" {
		return append(e.out, l.raw...), nil
	}
	if err := e.term(t); err != nil {
		return dst, err
	}
	return e.out, nil
}

type encoder struct {
	out   []byte
	depth int // levels that may still be entered
}

func (e *encoder) term(t Term) error {
	switch t := t.(type) {
	case Atom:
		return e.atom(t)
	case bool:
		return e.atom(boolAtom(t))
	case int64:
		e.integer(t)
	case int:
		e.integer(int64(t))
	case uint64:
		e.unsigned(t)
	case *big.Int:
		return e.big(t)
	case float64:
		return e.float(t)
	case []byte:
		return e.binary(t)
	case BitString:
		return e.bitString(t)
	case String:
		return e.string(t)
	default:
		return e.compound(t)
	}
	return nil
}

// compound writes the types that hold other terms.
func (e *encoder) compound(t Term) error {
	switch t := t.(type) {
	case List:
		return e.list(t, nil)
	case ImproperList:
		return e.improper(t)
	case Tuple:
		return e.tuple(t)
	case Map:
		return e.mapping(t)
	case Pid:
		return e.pid(t)
	case Port:
		return e.port(t)
	case Ref:
		return e.ref(t)
	case Export:
		return e.export(t)
	case Fun:
		return e.fun(t)
	case Local:
		return fail(t, fmt.Errorf("%w: only the outermost term can be of this kind", ErrMalformed))
	case string:
		return fail(t, fmt.Errorf("%w: say Atom, []byte or String", ErrType))
	default:
		return fail(t, ErrType)
	}
}

func fail(t Term, err error) error {
	return &EncodeError{Type: fmt.Sprintf("%T", t), Err: err}
}

func (e *encoder) uint16(n uint16) { e.out = binary.BigEndian.AppendUint16(e.out, n) }
func (e *encoder) uint32(n uint32) { e.out = binary.BigEndian.AppendUint32(e.out, n) }

// size writes a count or length of four bytes.
func (e *encoder) size(n int) error {
	if uint64(n) > math.MaxUint32 {
		return &EncodeError{Type: "term", Err: fmt.Errorf("%w: size %d", ErrLimit, n)}
	}
	e.uint32(uint32(n))
	return nil
}

func boolAtom(b bool) Atom {
	if b {
		return "true"
	}
	return "false"
}

func (e *encoder) atom(a Atom) error {
	if err := a.check(); err != nil {
		return fail(a, err)
	}
	if len(a) <= math.MaxUint8 {
		e.out = append(e.out, tagSmallAtomUTF8, byte(len(a)))
	} else {
		e.out = append(e.out, tagAtomUTF8)
		e.uint16(uint16(len(a)))
	}
	e.out = append(e.out, a...)
	return nil
}

func (e *encoder) integer(n int64) {
	switch {
	case n >= 0 && n <= math.MaxUint8:
		e.out = append(e.out, tagSmallInteger, byte(n))
	case n >= math.MinInt32 && n <= math.MaxInt32:
		e.out = append(e.out, tagInteger)
		e.uint32(uint32(n))
	case n < 0:
		e.smallBig(1, -uint64(n))
	default:
		e.smallBig(0, uint64(n))
	}
}

func (e *encoder) unsigned(n uint64) {
	if n <= math.MaxInt64 {
		e.integer(int64(n))
		return
	}
	e.smallBig(0, n)
}

// smallBig writes an integer of up to eight bytes without leading zeros, as
// the canonical form has it.
func (e *encoder) smallBig(sign byte, n uint64) {
	e.out = append(e.out, tagSmallBig, 0, sign)
	start := len(e.out)
	for ; n > 0; n >>= 8 {
		e.out = append(e.out, byte(n))
	}
	e.out[start-2] = byte(len(e.out) - start)
}

func (e *encoder) big(n *big.Int) error {
	if n == nil {
		return fail(n, fmt.Errorf("%w: nil", ErrMalformed))
	}
	if n.IsInt64() {
		e.integer(n.Int64())
		return nil
	}
	size := (n.BitLen() + 7) / 8
	if size <= math.MaxUint8 {
		e.out = append(e.out, tagSmallBig, byte(size))
	} else {
		e.out = append(e.out, tagLargeBig)
		if err := e.size(size); err != nil {
			return err
		}
	}
	var sign byte
	if n.Sign() < 0 {
		sign = 1
	}
	e.out = append(e.out, sign)
	start := len(e.out)
	e.out = slices.Grow(e.out, size)[:start+size]
	n.FillBytes(e.out[start:])
	slices.Reverse(e.out[start:])
	return nil
}

func (e *encoder) float(f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fail(f, fmt.Errorf("%w: %v", ErrMalformed, f))
	}
	e.out = append(e.out, tagNewFloat)
	e.out = binary.BigEndian.AppendUint64(e.out, math.Float64bits(f))
	return nil
}

func (e *encoder) binary(b []byte) error {
	e.out = append(e.out, tagBinary)
	if err := e.size(len(b)); err != nil {
		return err
	}
	e.out = append(e.out, b...)
	return nil
}

func (e *encoder) bitString(b BitString) error {
	if b.Bits < 1 || b.Bits > 7 || len(b.Bytes) == 0 {
		return fail(b, fmt.Errorf("%w: %d bits used in the last of %d bytes", ErrMalformed, b.Bits, len(b.Bytes)))
	}
	e.out = append(e.out, tagBitBinary)
	if err := e.size(len(b.Bytes)); err != nil {
		return err
	}
	e.out = append(e.out, b.Bits)
	e.out = append(e.out, b.Bytes...)
	clearUnused(e.out, b.Bits)
	return nil
}

// string writes a list that is too long for STRING_EXT as the list it is.
func (e *encoder) string(s String) error {
	if len(s) > math.MaxUint16 {
		return e.list(s.list(), nil)
	}
	e.out = append(e.out, tagString)
	e.uint16(uint16(len(s)))
	e.out = append(e.out, s...)
	return nil
}
