//go:build e2e

package dashboards_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	agekeys "filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
	"github.com/erlops/erlops/internal/proc"
	"github.com/erlops/erlops/internal/reltest"
	"github.com/erlops/erlops/internal/sshtest"
)

// deployFleet has a family that comes up, and one whose only server nobody
// listens on: its node is tried again, and given up.
const deployFleet = `
providers:
  - {name: Local, kind: physical, servers: [{host: %[1]s, slots: 1}]}
  - {name: Dark, kind: physical, servers: [{host: 127.0.0.1, port: %[3]d, slots: 1}]}
releases:
  - {name: kv, archives: [{file: kv.tar.gz, os: linux}], templates: [etc/vm.args], start_command: bin/start, stop_command: bin/stop, cookie_file: cookie}
families:
  - {name: shop, release: kv, ports: 6000-6009, bootstrap: {strategy: distributed_erlang}, domains: [{provider: Local, ssh_user: %[2]s, nodes: 1}]}
  - {name: dark, release: kv, ports: 6000-6009, bootstrap: {strategy: distributed_erlang}, domains: [{provider: Dark, ssh_user: %[2]s, nodes: 1}]}
`

const deployServer = `
data_dir: data
step_timeouts: {machine: 20s}
ssh: {config_file: none, known_hosts: [known_hosts], key_files: [%q]}
exporter: {url: %q, token_file: token}
auth: {unauthenticated_role: admin}
web: {listen_addresses: [%q]}
`

const deployScrape = `
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: erl-deploy
    static_configs: [{targets: [%q]}]
`

// startDeployer starts a real erl-deploy server that registers with a real
// exporter. It returns the server's address, and what has it deploy deployFleet.
func startDeployer(t *testing.T) (address string, apply func()) {
	t.Helper()
	host, archive := sshtest.Start(t, sshtest.Options{}), reltest.Archive(t, "")
	identity, err := agekeys.GenerateX25519Identity()
	require.NoError(t, err)
	exporter := exportertest.Start(t, exportertest.Options{
		Config: "storage: {path: exporter.db}\nsecrets: {key_file: key}\n" +
			"auth: {tokens: [{name: deployer, role: operate, token_file: token}]}\n",
		Files: map[string]string{"token": "token-of-the-test", "key": identity.String() + "\n"},
	})
	dir := t.TempDir()
	address = fmt.Sprintf("127.0.0.1:%d", erltest.FreePort(t))
	for name, text := range map[string]string{
		"kv.tar.gz": string(archive), "cookie": "cookie-of-the-test\n", "token": "token-of-the-test", "known_hosts": host.KnownHost() + "\n",
		"erl-deploy.yml": fmt.Sprintf(deployServer, host.KeyFile, exporter.URL, address),
		"fleet.yml":      fmt.Sprintf(deployFleet, host.Address, host.User, erltest.FreePort(t)),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	program := filepath.Join(dir, "erl-deploy")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/erlops/erlops/cmd/erl-deploy").CombinedOutput()
	require.NoError(t, err, string(out))
	start := func(log string, args ...string) {
		p, err := proc.Start(proc.Command{
			Argv: append([]string{program}, args...), Dir: dir, Log: filepath.Join(dir, log),
			Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir},
		})
		require.NoError(t, err)
		t.Cleanup(func() {
			p.Kill()
			if t.Failed() {
				t.Logf("%s:\n%s", log, p.Tail())
			}
		})
	}
	start("server", "serve", "--config.file", "erl-deploy.yml")
	require.Eventually(t, func() bool {
		return exec.CommandContext(t.Context(), program, "--url", "http://"+address, "status").Run() == nil
	}, time.Minute, 100*time.Millisecond, "erl-deploy does not answer")
	return address, func() { start("apply", "--url", "http://"+address, "apply", "-f", "fleet.yml", "--yes") }
}

// TestDeployments runs every query of the dashboard of deployments, and the
// annotation of the others, while a real erl-deploy brings one node up and fails
// to reach the host of another. Each panel has data at some time of that: there
// are tasks only until they end, and failures only after them.
func TestDeployments(t *testing.T) {
	t.Parallel()
	address, apply := startDeployer(t)
	prometheus := erltest.StartPrometheus(t, fmt.Sprintf(deployScrape, address))
	require.Eventually(t, func() bool {
		found, err := series(t, prometheus, "erl_deploy_step_retries_total")
		return err == nil && found > 0
	}, time.Minute, 100*time.Millisecond, "Prometheus has not scraped erl-deploy")
	apply()
	pending := make(map[string][]string) // queries by where they are
	for _, b := range load(t) {
		values := map[string]string{"family": ".*"}
		for _, a := range b.Annotations.List {
			if strings.Contains(a.Expr, "erl_deploy_") {
				pending["annotation of "+b.UID] = []string{substitute(t, b, a.Expr, values)}
			}
		}
		if b.UID != "erlops-deployments" {
			continue
		}
		b.each(func(p parsedPanel) {
			for _, q := range p.Targets {
				pending[p.Title+"/"+q.RefID] = append(pending[p.Title+"/"+q.RefID], substitute(t, b, q.Expr, values))
			}
		})
	}
	require.Greater(t, len(pending), 10)
	deadline := time.Now().Add(3 * time.Minute)
	for len(pending) > 0 {
		require.True(t, time.Now().Before(deadline), "no data: %v", pending)
		for where, queries := range pending {
			for _, expr := range queries {
				found, err := series(t, prometheus, expr)
				require.NoError(t, err, "%s: %s", where, expr)
				if found > 0 {
					delete(pending, where)
				}
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
	require.Eventually(t, func() bool {
		up, err := series(t, prometheus, `erl_deploy_nodes{family="shop",state="UP"} == 1 and on () erl_deploy_exporter_up == 1`)
		require.NoError(t, err)
		return up == 1
	}, time.Minute, 200*time.Millisecond, "the node that can be reached is up, as the exporter says")
}
