package metrics_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/exporter/snapshot"
)

var oneTable = of(snapshot.Memory, table("memory", nil, []string{"ets_tables"}, []any{17}))

func TestProbeRefusals(t *testing.T) {
	h := newHandler(t, metrics.Options{Fleet: serving(oneTable, "n@h")})
	for _, tc := range []struct {
		name, url string
		headers   []string
		code      int
		body      string
	}{
		{"no target", "/probe", nil, 400, "Bad request: the parameter target must name one node, as in /probe?target=rabbit@host."},
		{"empty target", "/probe?target=", nil, 400, "Bad request: the parameter target must name one node, as in /probe?target=rabbit@host."},
		{"two targets", "/probe?target=n@h&target=m@h", nil, 400, "Bad request: the parameter target must name one node, as in /probe?target=rabbit@host."},
		{"unknown target", "/probe?target=m@h", nil, 404, `There is no node "m@h" here.`},
		{"hostile target", "/probe?target=%3Cscript%3E%0a" + strings.Repeat("x", 1000), nil, 404, `There is no node "<script>\n` + strings.Repeat("x", 291) + `" here.`},
		{
			"unknown collector", "/probe?target=n@h&collect[]=memory&collect[]=disk", nil, 400,
			`Bad request: there is no collector "disk"; collect[] takes memory, statistics, system_info, vm, process, mnesia, agent, logs, processes, schedulers, vip, code, ports, os_mon, distribution, msacc, allocators, ets, vm_events, alarms, carriers, folsom, exometer, prometheus, telemetry.`,
		},
		{
			"no number", "/probe?target=n@h", []string{"X-Prometheus-Scrape-Timeout-Seconds", "soon"}, 400,
			`Bad request: the header X-Prometheus-Scrape-Timeout-Seconds must be a positive number of seconds, not "soon".`,
		},
		{
			"no time", "/probe?target=n@h", []string{"X-Prometheus-Scrape-Timeout-Seconds", "-1"}, 400,
			`Bad request: the header X-Prometheus-Scrape-Timeout-Seconds must be a positive number of seconds, not "-1".`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := get(h.Probe(), tc.url, tc.headers...)
			require.Equal(t, tc.code, w.Code)
			require.Equal(t, tc.body+"\n", w.Body.String())
			require.Equal(t, "text/plain; charset=utf-8", w.Header().Get("Content-Type"))
		})
	}
	w := httptest.NewRecorder()
	h.Probe().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/probe?target=n@h", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
	require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
}

func TestProbeOfNodeThatIsNotUp(t *testing.T) {
	for _, state := range metrics.States() {
		if state == metrics.StateUp {
			continue
		}
		t.Run(string(state), func(t *testing.T) {
			f := &fleet{
				nodes: []metrics.Node{{Name: "n@h", State: state, LastError: "epmd unreachable"}},
				snapshot: func(context.Context, string, snapshot.Request) (*snapshot.Snapshot, error) {
					t.Error("a node that is not up must not be asked")
					return nil, nil
				},
			}
			w := get(newHandler(t, metrics.Options{Fleet: f}).Probe(), "/probe?target=n@h")
			require.Equal(t, http.StatusOK, w.Code)
			require.Contains(t, w.Body.String(), "\nerlang_up 0\n")
			require.Contains(t, w.Body.String(), `erlang_exporter_node_state{state="`+string(state)+`"} 1`)
			require.Contains(t, w.Body.String(), "\nerlang_exporter_agent_up 0\n")
			require.Len(t, parse(t, w.Body.String()), 3)
		})
	}
}

func TestProbeOfNodeThatFails(t *testing.T) {
	f := serving(nil, "n@h")
	f.snapshot = func(context.Context, string, snapshot.Request) (*snapshot.Snapshot, error) {
		return nil, errors.New("connection closed")
	}
	w := get(newHandler(t, metrics.Options{Fleet: f}).Probe(), "/probe?target=n@h")
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Body.String(), "\nerlang_up 0\n")
}

func TestProbeDeadline(t *testing.T) {
	for _, tc := range []struct {
		name, header string
		limit, want  time.Duration
	}{
		{"default", "", 0, 10 * time.Second},
		{"as configured", "", 3 * time.Second, 3 * time.Second},
		{"what Prometheus waits, less half a second", "5", 0, 4500 * time.Millisecond},
		{"capped", "60", 0, 10 * time.Second},
		{"half of a short wait", "0.4", 0, 200 * time.Millisecond},
		{"very long", "1e300", 0, 10 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got time.Duration
			f := serving(nil, "n@h")
			f.snapshot = func(ctx context.Context, _ string, _ snapshot.Request) (*snapshot.Snapshot, error) {
				deadline, ok := ctx.Deadline()
				require.True(t, ok)
				got = time.Until(deadline)
				return oneTable, nil
			}
			h := newHandler(t, metrics.Options{Fleet: f, Settings: metrics.Settings{Timeout: tc.limit}})
			get(h.Probe(), "/probe?target=n@h", "X-Prometheus-Scrape-Timeout-Seconds", tc.header)
			require.InDelta(t, tc.want.Seconds(), got.Seconds(), 0.1)
		})
	}
}

