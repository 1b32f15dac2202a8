//go:build bench

package bench_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

const (
	idleBlocks, idleBlock = 40, 25
	busyBlocks, busyBlock = 20, 10
	warmUp                = 50
	sorters               = 8
	// budget of a comparison on a machine that is slow or has other work, and
	// how many blocks there are at least.
	budget       = 25 * time.Second
	fewestBlocks = 4
)

// registerOwn gives prometheus.erl's collectors of the VM and Mnesia a registry
// of their own, which the plugin serves under its name. It counts scrapes in
// the same registry, so that needs the two metrics for it.
const registerOwn = `
	[prometheus_summary:declare([{name, Name}, {help, "Scrapes"}, {labels, ["registry", "content_type"]}, {registry, same_families}])
		|| Name <- [telemetry_scrape_duration_seconds, telemetry_scrape_size_bytes]],
	prometheus_registry:register_collectors(same_families, [
		prometheus_vm_memory_collector, prometheus_vm_statistics_collector, prometheus_vm_system_info_collector,
		prometheus_vm_msacc_collector, prometheus_vm_dist_collector, prometheus_mnesia_collector])`

// makeBusy starts processes that never wait.
const makeBusy = `[spawn(fun Sort() -> lists:sort([erlang:phash2({self(), N}) || N <- lists:seq(1, 1000)]), Sort() end)
	|| _ <- lists:seq(1, %d)], ok`

// comparison is one pair of pages.
type comparison struct {
	name     string
	theirs   string // path below the plugin's page
	collect  []string
	settings agent.Settings
	names    metrics.Names
	aims     map[string]string
}

// sameCollectors are those that prometheus.erl has too.
var sameCollectors = []string{
	snapshot.Memory, snapshot.Statistics, snapshot.SystemInfo, snapshot.Allocators, snapshot.MSAcc,
	snapshot.Distribution, snapshot.Mnesia,
}

func comparisons() []comparison {
	return []comparison{
		{
			name:   "same families, by default (allocators summed)",
			theirs: "/same_families", collect: sameCollectors,
			settings: agent.Settings{MSAcc: agent.MSAccOn}, names: metrics.NamesLegacy,
			aims: map[string]string{"median": "8 x", "reductions": "30 x", "run time": "8 x", "bytes": "20 x"},
		},
		{
			name:   "same families and series (allocators per instance)",
			theirs: "/same_families", collect: sameCollectors,
			settings: agent.Settings{MSAcc: agent.MSAccOn, AllocatorsPerInstance: true}, names: metrics.NamesLegacy,
		},
		{name: "whole pages, by default", names: metrics.NamesBoth},
	}
}

// TestPeer compares scrapes of one RabbitMQ by /probe and by its own plugin.
func TestPeer(t *testing.T) {
	rabbit := erltest.StartRabbitMQ(t, erltest.ServerOptions{Plugins: []string{"rabbitmq_prometheus"}})
	rabbit.Eval(t, registerOwn)
	about := strings.Trim(rabbit.Eval(t, `lists:flatten(io_lib:format("RabbitMQ ~s, Erlang/OTP ~s, ~b schedulers",
		[rabbit_misc:version(), erlang:system_info(otp_release), erlang:system_info(schedulers_online)]))`), `"`)
	a := attacher(t)
	for _, c := range comparisons() {
		theirs, own := c.run(t, a, rabbit, idleBlocks, idleBlock)
		c.report(fmt.Sprintf("%s, idle: %s; %d scrapes a side, in turns of %d", about, c.name, len(own.times), idleBlock), theirs, own)
	}
	rabbit.Eval(t, fmt.Sprintf(makeBusy, sorters))
	for _, c := range comparisons()[1:] {
		theirs, own := c.run(t, a, rabbit, busyBlocks, busyBlock)
		c.reportTimes(fmt.Sprintf("%s, all schedulers busy (%d processes that sort): %s; %d scrapes a side, in turns of %d",
			about, sorters, c.name, len(own.times), busyBlock), theirs, own)
	}
}

// run scrapes both sides in turns.
func (c comparison) run(t *testing.T, a *agent.Attacher, rabbit *erltest.RabbitMQ, blocks, size int) (theirs, own *side) {
	t.Helper()
	address, end := serve(t, a, rabbit.Node, c.settings, c.names)
	defer end()
	for _, name := range c.collect {
		address += "&collect[]=" + name
	}
	theirs, own = newSide(t, rabbit.MetricsURL+c.theirs), newSide(t, address)
	for range warmUp {
		theirs.scrape(t)
		own.scrape(t)
	}
	require.Contains(t, own.page, "\nerlang_up 1\n")
	require.Contains(t, theirs.page, "erlang_vm_memory_bytes_total")
	families := own.families()
	usual := restOf(t, rabbit.Node)
	for i, begun := 0, time.Now(); i < blocks && (i < fewestBlocks || time.Since(begun) < budget); i++ {
		theirs.block(t, rabbit.Node, usual, size)
		own.block(t, rabbit.Node, usual, size)
	}
	require.Equal(t, families, own.families(), "the exporter reads less than it did")
	return theirs, own
}

// reportTimes prints what a scrape waits.
func (c comparison) reportTimes(title string, theirs, own *side) {
	c.times(title, theirs, own).end()
}

func (c comparison) times(title string, theirs, own *side) table {
	tab := newTable(title, "plugin", "exporter", "ratio", "aim")
	for _, q := range []struct {
		name  string
		value float64
	}{{"10 %", 0.1}, {"median", 0.5}, {"99 %", 0.99}} {
		a, b, trip := quantile(theirs.times, q.value), quantile(own.times, q.value), quantile(own.trips, q.value)
		tab.row("time of a scrape, "+q.name, micros(a), micros(b), ratio(float64(a), float64(b)), c.aims[q.name])
		tab.row("of it for the node, "+q.name, micros(a), micros(trip), ratio(float64(a), float64(trip)), "")
	}
	return tab
}

// report prints all that is known. Of what the blocks cost, the median stands
// for all: something else on the machine, or the node's own housekeeping, is in
// some of them.
func (c comparison) report(title string, theirs, own *side) {
	tab := c.times(title, theirs, own)
	row := func(what string, a, b float64, format func(float64) string, aim string) {
		tab.row(what, format(a), format(b), ratio(a, b), aim)
	}
	duration := func(ns float64) string { return micros(time.Duration(ns)) }
	row("reductions on the node", quantile(theirs.reductions, 0.5), quantile(own.reductions, 0.5), count, c.aims["reductions"])
	row("run time on the node", float64(quantile(theirs.cpu, 0.5)), float64(quantile(own.cpu, 0.5)), duration, c.aims["run time"])
	row("bytes sent by the node", theirs.sent(), own.sent(), count, c.aims["bytes"])
	row("bytes of the page", float64(len(theirs.page)), float64(len(own.page)), count, "")
	tab.row("families", fmt.Sprint(theirs.families()), fmt.Sprint(own.families()), "", "")
	tab.row("series", fmt.Sprint(theirs.series()), fmt.Sprint(own.series()), "", "")
	tab.end()
}
