package dist

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	ergoetf "github.com/ergo-services/ergo/etf"
	"github.com/ergo-services/ergo/node"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/exporter/etf/etftest"
)

// peerBytes is the other side of a handshake: it says what it has, whatever
// it hears.
type peerBytes struct {
	io.Reader
	io.Writer
}

func message(text string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(text))), text...)
}

// FuzzHandshake holds that nobody gets through the handshake without the
// cookie, and that nothing is read beyond the longest handshake.
func FuzzHandshake(f *testing.F) {
	challenge := "N" + "\x00\x00\x00\x1d\x07\xdf\x7f\xbd" + "\x00\x00\x12\x67" + "\x00\x00\x00\x2a" + "\x00\x03a@b"
	f.Add(bytes.Join([][]byte{message("sok"), message(challenge), message("a0123456789abcdef")}, nil))
	for _, m := range []string{"", "s", "sok", "salive", "snok", "snot_allowed", "snamed:\x00\x01a", "sok_simultaneous", challenge} {
		f.Add(append(message("sok"), message(m)...))
		f.Add(message(m))
	}
	f.Add([]byte{0xff, 0xff})
	f.Add([]byte{21, 3, 3, 0, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, wide := range []bool{false, true} {
			in := bytes.NewReader(b)
			_, err := shake(handshaker{peerBytes{in, io.Discard}, wide}, identity{name: "us@b", flags: ourFlags}, "a@b", "s3cr3t")
			require.Error(t, err)
			require.LessOrEqual(t, len(b)-in.Len(), 3*(4+maxHandshake))
			text := asError("a@b", "dial", err).Error()
			require.Less(t, len(text), 1000)
			require.NotContains(t, text, "s3cr3t")
		}
	})
}

// FuzzEPMD feeds both answers of epmd.
func FuzzEPMD(f *testing.F) {
	f.Add([]byte{119, 0, 0x12, 0x67, 77, 0, 0, 6, 0, 5, 0, 1, 'a', 0, 0})
	f.Add([]byte{119, 1})
	f.Add([]byte("\x00\x00\x11\x11name rabbit at port 25672\nname x at port 70000\n"))
	f.Add([]byte("\x00\x00\x11\x11" + strings.Repeat("name a at port 1\n", 10_010)))
	f.Add(make([]byte, 8192))
	f.Fuzz(func(t *testing.T, b []byte) {
		if answer, err := readPort(bytes.NewReader(b)); err == nil && answer.known {
			require.NotZero(t, answer.port)
		}
		names, _ := readNames(bufio.NewReader(bytes.NewReader(b)))
		require.LessOrEqual(t, len(names), maxEPMDNames)
		for _, n := range names {
			if n.Name == "" || len(n.Name) > maxNodeName {
				t.Fatalf("name %q", n.Name)
			}
		}
	})
}

// nobody is a router whose processes take everything.
type nobody struct{ node.CoreRouter }

func (nobody) RouteSend(_, _ ergoetf.Pid, _ ergoetf.Term) error { return nil }

