package metrics_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/metrics"
)

// recordedFile is a snapshot of a plain OTP 25 node with Mnesia and a peer;
// see TestPlainNode.
const recordedFile = "testdata/otp25.json"

func TestGolden(t *testing.T) {
	read := load(t, recordedFile)
	for _, tc := range []struct {
		file   string
		names  metrics.Names
		accept string
	}{
		{"testdata/otp25.both.prom", metrics.NamesBoth, ""},
		{"testdata/otp25.legacy.prom", metrics.NamesLegacy, ""},
		{"testdata/otp25.v6.openmetrics", metrics.NamesV6, "application/openmetrics-text;version=1.0.0"},
	} {
		t.Run(tc.file, func(t *testing.T) {
			h := newHandler(t, metrics.Options{Fleet: serving(read, "demo@127.0.0.1"), Settings: metrics.Settings{Names: tc.names}})
			page := get(h.Probe(), "/probe?target=demo@127.0.0.1", "Accept", tc.accept).Body.String()
			if *update {
				require.NoError(t, os.WriteFile(tc.file, []byte(page), 0o644))
			}
			want, err := os.ReadFile(tc.file)
			require.NoError(t, err)
			require.Equal(t, string(want), page, "run go test ./exporter/metrics -update when this is meant")
			require.NotContains(t, page, "NaN")
			require.Equal(t, tc.accept != "", strings.HasSuffix(page, "# EOF\n"))
		})
	}
}

func BenchmarkProbe(b *testing.B) {
	h := newHandler(b, metrics.Options{Fleet: serving(load(b, recordedFile), "demo@127.0.0.1")}).Probe()
	for b.Loop() {
		get(h, "/probe?target=demo@127.0.0.1")
	}
}

func BenchmarkNodes300(b *testing.B) {
	var names []string
	for i := range 300 {
		names = append(names, fmt.Sprintf("demo%d@127.0.0.1", i))
	}
	h := newHandler(b, metrics.Options{Fleet: serving(load(b, recordedFile), names...)}).Nodes()
	for b.Loop() {
		get(h, "/metrics/nodes")
	}
}
