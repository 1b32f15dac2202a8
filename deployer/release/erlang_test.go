package release_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/release"
	"github.com/erlops/erlops/internal/reltest"
	"github.com/erlops/erlops/internal/sshtest"
)

// erlang is the real release.
func erlang(t testing.TB) (fleet.Archive, *bytes.Reader) {
	t.Helper()
	content := reltest.Archive(t, "")
	digest := sha256.Sum256(content)
	return fleet.Archive{SHA256: hex.EncodeToString(digest[:]), Size: int64(len(content))}, bytes.NewReader(content)
}

// run runs a command that must succeed.
func run(t *testing.T, h *release.Host, i fleet.Installation, step fleet.StepName, line string, args ...string) string {
	t.Helper()
	out, err := h.Run(t.Context(), i, fleet.Command{Step: step, Line: line, Args: args, Timeout: time.Minute, Token: string(step) + "-" + i.NodeID})
	require.NoError(t, err, "%+v", err)
	return out.Text
}

func ask(t *testing.T, h *release.Host, i fleet.Installation, line string, args ...string) string {
	t.Helper()
	out, err := h.Run(t.Context(), i, fleet.Command{Line: line, Args: args, Timeout: time.Minute})
	require.NoError(t, err, "%+v", err)
	return out.Text
}

func awaitPing(t *testing.T, h *release.Host, i fleet.Installation) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := h.Run(t.Context(), i, fleet.Command{Line: reltest.PingCommand, Timeout: time.Minute})
		return err == nil
	}, time.Minute, 100*time.Millisecond)
}

// TestErlangCluster runs two nodes on one host and one on another: the release
// is uploaded once for the two, epmd is shared by them and ends with the last.
func TestErlangCluster(t *testing.T) {
	t.Parallel()
	a, content := erlang(t)
	hosts := newHosts(t)
	one := sshtest.Start(t, sshtest.Options{})
	other := sshtest.Start(t, sshtest.Options{KeyFile: one.KeyFile})
	before := map[*sshtest.Host][]string{one: one.Files(t), other: other.Files(t)}

	nodes := make([]fleet.Installation, 3)
	on := make([]*release.Host, 3)
	for n, machine := range []*sshtest.Host{one, one, other} {
		on[n] = open(t, hosts, machine.Login())
		nodes[n] = installation(a, machine.Login())
		nodes[n].Ports = fleet.PortRange{From: 9100 + n, To: 9100 + n}
		deploy(t, on[n], nodes[n], content)
		run(t, on[n], nodes[n], fleet.StepStart, reltest.StartCommand)
		awaitPing(t, on[n], nodes[n])
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(machine.Address, strconv.Itoa(9100+n)), time.Second)
		require.NoError(t, err, "the node listens on its own port")
		conn.Close()
		for _, line := range machine.Processes(t) {
			require.NotContains(t, line, string(nodes[n].Cookie))
		}
	}
	for _, n := range []int{1, 2} {
		run(t, on[n], nodes[n], fleet.StepBootstrap, reltest.JoinCommand, nodes[0].NodeName)
	}
	ask(t, on[0], nodes[0], "bin/put", "it's $HOME", "a \"value\"\nof two lines; `id`")
	require.Equal(t, "a \"value\"\nof two lines; `id`", ask(t, on[2], nodes[2], "bin/get", "it's $HOME"))
	require.Len(t, strings.Fields(ask(t, on[0], nodes[0], "bin/members")), 3)

	// The first node has started the epmd of its host. It goes in an orderly
	// way, the second one is killed.
	run(t, on[0], nodes[0], fleet.StepLeave, reltest.LeaveCommand)
	run(t, on[0], nodes[0], fleet.StepStop, reltest.StopCommand)
	remove(t, on[0], nodes[0])
	require.Contains(t, strings.Join(one.Processes(t), "\n"), "epmd", "another node uses it")
	require.Len(t, strings.Fields(ask(t, on[1], nodes[1], "bin/members")), 2)
	remove(t, on[1], nodes[1])
	remove(t, on[2], nodes[2])
	for machine, files := range before {
		awaitProcesses(t, machine)
		require.Equal(t, files, machine.Files(t))
	}
}

func remove(t *testing.T, h *release.Host, i fleet.Installation) {
	t.Helper()
	require.NoError(t, h.Kill(t.Context(), i))
	require.NoError(t, h.Clean(t.Context(), i))
}
