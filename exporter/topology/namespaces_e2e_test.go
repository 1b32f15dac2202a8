//go:build e2e

package topology_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/topology"
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
// both: the nodes notice by their ticks, and it is seen as a partition.
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
		require.True(t, awaited(func() bool {
			out, _ := exec.Command("ip", "netns", "exec", space, "epmd", "-names").Output()
			return strings.Contains(string(out), fmt.Sprintf("name ns%d at", i))
		}), "node %s does not start", names[i])
	}
	s := newSetting(t, "", "spaces", names[0])
	s.families = []node.FamilyPattern{{Nodes: "ns.*", Family: "spaces"}}
	w := s.start(t)
	w.awaitUp(t, names...)
	whole := func() bool {
		links := w.Graph().Links
		for _, l := range links {
			if l.Status != topology.LinkConnected || len(l.SeenBy) != 2 {
				return false
			}
		}
		return len(links) == 3
	}
	w.await(t, "a full mesh", whole)

	ip(t, "-n", spaces[0], "route", "add", "blackhole", bridgeNetwork+"3/32")
	w.await(t, "the partition", func() bool {
		l, ok := w.link(names[0], names[1])
		return ok && l.Status != topology.LinkConnected && l.Partition
	})
	require.Len(t, w.up(), 3, "the exporter reaches all")
	found := w.findings(topology.PartitionSuspected)
	require.Len(t, found, 1)
	require.Equal(t, []string{names[0], names[1]}, found[0].Nodes)

	ip(t, "-n", spaces[0], "route", "del", "blackhole", bridgeNetwork+"3/32")
	w.stop()
}
