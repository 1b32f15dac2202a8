package etf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// all writes terms one level down from their container.
func (e *encoder) all(terms ...Term) error {
	if e.depth == 0 {
		return &EncodeError{Type: "term", Err: fmt.Errorf("%w: nested deeper than %d", ErrLimit, MaxDepth)}
	}
	e.depth--
	for _, t := range terms {
		if err := e.term(t); err != nil {
			return err
		}
	}
	e.depth++
	return nil
}

// list writes elements and tail; a nil tail is [].
func (e *encoder) list(l []Term, tail Term) error {
	if len(l) > 0 {
		e.out = append(e.out, tagList)
		if err := e.size(len(l)); err != nil {
			return err
		}
		if err := e.all(l...); err != nil {
			return err
		}
	}
	if tail != nil {
		return e.all(tail)
	}
	e.out = append(e.out, tagNil)
	return nil
}

func (e *encoder) improper(l ImproperList) error {
	if l.Tail == nil {
		return fail(l, fmt.Errorf("%w: no tail", ErrMalformed))
	}
	return e.list(l.Elements, l.Tail)
}

func (e *encoder) tuple(t Tuple) error {
	if len(t) <= math.MaxUint8 {
		e.out = append(e.out, tagSmallTuple, byte(len(t)))
	} else {
		e.out = append(e.out, tagLargeTuple)
		if err := e.size(len(t)); err != nil {
			return err
		}
	}
	return e.all(t...)
}

func (e *encoder) mapping(m Map) error {
	e.out = append(e.out, tagMap)
	if err := e.size(len(m)); err != nil {
		return err
	}
	for _, p := range m {
		if err := e.all(p.Key, p.Value); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) pid(p Pid) error {
	e.out = append(e.out, tagNewPid)
	if err := e.atom(p.Node); err != nil {
		return err
	}
	e.uint32(p.ID)
	e.uint32(p.Serial)
	e.uint32(p.Creation)
	return nil
}

// maxOldPort is the greatest port number that releases before 24 know.
const maxOldPort = 1<<28 - 1

func (e *encoder) port(p Port) error {
	tag := byte(tagNewPort)
	if p.ID > maxOldPort {
		tag = tagV4Port
	}
	e.out = append(e.out, tag)
	if err := e.atom(p.Node); err != nil {
		return err
	}
	if tag == tagV4Port {
		e.out = binary.BigEndian.AppendUint64(e.out, p.ID)
	} else {
		e.uint32(uint32(p.ID))
	}
	e.uint32(p.Creation)
	return nil
}

func (e *encoder) ref(r Ref) error {
	if len(r.IDs) == 0 || len(r.IDs) > maxRefWords {
		return fail(r, fmt.Errorf("%w: reference of %d numbers", ErrMalformed, len(r.IDs)))
	}
	e.out = append(e.out, tagNewerReference)
	e.uint16(uint16(len(r.IDs)))
	if err := e.atom(r.Node); err != nil {
		return err
	}
	e.uint32(r.Creation)
	for _, id := range r.IDs {
		e.uint32(id)
	}
	return nil
}

func (e *encoder) export(x Export) error {
	e.out = append(e.out, tagExport)
	if err := e.atom(x.Module); err != nil {
		return err
	}
	if err := e.atom(x.Function); err != nil {
		return err
	}
	e.out = append(e.out, tagSmallInteger, x.Arity)
	return nil
}

func (e *encoder) fun(f Fun) error {
	if f.raw == "" {
		return fail(f, fmt.Errorf("%w: no fun", ErrMalformed))
	}
	e.out = append(e.out, f.raw...)
	return nil
}
