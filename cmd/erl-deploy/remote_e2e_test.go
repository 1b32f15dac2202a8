//go:build e2e && e2e_full

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/clikit"
	"github.com/erlops/erlops/internal/reltest"
	"github.com/erlops/erlops/internal/sshtest"
)

// TestHardToReach deploys to hosts that only a jump host is let in to, of two
// architectures, and breaks the connection in the middle of the upload to one:
// each gets the archive for it, and the upload goes on.
func TestHardToReach(t *testing.T) {
	t.Parallel()
	const size, window = 300 << 20, 16 << 20
	gate := sshtest.Start(t, sshtest.Options{})
	inner := func(machine string) *sshtest.Host {
		return sshtest.Start(t, sshtest.Options{
			KeyFile: gate.KeyFile, Machine: machine, Size: "2g", SSHD: []string{"AllowUsers erl@" + gate.Address},
		})
	}
	hosts := map[string]*sshtest.Host{"x86_64": inner("x86_64"), "aarch64": inner("aarch64")}
	dir := t.TempDir()
	known, servers, archives := gate.KnownHost()+"\n", "", ""
	before := map[string][]string{}
	for arch, h := range hosts {
		before[arch] = h.Files(t)
		known += h.KnownHost() + "\n"
		servers += fmt.Sprintf("{host: %s, slots: 1, jump: [%s]}, ", h.Address, gate.Address)
		archives += fmt.Sprintf("{file: %s, os: linux, arch: %s}, ", reltest.Big(t, arch, size), arch)
	}
	for name, text := range map[string]string{
		"cookie": "cookie-of-the-test\n", "known_hosts": known,
		"erl-deploy.yml": fmt.Sprintf("data_dir: data\nssh: {config_file: none, known_hosts: [known_hosts], key_files: [%s], user: erl}\n", gate.KeyFile),
		"fleet.yml": fmt.Sprintf(`
providers: [{name: Local, kind: physical, servers: [%s]}]
releases:
  - {name: kv, archives: [%s], templates: [etc/vm.args], start_command: bin/start, stop_command: bin/stop, cookie_file: cookie}
families:
  - {name: kv, release: kv, ports: 6000-6009, bootstrap: {strategy: custom, command: bin/join}, domains: [{provider: Local, ssh_user: erl, nodes: 2}]}
`, servers, archives),
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

	cut := make(chan int64, 1)
	go func() { cut <- cutUpload(t, hosts["x86_64"], 3*window) }()
	run("apply", "-f", filepath.Join(dir, "fleet.yml"), "--yes")
	require.GreaterOrEqual(t, <-cut, int64(2*window), "what had arrived was kept")
	var nodes []fleet.Node
	require.NoError(t, json.Unmarshal([]byte(run("node", "list", "-o", "json")), &nodes))
	require.Len(t, nodes, 2)
	for _, n := range nodes {
		require.Equal(t, fleet.StateUp, n.State)
		h := hosts[n.Archive.Arch]
		require.Equal(t, h.Address, n.Host)
		require.Equal(t, n.Archive.Arch, h.Exec(t, "cat", "/home/erl/"+n.ID+"/etc/variant"), "it has the archive for it")
	}
	require.Contains(t, run("events", "--last", "1000"), "upload (attempt 2) ok")

	run("family", "remove", "kv", "--with-nodes", "--yes")
	for arch, h := range hosts {
		require.Equal(t, before[arch], h.Files(t))
	}
}

// cutUpload breaks all connections to a host when so much of an archive has
// arrived there, and returns the least that there is of it from then on.
func cutUpload(t *testing.T, h *sshtest.Host, after int64) int64 {
	t.Helper()
	size := func() (int64, bool) {
		parts, _ := filepath.Glob(h.Home(".erl-deploy/archives/*.part"))
		if len(parts) == 0 {
			return 0, false
		}
		info, err := os.Stat(parts[0])
		if err != nil {
			return 0, false
		}
		return info.Size(), true
	}
	await := func(done func(int64, bool) bool) {
		for t.Context().Err() == nil && !done(size()) {
			time.Sleep(time.Millisecond)
		}
	}
	await(func(n int64, _ bool) bool { return n >= after })
	h.Cut(t)
	least, _ := size()
	await(func(n int64, there bool) bool {
		if there {
			least = min(least, n)
		}
		return !there
	})
	return least
}
