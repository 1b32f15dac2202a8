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
	"github.com/erlops/erlops/internal/clikit"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	p := &program{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, now: time.Now, open: open,
		interactive: term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())),
	}
	if clikit.IsTerminal(os.Stderr) {
		p.screen = clikit.NewScreen(os.Stderr)
		p.stderr = p.screen
	}
	code := p.run(ctx, os.Args)
	stop()
	os.Exit(code)
}

// exitCode is for scripts; docs/deploy.md has the codes.
func exitCode(err error) int {
	code := clikit.Code(err)
	if code != clikit.ExitFailed {
		return code
	}
	switch {
	case errors.Is(err, fleet.ErrNotFound):
		return clikit.ExitNotFound
	case errors.Is(err, fleet.ErrConflict), errors.Is(err, fleet.ErrInvalid):
		return clikit.ExitRefused
	case errors.Is(err, fleet.ErrUnavailable):
		return clikit.ExitUnreachable
	}
	return code
}

// program is erl-deploy without the process around it.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	now            func() time.Time
	// open connects to a server, or opens the store for working alone.
	open        func(c *cli.Context, p *program) (*connection, error)
	interactive bool // somebody can be asked
	// screen is standard error where lines can be drawn over on it, or nil.
	screen *clikit.Screen
}

// run returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	app := p.app()
	err := app.RunContext(ctx, clikit.Arrange(app, args))
	if err != nil && !clikit.Silent(err) {
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
		OnUsageError:              clikit.WrongUsage,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return clikit.Usagef("unknown command %q; see erl-deploy --help", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
	clikit.Prepare(app.Commands)
	return app
}

func (p *program) commands() []*cli.Command {
	return []*cli.Command{
		p.serveCommand(),
		p.providerCommand(), p.releaseCommand(), p.familyCommand(), p.nodeCommand(),
		p.deployCommand(), p.startCommand(), p.stopCommand(), p.restartCommand(), p.deleteCommand(), p.cancelCommand(),
		p.planCommand(), p.applyCommand(),
		p.statusCommand(), p.eventsCommand(), p.doctorCommand(), p.gcCommand(),
		clikit.CompletionCommand("erl-deploy", p.stdout), clikit.ManCommand(p.stdout),
	}
}
