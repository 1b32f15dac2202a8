package etf

import "slices"

// emptyList is List{} in a Term, shared because it has nothing to write to.
var emptyList Term = List{}

func (d *decoder) tuple(tag byte) (Term, error) {
	n, err := d.tupleArity(tag)
	if err != nil {
		return nil, err
	}
	size, err := d.claim(n, 1)
	if err != nil {
		return nil, err
	}
	t := make(Tuple, size)
	return t, d.fill(t)
}

func (d *decoder) tupleArity(tag byte) (uint32, error) {
	if tag == tagSmallTuple {
		n, err := d.uint8()
		return uint32(n), err
	}
	return d.uint32()
}

// fill reads claimed terms into t, one level down.
func (d *decoder) fill(t []Term) error {
	if err := d.enter(); err != nil {
		return err
	}
	for i := range t {
		var err error
		if t[i], err = d.term(); err != nil {
			return err
		}
	}
	d.leave()
	return nil
}

// list reads a list. Tails that are lists themselves are appended in a loop
// rather than by recursion: to Erlang that is the same list, and its length
// must not become depth.
func (d *decoder) list() (Term, error) {
	at := d.pos - 1
	elems, err := d.segment(nil)
	if err != nil {
		return nil, err
	}
	for d.left() > 0 {
		at = d.pos
		switch d.in[at] {
		case tagNil:
			d.pos++
			if len(elems) == 0 {
				return emptyList, nil
			}
			return List(elems), nil
		case tagList:
			d.pos++
			elems, err = d.segment(elems)
		case tagString:
			d.pos++
			elems, err = d.stringSegment(elems)
			if err == nil {
				return List(elems), nil
			}
		default:
			return d.improper(elems)
		}
		if err != nil {
			return nil, d.located(err, at)
		}
	}
	_, err = d.uint8()
	return nil, d.located(err, at)
}

// segment appends the elements of a LIST_EXT without its tail. It is one
// level down from the list.
func (d *decoder) segment(elems []Term) ([]Term, error) {
	n, err := d.uint32()
	if err != nil {
		return nil, err
	}
	size, err := d.claim(n, 1)
	if err != nil {
		return nil, err
	}
	had := len(elems)
	elems = slices.Grow(elems, size)[:had+size]
	return elems, d.fill(elems[had:])
}

// stringSegment appends the bytes of a STRING_EXT that ends a list.
func (d *decoder) stringSegment(elems []Term) ([]Term, error) {
	n, err := d.uint16()
	if err != nil {
		return nil, err
	}
	if _, err = d.claim(uint32(n), 1); err != nil {
		return nil, err
	}
	b, err := d.take(uint32(n))
	if err != nil {
		return nil, err
	}
	return append(elems, String(b).list()...), nil
}

// improper reads a tail that is not a list. A list of no elements is its
// tail, as it is to binary_to_term/1.
func (d *decoder) improper(elems []Term) (Term, error) {
	if len(elems) == 0 {
		return d.nested()
	}
	tail, err := d.nested()
	if err != nil {
		return nil, err
	}
	return ImproperList{Elements: elems, Tail: tail}, nil
}

// nested claims and reads one term one level down.
func (d *decoder) nested() (Term, error) {
	if _, err := d.claim(1, 1); err != nil {
		return nil, err
	}
	if err := d.enter(); err != nil {
		return nil, err
	}
	t, err := d.term()
	d.leave()
	return t, err
}

func (d *decoder) mapping() (Term, error) {
	n, err := d.uint32()
	if err != nil {
		return nil, err
	}
	size, err := d.claim(n, 2)
	if err != nil {
		return nil, err
	}
	if err = d.enter(); err != nil {
		return nil, err
	}
	m := make(Map, size)
	for i := range m {
		if m[i].Key, err = d.term(); err != nil {
			return nil, err
		}
		if m[i].Value, err = d.term(); err != nil {
			return nil, err
		}
	}
	d.leave()
	return m, nil
}
