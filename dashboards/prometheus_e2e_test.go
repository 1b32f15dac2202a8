//go:build e2e

package dashboards_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

func TestMain(m *testing.M) { os.Exit(exportertest.Main(m)) }

// scene is two connected nodes with Mnesia, the exporter attached to them, and a
// Prometheus that scrapes both.
type scene struct {
	prometheus *erltest.Prometheus
	exporter   *exportertest.Process
	nodes      [2]*erltest.Node
}

const scrapeConfig = `
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: erlang
    http_sd_configs: [{url: "%[1]s/sd", refresh_interval: 1s}]
  - job_name: erl-exporter
    static_configs: [{targets: ["%[2]s"]}]
`

// exporterConfig has on what is off by default and drawn.
const exporterConfig = `
name: erl_exporter@127.0.0.1
cookie: %s
epmd: %s
compat: {rabbitmq_identity: true}
logs: {file: {path: %q}}
metrics:
  msacc: on
  counters: ["^requests$"]
  collectors: {carriers: true}
targets:
  - name: shop
    family: shop
    static_configs: [{targets: [%q, %q]}]
`

func newScene(t *testing.T) *scene {
	t.Helper()
	erltest.RequireErlang(t, "mnesia", "runtime_tools", "os_mon", "folsom")
	epmd := erltest.StartEPMD(t)
	s := &scene{}
	for i, name := range []string{"a", "b"} {
		s.nodes[i] = erltest.Start(t, erltest.Options{
			Name: name, LongNames: true, EPMD: epmd, Cookie: "dashboards",
			Args: []string{"-mnesia", "dir", `"` + t.TempDir() + `"`, "-s", "mnesia"},
		})
	}
	a, b := s.nodes[0], s.nodes[1]
	require.Equal(t, "pong", a.Eval(t, "net_adm:ping('"+b.Name+"')"))
	a.Eval(t, "{ok, _} = application:ensure_all_started(os_mon), {atomic, ok} = mnesia:create_table(orders, []), "+
		"{ok, _} = dets:open_file(orders, [{file, \""+t.TempDir()+"/orders\"}]), "+
		"{atomic, ok} = mnesia:transaction(fun() -> mnesia:write({orders, 1, 1}) end), ok")
	startAppMetrics(t, a, b)
	// Work that shows in rates, and a mailbox that nobody reads.
	a.Eval(t, "spawn(fun L() -> [self() ! x || _ <- lists:seq(1, 10)], lists:sort([rand:uniform() || _ <- lists:seq(1, 1000)]), "+
		"mnesia:transaction(fun() -> mnesia:write({orders, 1, 1}) end), {rex, '"+b.Name+"'} ! x, timer:sleep(100), L() end), ok")
	// More work than schedulers, all the time: the median of the run queues is
	// above zero in every reading. The agent, whose priority is normal, does not
	// wait for it.
	b.Eval(t, "erlang:system_flag(schedulers_online, 1), [spawn_opt(fun L() -> lists:sort([rand:uniform() || "+
		"_ <- lists:seq(1, 1000)]), L() end, [{priority, low}]) || _ <- lists:seq(1, 3)], ok")
	s.exporter = exportertest.Start(t, exportertest.Options{
		Config: fmt.Sprintf(exporterConfig, a.Cookie, epmd.Address(), filepath.Join(t.TempDir(), "notifications.jsonl"), a.Name, b.Name),
	})
	for _, n := range s.nodes {
		s.exporter.AwaitUp(n.Name, time.Minute)
	}
	require.Eventually(t, func() bool {
		return a.Eval(t, "lists:member(erl_exporter_agent, logger:get_handler_ids())") == "true"
	}, time.Minute, 100*time.Millisecond)
	// A child that ends, as its supervisor reports.
	a.Eval(t, "{ok, P} = supervisor:start_child(kernel_safe_sup, #{id => shop, start => {gen_event, start_link, []}}), exit(P, kill), ok")
	s.prometheus = erltest.StartPrometheus(t, fmt.Sprintf(scrapeConfig, s.exporter.URL, strings.TrimPrefix(s.exporter.URL, "http://")))
	return s
}

// series is how many series the answer to a query has, or why there is none.
func (s *scene) series(t *testing.T, expr string) (int, error) {
	t.Helper()
	return series(t, s.prometheus, expr)
}

// series does not count what has no value, as a quantile of nothing: Grafana draws
// nothing for it.
func series(t *testing.T, p *erltest.Prometheus, expr string) (int, error) {
	t.Helper()
	values, err := samples(t, p, expr)
	return len(slices.DeleteFunc(values, func(value string) bool { return value == "NaN" })), err
}

