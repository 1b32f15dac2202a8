package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/clikit"
)

// pageSize is how many nodes are asked for at a time, the most there are on a
// page.
const pageSize = 1000

// nodeFilterFlags choose nodes.
func nodeFilterFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "family", Usage: "only nodes of `FAMILY`; repeatable"},
		&cli.StringSliceFlag{Name: "state", Usage: "only nodes in `STATE`: " + strings.Join(stateNames(), ", ") + "; repeatable"},
		&cli.StringFlag{Name: "name", Usage: "only nodes whose whole name matches `PATTERN`, in which * is any characters and ? one"},
		&cli.StringSliceFlag{Name: "application", Usage: "only nodes that run `APPLICATION`; repeatable"},
		&cli.StringSliceFlag{Name: "otp", Usage: "only nodes of the OTP `RELEASE`; repeatable"},
		&cli.StringSliceFlag{Name: "source", Usage: "only nodes that became known by `SOURCE`, such as static, epmd, registered or connected; repeatable"},
		&cli.StringFlag{Name: "sort", Value: "name", Usage: "sort by `COLUMN`: name, family, state, since, otp_release, agent_memory, agent_reductions; with - in front in descending order"},
		&cli.IntFlag{Name: "limit", Usage: "show at most `N` nodes (default: all)"},
	}
}

func (p *program) nodesCommand() *cli.Command {
	list := p.with(p.listNodes)
	return &cli.Command{
		Name: "nodes", Usage: "list the nodes of a running exporter, and change what it knows of them", Category: clientCategory,
		Flags: slices.Concat(nodeFilterFlags(), watchFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "exit-code", Usage: fmt.Sprintf("exit with %d when one of the nodes is down or refused", clikit.ExitNodes)},
		}, clientFlags()),
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return clikit.NoCommand(c)
			}
			return list(c)
		},
		Subcommands: []*cli.Command{
			p.showNodeCommand(), p.addNodeCommand(),
			p.nodeAction("remove", "forget nodes that were added; the agent leaves them first", removeNode),
			p.nodeAction("suspend", "take the agent off nodes and leave them alone until they are resumed", suspendNode),
			p.nodeAction("resume", "attach to suspended nodes again", resumeNode),
		},
	}
}

func stateNames() []string {
	return []string{
		string(client.StatePending), string(client.StateConnecting), string(client.StateUp),
		string(client.StateDown), string(client.StateRefused), string(client.StateSuspended),
	}
}

func (p *program) listNodes(c *cli.Context, e *connection) error {
	params, err := nodeParams(c)
	if err != nil {
		return err
	}
	return p.show(c, e, func(ctx context.Context) (view, error) {
		nodes, total, err := e.nodes(ctx, params, c.Int("limit"))
		if err != nil {
			return view{}, err
		}
		v := view{value: nodes, table: func(w io.Writer) { p.nodeTable(w, nodes, total) }}
		if c.Bool("exit-code") {
			v.verdict = ailing(nodes)
		}
		return v, nil
	})
}

// nodeParams makes the parameters of a list out of the flags. What it cannot
// check the exporter does.
func nodeParams(c *cli.Context) (client.ListNodesParams, error) {
	params := client.ListNodesParams{
		Family: c.StringSlice("family"), Application: c.StringSlice("application"),
		OTPRelease: c.StringSlice("otp"), Source: c.StringSlice("source"),
	}
	for _, state := range c.StringSlice("state") {
		if !slices.Contains(stateNames(), state) {
			return params, clikit.Usagef("--state %q is not one of %s", state, strings.Join(stateNames(), ", "))
		}
		params.State = append(params.State, client.State(state))
	}
	if name := c.String("name"); name != "" {
		params.Name = &name
	}
	if sort := client.ListNodesParamsSort(c.String("sort")); sort != "" {
		params.Sort = &sort
	}
	if limit := c.Int("limit"); c.IsSet("limit") && limit < 1 {
		return params, clikit.Usagef("--limit %d is less than 1", limit)
	}
	return params, nil
}

