package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/clikit"
)

func (p *program) familiesCommand() *cli.Command {
	list := p.with(p.listFamilies)
	return &cli.Command{
		Name: "families", Usage: "list the families of nodes, compare their nodes, and say what belongs together", Category: clientCategory,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "only families whose whole name matches `PATTERN`, in which * is any characters and ? one"},
			&cli.StringFlag{Name: "sort", Value: "name", Usage: "sort by `COLUMN`: name, nodes, problems; with - in front in descending order"},
		}, watchFlags(), clientFlags()),
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return clikit.NoCommand(c)
			}
			return list(c)
		},
		Subcommands: []*cli.Command{
			p.showFamilyCommand(), p.diffFamilyCommand(), p.renameFamilyCommand(), p.mergeFamiliesCommand(),
			p.familyPatternCommand(), p.familyRulesCommand(), p.removeFamilyRuleCommand(),
		},
	}
}

func (p *program) listFamilies(c *cli.Context, e *connection) error {
	params := client.ListFamiliesParams{}
	if name := c.String("name"); name != "" {
		params.Name = &name
	}
	if sort := client.ListFamiliesParamsSort(c.String("sort")); sort != "" {
		params.Sort = &sort
	}
	return p.show(c, e, func(ctx context.Context) (view, error) {
		families, err := e.families(ctx, params)
		return view{value: families, table: func(w io.Writer) { familyTable(w, families) }}, err
	})
}

// families reads all pages.
func (e *connection) families(ctx context.Context, params client.ListFamiliesParams) ([]client.Family, error) {
	families, size := []client.Family{}, int32(pageSize)
	params.Limit = &size
	for {
		page, err := e.ListFamiliesWithResponse(ctx, &params)
		if page, err = ask(e, page, err); err != nil {
			return nil, err
		}
		families = append(families, page.JSON200.Families...)
		next := page.JSON200.NextCursor
		if next == "" {
			return families, nil
		}
		params.Cursor = &next
	}
}

func familyTable(w io.Writer, families []client.Family) {
	clikit.Header(w, "NAME", "NODES", "UP", "OTHER", "OTP", "RELEASES", "PROBLEMS")
	nodes := 0
	for _, f := range families {
		nodes += f.Nodes
		up := f.States[string(client.StateUp)]
		style := clikit.Good
		if up < f.Nodes {
			style = clikit.Warn
		}
		problems := clikit.Styled{Text: f.Problems}
		if f.Problems > 0 {
			problems.Style = clikit.Bad
		}
		clikit.Row(w, f.Name, f.Nodes, clikit.Styled{Text: up, Style: style}, otherStates(f), strings.Join(f.OTPReleases, ", "), releaseNames(f), problems)
	}
	fmt.Fprintf(w, "%s, %s\n", clikit.Count(len(families), "family"), clikit.Count(nodes, "node"))
}

// otherStates counts the nodes that are not up.
func otherStates(f client.Family) string {
	var parts []string
	for _, state := range stateNames() {
		if n := f.States[state]; n > 0 && state != string(client.StateUp) {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	return strings.Join(parts, ", ")
}

func releaseNames(f client.Family) string {
	var names []string
	for _, r := range f.Releases {
		names = append(names, r.Name+" "+r.Version)
	}
	return strings.Join(names, ", ")
}

func (p *program) showFamilyCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show a family, its nodes and what is wrong with it", ArgsUsage: "FAMILY",
		Flags: slices.Concat(watchFlags(), clientFlags()), BashComplete: p.completeFamilies,
		Action: p.with(func(c *cli.Context, e *connection) error {
			name, err := clikit.One(c, "family")
			if err != nil {
				return err
			}
			return p.show(c, e, func(ctx context.Context) (view, error) { return p.familyView(ctx, e, name) })
		}),
	}
}

// familyDetails is a family with all that is known of it.
type familyDetails struct {
	client.Family
	Members  []client.Node    `json:"members"`
	Findings []client.Finding `json:"findings"`
}

