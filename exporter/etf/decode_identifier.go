package etf

import (
	"encoding/binary"
	"fmt"
)

// creation reads the number that tells incarnations of a node apart: one byte
// until release 22, four since.
func (d *decoder) creation(wide bool) (uint32, error) {
	if wide {
		return d.uint32()
	}
	n, err := d.uint8()
	return uint32(n), err
}

func (d *decoder) pid(tag byte) (Term, error) {
	var p Pid
	var err error
	if p.Node, err = d.atomName(); err != nil {
		return nil, err
	}
	if p.ID, err = d.uint32(); err != nil {
		return nil, err
	}
	if p.Serial, err = d.uint32(); err != nil {
		return nil, err
	}
	if p.Creation, err = d.creation(tag == tagNewPid); err != nil {
		return nil, err
	}
	return p, nil
}

func (d *decoder) port(tag byte) (Term, error) {
	var p Port
	var err error
	if p.Node, err = d.atomName(); err != nil {
		return nil, err
	}
	if p.ID, err = d.portID(tag); err != nil {
		return nil, err
	}
	if p.Creation, err = d.creation(tag != tagPort); err != nil {
		return nil, err
	}
	return p, nil
}

func (d *decoder) portID(tag byte) (uint64, error) {
	if tag == tagV4Port {
		b, err := d.take(8)
		if err != nil {
			return 0, err
		}
		return binary.BigEndian.Uint64(b), nil
	}
	n, err := d.uint32()
	return uint64(n), err
}

// ref reads a reference of any age. The oldest form has its one number before
// the creation and no count.
func (d *decoder) ref(tag byte) (Term, error) {
	words := uint16(1)
	var r Ref
	var err error
	if tag != tagReference {
		if words, err = d.uint16(); err != nil {
			return nil, err
		}
	}
	if words == 0 || words > maxRefWords {
		return nil, fmt.Errorf("%w: reference of %d numbers", ErrMalformed, words)
	}
	if r.Node, err = d.atomName(); err != nil {
		return nil, err
	}
	if tag != tagReference {
		if r.Creation, err = d.creation(tag == tagNewerReference); err != nil {
			return nil, err
		}
	}
	r.IDs = make([]uint32, words)
	for i := range r.IDs {
		if r.IDs[i], err = d.uint32(); err != nil {
			return nil, err
		}
	}
	if tag == tagReference {
		if r.Creation, err = d.creation(false); err != nil {
			return nil, err
		}
	}
	return r, nil
}
