package dist

import (
	"bufio"
	"encoding/binary"
	"io"
	"slices"

	"github.com/erlops/erlops/exporter/etf"
)

// passThrough begins every frame but a tick, as long as neither side has
// announced an atom cache or fragments.
const passThrough = 112

// Operations of control messages (erts, "Distribution Protocol").
const (
	opLink          = 1
	opSend          = 2
	opExit          = 3
	opRegSend       = 6
	opExitTT        = 13
	opSendTT        = 12
	opRegSendTT     = 16
	opMonitor       = 19
	opDemonitor     = 20
	opMonitorExit   = 21
	opSendSender    = 22
	opSendSenderTT  = 23
	opSpawnRequest  = 29
	opSpawnRequestT = 30
	opSpawnReply    = 31
	opAliasSend     = 33
	opAliasSendTT   = 34
	opUnlinkID      = 35
	opUnlinkIDAck   = 36
)

const (
	// readChunk is how much memory a frame gets before its bytes are there: a
	// length costs the peer nothing.
	readChunk = 256 << 10
	// keepBuffer is the size up to which the buffer of a frame is used again.
	keepBuffer = 16 << 10
	readBuffer = 4 << 10
)

// frameReader reads frames of at most max bytes.
type frameReader struct {
	r   *bufio.Reader
	max int
	buf []byte
}

func newFrameReader(r io.Reader, maxFrame int) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, readBuffer), max: maxFrame}
}

// next gives the next frame, which is empty for a tick and valid until the
// next call.
func (f *frameReader) next() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if uint64(size) > uint64(f.max) {
		return nil, faultf(KindProtocol, "a frame of %d bytes, at most %d are taken", size, f.max)
	}
	return f.body(int(size))
}

func (f *frameReader) body(size int) ([]byte, error) {
	b := f.buf[:0]
	for len(b) < size {
		from := len(b)
		b = slices.Grow(b, min(size-from, max(from, readChunk)))
		b = b[:min(size, cap(b))]
		if _, err := io.ReadFull(f.r, b[from:]); err != nil {
			return nil, err
		}
	}
	f.buf = nil
	if cap(b) <= keepBuffer {
		f.buf = b
	}
	return b, nil
}

// control is a control message with the bytes of the message that follows it.
type control struct {
	op      int64
	args    etf.Tuple // without the operation
	payload []byte    // external format, empty when there is none
}

// parseFrame takes a frame that is no tick apart. The payload is left
// undecoded: it may be for nobody.
func parseFrame(frame []byte, limits etf.Limits) (control, error) {
	if frame[0] != passThrough {
		return control{}, faultf(KindProtocol, "a frame begins with byte %d instead of %d", frame[0], passThrough)
	}
	term, rest, err := etf.DecodePrefix(frame[1:], limits)
	if err != nil {
		return control{}, faultf(KindProtocol, "control message: %w", err)
	}
	tuple, ok := term.(etf.Tuple)
	if !ok || len(tuple) == 0 {
		return control{}, faultf(KindProtocol, "control message %s is not a tuple with an operation", etf.Format(term))
	}
	op, ok := tuple[0].(int64)
	if !ok {
		return control{}, faultf(KindProtocol, "control message has operation %s", etf.Format(tuple[0]))
	}
	return control{op: op, args: tuple[1:], payload: rest}, nil
}

// buildFrame makes a frame of a control message and, unless it is absent, the
// message to carry.
func buildFrame(ctl etf.Tuple, message ...etf.Term) ([]byte, error) {
	b, err := etf.Append([]byte{0, 0, 0, 0, passThrough}, ctl)
	for _, m := range message {
		if err == nil {
			b, err = etf.Append(b, m)
		}
	}
	if err != nil {
		return nil, &fault{KindBadTerm, err}
	}
	size := len(b) - 4
	if uint64(size) > 1<<32-1 {
		return nil, faultf(KindBadTerm, "a message of %d bytes", size)
	}
	binary.BigEndian.PutUint32(b, uint32(size))
	return b, nil
}

// footprint is about the memory in bytes that a decoded term takes.
func footprint(t etf.Term) int {
	const word = 16 // a Go interface
	switch t := t.(type) {
	case []byte:
		return 2*word + len(t)
	case etf.String:
		return 2*word + len(t)
	case etf.Atom:
		return word + len(t)
	case etf.BitString:
		return 3*word + len(t.Bytes)
	case etf.List:
		return 2*word + footprints(t)
	case etf.Tuple:
		return 2*word + footprints(t)
	case etf.ImproperList:
		return 4*word + footprints(t.Elements) + footprint(t.Tail)
	case etf.Map:
		n := 2 * word
		for _, p := range t {
			n += footprint(p.Key) + footprint(p.Value)
		}
		return n
	case int64, float64:
		return word + 8
	default:
		return 8 * word // identifiers, funs, big integers: bounded or rare
	}
}

func footprints(all []etf.Term) (n int) {
	for _, t := range all {
		n += 16 + footprint(t)
	}
	return n
}
