package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/clikit"
)

func (p *program) nodeCommand() *cli.Command {
	add, remove := p.deployCommand(), p.deleteCommand()
	add.Name, add.Usage = "add", "deploy nodes, as erl-deploy deploy does"
	remove.Name, remove.Aliases, remove.Usage = "remove", []string{"rm"}, "delete nodes, as erl-deploy delete does"
	return &cli.Command{
		Name: "node", Usage: "Erlang nodes that were, or are being, deployed",
		Subcommands: []*cli.Command{
			add,
			{Name: "list", Aliases: []string{"ls"}, Usage: "list nodes", Flags: filterFlags(), Action: p.with(p.listNodes)},
			{Name: "show", Usage: "show a node and what is being done with it", ArgsUsage: "NODE", Action: p.with(p.showNode)},
			remove,
		},
	}
}

func filterFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "family", Usage: "only nodes of `FAMILY`"},
		&cli.StringFlag{Name: "provider", Usage: "only nodes at `PROVIDER`"},
		&cli.StringSliceFlag{Name: "state", Usage: "only nodes in `STATE`; repeatable"},
	}
}

// filter makes a filter of the flags.
func filter(c *cli.Context, b *connection) (fleet.NodeFilter, error) {
	var f fleet.NodeFilter
	if ref := c.String("family"); ref != "" {
		family, err := b.Family(c.Context, ref)
		if err != nil {
			return f, err
		}
		f.FamilyID = family.ID
	}
	if ref := c.String("provider"); ref != "" {
		v, err := b.Provider(c.Context, ref)
		if err != nil {
			return f, err
		}
		f.ProviderID = v.ID
	}
	for _, text := range c.StringSlice("state") {
		state := fleet.State(strings.ToUpper(text))
		if !slices.Contains(stateNames(), string(state)) {
			return f, clikit.Usagef("--state %q is not one of %s", text, strings.Join(stateNames(), ", "))
		}
		f.States = append(f.States, state)
	}
	return f, nil
}

func stateNames() []string {
	var out []string
	for _, s := range fleet.States() {
		out = append(out, string(s))
	}
	return out
}

func (p *program) listNodes(c *cli.Context, b *connection) error {
	if err := clikit.None(c); err != nil {
		return err
	}
	f, err := filter(c, b)
	if err != nil {
		return err
	}
	nodes, err := b.Nodes(c.Context, f)
	if err != nil {
		return err
	}
	return p.printNodes(c, b, nodes)
}

func (p *program) printNodes(c *cli.Context, b *connection, nodes []fleet.Node) error {
	n, err := loadNames(c.Context, b)
	if err != nil {
		return err
	}
	return p.print(c, clikit.Listed(nodes), func(w io.Writer) { p.nodeTable(w, n, nodes) })
}

func (p *program) nodeTable(w io.Writer, names names, nodes []fleet.Node) {
	clikit.Row(w, "ID", "FAMILY", "STATE", "SINCE", "HOST", "PROVIDER", "DOING", "REASON")
	for _, n := range nodes {
		reason := ""
		if n.Reason != nil {
			reason = n.Reason.String()
		}
		clikit.Row(w, n.ID, names.family(n.FamilyID), n.State, clikit.Age(p.now(), n.Since), n.Host, names.providers[n.ProviderID], doing(n), reason)
	}
}

// doing says what is being done with a node.
func doing(n fleet.Node) string {
	if n.Task == nil {
		return ""
	}
	text := string(n.Task.Action)
	if step, ok := n.Task.Current(); ok {
		text += ": " + string(step.Name)
	}
	return text
}

func (p *program) showNode(c *cli.Context, b *connection) error {
	ref, err := clikit.One(c, "node")
	if err != nil {
		return err
	}
	n, err := b.Node(c.Context, ref)
	if err != nil {
		return err
	}
	names, err := loadNames(c.Context, b)
	if err != nil {
		return err
	}
	return p.print(c, n, func(w io.Writer) {
		clikit.Fields(w, "ID", n.ID, "Name", n.Name, "Family", names.family(n.FamilyID), "State", string(n.State),
			"Since", n.Since.Format(timeFormat), "Host", n.Host, "Provider", names.providers[n.ProviderID], "Machine", n.MachineID)
		if !n.Ports.IsZero() {
			clikit.Fields(w, "Ports", n.Ports.String())
		}
		clikit.Fields(w, "Archive", n.Archive.SHA256, "Exporter", string(n.Registration), "Doing", doing(n))
		if n.Reason != nil {
			clikit.Fields(w, "Reason", n.Reason.String())
			for line := range strings.Lines(n.Reason.Output) {
				clikit.Fields(w, "Output", line)
			}
		}
		for _, warning := range n.Warnings {
			clikit.Fields(w, "Warning", warning)
		}
		p.steps(w, n)
	})
}

func (p *program) steps(w io.Writer, n fleet.Node) {
	if n.Task == nil {
		return
	}
	for _, s := range n.Task.Steps {
		text := string(s.Status)
		if s.Attempts > 1 {
			text += fmt.Sprintf(", attempt %d", s.Attempts)
		}
		if s.Message != "" {
			text += ": " + s.Message
		}
		clikit.Fields(w, "Step "+string(s.Name), text)
	}
}
