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
			&cli.StringFlag{Name: "epmd", Usage: "ask the epmd at `ADDRESS`: host:port, host, or :port of the node's own host"},
			&cli.StringFlag{Name: "cookie-ref", Usage: "use the cookie and the settings of `TARGET`, an entry of targets in the configuration"},
			&cli.PathFlag{Name: "cookie-file", Usage: "`FILE` with the node's own cookie, which the exporter stores encrypted"},
			&cli.StringSliceFlag{Name: "label", Usage: "add a label: `NAME=VALUE`; repeatable"},
			&cli.BoolFlag{Name: "discover-connected-nodes", Usage: "attach the nodes that it is connected to, too, and those that these are connected to"},
			&cli.StringSliceFlag{Name: "include", Usage: "of those only nodes whose whole name matches the regular expression `PATTERN`; repeatable"},
			&cli.StringSliceFlag{Name: "exclude", Usage: "not those whose whole name matches the regular expression `PATTERN`; repeatable"},
			&cli.IntFlag{Name: "max-depth", Usage: "at most `N` steps away (default: 8)"},
			&cli.IntFlag{Name: "max-nodes", Usage: "at most `N` nodes in all (default: 200)"},
			&cli.BoolFlag{Name: "hidden", Usage: "hidden nodes too"},
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
	connected, err := connectedNodes(c)
	if err != nil {
		return err
	}
	answer, err := e.AddNodeWithResponse(c.Context, client.NodeRegistration{
		Name: name, Family: c.String("family"), Address: c.String("address"), EPMD: c.String("epmd"),
		CookieRef: c.String("cookie-ref"), Cookie: client.Secret(cookie), Labels: labels,
		ConnectedNodes: connected,
	})
	if answer, err = ask(e, answer, err); err != nil {
		return err
	}
	n := *answer.JSON201
	return p.print(c, n, func(w io.Writer) { p.nodeFields(w, n) })
}

// connectedNodes are the rules for nodes that the new one is connected to; nil
// when they are not to be attached.
func connectedNodes(c *cli.Context) (*client.ConnectedNodes, error) {
	rules := &client.ConnectedNodes{
		Include: c.StringSlice("include"), Exclude: c.StringSlice("exclude"), Hidden: c.Bool("hidden"),
		MaxDepth: c.Int("max-depth"), MaxNodes: c.Int("max-nodes"),
	}
	if c.Bool("discover-connected-nodes") {
		return rules, nil
	}
	for _, name := range []string{"include", "exclude", "hidden", "max-depth", "max-nodes"} {
		if c.IsSet(name) {
			return nil, clikit.Usagef("--%s is for --discover-connected-nodes", name)
		}
	}
	return nil, nil
}
