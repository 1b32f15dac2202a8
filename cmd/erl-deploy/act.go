package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/clikit"
)

// waitFlags are those of commands that begin something that takes long.
func waitFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "no-wait", Usage: "return at once; the server goes on"},
		&cli.DurationFlag{Name: "timeout", Value: 30 * time.Minute, Usage: "wait no longer than `TIME`"},
	}
}

func (p *program) deployCommand() *cli.Command {
	return &cli.Command{
		Name: "deploy", Usage: "deploy nodes of a family, nodes that failed first", ArgsUsage: "FAMILY",
		Flags: append([]cli.Flag{
			&cli.IntFlag{Name: "amount", Aliases: []string{"n"}, Value: 1, Usage: "deploy `N` nodes"},
			&cli.StringFlag{Name: "provider", Usage: "at `PROVIDER`; not needed when the family has one domain"},
			&cli.StringFlag{Name: "domain", Usage: "in the domain of that `ID`"},
			&cli.BoolFlag{Name: "stopped", Usage: "do not start them"},
			&cli.StringFlag{Name: "key", Usage: "a request repeated with the same `KEY` deploys nothing more"},
		}, waitFlags()...),
		Action: p.working(p.deploy),
	}
}

func (p *program) deploy(c *cli.Context, b *connection) error {
	family, err := clikit.One(c, "family")
	if err != nil {
		return err
	}
	w, err := p.newWatch(c, b)
	if err != nil {
		return err
	}
	nodes, err := b.Deploy(c.Context, fleet.DeployRequest{
		Family: family, Provider: c.String("provider"), Domain: c.String("domain"), Amount: c.Int("amount"),
		Stopped: c.Bool("stopped"), Continue: true, Key: c.String("key"),
	})
	if err != nil {
		return err
	}
	return p.finish(c, b, w, nodes)
}

// finish waits for nodes, unless told not to, and prints them.
func (p *program) finish(c *cli.Context, b *connection, w *watch, nodes []fleet.Node) error {
	var failed error
	if !c.Bool("no-wait") || b.alone {
		nodes, failed = w.wait(c.Context, nodes, c.Duration("timeout"))
		var own *clikit.ExitError
		if failed != nil && !errors.As(failed, &own) {
			return failed
		}
	}
	if len(nodes) == 0 && c.String("output") == clikit.FormatTable {
		return failed // all are gone, as was asked
	}
	if err := p.printNodes(c, b, nodes); err != nil {
		return err
	}
	return failed
}

// actCommand is a command for an action on nodes.
func (p *program) actCommand(name, usage string, action fleet.Action) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "NODE...",
		Flags: append([]cli.Flag{&cli.StringFlag{Name: "family", Usage: "all nodes of `FAMILY`"}}, waitFlags()...),
		Action: p.working(func(c *cli.Context, b *connection) error {
			nodes, err := p.chosen(c, b)
			if err != nil {
				return err
			}
			return p.act(c, b, nodes, action)
		}),
	}
}

func (p *program) startCommand() *cli.Command {
	return p.actCommand("start", "start nodes that are STOPPED or DOWN", fleet.ActionStart)
}

func (p *program) stopCommand() *cli.Command {
	return p.actCommand("stop", "stop nodes", fleet.ActionStop)
}

func (p *program) restartCommand() *cli.Command {
	return p.actCommand("restart", "stop nodes and start them again", fleet.ActionRestart)
}

func (p *program) deleteCommand() *cli.Command {
	command := p.actCommand("delete", "delete nodes: leave the family, stop, remove the files", fleet.ActionDelete)
	command.Flags = append(command.Flags, yesFlag(),
		&cli.BoolFlag{Name: "force", Usage: "forget nodes without touching their hosts, when these are gone for good"})
	command.Action = p.working(func(c *cli.Context, b *connection) error {
		nodes, err := p.chosen(c, b)
		if err != nil || len(nodes) == 0 {
			return err
		}
		action, verb := fleet.ActionDelete, "deleted, with all that is on them"
		if c.Bool("force") {
			action, verb = fleet.ActionForget, "forgotten; what is on their hosts stays"
		}
		word := "delete"
		if family := c.String("family"); family != "" {
			word = family
		} else if len(nodes) == 1 {
			word = clikit.Short(nodes[0].ID)
		}
		if err := p.confirm(c, fmt.Sprintf("%s will be %s", clikit.Count(len(nodes), "node"), verb), word); err != nil {
			return err
		}
		return p.act(c, b, nodes, action)
	})
	return command
}

func (p *program) cancelCommand() *cli.Command {
	return &cli.Command{
		Name: "cancel", Usage: "give up what is being done with nodes", ArgsUsage: "NODE...",
		Flags: []cli.Flag{&cli.StringFlag{Name: "family", Usage: "all nodes of `FAMILY`"}},
		Action: p.working(func(c *cli.Context, b *connection) error {
			nodes, err := p.chosen(c, b)
			if err != nil {
				return err
			}
			for i, n := range nodes {
				if n.Task == nil && c.String("family") != "" {
					continue
				}
				if nodes[i], err = b.Cancel(c.Context, n.ID); err != nil {
					return err
				}
			}
			return p.printNodes(c, b, nodes)
		}),
	}
}

