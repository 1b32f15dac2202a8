package dist_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/internal/erltest"
)

// requireKind holds that err is an *Error of a kind, with the sentinel, the
// texts given, and never the cookie.
func requireKind(t testing.TB, err error, kind dist.Kind, sentinel error, texts ...string) {
	t.Helper()
	var e *dist.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, kind, e.Kind, err.Error())
	require.ErrorIs(t, err, sentinel)
	for _, text := range texts {
		require.ErrorContains(t, err, text)
	}
	require.NotContains(t, err.Error(), fakeCookie)
	require.Contains(t, err.Error(), ";", "what to do is missing")
}

// otherName gives a node another name, the host stays.
func otherName(node, name string) string {
	_, host, _ := strings.Cut(node, "@")
	return name + "@" + host
}

func TestDialRefusals(t *testing.T) {
	t.Parallel()
	peer := erltest.Start(t, erltest.Options{Cookie: fakeCookie})
	n := start(t, dist.Options{DialTimeout: time.Second})
	closed := net.JoinHostPort("127.0.0.1", strconv.Itoa(erltest.FreePort(t)))
	good := target(peer)
	cases := map[string]struct {
		change   func(*dist.Target)
		kind     dist.Kind
		sentinel error
		texts    []string
	}{
		"wrong cookie": {
			func(to *dist.Target) { to.Cookie = "guess" },
			dist.KindCookie, dist.ErrCookie, []string{"erlang:get_cookie()"},
		},
		"empty cookie": {
			func(to *dist.Target) { to.Cookie = "" },
			dist.KindCookie, dist.ErrCookie, nil,
		},
		"name mismatch": {
			func(to *dist.Target) { to.Node, to.Address = otherName(to.Node, "other"), peer.Address() },
			dist.KindNameMismatch, dist.ErrNameMismatch, []string{strconv.Quote(peer.Name), `"` + otherName(peer.Name, "other") + `"`},
		},
		"unknown to epmd": {
			func(to *dist.Target) { to.Node = otherName(to.Node, "nobody") },
			dist.KindUnknownToEPMD, dist.ErrUnknownToEPMD, []string{peer.EPMD, `"nobody"`, `it has "` + strings.Split(peer.Name, "@")[0]},
		},
		"no epmd": {
			func(to *dist.Target) { to.EPMD = closed },
			dist.KindEPMDUnreachable, dist.ErrEPMDUnreachable, []string{closed, "refused"},
		},
		"refused": {
			func(to *dist.Target) { to.Address = closed },
			dist.KindRefused, dist.ErrRefused, []string{closed},
		},
		"no such host": {
			func(to *dist.Target) { to.Node, to.EPMD = "a@no-such-host.invalid", "" },
			dist.KindDNS, dist.ErrDNS, []string{"no-such-host.invalid"},
		},
		"address without port": {
			func(to *dist.Target) { to.Address = "127.0.0.1" },
			dist.KindDNS, dist.ErrDNS, []string{`"127.0.0.1" is not host:port`},
		},
		"epmd with bad port": {
			func(to *dist.Target) { to.EPMD = "127.0.0.1:epmd" },
			dist.KindEPMDUnreachable, dist.ErrEPMDUnreachable, []string{`port "epmd"`},
		},
		"bad name": {
			func(to *dist.Target) { to.Node = "a@b@c" },
			dist.KindBadName, dist.ErrBadName, []string{`"a@b@c"`, "more than one @"},
		},
		"our own name": {
			func(to *dist.Target) { to.Node = n.Name() },
			dist.KindNameTaken, dist.ErrNameTaken, []string{"like the exporter itself"},
		},
		"TLS to a plaintext node": {
			func(to *dist.Target) { to.TLS = &tls.Config{MinVersion: tls.VersionTLS12} },
			dist.KindTLS, dist.ErrTLS, nil,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			to := good
			c.change(&to)
			_, err := n.Dial(t.Context(), to)
			requireKind(t, err, c.kind, c.sentinel, c.texts...)
		})
	}
	require.Equal(t, "[]", peer.Eval(t, "nodes(connected)"))
	dial(t, n, good)
}

func TestDialNotAllowed(t *testing.T) {
	t.Parallel()
	peer := erltest.Start(t, erltest.Options{})
	peer.Eval(t, "net_kernel:allow(['friend@somewhere'])")
	_, err := start(t, dist.Options{}).Dial(t.Context(), target(peer))
	requireKind(t, err, dist.KindNotAllowed, dist.ErrNotAllowed, `"erl_exporter@127.0.0.1"`, "net_kernel:allow/1")
}