func TestProbeTimesOut(t *testing.T) {
	f := serving(nil, "n@h")
	f.snapshot = func(ctx context.Context, _ string, _ snapshot.Request) (*snapshot.Snapshot, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	reg := prometheus.NewRegistry()
	h := newHandler(t, metrics.Options{Fleet: f, Registerer: reg, Settings: metrics.Settings{Timeout: 20 * time.Millisecond}})
	w := get(h.Probe(), "/probe?target=n@h")
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Body.String(), "\nerlang_up 0\n")
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP erlang_exporter_scrape_errors_total Failed snapshots (collector="snapshot") and collectors of a node.
# TYPE erlang_exporter_scrape_errors_total counter
erlang_exporter_scrape_errors_total{collector="snapshot",node="n@h",reason="timeout"} 1
`), "erlang_exporter_scrape_errors_total"))
}

func TestProbeCollect(t *testing.T) {
	var got []string
	f := serving(nil, "n@h")
	f.snapshot = func(_ context.Context, _ string, r snapshot.Request) (*snapshot.Snapshot, error) {
		got = r.Collectors
		return oneTable, nil
	}
	h := newHandler(t, metrics.Options{Fleet: f})
	get(h.Probe(), "/probe?target=n@h")
	require.Empty(t, got, "all that are on")
	get(h.Probe(), "/probe?target=n@h&collect[]=statistics&collect[]=memory&collect%5B%5D=memory")
	require.Equal(t, []string{"memory", "statistics"}, got)
}

func TestProbeDebug(t *testing.T) {
	f := serving(&snapshot.Snapshot{RoundTrip: time.Millisecond, Collectors: []snapshot.Collector{
		{Name: snapshot.Memory, Tables: []snapshot.Table{table("memory", nil, []string{"ets_tables"}, []any{17})}},
		{Name: snapshot.Statistics, Err: "badarg"},
		{Name: snapshot.Mnesia, Missing: "Mnesia does not run"},
	}}, "n@h")
	f.nodes[0].Settings = map[string]string{"cookie": "<secret>", "address": "10.0.0.1:4369"}
	var log bytes.Buffer
	h := newHandler(t, metrics.Options{Fleet: f, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	w := get(h.Probe(), "/probe?target=n@h&debug=true")
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "text/plain; charset=utf-8", w.Header().Get("Content-Type"))
	body := w.Body.String()
	for _, want := range []string{
		"Log of the probe:", `level=DEBUG msg="probe begins" node=n@h state=up timeout=10s`,
		`level=WARN msg="collector failed" node=n@h collector=statistics duration=0s err=badarg`,
		`msg="collector does not apply" node=n@h collector=mnesia duration=0s reason="Mnesia does not run"`,
		"\nMetrics:\n", "\nerlang_vm_memory_ets_tables 17\n", "\nerlang_up 1\n",
		"\nSettings of n@h:\n\naddress: 10.0.0.1:4369\ncookie: <secret>\n",
	} {
		require.Contains(t, body, want)
	}
	require.Contains(t, log.String(), "collector failed", "the exporter's log has it too")
	require.NotContains(t, log.String(), "DEBUG", "by its own level")
}

func TestNegotiation(t *testing.T) {
	const openMetrics = "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.5"
	const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,text/plain;q=0.1"
	for _, tc := range []struct {
		names        metrics.Names
		accept, want string
	}{
		{metrics.NamesBoth, openMetrics, "text/plain; version=0.0.4"},
		{metrics.NamesLegacy, openMetrics, "text/plain; version=0.0.4"},
		{metrics.NamesBoth, protobuf, "text/plain; version=0.0.4"},
		{metrics.NamesBoth, "", "text/plain; version=0.0.4"},
		{metrics.NamesV6, openMetrics, "application/openmetrics-text; version=1.0.0"},
		{metrics.NamesV6, "", "text/plain; version=0.0.4"},
	} {
		t.Run(string(tc.names)+" "+tc.accept, func(t *testing.T) {
			h := newHandler(t, metrics.Options{Fleet: serving(oneTable, "n@h"), Settings: metrics.Settings{Names: tc.names}})
			w := get(h.Probe(), "/probe?target=n@h", "Accept", tc.accept)
			require.True(t, strings.HasPrefix(w.Header().Get("Content-Type"), tc.want), w.Header().Get("Content-Type"))
			require.Equal(t, strings.Contains(tc.want, "openmetrics"), strings.HasSuffix(w.Body.String(), "# EOF\n"))
		})
	}
}

func TestSelfMetrics(t *testing.T) {
	f := serving(&snapshot.Snapshot{Collectors: []snapshot.Collector{
		{Name: snapshot.Statistics, Err: "badarg"},
		{Name: snapshot.Mnesia, Tables: []snapshot.Table{table("mnesia_table", []string{"table"}, []string{"size"}, []any{"a", 1}, []any{"b", 1})}},
	}}, "n@h", "m@h")
	f.nodes = append(f.nodes, metrics.Node{Name: "down\xff@h", State: metrics.StateDown})
	reg := prometheus.NewPedanticRegistry()
	h := newHandler(t, metrics.Options{Fleet: f, Registerer: reg, Settings: metrics.Settings{Limits: metrics.Limits{Rows: 1}}})
	for _, n := range []string{"n@h", "n@h", "down%ff@h", "nobody@h"} {
		get(h.Probe(), "/probe?target="+n)
	}
	get(h.Nodes(), "/metrics/nodes")
	names := []string{"erlang_exporter_scrape_errors_total", "erlang_exporter_series_dropped_total", "erlang_exporter_scrape_requests_total", "erlang_exporter_scrape_requests_in_flight"}
	const requests = `
# HELP erlang_exporter_scrape_requests_in_flight Scrapes that are being answered.
# TYPE erlang_exporter_scrape_requests_in_flight gauge
erlang_exporter_scrape_requests_in_flight{handler="nodes"} 0
erlang_exporter_scrape_requests_in_flight{handler="probe"} 0
# HELP erlang_exporter_scrape_requests_total Scrapes answered, by HTTP status code.
# TYPE erlang_exporter_scrape_requests_total counter
erlang_exporter_scrape_requests_total{code="200",handler="nodes"} 1
erlang_exporter_scrape_requests_total{code="200",handler="probe"} 3
erlang_exporter_scrape_requests_total{code="404",handler="probe"} 1
# HELP erlang_exporter_scrape_errors_total Failed snapshots (collector="snapshot") and collectors of a node.
# TYPE erlang_exporter_scrape_errors_total counter
erlang_exporter_scrape_errors_total{collector="statistics",node="m@h",reason="collector_failed"} 1
# HELP erlang_exporter_series_dropped_total Series and table rows of a node that a limit kept off a page, by collector.
# TYPE erlang_exporter_series_dropped_total counter
erlang_exporter_series_dropped_total{node="m@h",source="mnesia"} 1
`
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(requests+`
erlang_exporter_scrape_errors_total{collector="snapshot",node="down\\xff@h",reason="not_up"} 2
erlang_exporter_scrape_errors_total{collector="statistics",node="n@h",reason="collector_failed"} 3
erlang_exporter_series_dropped_total{node="n@h",source="mnesia"} 3
`), names...))

	f.nodes = f.nodes[1:2]
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(requests), names...), "nodes that left are forgotten")
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	require.Empty(t, problems)
	requireDurations(t, reg)
}

// requireDurations requires a histogram of each handler, classic and native.
func requireDurations(t *testing.T, g prometheus.Gatherer) {
	t.Helper()
	families, err := g.Gather()
	require.NoError(t, err)
	for _, mf := range families {
		if mf.GetName() != "erlang_exporter_scrape_request_duration_seconds" {
			continue
		}
		require.Len(t, mf.GetMetric(), 2)
		for _, m := range mf.GetMetric() {
			require.NotEmpty(t, m.GetHistogram().GetBucket())
			require.NotNil(t, m.GetHistogram().Schema)
		}
		return
	}
	t.Error("no durations")
}

func TestNewRefuses(t *testing.T) {
	_, err := metrics.New(metrics.Options{})
	require.EqualError(t, err, "exporter/metrics: Options.Fleet is required")
	_, err = metrics.New(metrics.Options{Fleet: &fleet{}, Settings: metrics.Settings{Names: "new"}})
	require.EqualError(t, err, `exporter/metrics: names "new": must be both, legacy or v6`)
	_, err = metrics.New(metrics.Options{Fleet: &fleet{}, Settings: metrics.Settings{Timeout: -time.Second}})
	require.ErrorContains(t, err, "must not be negative: -1s")

	reg := prometheus.NewRegistry()
	newHandler(t, metrics.Options{Fleet: &fleet{}, Registerer: reg})
	_, err = metrics.New(metrics.Options{Fleet: &fleet{}, Registerer: reg})
	require.ErrorContains(t, err, "exporter/metrics: register metrics: duplicate")
}

func TestApply(t *testing.T) {
	h := newHandler(t, metrics.Options{Fleet: serving(of(snapshot.SystemInfo,
		table("system_info", nil, []string{"port_count"}, []any{4})), "n@h")})
	require.Contains(t, get(h.Probe(), "/probe?target=n@h").Body.String(), "erlang_vm_port_count 4")
	require.NoError(t, h.Apply(metrics.Settings{Names: metrics.NamesV6}))
	require.NotContains(t, get(h.Probe(), "/probe?target=n@h").Body.String(), "erlang_vm_port_count")
	require.Error(t, h.Apply(metrics.Settings{Names: "v7"}))
	require.Contains(t, get(h.Probe(), "/probe?target=n@h").Body.String(), "erlang_vm_ports 4", "the former settings stay")
}
