package dist_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/exporter/etf/etftest"
	"github.com/erlops/erlops/internal/erltest"
)

const memoryLimit = 256 << 20

// hostility is what a peer does once it is connected.
type hostility struct {
	name string
	// attack is given our process. The connection stays open after it.
	attack func(p *fakePeer, self etf.Pid) error
	// survives is set when the connection is to outlive it.
	survives bool
}

// frames makes a hostility of the bytes of frames.
func frames(name string, bodies ...[]byte) hostility {
	return hostility{name: name, attack: func(p *fakePeer, _ etf.Pid) error {
		for _, b := range bodies {
			if err := p.sendRaw(b); err != nil {
				return err
			}
		}
		return nil
	}}
}

// controls makes a hostility of control messages without a message to carry.
func controls(name string, survives bool, all ...etf.Tuple) hostility {
	return hostility{name: name, survives: survives, attack: func(p *fakePeer, _ etf.Pid) error {
		for _, c := range all {
			if err := p.send(c); err != nil {
				return err
			}
		}
		return nil
	}}
}

func external(t etf.Term) []byte {
	b, err := etf.Append(nil, t)
	if err != nil {
		panic(err)
	}
	return b
}

// raw writes bytes as they are.
func raw(name string, b ...byte) hostility {
	return hostility{name: name, attack: func(p *fakePeer, _ etf.Pid) error {
		_, err := p.Write(b)
		return err
	}}
}

// stream makes a hostility of bytes and others that are repeated until the
// connection ends.
func stream(name string, first, then []byte) hostility {
	return hostility{name: name, attack: func(p *fakePeer, _ etf.Pid) error {
		_, err := p.Write(first)
		for err == nil {
			_, err = p.Write(then)
		}
		return err
	}}
}

// sized is a frame with its length.
func sized(frame []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)
}

var (
	somePid = etf.Pid{Node: fakeName, ID: 1, Creation: 42}
	someRef = etf.Ref{Node: fakeName, Creation: 42, IDs: []uint32{1, 2, 3}}
)