func (p *program) familyView(ctx context.Context, e *connection, name string) (view, error) {
	family, err := e.GetFamilyWithResponse(ctx, name)
	if family, err = ask(e, family, err); err != nil {
		return view{}, err
	}
	findings, err := e.ListFindingsWithResponse(ctx, &client.ListFindingsParams{Family: []string{name}})
	if findings, err = ask(e, findings, err); err != nil {
		return view{}, err
	}
	nodes, total, err := e.nodes(ctx, client.ListNodesParams{Family: []string{name}}, 0)
	if err != nil {
		return view{}, err
	}
	details := familyDetails{Family: *family.JSON200, Members: nodes, Findings: findings.JSON200.Findings}
	return view{value: details, table: func(w io.Writer) {
		p.nodeTable(w, nodes, total)
		for _, f := range details.Findings {
			clikit.Row(w, clikit.Styled{Text: f.Kind, Style: clikit.Bad}, f.Detail)
		}
	}}, nil
}

func (p *program) diffFamilyCommand() *cli.Command {
	return &cli.Command{
		Name: "diff", Usage: "compare the nodes of a family: applications, modules, environment, clocks", ArgsUsage: "FAMILY",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "exit-code", Usage: fmt.Sprintf("exit with %d when there are differences", clikit.ExitChanges)},
		}, clientFlags()...),
		BashComplete: p.completeFamilies,
		Action: p.with(func(c *cli.Context, e *connection) error {
			name, err := clikit.One(c, "family")
			if err != nil {
				return err
			}
			answer, err := e.DiffFamilyWithResponse(c.Context, name)
			if answer, err = ask(e, answer, err); err != nil {
				return err
			}
			d := *answer.JSON200
			if err := p.print(c, d, func(w io.Writer) { diffTable(w, d) }); err != nil {
				return err
			}
			if d.Differs && c.Bool("exit-code") {
				return &clikit.ExitError{Code: clikit.ExitChanges}
			}
			return nil
		}),
	}
}

func diffTable(w io.Writer, d client.FamilyDiff) {
	compared := 0
	for _, n := range d.Nodes {
		if n.Compared {
			compared++
		}
	}
	fmt.Fprintf(w, "%d of %s of family %s compared\n", compared, clikit.Count(len(d.Nodes), "node"), clikit.OneLine(d.Family))
	for _, n := range d.Nodes {
		if n.Error != "" {
			clikit.Row(w, clikit.Styled{Text: n.Name, Style: clikit.Warn}, n.Error)
		}
	}
	if !d.Differs {
		fmt.Fprintln(w, "nothing differs")
		return
	}
	// A line without columns ends those above it.
	fmt.Fprintln(w)
	clikit.Header(w, "WHAT", "NAME", "VALUE", "NODES")
	variants := func(what, name string, all []client.Variant) {
		for i, v := range all {
			if i > 0 {
				what, name = " ", " "
			}
			clikit.Row(w, what, name, v.Value, strings.Join(v.Nodes, ", "))
		}
	}
	several := func(what string, all []client.Variant) {
		if len(all) > 1 {
			variants(what, "", all)
		}
	}
	several("OTP release", d.OTPReleases)
	several("time zone", d.TimeZones)
	if d.ClockSpreadSeconds >= 1 {
		clikit.Row(w, "clock", "", fmt.Sprintf("%.1f s apart", d.ClockSpreadSeconds), "")
	}
	for _, x := range d.Applications {
		variants("application", x.Name, x.Variants)
	}
	for _, x := range d.Modules {
		variants("module", x.Name, x.Variants)
	}
	for _, x := range d.Environment {
		variants("environment", x.Application+" "+x.Name, x.Variants)
	}
	if d.LeftOut > 0 {
		fmt.Fprintf(w, "and %s more\n", clikit.Count(d.LeftOut, "difference"))
	}
}

func (p *program) renameFamilyCommand() *cli.Command {
	return &cli.Command{
		Name: "rename", Usage: "give a family another name", ArgsUsage: "FAMILY NAME", Flags: clientFlags(), BashComplete: p.completeFamilies,
		Action: p.with(func(c *cli.Context, e *connection) error {
			if c.NArg() != 2 {
				return clikit.Usagef("%s: the family and its new name are needed, and there are %d arguments", c.Command.HelpName, c.NArg())
			}
			answer, err := e.RenameFamilyWithResponse(c.Context, c.Args().Get(0), client.FamilyRename{Name: c.Args().Get(1)})
			if answer, err = ask(e, answer, err); err != nil {
				return err
			}
			return p.printFamily(c, *answer.JSON200)
		}),
	}
}

