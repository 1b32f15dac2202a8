package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/exporter/snapshot"
)

// lines writes points as the page does, but for the escaping of values.
func lines(points []metrics.Point) string {
	var b strings.Builder
	for _, p := range points {
		b.WriteString(p.Name)
		for i, l := range p.Labels {
			fmt.Fprintf(&b, "%c%s=%q", "{,"[min(i, 1)], l.Name, l.Value)
		}
		if len(p.Labels) > 0 {
			b.WriteByte('}')
		}
		b.WriteString(" " + strconv.FormatFloat(p.Value, 'g', -1, 64) + "\n")
	}
	return b.String()
}

// The points of a whole recorded node are those of its page.
func TestPointsAreThoseOfThePage(t *testing.T) {
	s := load(t, "testdata/otp25.json")
	f := serving(s, "a@h")
	h := newHandler(t, metrics.Options{Fleet: f})
	got, ok := h.Points(t.Context(), "a@h", metrics.PointsRequest{})
	require.True(t, ok)
	page := get(h.Probe(), "/probe?target=a@h").Body.String()
	want := series(page)
	require.Greater(t, len(want), 100)
	have := strings.Split(strings.TrimSpace(lines(got.Points)), "\n")
	require.ElementsMatch(t, want, have)
	require.Equal(t, "a@h", got.Node.Name)
}

func TestPointsKeepLabelsAsTheyAre(t *testing.T) {
	strange := "a\\n\"b\" {c=\"d\",}"
	f := serving(of(snapshot.Folsom), "a@h")
	f.snapshot = func(context.Context, string, snapshot.Request) (*snapshot.Snapshot, error) {
		return &snapshot.Snapshot{Taken: time.Unix(1, 0), Collectors: []snapshot.Collector{
			{Name: snapshot.Folsom, Families: []snapshot.Family{{Name: "folsom_x", Type: "gauge", Samples: []snapshot.Sample{
				{Labels: []snapshot.Label{{Name: "name", Value: strange}, {Name: "quantile", Value: "0.5"}}, Value: math.Inf(1)},
			}}}},
			{Name: snapshot.Mnesia, Err: "it did not answer"},
		}}, nil
	}
	got, ok := newHandler(t, metrics.Options{Fleet: f}).Points(t.Context(), "a@h", metrics.PointsRequest{AllNames: true})
	require.True(t, ok)
	var found bool
	for _, p := range got.Points {
		if p.Name == "folsom_x" {
			found = true
			require.Equal(t, []snapshot.Label{{Name: "name", Value: strange}, {Name: "quantile", Value: "0.5"}}, p.Labels)
			require.True(t, math.IsInf(p.Value, 1))
		}
	}
	require.True(t, found)
	require.Equal(t, map[string]string{snapshot.Mnesia: "it did not answer"}, got.Failed)
	require.Equal(t, time.Unix(1, 0), got.Taken)
}

func TestPointsOfANodeThatIsNotUp(t *testing.T) {
	f := serving(nil, "a@h", "b@h")
	f.nodes[0].State = metrics.StateDown
	f.snapshot = func(context.Context, string, snapshot.Request) (*snapshot.Snapshot, error) {
		return nil, errors.New("gone")
	}
	h := newHandler(t, metrics.Options{Fleet: f})
	for name, reason := range map[string]string{"a@h": "not_up", "b@h": "snapshot_failed"} {
		got, ok := h.Points(t.Context(), name, metrics.PointsRequest{})
		require.True(t, ok)
		require.Equal(t, reason, got.Reason)
		require.Zero(t, got.Taken)
		require.Contains(t, lines(got.Points), "erlang_up 0\n")
	}
	_, ok := h.Points(t.Context(), "c@h", metrics.PointsRequest{})
	require.False(t, ok)
	require.Equal(t, []string{"a@h", "b@h"}, h.NodeNames())
}

func TestFind(t *testing.T) {
	for _, name := range []string{"erlang_vm_memory_bytes_total", "erlang_vm_memory_bytes"} {
		f, ok := metrics.Find(name)
		require.True(t, ok)
		require.Equal(t, snapshot.Memory, f.Collector)
	}
	_, ok := metrics.Find("folsom_requests")
	require.False(t, ok)
}
