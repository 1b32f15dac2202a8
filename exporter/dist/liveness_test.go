package dist_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/internal/erltest"
)

// wait waits for the end of a connection and tells how long that took.
func wait(t testing.TB, c *dist.Conn, limit time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	select {
	case <-c.Done():
	case <-time.After(limit):
		t.Fatalf("still connected after %s", limit)
	}
	return time.Since(began)
}

// TestStoppedPeer stops a node with callers and writers waiting for it.
func TestStoppedPeer(t *testing.T) {
	t.Parallel()
	const tick = 4 * time.Second
	// As Erlang itself, which gives up between three and five quarters of it.
	const atMost = tick * 5 / 4
	peer := erltest.Start(t, erltest.Options{Args: []string{"-kernel", "net_ticktime", "4"}})
	c := dial(t, start(t, dist.Options{CallTimeout: time.Minute, WriteTimeout: time.Minute}), target(peer))
	require.Equal(t, tick, c.Stats().TickTime)
	message := make([]byte, 32<<20)
	peer.Pause()
	began := time.Now()
	var wg sync.WaitGroup
	release := func(what func() error) {
		wg.Go(func() {
			err := what()
			if !errors.Is(err, dist.ErrClosed) || !errors.Is(err, dist.ErrTimeout) {
				t.Errorf("released with %v", err)
			}
			if took := time.Since(began); took > atMost {
				t.Errorf("released after %s", took)
			}
		})
	}
	for range 10 {
		release(func() error {
			_, err := c.Call(t.Context(), "erlang", "node")
			return err
		})
	}
	for range 3 {
		// Each is more than the kernel ever buffers, so that writing stops.
		release(func() error { return c.Send(t.Context(), etf.Atom("nobody"), message) })
	}
	require.Less(t, wait(t, c, 10*time.Second), atMost)
	wg.Wait()
	var e *dist.Error
	require.ErrorAs(t, c.Err(), &e)
	require.Equal(t, dist.KindTimeout, e.Kind)
	require.ErrorContains(t, c.Err(), "its tick time is 4s")
}

// TestSilentPeer attaches to a node that then says nothing.
func TestSilentPeer(t *testing.T) {
	t.Parallel()
	c := dial(t, start(t, dist.Options{}), fake(t, func(p *fakePeer) error {
		_, err := p.attach(1)
		return errors.Join(err, p.drain())
	}))
	require.Less(t, wait(t, c, 5*time.Second), time.Second)
	require.ErrorIs(t, c.Err(), dist.ErrTimeout)
}

// TestWriteTimeout stops a node whose tick time is long: a message that it does
// not take ends the connection earlier.
func TestWriteTimeout(t *testing.T) {
	t.Parallel()
	peer := erltest.Start(t, erltest.Options{})
	c := dial(t, start(t, dist.Options{WriteTimeout: 500 * time.Millisecond}), target(peer))
	peer.Pause()
	err := c.Send(t.Context(), etf.Atom("nobody"), make([]byte, 32<<20))
	require.ErrorIs(t, err, dist.ErrTimeout)
	require.ErrorContains(t, c.Err(), "within 500ms")
}

// TestCloseStoppedPeer leaves a node that stands still, and dials it in vain.
func TestCloseStoppedPeer(t *testing.T) {
	t.Parallel()
	peer := erltest.Start(t, erltest.Options{})
	n := start(t, dist.Options{})
	c := dial(t, n, target(peer))
	peer.Pause()
	go func() { _ = c.Send(context.Background(), etf.Atom("nobody"), make([]byte, 32<<20)) }()
	require.Never(t, func() bool { return c.Err() != nil }, 100*time.Millisecond, 10*time.Millisecond)
	began := time.Now()
	require.NoError(t, c.Close())
	require.Less(t, time.Since(began), 2*time.Second)
	// Only this dial is impatient: others have to succeed on a busy machine.
	impatient := start(t, dist.Options{Name: "impatient@127.0.0.1", DialTimeout: 300 * time.Millisecond})
	_, err := impatient.Dial(t.Context(), target(peer))
	requireKind(t, err, dist.KindTimeout, dist.ErrTimeout, "waiting for the status")
	peer.Continue()
	require.Eventually(t, func() bool {
		_, err := n.Dial(t.Context(), target(peer))
		return err == nil
	}, 20*time.Second, 50*time.Millisecond)
}

