//go:build e2e

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	exporterclient "github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/fakecloud"
	"github.com/erlops/erlops/internal/fakeec2"
	"github.com/erlops/erlops/internal/fakeopenstack"
	"github.com/erlops/erlops/internal/reltest"
	"github.com/erlops/erlops/internal/sshtest"
)

// theCloudListings are those of the paper's section 4.1 with all of its four
// providers and seven nodes. Beyond it they only say where the fakes are:
// "endpoint" of EC2 and "auth_url" of Rackspace.
const theCloudListings = `set -eu
SERVER=$1 ARCHIVE=$2 EC2=$3 HP=$4 RACKSPACE=$5 LOCAL=$6
post() { curl -sSf -X POST "http://$SERVER$1" -H 'Content-Type: application/json' -H 'Accept: application/json' -d "$2"; }
id() { sed -E 's/^\{"(uuid|id)":"([^"]*)".*/\2/'; }

PROVIDER_ID_EC2=$(post /api/orch/providers '{"type": "virtual", "vprovider": "ec2", "name": "EC2",
    "username": "` + fakeec2.AccessKey + `", "password": "` + fakeec2.SecretKey + `", "endpoint": "'"$EC2"'"}' | id)
AUTH_URL="$HP/v2.0/tokens"
PROVIDER_ID_HP=$(post /api/orch/providers '{"type": "virtual",
    "vprovider": "hp",
    "name": "HP",
    "username": "` + fakeopenstack.User + `",
    "password": "` + fakeopenstack.Password + `",
    "auth_url": "'"$AUTH_URL"'",
    "tenant_name": "` + fakeopenstack.Tenant + `",
    "service_region": "region-a.geo-1"}' | id)
PROVIDER_ID_RACKSPACE=$(post /api/orch/providers '{"type": "virtual", "vprovider": "rackspace", "name": "Rackspace",
    "username": "` + fakeopenstack.User + `", "password": "` + fakeopenstack.Password + `", "auth_url": "'"$RACKSPACE"'/v2.0/",
    "service_region": "LON"}' | id)
PROVIDER_ID_LOCAL=$(post /api/orch/providers '{"type": "physical", "name": "Local", "servers": ["'$LOCAL'"]}' | id)

echo -n '{"name": "Riak Linux 64-bit",
    "start_cmd": "bin/start",
    "stop_cmd" : "bin/stop",
    "cookie": "riak-cookie-of-the-test",
    "node_name_templates": ["etc/vm.args"],
    "release": "' > release_request.json
base64 "$ARCHIVE" >> release_request.json
echo -n '"}' >> release_request.json
RELEASE_ID=$(curl -sSf -X POST "http://$SERVER/api/orch/releases" -H 'Content-Type: application/json' \
    --data-binary @release_request.json | id)

NF_ID=$(post /api/topo/node_families '{"name": "Riak Cluster",
    "bootstrap_node_selection":"random",
    "bootstrap_strategy":"custom",
    "bootstrap_strategy_opts": [{"cmd": "bin/join"}]}' | id)
post /api/orch/node_families/$NF_ID/release '{"release":"'$RELEASE_ID'"}'
post /api/orch/node_families/$NF_ID/firewall '[{"protocol": "tcp", "port_from": "4369", "port_to": "4369"},
    {"protocol": "tcp", "port_from": "8097", "port_to": "8099"},
    {"protocol": "tcp", "port_from": "8087", "port_to": "8087"},
    {"protocol": "tcp", "port_from": "8069", "port_to": "8069"},
    {"protocol": "tcp", "port_from": "6000", "port_to": "7999"}]'
domain() { post /api/orch/node_families/$NF_ID/domains '{ "provider": "'$1'",
    "ssh_user": "'$2'",
    "vdisk": "'$3'",
    "hw_profile": "'$4'",
    "type": "'$5'"}'; }
domain $PROVIDER_ID_EC2 ubuntu ami-0cdf4965 t1.micro virtual
domain $PROVIDER_ID_HP ubuntu 2925ec9a-3c29-4960-acd8-ffe33007ad62 100 virtual
domain $PROVIDER_ID_RACKSPACE myuser 2925ec9a-3c29-4960-acd8-ffe33007ad62 2 virtual
domain $PROVIDER_ID_LOCAL localuser anything anything physical
deploy() { post /api/orch/node_families/$NF_ID/nodes '{"amount": '$2',
    "autostart":true,
    "provider": "'$1'"}'; }
deploy $PROVIDER_ID_EC2 2
deploy $PROVIDER_ID_HP 2
deploy $PROVIDER_ID_RACKSPACE 2
deploy $PROVIDER_ID_LOCAL 1
echo "NF_ID=$NF_ID"
`

