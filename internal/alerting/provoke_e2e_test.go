//go:build e2e

package alerting

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// TestProvokeAlarmsOfNodes are about nodes as seen from outside.
func TestProvokeAlarmsOfNodes(t *testing.T) {
	t.Parallel()
	epmd := erltest.StartEPMD(t)
	args := []string{"-kernel", "prevent_overlapping_partitions", "false"}
	a := erltest.Start(t, erltest.Options{EPMD: epmd, Args: args})
	b := erltest.Start(t, erltest.Options{EPMD: epmd, Cookie: a.Cookie, Args: args})
	c := erltest.Start(t, erltest.Options{EPMD: epmd, Cookie: a.Cookie, Args: args})
	wrong := erltest.Start(t, erltest.Options{EPMD: epmd})
	for _, other := range []*erltest.Node{b, c} {
		require.Equal(t, "true", a.Eval(t, "net_kernel:connect_node('"+other.Name+"')"))
	}
	require.Equal(t, "true", b.Eval(t, "net_kernel:connect_node('"+c.Name+"')"))
	text := config(t, fmt.Sprintf(`- {name: wrong, cookie: wrong, epmd: %q, static_configs: [{targets: [%q]}]}
alarms:
  rules:
    node_down: {major: {for: 3s, clear_for: 0s}, critical: {enabled: false}}
    node_restarted: {warning: {clear_for: 5s}}
    agent_load_refused: {warning: {for: 0s}}
    partition_suspected: {critical: {for: 5s, clear_for: 5s}}
    different_application_versions: {minor: {for: 2s, clear_for: 0s}}
    application_not_running: {major: {for: 20s, clear_for: 0s}}
`, wrong.EPMD, wrong.Name), a, b, c)
	p := exportertest.Start(t, exportertest.Options{Config: text})
	for _, n := range []*erltest.Node{a, b, c} {
		p.AwaitUp(n.Name, patience)
	}
	require.Equal(t, wrong.Name, awaitAlarm(t, p, "agent_load_refused").Node)

	c.Kill()
	require.Equal(t, c.Name, awaitAlarm(t, p, "node_down").Node)
	c.Restart()
	for _, n := range []*erltest.Node{a, b} {
		require.Equal(t, "true", c.Eval(t, "net_kernel:connect_node('"+n.Name+"')"))
	}
	require.Equal(t, c.Name, awaitAlarm(t, p, "node_restarted").Node)
	p.AwaitUp(c.Name, patience)
	awaitNone(t, p, "node_down")
	awaitNone(t, p, "node_restarted")

	provokePartition(t, p, a, b)
	provokeApplications(t, p, a, b, c)

	p.Write("erl-exporter.yml", strings.Replace(text, "cookie: wrong,", fmt.Sprintf("cookie: %q,", wrong.Cookie), 1))
	p.Post("/-/reload", token)
	awaitNone(t, p, "agent_load_refused")
	requireShown(t, p)
}

// provokePartition keeps two nodes apart that have seen each other before.
func provokePartition(t *testing.T, p *exportertest.Process, a, b *erltest.Node) {
	t.Helper()
	require.Eventually(t, func() bool {
		page := p.Probe(a.Name, patience)
		return strings.Contains(page.Body, "erlang_vm_dist_node_state{peer=\""+b.Name+"\"} 3")
	}, patience, time.Second)
	suspected := func() bool { return len(alarms(t, p, "?name=partition_suspected")) > 0 }
	require.Eventually(t, func() bool {
		a.Eval(t, "erlang:disconnect_node('"+b.Name+"')")
		return suspected()
	}, 3*time.Minute, time.Second)
	a.Eval(t, "net_kernel:connect_node('"+b.Name+"')")
	require.Eventually(t, func() bool { return !suspected() }, 3*time.Minute, time.Second)
}

// provokeApplications has the last of three nodes run another version of an
// application than the others, and then none.
func provokeApplications(t *testing.T, p *exportertest.Process, a, b, c *erltest.Node) {
	t.Helper()
	start := func(n *erltest.Node, version string) {
		n.Eval(t, fmt.Sprintf(`application:unload(shop), ok = application:load({application, shop, [{vsn, "%s"}, {modules, []}, {registered, []},
			{applications, [kernel, stdlib]}]}), ok = application:start(shop)`, version))
	}
	start(a, "1.0")
	start(b, "1.0")
	start(c, "1.1")
	versions := awaitAlarm(t, p, "different_application_versions")
	require.Equal(t, []string{c.Name, "shop"}, []string{versions.Node, versions.Key})
	c.Eval(t, "application:stop(shop)")
	require.Equal(t, c.Name, awaitAlarm(t, p, "application_not_running").Node)
	awaitNone(t, p, "different_application_versions")
	start(c, "1.0")
	awaitNone(t, p, "application_not_running")
}
