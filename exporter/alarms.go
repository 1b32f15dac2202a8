package exporter

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	promconfig "github.com/prometheus/common/config"
	"golang.org/x/sync/errgroup"

	"github.com/erlops/erlops/exporter/alarm"
	"github.com/erlops/erlops/exporter/config"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/sink/alertmanager"
	"github.com/erlops/erlops/exporter/store"
	"github.com/erlops/erlops/exporter/topology"
)

// tickInterval is how often the rules on the fleet are applied.
const tickInterval = 2 * time.Second

// alarms is all that there is of alarms: the manager, the rules, what nodes
// report themselves, and the way to Alertmanagers.
type alarms struct {
	fleet     *node.Fleet
	topology  *topology.Topology
	logger    *slog.Logger
	manager   *alarm.Manager
	evaluator *alarm.Evaluator
	sources   *alarmSources
	// known says whether discovery has found its first targets: before that, a
	// node that is missing is not gone.
	known   func() bool
	metrics *alertmanager.Metrics
	rules   prometheus.Gauge
	alerts  *alertSource

	mu sync.Mutex
	// pushing is what posts alerts now; nil while nobody is to.
	pushing *pushing
	config  *config.Config
	running context.Context // of run; nil before
}

// pushing is a notifier that runs.
type pushing struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func newAlarms(c *config.Config, s *store.Store, logger *slog.Logger, r prometheus.Registerer, known func() bool) (*alarms, error) {
	a := &alarms{logger: logger, known: known, config: c}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var err error
	a.manager, err = alarm.New(ctx, alarm.Options{
		Store: alarmStore{s}, Logger: logger, Registerer: r, Limits: c.Alarms.AlarmLimits(),
		Forward: func(ctx context.Context, x alarm.Alarm, cmd alarm.Command) error {
			return a.sources.forward(ctx, x, cmd)
		},
	})
	if err != nil {
		return nil, err
	}
	a.evaluator, err = alarm.NewEvaluator(alarm.EvaluatorOptions{Manager: a.manager, Settings: alarmSettings(c)})
	if err != nil {
		return nil, err
	}
	if a.metrics, err = alertmanager.NewMetrics(r); err != nil {
		return nil, err
	}
	a.rules = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "erlang_exporter_alarm_delivery_by_rules",
		Help: "1 when rules of Prometheus are to alert on erlang_exporter_alarm_active, 0 when the exporter posts alerts itself.",
	})
	if err := r.Register(a.rules); err != nil {
		return nil, err
	}
	a.alerts = newAlertSource(a.manager)
	a.sources = newAlarmSources(a.manager, logger)
	a.configure(c)
	return a, nil
}

// alarmSettings are the built-in alarms as they are configured.
func alarmSettings(c *config.Config) alarm.Settings {
	s := c.Alarms.AlarmSettings()
	s.VIP = c.Metrics.VIP
	return s
}

// watch says whose alarms they are; it is called once, before run.
func (a *alarms) watch(f *node.Fleet, t *topology.Topology) {
	a.topology = t
	a.fleet, a.sources.session, a.sources.status = f, f.Session, f.Node
}

// configure sets what may change while it runs, but for the Alertmanagers.
func (a *alarms) configure(c *config.Config) {
	a.manager.Apply(c.Alarms.AlarmLimits())
	a.evaluator.Apply(alarmSettings(c))
	a.sources.apply(c.Alarms)
	a.alerts.apply(c)
	a.rules.Set(1)
	if c.Pushes() {
		a.rules.Set(0)
	}
}

// apply puts a new configuration in force.
func (a *alarms) apply(c *config.Config) {
	a.configure(c)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.config = c
	if a.running != nil && a.running.Err() == nil {
		a.startPushing()
	}
}

// startPushing has the notifier of the configuration run in place of the one
// that runs; the lock is held.
func (a *alarms) startPushing() {
	if a.pushing != nil {
		a.pushing.cancel()
		<-a.pushing.done
		a.pushing = nil
	}
	if !a.config.Pushes() {
		return
	}
	n, err := a.notifier(a.config)
	if err != nil { // the configuration was checked
		a.logger.Error("alerts cannot be posted", "err", err)
		return
	}
	ctx, cancel := context.WithCancel(a.running)
	p := &pushing{cancel: cancel, done: make(chan struct{})}
	a.pushing = p
	go func() {
		defer close(p.done)
		_ = n.Run(ctx) // always nil
	}()
}

func (a *alarms) notifier(c *config.Config) (*alertmanager.Notifier, error) {
	o := alertmanager.Options{
		Source: a.alerts, Logger: a.logger, Metrics: a.metrics,
		Interval: duration(c.Alertmanager.Repeat), Silences: c.Alertmanager.SilenceOnAck,
		SilenceFor: duration(c.Alertmanager.SilenceFor), Owner: c.Name,
	}
	for _, e := range c.AlertmanagerEndpoints() {
		client, err := promconfig.NewClientFromConfig(e.Client, "alertmanager")
		if err != nil {
			return nil, fmt.Errorf("alertmanager %s: %w", e.URL.Redacted(), err)
		}
		o.Endpoints = append(o.Endpoints, alertmanager.Endpoint{URL: e.URL, Client: client, Timeout: e.Timeout})
	}
	return alertmanager.New(o)
}