// samples are the values of all series.
func samples(t *testing.T, p *erltest.Prometheus, expr string) ([]string, error) {
	t.Helper()
	answer, err := http.PostForm(p.URL+"/api/v1/query", url.Values{"query": {expr}})
	require.NoError(t, err)
	defer answer.Body.Close()
	var result struct {
		Status, Error string
		Data          struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&result))
	if result.Status != "success" {
		return nil, fmt.Errorf("%s", result.Error)
	}
	require.Equal(t, "vector", result.Data.ResultType, expr)
	var all []struct{ Value [2]any }
	require.NoError(t, json.Unmarshal(result.Data.Result, &all))
	values := make([]string, len(all))
	for i, one := range all {
		values[i] = fmt.Sprint(one.Value[1])
	}
	return values, nil
}

// labelValues is what Grafana asks for label_values(selector, label).
func (s *scene) labelValues(t *testing.T, selector, label string) []string {
	t.Helper()
	answer, err := http.Get(s.prometheus.URL + "/api/v1/label/" + label + "/values?" + url.Values{"match[]": {selector}}.Encode())
	require.NoError(t, err)
	defer answer.Body.Close()
	var result struct {
		Status, Error string
		Data          []string
	}
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&result))
	require.Equal(t, "success", result.Status, "%s: %s", selector, result.Error)
	return result.Data
}

// empty are the panels without data in a healthy fleet, with the reason: dashboard
// and title to reason. TestIllFleet has data in them.
var empty = map[string]string{
	"erlops-fleet/Active alarms":                                                      "none is raised",
	"erlops-node/Active alarms":                                                       "none is raised",
	"erlops-alarms/Active alarms":                                                     "none is raised",
	"erlops-alarms/Alarms over time":                                                  "none is raised",
	"erlops-alarms/By family":                                                         "none is raised",
	"erlops-alarms/By alarm, top 10":                                                  "none is raised",
	"erlops-alarms/Raised and cleared":                                                "none is raised",
	"erlops-alarms/Alerts at each Alertmanager":                                       "there is none",
	"erlops-alarms/Requests, alerts and silences":                                     "there is none",
	"erlops-alarms/Time of requests, 90 %, and since the last that succeeded":         "there is none",
	"erlops-node/Alarms that the node itself has":                                     "depends on whether SASL runs",
	"erlops-fleet/Nodes that are not up":                                              "all are up",
	"erlops-fleet/Restarts in this time":                                              "none restarts",
	"erlops-family/Who differs most":                                                  "depends on chance with two nodes",
	"erlops-applications/Loaded and not running, where others of the family run them": "all run the same",
	"erlops-applications/More than one version in a family":                           "all have the same",
	"erlops-exporter/Failed scrapes of nodes, by reason":                              "none fails",
	"erlops-exporter/Series that limits left out":                                     "nothing is left out",
	"erlops-exporter/Failed attempts to attach":                                       "none fails",
	"erlops-exporter/Time to attach":                                                  "all were attached before the first scrape",
	"erlops-exporter/Collectors that are left out or fail":                            "none is",
	"erlops-exporter/Agents that shed, wait or drop":                                  "none does",
	"erlops-exporter/Collectors that the exporter leaves out":                         "nothing is left out",
	"erlops-exporter/Events from the nodes":                                           "no source of events is on",
	"erlops-exporter/Points to Graphite":                                              "there is none",
	"erlops-exporter/Points that wait for Graphite":                                   "there is none",
	"erlops-exporter/Failures to deliver, time until Graphite has read":               "there is none",
	"erlops-exporter/Collectors with nothing to read":                                 "depends on the host",
	"erlops-distribution/Links that came up or went down":                             "none came or went",
	"erlops-logs/Dropped on the way, a second":                                        "nothing is",
	"erlops-processes/Missing":                                                        "all run",
}

