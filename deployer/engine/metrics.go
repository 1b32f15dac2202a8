package engine

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/store"
)

// scrapeTime bounds reading the fleet for a scrape.
const scrapeTime = 5 * time.Second

// metrics are what the engine tells Prometheus. What the database knows is
// read when it is asked for.
type metrics struct {
	steps     *prometheus.HistogramVec
	failures  *prometheus.CounterVec
	retries   *prometheus.CounterVec
	monitorUp prometheus.Gauge
	fleet     *fleetCollector
}

func newMetrics(e *Engine) *metrics {
	m := &metrics{
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "erl_deploy_step_duration_seconds",
			Help:    "Time from the first beginning of a step to its success, retries included.",
			Buckets: []float64{0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800},
			// Native histograms need no such guess.
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"step"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "erl_deploy_step_failures_total", Help: "Steps that failed for good.",
		}, []string{"step"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "erl_deploy_step_retries_total", Help: "Attempts at steps that failed and were tried again.",
		}, []string{"step"}),
		monitorUp: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "erl_deploy_exporter_up", Help: "Whether the exporter is being followed.",
		}),
		fleet: newFleetCollector(e),
	}
	for step := range DefaultStepTimeouts() {
		m.steps.WithLabelValues(string(step))
		m.failures.WithLabelValues(string(step))
		m.retries.WithLabelValues(string(step))
	}
	return m
}

func (m *metrics) register(r prometheus.Registerer) error {
	return errors.Join(r.Register(m.steps), r.Register(m.failures), r.Register(m.retries),
		r.Register(m.monitorUp), r.Register(m.fleet))
}

// fleetCollector reads nodes and tasks when it is asked.
type fleetCollector struct {
	e                      *Engine
	nodes, tasks, pendings *prometheus.Desc
}

func newFleetCollector(e *Engine) *fleetCollector {
	return &fleetCollector{
		e:     e,
		nodes: prometheus.NewDesc("erl_deploy_nodes", "Nodes by family, provider and state.", []string{"family", "provider", "state"}, nil),
		tasks: prometheus.NewDesc("erl_deploy_tasks", "Tasks that have not ended, by action.", []string{"action"}, nil),
		pendings: prometheus.NewDesc("erl_deploy_registrations_pending",
			"Nodes that the exporter has to be told of, or told to forget.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *fleetCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.nodes
	ch <- c.tasks
	ch <- c.pendings
}

// Collect implements prometheus.Collector.
func (c *fleetCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	err := c.e.db.View(ctx, func(tx *store.Tx) error { return c.collect(tx, ch) })
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.nodes, err)
	}
}

func (c *fleetCollector) collect(tx *store.Tx, ch chan<- prometheus.Metric) error {
	families, err := tx.Families()
	if err != nil {
		return err
	}
	nodes, err := tx.Nodes(fleet.NodeFilter{})
	if err != nil {
		return err
	}
	providers, err := tx.Providers()
	if err != nil {
		return err
	}
	tasks, err := tx.Tasks()
	if err != nil {
		return err
	}
	gone, err := tx.Deregistrations()
	if err != nil {
		return err
	}
	c.sendNodes(families, providers, nodes, ch)
	pending := len(gone)
	for _, n := range nodes {
		if n.Registration == fleet.RegistrationPending {
			pending++
		}
	}
	ch <- prometheus.MustNewConstMetric(c.pendings, prometheus.GaugeValue, float64(pending))
	byAction := map[fleet.Action]int{}
	for _, task := range tasks {
		byAction[task.Action]++
	}
	for _, a := range []fleet.Action{
		fleet.ActionDeploy, fleet.ActionStart, fleet.ActionStop, fleet.ActionRestart,
		fleet.ActionDelete, fleet.ActionForget, fleet.ActionPrepare, fleet.ActionRemove,
	} {
		ch <- prometheus.MustNewConstMetric(c.tasks, prometheus.GaugeValue, float64(byAction[a]), string(a))
	}
	return nil
}

// sendNodes gives every state of every domain a number, so that a state which
// no node is in any more goes to zero.
func (c *fleetCollector) sendNodes(families []fleet.Family, providers []fleet.Provider, nodes []fleet.Node, ch chan<- prometheus.Metric) {
	type key struct {
		family, provider string
		state            fleet.State
	}
	names := map[string]string{}
	for _, p := range providers {
		names[p.ID] = p.Name
	}
	count := map[key]int{}
	for _, f := range families {
		names[f.ID] = f.Name
		for _, d := range f.Domains {
			for _, s := range fleet.States() {
				count[key{f.Name, names[d.ProviderID], s}] = 0
			}
		}
	}
	for _, n := range nodes {
		count[key{names[n.FamilyID], names[n.ProviderID], n.State}]++
	}
	for k, n := range count {
		ch <- prometheus.MustNewConstMetric(c.nodes, prometheus.GaugeValue, float64(n), k.family, k.provider, string(k.state))
	}
}
