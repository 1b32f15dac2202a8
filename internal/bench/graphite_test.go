//go:build bench

package bench_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/sink/graphite"
	"github.com/erlops/erlops/internal/erltest"
)

const (
	// graphiteNodes with graphiteSeries each are read in graphiteTicks seconds
	// while Carbon is away, and are sent when it is back.
	graphiteNodes, graphiteSeries, graphiteTicks = 20, 500, 30
	graphitePoints                               = graphiteNodes * graphiteSeries * graphiteTicks
)

// TestGraphite is how many points a second get into a real Carbon that was away,
// against the same points written to a bare socket.
func TestGraphite(t *testing.T) {
	g := erltest.StartGraphite(t, "[all]\npattern = .*\nretentions = 1s:1h\n", "")
	results := newTable(fmt.Sprintf("%s points into one Carbon (%s series)", count(graphitePoints), count(graphiteNodes*graphiteSeries)),
		"points a second", "of a bare socket")
	bare := bareSocket(t, g.Address)
	results.row("bare socket, plaintext", count(bare), "")
	for _, p := range []struct {
		protocol graphite.Protocol
		address  string
	}{{graphite.Plaintext, g.Address}, {graphite.Pickle, g.PickleAddress}} {
		rate := pushedAfterAway(t, g, p.protocol, p.address)
		results.row("exporter, "+string(p.protocol), count(rate), fmt.Sprintf("%.2f", rate/bare))
	}
	results.end()
}

// bareSocket returns how many points a second Carbon reads at most from us.
func bareSocket(t *testing.T, address string) float64 {
	t.Helper()
	var text []byte
	begun := time.Now().Unix()
	for tick := range int64(graphiteTicks) {
		for node := range graphiteNodes {
			for series := range graphiteSeries {
				text = fmt.Appendf(text, "m%d;node=bare%d@h %d %d\n", series, node, tick, begun-graphiteTicks+tick)
			}
		}
	}
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	start := time.Now()
	_, err = conn.Write(text)
	require.NoError(t, err)
	tcp, ok := conn.(*net.TCPConn)
	require.True(t, ok)
	require.NoError(t, tcp.CloseWrite())
	_, err = io.Copy(io.Discard, conn) // it ends when Carbon has read all
	require.NoError(t, err)
	return graphitePoints / time.Since(start).Seconds()
}

// pushedAfterAway returns how many points a second are sent when Carbon is back.
func pushedAfterAway(t *testing.T, g *erltest.Graphite, protocol graphite.Protocol, address string) float64 {
	t.Helper()
	g.Stop()
	var reads atomic.Int64
	registry := prometheus.NewRegistry()
	p, err := graphite.New(graphite.Options{
		Address: address, Protocol: protocol, Interval: time.Second, Buffer: 1 << 30,
		RetryMin: time.Millisecond, RetryMax: 10 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler), Registerer: registry,
		Nodes: func() []string {
			names := make([]string, graphiteNodes)
			for i := range names {
				names[i] = string(protocol) + strconv.Itoa(i) + "@h"
			}
			return names
		},
		Read: func(_ context.Context, node string) (graphite.Reading, bool) {
			n := reads.Add(1)
			if n > graphiteNodes*graphiteTicks {
				return graphite.Reading{}, false
			}
			r := graphite.Reading{Node: node, Points: make([]graphite.Point, graphiteSeries)}
			for i := range r.Points {
				r.Points[i] = graphite.Point{Metric: "m" + strconv.Itoa(i), Value: float64(n)}
			}
			return r, true
		},
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	require.Eventually(t, func() bool { return reads.Load() > graphiteNodes*graphiteTicks }, 5*time.Minute, 10*time.Millisecond)
	require.Zero(t, counted(t, registry, "erlang_exporter_graphite_points_sent_total"))
	g.Start()
	start := time.Now()
	require.Eventually(t, func() bool {
		return counted(t, registry, "erlang_exporter_graphite_points_sent_total") == graphitePoints
	}, 5*time.Minute, 5*time.Millisecond)
	took := time.Since(start)
	stop()
	require.NoError(t, <-done)
	return graphitePoints / took.Seconds()
}

// counted returns the value of a counter without labels.
func counted(t *testing.T, g prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := g.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	require.FailNow(t, "no metric "+name)
	return 0
}
