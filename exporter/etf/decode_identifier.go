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

func (d *decoder) export() (Term, error) {
	var e Export
	var err error
	if e.Module, err = d.atomName(); err != nil {
		return nil, err
	}
	if e.Function, err = d.atomName(); err != nil {
		return nil, err
	}
	tag, err := d.uint8()
	if err != nil {
		return nil, err
	}
	if tag != tagSmallInteger {
		return nil, fmt.Errorf("%w: %s as the arity of a fun", ErrMalformed, tagName(tag))
	}
	if e.Arity, err = d.uint8(); err != nil {
		return nil, err
	}
	return e, nil
}

// fun checks the structure of a fun and keeps its bytes. The terms in it are
// read under the same budgets as all others, and dropped.
func (d *decoder) fun(tag byte) (Term, error) {
	start := d.pos - 1
	check := d.oldFun
	if tag == tagNewFun {
		check = d.newFun
	}
	if err := d.enter(); err != nil {
		return nil, err
	}
	if err := check(); err != nil {
		return nil, err
	}
	d.leave()
	return Fun{raw: string(d.in[start:d.pos])}, nil
}

// newFunFixed is the length of what NEW_FUN_EXT has before its terms: size,
// arity, MD5 of the module, index and number of free variables.
const newFunFixed = 4 + 1 + 16 + 4 + 4

func (d *decoder) newFun() error {
	start := d.pos
	fixed, err := d.take(newFunFixed)
	if err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(fixed)
	free := binary.BigEndian.Uint32(fixed[newFunFixed-4:])
	if _, err = d.atomName(); err != nil {
		return err
	}
	for range 2 { // index and hash of the oldest form
		if err = d.funInteger(); err != nil {
			return err
		}
	}
	if err = d.funPid(); err != nil {
		return err
	}
	if err = d.funVariables(free); err != nil {
		return err
	}
	if used := d.pos - start; uint64(used) != uint64(size) {
		return fmt.Errorf("%w: fun of %d bytes says that it has %d", ErrMalformed, used, size)
	}
	return nil
}

// oldFun is a fun as releases before R15 could send it.
func (d *decoder) oldFun() error {
	free, err := d.uint32()
	if err != nil {
		return err
	}
	if err = d.funPid(); err != nil {
		return err
	}
	if _, err = d.atomName(); err != nil {
		return err
	}
	for range 2 { // index and hash
		if err = d.funInteger(); err != nil {
			return err
		}
	}
	return d.funVariables(free)
}

func (d *decoder) funInteger() error {
	tag, err := d.uint8()
	if err != nil {
		return err
	}
	if tag != tagSmallInteger && tag != tagInteger {
		return fmt.Errorf("%w: %s in the header of a fun", ErrMalformed, tagName(tag))
	}
	_, err = d.integer(tag)
	return err
}

func (d *decoder) funPid() error {
	tag, err := d.uint8()
	if err != nil {
		return err
	}
	if tag != tagNewPid && tag != tagPid {
		return fmt.Errorf("%w: %s where the pid of a fun belongs", ErrMalformed, tagName(tag))
	}
	_, err = d.pid(tag)
	return err
}

func (d *decoder) funVariables(n uint32) error {
	size, err := d.claim(n, 1)
	if err != nil {
		return err
	}
	for range size {
		if _, err = d.term(); err != nil {
			return err
		}
	}
	return nil
}
