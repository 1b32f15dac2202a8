package exporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/version"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/config"
	"github.com/erlops/erlops/exporter/logs"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/sink"
	"github.com/erlops/erlops/exporter/store"
)

const (
	// codeTicks is how many renewals of the lease there are between two looks
	// for loaded modules: 15 s.
	codeTicks = 5
	// maxSkew is how far the clock of a node, or the time that somebody gave an
	// entry, may be from ours: Loki refuses what is further in the future, and
	// what is an hour behind the stream.
	maxSkew = 5 * time.Minute
)

// logging takes what nodes log, and what happens to them, to where it is kept.
type logging struct {
	log    *logs.Log
	loki   *sink.Loki // nil without one
	sinks  *sink.Metrics
	queues []*sink.Queue
	logger *slog.Logger

	store  *store.Store
	status func(node string) (node.Status, bool)
	fleet  *node.Fleet // set before Run

	mu      sync.Mutex
	config  *config.Config
	levels  map[levelKey]string             // what people have set
	modules map[string][]agent.LoadedModule // of nodes, as far as they were told
}

// levelKey is a source of log entries on a node.
type levelKey struct{ node, source string }

func newLogging(c *config.Config, s *store.Store, logger *slog.Logger, r prometheus.Registerer) (*logging, error) {
	l := &logging{
		logger: logger, store: s, config: c,
		levels: map[levelKey]string{}, modules: map[string][]agent.LoadedModule{},
	}
	levels, err := s.LogLevels(context.Background())
	if err != nil {
		return nil, err
	}
	for _, set := range levels {
		l.levels[levelKey{set.Node, set.Source}] = set.Level
	}
	if err := l.openSinks(c, r); err != nil {
		return nil, err
	}
	sinks := make([]logs.Sink, len(l.queues))
	for i, q := range l.queues {
		sinks[i] = q
	}
	l.log, err = logs.New(logs.Options{Keep: c.Logs.Keep, Sinks: sinks, Registerer: r})
	return l, err
}

// openSinks makes a queue for each configured receiver.
func (l *logging) openSinks(c *config.Config, r prometheus.Registerer) error {
	metrics, err := sink.NewMetrics(r)
	if err != nil {
		return err
	}
	l.sinks = metrics
	labels := c.ExternalLabels
	open := func(name string, s sink.Sender, change func(*sink.Options)) error {
		o := sink.Options{Name: name, Sender: s, Metrics: metrics, MaxBytes: int64(c.Logs.Queue.Size), Logger: l.logger}
		if c.Logs.Queue.Path != "" {
			o.Dir = filepath.Join(c.Logs.Queue.Path, name)
		}
		if change != nil {
			change(&o)
		}
		q, err := sink.New(o)
		if err != nil {
			return fmt.Errorf("logs.queue: %w", err)
		}
		l.queues = append(l.queues, q)
		return nil
	}
	if loki := c.Logs.Loki; loki != nil {
		if l.loki, err = newLoki(loki, labels); err != nil {
			return err
		}
		if err := open("loki", l.loki, func(o *sink.Options) {
			o.BatchBytes, o.BatchWait, o.SendTimeout = int(loki.BatchSize), duration(loki.BatchWait), duration(loki.Timeout)
		}); err != nil {
			return err
		}
	}
	if file := c.Logs.File; file != nil {
		f, err := sink.NewFile(sink.FileOptions{
			RotatingOptions: sink.RotatingOptions{Path: file.Path, MaxBytes: int64(file.MaxSize), MaxFiles: file.MaxFiles}, Labels: labels,
		})
		if err != nil {
			return fmt.Errorf("logs.file: %w", err)
		}
		if err := open("file", f, nil); err != nil {
			return err
		}
	}
	if c.Logs.Stdout {
		if err := open("stdout", &sink.Stream{Writer: os.Stdout, Labels: labels}, nil); err != nil {
			return err
		}
	}
	if syslog := c.Logs.Syslog; syslog != nil {
		s, err := newSyslog(syslog, labels)
		if err != nil {
			return err
		}
		return open("syslog", s, nil)
	}
	return nil
}

func newLoki(c *config.LogLoki, external map[string]string) (*sink.Loki, error) {
	client, err := promconfig.NewClientFromConfig(c.HTTPClient, "loki")
	if err != nil {
		return nil, fmt.Errorf("logs.loki: %w", err)
	}
	labels := maps.Clone(external)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, c.Labels)
	return sink.NewLoki(sink.LokiOptions{
		URL: c.Server, Tenant: c.TenantID, Labels: labels, Client: client, UserAgent: "erl-exporter/" + version.Version,
	})
}