// TestNameTaken dials with the same name from two processes, as two exporters
// do by mistake. The first one keeps working.
func TestNameTaken(t *testing.T) {
	t.Parallel()
	peer := erltest.Start(t, erltest.Options{})
	first := dial(t, start(t, dist.Options{}), target(peer))
	n := start(t, dist.Options{})
	for range 3 {
		_, err := n.Dial(t.Context(), target(peer))
		requireKind(t, err, dist.KindNameTaken, dist.ErrNameTaken, `"erl_exporter@127.0.0.1"`)
	}
	_, err := first.Call(t.Context(), "erlang", "node")
	require.NoError(t, err)
	require.NoError(t, first.Close())
	require.Eventually(t, func() bool { return peer.Eval(t, "nodes(hidden)") == "[]" }, 5*time.Second, 10*time.Millisecond)
	dial(t, n, target(peer))
	require.Equal(t, "0", peer.Eval(t,
		"length([P || P <- processes(), {current_function, {dist_util, _, _}} <- [process_info(P, current_function)]]) - 1"),
		"the node holds no half-open connections")
}

// TestRedialBeforeGoodbye dials a node that has not yet seen that our last
// connection is gone.
func TestRedialBeforeGoodbye(t *testing.T) {
	t.Parallel()
	var attempts atomic.Int32
	to := fake(t, func(p *fakePeer) error {
		switch attempts.Add(1) {
		case 2, 3:
			if err := errors.Join(p.hello(), p.sendShort([]byte("salive"))); err != nil {
				return err
			}
			answer, err := p.readShort()
			if err == nil && string(answer) != "sfalse" {
				t.Errorf("answer to alive: %q", answer)
			}
			return err
		default:
			if _, err := p.attach(60); err != nil {
				return err
			}
			return p.drain()
		}
	})
	n := start(t, dist.Options{})
	require.NoError(t, dial(t, n, to).Close())
	dial(t, n, to)
	require.EqualValues(t, 4, attempts.Load())
}

func TestSingleFlight(t *testing.T) {
	t.Parallel()
	var dialled atomic.Int32
	release := make(chan struct{})
	to := fake(t, func(p *fakePeer) error {
		dialled.Add(1)
		<-release
		if _, err := p.attach(60); err != nil {
			return err
		}
		return p.drain()
	})
	n := start(t, dist.Options{})
	conns := make([]*dist.Conn, 50)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			c, err := n.Dial(t.Context(), to)
			if err != nil {
				t.Error(err)
			}
			conns[i] = c
		})
	}
	impatient, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := n.Dial(impatient, to)
	requireKind(t, err, dist.KindTimeout, dist.ErrTimeout, "handshake with the node at "+to.Address)
	other := to
	other.Cookie = "another"
	_, err = n.Dial(t.Context(), other)
	requireKind(t, err, dist.KindConflict, dist.ErrConflict, "being dialled")
	close(release)
	wg.Wait()
	require.EqualValues(t, 1, dialled.Load())
	for _, c := range conns {
		require.Same(t, conns[0], c)
	}
	require.Same(t, conns[0], dial(t, n, to), "a live connection is shared")
	_, err = n.Dial(t.Context(), other)
	requireKind(t, err, dist.KindConflict, dist.ErrConflict)
}

// TestFirstCalls makes 50 first calls at once to a real node.
func TestFirstCalls(t *testing.T) {
	t.Parallel()
	peer := erltest.Start(t, erltest.Options{})
	n := start(t, dist.Options{})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			c, err := n.Dial(t.Context(), target(peer))
			if err == nil {
				_, err = c.Call(t.Context(), "erlang", "node")
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestAbandonedDial holds that nothing stays of a dialling that nobody waits
// for any more.
func TestAbandonedDial(t *testing.T) {
	t.Parallel()
	hungUp := make(chan struct{})
	to := fake(t, func(p *fakePeer) error {
		defer close(hungUp)
		return p.drain()
	})
	n := start(t, dist.Options{DialTimeout: time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := n.Dial(ctx, to)
	requireKind(t, err, dist.KindTimeout, dist.ErrTimeout)
	select {
	case <-hungUp:
	case <-time.After(5 * time.Second):
		t.Fatal("the connection is still open")
	}
}

// TestManyImpatientDials gives up and dials again and again: nobody gets the
// error of a dialling that others have given up, or a connection that ends.
func TestManyImpatientDials(t *testing.T) {
	t.Parallel()
	n := start(t, dist.Options{})
	to := fake(t, func(p *fakePeer) error {
		_, err := p.attach(60)
		return joinDrain(p, err)
	})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration((i*j)%7)*time.Millisecond)
				_, err := n.Dial(ctx, to)
				cancel()
				if err != nil && !errors.Is(err, dist.ErrTimeout) {
					t.Error(err)
				}
				if c, err := n.Dial(t.Context(), to); err != nil {
					t.Error(err)
				} else if j%5 == 0 {
					_ = c.Close()
				}
			}
		})
	}
	wg.Wait()
}

