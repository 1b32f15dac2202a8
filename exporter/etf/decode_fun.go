package etf

import (
	"encoding/binary"
	"fmt"
	"math"
)

func (d *decoder) export() (Term, error) {
	var e Export
	var err error
	if e.Module, err = d.atomName(); err != nil {
		return nil, err
	}
	if e.Function, err = d.atomName(); err != nil {
		return nil, err
	}
	arity, err := d.smallInteger()
	if err != nil {
		return nil, err
	}
	if arity < 0 || arity > math.MaxUint8 {
		return nil, fmt.Errorf("%w: fun of arity %d", ErrMalformed, arity)
	}
	e.Arity = uint8(arity)
	return e, nil
}

// fun checks the structure of a fun and keeps its bytes. The terms in it are
// read under the same budgets as all others, and dropped.
func (d *decoder) fun(tag byte) (Term, error) {
	start := d.pos - 1
	if err := d.enter(); err != nil {
		return nil, err
	}
	d.funs++
	var err error
	if tag == tagNewFun {
		_, err = d.newFun()
	} else {
		err = d.oldFun()
	}
	if err != nil {
		return nil, err
	}
	d.funs--
	d.leave()
	if d.funs > 0 {
		// The bytes belong to the fun around it; keeping them for each level
		// would cost depth times length.
		return nil, nil
	}
	return Fun{raw: string(d.in[start:d.pos])}, nil
}

// funHeader is what identifies a fun.
type funHeader struct {
	module Atom
	index  uint32
	unique int64 // hash of the module's code
}

// newFunFixed is the length of what NEW_FUN_EXT has before its terms: size,
// arity, MD5 of the module, index and number of free variables.
const newFunFixed = 4 + 1 + 16 + 4 + 4

func (d *decoder) newFun() (h funHeader, err error) {
	start := d.pos
	fixed, err := d.take(newFunFixed)
	if err != nil {
		return h, err
	}
	size := binary.BigEndian.Uint32(fixed)
	h.index = binary.BigEndian.Uint32(fixed[newFunFixed-8:])
	free := binary.BigEndian.Uint32(fixed[newFunFixed-4:])
	if h.module, err = d.atomName(); err != nil {
		return h, err
	}
	if _, err = d.smallInteger(); err != nil { // index of the oldest form
		return h, err
	}
	if h.unique, err = d.smallInteger(); err != nil {
		return h, err
	}
	if err = d.funPid(); err != nil {
		return h, err
	}
	if err = d.funVariables(free); err != nil {
		return h, err
	}
	if used := d.pos - start; uint64(used) != uint64(size) {
		return h, fmt.Errorf("%w: fun of %d bytes says that it has %d", ErrMalformed, used, size)
	}
	return h, nil
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
		if _, err = d.smallInteger(); err != nil {
			return err
		}
	}
	return d.funVariables(free)
}

// smallInteger reads a term that must be an integer of up to 32 bits.
func (d *decoder) smallInteger() (int64, error) {
	tag, err := d.uint8()
	if err != nil {
		return 0, err
	}
	if tag != tagSmallInteger && tag != tagInteger {
		return 0, fmt.Errorf("%w: %s where a small integer belongs", ErrMalformed, tagName(tag))
	}
	t, err := d.integer(tag)
	if err != nil {
		return 0, err
	}
	return t.(int64), nil
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
