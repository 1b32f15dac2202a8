package alerting

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/alarm"
	"github.com/erlops/erlops/internal/exportertest"
)

// scenes are the alarms that take more than one node, or more than one step, by
// the test that provokes them on real nodes; requireShown holds each to them.
func scenes() map[string][]string {
	return map[string][]string{
		"TestProvokeAlarmsOfNodes": {
			"node_down", "node_restarted", "agent_load_refused", "partition_suspected", "different_application_versions",
			"application_not_running",
		},
		"TestProvokeMnesia":       {"mnesia_inconsistent"},
		"TestProvokeDistribution": {"busy_dist_port", "dist_queue"},
		"TestProvokeClock":        {"time_diff"},
		"TestProvokeTimeZones":    {"time_zone_diff"},
		"TestProvokeShedding":     {"agent_self_shed"},
	}
}

// recorded are the alarms that no test can provoke, and why; TestRecorded plays
// to their rules what a real node told once, over hours.
func recorded() map[string]string {
	return map[string]string{
		"memory_growth":         "it looks at an hour of readings, which no hold time makes shorter",
		"binary_leak_suspected": "it looks at half an hour of readings, which no hold time makes shorter",
	}
}

// osMon are the alarms of the catalogue that os_mon raises.
func osMon() []string {
	return []string{"system_memory_high_watermark", "process_memory_high_watermark"}
}

// TestEveryAlarmIsShown has every built-in alarm either provoked on a real node
// or played from what one told, and says why.
func TestEveryAlarmIsShown(t *testing.T) {
	t.Parallel()
	shown := map[string]string{}
	show := func(name, by string) {
		require.NotContains(t, shown, name, "it is shown by %s too", by)
		shown[name] = by
	}
	for _, table := range [][]provocation{full(), held(), events(), processes(), busy(), slow()} {
		for _, c := range table {
			for _, x := range c.all() {
				show(x.alarm, "a table of provocations")
			}
		}
	}
	for test, names := range scenes() {
		for _, name := range names {
			show(name, test)
		}
	}
	for name, reason := range recorded() {
		require.NotEmpty(t, reason, name)
		show(name, "TestRecorded")
	}
	all := osMon()
	for _, r := range alarm.Rules() {
		all = append(all, r.ID)
	}
	for _, name := range all {
		require.Contains(t, shown, name, "no test provokes it: add it to a table of provocations, or say in recorded why that cannot be")
	}
	for name := range shown {
		require.True(t, slices.Contains(all, name), "there is no built-in alarm %s", name)
	}
}

// requireShown requires of a scene that its alarms were raised and cleared once.
func requireShown(t *testing.T, p *exportertest.Process) {
	t.Helper()
	names := scenes()[t.Name()]
	require.NotEmpty(t, names, "%s is not among the scenes", t.Name())
	for _, name := range names {
		requireOnce(t, p, name, "")
	}
}
