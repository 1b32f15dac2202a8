package node

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/snapshot"
)

// budgetTime is what a budget is for.
const budgetTime = time.Minute

// governor keeps what readings cost a node within the budget that its agent
// has too (agent.Limits). Unlike the agent's, its account goes on over all
// sessions, and it is there where a node is read without an agent.
//
// When the budget of a minute is passed, it leaves out one collector of
// snapshot.ShedOrder, and another for each tenth of the budget on top of it.
// One comes back for each minute that needed at most half of the budget.
type governor struct {
	logger *slog.Logger
	now    func() time.Time

	mu     sync.Mutex
	budget spending
	used   spending // since the window began
	since  time.Time
	// last is the agent's own count of reductions at the last reading.
	last uint64
	// shed is how many collectors are left out, before how many were when the
	// window began, times how often one was.
	shed, before int
	times        uint64
	reason       string
}

// spending is what readings cost, or may cost.
type spending struct {
	reductions, bytes uint64
}

// start is called with each session, whose agent counts from zero.
func (g *governor) start(l agent.Limits) {
	l = l.WithDefaults()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.budget, g.last = spending{uint64(l.Reductions), uint64(l.Bytes)}, 0
	if g.since.IsZero() {
		g.since = g.now()
	}
}

// admit gives what may be asked of what was requested.
func (g *governor) admit(r snapshot.Request) snapshot.Request {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open()
	r.Without, r.Reason = snapshot.ShedOrder()[:g.shed], g.reason
	return r
}

// charge books a reading; reductions is the agent's count since its session
// began, which stands still while readings do not ask for it.
func (g *governor) charge(bytes int, reductions uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open()
	g.used.bytes += uint64(bytes)
	g.used.reductions += max(reductions, g.last) - g.last
	g.last = max(reductions, g.last)

	g.enforce("reductions", g.used.reductions, g.budget.reductions)
	g.enforce("bytes", g.used.bytes, g.budget.bytes)
}

// enforce leaves out what one part of the budget asks for; the lock is held.
func (g *governor) enforce(what string, used, budget uint64) {
	if used <= budget {
		return
	}
	tenths := min((used-budget)*10/budget, uint64(len(snapshot.ShedOrder())))
	due := min(g.before+1+int(tenths), len(snapshot.ShedOrder()))
	if due <= g.shed {
		return
	}
	g.times += uint64(due - g.shed)
	g.shed = due
	g.reason = fmt.Sprintf("left out because the node has cost more than its budget of %d %s a minute", budget, what)
	g.logger.Warn("the node has cost more than its budget and is asked for less",
		"left_out", snapshot.ShedOrder()[:due], "of", what, "budget", budget, "used", used)
}

// open begins a new window when the last one is over; the lock is held.
func (g *governor) open() {
	minutes := uint64(g.now().Sub(g.since) / budgetTime)
	if minutes == 0 {
		return
	}
	calm := g.used.reductions*2 <= g.budget.reductions*minutes && g.used.bytes*2 <= g.budget.bytes*minutes
	if calm && g.shed > 0 {
		g.shed -= int(min(minutes, uint64(g.shed)))
		g.logger.Info("the node is within its budget and is asked for more again", "left_out", snapshot.ShedOrder()[:g.shed])
	}
	g.since, g.used, g.before = g.now(), spending{}, g.shed
}

// collect gives the metrics of a node.
func (g *governor) collect(ch chan<- prometheus.Metric, node string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var reductions, bytes float64
	if !g.since.IsZero() {
		g.open()
		reductions = float64(g.used.reductions) / float64(g.budget.reductions)
		bytes = float64(g.used.bytes) / float64(g.budget.bytes)
	}
	ch <- prometheus.MustNewConstMetric(sheddingDesc, prometheus.GaugeValue, float64(g.shed), node)
	ch <- prometheus.MustNewConstMetric(shedDesc, prometheus.CounterValue, float64(g.times), node)
	ch <- prometheus.MustNewConstMetric(budgetDesc, prometheus.GaugeValue, reductions, node, "reductions")
	ch <- prometheus.MustNewConstMetric(budgetDesc, prometheus.GaugeValue, bytes, node, "bytes")
}
