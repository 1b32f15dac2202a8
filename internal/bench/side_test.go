//go:build bench

package bench_test

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// side is one of the two that are compared: a page that is asked for over
// HTTP, again and again over one connection, as Prometheus does.
type side struct {
	url    string
	client *http.Client

	times []time.Duration
	trips []time.Duration // of times, what the exporter waited for the agent
	// reductions and cpu of a scrape, one value for each block.
	reductions []float64
	cpu        []time.Duration
	page       string
}

func newSide(t *testing.T, address string) *side {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &side{url: address, client: &http.Client{Transport: transport, Timeout: time.Minute}}
}

// scrape asks once and keeps the page.
func (s *side) scrape(t *testing.T) time.Duration {
	t.Helper()
	begun := time.Now()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url, http.NoBody)
	require.NoError(t, err)
	// Compressed pages would cost the one side's node what it costs the other
	// side's exporter.
	request.Header.Set("Accept-Encoding", "identity")
	answer, err := s.client.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	took := time.Since(begun)
	s.page = string(body)
	require.Equal(t, http.StatusOK, answer.StatusCode, s.page)
	return took
}

// block scrapes some times in a row, and notes what that was for the node.
func (s *side) block(t *testing.T, n *erltest.Node, usual rest, size int) {
	t.Helper()
	before := workOf(t, n)
	for range size {
		s.times = append(s.times, s.scrape(t))
		if trip, err := exportertest.Sample(s.page, "erlang_exporter_dist_rtt_seconds"); err == nil {
			s.trips = append(s.trips, time.Duration(trip*float64(time.Second)))
		}
	}
	after := workOf(t, n)
	done := usual.without(after.since(before), after.at.Sub(before.at))
	s.reductions = append(s.reductions, done.reductions/float64(size))
	s.cpu = append(s.cpu, done.cpu/time.Duration(size))
}

func quantile[T cmp.Ordered](values []T, q float64) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1))]
}

func (s *side) families() int { return strings.Count("\n"+s.page, "\n# TYPE ") }

func (s *side) series() int {
	lines := strings.Count(s.page, "\n")
	return lines - strings.Count("\n"+s.page, "\n#")
}

// sent is how many bytes the node sends for a scrape: a snapshot to the
// exporter, or the page itself.
func (s *side) sent() float64 {
	if v, err := exportertest.Sample(s.page, "erlang_exporter_snapshot_bytes"); err == nil {
		return v
	}
	return float64(len(s.page))
}

// ours is the exporter from the HTTP handler of /probe to the agent. What the
// program has besides it, the sharing of readings that are less than a second
// old, would answer nearly all scrapes of a measurement without the node.
type ours struct {
	node    *erltest.Node
	session *agent.Session
}

func (o ours) Nodes() []metrics.Node {
	return []metrics.Node{{Name: o.node.Name, State: metrics.StateUp}}
}

func (o ours) Node(name string) (metrics.Node, bool) { return o.Nodes()[0], name == o.node.Name }

func (o ours) Snapshot(ctx context.Context, _ string, r snapshot.Request) (*snapshot.Snapshot, error) {
	return o.session.Snapshot(ctx, r)
}

// attacher gives the one attacher of a measurement.
func attacher(t *testing.T) *agent.Attacher {
	t.Helper()
	network, err := dist.New(dist.Options{Name: "erl_exporter@localhost", Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- network.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	a, err := agent.New(agent.Options{Network: network, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	return a
}

// serve attaches a node and serves its page; it gives the address of /probe,
// and ends both.
func serve(t *testing.T, a *agent.Attacher, n *erltest.Node, s agent.Settings, names metrics.Names) (address string, end func()) {
	t.Helper()
	// Measurements ask more often than anybody should.
	s.Limits.Reductions, s.Limits.Bytes = 1<<50, 1<<50
	session, err := a.Attach(t.Context(), agent.Target{Node: n.Name, Cookie: n.Cookie, EPMD: n.EPMD, Settings: s})
	require.NoError(t, err)
	h, err := metrics.New(metrics.Options{
		Fleet: ours{n, session}, Logger: slog.New(slog.DiscardHandler), Settings: metrics.Settings{Names: names},
	})
	require.NoError(t, err)
	server := httptest.NewServer(h.Probe())
	return server.URL + "/probe?target=" + url.QueryEscape(n.Name), func() {
		server.Close()
		require.NoError(t, session.Detach(context.Background()))
	}
}
