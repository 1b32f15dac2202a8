package agent_test

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/appmetrics"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// lines are the samples that a collector brought, as they are on a page.
func lines(c snapshot.Collector) map[string]float64 {
	all := map[string]float64{}
	for _, f := range c.Families {
		for _, s := range f.Samples {
			var labels []string
			for _, l := range s.Labels {
				labels = append(labels, fmt.Sprintf("%s=%q", l.Name, l.Value))
			}
			all[f.Name+s.Suffix+"{"+strings.Join(labels, ",")+"}"] = s.Value
		}
	}
	return all
}

// types are the types of the families that a collector brought.
func types(c snapshot.Collector) map[string]string {
	all := map[string]string{}
	for _, f := range c.Families {
		all[f.Name] = f.Type
	}
	return all
}

// only reads one collector.
func only(t *testing.T, s *agent.Session, name string) snapshot.Collector {
	t.Helper()
	all, err := s.Snapshot(deadline(t), snapshot.Request{Collectors: []string{name}})
	require.NoError(t, err)
	return collector(t, all, name)
}

func TestFolsom(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "folsom")
	n := erltest.Start(t, erltest.Options{})
	a := exporter(t, "erl_exporter@localhost", agent.Options{})
	settings := agent.Settings{Apps: agent.Apps{
		Exclude: "^secret",
		Rules: appmetrics.Rules{
			Counters: []*regexp.Regexp{regexp.MustCompile("^requests$")},
			Units:    []appmetrics.Unit{{Match: regexp.MustCompile("latency"), Name: "seconds", Divide: 1000}},
		},
	}}
	s := attach(t, a, n, settings)
	require.Equal(t, "folsom does not run", only(t, s, snapshot.Folsom).Missing)
	require.NoError(t, s.Detach(deadline(t)))

	n.Eval(t, `{ok, _} = application:ensure_all_started(folsom),
		folsom_metrics:new_counter(sessions), folsom_metrics:notify({sessions, {inc, 5}}), folsom_metrics:notify({sessions, {dec, 2}}),
		folsom_metrics:new_counter(requests), folsom_metrics:notify({requests, {inc, 7}}),
		folsom_metrics:new_gauge([http, load]), folsom_metrics:notify({[http, load], 3.5}),
		folsom_metrics:new_gauge(http_load), folsom_metrics:notify({http_load, 4}),
		folsom_metrics:new_gauge(<<"a \"b\"\n">>), folsom_metrics:notify({<<"a \"b\"\n">>, 1}),
		folsom_metrics:new_gauge(words), folsom_metrics:notify({words, no_number}),
		folsom_metrics:new_gauge(secret), folsom_metrics:notify({secret, 1}),
		folsom_metrics:new_histogram({latency, 1}), [folsom_metrics:notify({{latency, 1}, I * 1000}) || I <- lists:seq(1, 100)],
		folsom_metrics:new_histogram(few), [folsom_metrics:notify({few, I}) || I <- [1, 2, 3, 4]],
		folsom_metrics:new_meter(bytes), folsom_metrics:notify({bytes, 9}),
		folsom_metrics:new_meter_reader(read), folsom_metrics:new_spiral(logins), folsom_metrics:notify({logins, 2}),
		folsom_metrics:new_duration(job), [begin folsom_metrics:notify({job, timer_start}), folsom_metrics:notify({job, timer_end}) end || _ <- lists:seq(1, 6)],
		folsom_metrics:new_history(notes), folsom_metrics:notify({notes, something}), ok`)
	s = attach(t, a, n, settings)
	c := only(t, s, snapshot.Folsom)
	require.Empty(t, c.Err)
	got := lines(c)
	for line, want := range map[string]float64{
		`folsom_sessions{}`:                        3,
		`folsom_requests_total{}`:                  7,
		`folsom_http_load{name="[http,load]"}`:     3.5,
		`folsom_http_load{}`:                       4,
		`folsom_latency_1_seconds{quantile="0.5"}`: 50,
		`folsom_latency_1_max_seconds{}`:           100,
		`folsom_bytes_total{}`:                     9,
		`folsom_logins_total{}`:                    2,
		`folsom_logins_in_window{window="1m"}`:     2,
		`folsom_job_total{}`:                       6,
	} {
		require.Contains(t, got, line)
		require.InDelta(t, want, got[line], 1e-9, line)
	}
	require.Contains(t, got, `folsom_bytes_rate{window="1m"}`)
	require.Contains(t, got, `folsom_latency_1_seconds{quantile="0.999"}`)
	require.Contains(t, got, `folsom_job_last_seconds{}`)
	require.Less(t, got[`folsom_job_last_seconds{}`], 1.0, "microseconds have become seconds")
	kinds := types(c)
	require.Equal(t, "gauge", kinds["folsom_sessions"], "it went down")
	require.Equal(t, "counter", kinds["folsom_requests_total"])
	require.Equal(t, "summary", kinds["folsom_latency_1_seconds"])
	require.Equal(t, 1, c.Failed, "the gauge that is a word")
	for line := range got {
		require.NotContains(t, line, "_count")
		require.NotContains(t, line, "_sum")
		require.NotContains(t, line, "few", "four samples are as good as none")
		require.NotContains(t, line, "secret")
		require.NotContains(t, line, "notes")
	}
	require.True(t, slices.ContainsFunc(c.Families, func(f snapshot.Family) bool { return strings.HasPrefix(f.Name, "folsom_a_b") }))

	bins, err := agent.Bins(deadline(t), s, snapshot.Folsom, "{latency,1}")
	require.NoError(t, err)
	sum := int64(0)
	for _, b := range bins {
		sum += b.Count
	}
	require.EqualValues(t, 100, sum)
	_, err = agent.Bins(deadline(t), s, snapshot.Folsom, "sessions")
	require.ErrorIs(t, err, agent.ErrNoHistogram)
	_, err = agent.Bins(deadline(t), s, snapshot.Folsom, "nowhere")
	require.ErrorIs(t, err, agent.ErrNoHistogram)

	// The second reading has the same metrics, without their being sent again.
	first, err := s.Snapshot(deadline(t), snapshot.Request{})
	require.NoError(t, err)
	again, err := s.Snapshot(deadline(t), snapshot.Request{})
	require.NoError(t, err)
	require.Equal(t, lines(collector(t, first, snapshot.Folsom)), lines(collector(t, again, snapshot.Folsom)))
	require.NoError(t, s.Detach(deadline(t)))
}

