package appmetrics_test

import (
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/appmetrics"
	"github.com/erlops/erlops/exporter/snapshot"
)

// Names of entries are any terms; those of metrics stay valid, and the same.
func TestNames(t *testing.T) {
	gauge := func(name string) appmetrics.Entry {
		return appmetrics.Entry{Name: name, Type: "gauge", Values: []appmetrics.Value{{Point: "value", Float: 1}}}
	}
	for name, want := range map[string]struct{ family, label string }{
		"sessions":                 {"folsom_sessions", ""},
		"[http,requests]":          {"folsom_http_requests", ""},
		"{tup,1}":                  {"folsom_tup_1", ""},
		`<<"a.b">>`:                {"folsom_a_b", `<<"a.b">>`},
		"'with \"quotes\"\\n'":     {"folsom_with_quotes_n", "'with \"quotes\"\\n'"},
		"'größe'":                  {"folsom_gr_e", "'größe'"},
		"<<255,254>>":              {"folsom_255_254", "<<255,254>>"},
		"[]":                       {"folsom_metric", "[]"},
		strings.Repeat("x", 10000): {"folsom_" + strings.Repeat("x", 200), strings.Repeat("x", 10000)},
	} {
		got, dropped := appmetrics.Families(snapshot.Folsom, []appmetrics.Entry{gauge(name)}, appmetrics.Rules{})
		require.Zero(t, dropped)
		require.Len(t, got, 1)
		require.Equal(t, want.family, got[0].Name)
		require.True(t, model.LegacyValidation.IsValidMetricName(got[0].Name))
		var labels []snapshot.Label
		if want.label != "" {
			labels = []snapshot.Label{{Name: "name", Value: want.label}}
		}
		require.Equal(t, labels, got[0].Samples[0].Labels, name)
	}
	got, dropped := appmetrics.Families(snapshot.Folsom, []appmetrics.Entry{
		gauge("[a,b]"), gauge("a_b"), {Name: "{a,b}", Type: "meter", Values: []appmetrics.Value{{Point: "one", Float: 2}}},
		{Name: "a_b_rate", Type: "counter", Values: []appmetrics.Value{{Point: "value", Float: 3}}},
	}, appmetrics.Rules{})
	require.Zero(t, dropped)
	require.Len(t, got, 2)
	require.Equal(t, []snapshot.Sample{
		{Value: 1}, {Labels: []snapshot.Label{{Name: "name", Value: "[a,b]"}}, Value: 1},
	}, got[0].Samples, "two entries of one name are told apart")
}

func TestParseLabels(t *testing.T) {
	for text, want := range map[string][]snapshot.Label{
		``:                            nil,
		`a="1"`:                       {{Name: "a", Value: "1"}},
		`a="1",b="x,y=\"z\"\\\n"`:     {{Name: "a", Value: "1"}, {Name: "b", Value: "x,y=\"z\"\\\n"}},
		`vhost="/",queue="a",le="+1"`: {{Name: "vhost", Value: "/"}, {Name: "queue", Value: "a"}, {Name: "le", Value: "+1"}},
	} {
		got, err := appmetrics.ParseLabels(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{`a`, `a=1`, `a="1`, `a="\"`} {
		_, err := appmetrics.ParseLabels(text)
		require.Error(t, err, text)
	}
}

func FuzzParseLabels(f *testing.F) {
	f.Add(`a="1",b="\\\n"`)
	f.Fuzz(func(_ *testing.T, text string) { _, _ = appmetrics.ParseLabels(text) })
}

func FuzzParseText(f *testing.F) {
	f.Add([]byte("# TYPE a counter\na{b=\"c\"} 1\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 1\nh_count 2\n"))
	f.Fuzz(func(t *testing.T, page []byte) {
		families, err := appmetrics.ParseText(page)
		if err != nil {
			return
		}
		for i := range families {
			appmetrics.Clean(&families[i])
			require.True(t, model.LegacyValidation.IsValidMetricName(families[i].Name))
		}
	})
}

func TestClean(t *testing.T) {
	f := snapshot.Family{Name: "1 größe", Type: "summary of things", Samples: []snapshot.Sample{
		{Labels: []snapshot.Label{{Name: "a-b", Value: "x"}, {Name: "", Value: "y"}}},
	}}
	appmetrics.Clean(&f)
	require.Equal(t, "_1_gr_e", f.Name)
	require.Equal(t, "untyped", f.Type)
	require.Equal(t, []snapshot.Label{{Name: "a_b", Value: "x"}, {Name: "_", Value: "y"}}, f.Samples[0].Labels)
}

// Exometer tells zeros of a sample that has nothing, as of one that was not used yet.
func TestEmptySample(t *testing.T) {
	zeros := func(more ...appmetrics.Value) []appmetrics.Value {
		return append([]appmetrics.Value{{Point: "n"}, {Point: "mean"}, {Point: "min"}, {Point: "max"}, {Point: "50"}, {Point: "999"}}, more...)
	}
	names := func(kind string, values []appmetrics.Value) []string {
		got, dropped := appmetrics.Families(snapshot.Exometer, []appmetrics.Entry{{Name: "a", Type: kind, Values: values}}, appmetrics.Rules{})
		require.Zero(t, dropped)
		var all []string
		for _, f := range got {
			all = append(all, f.Name)
		}
		return all
	}
	require.Empty(t, names("histogram", zeros()))
	require.Equal(t, []string{"exometer_a_total"}, names("duration", zeros(appmetrics.Value{Point: "count"}, appmetrics.Value{Point: "last"})))
	used := []appmetrics.Value{{Point: "count", Float: 3}, {Point: "last", Float: 5}}
	require.Equal(t, []string{"exometer_a_last", "exometer_a_total"}, names("duration", zeros(used...)), "the last one is that, however long ago")
	used = append(used, appmetrics.Value{Point: "n", Float: 3}, appmetrics.Value{Point: "50", Float: 2})
	require.Equal(t, []string{"exometer_a", "exometer_a_last", "exometer_a_total"}, names("duration", used))
}