// brokenFrames are what is wrong before a term is even looked at, and control
// messages that make no sense.
func brokenFrames() []hostility {
	fragment := append([]byte{131, 69}, make([]byte, 17)...)
	return []hostility{
		raw("length of 4 GB", 0xff, 0xff, 0xff, 0xff),
		raw("length just beyond the limit", 1, 0, 0, 1),
		raw("text", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")...),
		raw("TLS alert", 21, 3, 3, 0, 2, 2, 70),
		frames("only 112", []byte{112}),
		frames("only 131", []byte{131}),
		frames("distribution header", []byte{131, 68, 0}),
		frames("distribution header cut short", []byte{131, 68}),
		frames("distribution header with atoms", append([]byte{131, 68, 255}, make([]byte, 4096)...)),
		frames("fragment", fragment),
		stream("endless fragments", sized(fragment), sized(append([]byte{131, 70}, make([]byte, 16)...))),
		stream("endless nesting", append(binary.BigEndian.AppendUint32(nil, 16<<20), 112, 131), bytes.Repeat([]byte{104, 1}, 4096)),
		stream("endless list", append(binary.BigEndian.AppendUint32(nil, 16<<20), 112, 131, 108, 0, 255, 255, 240), bytes.Repeat([]byte{106}, 8192)),
		frames("gzip", []byte{31, 139, 8, 0, 0, 0, 0, 0}),
		frames("unknown type", []byte{0}),
		controls("no operation", false, etf.Tuple{}),
		controls("operation is an atom", false, etf.Tuple{etf.Atom("send")}),
		controls("operation is big", false, etf.Tuple{new(big.Int).Lsh(big.NewInt(1), 100)}),
		frames("control is no tuple", append([]byte{112}, external(int64(2))...)),
		controls("send without message", false, etf.Tuple{int64(2), etf.Atom(""), somePid}),
		controls("send without receiver", false, etf.Tuple{int64(2)}),
		controls("named send without message", false, etf.Tuple{int64(6), somePid, etf.Atom(""), etf.Atom("x")}),
		controls("monitor without arguments", false, etf.Tuple{int64(19)}),
		controls("down without arguments", false, etf.Tuple{int64(21), somePid}),
		controls("down without reference", false, etf.Tuple{int64(21), somePid, somePid, int64(1), int64(1)}),
		controls("link without arguments", false, etf.Tuple{int64(1)}),
		controls("unlink without arguments", false, etf.Tuple{int64(35)}),
		controls("spawn without arguments", false, etf.Tuple{int64(29)}),
	}
}

// odd are things that a peer may do, if it insists.
func odd() []hostility {
	return []hostility{
		controls("unknown operations", true,
			etf.Tuple{int64(0)}, etf.Tuple{int64(-1)}, etf.Tuple{int64(1 << 40)}, etf.Tuple{int64(99), etf.List{}}),
		controls("exits of nobody", true,
			etf.Tuple{int64(3), somePid, somePid, etf.Atom("kill")}, etf.Tuple{int64(8), int64(1), int64(2), etf.Atom("kill")},
			etf.Tuple{int64(21), somePid, somePid, someRef, etf.Atom("x")}, etf.Tuple{int64(7), somePid, somePid}),
		controls("monitors of nonsense", true,
			etf.Tuple{int64(19), int64(1), etf.List{}, etf.Tuple{}}, etf.Tuple{int64(1), etf.Atom("x"), etf.Atom("y")},
			etf.Tuple{int64(35), new(big.Int).Lsh(big.NewInt(1), 63), somePid, somePid}),
		{"messages to others", func(p *fakePeer, self etf.Pid) error {
			self.ID++
			return errors.Join(
				p.send(etf.Tuple{int64(2), etf.Atom(""), self}, etf.Atom("x")),
				p.send(etf.Tuple{int64(6), somePid, etf.Atom(""), etf.Atom("rex")}, etf.Atom("x")),
				p.send(etf.Tuple{int64(33), somePid, someRef}, etf.Atom("x")),
				p.sendRaw(append(append([]byte{112}, external(etf.Tuple{int64(2), etf.Atom(""), self})...), 131, 255)))
		}, true},
		{"calls of net_kernel", func(p *fakePeer, _ etf.Pid) error {
			to := etf.Tuple{int64(6), somePid, etf.Atom(""), etf.Atom("net_kernel")}
			call := etf.Atom("$gen_call")
			return errors.Join(p.send(to, call), p.send(to, etf.Tuple{call, int64(1), int64(2)}),
				p.send(to, etf.Tuple{call, etf.Tuple{int64(1), int64(2)}, int64(2)}),
				p.send(to, etf.Tuple{call, etf.Tuple{somePid, etf.List{}}, etf.Atom("x")}))
		}, true},
		{"answers to nobody", func(p *fakePeer, self etf.Pid) error {
			ref := etf.Ref{Node: self.Node, Creation: self.Creation, IDs: []uint32{1, 0, 0}}
			to := etf.Tuple{int64(2), etf.Atom(""), self}
			return errors.Join(p.send(to, etf.Tuple{ref, int64(1)}), p.send(to, etf.Tuple{ref, int64(1)}), p.send(to, ref))
		}, true},
		{"one byte at a time", func(p *fakePeer, self etf.Pid) error {
			b := append([]byte{112}, external(etf.Tuple{int64(2), etf.Atom(""), self})...)
			b = append(b, external(etf.Atom("slowly"))...)
			for _, one := range sized(b) {
				if _, err := p.Write([]byte{one}); err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
			}
			return nil
		}, true},
		{"flood of ticks", func(p *fakePeer, _ etf.Pid) error {
			_, err := p.Write(make([]byte, 4<<20))
			return err
		}, true},
		{"flood of messages", func(p *fakePeer, self etf.Pid) error {
			for range 20_000 {
				if err := p.send(etf.Tuple{int64(2), etf.Atom(""), self}, etf.List{etf.Atom("x"), int64(1)}); err != nil {
					return err
				}
			}
			return nil
		}, true},
		{"flood of large messages", func(p *fakePeer, self etf.Pid) error {
			large := make([]byte, 8<<20)
			for range 12 {
				if err := p.send(etf.Tuple{int64(2), etf.Atom(""), self}, large); err != nil {
					return err
				}
			}
			return nil
		}, true},
		{"flood of monitors", func(p *fakePeer, _ etf.Pid) error {
			// Nobody reads the answers, so this ends by the write timeout.
			one := append([]byte{112}, external(etf.Tuple{int64(19), somePid, etf.Atom("nobody"), someRef})...)
			many := bytes.Repeat(sized(one), 1000)
			for {
				if _, err := p.Write(many); err != nil {
					return err
				}
			}
		}, false},
	}
}

// terms puts the codec's hostile inputs where a control message belongs, and
// where a message to our process does.
func terms() (all []hostility) {
	for _, c := range etftest.Hostile() {
		if strings.Contains(c.Name, "20M") {
			continue // 40 MB and more, beyond the longest frame; the deepest that fits one is looked at elsewhere
		}
		bodies := c.Bytes
		all = append(all, hostility{"control/" + c.Name, func(p *fakePeer, _ etf.Pid) error {
			return p.sendRaw(append([]byte{112}, bodies()...))
		}, false})
		if c.Name == "frame/empty" {
			continue // a message of nothing is none, which is looked at elsewhere
		}
		all = append(all, hostility{"message/" + c.Name, func(p *fakePeer, self etf.Pid) error {
			return p.sendRaw(append(append([]byte{112}, external(etf.Tuple{int64(2), etf.Atom(""), self})...), bodies()...))
		}, false})
	}
	return all
}

// TestHostilePeers connects to one misbehaving peer after the other, several
// at a time, while a healthy neighbour is called. Not parallel to other tests:
// it watches the memory of the process.
func TestHostilePeers(t *testing.T) {
	n := start(t, dist.Options{WriteTimeout: time.Second})
	neighbour := erltest.Start(t, erltest.Options{})
	healthy := dial(t, n, target(neighbour))
	stop := watch(t, healthy)
	defer stop()

	var next atomic.Int32
	all := append(append(brokenFrames(), odd()...), terms()...)
	t.Logf("%d hostile peers", len(all))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(all) {
					return
				}
				if err := suffer(t, n, all[i], i); err != nil {
					t.Errorf("%s: %v", all[i].name, err)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, healthy.Err())
}

// suffer connects to a hostile peer and lets it do its worst.
func suffer(t testing.TB, n *dist.Network, h hostility, i int) error {
	t.Helper()
	name := fmt.Sprintf("hostile%d@127.0.0.1", i)
	dialled, done := make(chan struct{}), make(chan struct{})
	attacked := make(chan error, 1)
	to := fake(t, func(p *fakePeer) error {
		p.name = name
		self, err := p.attach(60)
		if err == nil {
			<-dialled
			err = h.attack(p, self)
		}
		attacked <- err
		<-done
		return err
	})
	defer close(done)
	to.Node = name
	c, err := n.Dial(context.Background(), to)
	close(dialled)
	if err != nil {
		return err
	}
	defer c.Close()
	if !h.survives {
		select {
		case <-c.Done():
		case <-time.After(20 * time.Second):
			return errors.New("the connection lives")
		}
		if !errors.Is(c.Err(), dist.ErrProtocol) && !errors.Is(c.Err(), dist.ErrTimeout) {
			return fmt.Errorf("it ended as %w", c.Err())
		}
		return nil
	}
	if err := <-attacked; err != nil {
		return err
	}
	before := c.Stats().MessagesIn
	time.Sleep(50 * time.Millisecond)
	if c.Stats().MessagesIn < before {
		return errors.New("the counter runs backwards")
	}
	return c.Err()
}

// watch calls a healthy node and looks at the memory until stop is called.
func watch(t testing.TB, c *dist.Conn) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var slowest time.Duration
	wg.Go(func() {
		for ctx.Err() == nil {
			began := time.Now()
			if _, err := c.Call(context.Background(), "erlang", "node"); err != nil {
				t.Errorf("the neighbour: %v", err)
				return
			}
			slowest = max(slowest, time.Since(began))
			time.Sleep(time.Millisecond)
		}
	})
	var peak uint64
	wg.Go(func() {
		sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
		for ctx.Err() == nil {
			metrics.Read(sample)
			peak = max(peak, sample[0].Value.Uint64()-sample[1].Value.Uint64())
			time.Sleep(2 * time.Millisecond)
		}
	})
	return func() {
		cancel()
		wg.Wait()
		t.Logf("the neighbour answered within %s; %d MB of memory at most", slowest, peak>>20)
		if peak > memoryLimit {
			t.Errorf("%d MB of memory", peak>>20)
		}
	}
}