// loose is a connection without a socket.
func loose(maxFrame int) *Conn {
	n, err := New(Options{Name: "us@b", MaxFrame: maxFrame, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	c := &Conn{
		net: n, target: Target{Node: "a@b"}, self: n.pid(1001), log: n.log,
		out: make(chan outgoing, 1), tickBack: make(chan struct{}, 1), done: make(chan struct{}),
		calls: map[uint64]chan etf.Term{}, monitors: map[uint64]etf.Pid{},
	}
	c.box = newMailbox(c.answer, 1)
	c.box.router = nobody{}
	return c
}

func frame(t testing.TB, ctl etf.Tuple, carried ...etf.Term) []byte {
	t.Helper()
	b, err := buildFrame(ctl, carried...)
	require.NoError(t, err)
	return b
}

// FuzzFrames feeds what comes after the handshake. Answers are to be frames of
// one of the four kinds that we give.
func FuzzFrames(f *testing.F) {
	c := loose(1 << 16)
	pid, ref := etf.Pid{Node: "a@b", ID: 1, Creation: 1}, etf.Ref{Node: "a@b", Creation: 1, IDs: []uint32{1, 2, 3}}
	kernel := etf.Tuple{int64(opRegSend), pid, etf.Atom(""), netKernel}
	ping := etf.Tuple{etf.Atom("$gen_call"), etf.Tuple{pid, ref}, etf.Tuple{etf.Atom("is_auth"), etf.Atom("a@b")}}
	for _, seed := range [][]byte{
		{0, 0, 0, 0},
		{0xff, 0xff, 0xff, 0xff},
		frame(f, etf.Tuple{int64(opSend), etf.Atom(""), c.self}, etf.Atom("hello")),
		frame(f, etf.Tuple{int64(opSendSender), pid, c.self}, etf.List{int64(1)}),
		frame(f, etf.Tuple{int64(opLink), pid, pid}),
		frame(f, etf.Tuple{int64(opUnlinkID), int64(7), pid, c.self}),
		frame(f, etf.Tuple{int64(opMonitor), pid, etf.Atom("x"), ref}),
		frame(f, etf.Tuple{int64(opMonitorExit), pid, c.self, ref, etf.Atom("normal")}),
		frame(f, etf.Tuple{int64(opSpawnRequest), ref, pid, pid, etf.Tuple{}, etf.List{}}, etf.List{}),
		frame(f, kernel, ping),
	} {
		f.Add(seed)
	}
	for _, h := range etftest.Hostile() {
		if b := h.Bytes(); len(b) < 1000 {
			f.Add(append(binary.BigEndian.AppendUint32(nil, uint32(len(b)+1)), append([]byte{passThrough}, b...)...))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := loose(1 << 16)
		answers := make(chan []outgoing)
		go func() {
			var all []outgoing
			for o := range c.out {
				all = append(all, o)
			}
			answers <- all
		}()
		frames := newFrameReader(bytes.NewReader(b), c.net.opts.MaxFrame)
		for {
			frame, err := frames.next()
			if err == nil {
				err = c.handle(frame)
			}
			if err != nil {
				break
			}
		}
		close(c.out)
		for _, o := range <-answers {
			ctl, err := parseFrame(o.frame[4:], etf.Limits{})
			require.NoError(t, err)
			require.Contains(t, []int64{opSend, opExit, opMonitorExit, opUnlinkIDAck, opSpawnReply}, ctl.op)
		}
	})
}

// TestAnswers holds what a node gets for each request that is not a message
// for us.
func TestAnswers(t *testing.T) {
	t.Parallel()
	pid, ref := etf.Pid{Node: "a@b", ID: 1, Creation: 1}, etf.Ref{Node: "a@b", Creation: 1, IDs: []uint32{1, 2, 3}}
	c := loose(1 << 16)
	other := etf.Pid{Node: "us@b", ID: 5}
	tag := etf.ImproperList{Elements: []etf.Term{etf.Atom("alias")}, Tail: ref}
	call := func(request etf.Term) etf.Term {
		return etf.Tuple{etf.Atom("$gen_call"), etf.Tuple{pid, tag}, request}
	}
	kernel := etf.Tuple{int64(6), pid, etf.Atom(""), etf.Atom("net_kernel")}
	cases := map[string]struct {
		asked    etf.Tuple
		carried  []etf.Term
		answer   etf.Tuple // nil for none
		carrying etf.Term
	}{
		"monitor us":              {asked: etf.Tuple{int64(19), pid, c.self, ref}},
		"monitor net_kernel":      {asked: etf.Tuple{int64(19), pid, etf.Atom("net_kernel"), ref}},
		"monitor a name":          {etf.Tuple{int64(19), pid, etf.Atom("x"), ref}, nil, etf.Tuple{int64(21), etf.Atom("x"), pid, ref, etf.Atom("noproc")}, nil},
		"monitor another process": {etf.Tuple{int64(19), pid, other, ref}, nil, etf.Tuple{int64(21), other, pid, ref, etf.Atom("noproc")}, nil},
		"demonitor":               {asked: etf.Tuple{int64(20), pid, other, ref}},
		"link us":                 {asked: etf.Tuple{int64(1), pid, c.self}},
		"link another process":    {etf.Tuple{int64(1), pid, other}, nil, etf.Tuple{int64(3), other, pid, etf.Atom("noproc")}, nil},
		"unlink":                  {etf.Tuple{int64(35), int64(9), pid, c.self}, nil, etf.Tuple{int64(36), int64(9), c.self, pid}, nil},
		"old unlink":              {asked: etf.Tuple{int64(4), pid, c.self}},
		"spawn": {
			etf.Tuple{int64(29), ref, pid, pid, etf.Tuple{etf.Atom("os"), etf.Atom("cmd"), int64(1)}, etf.List{}},
			[]etf.Term{etf.List{}}, etf.Tuple{int64(31), ref, pid, int64(0), etf.Atom("notsup")}, nil,
		},
		"ping":         {kernel, []etf.Term{call(etf.Tuple{etf.Atom("is_auth"), etf.Atom("a@b")})}, etf.Tuple{int64(2), etf.Atom(""), pid}, etf.Tuple{tag, etf.Atom("yes")}},
		"spawn by old": {kernel, []etf.Term{call(etf.Tuple{etf.Atom("spawn")})}, etf.Tuple{int64(2), etf.Atom(""), pid}, etf.Tuple{tag, etf.Tuple{etf.Atom("error"), etf.Atom("notsup")}}},
		"exit":         {asked: etf.Tuple{int64(8), pid, c.self, etf.Atom("kill")}},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, c.handle(frame(t, test.asked, test.carried...)[4:]))
			if test.answer == nil {
				require.Empty(t, c.out)
				return
			}
			o := <-c.out
			ctl, err := parseFrame(o.frame[4:], etf.Limits{})
			require.NoError(t, err)
			require.True(t, etf.Equal(test.answer, append(etf.Tuple{ctl.op}, ctl.args...)), etf.Format(ctl.args))
			if test.carrying != nil {
				carried, err := etf.Decode(ctl.payload, etf.Limits{})
				require.NoError(t, err)
				require.True(t, etf.Equal(test.carrying, carried), etf.Format(carried))
			}
		})
	}
}