// standIn is a module of a library that cannot be installed here, with the part
// of its API that is used: what is evaluated compiles and loads it.
func standIn(name string, forms ...string) string {
	quoted := make([]string, len(forms))
	for i, f := range forms {
		quoted[i] = `"` + strings.ReplaceAll(f, `"`, `\"`) + `"`
	}
	return fmt.Sprintf(`begin Forms__%[1]s = [begin {ok, T__, _} = erl_scan:string(F__), {ok, P__} = erl_parse:parse_form(T__), P__ end || F__ <- [%[2]s]],
		{ok, M__%[1]s, B__%[1]s} = compile:forms(Forms__%[1]s), {module, M__%[1]s} = code:load_binary(M__%[1]s, "stand_in", B__%[1]s), ok end`, name, strings.Join(quoted, ", "))
}

// exometer has the calls that are used of exometer_core, which Debian does not
// have: entries of every type, one disabled, one failing, one that hangs, one
// that eats memory.
var exometer = standIn("exometer",
	`-module(exometer).`, `-export([find_entries/1, get_value/1]).`,
	`find_entries([]) -> [{[app, gauge], gauge, enabled}, {[app, counter], counter, enabled}, {[app, fast], fast_counter, enabled},
		{[app, hist], histogram, enabled}, {[app, uni], uniform, enabled}, {[app, spiral], spiral, enabled}, {[app, dur], duration, enabled},
		{[app, fn], {function, m, f}, enabled}, {[app, off], gauge, disabled}, {[app, off2], gauge, enabled}, {[app, broken], {function, m, f}, enabled},
		{[app, hangs], {function, m, f}, enabled}, {[app, eats], {function, m, f}, enabled}, {[app, raises], {function, m, f}, enabled},
		{[app, gone], gauge, enabled}, {[app, last], gauge, enabled}].`,
	`get_value([app, gauge]) -> {ok, [{value, 3}, {ms_since_reset, 10}]};
	get_value([app, counter]) -> {ok, [{value, -2}, {ms_since_reset, 10}]};
	get_value([app, fast]) -> {ok, [{value, 12}, {ms_since_reset, 10}]};
	get_value([app, hist]) -> {ok, [{n, 45}, {mean, 6}, {min, 1}, {max, 9}, {median, 5}, {50, 5}, {75, 7}, {90, 8}, {95, 9}, {99, 9}, {999, 9}]};
	get_value([app, uni]) -> {ok, [{min, 1}, {max, 9}, {median, 5}, {mean, 4}, {50, 5}, {999, 9}]};
	get_value([app, spiral]) -> {ok, [{count, 100}, {one, 4}]};
	get_value([app, dur]) -> {ok, [{count, 8}, {last, 3}, {n, 4}, {mean, 2}, {50, 2}]};
	get_value([app, fn]) -> {ok, [{used, 1}, {free, 2}, {name, abc}]};
	get_value([app, off2]) -> {ok, disabled};
	get_value([app, broken]) -> {ok, {error, unavailable}};
	get_value([app, hangs]) -> receive never -> ok end;
	get_value([app, eats]) -> {ok, [{value, length(lists:seq(1, 100000000))}]};
	get_value([app, raises]) -> error(sorry);
	get_value([app, gone]) -> {error, not_found};
	get_value([app, last]) -> {ok, [{value, 1}]}.`)