// TestSilence dials what says nothing, at every step.
func TestSilence(t *testing.T) {
	t.Parallel()
	drain := func(c net.Conn) { _ = (&fakePeer{Conn: c}).drain() }
	cases := map[string]struct {
		to       dist.Target
		kind     dist.Kind
		sentinel error
		text     string
	}{
		"black hole": {
			dist.Target{Address: blackHole(t)}, dist.KindTimeout, dist.ErrTimeout, "127.0.0.1:",
		},
		"black hole for epmd": {
			dist.Target{EPMD: blackHole(t)}, dist.KindEPMDUnreachable, dist.ErrEPMDUnreachable, "epmd at 127.0.0.1:",
		},
		"silent epmd": {
			dist.Target{EPMD: listen(t, drain)}, dist.KindEPMDUnreachable, dist.ErrEPMDUnreachable, "timeout",
		},
		"silent node": {
			fake(t, (*fakePeer).drain), dist.KindTimeout, dist.ErrTimeout, "waiting for the status",
		},
		"silent after the status": {
			fake(t, func(p *fakePeer) error { return errors.Join(p.sendShort([]byte("sok")), p.drain()) }),
			dist.KindTimeout, dist.ErrTimeout, "waiting for the challenge",
		},
		"silent after the challenge": {
			fake(t, func(p *fakePeer) error {
				return errors.Join(p.sendShort([]byte("sok")), p.sendShort(p.challenge()), p.drain())
			}),
			dist.KindTimeout, dist.ErrTimeout, "answer to our challenge",
		},
		"silent after the handshake": {
			fake(t, func(p *fakePeer) error { return errors.Join(p.shake(), p.drain()) }),
			dist.KindTimeout, dist.ErrTimeout, "no answer",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t, dist.Options{DialTimeout: 400 * time.Millisecond})
			c.to.Node, c.to.Cookie = fakeName, fakeCookie
			began := time.Now()
			_, err := n.Dial(t.Context(), c.to)
			requireKind(t, err, c.kind, c.sentinel, c.text)
			var e *dist.Error
			require.ErrorAs(t, err, &e)
			require.True(t, e.Timeout(), err.Error())
			require.Less(t, time.Since(began), 2*time.Second)
		})
	}
}

// blackHole is an address where connecting takes for ever: a listener whose
// backlog is full.
func blackHole(t testing.TB) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 16 {
		c, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Skip("the kernel takes connections beyond a listener's backlog")
	return ""
}

// TestBadHandshakes dials peers that say something wrong.
func TestBadHandshakes(t *testing.T) {
	t.Parallel()
	say := func(messages ...string) func(*fakePeer) error {
		return func(p *fakePeer) error {
			err := p.hello()
			for _, m := range messages {
				err = errors.Join(err, p.sendShort([]byte(m)))
			}
			return errors.Join(err, p.drain())
		}
	}
	old := func(flags uint64) func(*fakePeer) error {
		return func(p *fakePeer) error {
			p.flags = flags
			return errors.Join(p.shake(), p.drain())
		}
	}
	cases := map[string]struct {
		script   func(*fakePeer) error
		kind     dist.Kind
		sentinel error
		text     string
	}{
		"hangs up":              {func(*fakePeer) error { return nil }, dist.KindProtocol, dist.ErrProtocol, "hung up"},
		"empty status":          {say(""), dist.KindProtocol, dist.ErrProtocol, "0 bytes"},
		"unknown status":        {say("sfine"), dist.KindProtocol, dist.ErrProtocol, `"fine"`},
		"named":                 {say("snamed:\x00\x01x\x00\x00\x00\x01"), dist.KindProtocol, dist.ErrProtocol, "named"},
		"nok":                   {say("snok"), dist.KindClosed, dist.ErrClosed, "dialling us itself"},
		"alive":                 {say("salive"), dist.KindNameTaken, dist.ErrNameTaken, "already connected"},
		"no status":             {say("x"), dist.KindProtocol, dist.ErrProtocol, "status was due"},
		"huge message":          {say(strings.Repeat("s", 60_000)), dist.KindProtocol, dist.ErrProtocol, "60000 bytes"},
		"version 5":             {say("sok", "n\x00\x05\x00\x00\x00\x00"), dist.KindOTPTooOld, dist.ErrOTPTooOld, "version 5"},
		"short challenge":       {say("sok", "N1234"), dist.KindProtocol, dist.ErrProtocol, "challenge was due"},
		"cut name":              {say("sok", "N12345678cccccccc\xff\xffabc"), dist.KindProtocol, dist.ErrProtocol, "65535 bytes"},
		"other name":            {say("sok", "N12345678cccccccc\x00\x03a@b"), dist.KindNameMismatch, dist.ErrNameMismatch, `"a@b"`},
		"binary name":           {say("sok", "N12345678cccccccc\x00\x03\x00\n\xff"), dist.KindNameMismatch, dist.ErrNameMismatch, `\x00\n\xff`},
		"no flags":              {old(0), dist.KindOTPTooOld, dist.ErrOTPTooOld, "lack"},
		"no maps":               {old(modernFlags &^ (1<<36 | 1<<17)), dist.KindOTPTooOld, dist.ErrOTPTooOld, "lack 0x20000"},
		"wrong digest":          {wrongProof, dist.KindCookie, dist.ErrCookie, "is wrong"},
		"short digest":          {shortProof, dist.KindProtocol, dist.ErrProtocol, "was due"},
		"hangs up at our reply": {hangUpAtReply, dist.KindCookie, dist.ErrCookie, "hung up"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := start(t, dist.Options{DialTimeout: 500 * time.Millisecond}).Dial(t.Context(), fake(t, c.script))
			requireKind(t, err, c.kind, c.sentinel, c.text)
		})
	}
}