// chosen returns the nodes that the arguments, or --family, name.
func (p *program) chosen(c *cli.Context, b *connection) ([]fleet.Node, error) {
	if ref := c.String("family"); ref != "" {
		if c.NArg() > 0 {
			return nil, clikit.Usagef("%s: give nodes or --family, not both", c.Command.HelpName)
		}
		family, err := b.Family(c.Context, ref)
		if err != nil {
			return nil, err
		}
		return b.Nodes(c.Context, fleet.NodeFilter{FamilyID: family.ID})
	}
	if c.NArg() == 0 {
		return nil, clikit.Usagef("%s: name nodes, or a --family", c.Command.HelpName)
	}
	var nodes []fleet.Node
	for _, ref := range c.Args().Slice() {
		n, err := b.Node(c.Context, ref)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// act asks for an action on each node, and waits. What one refuses does not
// keep it from being asked of the others.
func (p *program) act(c *cli.Context, b *connection, nodes []fleet.Node, action fleet.Action) error {
	w, err := p.newWatch(c, b)
	if err != nil {
		return err
	}
	w.goal = action
	var asked []fleet.Node
	var refused []error
	for _, n := range nodes {
		n, err := b.Act(c.Context, n.ID, action)
		if err != nil {
			refused = append(refused, err)
			continue
		}
		asked = append(asked, n)
	}
	if len(asked) > 0 || len(refused) == 0 {
		err = p.finish(c, b, w, asked)
	}
	return errors.Join(append(refused, err)...)
}

const timeFormat = "2006-01-02 15:04:05"

func (p *program) doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "look at hosts, keys, exporter and storage, and say what is wrong",
		Action: p.with(func(c *cli.Context, b *connection) error {
			if err := clikit.None(c); err != nil {
				return err
			}
			findings, err := b.Doctor(c.Context)
			if err != nil {
				return err
			}
			wrong := 0
			for _, f := range findings {
				if !f.OK {
					wrong++
				}
			}
			err = p.print(c, clikit.Listed(findings), func(w io.Writer) {
				for _, f := range findings {
					verdict := "ok"
					if !f.OK {
						verdict = "WRONG"
					}
					clikit.Row(w, verdict, f.Subject, f.Message)
				}
			})
			if err == nil && wrong > 0 {
				err = &clikit.ExitError{Code: clikit.ExitNodes, Err: fmt.Errorf("%d of %d checks found something wrong", wrong, len(findings))}
			}
			return err
		}),
	}
}

func (p *program) gcCommand() *cli.Command {
	return &cli.Command{
		Name: "gc", Usage: "find what this installation made and nobody needs",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "remove", Usage: "remove it"}, yesFlag(),
			&cli.DurationFlag{Name: "min-age", Usage: "spare what is younger than `TIME` (default: as configured)"},
		},
		Action: p.with(p.collect),
	}
}

func (p *program) collect(c *cli.Context, b *connection) error {
	if err := clikit.None(c); err != nil {
		return err
	}
	request := fleet.CollectRequest{MinAge: c.Duration("min-age")}
	orphans, err := b.Collect(c.Context, request)
	if needless := len(orphans) - unseen(orphans); err == nil && c.Bool("remove") && needless > 0 {
		if !c.Bool("yes") {
			w := clikit.NewTable(p.stderr, false)
			orphanTable(w, orphans)
			if err := w.Flush(); err != nil {
				return err
			}
		}
		if err := p.confirm(c, fmt.Sprintf("%s that nobody needs will be removed", clikit.Count(needless, "thing")), "remove"); err != nil {
			return err
		}
		request.Remove = true
		orphans, err = b.Collect(c.Context, request)
	}
	if err != nil {
		return err
	}
	if err := p.print(c, clikit.Listed(orphans), func(w io.Writer) { orphanTable(w, orphans) }); err != nil {
		return err
	}
	left := func(o fleet.Orphan) bool { return o.Kind != fleet.KindProvider && o.Error != "" }
	switch {
	case slices.ContainsFunc(orphans, left):
		return errors.New("not everything could be removed")
	case unseen(orphans) > 0:
		return &clikit.ExitError{Code: clikit.ExitUnreachable, Err: errors.New("not every provider could be looked at")}
	}
	return nil
}

// unseen counts the providers that could not be looked at.
func unseen(orphans []fleet.Orphan) (n int) {
	for _, o := range orphans {
		if o.Kind == fleet.KindProvider {
			n++
		}
	}
	return n
}

func orphanTable(w io.Writer, orphans []fleet.Orphan) {
	clikit.Row(w, "PROVIDER", "KIND", "ID", "NODE", "CREATED", "RESULT")
	for _, o := range orphans {
		result := o.Error
		if o.Removed {
			result = "removed"
		}
		created := ""
		if !o.CreatedAt.IsZero() {
			created = o.CreatedAt.Format(timeFormat)
		}
		clikit.Row(w, o.Provider, o.Kind, o.ID, clikit.Short(o.NodeID), created, result)
	}
}
