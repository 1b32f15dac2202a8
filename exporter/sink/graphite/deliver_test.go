package graphite

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

// What a receiver does with a connection.
type manner int

const (
	reads   manner = iota // all, and closes then
	hangs                 // accepts and never reads
	resets                // reads some bytes, and resets in the middle of a line
	forgets               // reads all, closes, and has lost it: it was in memory
)

// receiver is a Carbon whose manners change.
type receiver struct {
	t       *testing.T
	address string
	secure  *tls.Config

	mu       sync.Mutex
	listener net.Listener
	manner   manner
	open     map[net.Conn]bool
	lines    map[string]int
}

func newReceiver(t *testing.T, secure *tls.Config) *receiver {
	t.Helper()
	r := &receiver{t: t, secure: secure, lines: map[string]int{}, open: map[net.Conn]bool{}}
	r.start("127.0.0.1:0")
	t.Cleanup(r.stop)
	return r
}

func (r *receiver) start(address string) {
	r.t.Helper()
	var listener net.Listener
	require.Eventually(r.t, func() bool {
		var err error
		listener, err = net.Listen("tcp", address)
		return err == nil
	}, 30*time.Second, 10*time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listener, r.address = listener, listener.Addr().String()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if r.secure != nil {
				conn = tls.Server(conn, r.secure)
			}
			r.mu.Lock()
			r.open[conn] = true
			r.mu.Unlock()
			go r.serve(conn)
		}
	}()
}

// stop ends it as a killed process ends: open connections are closed, and reset
// where bytes were not read.
func (r *receiver) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.listener.Close()
	for conn := range r.open {
		_ = conn.Close()
	}
	clear(r.open)
}

func (r *receiver) become(m manner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.manner = m
}

func (r *receiver) serve(conn net.Conn) {
	buffered := bufio.NewReader(conn)
	if _, err := buffered.Peek(1); err != nil {
		return
	}
	r.mu.Lock()
	manner := r.manner
	r.mu.Unlock()
	if manner == hangs {
		return // and stays open
	}
	if manner == resets {
		_, _ = buffered.Discard(70 + rand.IntN(100))
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
		return
	}
	for {
		line, err := buffered.ReadString('\n')
		if err != nil { // what has no end is no line
			_ = conn.Close()
			return
		}
		if manner == forgets {
			continue
		}
		r.mu.Lock()
		r.lines[strings.TrimSpace(line)]++
		r.mu.Unlock()
	}
}

func (r *receiver) has(line string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines[line] > 0
}

// pusher runs one that is fed by hand.
func pusher(t *testing.T, r *receiver, change func(*Options)) *Pusher {
	t.Helper()
	o := Options{
		Address: r.address, Interval: time.Hour, Timeout: 300 * time.Millisecond,
		RetryMin: time.Millisecond, RetryMax: 20 * time.Millisecond, Resend: time.Hour,
		Nodes: func() []string { return nil }, Read: func(context.Context, string) (Reading, bool) { return Reading{}, false },
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	}
	if change != nil {
		change(&o)
	}
	p, err := New(o)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
	})
	return p
}

// push pushes some points of a second and returns the lines that they become.
func push(p *Pusher, second int64, points int) (lines []string) {
	r := Reading{Node: "n@h"}
	for i := range points {
		r.Points = append(r.Points, Point{Metric: fmt.Sprintf("m%d", i), Value: float64(second)})
		lines = append(lines, fmt.Sprintf("m%d;node=n@h %d %d", i, second, second))
	}
	p.put(&r, time.Unix(second, 0))
	return lines
}

func (r *receiver) await(lines []string) {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		for _, l := range lines {
			if !r.has(l) {
				return false
			}
		}
		return true
	}, 60*time.Second, 5*time.Millisecond)
}

// Whatever a receiver does in between, each point arrives in the end, and what
// it had no part in is not counted as lost.
func TestNoPointIsLost(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	p := pusher(t, r, nil)
	var lines []string
	for second := range int64(40) {
		if second%4 == 0 {
			r.become([]manner{reads, hangs, resets, resets, reads}[rand.IntN(5)])
		}
		if second == 20 {
			r.stop()
			lines = append(lines, push(p, 1000, 50)...)
			r.start(r.address)
		}
		lines = append(lines, push(p, second, 20+rand.IntN(1000))...)
		time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
	}
	r.become(reads)
	r.await(lines)
	require.Eventually(t, func() bool {
		return int(testutil.ToFloat64(p.metrics.sent)) == len(lines)
	}, 30*time.Second, 5*time.Millisecond, "each point counts once")
	for _, reason := range []string{reasonFull, reasonTooLong, reasonNoNumber} {
		require.Zero(t, testutil.ToFloat64(p.metrics.dropped.WithLabelValues(reason)))
	}
	require.EqualValues(t, 1, testutil.ToFloat64(p.metrics.up))
}

