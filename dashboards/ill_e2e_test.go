//go:build e2e

package dashboards_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// illConfig has an Alertmanager, a Graphite and a receiver of logs that refuses
// everything, limits that are soon reached, a process that does not exist, a
// collector that fails, and a node that is not there.
const illConfig = `
name: erl_exporter@127.0.0.1
cookie: %[1]s
epmd: %[2]s
alertmanager: {targets: [{url: %[3]q}], repeat: 10s}
graphite: {address: %[4]q, interval: 1s}
logs: {loki: {url: %[5]q, batch_wait: 100ms}}
limits: {source: 5}
metrics:
  vip: [code_server, shop_orders]
collectors:
  - {name: broken, module: no_such_module, function: f, interval: 1s, metrics: [{name: never}]}
targets:
  - name: shop
    family: shop
    static_configs: [{targets: [%[6]q, %[7]q, "ghost@127.0.0.1"]}]
  - name: poor
    family: shop
    agent: {reductions: 10000, bytes: 64KiB}
    static_configs: [{targets: [%[8]q]}]
`

// newIllFleet is three nodes of a family and a Prometheus: the first has alarms,
// more metrics than it may and a flood of log entries, the second another version
// and another load, the third may cost little.
func newIllFleet(t *testing.T) *scene {
	t.Helper()
	erltest.RequireErlang(t, "sasl", "folsom")
	manager := erltest.StartAlertmanager(t, erltest.AlertmanagerVersions()[0], "")
	graphite := erltest.StartGraphite(t, "[all]\npattern = .*\nretentions = 1s:1h\n", "[all]\npattern = .*\n")
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "entry too far behind", http.StatusBadRequest)
	}))
	t.Cleanup(refusing.Close)
	epmd := erltest.StartEPMD(t)
	var nodes []*erltest.Node
	for _, name := range []string{"a", "b", "poor"} {
		nodes = append(nodes, erltest.Start(t, erltest.Options{Name: name, LongNames: true, EPMD: epmd, Cookie: "dashboards"}))
	}
	s := &scene{nodes: [2]*erltest.Node{nodes[0], nodes[1]}}
	a, b := nodes[0], nodes[1]
	a.Eval(t, `[{ok, _} = application:ensure_all_started(A) || A <- [sasl, folsom]], alarm_handler:set_alarm({disk_full, "/var"}), `+
		`[folsom_metrics:new_counter({many, N}) || N <- lists:seq(1, 20)], `+shop("1.0")+`, ok = application:start(shop)`)
	b.Eval(t, hoard+`, `+shop("2.0"))
	s.exporter = exportertest.Start(t, exportertest.Options{Config: fmt.Sprintf(illConfig, a.Cookie, epmd.Address(),
		manager.URL, graphite.Address, refusing.URL, a.Name, b.Name, nodes[2].Name)})
	for _, n := range nodes {
		s.exporter.AwaitUp(n.Name, time.Minute)
	}
	s.prometheus = erltest.StartPrometheus(t, fmt.Sprintf(scrapeConfig, s.exporter.URL, strings.TrimPrefix(s.exporter.URL, "http://")))
	return s
}

// shop is an application of a version, loaded.
func shop(version string) string {
	return `ok = application:load({application, shop, [{vsn, "` + version + `"}, {modules, []}, {registered, []}, {applications, [kernel, stdlib]}]})`
}

// hoard is memory that the others of the family do not use.
const hoard = `register(hoarder, spawn(fun() -> X = lists:seq(1, 5000000), receive never -> X end end))`

// trouble goes on while the panels are looked at: alarms come and go, entries are
// logged, one connection comes and goes, and one node restarts.
func (s *scene) trouble(t *testing.T) {
	t.Helper()
	a, b := s.nodes[0], s.nodes[1]
	a.Eval(t, `spawn(fun L() -> alarm_handler:set_alarm({flaps, []}), logger:error("order lost"), net_kernel:connect_node('`+b.Name+`'), timer:sleep(1000), `+
		`alarm_handler:clear_alarm(flaps), erlang:disconnect_node('`+b.Name+`'), timer:sleep(1000), L() end), ok`)
}

// TestIllFleet looks at the panels that have nothing to show of a healthy fleet.
func TestIllFleet(t *testing.T) {
	s := newIllFleet(t)
	s.trouble(t)
	require.Eventually(t, func() bool {
		n, err := s.series(t, `process_uptime_seconds{node="`+s.nodes[1].Name+`"} > 5`)
		return err == nil && n > 0
	}, time.Minute, 100*time.Millisecond)
	s.nodes[1].Restart()
	s.nodes[1].Eval(t, hoard+`, `+shop("2.0"))
	values := map[string]string{"node": ".+", "family": "shop", "job": "erlang", "exporter": ".+", "metric": "folsom_requests_total"}
	seen := 0
	for _, b := range load(t) {
		b.each(func(p parsedPanel) {
			if _, ok := empty[b.UID+"/"+p.Title]; ok {
				seen++
				t.Run(filepath.Join(b.UID, p.Title), func(t *testing.T) { s.drawn(t, b, p, values, false) })
			}
		})
	}
	require.Len(t, empty, seen, "the list has panels that no dashboard has")
}
