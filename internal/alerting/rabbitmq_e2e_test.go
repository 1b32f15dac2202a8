//go:build e2e

package alerting

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// TestRabbitMQAlarms has a cluster of two brokers block their publishers: each
// tells of itself alone, also after its application was started anew, and nothing
// stays on the nodes.
func TestRabbitMQAlarms(t *testing.T) {
	t.Parallel()
	epmd := erltest.StartEPMD(t)
	var brokers [2]*erltest.RabbitMQ
	for i := range brokers {
		brokers[i] = erltest.StartRabbitMQ(t, erltest.ServerOptions{Name: fmt.Sprintf("rabbit%d", i+1), Cookie: "RABBITALARMS", EPMD: epmd})
	}
	a, b := brokers[0], brokers[1]
	b.Eval(t, "begin rabbit:stop(), ok = rabbit_mnesia:join_cluster('"+a.Name+"', disc), ok = rabbit:start(), rabbit:await_startup() end")
	p := exportertest.Start(t, exportertest.Options{Config: config(t, "", a.Node, b.Node)})
	for _, n := range brokers {
		p.AwaitUp(n.Name, patience)
	}
	active := func() []string {
		all, err := tryAlarms(p, "?name=resource_limit")
		if err != nil {
			return []string{err.Error()}
		}
		names := []string{}
		for _, x := range all {
			names = append(names, x.Node+" "+x.Key+" "+x.Severity)
		}
		slices.Sort(names)
		return names
	}
	require.Empty(t, active())
	block := func(n *erltest.RabbitMQ) {
		n.Eval(t, "ok = vm_memory_monitor:set_vm_memory_high_watermark({absolute, 1000000})")
	}
	block(a)
	is := func(want ...string) {
		t.Helper()
		require.Eventually(t, func() bool { return slices.Equal(active(), want) }, patience, 100*time.Millisecond, "%v, wanted %v", active(), want)
	}
	one, two := a.Name+" {memory,"+a.Name+"} critical", b.Name+" {memory,"+b.Name+"} critical"
	is(one)
	block(b)
	is(one, two)
	a.Eval(t, "begin rabbit:stop(), ok = rabbit:start(), rabbit:await_startup(), vm_memory_monitor:set_vm_memory_high_watermark(0.4) end")
	is(two)
	block(a)
	is(one, two)
	for _, n := range brokers {
		n.Eval(t, "ok = vm_memory_monitor:set_vm_memory_high_watermark(0.4)")
	}
	is()
	p.Stop()
	for _, n := range brokers {
		require.Eventually(t, func() bool {
			return n.Eval(t, "[M || M <- [alarm_handler, rabbit_alarm], lists:keymember(erl_exporter_agent, 1, gen_event:which_handlers(M))]") == "[]"
		}, patience, 100*time.Millisecond)
	}
}
