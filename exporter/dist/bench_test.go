package dist_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/internal/erltest"
)

// BenchmarkCall is one call after the other to one node.
func BenchmarkCall(b *testing.B) {
	peer := erltest.Start(b, erltest.Options{})
	c := dial(b, start(b, dist.Options{}), target(peer))
	times := make([]time.Duration, 0, b.N)
	for b.Loop() {
		began := time.Now()
		if _, err := c.Call(b.Context(), "erlang", "node"); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkBinary is calls whose value is a binary.
func BenchmarkBinary(b *testing.B) {
	peer := erltest.Start(b, erltest.Options{})
	c := dial(b, start(b, dist.Options{}), target(peer))
	for _, size := range []int{60 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			peer.Eval(b, fmt.Sprintf("persistent_term:put(bench, binary:copy(<<0>>, %d))", size))
			b.SetBytes(int64(size))
			for b.Loop() {
				v, err := c.Call(b.Context(), "persistent_term", "get", etf.Atom("bench"))
				if err != nil || len(v.([]byte)) != size {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSend is small messages to a node, which reads them all.
func BenchmarkSend(b *testing.B) {
	peer := erltest.Start(b, erltest.Options{})
	c := dial(b, start(b, dist.Options{}), target(peer))
	for b.Loop() {
		if err := c.Send(b.Context(), etf.Atom("nobody"), etf.Atom("x")); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDial connects to a node and leaves it.
func BenchmarkDial(b *testing.B) {
	peer := erltest.Start(b, erltest.Options{})
	n := start(b, dist.Options{})
	for b.Loop() {
		require.NoError(b, dial(b, n, target(peer)).Close())
	}
}

// BenchmarkNodes connects to 25 nodes at once, for the first time and again,
// and tells what a connection takes.
func BenchmarkNodes(b *testing.B) {
	epmd := erltest.StartEPMD(b)
	targets := make([]dist.Target, 25)
	for i := range targets {
		targets[i] = target(erltest.Start(b, erltest.Options{EPMD: epmd}))
	}
	n := start(b, dist.Options{})
	conns := make([]*dist.Conn, len(targets))
	var wg sync.WaitGroup
	for _, metric := range []string{"ms/first", "ms/again"} {
		routines, memory := runtime.NumGoroutine(), inUse()
		began := time.Now()
		for i, to := range targets {
			wg.Go(func() { conns[i] = dial(b, n, to) })
		}
		wg.Wait()
		b.ReportMetric(float64(time.Since(began).Microseconds())/1000, metric)
		b.ReportMetric(float64(runtime.NumGoroutine()-routines)/float64(len(targets)), "goroutines/conn")
		b.ReportMetric((inUse()-memory)/1024/float64(len(targets)), "KB/conn")
		for _, c := range conns {
			wg.Go(func() { _ = c.Close() })
		}
		wg.Wait()
	}
}

// inUse is the memory of heap and stacks after a collection, in bytes.
func inUse() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}
