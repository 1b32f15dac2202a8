package exporter_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// liveExporter starts an exporter of one node, with the given lines in its
// configuration.
func liveExporter(t *testing.T, n *erltest.Node, more string) *exportertest.Process {
	t.Helper()
	p := exportertest.Start(t, exportertest.Options{
		Config: fmt.Sprintf("cookie_file: cookie\n%s\ntargets: [{name: t, family: shop, epmd: %q, static_configs: [{targets: [%q]}]}]\n",
			more, n.EPMD, n.Name),
		Files: map[string]string{"cookie": n.Cookie},
	})
	p.AwaitUp(n.Name, 30*time.Second)
	return p
}

var errEnough = errors.New("enough")

// events follows metrics until enough says that it has seen enough.
func events(t *testing.T, p *exportertest.Process, node, metrics string, enough func(client.LiveEvent) bool) []client.LiveEvent {
	t.Helper()
	c, err := client.New(client.Options{URL: p.URL})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var all []client.LiveEvent
	err = client.WatchMetrics(ctx, c.ClientInterface, node, client.StreamMetricsParams{Metrics: []string{metrics}}, func(e client.LiveEvent) error {
		all = append(all, e)
		if enough(e) {
			return errEnough
		}
		return nil
	}, nil)
	require.ErrorIs(t, err, errEnough, "%v", all)
	return all
}

// TestLiveMetrics watches a real node, with metrics of Folsom, until it dies and
// comes back.
func TestLiveMetrics(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	p := liveExporter(t, n, "timeouts: {retry_min: 100ms, retry_max: 200ms}")
	const metrics = "erlang_vm_process_count, erlang_vm_memory_bytes_total,erlang_up,erlang_vm_statistics_reductions_total"
	got := 0
	all := events(t, p, n.Name, metrics, func(e client.LiveEvent) bool {
		if got++; got == 3 {
			n.Kill()
		}
		return e.Type == client.LiveEventTypeState
	})
	require.Greater(t, len(all), 3)
	var before float64
	for _, e := range all[:3] {
		require.Equal(t, client.LiveEventTypeReading, e.Type)
		require.Equal(t, n.Name, e.Node)
		values := map[string]float64{}
		for _, m := range e.Metrics {
			values[m.Name+m.Labels["kind"]] = *m.Value
		}
		require.Len(t, values, 5)
		require.Greater(t, values["erlang_vm_statistics_reductions_total"], before, "each is a reading of its own")
		before = values["erlang_vm_statistics_reductions_total"]
		require.Positive(t, values["erlang_vm_memory_bytes_totalsystem"])
	}
	require.GreaterOrEqual(t, all[2].Time.Sub(all[0].Time), 1500*time.Millisecond)
	down := all[len(all)-1]
	require.Contains(t, []client.State{client.StateDown, client.StateConnecting}, down.State)
	require.NotEmpty(t, down.Error)
}

// TestLiveFolsom names metrics as Folsom has them.
func TestLiveFolsom(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "folsom")
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, `{ok, _} = application:ensure_all_started(folsom),
		folsom_metrics:new_counter(requests), folsom_metrics:new_gauge([http, load]), folsom_metrics:notify({[http, load], 3.5}), ok`)
	p := liveExporter(t, n, "")
	want := 2.0
	n.Eval(t, "folsom_metrics:notify({requests, {inc, 2}})")
	events(t, p, n.Name, "folsom:requests,folsom:[http,load]", func(e client.LiveEvent) bool {
		require.Empty(t, e.Missing)
		require.Len(t, e.Metrics, 2)
		values := map[string]float64{}
		for _, m := range e.Metrics {
			values[m.Name] = *m.Value
		}
		require.InDelta(t, 3.5, values["folsom_http_load"], 0)
		if values["folsom_requests"] == want {
			n.Eval(t, "folsom_metrics:notify({requests, {inc, 2}})")
			want += 2
		}
		return want > 6
	})
}

// exometer is a module with the calls of exometer_core that are used, which
// Debian does not have: a gauge and a histogram.
const exometer = `-module(exometer).
-export([find_entries/1, get_value/1]).
find_entries([]) -> [{[web, hits], gauge, enabled}, {[web, time], histogram, enabled}].
get_value([web, hits]) -> {ok, [{value, erlang:system_info(process_count)}, {ms_since_reset, 10}]};
get_value([web, time]) -> {ok, [{n, 45}, {mean, 6}, {min, 1}, {max, 9}, {median, 5}, {50, 5}, {75, 7}, {90, 8}, {95, 9}, {99, 9}, {999, 9}]}.
`

