//go:build e2e

package exporter_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/exportertest"
	"github.com/erlops/erlops/internal/proc"
)

// The addresses of the bridge that joins the namespaces.
const (
	bridgeName    = "erltopo"
	bridgeNetwork = "10.213.77."
)

func ip(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	require.NoError(t, err, "ip %s: %s", strings.Join(args, " "), out)
}

// namespaces makes network namespaces on one bridge, on which the exporter is
// too, and removes them after the test. It skips where that is not allowed.
func namespaces(t *testing.T, n int) []string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if out, err := exec.Command("ip", "link", "add", bridgeName, "type", "bridge").CombinedOutput(); err != nil {
		t.Skipf("no network namespaces here: ip link add: %s", out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", bridgeName).Run() })
	ip(t, "addr", "add", bridgeNetwork+"1/24", "dev", bridgeName)
	ip(t, "link", "set", bridgeName, "up")
	var all []string
	for i := range n {
		name := fmt.Sprintf("%s%d", bridgeName, i)
		ip(t, "netns", "add", name)
		t.Cleanup(func() {
			if pids, err := exec.Command("ip", "netns", "pids", name).Output(); err == nil {
				for pid := range strings.FieldsSeq(string(pids)) { // its epmd
					_ = exec.Command("kill", "-9", pid).Run()
				}
			}
			_ = exec.Command("ip", "netns", "del", name).Run()
		})
		outside := fmt.Sprintf("%sv%d", bridgeName, i)
		ip(t, "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", name)
		ip(t, "link", "set", outside, "master", bridgeName, "up")
		ip(t, "-n", name, "link", "set", "lo", "up")
		ip(t, "-n", name, "addr", "add", fmt.Sprintf("%s%d/24", bridgeNetwork, i+2), "dev", "eth0")
		ip(t, "-n", name, "link", "set", "eth0", "up")
		all = append(all, name)
	}
	return all
}

// A host that cannot reach another one, while the exporter and a third reach
// both: the nodes notice by their ticks, the graph shows a partition, and both
// have the alarm.
func TestPartitionBetweenNamespaces(t *testing.T) {
	spaces := namespaces(t, 3)
	names := make([]string, len(spaces))
	for i, space := range spaces {
		names[i] = fmt.Sprintf("ns%d@%s%d", i, bridgeNetwork, i+2)
		home := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(home, ".erlang.cookie"), []byte("spaces"), 0o400))
		script := "ok"
		if i > 0 {
			script = "true = net_kernel:connect_node('" + strings.Join(names[:i], "'), true = net_kernel:connect_node('") + "')"
		}
		p, err := proc.Start(proc.Command{
			Argv: []string{"ip", "netns", "exec", space, "erl", "-noinput", "-name", names[i],
				"-kernel", "net_ticktime", "4", "-kernel", "prevent_overlapping_partitions", "false",
				"-kernel", "dist_auto_connect", "never", "-eval", script + "."},
			Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}, Dir: home, Log: filepath.Join(home, "log"),
		})
		require.NoError(t, err)
		t.Cleanup(p.Kill)
		// The next one connects to it.
		require.Eventually(t, func() bool {
			out, _ := exec.Command("ip", "netns", "exec", space, "epmd", "-names").Output()
			return strings.Contains(string(out), fmt.Sprintf("name ns%d at", i))
		}, 30*time.Second, 50*time.Millisecond, "node %s does not start", names[i])
	}
	p := exportertest.Start(t, exportertest.Options{
		Config: fmt.Sprintf(`
name: erl_exporter@%s1
cookie_file: cookie
alarms: {rules: {partition_suspected: {critical: {for: 1s, clear_for: 1s}}}}
targets: [{name: spaces, family: spaces, connected_nodes: {}, static_configs: [{targets: [%q]}]}]
`, bridgeNetwork, names[0]),
		Files: map[string]string{"cookie": "spaces"},
	})
	for _, name := range names {
		p.AwaitUp(name, 30*time.Second)
	}
	requireLinks(t, p, "a full mesh", func(links []client.GraphLink) bool {
		return len(links) == 3 && !slices.ContainsFunc(links, func(l client.GraphLink) bool {
			return l.Status != "connected" || len(l.SeenBy) != 2
		})
	})

	ip(t, "-n", spaces[0], "route", "add", "blackhole", bridgeNetwork+"3/32")
	requireLinks(t, p, "the partition", func(links []client.GraphLink) bool {
		return slices.ContainsFunc(links, func(l client.GraphLink) bool {
			return l.A == names[0] && l.B == names[1] && l.Status != "connected" && l.Partition
		})
	})
	for _, x := range awaitPartitions(t, p, 2) {
		require.Contains(t, names[:2], x.Node)
		require.Contains(t, x.Description, names[0])
		require.Contains(t, x.Description, names[1])
	}
	for _, name := range names {
		n, _ := p.Node(name)
		require.Equal(t, client.StateUp, n.State, "the exporter reaches all")
	}

	ip(t, "-n", spaces[0], "route", "del", "blackhole", bridgeNetwork+"3/32")
	p.Stop()
}
