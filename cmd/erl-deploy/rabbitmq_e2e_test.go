//go:build e2e && e2e_full

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/clikit"
	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/sshtest"
)

// TestRabbitMQ packs Debian's RabbitMQ with the script of the example and
// deploys it by the manifest beside that to three hosts: one cluster, then one
// of two, then the hosts as they were.
func TestRabbitMQ(t *testing.T) {
	t.Parallel()
	root := erltest.ServersRoot(t)
	dir := t.TempDir()
	const example = "../../docs/examples/rabbitmq/"
	out, err := exec.CommandContext(t.Context(), example+"pack.sh", filepath.Join(dir, "rabbitmq.tar.gz"), root).CombinedOutput()
	require.NoError(t, err, "%s", out)
	manifest, err := os.ReadFile(example + "fleet.yml")
	require.NoError(t, err)

	hosts, before, known := map[string]*sshtest.Host{}, map[string][]string{}, ""
	key, text := "", strings.Replace(string(manifest), "ssh_user: deploy", "ssh_user: erl", 1)
	for i := range 3 {
		h := sshtest.Start(t, sshtest.Options{KeyFile: key})
		hosts[h.Address], before[h.Address], key, known = h, h.Files(t), h.KeyFile, known+h.KnownHost()+"\n"
		text = strings.Replace(text, fmt.Sprintf("10.0.0.%d,", i+1), h.Address+",", 1)
	}
	for name, text := range map[string]string{
		"fleet.yml": text, "known_hosts": known, "cookie": "cookie-of-the-test\n",
		"erl-deploy.yml": fmt.Sprintf("data_dir: data\nssh: {config_file: none, known_hosts: [known_hosts], key_files: [%s]}\n", key),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	run := func(args ...string) string {
		t.Helper()
		p, stdout, stderr := newProgram(t, fixture(t), "")
		p.open = open
		code := p.run(t.Context(), append([]string{"erl-deploy", "--config.file", filepath.Join(dir, "erl-deploy.yml")}, args...))
		require.Equal(t, clikit.ExitOK, code, "%s: %s", args, stderr)
		return stdout.String()
	}
	nodes := func() (nodes []fleet.Node) {
		require.NoError(t, json.Unmarshal([]byte(run("node", "list", "-o", "json")), &nodes))
		return nodes
	}
	running := func(n fleet.Node) []string {
		t.Helper()
		home := "/home/erl/.erl-deploy/nodes/" + n.ID
		text := hosts[n.Host].Exec(t, "su", "erl", "-s", "/bin/sh", "-c",
			"HOME="+home+"/home "+home+`/current/bin/rabbitmqctl eval '[io:format("~s~n", [N]) || N <- rabbit_nodes:all_running()], ok.'`)
		return strings.Fields(strings.TrimSuffix(strings.TrimSpace(text), "ok"))
	}

	run("apply", "-f", filepath.Join(dir, "fleet.yml"), "--yes")
	all := nodes()
	require.Len(t, all, 3)
	names := []string{all[0].Name, all[1].Name, all[2].Name}
	for _, n := range all {
		require.Equal(t, fleet.StateUp, n.State)
		require.ElementsMatch(t, names, running(n))
		beam := hosts[n.Host].Exec(t, "sh", "-c", `readlink /proc/"$(pgrep -o beam.smp)"/exe`)
		require.Contains(t, beam, "/home/erl/.erl-deploy/nodes/"+n.ID+"/releases/", "it brings its own Erlang")
		require.NotContains(t, strings.Join(hosts[n.Host].Processes(t), "\n"), "cookie-of-the-test")
	}

	run("delete", "--yes", all[0].ID)
	for _, n := range all[1:] {
		require.ElementsMatch(t, names[1:], running(n), "it has left the cluster")
	}
	run("family", "remove", "rabbit", "--with-nodes", "--yes")
	for address, h := range hosts {
		require.Equal(t, before[address], h.Files(t), "host %s is as it was", address)
	}
}
