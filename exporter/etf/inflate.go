package etf

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
)

// deflateRatio is more than what a byte of deflate can become: 258 bytes for
// each two bits.
const deflateRatio = 1032

// inflate reads the body of a compressed term: the size after inflation and a
// zlib stream, which may end before the input does.
func (d *decoder) inflate(limit int) ([]byte, error) {
	size, err := d.uint32()
	if err != nil {
		return nil, err
	}
	if uint64(size) > uint64(limit) {
		return nil, fmt.Errorf("%w: inflates to %d bytes, at most %d are taken", ErrLimit, size, limit)
	}
	if uint64(size) > uint64(d.left())*deflateRatio {
		return nil, fmt.Errorf("%w: the %d bytes left cannot inflate to %d", ErrTruncated, d.left(), size)
	}
	// A bytes.Reader is an io.ByteReader, so that zlib reads no byte beyond
	// the end of its stream.
	from := bytes.NewReader(d.in[d.pos:])
	body, err := inflateExactly(from, int(size))
	if err != nil {
		return nil, err
	}
	d.pos = len(d.in) - from.Len()
	return body, nil
}

func inflateExactly(from io.Reader, size int) ([]byte, error) {
	z, err := zlib.NewReader(from)
	if err != nil {
		return nil, badStream(err)
	}
	body := make([]byte, size)
	if n, err := io.ReadFull(z, body); err != nil {
		return nil, fmt.Errorf("%w after %d of %d bytes", badStream(err), n, size)
	}
	// Reading the end of the stream makes zlib check its Adler-32.
	var more [1]byte
	switch n, err := io.ReadFull(z, more[:]); {
	case n > 0:
		return nil, fmt.Errorf("%w: inflates to more than the %d bytes announced", ErrMalformed, size)
	case !errors.Is(err, io.EOF):
		return nil, badStream(err)
	}
	return body, nil
}

func badStream(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: zlib stream", ErrTruncated)
	}
	return fmt.Errorf("%w: zlib stream: %w", ErrMalformed, err)
}

// inflatedTerm reads the term that body holds, which has no version byte,
// under the budgets of d.
func (d *decoder) inflatedTerm(body []byte) (Term, error) {
	inner := decoder{in: body, elements: d.elements, depth: d.depth, inflated: true}
	t, err := inner.term()
	if err != nil {
		return nil, err
	}
	if inner.left() > 0 {
		return nil, inner.located(fmt.Errorf("%w: %d", ErrTrailing, inner.left()), inner.pos)
	}
	return t, nil
}