func newSyslog(c *config.LogSyslog, labels map[string]string) (*sink.Syslog, error) {
	o := sink.SyslogOptions{Address: c.Receiver, Facility: c.Facility, Labels: labels}
	if c.TLSConfig != nil {
		t, err := promconfig.NewTLSConfig(c.TLSConfig)
		if err != nil {
			return nil, fmt.Errorf("logs.syslog.tls_config: %w", err)
		}
		o.TLS = t
	}
	s, err := sink.NewSyslog(o)
	if err != nil {
		return nil, fmt.Errorf("logs.syslog: %w", err)
	}
	return s, nil
}

// runQueues delivers until ctx is done, and then what still waits.
func (l *logging) runQueues(ctx context.Context) error {
	errs := make(chan error, len(l.queues))
	for _, q := range l.queues {
		go func() { errs <- q.Run(ctx) }()
	}
	var first error
	for range l.queues {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// close closes queues that do not run.
func (l *logging) close() error {
	var errs []error
	for _, q := range l.queues {
		errs = append(errs, q.Close())
	}
	return errors.Join(errs...)
}

// follow makes notifications of what happens to nodes.
func (l *logging) follow(ctx context.Context) error {
	events, cancel := l.fleet.Subscribe()
	defer cancel()
	defer l.log.Close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			if !ok {
				return nil
			}
			l.nodeEvent(e)
		}
	}
}

// nodeEvent tells nodes that go up, or down after they were up.
func (l *logging) nodeEvent(e node.Event) {
	entry := logs.Entry{Time: e.Time, Node: e.Node, Family: e.Family, Source: logs.SourceNode, Level: logs.Notice}
	switch {
	case e.Type == node.EventRemoved:
		l.forget(e.Node)
		return
	case e.Type != node.EventState:
		return
	case e.State == node.Up:
		entry.Event, entry.Message = logs.EventUp, "node is up"
	case e.Previous == node.Up && e.State == node.Suspended:
		entry.Event, entry.Message = logs.EventDown, "node is suspended"
	case e.Previous == node.Up && e.State != node.Pending:
		entry.Event, entry.Level = logs.EventDown, logs.Error
		entry.Message = "node is down: " + logs.Clean(e.Reason)
	default:
		return
	}
	l.log.Publish(entry)
}

func (l *logging) forget(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.modules, name)
}

// sources are those that a node is attached with.
func (l *logging) sources(n node.Ref) []agent.Source {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []agent.Source
	if l.config.Logs.Enabled {
		all = append(all, agent.LogsSource(l.settings(n.Name, n.Group), func(e agent.LogEvent) { l.logEvent(n, e) }))
	}
	if l.config.Logs.Code {
		all = append(all, agent.CodeSource(codeTicks, func(_ string, at time.Time, m []agent.LoadedModule) { l.codeEvent(n, at, m) }))
	}
	return all
}

// settings are those of a node; the lock is held.
func (l *logging) settings(name, group string) agent.LogsConfig {
	level := func(source string) string {
		if set, ok := l.levels[levelKey{name, source}]; ok {
			return set
		}
		return string(l.config.LogLevelOf(group, source))
	}
	return agent.LogsConfig{
		Logger: level(config.LogSourceLogger), Lager: level(config.LogSourceLager),
		Rate: l.config.Logs.Rate, MessageBytes: int(l.config.Logs.MessageBytes),
	}
}

// apply puts another configuration in force: nodes whose levels are another are
// told so.
func (l *logging) apply(ctx context.Context, c *config.Config) {
	l.mu.Lock()
	old := l.config
	l.config = c
	l.mu.Unlock()
	if sameLevels(old, c) {
		return
	}
	for _, s := range l.fleet.Nodes() {
		if s.State == node.Up {
			if err := l.configure(ctx, s.Name, s.Group); err != nil {
				l.logger.Warn("the log level of a node could not be changed", "node", s.Name, "err", err)
			}
		}
	}
}

// sameLevels tells whether no node has to be told anything.
func sameLevels(a, b *config.Config) bool {
	if a.Logs.Rate != b.Logs.Rate || a.Logs.MessageBytes != b.Logs.MessageBytes {
		return false
	}
	groups := []string{node.DefaultGroup}
	for _, t := range slices.Concat(a.Targets, b.Targets) {
		groups = append(groups, t.Name)
	}
	for _, g := range groups {
		for _, s := range config.LogSources() {
			if a.LogLevelOf(g, s) != b.LogLevelOf(g, s) {
				return false
			}
		}
	}
	return true
}

// logSession is an attachment whose levels can be changed.
type logSession interface {
	ConfigureLogs(ctx context.Context, c agent.LogsConfig) error
}

func (l *logging) configure(ctx context.Context, name, group string) error {
	l.mu.Lock()
	settings := l.settings(name, group)
	l.mu.Unlock()
	s, err := l.fleet.Session(name)
	if err != nil {
		return err
	}
	ls, ok := s.(logSession)
	if !ok {
		return nil
	}
	return ls.ConfigureLogs(ctx, settings)
}