func challenged(p *fakePeer) error {
	err := errors.Join(p.hello(), p.sendShort([]byte("sok")), p.sendShort(p.challenge()))
	if err != nil {
		return err
	}
	_, err = p.readShort()
	return err
}

func wrongProof(p *fakePeer) error {
	return errors.Join(challenged(p), p.sendShort([]byte("a0123456789abcdef")), p.drain())
}

func shortProof(p *fakePeer) error {
	return errors.Join(challenged(p), p.sendShort([]byte("a")), p.drain())
}

func hangUpAtReply(p *fakePeer) error { return challenged(p) }

// TestWhatWeSay holds what the handshake says of us.
func TestWhatWeSay(t *testing.T) {
	t.Parallel()
	said := make(chan *fakePeer, 1)
	to := fake(t, func(p *fakePeer) error {
		_, err := p.attach(60)
		said <- p
		return errors.Join(err, p.drain())
	})
	dial(t, start(t, dist.Options{}), to)
	p := <-said
	require.Equal(t, "erl_exporter@127.0.0.1", p.theirs.name)
	require.NotZero(t, p.theirs.creation)
	require.EqualValues(t, 0x1c03074fbc, p.theirs.flags, "not PUBLISHED, no atom cache, no fragments")
	require.EqualValues(t, 0x403070f94, p.theirs.flags&0x403070f94, "what OTP 27 demands")
}

func TestBadEPMD(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		answer   []byte
		kind     dist.Kind
		sentinel error
		text     string
	}{
		"no answer":   {nil, dist.KindEPMDUnreachable, dist.ErrEPMDUnreachable, "cut short"},
		"one byte":    {[]byte{119}, dist.KindEPMDUnreachable, dist.ErrEPMDUnreachable, "cut short"},
		"half":        {port2(4711, 6)[:6], dist.KindEPMDUnreachable, dist.ErrEPMDUnreachable, "cut short"},
		"other tag":   {[]byte("HTTP/1.1 400 Bad Request"), dist.KindEPMDUnreachable, dist.ErrEPMDUnreachable, "byte 72"},
		"port 0":      {port2(0, 6), dist.KindEPMDUnreachable, dist.ErrEPMDUnreachable, "port 0"},
		"unknown":     {[]byte{119, 1}, dist.KindUnknownToEPMD, dist.ErrUnknownToEPMD, `no node "fake"`},
		"old release": {port2(4711, 5), dist.KindOTPTooOld, dist.ErrOTPTooOld, "version 5"},
	}
	n := start(t, dist.Options{})
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := n.Dial(t.Context(), dist.Target{Node: fakeName, Cookie: fakeCookie, EPMD: fakeEPMD(t, c.answer)})
			requireKind(t, err, c.kind, c.sentinel, c.text)
		})
	}
}

