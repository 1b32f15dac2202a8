package etf

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

func (d *decoder) integer(tag byte) (Term, error) {
	switch tag {
	case tagSmallInteger:
		n, err := d.uint8()
		return int64(n), err
	case tagInteger:
		n, err := d.uint32()
		return int64(int32(n)), err
	case tagSmallBig:
		n, err := d.uint8()
		if err != nil {
			return nil, err
		}
		return d.big(uint32(n))
	default:
		n, err := d.uint32()
		if err != nil {
			return nil, err
		}
		return d.big(n)
	}
}

// big reads the sign and the n bytes of an integer, least significant first.
// As for a node, every sign but 0 is a minus.
func (d *decoder) big(n uint32) (Term, error) {
	sign, err := d.uint8()
	if err != nil {
		return nil, err
	}
	digits, err := d.take(n)
	if err != nil {
		return nil, err
	}
	if n < 8 {
		var b [8]byte
		copy(b[:], digits)
		v := int64(binary.LittleEndian.Uint64(b[:]))
		if sign != 0 {
			v = -v
		}
		return v, nil
	}
	digits = slices.Clone(digits)
	slices.Reverse(digits)
	v := new(big.Int).SetBytes(digits)
	if sign != 0 {
		v.Neg(v)
	}
	return smallest(v), nil
}

func (d *decoder) float(tag byte) (Term, error) {
	if tag == tagFloat {
		return d.oldFloat()
	}
	b, err := d.take(8)
	if err != nil {
		return nil, err
	}
	f := math.Float64frombits(binary.BigEndian.Uint64(b))
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("%w: float %v", ErrMalformed, f)
	}
	return f, nil
}

// oldFloat reads the 31 bytes that sprintf("%.20e") left, as minor version 0
// writes floats.
func (d *decoder) oldFloat() (Term, error) {
	b, err := d.take(31)
	if err != nil {
		return nil, err
	}
	text, _, _ := strings.Cut(string(b), "\x00")
	// ParseFloat would take words, hexadecimal digits and underscores too.
	if strings.Trim(text, "+-.0123456789e") != "" {
		return nil, fmt.Errorf("%w: float %q", ErrMalformed, text)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("%w: float %q", ErrMalformed, text)
	}
	return f, nil
}

func (d *decoder) binary() (Term, error) {
	n, err := d.uint32()
	if err != nil {
		return nil, err
	}
	b, err := d.take(n)
	if err != nil {
		return nil, err
	}
	return append([]byte{}, b...), nil
}

func (d *decoder) string() (Term, error) {
	n, err := d.uint16()
	if err != nil {
		return nil, err
	}
	b, err := d.take(uint32(n))
	if err != nil {
		return nil, err
	}
	return append(String{}, b...), nil
}

func (d *decoder) bitString() (Term, error) {
	n, err := d.uint32()
	if err != nil {
		return nil, err
	}
	bits, err := d.uint8()
	if err != nil {
		return nil, err
	}
	b, err := d.take(n)
	if err != nil {
		return nil, err
	}
	if bits > 8 || (bits == 0) != (n == 0) {
		return nil, fmt.Errorf("%w: %d bits used in the last of %d bytes", ErrMalformed, bits, n)
	}
	bytes := append([]byte{}, b...)
	if bits == 0 || bits == 8 {
		return bytes, nil
	}
	return BitString{Bytes: clearUnused(bytes, bits), Bits: bits}, nil
}

// clearUnused zeroes the bits of the last byte that are not part of the
// bitstring, so that they cannot make equal terms differ.
func clearUnused(b []byte, bits uint8) []byte {
	b[len(b)-1] &= 0xff << (8 - bits)
	return b
}

func (d *decoder) atom(tag byte) (Term, error) {
	n, err := d.atomLength(tag)
	if err != nil {
		return nil, err
	}
	name, err := d.take(n)
	if err != nil {
		return nil, err
	}
	if tag == tagAtom || tag == tagSmallAtom {
		return d.latin1Atom(name)
	}
	return d.utf8Atom(name)
}

func (d *decoder) atomLength(tag byte) (uint32, error) {
	if tag == tagSmallAtom || tag == tagSmallAtomUTF8 {
		n, err := d.uint8()
		return uint32(n), err
	}
	n, err := d.uint16()
	return uint32(n), err
}

func (d *decoder) latin1Atom(name []byte) (Term, error) {
	if len(name) > maxAtomChars {
		return nil, fmt.Errorf("%w: atom of %d characters", ErrMalformed, len(name))
	}
	if isASCII(name) {
		return d.utf8Atom(name)
	}
	return Atom(latin1(name)), nil
}

func (d *decoder) utf8Atom(name []byte) (Term, error) {
	slot := d.atoms.slot(name)
	if a, ok := (*slot).(Atom); ok && string(a) == string(name) {
		return *slot, nil
	}
	a := Atom(name)
	if err := a.check(); err != nil {
		return nil, err
	}
	*slot = a
	return *slot, nil
}

// atomName reads a term that must be an atom.
func (d *decoder) atomName() (Atom, error) {
	tag, err := d.uint8()
	if err != nil {
		return "", err
	}
	switch tag {
	case tagAtom, tagSmallAtom, tagAtomUTF8, tagSmallAtomUTF8:
	default:
		return "", fmt.Errorf("%w: %s where an atom belongs", ErrMalformed, tagName(tag))
	}
	t, err := d.atom(tag)
	if err != nil {
		return "", err
	}
	return t.(Atom), nil
}

func (a Atom) check() error {
	if !utf8.ValidString(string(a)) {
		return fmt.Errorf("%w: atom %.40q is not UTF-8", ErrMalformed, string(a))
	}
	if len(a) <= maxAtomChars {
		return nil
	}
	if n := utf8.RuneCountInString(string(a)); n > maxAtomChars {
		return fmt.Errorf("%w: atom of %d characters", ErrMalformed, n)
	}
	return nil
}

// atomCache lets the same few atoms of one term share memory. It holds at
// most one atom for each hash.
type atomCache [64]Term

func (c *atomCache) slot(name []byte) *Term {
	h := uint(len(name))
	for _, b := range name {
		h = h*31 + uint(b)
	}
	return &c[h%uint(len(c))]
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// latin1 turns text in ISO 8859-1 into UTF-8.
func latin1(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return s.String()
}
