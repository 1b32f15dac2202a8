package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/clikit"
)

func (p *program) familyCommand() *cli.Command {
	return &cli.Command{
		Name: "family", Usage: "sets of nodes that run the same release",
		Subcommands: []*cli.Command{
			{Name: "add", Usage: "add a family", ArgsUsage: "NAME", Action: p.with(p.addFamily), Flags: familyFlags()},
			{Name: "list", Aliases: []string{"ls"}, Usage: "list families", Action: p.with(p.listFamilies)},
			{Name: "show", Usage: "show a family", ArgsUsage: "FAMILY", Action: p.with(p.showFamily)},
			{
				Name: "remove", Aliases: []string{"rm"}, Usage: "remove a family", ArgsUsage: "FAMILY", Action: p.working(p.removeFamily),
				Flags: append([]cli.Flag{yesFlag(), &cli.BoolFlag{Name: "with-nodes", Usage: "delete its nodes first"}}, waitFlags()...),
			},
		},
	}
}

func familyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "release", Required: true, Usage: "`RELEASE` that its nodes run"},
		&cli.StringSliceFlag{Name: "domain", Required: true, Usage: "`provider=PROVIDER,ssh-user=USER[,image=IMAGE][,hardware=HARDWARE][,SETTING=VALUE]` to deploy to; repeatable"},
		&cli.StringFlag{Name: "firewall", Usage: "`RULES` such as tcp:4369:4369,tcp:6000:7999"},
		&cli.StringFlag{Name: "ports", Usage: "`FROM-TO` for distribution, such as 6000-7999"},
		&cli.IntFlag{Name: "epmd-port", Usage: "`PORT` of the nodes' epmd (default: 4369)"},
		&cli.StringFlag{Name: "bootstrap", Usage: "`COMMAND` by which a node joins, with the name of a node that is UP (default: connect over distribution)"},
		&cli.StringFlag{Name: "leave", Usage: "`COMMAND` that is run before a node is deleted"},
		&cli.BoolFlag{Name: "protected", Usage: "neither it nor its nodes can be deleted"},
		&cli.StringFlag{Name: "description", Usage: "`TEXT` for people"},
	}
}

func (p *program) addFamily(c *cli.Context, b *connection) error {
	name, err := clikit.One(c, "name")
	if err != nil {
		return err
	}
	release, err := b.Release(c.Context, c.String("release"))
	if err != nil {
		return err
	}
	f := fleet.Family{
		Name: name, Description: c.String("description"), ReleaseID: release.ID,
		EPMDPort: c.Int("epmd-port"), Protected: c.Bool("protected"),
		Bootstrap: fleet.Bootstrap{LeaveCommand: c.String("leave")},
	}
	if command := c.String("bootstrap"); command != "" {
		f.Bootstrap.Strategy, f.Bootstrap.Command = fleet.BootstrapCustom, command
	}
	if f.Firewall, err = fleet.ParseFirewall(c.String("firewall")); err != nil {
		return err
	}
	if f.Ports, err = parseRange(c.String("ports")); err != nil {
		return err
	}
	for _, text := range c.StringSlice("domain") {
		d, err := parseDomain(c, b, text)
		if err != nil {
			return err
		}
		f.Domains = append(f.Domains, d)
	}
	added, err := b.AddFamily(c.Context, f.WithDefaults())
	if err != nil {
		return err
	}
	return p.printFamily(c, b, added)
}

func parseRange(text string) (r fleet.PortRange, err error) {
	if text == "" {
		return r, nil
	}
	from, to, ok := strings.Cut(text, "-")
	r.From, err = strconv.Atoi(from)
	if err == nil {
		r.To, err = strconv.Atoi(to)
	}
	if !ok || err != nil {
		return r, clikit.Usagef("--ports %q is not FROM-TO", text)
	}
	return r, nil
}

func parseDomain(c *cli.Context, b *connection, text string) (fleet.Domain, error) {
	_, fields, err := parseFields(text, false, "provider", "ssh-user", "image", "hardware", anyKey)
	if err != nil {
		return fleet.Domain{}, err
	}
	v, err := b.Provider(c.Context, fields["provider"])
	d := fleet.Domain{ProviderID: v.ID, SSHUser: fields["ssh-user"], Image: fields["image"], Hardware: fields["hardware"]}
	for _, key := range []string{"provider", "ssh-user", "image", "hardware"} {
		delete(fields, key)
	}
	if len(fields) > 0 {
		d.Settings = fields
	}
	return d, err
}