// An epmd that does not have a node, nor tells which ones it has, is not said to
// have none.
func TestEPMDThatTellsNoNames(t *testing.T) {
	t.Parallel()
	n := start(t, dist.Options{})
	_, err := n.Dial(t.Context(), dist.Target{Node: fakeName, Cookie: fakeCookie, EPMD: fakeEPMD(t, []byte{119, 1})})
	requireKind(t, err, dist.KindUnknownToEPMD, dist.ErrUnknownToEPMD, `no node "fake"`)
	require.NotContains(t, err.Error(), "it has")

	_, err = n.Dial(t.Context(), dist.Target{Node: fakeName, Cookie: fakeCookie, EPMD: erltest.StartEPMD(t).Address()})
	requireKind(t, err, dist.KindUnknownToEPMD, dist.ErrUnknownToEPMD, `no node "fake"; it has none`)
}

func TestNames(t *testing.T) {
	t.Parallel()
	epmd := erltest.StartEPMD(t)
	names, err := dist.Names(t.Context(), epmd.Address())
	require.NoError(t, err)
	require.Empty(t, names)
	a := erltest.Start(t, erltest.Options{EPMD: epmd, Name: "alpha"})
	b := erltest.Start(t, erltest.Options{EPMD: epmd, Name: "beta"})
	names, err = dist.Names(t.Context(), epmd.Address())
	require.NoError(t, err)
	require.ElementsMatch(t, []dist.EPMDName{
		{Name: "alpha", Port: uint16(a.DistPort)}, {Name: "beta", Port: uint16(b.DistPort)},
	}, names)

	t.Run("bounds", func(t *testing.T) {
		many := []byte{0, 0, 17, 17}
		for i := range 200_000 {
			many = fmt.Appendf(many, "name n%d at port 1\n", i)
		}
		names, err := dist.Names(t.Context(), fakeEPMD(t, many))
		require.NoError(t, err)
		require.Len(t, names, 10_000)
		_, err = dist.Names(t.Context(), fakeEPMD(t, make([]byte, 2<<20)))
		requireKind(t, err, dist.KindEPMDUnreachable, dist.ErrEPMDUnreachable)
	})
	t.Run("nobody there", func(t *testing.T) {
		_, err := dist.Names(t.Context(), fmt.Sprintf("127.0.0.1:%d", erltest.FreePort(t)))
		requireKind(t, err, dist.KindEPMDUnreachable, dist.ErrEPMDUnreachable)
	})
}

// TestLongAndShortNames connects one process to nodes with long and short
// names, several cookies, other epmd ports and without epmd, at once.
func TestLongAndShortNames(t *testing.T) {
	t.Parallel()
	long := erltest.Start(t, erltest.Options{LongNames: true})
	short := erltest.Start(t, erltest.Options{})
	static := erltest.Start(t, erltest.Options{NoEPMD: true})
	n := start(t, dist.Options{})
	targets := []dist.Target{
		target(long), target(short), {Node: static.Name, Cookie: static.Cookie, Address: static.Address()},
	}
	for _, to := range targets {
		v, err := dial(t, n, to).Call(t.Context(), "erlang", "node")
		require.NoError(t, err)
		require.Equal(t, etf.Atom(to.Node), v)
	}
	for _, peer := range []*erltest.Node{long, short, static} {
		require.Equal(t, "[]", peer.Eval(t, "nodes()"), "hidden, and no mesh")
	}
}

// TestReconnects holds that coming and going leaves no atoms in the node, and
// no goroutines or descriptors here.
func TestReconnects(t *testing.T) {
	t.Parallel()
	peer := erltest.Start(t, erltest.Options{})
	n := start(t, dist.Options{})
	reconnect := func() {
		c := dial(t, n, target(peer))
		_, err := c.Call(t.Context(), "erlang", "node")
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
	reconnect()
	atoms := func() string { return peer.Eval(t, "erlang:system_info(atom_count)") }
	atoms() // which makes the atoms of the question itself
	before := atoms()
	for range 100 {
		reconnect()
	}
	require.Equal(t, before, atoms())
}

func TestCheckNodeName(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a@b", "rabbit-1_x@host-1.example.org", "a@10.0.0.1", "a@::1", "A@B"} {
		require.NoError(t, dist.CheckNodeName(good), good)
	}
	for bad, text := range map[string]string{
		"":                              "empty",
		"a":                             "no @",
		"a@b@c":                         "more than one @",
		"@b":                            "before the @",
		"a@":                            "after the @",
		"a b@c":                         `not " "`,
		"a.b@c":                         `not "."`,
		"ä@c":                           `not "ä"`,
		"a@b/c":                         `not "/"`,
		"a\n@b":                         `not "\n"`,
		strings.Repeat("a", 255) + "@b": "257 bytes",
	} {
		requireKind(t, dist.CheckNodeName(bad), dist.KindBadName, dist.ErrBadName, text)
	}
}
