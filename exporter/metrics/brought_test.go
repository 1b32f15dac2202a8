package metrics_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/exporter/snapshot"
)

func label(name, value string) snapshot.Label { return snapshot.Label{Name: name, Value: value} }

// app is a reading with what an application measures.
func app(families ...snapshot.Family) *snapshot.Snapshot {
	return &snapshot.Snapshot{Collectors: []snapshot.Collector{
		{Name: snapshot.Memory, Tables: []snapshot.Table{table("memory", nil, []string{"ets_tables"}, []any{17})}},
		{Name: snapshot.Prometheus, Families: families, Dropped: 2, Failed: 3},
	}}
}

// about tells lines that the exporter adds from those that are under test.
func withoutAbout(lines []string) []string {
	return slices.DeleteFunc(lines, func(s string) bool { return strings.HasPrefix(s, "erlang_") })
}

func TestBroughtFamilies(t *testing.T) {
	read := app(
		snapshot.Family{Name: "shop_orders_total", Type: "counter", Help: "Orders\nso far", Samples: []snapshot.Sample{
			{Labels: []snapshot.Label{label("kind", "a\"b\n\xff"), label("kind", "again")}, Value: 3},
			{Labels: []snapshot.Label{label("kind", "a\"b\n\xff")}, Value: 4},
			{Value: 5},
		}},
		snapshot.Family{Name: "shop_seconds", Type: "histogram", Samples: []snapshot.Sample{
			{Suffix: "_bucket", Labels: []snapshot.Label{label("le", "1")}, Value: 1},
			{Suffix: "_bucket", Labels: []snapshot.Label{label("le", "+Inf")}, Value: 2},
			{Suffix: "_sum", Value: 2.5}, {Suffix: "_count", Value: 2},
		}},
		snapshot.Family{Name: "erlang_vm_memory_ets_tables", Type: "gauge", Samples: []snapshot.Sample{{Value: 99}}},
	)
	page := probe(t, read, metrics.Settings{Names: metrics.NamesV6})
	require.Equal(t, []string{
		`shop_orders_total{kind="a\"b\\x0a\\xff"} 3`,
		`shop_orders_total 5`,
		`shop_seconds_bucket{le="1"} 1`, `shop_seconds_bucket{le="+Inf"} 2`, `shop_seconds_sum 2.5`, `shop_seconds_count 2`,
	}, withoutAbout(series(page)))
	require.Contains(t, page, "\n# TYPE shop_seconds histogram\n")
	require.Contains(t, page, "\nerlang_vm_memory_ets_tables 17\n", "the catalogue's own stays")
	// Two that the node kept, one that is there twice, one whose name is taken.
	require.Contains(t, page, `erlang_exporter_scrape_series_dropped{collector="prometheus"} 4`)
	require.Contains(t, page, `erlang_exporter_scrape_metrics_failed{collector="prometheus"} 3`)
	parse(t, page)

	h := newHandler(t, metrics.Options{Fleet: serving(read, "n@h", "m@h"), Settings: metrics.Settings{Names: metrics.NamesV6}})
	open := get(h.Probe(), "/probe?target=n@h", "Accept", string(expfmt.FmtOpenMetrics_1_0_0)).Body.String()
	require.Contains(t, open, "# TYPE shop_orders counter\n")
	require.Contains(t, open, "shop_orders_total 5.0\n")
	all := get(h.Nodes(), "/metrics/nodes").Body.String()
	require.Equal(t, 1, strings.Count(all, "# TYPE shop_orders_total"))
	require.Contains(t, all, "\n"+`shop_orders_total{node="n@h"} 5`+"\n")
	require.Contains(t, all, "\n"+`shop_orders_total{node="m@h"} 5`+"\n")
	parse(t, all)
}

func TestBroughtLimit(t *testing.T) {
	var samples []snapshot.Sample
	for _, v := range []string{"a", "b", "c"} {
		samples = append(samples, snapshot.Sample{Labels: []snapshot.Label{label("node", v)}, Value: 1})
	}
	page := probe(t, app(snapshot.Family{Name: "x", Type: "gauge", Samples: samples}), metrics.Settings{Limits: metrics.Limits{Source: 2}})
	require.Equal(t, []string{`x{node="a"} 1`, `x{node="b"} 1`}, withoutAbout(series(page)))
	require.Contains(t, page, `erlang_exporter_scrape_series_dropped{collector="prometheus"} 3`)
}
