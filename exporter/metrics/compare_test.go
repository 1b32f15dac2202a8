package metrics_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
)

// pageOf is a parsed page: families by name.
type pageOf = map[string]*dto.MetricFamily

// compare tells in what our pages of a node differ from prometheus.erl's of
// the same node, in its families of the VM and of Mnesia: family, type, series
// (labels and their order) and values. Theirs[i] was fetched before ours[i],
// theirs[i+1] after it. Series that are not in all of their pages are left
// out. A counter of ours must lie between theirs. A gauge that stands still,
// that is, has one value in all of theirs, must have it in one of ours. Extra
// is what a page of theirs adds to gauges by being made.
func compare(theirs, ours []pageOf, extra map[string]float64) []string {
	var out []string
	for name, family := range theirs[0] {
		if !strings.HasPrefix(name, "erlang_vm_") && !strings.HasPrefix(name, "erlang_mnesia_") {
			continue
		}
		mf, ok := ours[0][name]
		switch {
		case !ok:
			out = append(out, name+": family is missing")
		case mf.GetType() != family.GetType():
			out = append(out, fmt.Sprintf("%s: type is %s, not %s", name, mf.GetType(), family.GetType()))
		default:
			out = append(out, compareFamily(name, theirs, ours, extra)...)
		}
	}
	slices.Sort(out)
	return out
}

func compareFamily(name string, theirs, ours []pageOf, extra map[string]float64) []string {
	var out []string
	isCounter := theirs[0][name].GetType() == dto.MetricType_COUNTER
	for series := range bySeries(theirs[0][name]) {
		want, always := valuesOf(theirs, name, series)
		if !always {
			continue
		}
		have, ok := valuesOf(ours, name, series)
		var what string
		switch {
		case !ok:
			what = "series is missing"
		case isCounter:
			what = compareCounter(have, want)
		default:
			what = compareGauge(series, have, want, extra[series])
		}
		if what != "" {
			out = append(out, series+": "+what)
		}
	}
	return out
}

func compareCounter(have, want []float64) string {
	for i, v := range have {
		if v < want[i] || v > want[i+1] {
			return fmt.Sprintf("counter is %g, not between %g and %g", v, want[i], want[i+1])
		}
	}
	return ""
}

func compareGauge(series string, have, want []float64, extra float64) string {
	if slices.Min(want) != slices.Max(want) {
		return "" // it moves
	}
	if isPageCarrier(series) {
		return ""
	}
	for _, v := range have {
		if v+extra == want[0] || isMemory(series) && isClose(v, want[0]) {
			return ""
		}
	}
	return fmt.Sprintf("gauge is %g, not %g", have, want[0]-extra)
}

// isMemory tells series that count what making a page takes: the pages of both
// take memory, and not the same.
func isMemory(series string) bool {
	return strings.HasPrefix(series, "erlang_vm_memory_") && strings.Contains(series, "_bytes") ||
		strings.HasPrefix(series, "erlang_vm_allocators{")
}

// isPageCarrier tells the carriers of binaries and of heaps. The plugin's page is
// made on a heap and is a binary that it has while it reads them, and none of
// ours is then there: on each of its pages it may take a carrier that there is
// on none of ours, of any size.
func isPageCarrier(series string) bool {
	return strings.Contains(series, `usage="carriers`) &&
		(strings.HasPrefix(series, `erlang_vm_allocators{alloc="binary_alloc"`) ||
			strings.HasPrefix(series, `erlang_vm_allocators{alloc="eheap_alloc"`))
}

// isClose tells values that differ by no more than that.
func isClose(a, b float64) bool {
	return math.Abs(a-b) <= max(64<<10, 0.1*math.Abs(b)) && (a == 0) == (b == 0)
}

// valuesOf gives the values that a series has on pages; false when it is not
// on all of them.
func valuesOf(pages []pageOf, family, series string) ([]float64, bool) {
	var out []float64
	for _, p := range pages {
		v, ok := bySeries(p[family])[series]
		if !ok {
			return nil, false
		}
		out = append(out, v)
	}
	return out, true
}