// TestEveryQuery runs every query of every dashboard. None may fail, and every
// panel has data or is in the list of those that may be empty.
func TestEveryQuery(t *testing.T) {
	s := newScene(t)
	values := map[string]string{"node": s.nodes[0].Name, "family": "shop", "job": "erlang", "exporter": ".+", "metric": "folsom_requests_total"}
	require.Eventually(t, func() bool {
		n, err := s.series(t, `rate(erlang_vm_process_reductions_by_application_total[1m])`)
		return err == nil && n > 0
	}, 2*time.Minute, time.Second, "two scans of the processes")
	for _, b := range load(t) {
		if b.UID == "erlops-deployments" {
			continue // TestDeployments, whose metrics are another program's
		}
		t.Run(b.UID, func(t *testing.T) {
			values := maps.Clone(values)
			if b.UID == "erlops-family" {
				values["node"] = ".+" // nodes are compared with each other
			}
			b.each(func(p parsedPanel) {
				_, allowed := empty[b.UID+"/"+p.Title]
				s.drawn(t, b, p, values, allowed)
			})
			for _, a := range b.Annotations.List {
				_, err := s.series(t, substitute(t, b, a.Expr, values))
				require.NoError(t, err, a.Name)
			}
		})
	}
	t.Run("application metrics", s.applicationMetrics)
	t.Run("RabbitMQ", s.rabbitMQ)
	t.Run("RabbitMQ's JSON", s.rabbitMQJSON)
	t.Run("documented", s.documented)
}

// drawn waits until a panel has data, unless it may be without.
func (s *scene) drawn(t *testing.T, b parsed, p parsedPanel, values map[string]string, empty bool) {
	t.Helper()
	where := b.UID + "/" + p.Title
	require.Eventually(t, func() bool {
		data := false
		for _, q := range p.Targets {
			if q.Datasource.Type != "prometheus" {
				data = true // TestLokiQueries
				continue
			}
			n, err := s.series(t, substitute(t, b, q.Expr, values))
			require.NoError(t, err, "%s: %s", where, q.Expr)
			data = data || n > 0
		}
		return data || empty
	}, time.Minute, 500*time.Millisecond, "%s has no data", where)
}

// documented holds that the exporter's own page has what the document says of it,
// so that a query that parses is not one for a metric that does not exist.
func (s *scene) documented(t *testing.T) {
	page := s.exporter.Get("/metrics").Body
	text, err := os.ReadFile(ofNodes)
	require.NoError(t, err)
	_, own, found := strings.Cut(string(text), "## The exporter's own page")
	require.True(t, found)
	own, _, _ = strings.Cut(own, "\n## ")
	promised := make(map[string]bool)
	for _, m := range names.FindAllStringSubmatch(own, -1) {
		promised[m[1]] = true
	}
	has := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (erl[a-z_]+) `).FindAllStringSubmatch(page, -1) {
		has[m[1]] = true
	}
	var missing []string
	for name := range has {
		if !promised[name] {
			missing = append(missing, name)
		}
	}
	require.Empty(t, missing, "docs/metrics.md does not have them")
	for _, b := range load(t) {
		b.queries(t, func(where, expr string) {
			for _, name := range metricsOf(t, where, expr) {
				name = strings.TrimSuffix(name, "_bucket")
				if promised[name] && !has[name] {
					_, rare := rare[name]
					require.True(t, rare, "%s asks for %s, which the exporter does not have", where, name)
				}
			}
		})
	}
}

// rare are metrics that the exporter has only once something happened.
var rare = map[string]bool{
	"erlang_exporter_alarm_active": true, "erlang_exporter_alarms_raised_total": true, "erlang_exporter_alarms_cleared_total": true,
	"erlang_exporter_alertmanager_up": true, "erlang_exporter_alertmanager_alerts": true, "erlang_exporter_alertmanager_waiting": true,
	"erlang_exporter_alertmanager_last_success_timestamp_seconds": true, "erlang_exporter_alertmanager_requests_total": true,
	"erlang_exporter_alertmanager_alerts_total": true, "erlang_exporter_alertmanager_silences_total": true,
	"erlang_exporter_alertmanager_request_duration_seconds": true,
	"erlang_exporter_log_lines_dropped_total":               true, "erlang_exporter_push_errors_total": true,
	"erlang_exporter_attach_failures_total": true, "erlang_exporter_scrape_errors_total": true, "erlang_exporter_series_dropped_total": true,
	"erlang_exporter_graphite_up": true, "erlang_exporter_graphite_points_sent_total": true, "erlang_exporter_graphite_points_resent_total": true,
	"erlang_exporter_graphite_points_dropped_total": true, "erlang_exporter_graphite_buffer_points": true, "erlang_exporter_graphite_lag_seconds": true,
	"erlang_exporter_graphite_failures_total": true, "erlang_exporter_graphite_intervals_skipped_total": true,
	"erlang_exporter_graphite_send_duration_seconds": true,
	"erlang_exporter_discovery_skipped_targets":      true, "erlang_exporter_http_requests_total": true, "erlang_exporter_http_request_duration_seconds": true,
}
