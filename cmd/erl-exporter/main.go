// Command erl-exporter attaches to running Erlang nodes and exposes them to
// Prometheus.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/common/version"
	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/exporter"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process around it: 0 when it was stopped, 1 when it
// could not start or had to give up.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := &cli.App{
		Name:      "erl-exporter",
		Usage:     "attach to running Erlang nodes and expose them to Prometheus",
		UsageText: "erl-exporter --config.file erl-exporter.yml\nerl-exporter --node rabbit@host --cookie-file /var/lib/rabbitmq/.erlang.cookie",
		Version:   version.Info(),
		Flags:     flags(),
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return fmt.Errorf("unknown argument %q; see erl-exporter --help", c.Args().First())
			}
			return serve(c, stdout)
		},
		HideHelpCommand: true,
		// A node name or an address may hold a comma: one flag, one value.
		DisableSliceFlagSeparator: true,
		Writer:                    stdout,
		ErrWriter:                 stderr,
		ExitErrHandler:            func(*cli.Context, error) {},
	}
	if err := app.RunContext(ctx, args); err != nil {
		report(stderr, err)
		return 1
	}
	return 0
}

// report prints one line for each problem that err holds.
func report(w io.Writer, err error) {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		for _, e := range many.Unwrap() {
			report(w, e)
		}
		return
	}
	fmt.Fprintf(w, "erl-exporter: %v\n", err)
}

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
	return exporter.Options{
		ConfigFile:      c.Path("config.file"),
		Nodes:           c.StringSlice("node"),
		CookieFile:      c.Path("cookie-file"),
		EPMD:            c.String("epmd"),
		Name:            c.String("name"),
		ListenAddresses: c.StringSlice("web.listen-address"),
		WebConfigFile:   c.Path("web.config.file"),
		ExternalURL:     c.String("web.external-url"),
		Logger:          promslog.New(logConfig),
	}, nil
}
