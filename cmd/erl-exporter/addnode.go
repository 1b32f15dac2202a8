package main

import (
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/clikit"
)

func (p *program) addNodeCommand() *cli.Command {
	return &cli.Command{
		Name: "add", Usage: "add a node that discovery does not find; it is kept until it is removed", ArgsUsage: "NODE",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "family", Usage: "the `FAMILY` of the node (default: as found out from what it runs)"},
			&cli.StringFlag{Name: "address", Usage: "dial the node at `HOST:PORT`, without asking an epmd"},
			&cli.StringFlag{Name: "epmd", Usage: "ask the epmd at `ADDRESS`, host:port or host"},
			&cli.StringFlag{Name: "cookie-ref", Usage: "use the cookie and the settings of `TARGET`, an entry of targets in the configuration"},
			&cli.PathFlag{Name: "cookie-file", Usage: "`FILE` with the node's own cookie, which the exporter stores encrypted"},
			&cli.StringSliceFlag{Name: "label", Usage: "add a label: `NAME=VALUE`; repeatable"},
		}, clientFlags()),
		Action: p.with(p.addNode),
	}
}

func (p *program) addNode(c *cli.Context, e *connection) error {
	name, err := clikit.One(c, "node")
	if err != nil {
		return err
	}
	labels, err := clikit.Pairs("label", c.StringSlice("label"))
	if err != nil {
		return err
	}
	cookie, err := clikit.SecretFile("--cookie-file", c.Path("cookie-file"))
	if err != nil {
		return err
	}
	answer, err := e.AddNodeWithResponse(c.Context, client.NodeRegistration{
		Name: name, Family: c.String("family"), Address: c.String("address"), EPMD: c.String("epmd"),
		CookieRef: c.String("cookie-ref"), Cookie: client.Secret(cookie), Labels: labels,
	})
	if answer, err = ask(e, answer, err); err != nil {
		return err
	}
	n := *answer.JSON201
	return p.print(c, n, func(w io.Writer) { p.nodeFields(w, n) })
}
