//go:build e2e

package dashboards_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

// exometerSource has the calls that are used of exometer_core, which Debian does
// not have.
const exometerSource = `-module(exometer).
-export([find_entries/1, get_value/1]).
find_entries([]) -> [{[app, jobs], gauge, enabled}, {[app, latency], histogram, enabled}, {[app, pool], {function, m, f}, enabled}].
get_value([app, jobs]) -> {ok, [{value, 3}]};
get_value([app, latency]) -> {ok, [{n, 45}, {mean, 6}, {min, 1}, {max, 9}, {50, 5}, {99, 9}]};
get_value([app, pool]) -> {ok, [{used, 1}, {free, 2}]}.
`

// startAppMetrics gives one node metrics of Folsom, of each kind, and another
// metrics of Exometer.
func startAppMetrics(t *testing.T, folsom, exometer *erltest.Node) {
	t.Helper()
	folsom.Eval(t, `{ok, _} = application:ensure_all_started(folsom),
		folsom_metrics:new_counter(requests), folsom_metrics:new_gauge([http, load]), folsom_metrics:notify({[http, load], 3.5}),
		folsom_metrics:new_histogram(latency), folsom_metrics:new_meter(bytes), folsom_metrics:new_spiral(logins),
		spawn(fun L() -> folsom_metrics:notify({requests, {inc, 1}}), folsom_metrics:notify({latency, rand:uniform(100)}),
			folsom_metrics:notify({bytes, 10}), folsom_metrics:notify({logins, 1}), timer:sleep(100), L() end), ok`)
	exometer.Eval(t, `Text = `+strconv.Quote(exometerSource)+`,
		Forms = [begin {ok, T, _} = erl_scan:string(F ++ "."), {ok, P} = erl_parse:parse_form(T), P end || F <- string:split(string:trim(Text, trailing, ".\n"), ".\n", all)],
		{ok, M, B} = compile:forms(Forms), {module, M} = code:load_binary(M, "exometer.erl", B),
		register(exometer_admin, spawn(fun() -> receive never -> ok end end)), ok`)
}

// applicationMetrics chooses each metric that the variable offers, and runs every
// query with it. The variable offers those of both libraries and nothing else.
func (s *scene) applicationMetrics(t *testing.T) {
	for _, b := range load(t) {
		if b.UID != "erlops-appmetrics" {
			continue
		}
		all := map[string]string{"node": ".+", "family": ".*", "job": "erlang"}
		offered := s.labelValues(t, substitute(t, b, offer(t, b), all), "__name__")
		for _, name := range []string{
			"folsom_requests_total", "folsom_http_load", "folsom_latency", "folsom_bytes_total", "folsom_bytes_rate", "folsom_logins_in_window",
			"exometer_app_jobs", "exometer_app_latency", "exometer_app_pool",
		} {
			require.Contains(t, offered, name)
		}
		for _, name := range offered {
			require.Regexp(t, "^(folsom|exometer)_", name)
			all["metric"] = name
			b.each(func(p parsedPanel) {
				for _, q := range p.Targets {
					n, err := s.series(t, substitute(t, b, q.Expr, all))
					require.NoError(t, err, "%s of %s", p.Title, name)
					if strings.Contains(p.Title, "top 20") || p.Title == "At present" {
						require.NotZero(t, n, "%s of %s", p.Title, name)
					}
				}
			})
		}
		return
	}
	t.Fatal("there is no dashboard of application metrics")
}

// offer is what the variable with the metrics selects.
func offer(t *testing.T, b parsed) string {
	t.Helper()
	for _, v := range b.Templating.List {
		if v.Name == "metric" {
			question, _ := v.Query.(map[string]any)
			text, _ := question["query"].(string)
			return strings.TrimSuffix(strings.TrimPrefix(text, "label_values("), ", __name__)")
		}
	}
	t.Fatal("there is no variable for the metric")
	return ""
}
