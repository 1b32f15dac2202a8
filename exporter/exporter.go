// Package exporter is the whole of erl-exporter: it wires discovery, the fleet
// of nodes, the pages and the API together.
package exporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/api"
	"github.com/erlops/erlops/exporter/config"
	"github.com/erlops/erlops/exporter/discovery"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/exporter/node"
	"github.com/erlops/erlops/exporter/sink/graphite"
	"github.com/erlops/erlops/exporter/store"
	"github.com/erlops/erlops/exporter/topology"
	"github.com/erlops/erlops/exporter/web"
)

// DefaultListenAddress is where the exporter listens when it is not told.
const DefaultListenAddress = web.DefaultListenAddress

// Options of an Exporter. Either ConfigFile or Nodes is needed.
type Options struct {
	// ConfigFile is read at start and at every reload.
	ConfigFile string
	// Nodes, CookieFile, EPMD and Name are a configuration without a file; see
	// config.Flags.
	Nodes      []string
	CookieFile string
	EPMD       string
	Name       string

	// ListenAddresses, WebConfigFile and ExternalURL are those of web.Options.
	// Without addresses those of the configuration file count.
	ListenAddresses []string
	WebConfigFile   string
	ExternalURL     string

	// Logger is slog.Default() when nil.
	Logger *slog.Logger
}

// Exporter is a configured erl-exporter.
type Exporter struct {
	options Options
	logger  *slog.Logger

	network   *dist.Network
	store     *store.Store
	fleet     *node.Fleet
	alarms    *alarms
	topology  *topology.Topology
	logging   *logging
	commands  *commands
	discovery *discovery.Manager
	pages     *metrics.Handler
	graphite  *graphite.Pusher // nil without one
	api       *api.Server
	web       *web.Server
	health    *health

	// reloading makes reloads follow one another.
	reloading sync.Mutex
	mu        sync.Mutex
	config    *config.Config
}

// Check returns everything that is wrong with the configuration and with the
// web configuration file; nothing is started.
func Check(o Options) error {
	_, err := load(o)
	return err
}

// New reads the configuration, opens the database and the listeners and wires
// everything. Nothing is asked of any node before Run. An Exporter that does
// not get to run needs Close.
func New(o Options) (*Exporter, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	c, err := load(o)
	if err != nil {
		return nil, err
	}
	e := &Exporter{options: o, logger: o.Logger, config: c}
	registry := newRegistry()
	e.health = newHealth(registry)
	if err := e.wire(c, registry); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	e.health.loaded()
	return e, nil
}

