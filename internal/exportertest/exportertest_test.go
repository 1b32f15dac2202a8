package exportertest_test

import (
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/exportertest"
)

func TestMain(m *testing.M) {
	os.Exit(exportertest.Main(m))
}

func TestProcess(t *testing.T) {
	t.Parallel()
	p := exportertest.Start(t, exportertest.Options{
		Config: "cookie_file: cookie\ntargets: [{name: a, address: '127.0.0.1:1', static_configs: [{targets: [n@localhost]}]}]\n",
		Files:  map[string]string{"cookie": "secret"},
	})
	require.NoError(t, syscall.Kill(p.Pid, 0))
	n, _ := p.Await("n@localhost", 10*time.Second, "down", func(n client.Node) bool { return n.State == client.StateDown })
	require.Equal(t, "refused", n.LastErrorKind)
	page := p.Probe("n@localhost", time.Second)
	require.Equal(t, http.StatusOK, page.Status)
	up, err := exportertest.Sample(page.Body, "erlang_up")
	require.NoError(t, err)
	require.Zero(t, up)
	used := p.Resources()
	require.Positive(t, used.Goroutines)
	require.Positive(t, used.Descriptors)
	require.Positive(t, used.Heap)
	require.Greater(t, used.RSS, used.Heap)
	require.Positive(t, p.CPU())
	require.Positive(t, p.Wanted())
	p.Stop()
	require.Contains(t, p.Log(), "stopped")
}

func TestSample(t *testing.T) {
	t.Parallel()
	const page = "# TYPE a gauge\na 1\na{b=\"c d\"} 2.5e3\nab 3\n"
	for series, want := range map[string]float64{"a": 1, `a{b="c d"}`: 2500, "ab": 3} {
		got, err := exportertest.Sample(page, series)
		require.NoError(t, err)
		require.InDelta(t, want, got, 0, series)
	}
	_, err := exportertest.Sample(page, "b")
	require.ErrorContains(t, err, "no series b")
}