// TestLiveExometer names metrics as Exometer has them.
func TestLiveExometer(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	path := filepath.Join(t.TempDir(), "exometer.erl")
	require.NoError(t, os.WriteFile(path, []byte(exometer), 0o600))
	n.Eval(t, fmt.Sprintf(`{ok, exometer, Code} = compile:file(%q, [binary]), {module, exometer} = code:load_binary(exometer, "stand_in", Code),
		register(exometer_admin, spawn(fun() -> receive never -> ok end end)), ok`, path))
	p := liveExporter(t, n, "")
	readings := 0
	events(t, p, n.Name, "exometer:[web,hits],exometer:[web,time]", func(e client.LiveEvent) bool {
		require.Empty(t, e.Missing)
		values := map[string]float64{}
		for _, m := range e.Metrics {
			values[m.Name+m.Labels["quantile"]] = *m.Value
		}
		require.Positive(t, values["exometer_web_hits"])
		require.InDelta(t, 9, values["exometer_web_time0.95"], 0)
		require.InDelta(t, 8, values["exometer_web_time0.9"], 0)
		readings++
		return readings == 2
	})
	page := p.Get("/api/v1/nodes/" + url.PathEscape(n.Name) + "/live?metrics=exometer:%5Bweb,none%5D")
	require.Equal(t, http.StatusBadRequest, page.Status)
	require.Contains(t, page.Body, "exometer has no metric")
}

func TestLiveRefusals(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	p := liveExporter(t, n, "")
	ask := func(node, query string) (int, string) {
		page := p.Get("/api/v1/nodes/" + url.PathEscape(node) + "/live?" + query)
		return page.Status, page.Body
	}
	for query, want := range map[string]string{
		"metrics=erlang_vm_process_top_memory_bytes": "1: erlang_vm_process_top_memory_bytes comes from a scan of all processes",
		"metrics=erlang_up,nonsense":                 `2: \"nonsense\" is neither in the catalogue`,
		"metrics=folsom:requests":                    `1: folsom has no metric \"requests\" on this node`,
		"metrics=erlang_up&interval=10ms":            `\"10ms\" is no time from 1s to 1m`,
		"metrics=erlang_up&interval=sometimes":       `\"sometimes\" is no time from 1s to 1m`,
		"":                                           "metrics",
	} {
		status, body := ask(n.Name, query)
		require.Equal(t, http.StatusBadRequest, status, query)
		require.Contains(t, body, want)
	}
	status, body := ask("nobody@h", "metrics=erlang_up")
	require.Equal(t, http.StatusNotFound, status)
	require.Contains(t, body, `\"nobody@h\" is not known`)
}

// TestAThousandLiveWatchers shares one reading a second between a thousand
// clients; what the agent does is that of one.
func TestAThousandLiveWatchers(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	p := liveExporter(t, n, "")
	const watchers = 1000
	transport := &http.Transport{MaxConnsPerHost: 0}
	t.Cleanup(transport.CloseIdleConnections)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	failures := make(chan error, watchers)
	for range watchers {
		wg.Go(func() { failures <- threeReadings(ctx, transport, p.URL, n.Name) })
	}
	wg.Wait()
	for range watchers {
		require.NoError(t, <-failures)
	}
	require.Eventually(t, func() bool {
		return strings.Contains(p.Get("/metrics").Body, "\nerlang_exporter_live_watchers 0\n")
	}, 30*time.Second, 100*time.Millisecond)
	require.Contains(t, p.Get("/metrics").Body, "\nerlang_exporter_live_nodes 0\n")
}

// threeReadings watches until three readings have come.
func threeReadings(ctx context.Context, transport *http.Transport, base, node string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		base+"/api/v1/nodes/"+url.PathEscape(node)+"/live?metrics=erlang_vm_process_count", http.NoBody)
	if err != nil {
		return err
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	readings := 0
	for lines := bufio.NewScanner(answer.Body); readings < 3 && lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var e client.LiveEvent
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return err
		}
		if e.Type == client.LiveEventTypeReading && len(e.Metrics) == 1 {
			readings++
		}
	}
	if readings < 3 {
		return fmt.Errorf("the stream ended after %d readings", readings)
	}
	return nil
}
