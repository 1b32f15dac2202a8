package command

import (
	"maps"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// runKey tells the runs apart that are counted together. The command is one of a
// list, and never what somebody has called.
type runKey struct {
	node, command string
	result        Outcome
}

// runs counts commands by node, and forgets nodes that nobody knows any more. It is
// safe for concurrent use.
type runs struct {
	nodes func() []Node
	desc  *prometheus.Desc

	mu     sync.Mutex
	counts map[runKey]float64
}

func newRuns(nodes func() []Node) *runs {
	return &runs{
		nodes: nodes, counts: map[runKey]float64{},
		desc: prometheus.NewDesc("erlang_exporter_commands_total", "Commands run on a node, by how they ended.",
			[]string{"node", "command", "result"}, nil),
	}
}

func (r *runs) add(node string, c Command, result Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[runKey{node, c.Name, result}]++
}

// Describe implements [prometheus.Collector].
func (r *runs) Describe(ch chan<- *prometheus.Desc) { ch <- r.desc }

// Collect implements [prometheus.Collector].
func (r *runs) Collect(ch chan<- prometheus.Metric) {
	known := map[string]bool{}
	for _, n := range r.nodes() {
		known[n.Name] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.counts, func(k runKey, _ float64) bool { return !known[k.node] })
	for k, n := range r.counts {
		ch <- prometheus.MustNewConstMetric(r.desc, prometheus.CounterValue, n, k.node, k.command, string(k.result))
	}
}
