//go:build e2e

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/clikit"
	"github.com/erlops/erlops/internal/reltest"
	"github.com/erlops/erlops/internal/sshtest"
)

// TestAloneOnHosts brings a fleet up from a file without any server, after it
// was interrupted in the middle, and takes it away again.
func TestAloneOnHosts(t *testing.T) {
	t.Parallel()
	archive := reltest.Archive(t, "alone")
	one := sshtest.Start(t, sshtest.Options{})
	two := sshtest.Start(t, sshtest.Options{KeyFile: one.KeyFile})
	before := [][]string{one.Files(t), two.Files(t)}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"kv.tar.gz": string(archive), "cookie": "cookie-of-the-test\n", "known_hosts": one.KnownHost() + "\n" + two.KnownHost() + "\n",
		"erl-deploy.yml": fmt.Sprintf("data_dir: data\nssh: {config_file: none, known_hosts: [known_hosts], key_files: [%s]}\n", one.KeyFile),
		"fleet.yml": fmt.Sprintf(`
providers:
  - {name: Local, kind: physical, servers: [{host: %s, slots: 1}, {host: %s, slots: 1}]}
releases:
  - name: kv-1.0
    archives: [{file: kv.tar.gz, os: linux}]
    templates: [etc/vm.args]
    start_command: bin/start
    stop_command: bin/stop
    cookie_file: cookie
families:
  - name: kv
    release: kv-1.0
    ports: 6000-6009
    bootstrap: {strategy: custom, command: bin/join, leave_command: bin/leave}
    domains: [{provider: Local, ssh_user: %s, nodes: 2}]
`, one.Address, two.Address, one.User),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	run := func(ctx context.Context, args ...string) (int, string, string) {
		p, stdout, stderr := newProgram(t, fixture(t), "")
		p.open = open
		code := p.run(ctx, append([]string{"erl-deploy", "--config.file", filepath.Join(dir, "erl-deploy.yml")}, args...))
		return code, stdout.String(), stderr.String()
	}
	manifest := filepath.Join(dir, "fleet.yml")

	short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	code, _, stderr := run(short, "apply", "-f", manifest, "--yes")
	require.NotEqual(t, clikit.ExitOK, code, stderr)
	code, _, stderr = run(t.Context(), "apply", "-f", manifest, "--yes")
	require.Equal(t, clikit.ExitOK, code, stderr)
	code, _, stderr = run(t.Context(), "deploy", "kv", "-n", "1", "--timeout", "10s")
	require.Equal(t, clikit.ExitNodes, code, "there are two slots")
	code, stdout, _ := run(t.Context(), "status", "--state", "up")
	require.Equal(t, clikit.ExitOK, code)
	require.Contains(t, stdout, "2 nodes, 2 UP", stderr)

	code, _, stderr = run(t.Context(), "family", "remove", "kv", "--with-nodes", "--yes")
	require.Equal(t, clikit.ExitOK, code, stderr)
	code, stdout, _ = run(t.Context(), "family", "list", "-o", "json")
	require.Equal(t, clikit.ExitOK, code)
	require.Equal(t, "[]\n", stdout)
	after := [][]string{one.Files(t), two.Files(t)}
	require.Equal(t, before, after, "hosts are as they were")
}
