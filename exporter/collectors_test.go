package exporter_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// TestSwitches: groups of metrics are switched for all nodes, for those of a target
// group, and for those of a family.
func TestSwitches(t *testing.T) {
	t.Parallel()
	epmd := erltest.StartEPMD(t)
	first := erltest.Start(t, erltest.Options{EPMD: epmd})
	o := erltest.Options{EPMD: epmd, Cookie: first.Cookie}
	second, third := erltest.Start(t, o), erltest.Start(t, o)
	p := exportertest.Start(t, exportertest.Options{
		Config: fmt.Sprintf(`cookie_file: cookie
metrics:
  collectors: {ets: false, code: false}
  families: {shop: {collectors: {ports: false, code: true}}}
targets:
  - {name: plain, epmd: %[1]q, static_configs: [{targets: [%[2]q]}]}
  - {name: own, epmd: %[1]q, metrics: {collectors: {ets: true, vip: false}}, static_configs: [{targets: [%[3]q]}]}
  - {name: shop, family: shop, epmd: %[1]q, static_configs: [{targets: [%[4]q]}]}
`, first.EPMD, first.Name, second.Name, third.Name),
		Files: map[string]string{"cookie": first.Cookie},
	})
	families := map[string]string{
		"ets": "erlang_vm_ets_tables_by_type", "code": "erlang_vm_modules_loaded", "ports": "erlang_vm_port_queue_bytes", "vip": "erlang_vm_vip_process_up",
		"memory": "erlang_vm_memory_bytes_total",
	}
	for node, on := range map[string]string{first.Name: "ports vip memory", second.Name: "ets ports memory", third.Name: "code vip memory"} {
		p.AwaitUp(node, 30*time.Second)
		body := p.Probe(node, 10*time.Second).Body
		for group, family := range families {
			wanted := strings.Contains(on, group)
			require.Equal(t, wanted, strings.Contains(body, "\n# TYPE "+family+" "), "%s on %s", group, node)
			require.Equal(t, wanted, strings.Contains(body, `erlang_exporter_scrape_success{collector="`+group+`"} 1`), "%s on %s", group, node)
		}
	}
}

// TestStalePage: a node that does not answer any more is shown by its last reading,
// which says how old it is, before the deadline of the scrape.
func TestStalePage(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	p := liveExporter(t, n, "")
	before := p.Probe(n.Name, 10*time.Second)
	require.Contains(t, before.Body, "\nerlang_exporter_agent_up 1\n")
	n.Pause()
	t.Cleanup(n.Continue)
	const limit = 2 * time.Second
	require.Eventually(t, func() bool {
		page := p.Probe(n.Name, limit)
		require.Less(t, page.Took, limit)
		require.Contains(t, page.Body, "\nerlang_up 1\n")
		require.Contains(t, page.Body, "\nerlang_vm_memory_bytes_total{")
		age, err := exportertest.Sample(page.Body, "erlang_exporter_snapshot_age_seconds")
		require.NoError(t, err)
		return age > limit.Seconds()
	}, 30*time.Second, 50*time.Millisecond)
}

// TestCollectorWithBeam brings a module of the user's into a node and takes it away
// again, as the configuration says by its path and hash.
func TestCollectorWithBeam(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	printed := n.Eval(t, `{ok, _, B} = compile:forms([element(2, erl_parse:parse_form(element(2, erl_scan:string(F)))) || F <- [
		"-module(shop_collector).", "-export([stock/1]).", "stock(Of) -> [#{item => Of, pieces => 42}]."]]), binary_to_list(base64:encode(B))`)
	beam, err := base64.StdEncoding.DecodeString(strings.Trim(printed, `"`))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "shop_collector.beam")
	require.NoError(t, os.WriteFile(path, beam, 0o600))
	config := func(sum [sha256.Size]byte) string {
		return fmt.Sprintf(`cookie_file: cookie
targets: [{name: t, epmd: %q, static_configs: [{targets: [%q]}]}]
collectors:
  - name: shop
    module: shop_collector
    function: stock
    arguments: [apples]
    beam: {path: %q, sha256: %x}
    metrics: [{name: shop_pieces, value: pieces, labels: {item: item}}]
`, n.EPMD, n.Name, path, sum)
	}
	p := exportertest.Start(t, exportertest.Options{Config: config(sha256.Sum256(beam)), Files: map[string]string{"cookie": n.Cookie}})
	p.AwaitUp(n.Name, 30*time.Second)
	require.Eventually(t, func() bool {
		return strings.Contains(p.Probe(n.Name, 10*time.Second).Body, "\nshop_pieces{item=\"apples\"} 42\n")
	}, 30*time.Second, 100*time.Millisecond)
	require.NotEqual(t, "false", n.Eval(t, "code:is_loaded(shop_collector)"))
	p.Stop()
	require.Eventually(t, func() bool {
		return n.Eval(t, "{code:is_loaded(shop_collector), erlang:check_old_code(shop_collector), erlang:module_loaded(shop_collector)}") == "{false,false,false}"
	}, 10*time.Second, 20*time.Millisecond)
}