// TestKilledPeer kills a node and dials it again after it is back.
func TestKilledPeer(t *testing.T) {
	t.Parallel()
	peer := erltest.Start(t, erltest.Options{})
	n := start(t, dist.Options{})
	c := dial(t, n, target(peer))
	called := make(chan error, 1)
	go func() {
		_, err := c.Call(context.Background(), "timer", "sleep", etf.Atom("infinity"))
		called <- err
	}()
	process, err := os.FindProcess(peer.Pid)
	require.NoError(t, err)
	require.NoError(t, process.Kill())
	took := wait(t, c, 5*time.Second)
	t.Logf("seen after %s", took)
	require.Less(t, took, time.Second)
	require.ErrorIs(t, <-called, dist.ErrClosed)
	require.ErrorIs(t, c.Err(), dist.ErrClosed)
	peer.Restart()
	again := dial(t, n, target(peer))
	_, err = again.Call(t.Context(), "erlang", "node")
	require.NoError(t, err)
	require.NotEqual(t, c.Creation(), again.Creation())
}

// TestTicks is idle with nodes of short tick times: neither side gives the
// other up.
func TestTicks(t *testing.T) {
	t.Parallel()
	n := start(t, dist.Options{})
	var conns []*dist.Conn
	// Not 1: a busy machine may well keep one of both from running that long.
	for _, seconds := range []string{"3", "4", "8"} {
		peer := erltest.Start(t, erltest.Options{Args: []string{"-kernel", "net_ticktime", seconds}})
		conns = append(conns, dial(t, n, target(peer)))
	}
	select {
	case <-time.After(11 * time.Second):
	case <-conns[0].Done():
	case <-conns[1].Done():
	case <-conns[2].Done():
	}
	for _, c := range conns {
		require.NoError(t, c.Err())
		_, err := c.Call(t.Context(), "erlang", "node")
		require.NoError(t, err)
	}
}

// TestTickAnswers counts the ticks that a node gets: one every quarter of its
// tick time, or an answer to its own, and no storm.
func TestTickAnswers(t *testing.T) {
	t.Parallel()
	const seconds = 4
	arrived := make(chan time.Time, 1000)
	to := fake(t, func(p *fakePeer) error {
		if _, err := p.attach(seconds); err != nil {
			return err
		}
		for {
			b, err := p.frame()
			if err != nil {
				return err
			}
			if len(b) == 0 {
				arrived <- time.Now()
			}
			if _, err := p.Write([]byte{0, 0, 0, 0}); err != nil { // answers every tick
				return err
			}
		}
	})
	c := dial(t, start(t, dist.Options{}), to)
	require.Never(t, func() bool { return c.Err() != nil }, 5*time.Second, 100*time.Millisecond)
	require.GreaterOrEqual(t, len(arrived), 4)
	require.LessOrEqual(t, len(arrived), 14)
}

// TestTickTimes takes what nodes say of their tick time.
func TestTickTimes(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		answer etf.Term
		want   time.Duration
	}{
		"seconds":    {int64(8), 8 * time.Second},
		"changing":   {etf.Tuple{etf.Atom("ongoing_change_to"), int64(30)}, 30 * time.Second},
		"ignored":    {etf.Atom("ignored"), time.Minute},
		"bad rpc":    {etf.Tuple{etf.Atom("badrpc"), etf.Atom("nofile")}, time.Minute},
		"zero":       {int64(0), time.Minute},
		"negative":   {int64(-1), time.Minute},
		"far future": {int64(1 << 60), time.Minute},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := fake(t, func(p *fakePeer) error {
				if err := p.shake(); err != nil {
					return err
				}
				from, ref, err := p.request()
				if err != nil {
					return err
				}
				return errors.Join(p.send(etf.Tuple{int64(2), etf.Atom(""), from}, etf.Tuple{ref, c.answer}), p.drain())
			})
			require.Equal(t, c.want, dial(t, start(t, dist.Options{}), to).Stats().TickTime)
		})
	}
}