// bySeries gives the values of a family by name and labels as written.
func bySeries(mf *dto.MetricFamily) map[string]float64 {
	out := make(map[string]float64)
	for _, m := range mf.GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
		}
		value := m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
		out[mf.GetName()+"{"+strings.Join(labels, ",")+"}"] = value
	}
	return out
}

func TestCompare(t *testing.T) {
	const theirs = `
# TYPE erlang_vm_msacc_aux_seconds_total counter
# HELP erlang_vm_msacc_aux_seconds_total Aux.
erlang_vm_msacc_aux_seconds_total{type="scheduler",id="1"} 1.5
# TYPE erlang_vm_smp_support untyped
# HELP erlang_vm_smp_support SMP.
erlang_vm_smp_support 1
# TYPE erlang_vm_process_count gauge
# HELP erlang_vm_process_count Processes.
erlang_vm_process_count 50
# TYPE erlang_vm_allocators gauge
# HELP erlang_vm_allocators Allocators.
erlang_vm_allocators{alloc="ets_alloc",instance_no="0",kind="mbcs",usage="blocks_size"} 1000000
erlang_vm_allocators{alloc="binary_alloc",instance_no="0",kind="mbcs",usage="carriers_size"} 294912
# TYPE erlang_vm_logical_processors_available gauge
# HELP erlang_vm_logical_processors_available Undefined: no sample.
# TYPE rabbitmq_queues gauge
# HELP rabbitmq_queues Not of the VM.
rabbitmq_queues 3
`
	change := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(theirs) }
	for _, tc := range []struct {
		name        string
		ours, after string
		extra       map[string]float64
		want        []string
	}{
		{"the same", theirs, theirs, nil, nil},
		{"a counter between", change(" 1.5", " 1.6"), change(" 1.5", " 1.7"), nil, nil},
		{
			"a counter beyond", change(" 1.5", " 1.8"), change(" 1.5", " 1.7"), nil,
			[]string{`erlang_vm_msacc_aux_seconds_total{type="scheduler",id="1"}: counter is 1.8, not between 1.5 and 1.7`},
		},
		{"a gauge that moves", change(" 50", " 51"), change(" 50", " 52"), nil, nil},
		{"memory of the pages", change(" 1000000", " 1060000"), theirs, nil, nil},
		{
			"other memory", change(" 1000000", " 125000"), theirs, nil,
			[]string{`erlang_vm_allocators{alloc="ets_alloc",instance_no="0",kind="mbcs",usage="blocks_size"}: gauge is [125000], not 1e+06`},
		},
		{"a carrier of the plugin's page", change(" 294912", " 32768"), theirs, nil, nil},
		{"more of ours", theirs + "# TYPE erlang_up gauge\nerlang_up 1\n", theirs, nil, nil},
		{
			"a gauge that stands still", change(" 50", " 51"), theirs, nil,
			[]string{"erlang_vm_process_count{}: gauge is [51], not 50"},
		},
		{"a gauge that counts the page", change(" 50", " 49"), theirs, map[string]float64{"erlang_vm_process_count{}": 1}, nil},
		{"types", change("untyped", "gauge"), theirs, nil, []string{"erlang_vm_smp_support: type is GAUGE, not UNTYPED"}},
		{
			"order of labels", change(`type="scheduler",id="1"`, `id="1",type="scheduler"`), theirs, nil,
			[]string{`erlang_vm_msacc_aux_seconds_total{type="scheduler",id="1"}: series is missing`},
		},
		{"a family", change("erlang_vm_smp_support", "erlang_vm_other"), theirs, nil, []string{"erlang_vm_smp_support: family is missing"}},
		{"a series that went away", change(`id="1"`, `id="2"`), change(`id="1"`, `id="2"`), nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := compare([]pageOf{parse(t, theirs), parse(t, tc.after)}, []pageOf{parse(t, tc.ours)}, tc.extra)
			require.Equal(t, tc.want, got)
		})
	}
}
