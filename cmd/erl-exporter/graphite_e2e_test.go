//go:build e2e

package main

import (
	bigendian "encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

// everySecond keeps all for some minutes, so that a point that is missing shows.
const everySecond = "[all]\npattern = .*\nretentions = 1s:20m\n"

func graphiteConfig(t *testing.T, n *erltest.Node, graphite string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "erl-exporter.yml")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, `
external_labels: {dc: eu}
graphite: {%s, interval: 1s}
targets:
- {name: g, family: shop, cookie_file: %q, epmd: %q, static_configs: [{targets: [%q], labels: {env: test}}]}
`, graphite, cookieFile(t, n), n.EPMD, n.Name), 0o600))
	return path
}

// TestGraphiteLosesNothing restarts Carbon, and kills it, while readings are
// pushed every second: in the end each second is there.
func TestGraphiteLosesNothing(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	g := erltest.StartGraphite(t, everySecond, "")
	p := start(t, "--config.file", graphiteConfig(t, n, fmt.Sprintf("address: %q, prefix: erlang.", g.Address)))
	p.awaitUp(t, n.Name)
	begun := time.Now()
	target := fmt.Sprintf("seriesByTag('name=erlang.erlang_vm_statistics_reductions_total','node=%s')", n.Name)
	points := func() map[int64]float64 {
		series, err := g.Render(target, begun.Add(-time.Minute))
		require.NoError(t, err)
		if len(series) == 0 {
			return nil
		}
		require.Len(t, series, 1)
		require.Equal(t, map[string]string{
			"name": "erlang.erlang_vm_statistics_reductions_total", "node": n.Name, "family": "shop", "env": "test", "dc": "eu",
		}, series[0].Tags)
		return series[0].Points
	}
	// newest waits until a point of now, or later, is there.
	newest := func() int64 {
		now := time.Now().Unix()
		var last int64
		require.Eventually(t, func() bool {
			last = slices.Max(append(slices.Collect(maps.Keys(points())), 0))
			return last >= now
		}, 90*time.Second, 250*time.Millisecond, "points of %d, now %d", last, now)
		return last
	}
	first := newest()
	for _, end := range []func(){g.Stop, g.Kill} {
		end()
		time.Sleep(4 * time.Second) // Carbon is away for some points
		g.Start()
		newest()
	}
	last := newest()
	require.Greater(t, last-first, int64(8))
	var before float64
	got := points()
	for second := first; second <= last; second++ {
		require.Contains(t, got, second, "of %d to %d", first, last)
		require.GreaterOrEqual(t, got[second], before, "a counter")
		before = got[second]
	}
	_, page := p.get(t, "/metrics")
	require.Contains(t, page, `erlang_exporter_graphite_points_dropped_total{reason="buffer_full"} 0`)
	require.Contains(t, page, "erlang_exporter_graphite_up 1")
	require.NotContains(t, page, "erlang_exporter_graphite_points_resent_total 0\n")
}

// TestGraphiteKeepsWombatsSchedule pushes paths by pickle to a Carbon with the
// files of compose/graphite.
func TestGraphiteKeepsWombatsSchedule(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join("..", "..", "compose", "graphite", name))
		require.NoError(t, err)
		return string(text)
	}
	g := erltest.StartGraphite(t, read("storage-schemas.conf"), read("storage-aggregation.conf"))
	p := start(t, "--config.file", graphiteConfig(t, n,
		fmt.Sprintf(`address: %q, protocol: pickle, path: "erlang.{{family}}.{{node}}.{{metric}}.{{labels}}"`, g.PickleAddress)))
	p.awaitUp(t, n.Name)
	node := strings.ReplaceAll(n.Name, ".", "_")
	for metric, method := range map[string]uint32{ // as whisper numbers them: average, sum, last, max, min
		"erlang_up": 5,
		"erlang_vm_memory_bytes_total.kind.system": 1,
		"erlang_vm_statistics_reductions_total":    3,
		"erlang_vm_statistics_run_queues_length":   4,
	} {
		target := "erlang.shop." + node + "." + metric
		require.Eventually(t, func() bool {
			series, err := g.Render(target, time.Now().Add(-5*time.Minute))
			require.NoError(t, err)
			return len(series) == 1 && len(series[0].Points) > 0
		}, 60*time.Second, 250*time.Millisecond, target)
		header, err := os.ReadFile(filepath.Join(g.Dir, "whisper", strings.ReplaceAll(target, ".", "/")+".wsp"))
		require.NoError(t, err)
		field := func(i int) uint32 { return bigendian.BigEndian.Uint32(header[4*i:]) }
		require.Equal(t, method, field(0), metric)
		require.Equal(t, []uint32{3, 60, 60, 300, 288, 900, 672},
			[]uint32{field(3), field(5), field(6), field(8), field(9), field(11), field(12)}, metric)
	}
}
