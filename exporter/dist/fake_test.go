package dist_test

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/etf"
)

const (
	fakeName   = "fake@127.0.0.1"
	fakeCookie = "open sesame"
)

// listen serves every connection with handle, in a goroutine each, until the
// test ends.
func listen(t testing.TB, handle func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Go(func() {
				handle(c)
				_ = c.Close()
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// fakePeer is a node written in Go, which misbehaves as a test wants. Its
// methods return errors rather than fail: the other side may hang up any time.
type fakePeer struct {
	net.Conn
	name   string
	cookie string
	flags  uint64
	// theirs is what the other side said of itself.
	theirs struct {
		name     string
		flags    uint64
		creation uint32
	}
}

// modernFlags are those of OTP 27 that matter here.
const modernFlags = 0x1d07df7fbd

// fake starts a node that treats every connection with script.
func fake(t testing.TB, script func(*fakePeer) error) dist.Target {
	t.Helper()
	address := listen(t, func(c net.Conn) {
		_ = script(&fakePeer{Conn: c, name: fakeName, cookie: fakeCookie, flags: modernFlags})
	})
	return dist.Target{Node: fakeName, Cookie: fakeCookie, Address: address}
}

func (p *fakePeer) readShort() ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(p, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(p, b)
	return b, err
}

func (p *fakePeer) sendShort(b []byte) error {
	_, err := p.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	return err
}

// hello reads the first message of the handshake.
func (p *fakePeer) hello() error {
	b, err := p.readShort()
	if err != nil {
		return err
	}
	if b[0] != 'N' || len(b) < 15 {
		return fmt.Errorf("hello %q", b)
	}
	p.theirs.flags = binary.BigEndian.Uint64(b[1:])
	p.theirs.creation = binary.BigEndian.Uint32(b[9:])
	p.theirs.name = string(b[15:])
	return nil
}

func (p *fakePeer) challenge() []byte {
	b := binary.BigEndian.AppendUint64([]byte{'N'}, p.flags)
	b = binary.BigEndian.AppendUint32(b, 4711)
	b = binary.BigEndian.AppendUint32(b, 42)
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.name)))
	return append(b, p.name...)
}

func proof(cookie string, challenge uint32) []byte {
	sum := md5.Sum([]byte(cookie + strconv.FormatUint(uint64(challenge), 10)))
	return sum[:]
}

// shake makes the whole handshake of the accepting side.
func (p *fakePeer) shake() error {
	if err := p.hello(); err != nil {
		return err
	}
	if err := errors.Join(p.sendShort([]byte("sok")), p.sendShort(p.challenge())); err != nil {
		return err
	}
	b, err := p.readShort()
	if err != nil {
		return err
	}
	if b[0] != 'r' || len(b) != 21 || !bytes.Equal(b[5:], proof(p.cookie, 4711)) {
		return fmt.Errorf("reply %q", b)
	}
	return p.sendShort(append([]byte{'a'}, proof(p.cookie, binary.BigEndian.Uint32(b[1:]))...))
}

// frame reads a frame; an empty one is a tick.
func (p *fakePeer) frame() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(p, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(p, b)
	return b, err
}

// request reads frames up to the next call of rex and gives caller and
// reference.
func (p *fakePeer) request() (etf.Pid, etf.Term, error) {
	for {
		control, message, err := p.message()
		if err != nil {
			return etf.Pid{}, nil, err
		}
		call, ok := message.(etf.Tuple)
		if control[0] != int64(6) || !ok || call[0] != etf.Atom("$gen_call") {
			continue
		}
		from := call[1].(etf.Tuple)
		return from[0].(etf.Pid), from[1], nil
	}
}

// message reads the next frame that is no tick.
func (p *fakePeer) message() (control etf.Tuple, message etf.Term, err error) {
	b := []byte{}
	for len(b) == 0 {
		if b, err = p.frame(); err != nil {
			return nil, nil, err
		}
	}
	term, rest, err := etf.DecodePrefix(b[1:], etf.Limits{})
	if err != nil {
		return nil, nil, err
	}
	if len(rest) > 0 {
		message, err = etf.Decode(rest, etf.Limits{})
	}
	return term.(etf.Tuple), message, err
}

// send sends a control message, with a message to carry or without.
func (p *fakePeer) send(control etf.Tuple, message ...etf.Term) error {
	b := []byte{0, 0, 0, 0, 112}
	b, err := etf.Append(b, control)
	for _, m := range message {
		if err == nil {
			b, err = etf.Append(b, m)
		}
	}
	if err != nil {
		return err
	}
	return p.sendRaw(b[4:])
}

// sendRaw sends a frame of any bytes.
func (p *fakePeer) sendRaw(b []byte) error {
	_, err := p.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// attach makes the handshake and answers the question for the tick time. It
// gives the pid of the other side.
func (p *fakePeer) attach(tick int64) (etf.Pid, error) {
	if err := p.shake(); err != nil {
		return etf.Pid{}, err
	}
	from, ref, err := p.request()
	if err != nil {
		return etf.Pid{}, err
	}
	return from, p.send(etf.Tuple{int64(2), etf.Atom(""), from}, etf.Tuple{ref, tick})
}

// drain reads until the other side hangs up.
func (p *fakePeer) drain() error {
	_, err := io.Copy(io.Discard, p)
	return err
}

// fakeEPMD answers every request with the same bytes, after which it hangs up.
func fakeEPMD(t testing.TB, answer []byte) string {
	t.Helper()
	return listen(t, func(c net.Conn) {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		_, _ = io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint16(size[:])))
		_, _ = c.Write(answer)
	})
}

// port2 is epmd's answer that a node is at a port.
func port2(port int, highest uint16) []byte {
	b := binary.BigEndian.AppendUint16([]byte{119, 0}, uint16(port))
	b = append(b, 77, 0)
	b = binary.BigEndian.AppendUint16(b, highest)
	return append(binary.BigEndian.AppendUint16(b, 5), 0, 4, 'f', 'a', 'k', 'e', 0, 0)
}

// joinDrain drains unless there is an error already.
func joinDrain(p *fakePeer, err error) error {
	if err != nil {
		return err
	}
	return p.drain()
}
