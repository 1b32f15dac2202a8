//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	agekeys "filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	exporterclient "github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/clikit"
	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
	"github.com/erlops/erlops/internal/reltest"
	"github.com/erlops/erlops/internal/sshtest"
)

// theListings are those of the paper, for running hosts in place of a cloud.
const theListings = `set -eu
SERVER=$1 ARCHIVE=$2 HOSTS=$3 SSH_USER=$4
post() { curl -sSf -X POST "http://$SERVER$1" -H 'Content-Type: application/json' -H 'Accept: application/json' -d "$2"; }
id() { sed -E 's/^\{"(uuid|id)":"([^"]*)".*/\2/'; }

PROVIDER_ID=$(post /api/orch/providers '{"type": "physical", "name": "Local", "servers": '"$HOSTS"'}' | id)

echo -n '{"name": "KV Linux 64-bit",
    "start_cmd": "bin/start",
    "stop_cmd" : "bin/stop",
    "cookie": "kv-cookie-of-the-test",
    "node_name_templates": ["etc/vm.args"],
    "release": "' > release_request.json
base64 "$ARCHIVE" >> release_request.json
echo -n '"}' >> release_request.json
RELEASE_ID=$(curl -sSf -X POST "http://$SERVER/api/orch/releases" -H 'Content-Type: application/json' \
    --data-binary @release_request.json | id)

NF_ID=$(post /api/topo/node_families '{"name": "KV Cluster",
    "bootstrap_node_selection":"random",
    "bootstrap_strategy":"custom",
    "bootstrap_strategy_opts": [{"cmd": "bin/join"}]}' | id)
post /api/orch/node_families/$NF_ID/release '{"release":"'$RELEASE_ID'"}'
post /api/orch/node_families/$NF_ID/firewall '[{"protocol": "tcp", "port_from": "4369", "port_to": "4369"},
    {"protocol": "tcp", "port_from": "6000", "port_to": "7999"}]'
post /api/orch/node_families/$NF_ID/domains '{ "provider": "'$PROVIDER_ID'",
    "ssh_user": "'$SSH_USER'",
    "vdisk": "anything",
    "hw_profile": "anything",
    "type": "physical"}'
post /api/orch/node_families/$NF_ID/nodes '{"amount": 5,
    "autostart":true,
    "provider": "'$PROVIDER_ID'"}'
`

func runTests(m *testing.M) int { return exportertest.Main(m) }

const exporterToken = "exporter-token-of-the-test"

