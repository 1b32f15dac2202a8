// Command erl-exporter attaches to running Erlang nodes and exposes them to
// Prometheus. Its commands talk to an exporter that runs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/common/version"
	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/internal/clikit"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	p := &program{
		stdout: os.Stdout, stderr: os.Stderr, now: time.Now, getenv: os.Getenv,
		live: clikit.IsTerminal(os.Stdout),
		size: func() (width, height int) { return clikit.Size(os.Stdout) },
	}
	code := p.run(ctx, os.Args)
	stop()
	os.Exit(code)
}

// run is main without the process around it. Without a command it is the
// exporter, and returns 0 when it was stopped; the codes of the commands are in
// docs/cli.md.
func (p *program) run(ctx context.Context, args []string) int {
	app := p.app()
	err := app.RunContext(ctx, clikit.Arrange(app, args))
	if err != nil && !clikit.Silent(err) {
		report(p.stderr, err)
	}
	return clikit.Code(err)
}

// The groups of commands in the help.
const (
	clientCategory = "Talk to a running exporter"
	nodeCategory   = "Look at a node without an exporter"
)

func (p *program) app() *cli.App {
	app := &cli.App{
		Name:  "erl-exporter",
		Usage: "attach to running Erlang nodes and expose them to Prometheus",
		UsageText: "erl-exporter --config.file erl-exporter.yml\n" +
			"erl-exporter --node rabbit@host --cookie-file /var/lib/rabbitmq/.erlang.cookie\n" +
			"erl-exporter COMMAND [--url URL] [options] [arguments]",
		Version:              version.Info(),
		Flags:                flags(),
		Commands:             p.commands(),
		EnableBashCompletion: true,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return clikit.Usagef("unknown argument %q; see erl-exporter --help", c.Args().First())
			}
			return serve(c, p.stdout)
		},
		HideHelpCommand: true,
		// A node name or an address may hold a comma: one flag, one value.
		DisableSliceFlagSeparator: true,
		Writer:                    p.stdout,
		ErrWriter:                 p.stderr,
		ExitErrHandler:            func(*cli.Context, error) {},
	}
	clikit.Prepare(app.Commands)
	return app
}

// commands are all commands, in the order of the help. Each has a file of its
// own.
func (p *program) commands() []*cli.Command {
	return []*cli.Command{
		p.nodesCommand(),
		p.familiesCommand(),
		p.graphCommand(),
		p.agentsCommand(),
		p.alarmsCommand(),
		p.topCommand(),
		p.logsCommand(),
		p.logLevelCommand(),
		p.callCommand(),
		p.checkCommand(),
		p.probeCommand(),
		p.doctorCommand(),
		clikit.CompletionCommand("erl-exporter", p.stdout), clikit.ManCommand(p.stdout),
	}
}

// report prints one line for each problem that err holds.
func report(w io.Writer, err error) {
	if own, ok := errors.AsType[*clikit.ExitError](err); ok {
		err = own.Err
	}
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		for _, e := range many.Unwrap() {
			report(w, e)
		}
		return
	}
	fmt.Fprintf(w, "erl-exporter: %v\n", err)
}
