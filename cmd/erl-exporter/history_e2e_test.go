//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

// TestHistory asks a real Prometheus, which scrapes two nodes, for the values of
// one of them.
func TestHistory(t *testing.T) {
	t.Parallel()
	nodes := []*erltest.Node{erltest.Start(t, erltest.Options{}), erltest.Start(t, erltest.Options{})}
	address := fmt.Sprintf("127.0.0.1:%d", erltest.FreePort(t))
	prometheus := erltest.StartPrometheus(t, fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs: [{job_name: erlang, http_sd_configs: [{url: "http://%s/sd", refresh_interval: 1s}]}]
`, address))
	file := fleetConfig(t, nodes)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	file = filepath.Join(filepath.Dir(file), "with-prometheus.yml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(text, "prometheus: {url: %q}\n", prometheus.URL), 0o600))
	p := start(t, "--config.file", file, "--web.listen-address", address)
	for _, n := range nodes {
		p.awaitUp(t, n.Name)
	}
	ask := func(q url.Values) (int, string) { return p.get(t, "/api/v1/metrics/query_range?"+q.Encode()) }
	begin := strconv.FormatInt(time.Now().Unix(), 10)
	var result []struct {
		Metric map[string]string
		Values [][2]any
	}
	require.Eventually(t, func() bool {
		status, body := ask(url.Values{"query": {"sum by (node, family) (erlang_vm_process_count)"}, "node": {nodes[0].Name}, "start": {begin}, "step": {"1s"}})
		require.Equal(t, http.StatusOK, status, body)
		var answer struct {
			Status string
			Data   struct {
				ResultType string
				Result     json.RawMessage
			}
		}
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		require.Equal(t, "success", answer.Status)
		require.Equal(t, "matrix", answer.Data.ResultType)
		require.NoError(t, json.Unmarshal(answer.Data.Result, &result))
		return len(result) > 0 && len(result[0].Values) >= 5
	}, 60*time.Second, 500*time.Millisecond)
	require.Len(t, result, 1)
	require.Equal(t, map[string]string{"node": nodes[0].Name, "family": nodeFamily(nodes[0])}, result[0].Metric)

	status, body := ask(url.Values{"query": {"erlang_up"}, "step": {"1"}, "start": {begin}})
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, nodes[1].Name, "without a node, those of all")
	for _, tc := range []struct {
		query url.Values
		want  string
	}{
		{url.Values{"query": {"sum(erlang_up"}}, "1:14: parse error: unclosed left parenthesis"},
		{url.Values{"query": {"erlang_up"}, "step": {"often"}}, "Prometheus refuses it: invalid parameter \\\"step\\\""},
		{url.Values{"query": {"erlang_up"}, "start": {"yesterday"}}, "is neither a time such as"},
		{url.Values{"query": {"erlang_up"}, "end": {"1"}}, "must be before end, which is 1970-01-01T00:00:01Z"},
	} {
		status, body := ask(tc.query)
		require.Equal(t, http.StatusBadRequest, status, body)
		require.Contains(t, body, tc.want)
	}
}

// TestHistoryWithoutPrometheus says clearly that there is none.
func TestHistoryWithoutPrometheus(t *testing.T) {
	t.Parallel()
	p := start(t, "--config.file", fleetConfig(t, []*erltest.Node{erltest.Start(t, erltest.Options{})}))
	status, body := p.get(t, "/api/v1/metrics/query_range?query=erlang_up")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "No Prometheus is configured, and the exporter itself keeps no history: set prometheus.url in its configuration")
}