// startMonitoring starts a real exporter that takes nodes from us, and a real
// Prometheus that asks it.
func startMonitoring(t *testing.T) (*exportertest.Process, *erltest.Prometheus) {
	t.Helper()
	identity, err := agekeys.GenerateX25519Identity()
	require.NoError(t, err)
	exporter := exportertest.Start(t, exportertest.Options{
		Config: `
storage: {path: exporter.db}
secrets: {key_file: age-key}
auth: {unauthenticated_role: read, tokens: [{name: deployer, role: operate, token_file: deployer-token}]}
`,
		Files: map[string]string{"age-key": identity.String() + "\n", "deployer-token": exporterToken},
	})
	return exporter, erltest.StartPrometheus(t, fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: erlang
    http_sd_configs: [{url: "%s/sd", refresh_interval: 1s}]
`, exporter.URL))
}

// upInPrometheus counts the nodes of a family that are up there.
func upInPrometheus(t *testing.T, p *erltest.Prometheus, family string) int {
	t.Helper()
	status, text := get(t, http.DefaultClient, "GET", p.URL+"/api/v1/query?query="+url.QueryEscape(`erlang_up{family="`+family+`"} == 1`), "", "")
	require.Equal(t, http.StatusOK, status)
	var answer struct{ Data struct{ Result []any } }
	require.NoError(t, json.Unmarshal([]byte(text), &answer))
	return len(answer.Data.Result)
}

// targetsInPrometheus counts what it has found to scrape.
func targetsInPrometheus(t *testing.T, p *erltest.Prometheus) int {
	t.Helper()
	status, text := get(t, http.DefaultClient, "GET", p.URL+"/api/v1/targets?state=active", "", "")
	require.Equal(t, http.StatusOK, status)
	var answer struct{ Data struct{ ActiveTargets []any } }
	require.NoError(t, json.Unmarshal([]byte(text), &answer))
	return len(answer.Data.ActiveTargets)
}

// TestHostsByListings deploys a real release to five real hosts by the requests
// of the paper, and goes on by the command line: fewer nodes, more nodes by a
// manifest, and none. The hosts end as they began.
func TestHostsByListings(t *testing.T) {
	t.Parallel()
	archive := reltest.Archive(t, "")
	dir := t.TempDir()
	hosts, before, known := []*sshtest.Host{}, [][]string{}, ""
	for i := range 5 {
		o := sshtest.Options{}
		if i > 0 {
			o.KeyFile = hosts[0].KeyFile
		}
		h := sshtest.Start(t, o)
		hosts, before, known = append(hosts, h), append(before, h.Files(t)), known+h.KnownHost()+"\n"
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kv.tar.gz"), archive, 0o600))
	exporter, prometheus := startMonitoring(t)
	address := startServer(t, fmt.Sprintf(`
data_dir: data
ssh: {known_hosts: [known_hosts], key_files: [%s], config_file: none}
exporter: {url: %q, token_file: exporter-token}
auth: {unauthenticated_role: admin}
`, hosts[0].KeyFile, exporter.URL), map[string]string{"known_hosts": known, "exporter-token": exporterToken})
	run := func(args ...string) string {
		t.Helper()
		p, stdout, stderr := newProgram(t, fixture(t), "")
		p.open = open
		code := p.run(t.Context(), append([]string{"erl-deploy", "--url", "http://" + address}, args...))
		require.Equal(t, clikit.ExitOK, code, "%s: %s", args, stderr)
		return stdout.String()
	}
	nodes := func() (nodes []fleet.Node) {
		require.NoError(t, json.Unmarshal([]byte(run("node", "list", "-o", "json")), &nodes))
		return nodes
	}

	var addresses []string
	for _, h := range hosts {
		addresses = append(addresses, h.Address)
	}
	servers, err := json.Marshal(addresses)
	require.NoError(t, err)
	script := exec.CommandContext(t.Context(), "bash", "-c", theListings, "listings", address, filepath.Join(dir, "kv.tar.gz"), string(servers), hosts[0].User)
	script.Dir = dir
	out, err := script.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "kv-cookie-of-the-test")

	up := func(amount int) []fleet.Node {
		t.Helper()
		var all []fleet.Node
		require.Eventually(t, func() bool {
			all = nodes()
			for _, n := range all {
				require.NotEqual(t, fleet.StateError, n.State, "%v", n.Reason)
				if n.State != fleet.StateUp || n.Task != nil {
					return false
				}
			}
			return len(all) == amount
		}, 3*time.Minute, 200*time.Millisecond)
		return all
	}
	members := func(n fleet.Node) string {
		t.Helper()
		for _, h := range hosts {
			if h.Address == n.Host {
				return h.Exec(t, "sh", "-c", fmt.Sprintf("HOME=/home/%[1]s/.erl-deploy/nodes/%[2]s/home /home/%[1]s/%[2]s/bin/members", h.User, n.ID))
			}
		}
		t.Fatalf("no host of node %s", n.Name)
		return ""
	}
	all := up(5)
	for _, n := range all {
		seen, known := exporter.Node(n.Name)
		require.True(t, known)
		require.Equal(t, exporterclient.StateUp, seen.State)
		require.Equal(t, "KV Cluster", seen.Family)
	}
	require.Eventually(t, func() bool { return upInPrometheus(t, prometheus, "KV Cluster") == 5 }, time.Minute, 200*time.Millisecond)
	require.Len(t, strings.Fields(members(all[0])), 5)
	seen := map[string]bool{}
	for _, n := range all {
		seen[n.Host] = true
	}
	require.Len(t, seen, 5, "each host has one of five nodes")

	run("delete", "--yes", all[3].ID, all[4].ID)
	require.Len(t, up(3), 3)
	_, known5 := exporter.Node(all[4].Name)
	require.False(t, known5, "the exporter has forgotten it")

	manifest := filepath.Join(dir, "fleet.yml")
	text := `families:
  - name: KV Cluster
    release: KV Linux 64-bit
    firewall: tcp:4369:4369,tcp:6000:7999
    bootstrap: {strategy: custom, command: bin/join}
    domains: [{provider: Local, ssh_user: ` + hosts[0].User + `, image: anything, hardware: anything, nodes: %d}]
`
	require.NoError(t, os.WriteFile(manifest, fmt.Appendf(nil, text, 3), 0o600))
	require.Contains(t, run("plan", "-f", manifest), "Nothing to do")
	require.NoError(t, os.WriteFile(manifest, fmt.Appendf(nil, text, 4), 0o600))
	require.Contains(t, run("apply", "-f", manifest, "--yes"), "1 to deploy")
	up(4)
	require.Contains(t, run("status"), "4 nodes, 4 UP")
	status, metrics := get(t, http.DefaultClient, "GET", "http://"+address+"/metrics", "", "")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, metrics, `state="UP"} 4`)

	run("family", "remove", "KV Cluster", "--with-nodes", "--yes")
	require.Eventually(t, func() bool { return strings.TrimSpace(run("family", "list", "-o", "json")) == "[]" }, time.Minute, 200*time.Millisecond)
	for i, h := range hosts {
		require.Equal(t, before[i], h.Files(t), "host %s is as it was", h.Address)
	}
	require.NotContains(t, run("events", "--last", "1000"), "kv-cookie-of-the-test")
}
