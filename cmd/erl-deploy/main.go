// Command erl-deploy deploys families of Erlang nodes to hosts, from an
// uploaded release to UP in erl-exporter: as a server with an API, as a client
// of one, or by itself.
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
	"golang.org/x/term"

	"github.com/erlops/erlops/deployer/fleet"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	p := &program{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, now: time.Now, open: open,
		interactive: term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())),
		live:        term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("TERM") != "dumb",
		width:       terminalWidth,
	}
	code := p.run(ctx, os.Args)
	stop()
	os.Exit(code)
}

func terminalWidth() int {
	if width, _, err := term.GetSize(int(os.Stderr.Fd())); err == nil && width > 0 {
		return width
	}
	return 80
}

// The exit codes, for scripts. They are in docs/deploy.md.
const (
	exitOK           = 0
	exitFailed       = 1
	exitUsage        = 2
	exitNotFound     = 3
	exitRefused      = 4 // the request is wrong, or the state does not allow it
	exitUnreachable  = 5
	exitNodes        = 6 // nodes ended in ERROR, or doctor found something
	exitNotConfirmed = 7
	exitChanges      = 8 // plan --exit-code found changes
	exitInterrupted  = 130
)

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }

func (e *exitError) Unwrap() error { return e.err }

// usagef is a wrong call.
func usagef(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func exitCode(err error) int {
	var own *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &own):
		return own.code
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, fleet.ErrNotFound):
		return exitNotFound
	case errors.Is(err, fleet.ErrConflict), errors.Is(err, fleet.ErrInvalid):
		return exitRefused
	case errors.Is(err, fleet.ErrUnavailable):
		return exitUnreachable
	}
	return exitFailed
}

// program is erl-deploy without the process around it.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	now            func() time.Time
	// open connects to a server, or opens the store for working alone.
	open func(c *cli.Context, p *program) (*connection, error)
	// interactive: somebody can be asked. live: standard error is a terminal
	// that lines can be drawn over on.
	interactive, live bool
	width             func() int
}

// run returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	app := p.app()
	err := app.RunContext(ctx, arrange(app, args))
	var own *exitError
	if err == nil {
		return exitOK
	}
	if !errors.As(err, &own) || own.err != nil {
		fmt.Fprintf(p.stderr, "erl-deploy: %v\n", err)
	}
	return exitCode(err)
}

func (p *program) app() *cli.App {
	app := &cli.App{
		Name:  "erl-deploy",
		Usage: "deploy families of Erlang nodes to hosts and watch them come up",
		UsageText: "erl-deploy [global options] COMMAND [options] [arguments]\n" +
			"\nWith --url the commands talk to a server (erl-deploy serve); without it they\n" +
			"work by themselves on the store of the configuration.",
		Version:                   version.Info(),
		Flags:                     globalFlags(),
		Commands:                  p.commands(),
		EnableBashCompletion:      true,
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true,
		Writer:                    p.stdout,
		ErrWriter:                 p.stderr,
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              wrongUsage,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("unknown command %q; see erl-deploy --help", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
	prepare(app.Commands)
	return app
}

// prepare gives all commands what they have in common.
func prepare(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError, c.HideHelpCommand = wrongUsage, true
		if len(c.Subcommands) > 0 {
			prepare(c.Subcommands)
			c.Action = needSubcommand
		}
	}
}

func wrongUsage(_ *cli.Context, err error, _ bool) error { return &exitError{exitUsage, err} }

func needSubcommand(c *cli.Context) error {
	if c.Args().Present() {
		return usagef("%q has no command %q; see erl-deploy %s --help", c.Command.Name, c.Args().First(), c.Command.Name)
	}
	return cli.ShowSubcommandHelp(c)
}

func (p *program) commands() []*cli.Command {
	return []*cli.Command{
		p.serveCommand(),
		p.providerCommand(), p.releaseCommand(), p.familyCommand(), p.nodeCommand(),
		p.deployCommand(), p.startCommand(), p.stopCommand(), p.restartCommand(), p.deleteCommand(), p.cancelCommand(),
		p.planCommand(), p.applyCommand(),
		p.statusCommand(), p.eventsCommand(), p.doctorCommand(), p.gcCommand(),
		p.completionCommand(),
	}
}