// TestListenerRefuses knocks at ergo's listener, which is bound to loopback.
func TestListenerRefuses(t *testing.T) {
	t.Parallel()
	n, err := New(Options{Name: "us@b"})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	<-n.ready
	port := n.ergo.Registrar().(*registrar).port
	for range 3 {
		c, err := net.Dial("tcp", net.JoinHostPort(loopback, strconv.Itoa(int(port))))
		require.NoError(t, err)
		require.NoError(t, c.SetDeadline(time.Now().Add(5*time.Second)))
		_, err = io.ReadAll(c)
		require.False(t, isTimeout(err), "it keeps the connection")
		require.NoError(t, c.Close())
	}
	require.Error(t, n.ergo.Connect("a@b"), "ergo dials nobody by itself")
	stop()
	require.NoError(t, <-ended)
	_, err = net.Dial("tcp", net.JoinHostPort(loopback, strconv.Itoa(int(port))))
	require.Error(t, err)
}

// TestReferences holds that references do not repeat where ergo's do.
func TestReferences(t *testing.T) {
	t.Parallel()
	n, err := New(Options{Name: "us@b"})
	require.NoError(t, err)
	n.refs.Store(1<<18 - 2)
	for want := uint64(1<<18 - 1); want < 1<<18+3; want++ {
		ref, id := n.newRef()
		require.Equal(t, want, id)
		require.Less(t, ref.IDs[0], uint32(1<<18))
		got, ours := n.ownRef(ref)
		require.True(t, ours)
		require.Equal(t, want, got)
	}
	other, err := New(Options{Name: "us@b"})
	require.NoError(t, err)
	ref, _ := other.newRef()
	_, ours := n.ownRef(ref)
	require.False(t, ours, "of an earlier life")
}
