package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/prometheus/common/promslog"
	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/exporter"
)

// serve runs the exporter until the context ends, reloading on SIGHUP.
func serve(c *cli.Context, stdout io.Writer) error {
	opts, err := options(c)
	if err != nil {
		return err
	}
	if c.Bool("config.check") {
		if err := exporter.Check(opts); err != nil {
			return err
		}
		fmt.Fprintln(stdout, "configuration is valid")
		return nil
	}
	// Before anything that takes time: without somebody who waits for it, the
	// signal ends the process.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	e, err := exporter.New(opts)
	if err != nil {
		return err
	}
	go reloadOn(c.Context, hup, e)
	return e.Run(c.Context)
}

// reloadOn reloads the configuration at every signal until ctx is done. Reload
// logs its own outcome; the old configuration stays in force when it fails.
func reloadOn(ctx context.Context, hup <-chan os.Signal, e *exporter.Exporter) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			_ = e.Reload()
		}
	}
}

func options(c *cli.Context) (exporter.Options, error) {
	logConfig := &promslog.Config{Level: promslog.NewLevel(), Format: promslog.NewFormat(), Writer: c.App.ErrWriter}
	if err := logConfig.Level.Set(c.String("log.level")); err != nil {
		return exporter.Options{}, fmt.Errorf("--log.level: %w", err)
	}
	if err := logConfig.Format.Set(c.String("log.format")); err != nil {
		return exporter.Options{}, fmt.Errorf("--log.format: %w", err)
	}
	// The default of the flag is that of the exporter; said by hand it may
	// contradict the configuration.
	var addresses []string
	if c.IsSet("web.listen-address") {
		addresses = c.StringSlice("web.listen-address")
	}
	return exporter.Options{
		ConfigFile:      c.Path("config.file"),
		Nodes:           c.StringSlice("node"),
		CookieFile:      c.Path("cookie-file"),
		EPMD:            c.String("epmd"),
		Name:            c.String("name"),
		ListenAddresses: addresses,
		WebConfigFile:   c.Path("web.config.file"),
		ExternalURL:     c.String("web.external-url"),
		Logger:          promslog.New(logConfig),
	}, nil
}
