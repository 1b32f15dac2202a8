// Command erl-deploy creates Erlang nodes and tells erl-exporter about them.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/prometheus/common/version"
	"github.com/urfave/cli/v2"
)

func main() {
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}

// run is main without the process around it: 0 on success, 1 on a wrong call.
func run(args []string, stdout, stderr io.Writer) int {
	app := &cli.App{
		Name:    "erl-deploy",
		Usage:   "provision families of Erlang nodes and register them with erl-exporter",
		Version: version.Info(),
		// The program has no commands yet, so anything but a flag is a mistake
		// that must not look like success.
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return fmt.Errorf("unknown command %q; this release of erl-deploy only knows --help and --version", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true,
		Writer:                    stdout,
		ErrWriter:                 stderr,
		ExitErrHandler:            func(*cli.Context, error) {},
	}
	if err := app.Run(args); err != nil {
		fmt.Fprintf(stderr, "erl-deploy: %v\n", err)
		return 1
	}
	return 0
}
