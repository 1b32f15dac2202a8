package engine_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
)

// portsOf returns what the nodes of a host were configured with.
func (w *world) portsOf(host string) []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []int
	for _, n := range w.host(host).nodes {
		all = append(all, n.port)
	}
	return all
}

// Nodes get ports that nothing else listens on, and keep them when they are
// deployed again while they run themselves.
func TestPortsOfOtherPrograms(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e, provider.Host{Name: "h1"})
		w.host("h1").listening = []int{22, 6000, 6002}
		_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.Name, Amount: 2})
		require.NoError(t, err)
		nodes := w.until(e, time.Minute, "both are UP", all(2, fleet.StateUp))
		require.ElementsMatch(t, []int{6001, 6003}, w.portsOf("h1"))
		stored := map[string]int{}
		for _, n := range nodes {
			stored[n.ID] = n.Ports.From
			require.Equal(t, []string{"a warning"}, n.Warnings)
		}
		require.ElementsMatch(t, []int{6001, 6003}, []int{nodes[0].Ports.From, nodes[1].Ports.From})

		for _, n := range nodes {
			_, err := e.Act(t.Context(), n.ID, fleet.ActionDeploy)
			require.NoError(t, err)
		}
		for _, n := range w.until(e, time.Minute, "both are UP again", all(2, fleet.StateUp)) {
			require.Equal(t, stored[n.ID], n.Ports.From, "a port that the node itself listens on is its own")
		}
	})
}

func TestNoFreePort(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e, provider.Host{Name: "h1"})
		h := w.host("h1")
		h.ends = true // as nodes do that cannot listen
		for port := 6000; port <= 6009; port++ {
			h.listening = append(h.listening, port)
		}
		_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.Name, Amount: 1})
		require.NoError(t, err)
		n := w.until(e, 10*time.Minute, "it failed", all(1, fleet.StateError))[0]
		require.Equal(t, 6000, n.Ports.From)
		require.Contains(t, n.Warnings, `another program of h1 listens on port 6000, and no port from 6000-6009 is free: widen the range of family "Shop Cluster"`)
		require.Contains(t, n.Reason.Message, "the node is not running, while another program listens on its port 6000: see its logs")
	})
}

// A family gets ports after a node of it was deployed without.
func TestPortsComeLater(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e, provider.Host{Name: "h1"})
		set := func(ports fleet.PortRange) {
			_, err := e.ChangeFamily(t.Context(), s.family.ID, func(f *fleet.Family) error { f.Ports = ports; return nil })
			require.NoError(t, err)
		}
		set(fleet.PortRange{})
		w.host("h1").ends = true
		_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.Name, Amount: 1})
		require.NoError(t, err)
		n := w.until(e, 10*time.Minute, "it failed", all(1, fleet.StateError))[0]
		require.True(t, n.Ports.IsZero())
		require.Equal(t, []string{"", ""}, w.variables(n, "dist_port_min", "dist_port_max"))

		set(fleet.PortRange{From: 6000, To: 6001})
		w.mu.Lock()
		w.host("h1").ends, w.host("h1").listening = false, []int{6000}
		w.mu.Unlock()
		_, err = e.Act(t.Context(), n.ID, fleet.ActionDeploy)
		require.NoError(t, err)
		n = w.until(e, time.Minute, "it is UP", all(1, fleet.StateUp))[0]
		require.Equal(t, fleet.PortRange{From: 6001, To: 6001}, n.Ports)
		require.Equal(t, []string{"6001", "6001"}, w.variables(n, "dist_port_min", "dist_port_max"))
	})
}

// variables returns what a node's templates were rendered with.
func (w *world) variables(n fleet.Node, names ...string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var values []string
	for _, name := range names {
		values = append(values, w.host(n.Host).nodes[n.ID].variables[name])
	}
	return values
}
