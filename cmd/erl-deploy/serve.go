package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/promslog"
	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/deployer"
	"github.com/erlops/erlops/deployer/api"
	"github.com/erlops/erlops/internal/clikit"
	"github.com/erlops/erlops/internal/httpd"
)

func (p *program) serveCommand() *cli.Command {
	return &cli.Command{
		Name: "serve", Usage: "serve the API and do the work",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "config.check", Usage: "check the configuration, print every problem and exit"},
			&cli.StringSliceFlag{Name: "web.listen-address", Usage: "`ADDRESS` to serve HTTP on; repeatable (default: " + defaultListenAddress + ")"},
			&cli.PathFlag{Name: "web.config.file", Usage: "`FILE` with TLS and basic authentication in the format of the exporter toolkit"},
			&cli.StringFlag{Name: "web.external-url", Usage: "`URL` under which others reach the server (default: as the request came)"},
		},
		Action: p.serve,
	}
}

func (p *program) logger(c *cli.Context, level string) (*slog.Logger, error) {
	config, err := p.logConfig(c, level)
	if err != nil {
		return nil, err
	}
	return promslog.New(config), nil
}

// serve runs until the context ends.
func (p *program) serve(c *cli.Context) error {
	if err := clikit.None(c); err != nil {
		return err
	}
	cfg, err := loadConfig(c.Path("config.file"))
	if err != nil {
		return err
	}
	overrideWeb(c, cfg)
	auth, err := cfg.auth()
	if err != nil {
		return err
	}
	options, err := cfg.options()
	if err != nil {
		return err
	}
	if c.Bool("config.check") {
		if err := httpd.Check(webOptions(cfg, auth)); err != nil {
			return err
		}
		fmt.Fprintln(p.stdout, "configuration is valid")
		return nil
	}
	level := "info"
	if c.IsSet("log.level") {
		level = c.String("log.level")
	}
	if options.Logger, err = p.logger(c, level); err != nil {
		return err
	}
	return runServer(c.Context, cfg, options, auth)
}

// webOptions are what the configuration says of the HTTP side.
func webOptions(cfg *config, auth httpd.Auth) httpd.Options {
	return httpd.Options{
		Program: "erl-deploy", Namespace: "erl_deploy", Auth: auth, Config: cfg.redacted,
		ListenAddresses: cfg.Web.ListenAddresses, ConfigFile: cfg.Web.ConfigFile, ExternalURL: cfg.Web.ExternalURL,
	}
}

// overrideWeb lets flags have the last word.
func overrideWeb(c *cli.Context, cfg *config) {
	if c.IsSet("web.listen-address") {
		cfg.Web.ListenAddresses = c.StringSlice("web.listen-address")
	}
	if c.IsSet("web.config.file") {
		cfg.Web.ConfigFile = c.Path("web.config.file")
	}
	if c.IsSet("web.external-url") {
		cfg.Web.ExternalURL = c.String("web.external-url")
	}
}

// runServer wires the deployer to its API and runs both until ctx is done, or
// one of them fails.
func runServer(ctx context.Context, cfg *config, options deployer.Options, auth httpd.Auth) (err error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("erl_deploy"))
	options.Registerer = registry
	d, err := deployer.New(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	a, err := api.New(api.Options{Backend: d.Backend(), Logger: options.Logger, Registerer: registry})
	if err != nil {
		return err
	}
	webOpts := webOptions(cfg, auth)
	webOpts.Routes, webOpts.Logger, webOpts.Registerer = a.Routes(), options.Logger, registry
	webOpts.Metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry, EnableOpenMetrics: true})
	web, err := httpd.New(webOpts)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	var workErr, webErr error
	wg.Go(func() {
		defer stop()
		workErr = d.Run(ctx)
	})
	wg.Go(func() {
		defer stop()
		webErr = web.Run(ctx)
	})
	wg.Go(func() {
		<-ctx.Done()
		a.Close() // streams would keep the server from shutting down
	})
	wg.Wait()
	return errors.Join(workErr, webErr)
}