// TestNothingIsLeft runs a Network with all kinds of dials and counts what
// stays. It is not parallel: it counts for the whole process.
func TestNothingIsLeft(t *testing.T) {
	peer := erltest.Start(t, erltest.Options{})
	other := erltest.Start(t, erltest.Options{})
	leaks := goleak.IgnoreCurrent()
	before := descriptors(t)
	t.Run("network", func(t *testing.T) {
		n := start(t, dist.Options{DialTimeout: 300 * time.Millisecond})
		for range 20 {
			c := dial(t, n, target(peer))
			_, err := c.Call(t.Context(), "erlang", "node")
			require.NoError(t, err)
			require.NoError(t, c.Close())
			bad := target(peer)
			bad.Cookie = "wrong"
			_, err = n.Dial(t.Context(), bad)
			require.ErrorIs(t, err, dist.ErrCookie)
			bad = target(peer)
			bad.Node, bad.Address = otherName(peer.Name, "x"), peer.Address()
			_, err = n.Dial(t.Context(), bad)
			require.ErrorIs(t, err, dist.ErrNameMismatch)
		}
		_, err := n.Dial(t.Context(), fake(t, (*fakePeer).drain))
		require.ErrorIs(t, err, dist.ErrTimeout)
		dial(t, n, target(peer)) // left open
		taken := start(t, dist.Options{})
		_, err = taken.Dial(t.Context(), target(peer))
		require.ErrorIs(t, err, dist.ErrNameTaken)
		dial(t, n, target(other)) // left open, to be killed
		other.Kill()
	})
	goleak.VerifyNone(t, leaks)
	require.Eventually(t, func() bool { return descriptors(t) <= before }, 5*time.Second, 20*time.Millisecond)
	require.Equal(t, "[]", peer.Eval(t, "nodes(connected)"))
}

// descriptors counts the open file descriptors of the process.
func descriptors(t testing.TB) int {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// TestOwnConnectionNotNoticed tells a name that we had ourselves, as a node that
// was stopped still believes, from one that somebody else has.
func TestOwnConnectionNotNoticed(t *testing.T) {
	t.Parallel()
	peer := erltest.Start(t, erltest.Options{})
	n := start(t, dist.Options{DialTimeout: 3 * time.Second})
	require.NoError(t, dial(t, n, target(peer)).Close())
	again := fake(t, func(p *fakePeer) error {
		return errors.Join(p.hello(), p.sendShort([]byte("salive")))
	})
	again.Node = peer.Name
	_, err := n.Dial(t.Context(), again)
	requireKind(t, err, dist.KindNotNoticed, dist.ErrNotNoticed, "our own last connection ended", "net_ticktime")
}

func TestRunEnds(t *testing.T) {
	t.Parallel()
	peer := erltest.Start(t, erltest.Options{})
	n, err := dist.New(dist.Options{Name: "erl_exporter@127.0.0.1"})
	require.NoError(t, err)
	impatient, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = n.Dial(impatient, target(peer))
	requireKind(t, err, dist.KindTimeout, dist.ErrTimeout)

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	c := dial(t, n, target(peer))
	require.Error(t, n.Run(ctx), "twice")
	dialling := make(chan error, 1)
	hello := make(chan struct{})
	to := fake(t, func(p *fakePeer) error { close(hello); return p.drain() })
	go func() {
		_, err := n.Dial(context.Background(), to)
		dialling <- err
	}()
	<-hello
	stop()
	require.NoError(t, <-ended)
	require.ErrorIs(t, c.Err(), dist.ErrClosed)
	require.ErrorIs(t, <-dialling, dist.ErrClosed)
	_, err = n.Dial(t.Context(), target(peer))
	requireKind(t, err, dist.KindClosed, dist.ErrClosed, "stops")
}

func TestNew(t *testing.T) {
	t.Parallel()
	_, err := dist.New(dist.Options{Name: "no host"})
	require.ErrorIs(t, err, dist.ErrBadName)
	require.ErrorContains(t, err, `"no host"`)
}