// A receiver that had read all and is gone before it wrote it down gets it again.
func TestWhatArrivedLatelyIsSentAgain(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	r.become(forgets)
	p := pusher(t, r, nil)
	lines := push(p, 1, 1200)
	require.Eventually(t, func() bool { return testutil.ToFloat64(p.metrics.sent) == 1200 }, 30*time.Second, 5*time.Millisecond)
	require.False(t, r.has(lines[0]))
	r.stop()
	r.become(reads)
	r.start(r.address)
	r.await(lines)
	require.Eventually(t, func() bool { return testutil.ToFloat64(p.metrics.resent) >= 1200 }, 30*time.Second, 5*time.Millisecond)
	require.EqualValues(t, 1200, testutil.ToFloat64(p.metrics.sent))
}

// With a receiver that never reads, the buffer stays as small as it has to be, the
// oldest points go and are counted, and the newest arrive.
func TestAFullBufferDropsTheOldest(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	r.become(hangs)
	p := pusher(t, r, func(o *Options) { o.Buffer = MinBuffer })
	var lines []string
	for second := range int64(200) {
		lines = append(lines, push(p, second, 400)...)
		require.LessOrEqual(t, p.buffer.bytes, int64(MinBuffer))
	}
	dropped := int(testutil.ToFloat64(p.metrics.dropped.WithLabelValues(reasonFull)))
	require.Positive(t, dropped)
	require.Eventually(t, func() bool {
		return testutil.ToFloat64(p.metrics.failures.WithLabelValues(stageConfirm))+
			testutil.ToFloat64(p.metrics.failures.WithLabelValues(stageWrite)) > 1
	}, 30*time.Second, 5*time.Millisecond)
	require.Zero(t, testutil.ToFloat64(p.metrics.up))
	r.become(reads)
	r.await(lines[dropped:])
	require.False(t, r.has(lines[0]))
}

func TestOverTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	r := newReceiver(t, server.TLS)
	transport, ok := server.Client().Transport.(*http.Transport)
	require.True(t, ok)
	secure := transport.TLSClientConfig.Clone()
	secure.ServerName = "example.com" // whom the certificate is for
	p := pusher(t, r, func(o *Options) { o.TLS, o.Timeout = secure, 10*time.Second })
	r.await(push(p, 1, 1200))
	require.Eventually(t, func() bool { return testutil.ToFloat64(p.metrics.sent) == 1200 }, 30*time.Second, 5*time.Millisecond)
}

// Nodes are read at multiples of the interval, and what waits at the end is
// delivered.
func TestNodesAreRead(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	read := make(chan string, 100)
	p, err := New(Options{
		Address: r.address, Interval: time.Second, Include: []*regexp.Regexp{regexp.MustCompile("^a.*$")},
		Exclude: []*regexp.Regexp{regexp.MustCompile("^ab$")}, Logger: slog.New(slog.DiscardHandler),
		Nodes: func() []string { return []string{"n@h", "gone@h"} },
		Read: func(_ context.Context, node string) (Reading, bool) {
			read <- node
			return Reading{Node: node, Family: "f", Points: []Point{{Metric: "a", Value: 1}, {Metric: "ab"}, {Metric: "b"}}}, node == "n@h"
		},
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	for range 4 {
		<-read
	}
	stop()
	require.NoError(t, <-done)
	r.mu.Lock()
	defer r.mu.Unlock()
	require.NotEmpty(t, r.lines)
	for line := range r.lines {
		require.Regexp(t, `^a;family=f;node=n@h 1 \d+$`, line)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	valid := Options{Address: "h:1", Nodes: func() []string { return nil }, Read: func(context.Context, string) (Reading, bool) { return Reading{}, false }}
	for want, change := range map[string]func(*Options){
		"exporter/sink/graphite: Options.Address is missing":                                  func(o *Options) { o.Address = "" },
		"exporter/sink/graphite: Options.Nodes and Options.Read must be set":                  func(o *Options) { o.Read = nil },
		"exporter/sink/graphite: Options.Interval must be at least 1s, not 1ms":               func(o *Options) { o.Interval = time.Millisecond },
		"exporter/sink/graphite: Options.Buffer must be at least 1048576 bytes, not 1":        func(o *Options) { o.Buffer = 1 },
		`exporter/sink/graphite: Options.Protocol must be plaintext or pickle, not "carrier"`: func(o *Options) { o.Protocol = "carrier" },
	} {
		o := valid
		change(&o)
		_, err := New(o)
		require.EqualError(t, err, want)
	}
}