// nodes reads all pages, or as many as have limit nodes; 0 is no limit. Total
// is how many nodes there are without the limit.
func (e *connection) nodes(ctx context.Context, params client.ListNodesParams, limit int) (nodes []client.Node, total int, err error) {
	nodes = []client.Node{}
	for {
		size := int32(pageSize)
		if left := limit - len(nodes); limit > 0 && left < pageSize {
			size = int32(left)
		}
		params.Limit = &size
		page, err := e.ListNodesWithResponse(ctx, &params)
		if page, err = ask(e, page, err); err != nil {
			return nil, 0, err
		}
		nodes = append(nodes, page.JSON200.Nodes...)
		next := page.JSON200.NextCursor
		if next == "" || limit > 0 && len(nodes) >= limit {
			return nodes, page.JSON200.Total, nil
		}
		params.Cursor = &next
	}
}

func (p *program) nodeTable(w io.Writer, nodes []client.Node, total int) {
	clikit.Header(w, "NAME", "FAMILY", "STATE", "SINCE", "OTP", "RELEASE", "SOURCE", "REASON")
	for _, n := range nodes {
		clikit.Row(w, n.Name, n.Family, stateCell(n.State), clikit.Age(p.now(), n.Since), n.OTPRelease, releaseText(n), n.Source, n.Reason)
	}
	fmt.Fprintln(w, nodeSummary(nodes, total))
}

