// Package deployer wires the deployer together: what it remembers, how it gets
// onto hosts, whom it asks, and the engine that does the work.
package deployer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erlops/erlops/deployer/api"
	"github.com/erlops/erlops/deployer/engine"
	"github.com/erlops/erlops/deployer/erlang"
	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/provider/ec2"
	"github.com/erlops/erlops/deployer/provider/openstack"
	"github.com/erlops/erlops/deployer/provider/physical"
	"github.com/erlops/erlops/deployer/release"
	"github.com/erlops/erlops/deployer/ssh"
	"github.com/erlops/erlops/deployer/store"
	"github.com/erlops/erlops/exporter/dist"
)

// Options say what a deployer works with. DataDir is needed.
type Options struct {
	// DataDir has the uploaded archives, and what else has no place of its
	// own. It is created, for its owner only.
	DataDir string
	// Storage is the path or URL of the database; empty for a SQLite file in
	// DataDir.
	Storage string
	// KeyFile has the age key that secrets are stored with; empty for one in
	// DataDir, which is made at first.
	KeyFile string
	// NodeName is what we call ourselves when we ask Erlang nodes; empty for
	// erl_deploy at this host.
	NodeName string
	// SSH says how to get onto hosts.
	SSH ssh.Options
	// Exporter is where nodes are registered; no URL, and nodes are UP when
	// they answer us.
	Exporter ExporterOptions
	// Providers are the kinds of providers; nil for those that are built in.
	Providers map[string]provider.Factory

	// Parallelism, Lease, TaskTimeout, StepTimeouts and MinOrphanAge are as in
	// engine.Options.
	Parallelism  int
	Lease        time.Duration
	TaskTimeout  time.Duration
	StepTimeouts map[fleet.StepName]time.Duration
	MinOrphanAge time.Duration

	Logger     *slog.Logger          // slog.Default()
	Registerer prometheus.Registerer // nil registers nothing
}

// Providers are the kinds of providers that are built in.
func Providers() map[string]provider.Factory {
	return map[string]provider.Factory{
		fleet.KindPhysical:      physical.New,
		ec2.Kind:                ec2.New,
		openstack.KindGeneric:   openstack.New,
		openstack.KindHP:        openstack.New,
		openstack.KindRackspace: openstack.New,
	}
}

// Deployer is a deployer. What is asked of its Backend is written down at once,
// and done while Run runs.
type Deployer struct {
	engine   *engine.Engine
	network  *dist.Network
	store    *store.Store
	key      *store.Key
	cleanups []cleanup // undone in reverse
}

type cleanup struct {
	name string
	run  func() error
}

var _ api.Backend = (*engine.Engine)(nil)

