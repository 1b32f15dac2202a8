//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

// TestFleetOfRealServers is the exporter's main job: RabbitMQ, ejabberd and
// plain nodes of two releases of OTP, each with a cookie and an epmd of its
// own, with long and short names, in a real Prometheus by three lines of
// configuration.
func TestFleetOfRealServers(t *testing.T) {
	t.Parallel()
	rabbit := erltest.StartRabbitMQ(t, erltest.ServerOptions{})
	ejabberd := erltest.StartEjabberd(t, erltest.ServerOptions{})
	plain25 := erltest.Start(t, erltest.Options{LongNames: true, EPMD: erltest.StartEPMD(t)})
	plain27 := erltest.Start(t, erltest.Options{OTP: "27"})
	nodes := []*erltest.Node{rabbit.Node, ejabberd.Node, plain25, plain27}

	p := start(t, "--config.file", fleetConfig(t, nodes))
	for _, n := range nodes {
		p.awaitUp(t, n.Name)
	}
	prometheus := erltest.StartPrometheus(t, fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: erlang
    http_sd_configs: [{url: "%s/sd", refresh_interval: 1s}]
`, p.url))

	families := map[string]string{
		rabbit.Name: "rabbit", ejabberd.Name: "ejabberd",
		plain25.Name: nodeFamily(plain25), plain27.Name: nodeFamily(plain27),
	}
	for query, want := range map[string]map[string]string{
		`erlang_up * on(node) group_left up`: families,
		`erlang_vm_process_count > 0`:        families,
		`erlang_mnesia_tablewise_size{table=~"rabbit_user|roster"} >= 0`: {
			rabbit.Name: "rabbit", ejabberd.Name: "ejabberd",
		},
	} {
		var got map[string]string
		require.Eventually(t, func() bool {
			got = familiesOf(t, prometheus, query)
			return len(got) >= len(want)
		}, 30*time.Second, 200*time.Millisecond, "%s: %v", query, got)
		require.Equal(t, want, got, query)
	}
	_, page := p.get(t, "/")
	for _, n := range nodes {
		require.Contains(t, page, n.Name)
	}

	// A node that goes is down and no more than that; the others go on.
	rabbit.Kill()
	require.Eventually(t, func() bool {
		got := familiesOf(t, prometheus, `erlang_up == 0 and up == 1`)
		return got[rabbit.Name] == "rabbit" && len(got) == 1
	}, 30*time.Second, 200*time.Millisecond, "the death of RabbitMQ does not show")
	p.signal(t, syscall.SIGTERM)
	require.Zero(t, p.awaitEnd(t))
	for _, n := range nodes[1:] {
		require.Equal(t, "[]", n.Eval(t, agentTraces), n.Name)
	}
}

func nodeFamily(n *erltest.Node) string {
	name, _, _ := strings.Cut(n.Name, "@")
	return name
}

// fleetConfig makes a group for each node.
func fleetConfig(t *testing.T, nodes []*erltest.Node) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("targets:\n")
	for i, n := range nodes {
		fmt.Fprintf(&b, "- {name: g%d, cookie_file: %q, epmd: %q, static_configs: [{targets: [%q]}]}\n",
			i, cookieFile(t, n), n.EPMD, n.Name)
	}
	path := filepath.Join(t.TempDir(), "erl-exporter.yml")
	require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o600))
	return path
}

// familiesOf asks Prometheus and returns the families by node.
func familiesOf(t *testing.T, p *erltest.Prometheus, query string) map[string]string {
	t.Helper()
	res, err := http.Get(p.URL + "/api/v1/query?query=" + url.QueryEscape(query))
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	var answer struct {
		Data struct {
			Result []struct{ Metric map[string]string }
		}
	}
	require.NoError(t, json.Unmarshal(body, &answer), string(body))
	families := map[string]string{}
	for _, r := range answer.Data.Result {
		families[r.Metric["node"]] = r.Metric["family"]
	}
	return families
}