// TestCloudsByListings is section 4.1 of the paper: a family of seven nodes, two
// on EC2, two on HP Cloud, two on Rackspace and one on an own server, become one
// cluster, and nothing of it is left when it is deleted.
func TestCloudsByListings(t *testing.T) {
	t.Parallel()
	began := time.Now()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "riak.tar.gz"), reltest.Archive(t, ""), 0o600))
	own := sshtest.Start(t, sshtest.Options{User: "localuser"})
	before := own.Files(t)
	machines := fakecloud.NewSSH(t)
	amazon := fakeec2.Start(t, fakeec2.Options{Hosts: machines, Lag: 300 * time.Millisecond, Stop: time.Second})
	hp := fakeopenstack.Start(t, fakeopenstack.Options{Hosts: machines, Region: "region-a.geo-1", Version2: true, Version3: true, Stop: time.Second})
	rackspace := fakeopenstack.Start(t, fakeopenstack.Options{Hosts: machines, Region: "LON", Version2: true, NoNetwork: true, LoginUser: "root", Stop: time.Second})
	exporter, prometheus := startMonitoring(t)
	address := startServer(t, fmt.Sprintf(`
data_dir: data
ssh: {known_hosts: [known_hosts], key_files: [%s], config_file: none}
exporter: {url: %q, token_file: exporter-token}
auth: {unauthenticated_role: admin}
`, own.KeyFile, exporter.URL), map[string]string{"known_hosts": own.KnownHost() + "\n", "exporter-token": exporterToken})
	run := func(args ...string) string {
		t.Helper()
		p, stdout, stderr := newProgram(t, fixture(t), "")
		p.open = open
		code := p.run(context.WithoutCancel(t.Context()), append([]string{"erl-deploy", "--url", "http://" + address}, args...))
		require.Zero(t, code, "%s: %s", args, stderr)
		return stdout.String()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(run("events", "--last", "1000"))
		}
	})

	script := exec.CommandContext(t.Context(), "bash", "-c", theCloudListings, "listings", address, filepath.Join(dir, "riak.tar.gz"),
		amazon.URL, hp.AuthURL, rackspace.AuthURL, own.Address)
	script.Dir = dir
	out, err := script.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, secret := range []string{"riak-cookie-of-the-test", fakeec2.SecretKey, fakeopenstack.Password} {
		require.NotContains(t, string(out), secret)
	}
	_, familyID, _ := strings.Cut(strings.TrimSpace(string(out)), "NF_ID=")

	var nodes []fleet.Node
	require.Eventually(t, func() bool {
		nodes = nil
		require.NoError(t, json.Unmarshal([]byte(run("node", "list", "-o", "json")), &nodes))
		for _, n := range nodes {
			require.NotEqual(t, fleet.StateError, n.State, "%v", n.Reason)
			if n.State != fleet.StateUp || n.Task != nil {
				return false
			}
		}
		return len(nodes) == 7
	}, 4*time.Minute, 200*time.Millisecond)
	t.Logf("all seven are UP after %s", time.Since(began).Round(time.Second/10))
	users, seen := map[string]int{}, map[string]bool{}
	for _, n := range nodes {
		state, known := exporter.Node(n.Name)
		require.True(t, known)
		require.Equal(t, exporterclient.StateUp, state.State)
		require.Equal(t, "Riak Cluster", state.Family)
		require.True(t, len(n.Login.HostKeys) > 0 || n.Host == own.Address, "no machine of a cloud was trusted blindly")
		users[n.Login.User]++
		seen[n.Host] = true
	}
	require.Equal(t, map[string]int{"ubuntu": 4, "myuser": 2, "localuser": 1}, users)
	require.Len(t, seen, 7)
	require.Eventually(t, func() bool { return upInPrometheus(t, prometheus, "Riak Cluster") == 7 }, time.Minute, 200*time.Millisecond)
	require.Equal(t, 7, targetsInPrometheus(t, prometheus), "Prometheus sees seven targets")
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	for _, n := range nodes {
		host := own
		if n.Host != own.Address {
			host = machines.Host(n.Host)
		}
		members := host.Exec(t, "sh", "-c", fmt.Sprintf("HOME=/home/%[1]s/.erl-deploy/nodes/%[2]s/home /home/%[1]s/%[2]s/bin/members", n.Login.User, n.ID))
		require.ElementsMatch(t, names, strings.Fields(members), "%s is in one cluster of seven", n.Name)
	}
	rules := []string{"tcp:22:22", "tcp:4369:4369", "tcp:6000:7999", "tcp:8069:8069", "tcp:8087:8087", "tcp:8097:8099"}
	require.Equal(t, rules, amazon.Rules(familyID))
	require.Equal(t, rules, hp.Rules(familyID))
	status, metrics := get(t, http.DefaultClient, "GET", "http://"+address+"/metrics", "", "")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, metrics, `erl_deploy_nodes{family="Riak Cluster",provider="HP",state="UP"} 2`)

	run("family", "remove", "Riak Cluster", "--with-nodes", "--yes")
	require.Eventually(t, func() bool { return strings.TrimSpace(run("family", "list", "-o", "json")) == "[]" }, 2*time.Minute, 200*time.Millisecond)
	require.Empty(t, amazon.Left())
	require.Empty(t, hp.Left())
	require.Empty(t, rackspace.Left())
	require.Eventually(t, func() bool { return len(machines.All()) == 0 }, time.Minute, 50*time.Millisecond)
	require.Equal(t, before, own.Files(t), "the own server is as it was")
	require.Empty(t, own.Processes(t), "nothing runs there any more")
	require.Equal(t, []int{2, 2, 2}, []int{amazon.Made(), hp.Made(), rackspace.Made()})
	for _, n := range nodes {
		_, known := exporter.Node(n.Name)
		require.False(t, known, "the exporter has forgotten it")
	}
	require.Eventually(t, func() bool { return targetsInPrometheus(t, prometheus) == 0 }, time.Minute, 200*time.Millisecond)
	events := run("events", "--last", "1000")
	for _, secret := range []string{"riak-cookie-of-the-test", fakeec2.SecretKey, fakeopenstack.Password} {
		require.NotContains(t, events, secret)
	}
	t.Logf("all is gone after %s", time.Since(began).Round(time.Second/10))
}