func TestExometer(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, exometer+`, register(exometer_admin, spawn(fun() -> receive never -> ok end end)), ok`)
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{
		Apps:   agent.Apps{Timeout: 300 * time.Millisecond},
		Limits: agent.Limits{Deadline: 3 * time.Second},
	})
	var c snapshot.Collector
	require.Eventually(t, func() bool {
		c = only(t, s, snapshot.Exometer)
		return c.Err == "" && c.Missing == ""
	}, 30*time.Second, 50*time.Millisecond)
	require.Equal(t, map[string]float64{
		`exometer_app_gauge{}`:                       3,
		`exometer_app_counter{}`:                     -2,
		`exometer_app_fast_total{}`:                  12,
		`exometer_app_hist{quantile="0.5"}`:          5,
		`exometer_app_hist{quantile="0.75"}`:         7,
		`exometer_app_hist{quantile="0.9"}`:          8,
		`exometer_app_hist{quantile="0.95"}`:         9,
		`exometer_app_hist{quantile="0.99"}`:         9,
		`exometer_app_hist{quantile="0.999"}`:        9,
		`exometer_app_hist_mean{}`:                   6,
		`exometer_app_hist_min{}`:                    1,
		`exometer_app_hist_max{}`:                    9,
		`exometer_app_uni{quantile="0.5"}`:           5,
		`exometer_app_uni{quantile="0.999"}`:         9,
		`exometer_app_uni_min{}`:                     1,
		`exometer_app_uni_max{}`:                     9,
		`exometer_app_uni_mean{}`:                    4,
		`exometer_app_spiral_total{}`:                100,
		`exometer_app_spiral_in_window{window="1m"}`: 4,
		`exometer_app_dur_total{}`:                   8,
		`exometer_app_dur{quantile="0.5"}`:           2,
		`exometer_app_dur_last{}`:                    3,
		`exometer_app_dur_mean{}`:                    2,
		`exometer_app_fn{datapoint="used"}`:          1,
		`exometer_app_fn{datapoint="free"}`:          2,
		`exometer_app_last{}`:                        1,
	}, lines(c), "what hangs, raises, eats memory or is disabled costs nothing but itself")
	require.Equal(t, 4, c.Failed, "broken, hangs, eats, raises")
	require.Equal(t, "counter", types(c)["exometer_app_fast_total"])
	require.Equal(t, "summary", types(c)["exometer_app_hist"])
	require.NoError(t, s.Detach(deadline(t)))
}