// run applies the rules on the fleet, saves alarms and posts alerts until ctx
// is done.
func (a *alarms) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.manager.Run(ctx) })
	group.Go(func() error { return a.sources.run(ctx) })
	group.Go(func() error {
		a.follow(ctx)
		return nil
	})
	a.mu.Lock()
	a.running = ctx
	a.startPushing()
	a.mu.Unlock()
	err := group.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pushing != nil {
		a.pushing.cancel()
		<-a.pushing.done
	}
	return err
}

// follow tells the evaluator what happens to nodes.
func (a *alarms) follow(ctx context.Context) {
	events, cancel := a.fleet.Subscribe()
	defer cancel()
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if ok && e.Type == node.EventState && e.Previous == node.Up && e.State == node.Down {
				s, _ := a.fleet.Node(e.Node)
				a.evaluator.Lost(e.Node, s.LastErrorKind)
			}
		case <-ticker.C:
			if a.fleet.Ready() && a.known() {
				all := members(a.fleet.Nodes())
				a.evaluator.Tick(all, findings(a.topology.Findings()))
				a.touch(all)
			}
		}
	}
}

// touch tells active alarms what family and labels their nodes have by now.
func (a *alarms) touch(all []alarm.Member) {
	nodes := make(map[string]alarm.Node, len(all))
	for _, m := range all {
		nodes[m.Node.Name] = m.Node
	}
	for _, x := range a.manager.Active(alarm.Filter{}) {
		if n, ok := nodes[x.Node.Name]; ok {
			a.manager.Touch(x.Key(), n)
		}
	}
}

// pulse takes a reading that the fleet has taken by itself.
func (a *alarms) pulse(p node.Pulse) {
	if p.Err == nil {
		a.evaluator.Pulse(alarmNode(p.Node.Name, p.Node.Family, p.Node.Labels), p.Snapshot)
	}
}

func alarmNode(name, family string, labels map[string]string) alarm.Node {
	return alarm.Node{Name: name, Family: family, Labels: labels}
}

// findings are those that alarms are raised of, one for each node that has it.
// What differs inside a family and which node has what others have not, the
// rules find by themselves, from the same answers.
func findings(all []topology.Finding) []alarm.Finding {
	var list []alarm.Finding
	for _, f := range all {
		for _, name := range f.Nodes {
			x := alarm.Finding{Alarm: string(f.Kind), Node: name, Detail: f.Detail}
			switch f.Kind {
			case topology.PartitionSuspected:
				for _, other := range f.Nodes {
					if other != name {
						x.Instance = other
					}
				}
			case topology.TimeZoneDifference:
			default:
				continue
			}
			list = append(list, x)
		}
	}
	return list
}

// members are the nodes as the rules on the fleet see them.
func members(all []node.Status) []alarm.Member {
	list := make([]alarm.Member, len(all))
	for i, s := range all {
		list[i] = alarm.Member{
			Node: alarmNode(s.Name, s.Family, s.Labels), State: string(s.State),
			Reason: s.Reason, ErrorKind: s.LastErrorKind, Creation: s.Info.Creation, Started: s.Info.StartTime,
		}
		if s.Info.Applications != nil {
			list[i].Applications = make(map[string]string, len(s.Info.Applications))
			for _, x := range s.Info.Applications {
				list[i].Applications[x.Name] = x.Version
			}
		}
	}
	return list
}

// alarmStore is the store as the manager of alarms sees it.
type alarmStore struct{ store *store.Store }

func (s alarmStore) ActiveAlarms(ctx context.Context) ([]alarm.Alarm, error) {
	rows, err := s.store.ActiveAlarms(ctx)
	if err != nil {
		return nil, err
	}
	return loadedAlarms(rows)
}

func (s alarmStore) SaveAlarms(ctx context.Context, c alarm.Changes) error {
	changes := store.AlarmChanges{Gone: c.Gone}
	for _, part := range []struct {
		from []alarm.Alarm
		to   *[]store.Alarm
	}{{c.Active, &changes.Active}, {c.Cleared, &changes.Cleared}} {
		for i := range part.from {
			row, err := storedAlarm(&part.from[i])
			if err != nil {
				return err
			}
			*part.to = append(*part.to, row)
		}
	}
	return s.store.SaveAlarms(ctx, changes)
}

func (s alarmStore) ClearedAlarms(ctx context.Context, before alarm.Place, limit int) ([]alarm.Alarm, error) {
	rows, err := s.store.ClearedAlarms(ctx, before.ClearedAt, before.Occurrence, limit)
	if err != nil {
		return nil, err
	}
	return loadedAlarms(rows)
}

func (s alarmStore) TrimAlarms(ctx context.Context, before time.Time, keep int) error {
	return s.store.TrimAlarms(ctx, before, keep)
}

func storedAlarm(a *alarm.Alarm) (store.Alarm, error) {
	body, err := json.Marshal(a)
	if err != nil {
		return store.Alarm{}, fmt.Errorf("alarm %s: %w", a.ID, err)
	}
	return store.Alarm{
		ID: a.ID, Occurrence: a.Occurrence, Node: a.Node.Name, Name: a.Name,
		RaisedAt: a.Raised, ClearedAt: a.ClearedAt, Body: string(body),
	}, nil
}

func loadedAlarms(rows []store.Alarm) ([]alarm.Alarm, error) {
	all := make([]alarm.Alarm, len(rows))
	for i, r := range rows {
		if err := json.Unmarshal([]byte(r.Body), &all[i]); err != nil {
			return nil, fmt.Errorf("alarm %s in the database: %w", r.ID, err)
		}
		if !r.ClearedAt.IsZero() {
			// As the database sorts by it: to the millisecond.
			all[i].ClearedAt = r.ClearedAt
		}
	}
	return all, nil
}