func (p *program) mergeFamiliesCommand() *cli.Command {
	return &cli.Command{
		Name: "merge", Usage: "make the nodes of families belong to one", ArgsUsage: "FAMILY...",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "into", Required: true, Usage: "the `FAMILY` that they are to belong to; it may be new"},
		}, clientFlags()...),
		BashComplete: p.completeFamilies,
		Action: p.with(func(c *cli.Context, e *connection) error {
			if c.NArg() == 0 {
				return clikit.Usagef("%s: name at least one family", c.Command.HelpName)
			}
			answer, err := e.MergeFamiliesWithResponse(c.Context, c.String("into"), client.FamilyMerge{Families: c.Args().Slice()})
			if answer, err = ask(e, answer, err); err != nil {
				return err
			}
			return p.printFamily(c, *answer.JSON200)
		}),
	}
}

func (p *program) printFamily(c *cli.Context, f client.Family) error {
	return p.print(c, f, func(w io.Writer) { familyTable(w, []client.Family{f}) })
}

func (p *program) familyPatternCommand() *cli.Command {
	return &cli.Command{
		Name: "pattern", Usage: "give nodes a family by a regular expression that their whole name has to match", ArgsUsage: "PATTERN FAMILY",
		Flags: clientFlags(),
		Action: p.with(func(c *cli.Context, e *connection) error {
			if c.NArg() != 2 {
				return clikit.Usagef("%s: a pattern and a family are needed, and there are %d arguments", c.Command.HelpName, c.NArg())
			}
			answer, err := e.AddFamilyPatternWithResponse(c.Context, client.FamilyPattern{Pattern: c.Args().Get(0), Family: c.Args().Get(1)})
			if answer, err = ask(e, answer, err); err != nil {
				return err
			}
			return p.printRules(c, []client.FamilyRule{*answer.JSON201})
		}),
	}
}

func (p *program) familyRulesCommand() *cli.Command {
	return &cli.Command{
		Name: "rules", Usage: "list what was said of families: patterns, renames and merges", Flags: clientFlags(),
		Action: p.with(func(c *cli.Context, e *connection) error {
			if err := clikit.None(c); err != nil {
				return err
			}
			answer, err := e.ListFamilyRulesWithResponse(c.Context)
			if answer, err = ask(e, answer, err); err != nil {
				return err
			}
			return p.printRules(c, answer.JSON200.Rules)
		}),
	}
}

func (p *program) printRules(c *cli.Context, rules []client.FamilyRule) error {
	return p.print(c, rules, func(w io.Writer) {
		clikit.Header(w, "ID", "KIND", "MATCHES", "FAMILY", "AGE")
		for _, r := range rules {
			clikit.Row(w, r.ID, r.Kind, r.Matches, r.Family, clikit.Age(p.now(), r.CreatedAt))
		}
	})
}

func (p *program) removeFamilyRuleCommand() *cli.Command {
	return &cli.Command{
		Name: "forget", Usage: "take back what was said of families", ArgsUsage: "RULE-ID...", Flags: clientFlags(),
		Action: p.with(func(c *cli.Context, e *connection) error {
			if c.NArg() == 0 {
				return clikit.Usagef("%s: name at least one rule by its id; see families rules", c.Command.HelpName)
			}
			return each(c.Args().Slice(), func(id string) error {
				answer, err := e.RemoveFamilyRuleWithResponse(c.Context, id)
				_, err = ask(e, answer, err)
				return err
			})
		}),
	}
}

// completeFamilies prints the names of the families for the shell.
func (p *program) completeFamilies(c *cli.Context) {
	e, err := p.connect(c)
	if err != nil {
		return
	}
	families, err := e.families(c.Context, client.ListFamiliesParams{})
	if err != nil {
		return
	}
	names := map[string]bool{}
	for _, f := range families {
		names[f.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintln(p.stdout, name)
	}
}
