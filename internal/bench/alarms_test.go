//go:build bench

package bench_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// arrivals notes when an Alertmanager was told of each alert first.
type arrivals struct {
	mu    sync.Mutex
	first map[string]time.Time
	posts int
}

func (a *arrivals) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var alerts []struct{ Labels map[string]string }
	_ = json.Unmarshal(body, &alerts)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.posts++
	for _, x := range alerts {
		key := x.Labels["alertname"] + "/" + x.Labels["key"] + "@" + x.Labels["node"]
		if _, ok := a.first[key]; !ok {
			a.first[key] = time.Now()
		}
	}
}

func (a *arrivals) at(key string) (time.Time, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, ok := a.first[key]
	return at, ok
}

func (a *arrivals) count() (alerts, posts int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.first), a.posts
}

// rulesToAlertmanager is the time from when the condition of a rule is true on a
// node to Alertmanager having its alarm, once for each node, sorted. The wait before
// is another each time, so that all of a pulse is met.
func rulesToAlertmanager(t *testing.T, nodes []*erltest.Node, told *arrivals) []time.Duration {
	t.Helper()
	var took []time.Duration
	for i, n := range nodes {
		time.Sleep(time.Duration(i) * 1700 * time.Millisecond)
		begun := time.Now()
		n.Eval(t, "[spawn(fun() -> receive stop -> ok end end) || _ <- lists:seq(1, 600)], ok")
		require.Eventually(t, func() bool {
			at, ok := told.at("process_limit/@" + n.Name)
			if ok {
				took = append(took, at.Sub(begun))
			}
			return ok
		}, time.Minute, time.Millisecond)
	}
	slices.Sort(took)
	return took
}

// TestAlarmLatency is the time from raising an alarm on a node to Alertmanager
// having it, and what 10,000 active alarms cost.
func TestAlarmLatency(t *testing.T) {
	told := &arrivals{first: map[string]time.Time{}}
	am := httptest.NewServer(told)
	defer am.Close()
	var nodes []*erltest.Node
	var targets strings.Builder
	for i := range 10 {
		n := erltest.Start(t, erltest.Options{Args: []string{"+P", "1024"}})
		n.Eval(t, "{ok, _} = application:ensure_all_started(sasl), logger:set_primary_config(level, none)")
		nodes = append(nodes, n)
		fmt.Fprintf(&targets, "- {name: n%d, cookie: %q, epmd: %q, static_configs: [{targets: [%q]}]}\n", i, n.Cookie, n.EPMD, n.Name)
	}
	p := exportertest.Start(t, exportertest.Options{Config: fmt.Sprintf(
		"storage: {path: alarms.db}\nalarms: {rules: {process_limit: {minor: {raise: 40, clear: 30, for: 0s, clear_for: 0s}}}}\nalertmanager: {targets: [{url: %q}]}\ntargets:\n%s", am.URL, targets.String())})
	for _, n := range nodes {
		p.AwaitUp(n.Name, time.Minute)
	}
	var took []time.Duration
	for i := range 50 {
		n := nodes[i%len(nodes)]
		begun := time.Now()
		n.Eval(t, fmt.Sprintf("alarm_handler:set_alarm({{bench, %d}, []})", i))
		key := fmt.Sprintf("bench/%d@%s", i, n.Name)
		require.Eventually(t, func() bool {
			at, ok := told.at(key)
			if ok {
				took = append(took, at.Sub(begun))
			}
			return ok
		}, time.Minute, time.Millisecond)
	}
	slices.Sort(took)
	rules := rulesToAlertmanager(t, nodes, told)
	t.Logf("rules, from the condition to Alertmanager: median %v, most %v", rules[len(rules)/2], rules[len(rules)-1])
	t.Logf("from raise to Alertmanager: median %v, 95 %% %v, most %v", took[25], took[47], took[49])

	begun := time.Now()
	for _, n := range nodes {
		n.Eval(t, "[alarm_handler:set_alarm({{many, N}, []}) || N <- lists:seq(1, 1000)], ok")
	}
	require.Eventually(t, func() bool {
		n, _ := told.count()
		return n >= 10_000
	}, 5*time.Minute, 50*time.Millisecond)
	n, posts := told.count()
	t.Logf("%d alarms at Alertmanager after %v and %d posts", n, time.Since(begun), posts)
	cpu := p.CPU()
	resident := p.Resources()
	time.Sleep(time.Minute)
	t.Logf("with %d active alarms: %v of CPU a minute, %+v", n, p.CPU()-cpu, resident)
	scraped := time.Now()
	page := p.Get("/metrics")
	t.Logf("/metrics: %d bytes in %v", len(page.Body), time.Since(scraped))
	listed := time.Now()
	p.Get("/api/v1/alarms?limit=1000")
	t.Logf("1,000 alarms of the API in %v", time.Since(listed))
}