// New opens the database and checks the options. Close must be called, also
// after Run.
func New(ctx context.Context, o Options) (*Deployer, error) {
	if o.DataDir == "" {
		return nil, errors.New("deployer: Options.DataDir is missing")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	d := &Deployer{}
	if err := d.setUp(ctx, o); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Deployer) setUp(ctx context.Context, o Options) error {
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := d.openStore(ctx, o); err != nil {
		return err
	}
	archives, err := store.NewArchives(filepath.Join(o.DataDir, "archives"))
	if err != nil {
		return err
	}
	hosts, publicKey, err := d.openHosts(o)
	if err != nil {
		return err
	}
	asker, err := d.newAsker(o)
	if err != nil {
		return err
	}
	options := engine.Options{
		Store: d.store, Archives: archives, Providers: o.Providers, Erlang: asker, PublicKey: publicKey,
		OpenHost: func(ctx context.Context, l fleet.Login) (engine.Host, error) { return hosts.Open(ctx, l) },
		Environment: provider.Environment{
			Logger: o.Logger, Now: time.Now, Derive: d.key.Derive,
			OpenHost: func(ctx context.Context, l fleet.Login) (provider.Shell, error) { return hosts.Open(ctx, l) },
		},
		CheckArchive: checkArchive, CheckTemplates: checkTemplates,
		Parallelism: o.Parallelism, Lease: o.Lease, TaskTimeout: o.TaskTimeout, StepTimeouts: o.StepTimeouts, MinOrphanAge: o.MinOrphanAge,
		Logger: o.Logger, Registerer: o.Registerer,
	}
	if options.Providers == nil {
		options.Providers = Providers()
	}
	if o.Exporter.URL != "" {
		exporter, err := o.Exporter.open()
		if err != nil {
			return err
		}
		options.Monitor = exporter
		options.Checks = append(options.Checks, exporterCheck(o.Exporter.URL, exporter))
	}
	options.Checks = append(options.Checks, keyCheck(publicKey, o.SSH))
	d.engine, err = engine.New(options)
	return err
}

func (d *Deployer) openStore(ctx context.Context, o Options) error {
	path := o.Storage
	if path == "" {
		path = filepath.Join(o.DataDir, "erl-deploy.db")
	}
	load := store.LoadKey
	keyFile := o.KeyFile
	if keyFile == "" {
		keyFile, load = filepath.Join(o.DataDir, "key"), store.CreateKey
	}
	var err error
	if d.key, err = load(keyFile); err != nil {
		return err
	}
	if d.store, err = store.Open(ctx, store.Options{URL: path, Key: d.key}); err != nil {
		return err
	}
	d.cleanups = append(d.cleanups, cleanup{"storage", d.store.Close})
	return nil
}

func (d *Deployer) openHosts(o Options) (*release.Hosts, string, error) {
	if o.SSH.Logger == nil {
		o.SSH.Logger = o.Logger
	}
	dialer, err := ssh.New(o.SSH)
	if err != nil {
		return nil, "", err
	}
	publicKey, err := dialer.PublicKey()
	if err != nil {
		return nil, "", err
	}
	hosts, err := release.New(release.Options{Dial: dialer.Dial, PublicKey: publicKey, Logger: o.Logger})
	if err != nil {
		return nil, "", err
	}
	d.cleanups = append(d.cleanups, cleanup{"connections to hosts", hosts.Close})
	return hosts, publicKey, nil
}

func (d *Deployer) newAsker(o Options) (*erlang.Asker, error) {
	name := o.NodeName
	if name == "" {
		host, err := os.Hostname()
		if err != nil || !fleet.ValidHost(host) {
			host = "localhost"
		}
		name = "erl_deploy@" + host
	}
	var err error
	if d.network, err = dist.New(dist.Options{Name: name, Logger: o.Logger}); err != nil {
		return nil, err
	}
	return erlang.New(d.network), nil
}

func checkArchive(ctx context.Context, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = release.Check(ctx, f, info.Size(), release.Limits{})
	return refusal(err)
}

func checkTemplates(ctx context.Context, f *os.File, templates []string) ([]string, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	warnings, err := release.CheckTemplates(ctx, f, info.Size(), templates)
	return warnings, refusal(err)
}

// refusal makes what is wrong with an archive something that the user reads.
func refusal(err error) error {
	var permanent *fleet.PermanentError
	if errors.As(err, &permanent) && !errors.Is(err, fleet.ErrInvalid) {
		return fleet.Errorf(fleet.ErrInvalid, "%w", err)
	}
	return err
}

// Run does what there is to do until ctx is done. It is called once.
func (d *Deployer) Run(ctx context.Context) error {
	// The network outlives the engine: its last steps may still ask.
	network, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer leave()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	var networkErr error
	wg.Go(func() {
		networkErr = d.network.Run(network)
		stop()
	})
	err := d.engine.Run(ctx)
	leave()
	wg.Wait()
	return errors.Join(err, networkErr)
}

// Backend answers requests, also while Run does not run.
func (d *Deployer) Backend() api.Backend { return d.engine }

// idlePoll is how often WaitIdle looks.
const idlePoll = 200 * time.Millisecond

// WaitIdle returns when nothing is being done or waits to be done any more, or
// when ctx is done.
func (d *Deployer) WaitIdle(ctx context.Context) error {
	for {
		idle, err := d.engine.Idle(ctx)
		if err != nil || idle {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(idlePoll):
		}
	}
}

// Close gives everything back. Nothing of the deployer may be used afterwards.
func (d *Deployer) Close() error {
	var failures []error
	for _, c := range slices.Backward(d.cleanups) {
		if err := c.run(); err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", c.name, err))
		}
	}
	d.cleanups = nil
	return errors.Join(failures...)
}