// nodeSummary counts the nodes by state.
func nodeSummary(nodes []client.Node, total int) string {
	parts := []string{clikit.Count(len(nodes), "node")}
	if total > len(nodes) {
		parts[0] = fmt.Sprintf("%d of %s", len(nodes), clikit.Count(total, "node"))
	}
	for _, state := range stateNames() {
		n := 0
		for _, node := range nodes {
			if string(node.State) == state {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	return strings.Join(parts, ", ")
}

func stateCell(s client.State) clikit.Styled {
	style := clikit.Warn
	switch s {
	case client.StateUp:
		style = clikit.Good
	case client.StateDown, client.StateRefused:
		style = clikit.Bad
	case client.StateSuspended:
		style = clikit.Faint
	}
	return clikit.Styled{Text: s, Style: style}
}

// releaseText names the release of a node; that of Erlang/OTP itself says
// nothing beside the column OTP.
func releaseText(n client.Node) string {
	if n.Release.Name == "" || n.Release.Name == "Erlang/OTP" {
		return ""
	}
	return n.Release.Name + " " + n.Release.Version
}

// ailing is an error when nodes are not as they should be.
func ailing(nodes []client.Node) error {
	n := 0
	for _, node := range nodes {
		if node.State == client.StateDown || node.State == client.StateRefused {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return &clikit.ExitError{Code: clikit.ExitNodes, Err: fmt.Errorf("%s of %d down or refused", clikit.Count(n, "node"), len(nodes))}
}

func (p *program) showNodeCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show all that is known of a node", ArgsUsage: "NODE",
		Flags:        slices.Concat(watchFlags(), clientFlags()),
		BashComplete: p.completeNodes,
		Action: p.with(func(c *cli.Context, e *connection) error {
			name, err := clikit.One(c, "node")
			if err != nil {
				return err
			}
			return p.show(c, e, func(ctx context.Context) (view, error) {
				n, err := e.node(ctx, name)
				return view{value: n, table: func(w io.Writer) { p.nodeFields(w, n) }}, err
			})
		}),
	}
}

func (e *connection) node(ctx context.Context, name string) (client.Node, error) {
	answer, err := e.GetNodeWithResponse(ctx, name)
	if answer, err = ask(e, answer, err); err != nil {
		return client.Node{}, err
	}
	return *answer.JSON200, nil
}

func (p *program) nodeFields(w io.Writer, n client.Node) {
	since := clikit.Age(p.now(), n.Since)
	clikit.Fields(w, "Name", n.Name, "ID", n.ID, "Family", n.Family,
		"State", fmt.Sprintf("%s for %s", n.State, since), "Reason", n.Reason)
	if !n.LastErrorTime.IsZero() {
		clikit.Fields(w, "Last error", fmt.Sprintf("%s (%s ago)", n.LastError, clikit.Age(p.now(), n.LastErrorTime)))
	}
	if n.DiscoveredFrom != "" {
		text := fmt.Sprintf("connected to %s, %s from %s", n.DiscoveredFrom, clikit.Count(n.DiscoveryDepth, "step"), n.DiscoveryRoot)
		if n.Hidden {
			text += ", hidden"
		}
		clikit.Fields(w, "Found", text)
	}
	if n.ConnectedNodes != nil {
		clikit.Fields(w, "Connected nodes", connectedText(*n.ConnectedNodes))
	}
	clikit.Fields(w, "Source", n.Source, "Target group", n.Group, "Address", n.Address, "epmd", n.EPMD)
	for _, name := range slices.Sorted(maps.Keys(n.Labels)) {
		clikit.Fields(w, "Label", name+"="+n.Labels[name])
	}
	clikit.Fields(w, "OTP release", n.OTPRelease, "ERTS", n.ERTSVersion, "Architecture", n.Architecture,
		"Release", strings.TrimSpace(n.Release.Name+" "+n.Release.Version), "OS process", n.OSPID)
	if !n.Started.IsZero() {
		clikit.Fields(w, "Started", n.Started.Local().Format(timeFormat))
	}
	clikit.Fields(w, "Reconnects", fmt.Sprint(n.Reconnects), "Agent", agentText(n))
	apps := slices.SortedFunc(slices.Values(n.Applications), func(a, b client.Application) int { return strings.Compare(a.Name, b.Name) })
	for _, a := range apps {
		clikit.Fields(w, "Application", a.Name+" "+a.Version)
	}
}

// connectedText says which connected nodes are attached too.
func connectedText(c client.ConnectedNodes) string {
	text := fmt.Sprintf("attached too, up to %s away and %d in all", clikit.Count(c.MaxDepth, "step"), c.MaxNodes)
	if len(c.Include) > 0 {
		text += ", only " + strings.Join(c.Include, ", ")
	}
	if len(c.Exclude) > 0 {
		text += ", not " + strings.Join(c.Exclude, ", ")
	}
	if c.Hidden {
		text += ", hidden ones too"
	}
	return text
}

const timeFormat = "2006-01-02 15:04:05"

// agentText says what the agent costs; nothing unless there is one.
func agentText(n client.Node) string {
	if n.Agent.MemoryBytes == 0 {
		return ""
	}
	return fmt.Sprintf("%s, %d reductions", clikit.Bytes(n.Agent.MemoryBytes), n.Agent.Reductions)
}

// nodeAction is a command that does something to each node that it is given.
// What one refuses does not keep it from being done to the others.
func (p *program) nodeAction(name, usage string, act func(context.Context, *connection, string) error) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "NODE...", Flags: clientFlags(), BashComplete: p.completeNodes,
		Action: p.with(func(c *cli.Context, e *connection) error {
			if c.NArg() == 0 {
				return clikit.Usagef("%s: name at least one node", c.Command.HelpName)
			}
			return each(c.Args().Slice(), func(node string) error { return act(c.Context, e, node) })
		}),
	}
}

// each calls f for all names and joins the errors; the exit code is that of
// the first.
func each(names []string, f func(string) error) error {
	var errs []error
	for _, name := range names {
		if err := f(name); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return &clikit.ExitError{Code: clikit.Code(errs[0]), Err: errors.Join(errs...)}
}

func removeNode(ctx context.Context, e *connection, name string) error {
	answer, err := e.RemoveNodeWithResponse(ctx, name)
	_, err = ask(e, answer, err)
	return err
}

func suspendNode(ctx context.Context, e *connection, name string) error {
	answer, err := e.SuspendNodeWithResponse(ctx, name)
	_, err = ask(e, answer, err)
	return err
}

func resumeNode(ctx context.Context, e *connection, name string) error {
	answer, err := e.ResumeNodeWithResponse(ctx, name)
	_, err = ask(e, answer, err)
	return err
}

// completeNodes prints the names of the nodes for the shell; nothing when the
// exporter cannot be asked.
func (p *program) completeNodes(c *cli.Context) {
	e, err := p.connect(c)
	if err != nil {
		return
	}
	nodes, _, err := e.nodes(c.Context, client.ListNodesParams{}, 0)
	if err != nil {
		return
	}
	for _, n := range nodes {
		fmt.Fprintln(p.stdout, n.Name)
	}
}