// wire makes the components, those first that others need.
func (e *Exporter) wire(c *config.Config, registry *prometheus.Registry) error {
	var err error
	if e.network, err = dist.New(networkOptions(c, e.logger)); err != nil {
		return err
	}
	attacher, err := agent.New(agent.Options{
		Network: e.network, Logger: e.logger,
		Lease: duration(c.Timeouts.Lease), Renew: duration(c.Timeouts.Renew),
	})
	if err != nil {
		return err
	}
	if e.store, err = openStore(c); err != nil {
		return err
	}
	if e.alarms, err = newAlarms(c, e.store, e.logger, registry, e.health.hasTargets); err != nil {
		return err
	}
	if e.logging, err = newLogging(c, e.store, e.logger, registry); err != nil {
		return err
	}
	e.fleet, err = node.New(node.Options{
		Attach: func(ctx context.Context, t agent.Target) (node.Session, error) {
			s, err := attacher.Attach(ctx, t)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
		Store: e.store, Logger: e.logger, Registerer: registry,
		RetryMin: duration(c.Timeouts.RetryMin), RetryMax: duration(c.Timeouts.RetryMax),
		OnPulse: e.pulse, Sources: e.sources,
	})
	if err != nil {
		return err
	}
	if err := e.fleet.SetFamilies(familyPatterns(c)); err != nil {
		return err
	}
	if e.commands, err = newCommands(c, e.fleet, e.logger, registry); err != nil {
		return err
	}
	e.logging.fleet, e.logging.status = e.fleet, e.fleet.Node
	e.fleet.Apply(groups(c))
	e.topology, err = topology.New(topology.Options{
		Fleet: e.fleet, Store: e.store, Own: e.network.Name(), Logger: e.logger, Registerer: registry,
	})
	if err != nil {
		return err
	}
	e.alarms.watch(e.fleet, e.topology)
	e.discovery, err = discovery.New(discovery.Options{
		Groups: c.Discovery(), Logger: e.logger, Registerer: registry, EPMDNames: epmdNames,
	})
	if err != nil {
		return err
	}
	return e.wireHTTP(c, registry)
}

func (e *Exporter) wireHTTP(c *config.Config, registry *prometheus.Registry) error {
	settings, err := pageSettings(c, e.options.ExternalURL)
	if err != nil {
		return err
	}
	e.alarms.alerts.setURL(settings.ExternalURL)
	e.pages, err = metrics.New(metrics.Options{
		Settings: settings, Fleet: pageFleet{e}, Logger: e.logger, Registerer: registry,
	})
	if err != nil {
		return err
	}
	if e.graphite, err = newGraphite(c, e.pages, e.logging.sinks, e.logger, registry); err != nil {
		return err
	}
	watched, err := newLive(e.pages, e.logger, registry)
	if err != nil {
		return err
	}
	past, err := newPast(c)
	if err != nil {
		return err
	}
	e.api, err = api.New(api.Options{
		Backend: backend{e.fleet}, Alarms: alarmBackend{e.alarms.manager}, Topology: apiTopology{e.fleet, e.topology},
		Notifications: e.logging, Commands: e.commands, Live: liveBackend{watched, e.pages, e.fleet.Session}, Past: past,
		Logger: e.logger, Registerer: registry,
	})
	if err != nil {
		return err
	}
	e.web, err = web.New(e.webOptions(c, registry))
	return err
}

// Close releases what New has opened, for an Exporter that does not run.
func (e *Exporter) Close() error {
	var errs []error
	if e.web != nil {
		errs = append(errs, e.web.Close())
	}
	if e.logging != nil {
		errs = append(errs, e.logging.close())
	}
	if e.commands != nil {
		errs = append(errs, e.commands.audit.Close())
	}
	if e.store != nil {
		errs = append(errs, e.store.Close())
	}
	return errors.Join(errs...)
}

// Addresses returns where the exporter listens.
func (e *Exporter) Addresses() []net.Addr { return e.web.Addresses() }

// Run attaches the nodes and serves until ctx is done. It then leaves all nodes
// as they were before, which takes at most some seconds, and returns nil; or it
// returns the error of the first component that had to give up.
func (e *Exporter) Run(ctx context.Context) error {
	e.logger.Info("starting", "name", e.network.Name(), "addresses", fmt.Sprint(e.Addresses()), "storage", e.store.String())
	// The agents leave through the network: it goes last.
	networkCtx, stopNetwork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopNetwork()
	network := make(chan error, 1)
	queuesCtx, stopQueues := context.WithCancel(context.WithoutCancel(ctx))
	defer stopQueues()
	queues := make(chan error, 1)
	go func() { queues <- e.logging.runQueues(queuesCtx) }()
	group, groupCtx := errgroup.WithContext(ctx)
	go func() {
		err := e.network.Run(networkCtx)
		network <- err
	}()
	group.Go(func() error { return e.fleet.Run(groupCtx) })
	group.Go(func() error { return e.alarms.run(groupCtx) })
	group.Go(func() error { return e.topology.Run(groupCtx) })
	group.Go(func() error { return e.logging.follow(groupCtx) })
	group.Go(func() error { return e.logging.followAlarms(groupCtx, e.alarms.manager) })
	group.Go(func() error { return e.discovery.Run(groupCtx) })
	group.Go(func() error { return e.api.Run(groupCtx) })
	group.Go(func() error { return e.web.Run(groupCtx) })
	group.Go(func() error { return e.handOver(groupCtx) })
	if e.graphite != nil {
		group.Go(func() error { return e.graphite.Run(groupCtx) })
	}
	group.Go(func() error {
		select {
		case err := <-network:
			network <- nil
			return fmt.Errorf("the distribution network ended: %w", err)
		case <-groupCtx.Done():
			return nil
		}
	})
	err := group.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // it was told to end while it was still starting
	}
	// What the agents told last is in the queues now.
	stopQueues()
	stopNetwork()
	err = errors.Join(err, <-queues, <-network, e.commands.audit.Close(), e.store.Close())
	e.logger.Info("stopped")
	return err
}

// pulse takes the readings that the fleet takes by itself; it does not block.
func (e *Exporter) pulse(p node.Pulse) {
	e.alarms.pulse(p)
	e.topology.Pulse(p)
}

// sources are what nodes are to tell, as it happens or when they are asked.
func (e *Exporter) sources(n node.Ref) []agent.Source {
	return slices.Concat(e.alarms.sources.of(n), e.logging.sources(n), []agent.Source{agent.InventorySource(), agent.CommandSource()})
}

// handOver gives what discovery finds to the fleet.
func (e *Exporter) handOver(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case targets := <-e.discovery.Targets():
			e.fleet.SetTargets(targets)
			e.health.discovered()
		}
	}
}

// ready says why the exporter cannot be used yet.
func (e *Exporter) ready() error {
	switch {
	case !e.fleet.Ready():
		return errors.New("the database has not been read yet, or the exporter is stopping")
	case !e.health.hasTargets():
		return errors.New("discovery has not found its first targets yet")
	}
	return nil
}

// current returns the configuration in force.
func (e *Exporter) current() *config.Config {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.config
}
