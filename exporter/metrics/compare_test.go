package metrics_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
)

// difference is one thing that a page of prometheus.erl has and ours has not.
type difference struct {
	// series is the family, or the series with its labels.
	series string
	what   string
}

func (d difference) String() string { return d.series + ": " + d.what }

// compare says what of prometheus.erl's families of the VM and of Mnesia ours
// lacks: a family, its type, a series with the same labels in the same order,
// or the value of a gauge that stands still, that is, has the same value in
// the pages fetched before and after ours.
func compare(before, ours, after map[string]*dto.MetricFamily) []difference {
	var out []difference
	for name, theirs := range before {
		if !strings.HasPrefix(name, "erlang_vm_") && !strings.HasPrefix(name, "erlang_mnesia_") {
			continue
		}
		mf, ok := ours[name]
		switch {
		case !ok:
			out = append(out, difference{name, "family is missing"})
		case mf.GetType() != theirs.GetType():
			out = append(out, difference{name, fmt.Sprintf("type is %s, not %s", mf.GetType(), theirs.GetType())})
		default:
			out = append(out, compareSeries(theirs, mf, after[name])...)
		}
	}
	slices.SortFunc(out, func(a, b difference) int { return strings.Compare(a.series, b.series) })
	return out
}

func compareSeries(before, ours, after *dto.MetricFamily) []difference {
	var out []difference
	got, later := bySeries(ours), bySeries(after)
	for series, want := range bySeries(before) {
		// What went away meanwhile need not be on our page.
		last, still := later[series]
		have, ok := got[series]
		switch {
		case !ok && still:
			out = append(out, difference{series, "series is missing"})
		case ok && still && before.GetType() != dto.MetricType_COUNTER && last == want && have != want:
			out = append(out, difference{series, fmt.Sprintf("value is %g, not %g", have, want)})
		}
	}
	return out
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
# TYPE erlang_vm_logical_processors_available gauge
# HELP erlang_vm_logical_processors_available Undefined: no sample.
# TYPE rabbitmq_queues gauge
# HELP rabbitmq_queues Not of the VM.
rabbitmq_queues 3
`
	for _, tc := range []struct {
		name        string
		ours, after string
		want        []string
	}{
		{"the same", theirs, theirs, nil},
		{"a counter went on", strings.ReplaceAll(theirs, " 1.5", " 1.7"), theirs, nil},
		{"a gauge moved", strings.ReplaceAll(theirs, " 50", " 51"), strings.ReplaceAll(theirs, " 50", " 52"), nil},
		{"more of ours", theirs + "# TYPE erlang_up gauge\nerlang_up 1\n", theirs, nil},
		{
			"a gauge that stands still", strings.ReplaceAll(theirs, " 50", " 51"), theirs,
			[]string{"erlang_vm_process_count{}: value is 51, not 50"},
		},
		{
			"types", strings.ReplaceAll(theirs, "untyped", "gauge"), theirs,
			[]string{"erlang_vm_smp_support: type is GAUGE, not UNTYPED"},
		},
		{
			"order of labels", strings.ReplaceAll(theirs, `type="scheduler",id="1"`, `id="1",type="scheduler"`), theirs,
			[]string{`erlang_vm_msacc_aux_seconds_total{type="scheduler",id="1"}: series is missing`},
		},
		{
			"a family", strings.ReplaceAll(theirs, "erlang_vm_smp_support", "erlang_vm_other"), theirs,
			[]string{"erlang_vm_smp_support: family is missing"},
		},
		{
			"a series that went away", strings.ReplaceAll(theirs, `"1"`, `"2"`), strings.ReplaceAll(theirs, `"1"`, `"2"`), nil,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, d := range compare(parse(t, theirs), parse(t, tc.ours), parse(t, tc.after)) {
				got = append(got, d.String())
			}
			require.Equal(t, tc.want, got)
		})
	}
}
