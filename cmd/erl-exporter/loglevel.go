package main

import (
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/clikit"
)

func (p *program) logLevelCommand() *cli.Command {
	return &cli.Command{
		Name: "loglevel", Usage: "show from which level on log entries of a node are read, or change it", ArgsUsage: "NODE [LEVEL]",
		Category: clientCategory,
		Description: "LEVEL is emergency, alert, critical, error, warning, notice, info or debug, none to read\n" +
			"nothing, or default for what the configuration says. It is kept over restarts of the\n" +
			"exporter and of the node. The node's own log gets no more for it.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "source", Usage: "only of `SOURCE`: logger, lager (default: both)"},
		}, clientFlags()),
		BashComplete: p.completeNodes,
		Action:       p.with(p.logLevel),
	}
}

func (p *program) logLevel(c *cli.Context, e *connection) error {
	node, level := c.Args().Get(0), c.Args().Get(1)
	switch {
	case c.NArg() < 1 || c.NArg() > 2:
		return clikit.Usagef("%s: a node is needed and may be followed by a level, and there are %d arguments", c.Command.HelpName, c.NArg())
	case level == "" && c.IsSet("source"):
		return clikit.Usagef("%s: --source says what a level is set of, and there is none", c.Command.HelpName)
	case level == "":
		answer, err := e.GetLogLevelWithResponse(c.Context, node)
		if answer, err = ask(e, answer, err); err != nil {
			return err
		}
		return p.printLevels(c, answer.JSON200.Levels)
	}
	change := client.LogLevelChange{Level: client.LogLevelChangeLevel(level), Source: client.LogLevelChangeSource(c.String("source"))}
	answer, err := e.SetLogLevelWithResponse(c.Context, node, change)
	if answer, err = ask(e, answer, err); err != nil {
		return err
	}
	return p.printLevels(c, answer.JSON200.Levels)
}

func (p *program) printLevels(c *cli.Context, levels []client.LogLevelOfSource) error {
	return p.print(c, clikit.Listed(levels), func(w io.Writer) {
		clikit.Header(w, "SOURCE", "LEVEL", "SET BY")
		for _, l := range levels {
			by := clikit.Styled{Text: "loglevel", Style: clikit.Warn}
			if l.Default {
				by = clikit.Styled{Text: "configuration"}
			}
			clikit.Row(w, l.Source, l.Level, by)
		}
	})
}
