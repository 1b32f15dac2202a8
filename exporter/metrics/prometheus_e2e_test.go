//go:build e2e

package metrics_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/internal/erltest"
)

// The three lines that the documentation promises to be enough.
const scrapeConfig = `
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: erlang
    http_sd_configs: [{url: "%s/sd", refresh_interval: 1s}]
`

func TestPrometheusScrapesThroughSD(t *testing.T) {
	t.Parallel()
	f := serving(load(t, recordedFile), "rabbit@h1", "rabbit@h2")
	f.nodes[1].State = metrics.StateDown
	f.nodes[0].Labels = map[string]string{"env": "test"}
	h := newHandler(t, metrics.Options{Fleet: f})
	mux := http.NewServeMux()
	mux.Handle("/sd", h.SD())
	mux.Handle("/probe", h.Probe())
	exporter := httptest.NewServer(mux)
	defer exporter.Close()
	prometheus := erltest.StartPrometheus(t, fmt.Sprintf(scrapeConfig, exporter.URL))

	for query, want := range map[string][]string{
		"up":        {`{__name__="up", family="demo", instance="rabbit@h2", job="erlang", node="rabbit@h2"} 1`, `{__name__="up", env="test", family="demo", instance="rabbit@h1", job="erlang", node="rabbit@h1"} 1`},
		"erlang_up": {`{__name__="erlang_up", family="demo", instance="rabbit@h2", job="erlang", node="rabbit@h2"} 0`, `{__name__="erlang_up", env="test", family="demo", instance="rabbit@h1", job="erlang", node="rabbit@h1"} 1`},
		"sum by (kind) (erlang_vm_memory_bytes_total) == sum by (kind) (erlang_vm_memory_bytes)": {`{kind="processes"} 5059304`, `{kind="system"} 13496816`},
	} {
		slices.Sort(want)
		require.Eventually(t, func() bool { return slices.Equal(want, ask(t, prometheus, query)) },
			30*time.Second, 200*time.Millisecond, "%s: %v", query, ask(t, prometheus, query))
	}
}

// ask gives the answer of Prometheus to an instant query, sorted.
func ask(t *testing.T, p *erltest.Prometheus, query string) []string {
	t.Helper()
	answer, err := http.Get(p.URL + "/api/v1/query?query=" + url.QueryEscape(query))
	require.NoError(t, err)
	defer answer.Body.Close()
	var result struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&result))
	var out []string
	for _, r := range result.Data.Result {
		var labels []string
		for k, v := range r.Metric {
			labels = append(labels, fmt.Sprintf("%s=%q", k, v))
		}
		slices.Sort(labels)
		out = append(out, fmt.Sprintf("{%s} %s", strings.Join(labels, ", "), r.Value[1]))
	}
	slices.Sort(out)
	return out
}

func TestPromtool(t *testing.T) {
	t.Parallel()
	promtool := erltest.Promtool(t)
	for _, tc := range []struct {
		names metrics.Names
		want  []string
	}{
		{metrics.NamesBoth, lintExceptions},
		{metrics.NamesV6, []string{"erlang_vm_carrier_free_block_histogram", "erlang_vm_ets_count", "process_threads_total"}},
	} {
		t.Run(string(tc.names), func(t *testing.T) {
			check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
			check.Stdin = strings.NewReader(probe(t, everything(), metrics.Settings{Names: tc.names}))
			out, _ := check.CombinedOutput() // status 3 for complaints
			var names []string
			for line := range strings.Lines(string(out)) {
				name, _, _ := strings.Cut(line, " ")
				names = append(names, name)
			}
			slices.Sort(names)
			require.Equal(t, tc.want, slices.Compact(names), string(out))
		})
	}
}
