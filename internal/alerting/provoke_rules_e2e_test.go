//go:build e2e

package alerting

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// quick has everything looked at soon, and small things count as long.
const quick = `
metrics:
  scans: {interval: 10s}
  monitor: {long_gc: 5ms, long_schedule: 10ms, large_heap: 16MiB}
`

func TestProvokeFull(t *testing.T) {
	t.Parallel()
	provoke(t, quick, full(), "+P", "1024", "+Q", "1024", "+e", "2048", "+t", "65536")
}

func TestProvokeHeld(t *testing.T) {
	t.Parallel()
	provoke(t, quick, held())
}

func TestProvokeEvents(t *testing.T) {
	t.Parallel()
	provoke(t, quick, events())
}

func TestProvokeProcesses(t *testing.T) {
	t.Parallel()
	provoke(t, quick+"  vip: [shop]\n", processes())
}

// TestProvokeBusy runs beside no other: its nodes take all the time of two
// processors, and most others are to be quick.
func TestProvokeBusy(t *testing.T) { //nolint:paralleltest // see above
	provoke(t, quick, busy())
}

// provoke gives each provocation a node of its own.
func provoke(t *testing.T, head string, all []provocation, args ...string) {
	t.Helper()
	nodes := make([]*erltest.Node, len(all))
	var overrides strings.Builder
	for i, c := range all {
		nodes[i] = erltest.Start(t, erltest.Options{Args: append(args[:len(args):len(args)], c.args...)})
		out, err := exec.CommandContext(t.Context(), "prlimit", "--nofile=1500:1500", "--pid", strconv.Itoa(nodes[i].Pid)).CombinedOutput()
		require.NoError(t, err, string(out))
		nodes[i].Eval(t, "{ok, _} = application:ensure_all_started(sasl), "+shop)
		for _, x := range c.all() {
			if x.rule != "" {
				fmt.Fprintf(&overrides, "  - {nodes: [%q], rules: {%s: {%s}}}\n", nodes[i].Name, x.alarm, x.rule)
			}
		}
	}
	p := exportertest.Start(t, exportertest.Options{Config: config(t, head+"alarms:\n  overrides:\n"+overrides.String(), nodes...)})
	for _, n := range nodes {
		p.AwaitUp(n.Name, patience)
	}
	for i, c := range all {
		t.Run(c.alarm, func(t *testing.T) {
			t.Parallel()
			provokeOne(t, p, nodes[i], c)
		})
	}
}

// provokeOne raises and relieves what one provocation is about. What is compared
// with the reading before takes two.
func provokeOne(t *testing.T, p *exportertest.Process, n *erltest.Node, c provocation) {
	if c.within == 0 {
		c.within = 3 * time.Minute
	}
	query := func(x provocation) string { return "?name=" + x.alarm + "&node=" + n.Name }
	active := func(x provocation) []alarmOf { return alarms(t, p, query(x)) }
	await := func(what string, count int) {
		for _, x := range c.all() {
			reached := func() bool {
				all, err := tryAlarms(p, query(x))
				return err == nil && len(all) == count
			}
			require.Eventually(t, reached, c.within, 100*time.Millisecond,
				"%s is not %s", x.alarm, what)
		}
	}
	for _, x := range c.all() {
		require.Empty(t, active(x), "%s is not to be raised by itself", x.alarm)
	}
	var undo func()
	if c.hand != nil {
		undo = c.hand(t, n)
	}
	if c.raise != "" {
		n.Eval(t, c.raise)
	}
	await("raised", 1)
	for _, x := range c.all() {
		if x.key != "" {
			require.Equal(t, x.key, active(x)[0].Key, x.alarm)
		}
	}
	if c.relieve != "" {
		n.Eval(t, c.relieve)
	}
	if undo != nil {
		undo()
	}
	await("cleared", 0)
	for _, x := range c.all() {
		requireOnce(t, p, x.alarm, n.Name)
	}
}