func (p *program) listFamilies(c *cli.Context, b *connection) error {
	if err := clikit.None(c); err != nil {
		return err
	}
	families, err := b.Families(c.Context)
	if err != nil {
		return err
	}
	nodes, err := b.Nodes(c.Context, fleet.NodeFilter{})
	if err != nil {
		return err
	}
	return p.print(c, clikit.Listed(families), func(w io.Writer) {
		clikit.Row(w, "NAME", "NODES", "UP", "ERROR", "DOMAINS", "AGE", "ID")
		for _, f := range families {
			counts := countStates(nodes, f.ID)
			total := 0
			for _, n := range counts {
				total += n
			}
			clikit.Row(w, f.Name, total, counts[fleet.StateUp], counts[fleet.StateError], len(f.Domains), clikit.Age(p.now(), f.CreatedAt), f.ID)
		}
	})
}

func countStates(nodes []fleet.Node, familyID string) map[fleet.State]int {
	counts := map[fleet.State]int{}
	for _, n := range nodes {
		if n.FamilyID == familyID {
			counts[n.State]++
		}
	}
	return counts
}

func (p *program) showFamily(c *cli.Context, b *connection) error {
	ref, err := clikit.One(c, "family")
	if err != nil {
		return err
	}
	f, err := b.Family(c.Context, ref)
	if err != nil {
		return err
	}
	return p.printFamily(c, b, f)
}

func (p *program) printFamily(c *cli.Context, b *connection, f fleet.Family) error {
	names, err := loadNames(c.Context, b)
	if err != nil {
		return err
	}
	return p.print(c, f, func(w io.Writer) {
		clikit.Fields(w, "Name", f.Name, "ID", f.ID, "Description", f.Description, "Release", names.releases[f.ReleaseID],
			"Firewall", fleet.FormatFirewall(f.Firewall), "Node selection", f.Selection,
			"Bootstrap", string(f.Bootstrap.Strategy), "Bootstrap command", f.Bootstrap.Command, "Leave command", f.Bootstrap.LeaveCommand)
		if !f.Ports.IsZero() {
			clikit.Fields(w, "Ports", f.Ports.String())
		}
		if f.EPMDPort != 0 {
			clikit.Fields(w, "epmd port", strconv.Itoa(f.EPMDPort))
		}
		if f.Protected {
			clikit.Fields(w, "Protected", "yes")
		}
		for _, d := range f.Domains {
			text := fmt.Sprintf("%s as %s", names.providers[d.ProviderID], d.SSHUser)
			for _, more := range []string{d.Image, d.Hardware} {
				if more != "" {
					text += ", " + more
				}
			}
			for _, key := range sortedKeys(d.Settings) {
				text += ", " + key + "=" + d.Settings[key]
			}
			clikit.Fields(w, "Domain", text+" ("+d.ID+")")
		}
	})
}

func (p *program) removeFamily(c *cli.Context, b *connection) error {
	ref, err := clikit.One(c, "family")
	if err != nil {
		return err
	}
	f, err := b.Family(c.Context, ref)
	if err != nil {
		return err
	}
	nodes, err := b.Nodes(c.Context, fleet.NodeFilter{FamilyID: f.ID})
	if err != nil {
		return err
	}
	what := fmt.Sprintf("The node family %q will be removed", f.Name)
	if c.Bool("with-nodes") && len(nodes) > 0 {
		what = fmt.Sprintf("The node family %q will be removed and %s of it deleted, with all that is on them", f.Name, clikit.Count(len(nodes), "node"))
	}
	if err := p.confirm(c, what, f.Name); err != nil {
		return err
	}
	w, err := p.newWatch(c, b)
	if err != nil {
		return err
	}
	if err := b.RemoveFamily(c.Context, f.ID, c.Bool("with-nodes")); err != nil {
		return err
	}
	if c.Bool("no-wait") && !b.alone {
		return nil
	}
	w.goal = fleet.ActionDelete
	if _, err := w.wait(c.Context, nodes, c.Duration("timeout")); err != nil {
		return err
	}
	return w.untilNoFamily(c.Context, f, c.Duration("timeout"))
}
