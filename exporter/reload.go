package exporter

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erlops/erlops/exporter/config"
)

// Reload reads the configuration file again and puts it in force: only nodes
// that it concerns are attached anew. When anything is wrong with it, all stays
// as it was. What needs a restart, and has changed, is an error too. The
// outcome is logged and shows in erlang_exporter_config_last_reload_successful.
func (e *Exporter) Reload() error {
	e.reloading.Lock()
	defer e.reloading.Unlock()
	if err := e.reload(); err != nil {
		e.health.failed()
		e.logger.Error("configuration was not reloaded; the old one stays in force", "err", err)
		return err
	}
	e.health.loaded()
	e.logger.Info("configuration reloaded")
	return nil
}

func (e *Exporter) reload() error {
	old := e.current()
	c, err := load(e.options)
	if err != nil {
		return err
	}
	if err := sameProcess(old, c); err != nil {
		return err
	}
	settings, err := pageSettings(c, e.options.ExternalURL)
	if err != nil {
		return err
	}
	c.KeepTLS(old)
	// Those that may refuse go first; the rest cannot fail.
	if err := e.web.Apply(webAuth(c)); err != nil {
		return err
	}
	if err := errors.Join(e.pages.Apply(settings), e.discovery.Apply(c.Discovery())); err != nil {
		return errors.Join(err, e.web.Apply(webAuth(old)))
	}
	e.alarms.apply(c)
	e.commands.runner.Apply(commandSettings(c))
	if err := e.fleet.SetFamilies(familyPatterns(c)); err != nil {
		return err
	}
	e.fleet.Apply(groups(c))
	// A node that does not answer must not hold up the reload.
	go e.logging.apply(context.Background(), c)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.config = c
	return nil
}

// sameProcess says what has changed that only a restart can put in force.
func sameProcess(old, c *config.Config) error {
	var problems config.Problems
	for _, p := range []struct {
		path    string
		changed bool
	}{
		{"name", old.Name != c.Name},
		{"web", !slices.Equal(old.Web.Listeners, c.Web.Listeners)},
		{"storage", old.Storage.Location != c.Storage.Location},
		{"secrets", old.Secrets.Identity != c.Secrets.Identity},
		{"timeouts", restartTimeouts(old) != restartTimeouts(c)},
		{"commands.audit", old.Commands.Audit != c.Commands.Audit},
		{"logs", !sameSinks(old.Logs, c.Logs)},
		{"prometheus", !reflect.DeepEqual(old.Prometheus, c.Prometheus)},
		{"graphite", !reflect.DeepEqual(old.Graphite, c.Graphite)},
		{"limits", old.Limits.Frame != c.Limits.Frame || old.Limits.Mailbox != c.Limits.Mailbox},
	} {
		if p.changed {
			problems = append(problems, config.Problem{Path: p.path, Message: "a change needs a restart of the exporter"})
		}
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// sameSinks tells whether two configurations differ only in what a reload can
// put in force: which entries are read.
func sameSinks(a, b config.Logs) bool {
	for _, l := range []*config.Logs{&a, &b} {
		l.Level, l.Levels, l.Rate, l.MessageBytes, l.Enabled, l.Code = "", nil, 0, 0, false, false
	}
	return reflect.DeepEqual(a, b)
}

// restartTimeouts are the timeouts but that of scrapes, which a reload changes.
func restartTimeouts(c *config.Config) config.Timeouts {
	t := c.Timeouts
	t.Scrape = 0
	return t
}

// health is what the exporter says about itself.
type health struct {
	successful  prometheus.Gauge
	successTime prometheus.Gauge
	targets     atomic.Bool
}

func newHealth(r prometheus.Registerer) *health {
	h := &health{
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "erlang_exporter_config_last_reload_successful",
			Help: "Whether the last attempt to load the configuration was successful.",
		}),
		successTime: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "erlang_exporter_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration was last loaded successfully, in seconds since 1970.",
		}),
	}
	r.MustRegister(h.successful, h.successTime)
	return h
}

func (h *health) loaded() {
	h.successful.Set(1)
	h.successTime.Set(float64(time.Now().UnixMilli()) / 1000)
}

func (h *health) failed()          { h.successful.Set(0) }
func (h *health) discovered()      { h.targets.Store(true) }
func (h *health) hasTargets() bool { return h.targets.Load() }

// reloadOverHTTP is Reload in the form of web.Options.
func (e *Exporter) reloadOverHTTP(context.Context) error {
	if e.options.ConfigFile == "" {
		return fmt.Errorf("there is no configuration file to reload: the exporter was started with flags only")
	}
	return e.Reload()
}
