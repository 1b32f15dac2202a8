//go:build e2e

package topology_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/topology"
	"github.com/erlops/erlops/internal/erltest"
)

// mesh starts nodes that are all connected to each other, and to nobody else.
func mesh(t *testing.T, epmd *erltest.EPMD, name, cookie string, size int) []*erltest.Node {
	t.Helper()
	nodes := make([]*erltest.Node, size)
	for i := range nodes {
		nodes[i] = byHand(t, erltest.Options{
			Name: fmt.Sprintf("%s_%d", name, i), EPMD: epmd, Cookie: cookie, Args: []string{"-connect_all", "false"},
		})
		for _, other := range nodes[:i] {
			connect(t, nodes[i], other)
		}
	}
	return nodes
}

func kill(t *testing.T, nodes ...*erltest.Node) {
	t.Helper()
	for _, n := range nodes {
		require.NoError(t, syscall.Kill(n.Pid, syscall.SIGKILL))
	}
}

// Twenty nodes in three meshes with two cookies, which a node of each joins to
// the next, are found from one of them while some die, and again after a
// restart.
func TestTwentyNodesInThreeMeshes(t *testing.T) {
	t.Parallel()
	epmd := erltest.StartEPMD(t)
	var one, two, three []*erltest.Node
	var started sync.WaitGroup
	started.Go(func() { one = mesh(t, epmd, "one", "cookie-x", 8) })
	started.Go(func() { two = mesh(t, epmd, "two", "cookie-x", 7) })
	started.Go(func() { three = mesh(t, epmd, "three", "cookie-y", 5) })
	started.Wait()
	require.False(t, t.Failed())
	connect(t, one[0], two[0])
	two[0].Eval(t, "erlang:set_cookie('"+three[0].Name+"', 'cookie-y')")
	connect(t, two[0], three[0])
	all := slices.Concat(one, two, three)
	require.Len(t, all, 20)

	s := newSetting(t, epmd.Address(), "", one[3].Name)
	s.rules.ForgetAfter = 3 * time.Second
	s.cookie = func(name string) string {
		if strings.HasPrefix(name, "three_") {
			return "cookie-y"
		}
		return "cookie-x"
	}
	w := s.start(t)
	// While the search goes on, a node of each mesh dies.
	w.await(t, "the search has begun", func() bool { return len(w.up()) >= 3 })
	dead := []*erltest.Node{one[5], two[5], three[3]}
	kill(t, dead...)
	living := slices.DeleteFunc(slices.Clone(all), func(n *erltest.Node) bool { return slices.Contains(dead, n) })
	w.awaitUp(t, names(living...)...)
	w.await(t, "the dead are forgotten", func() bool { return len(w.Nodes()) == len(living) })
	far, _ := w.Node(three[4].Name)
	require.Equal(t, 4, far.Found.Depth, "one_3, one_0, two_0, three_0, three_4")
	require.Equal(t, three[0].Name, far.Found.Via)
	w.await(t, "all links", func() bool { return len(w.Graph().Links) == 7*6/2+6*5/2+4*3/2+2 })
	require.Empty(t, w.findings(topology.PartitionSuspected))
	w.stop()

	w = s.start(t)
	w.awaitUp(t, names(living...)...)
	// The bridge breaks: both sides stay attached, and what hangs on nothing else
	// is not lost. A link that broke before anybody saw it would be none.
	w.await(t, "the bridge, seen from both ends", func() bool {
		l, ok := w.link(two[0].Name, three[0].Name)
		return ok && l.Status == topology.LinkConnected && len(l.SeenBy) == 2
	})
	require.Equal(t, "true", two[0].Eval(t, "erlang:disconnect_node('"+three[0].Name+"')"))
	w.await(t, "the broken bridge", func() bool {
		l, ok := w.link(two[0].Name, three[0].Name)
		return ok && l.Status == topology.LinkLost && l.Partition
	})
	w.awaitUp(t, names(living...)...)
	w.stop()

	// Two fleets with one cookie are kept apart by exclude; the wrong cookie is
	// refused.
	s = newSetting(t, epmd.Address(), "cookie-x", one[3].Name)
	s.rules.Exclude = []string{"two_.*"}
	w = s.start(t)
	w.await(t, "the first mesh alone", func() bool { return len(w.up()) == 7 && len(w.Nodes()) == 7 })
	w.stop()
	connect(t, two[0], three[0])
	s = newSetting(t, epmd.Address(), "cookie-x", two[0].Name)
	s.rules.Exclude = []string{"one_.*"}
	w = s.start(t)
	w.await(t, "a node with another cookie", func() bool {
		n, known := w.Node(three[0].Name)
		return known && n.State == node.Refused && n.LastErrorKind == "cookie" && len(w.up()) == 6
	})
	_, known := w.Node(three[1].Name)
	require.False(t, known, "nobody who is attached sees it")
}

// A cluster of three RabbitMQ nodes is found from one.
func TestRabbitMQClusterFromOneNode(t *testing.T) {
	t.Parallel()
	epmd := erltest.StartEPMD(t)
	const cookie = "RABBITCLUSTER"
	var nodes [3]*erltest.RabbitMQ
	for i := range nodes {
		nodes[i] = erltest.StartRabbitMQ(t, erltest.ServerOptions{Name: fmt.Sprintf("rabbit%d", i+1), Cookie: cookie, EPMD: epmd})
	}
	for _, n := range nodes[1:] {
		n.Eval(t, "begin rabbit:stop(), ok = rabbit_mnesia:join_cluster('"+nodes[0].Name+"', disc), ok = rabbit:start(), rabbit:await_startup() end")
	}
	s := newSetting(t, epmd.Address(), cookie, nodes[0].Name)
	w := s.start(t)
	w.awaitUp(t, nodes[0].Name, nodes[1].Name, nodes[2].Name)
	w.await(t, "one family and a full mesh", func() bool {
		for _, n := range w.Nodes() {
			if n.Family != "rabbit" {
				return false
			}
		}
		connected := 0
		for _, l := range w.Graph().Links {
			if l.Status == topology.LinkConnected && !l.Hidden && len(l.SeenBy) == 2 {
				connected++
			}
		}
		return connected == 3
	})
	require.Empty(t, w.findings(topology.PartitionSuspected))
	require.Empty(t, w.findings(topology.DifferentApplicationVersions))
	d, err := w.Diff(t.Context(), "rabbit")
	require.NoError(t, err)
	require.Len(t, d.Nodes, 3)
	for _, n := range d.Nodes {
		require.Empty(t, n.Error)
	}
	require.Empty(t, d.Modules)
	require.NotEmpty(t, difference(d.Environment, "dir").Variants, "each has its own directory")
}
