//go:build e2e

package alerting

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// pair are two nodes that can be connected, with what a rule needs.
func pair(t *testing.T, args ...string) (a, b *erltest.Node) {
	t.Helper()
	epmd := erltest.StartEPMD(t)
	args = append(args, "-kernel", "prevent_overlapping_partitions", "false")
	a = erltest.Start(t, erltest.Options{EPMD: epmd, Args: args})
	b = erltest.Start(t, erltest.Options{EPMD: epmd, Cookie: a.Cookie, Args: args})
	return a, b
}

func connect(t *testing.T, a, b *erltest.Node) {
	t.Helper()
	require.Equal(t, "true", a.Eval(t, "net_kernel:connect_node('"+b.Name+"')"))
}

// TestProvokeMnesia has a cluster of Mnesia run in two parts.
func TestProvokeMnesia(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "mnesia")
	a, b := pair(t)
	connect(t, a, b)
	for _, n := range []*erltest.Node{a, b} {
		n.Eval(t, "ok = mnesia:start()")
	}
	a.Eval(t, "{ok, [_]} = mnesia:change_config(extra_db_nodes, ['"+b.Name+"']), {atomic, ok} = mnesia:create_table(shop, [{ram_copies, [node(), '"+b.Name+"']}]), ok")
	p := exportertest.Start(t, exportertest.Options{Config: config(t, "", a, b)})
	for _, n := range []*erltest.Node{a, b} {
		p.AwaitUp(n.Name, patience)
		subscribed := func() bool {
			return strings.Contains(p.Probe(n.Name, patience).Body, "\nerlang_mnesia_overload_events_total")
		}
		require.Eventually(t, subscribed, patience, time.Second)
	}
	a.Eval(t, "true = erlang:disconnect_node('"+b.Name+"')")
	for _, n := range []*erltest.Node{a, b} {
		require.Eventually(t, func() bool { return n.Eval(t, "length(mnesia:system_info(running_db_nodes))") == "1" }, patience, 50*time.Millisecond)
	}
	connect(t, a, b)
	for node, peer := range map[string]string{a.Name: b.Name, b.Name: a.Name} {
		active := func() []alarmOf { return alarms(t, p, "?name=mnesia_inconsistent&node="+node) }
		require.Eventually(t, func() bool { return len(active()) == 1 }, patience, 50*time.Millisecond)
		require.Equal(t, []string{peer, "critical"}, []string{active()[0].Key, active()[0].Severity})
		act(t, p, active()[0].ID, "clear", "the right half was chosen")
	}
	awaitNone(t, p, "mnesia_inconsistent")
	requireShown(t, p)
}

// TestProvokeDistribution has a peer that does not read.
func TestProvokeDistribution(t *testing.T) {
	t.Parallel()
	a, b := pair(t, "+zdbbl", "1024")
	connect(t, a, b)
	p := exportertest.Start(t, exportertest.Options{Config: config(t, `alarms:
  rules:
    busy_dist_port: {minor: {raise: 5, clear_for: 0s}}
    dist_queue: {minor: {for: 0s, clear_for: 0s}, major: {for: 0s, clear_for: 0s}}
`, a)})
	p.AwaitUp(a.Name, patience)
	b.Pause()
	a.Eval(t, "[spawn(fun() -> [{nobody, '"+b.Name+"'} ! binary:copy(<<0>>, 1000000) || _ <- [1, 2]] end) || _ <- lists:seq(1, 20)], ok")
	require.Equal(t, a.Name, awaitAlarm(t, p, "busy_dist_port").Node)
	require.Equal(t, b.Name, awaitAlarm(t, p, "dist_queue").Key)
	b.Continue()
	awaitNone(t, p, "dist_queue")
	require.Eventually(t, func() bool { return len(alarms(t, p, "?name=busy_dist_port")) == 0 }, 3*time.Minute, 100*time.Millisecond)
	requireShown(t, p)
}

// TestProvokeTimeZones has two nodes of a family in two time zones.
func TestProvokeTimeZones(t *testing.T) {
	t.Parallel()
	utc := erltest.Start(t, erltest.Options{Env: []string{"TZ=UTC0"}})
	tokyo := erltest.Start(t, erltest.Options{Env: []string{"TZ=JST-9"}})
	const rule = "alarms: {rules: {time_zone_diff: {warning: {for: 0s, clear_for: 0s}}}}\n"
	text := config(t, rule, utc, tokyo)
	require.Contains(t, text, tokyo.Name)
	p := exportertest.Start(t, exportertest.Options{Config: text})
	awaitAlarm(t, p, "time_zone_diff")
	// A node that is down may still be in its time zone; one that is not watched
	// does not count.
	p.Write("erl-exporter.yml", strings.Join(slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool {
		return strings.Contains(line, tokyo.Name)
	}), "\n"))
	p.Post("/-/reload", token)
	require.Eventually(t, func() bool { return len(alarms(t, p, "?name=time_zone_diff")) == 0 }, 4*time.Minute, 100*time.Millisecond)
	requireShown(t, p)
}

// TestProvokeClock has a node whose clock is set wrong, and right again.
func TestProvokeClock(t *testing.T) {
	t.Parallel()
	clock := erltest.NewClock(t)
	n := erltest.Start(t, erltest.Options{Env: clock.Env, Args: []string{"+C", "multi_time_warp"}})
	const rule = "alarms: {rules: {time_diff: {minor: {for: 0s, clear_for: 0s}, major: {for: 0s, clear_for: 0s}}}}\n"
	p := exportertest.Start(t, exportertest.Options{Config: config(t, rule, n)})
	p.AwaitUp(n.Name, patience)
	require.Empty(t, alarms(t, p, "?name=time_diff"))
	// The runtime system looks at the clock of the host once a minute.
	active := func(n int) func() bool {
		return func() bool {
			all, err := tryAlarms(p, "?name=time_diff")
			return err == nil && len(all) == n
		}
	}
	clock.Set(t, "+60")
	require.Eventually(t, active(1), 3*time.Minute, 100*time.Millisecond)
	require.Equal(t, "major", alarms(t, p, "?name=time_diff")[0].Severity)
	clock.Set(t, "+0")
	require.Eventually(t, active(0), 3*time.Minute, 100*time.Millisecond)
	requireShown(t, p)
}

// TestProvokeShedding has an agent that costs more than it may.
func TestProvokeShedding(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	text := config(t, "alarms: {rules: {agent_self_shed: {warning: {clear_for: 0s}}}}\n", n)
	p := exportertest.Start(t, exportertest.Options{Config: text + "agent: {reductions: 40000}\n"})
	p.AwaitUp(n.Name, patience)
	require.Eventually(t, func() bool { return len(alarms(t, p, "?name=agent_self_shed")) == 1 }, 3*time.Minute, 100*time.Millisecond)
	p.Write("erl-exporter.yml", text)
	p.Post("/-/reload", token)
	require.Eventually(t, func() bool { return len(alarms(t, p, "?name=agent_self_shed")) == 0 }, 3*time.Minute, 100*time.Millisecond)
	requireShown(t, p)
}