// TestTelemetry reads telemetry_metrics_prometheus_core, which needs Elixir's
// package manager, by a module with the one call that is used.
func TestTelemetry(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, standIn("telemetry",
		`-module('Elixir.TelemetryMetricsPrometheus.Core').`, `-export([scrape/1]).`,
		`scrape(prometheus_metrics) -> <<"# HELP http_request_count requests\n# TYPE http_request_count counter\nhttp_request_count{path=\\"/\\"} 4\n",
			"# TYPE vm_hist histogram\nvm_hist_bucket{le=\\"1\\"} 1\nvm_hist_bucket{le=\\"+Inf\\"} 2\nvm_hist_sum 3\nvm_hist_count 2\n">>.`)+
		`, register(prometheus_metrics, spawn(fun() -> receive never -> ok end end)), ok`)
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	c := only(t, s, snapshot.Telemetry)
	require.Empty(t, c.Err)
	require.Equal(t, map[string]float64{
		`http_request_count{path="/"}`: 4,
		`vm_hist_bucket{le="1"}`:       1, `vm_hist_bucket{le="+Inf"}`: 2, `vm_hist_sum{}`: 3, `vm_hist_count{}`: 2,
	}, lines(c))
	require.Equal(t, map[string]string{"http_request_count": "counter", "vm_hist": "histogram"}, types(c))
}

// TestManyFolsomMetrics: a node with far too many costs its own collector no
// more than the limit.
func TestManyFolsomMetrics(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "folsom")
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, `{ok, _} = application:ensure_all_started(folsom), folsom_metrics:new_gauge(g0), folsom_metrics:notify({g0, 1}), ok`)
	for part := range 10 {
		n.Eval(t, fmt.Sprintf(`[{_, Meta}] = ets:lookup(folsom, g0),
			lists:foreach(fun(N) -> ets:insert(folsom, {N, Meta}), ets:insert(folsom_gauges, {N, N}) end, lists:seq(%d, %d)), ok`, part*100_000+1, (part+1)*100_000))
	}
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{Apps: agent.Apps{Max: 500}})
	var c snapshot.Collector
	require.Eventually(t, func() bool {
		c = only(t, s, snapshot.Folsom)
		return c.Missing == "" && c.Err == ""
	}, 60*time.Second, 100*time.Millisecond)
	require.Len(t, lines(c), 500)
	require.Equal(t, 1000001-500, c.Dropped)
	require.Empty(t, collector(t, read(t, s), snapshot.Memory).Err)
	require.NoError(t, s.Detach(deadline(t)))
}

func customMetric(name, value, aggregate string, labels ...string) agent.CustomMetric {
	m := agent.CustomMetric{Name: name, Type: "gauge", Help: "h", Value: value, Aggregate: aggregate}
	for i := 0; i < len(labels); i += 2 {
		m.Labels = append(m.Labels, agent.CustomLabel{Name: labels[i], Value: labels[i+1]})
	}
	return m
}

