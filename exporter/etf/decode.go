package etf

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Decode reads the term in b, which begins with 131 as term_to_binary/1
// writes it and must end where the term does. Errors are *DecodeError.
func Decode(b []byte, l Limits) (Term, error) {
	t, rest, err := DecodePrefix(b, l)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		err := fmt.Errorf("%w: %d", ErrTrailing, len(rest))
		return nil, &DecodeError{Offset: len(b) - len(rest), Tag: rest[0], Err: err}
	}
	return t, nil
}

// DecodePrefix reads the term at the beginning of b, which begins with 131,
// and returns what follows it: a distribution frame holds two terms, one
// after the other. Limits.Bytes is for the whole of b. Errors are
// *DecodeError.
func DecodePrefix(b []byte, l Limits) (t Term, rest []byte, err error) {
	l = l.withDefaults()
	if len(b) > l.Bytes {
		err := fmt.Errorf("%w: %d bytes, at most %d are taken", ErrLimit, len(b), l.Bytes)
		return nil, nil, &DecodeError{Tag: b[0], Err: err}
	}
	if len(b) == 0 {
		return nil, nil, &DecodeError{Err: fmt.Errorf("%w: no version byte", ErrTruncated)}
	}
	if b[0] != version {
		err := fmt.Errorf("%w: version byte is %d, not %d", ErrMalformed, b[0], version)
		return nil, nil, &DecodeError{Tag: b[0], Err: err}
	}
	d := decoder{in: b, pos: 1, elements: l.Elements - 1, depth: l.Depth}
	t, err = d.outermost(l)
	if err != nil {
		return nil, nil, err
	}
	return t, b[d.pos:], nil
}

// outermost reads the term after the version byte. Only there may a term be
// compressed or in a node's private encoding.
func (d *decoder) outermost(l Limits) (Term, error) {
	if d.left() == 0 {
		return d.term()
	}
	switch d.in[d.pos] {
	case tagCompressed:
		at := d.pos
		d.pos++
		body, err := d.inflate(l.Inflated)
		if err != nil {
			return nil, d.located(err, at)
		}
		return d.inflatedTerm(body)
	case tagLocal:
		raw := string(d.in[d.pos:])
		if len(raw) == 1 {
			return nil, d.located(fmt.Errorf("%w: nothing follows the tag", ErrTruncated), d.pos)
		}
		d.pos = len(d.in)
		return Local{raw: raw}, nil
	default:
		return d.term()
	}
}

// decoder reads terms from in. The budgets only ever shrink, but for depth,
// which is given back on the way out of a container.
type decoder struct {
	in       []byte
	pos      int
	elements int // terms that may still be read
	depth    int // levels that may still be entered
	funs     int // funs that are being read, one inside the other
	inflated bool
	atoms    atomCache
}

func (d *decoder) left() int { return len(d.in) - d.pos }

// located gives err the offset of the term it is about, unless a term further
// in has done so.
func (d *decoder) located(err error, at int) error {
	var e *DecodeError
	if errors.As(err, &e) {
		return e
	}
	e = &DecodeError{Offset: at, Inflated: d.inflated, Err: err}
	if at < len(d.in) {
		e.Tag = d.in[at]
	}
	return e
}

// take returns the next n bytes of the input; they must be copied.
func (d *decoder) take(n uint32) ([]byte, error) {
	if uint64(n) > uint64(d.left()) {
		return nil, fmt.Errorf("%w: %d bytes announced, %d left", ErrTruncated, n, d.left())
	}
	b := d.in[d.pos : d.pos+int(n)]
	d.pos += int(n)
	return b, nil
}

func (d *decoder) uint8() (uint8, error) {
	if d.left() < 1 {
		return 0, fmt.Errorf("%w: 1 byte wanted", ErrTruncated)
	}
	d.pos++
	return d.in[d.pos-1], nil
}

func (d *decoder) uint16() (uint16, error) {
	b, err := d.take(2)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint16(b), nil
}

func (d *decoder) uint32() (uint32, error) {
	b, err := d.take(4)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b), nil
}

// claim pays for n entries of width terms each, before memory is taken for
// them. A term has at least one byte, so that a count beyond the bytes left
// is a lie.
func (d *decoder) claim(n uint32, width uint64) (int, error) {
	terms := uint64(n) * width
	if terms > uint64(d.left()) {
		return 0, fmt.Errorf("%w: %d terms announced, %d bytes left", ErrTruncated, terms, d.left())
	}
	if terms > uint64(d.elements) {
		return 0, fmt.Errorf("%w: %d terms announced, %d more are taken", ErrLimit, terms, d.elements)
	}
	d.elements -= int(terms)
	return int(n), nil
}

// enter goes down one level; leave comes back.
func (d *decoder) enter() error {
	if d.depth == 0 {
		return fmt.Errorf("%w: nested too deep", ErrLimit)
	}
	d.depth--
	return nil
}

func (d *decoder) leave() { d.depth++ }

// term reads a term that its container has claimed.
func (d *decoder) term() (Term, error) {
	at := d.pos
	tag, err := d.uint8()
	if err != nil {
		return nil, d.located(err, at)
	}
	t, err := d.tagged(tag)
	if err != nil {
		return nil, d.located(err, at)
	}
	return t, nil
}

// tagged reads what follows a tag.
func (d *decoder) tagged(tag byte) (Term, error) {
	switch tag {
	case tagSmallInteger, tagInteger, tagSmallBig, tagLargeBig:
		return d.integer(tag)
	case tagAtom, tagSmallAtom, tagAtomUTF8, tagSmallAtomUTF8:
		return d.atom(tag)
	case tagNil:
		return emptyList, nil
	case tagSmallTuple, tagLargeTuple:
		return d.tuple(tag)
	case tagList:
		return d.list()
	case tagMap:
		return d.mapping()
	case tagBinary:
		return d.binary()
	case tagString:
		return d.string()
	case tagNewFloat, tagFloat:
		return d.float(tag)
	case tagBitBinary:
		return d.bitString()
	case tagNewPid, tagPid:
		return d.pid(tag)
	case tagV4Port, tagNewPort, tagPort:
		return d.port(tag)
	case tagNewerReference, tagNewReference, tagReference:
		return d.ref(tag)
	case tagExport:
		return d.export()
	case tagNewFun, tagFun:
		return d.fun(tag)
	case tagCompressed, tagLocal:
		return nil, fmt.Errorf("%w: only the outermost term can be of this kind", ErrMalformed)
	default:
		return nil, fmt.Errorf("%w: %d is no tag", ErrMalformed, tag)
	}
}