func TestCustom(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, `ets:new(queue_coarse_metrics, [named_table, public]),
		ets:insert(queue_coarse_metrics, [{{resource, <<"/">>, queue, <<"a">>}, 1, 2, 3, 10}, {{resource, <<"/">>, queue, <<"b">>}, 10, 20, 30, 10},
			{{resource, <<"x">>, queue, <<"a">>}, 100, 200, 300, 10}]), ok`)
	remember(t, n)
	every := func(c agent.Custom) agent.Custom {
		c.Interval, c.Timeout = time.Second, 500*time.Millisecond
		return c
	}
	custom := []agent.Custom{
		every(agent.Custom{Name: "queues", Module: "ets", Function: "tab2list", Arguments: "[queue_coarse_metrics]", Metrics: []agent.CustomMetric{
			customMetric("rabbitmq_messages_ready", "2", "sum"), customMetric("rabbitmq_messages", "4", "sum", "vhost", "1.2"),
			customMetric("rabbitmq_queues", "", "count"), customMetric("rabbitmq_queue_messages", "4", "", "vhost", "1.2", "queue", "1.4"),
			customMetric("rabbitmq_longest_queue", "4", "max"),
		}}),
		every(agent.Custom{Name: "memory", Module: "erlang", Function: "memory", Arguments: "[]", Metrics: []agent.CustomMetric{customMetric("ets memory", "ets", "")}}),
		every(agent.Custom{Name: "word", Module: "erlang", Function: "node", Arguments: "[]", Metrics: []agent.CustomMetric{customMetric("w", "", "")}}),
		every(agent.Custom{Name: "raises", Module: "erlang", Function: "error", Arguments: "[sorry]", Metrics: []agent.CustomMetric{customMetric("r", "", "")}}),
		every(agent.Custom{Name: "hangs", Module: "erlang", Function: "hibernate", Arguments: "[lists, reverse, [[]]]", Metrics: []agent.CustomMetric{customMetric("s", "", "")}}),
		every(agent.Custom{Name: "eats", Module: "lists", Function: "seq", Arguments: "[1, 1000000000]", Metrics: []agent.CustomMetric{customMetric("e", "", "count")}}),
		every(agent.Custom{Name: "nonsense", Module: "lists", Function: "seq", Arguments: "[1,", Metrics: []agent.CustomMetric{customMetric("n", "", "count")}}),
	}
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{Custom: custom})
	done := func(name string) snapshot.Collector {
		var c snapshot.Collector
		require.Eventually(t, func() bool {
			c = collector(t, read(t, s), snapshot.CustomPrefix+name)
			return c.Missing == ""
		}, 30*time.Second, 50*time.Millisecond, name)
		return c
	}
	require.Equal(t, map[string]float64{
		`rabbitmq_messages_ready{}`: 111, `rabbitmq_messages{vhost="/"}`: 33, `rabbitmq_messages{vhost="x"}`: 300, `rabbitmq_queues{}`: 3,
		`rabbitmq_queue_messages{vhost="/",queue="a"}`: 3, `rabbitmq_queue_messages{vhost="/",queue="b"}`: 30,
		`rabbitmq_queue_messages{vhost="x",queue="a"}`: 300, `rabbitmq_longest_queue{}`: 300,
	}, lines(done("queues")))
	require.Positive(t, lines(done("memory"))["ets_memory{}"])
	require.Equal(t, 1, done("word").Failed)
	require.Contains(t, done("raises").Err, "sorry")
	require.Contains(t, done("hangs").Err, "took_too_long")
	require.Contains(t, done("eats").Err, "took_too_long_or_too_much_memory")
	require.NotEmpty(t, done("nonsense").Err)

	n.Eval(t, `ets:insert(queue_coarse_metrics, {{resource, <<"y">>, queue, <<"a">>}, 1000, 0, 1000, 0})`)
	require.Eventually(t, func() bool {
		return lines(collector(t, read(t, s), snapshot.CustomPrefix+"queues"))[`rabbitmq_messages_ready{}`] == 1111
	}, 30*time.Second, 50*time.Millisecond, "it is called again")
	require.NoError(t, s.Detach(deadline(t)))
	n.RequireAsBefore(t, 5*time.Second)
}

// TestCustomBeam brings a module along, and takes it away again; one that the
// node has is left alone.
func TestCustomBeam(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	beam := func(module string) []byte {
		var b string
		printed := n.Eval(t, `{ok, _, B} = compile:forms([element(2, erl_parse:parse_form(element(2, erl_scan:string(F)))) || F <- [
			"-module(`+module+`).", "-export([f/0]).", "f() -> #{answer => 42}."]]), base64:encode_to_string(B)`)
		_, err := fmt.Sscanf(printed, "%q", &b)
		require.NoError(t, err)
		decoded, err := base64.StdEncoding.DecodeString(b)
		require.NoError(t, err)
		return decoded
	}
	mine, theirs := beam("our_collector"), beam("lists")
	remember(t, n)
	custom := []agent.Custom{
		{Name: "mine", Module: "our_collector", Function: "f", Arguments: "[]", Beam: mine, Interval: time.Second, Timeout: time.Second,
			Metrics: []agent.CustomMetric{customMetric("answer", "answer", "")}},
		{Name: "theirs", Module: "lists", Function: "f", Arguments: "[]", Beam: theirs, Interval: time.Second, Timeout: time.Second,
			Metrics: []agent.CustomMetric{customMetric("answer", "answer", "")}},
	}
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{Custom: custom})
	require.Eventually(t, func() bool {
		return lines(collector(t, read(t, s), snapshot.CustomPrefix+"mine"))["answer{}"] == 42
	}, 30*time.Second, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		return strings.Contains(collector(t, read(t, s), snapshot.CustomPrefix+"theirs").Err, "the_node_has_a_module")
	}, 30*time.Second, 50*time.Millisecond)
	require.NoError(t, s.Detach(deadline(t)))
	n.RequireAsBefore(t, 5*time.Second)
}
