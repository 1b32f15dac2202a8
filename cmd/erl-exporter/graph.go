package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/clikit"
)

// formatDOT is for Graphviz.
const formatDOT = "dot"

func (p *program) graphCommand() *cli.Command {
	return &cli.Command{
		Name: "graph", Usage: "show which nodes are connected to which, as both ends see it", Category: clientCategory,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringSliceFlag{Name: "family", Usage: "only what concerns nodes of `FAMILY`; repeatable"},
			&cli.BoolFlag{Name: "suspect", Usage: "only connections that one end or both do not see"},
			&cli.BoolFlag{Name: "exit-code", Usage: fmt.Sprintf("exit with %d when something looks like a network partition", clikit.ExitNodes)},
		}, watchFlags(), clientFlags(formatDOT)),
		Action: p.with(p.graph, formatDOT),
	}
}

func (p *program) graph(c *cli.Context, e *connection) error {
	if err := clikit.None(c); err != nil {
		return err
	}
	families := c.StringSlice("family")
	if c.String("output") == formatDOT {
		if c.Bool("watch") {
			return clikit.Usagef("--watch and -o dot do not go together")
		}
		answer, err := e.GetGraphDOTWithResponse(c.Context, &client.GetGraphDOTParams{Family: families})
		if answer, err = ask(e, answer, err); err != nil {
			return err
		}
		_, err = p.stdout.Write(answer.Body)
		return err
	}
	return p.show(c, e, func(ctx context.Context) (view, error) {
		answer, err := e.GetGraphWithResponse(ctx, &client.GetGraphParams{Family: families})
		if answer, err = ask(e, answer, err); err != nil {
			return view{}, err
		}
		g := *answer.JSON200
		if c.Bool("suspect") {
			g.Links = slices.DeleteFunc(g.Links, func(l client.GraphLink) bool { return l.Status == client.LinkStatusConnected })
		}
		v := view{value: g, table: func(w io.Writer) { p.linkTable(w, g) }}
		if n := partitions(g); n > 0 && c.Bool("exit-code") {
			v.verdict = &clikit.ExitError{Code: clikit.ExitNodes, Err: fmt.Errorf("%s: this looks like a network partition", clikit.Count(n, "suspect connection"))}
		}
		return v, nil
	})
}

func partitions(g client.Graph) int {
	n := 0
	for _, l := range g.Links {
		if l.Partition {
			n++
		}
	}
	return n
}

func (p *program) linkTable(w io.Writer, g client.Graph) {
	clikit.Header(w, "NODE", "NODE", "STATUS", "SINCE", "RECEIVED", "SENT", "QUEUE", "REMARK")
	for _, l := range g.Links {
		style := clikit.Good
		switch {
		case l.Partition:
			style = clikit.Bad
		case l.Status != client.LinkStatusConnected:
			style = clikit.Warn
		}
		received, sent, queue := linkTraffic(l)
		clikit.Row(w, l.A, l.B, clikit.Styled{Text: l.Status, Style: style}, clikit.Age(p.now(), l.Since), received, sent, queue, remark(l))
	}
	fmt.Fprintf(w, "%s, %s", clikit.Count(len(g.Nodes), "node"), clikit.Count(len(g.Links), "connection"))
	if n := partitions(g); n > 0 {
		fmt.Fprintf(w, ", %d of them look like a network partition", n)
	}
	if g.LeftOut > 0 {
		fmt.Fprintf(w, ", %d more are left out", g.LeftOut)
	}
	fmt.Fprintln(w)
}

// linkTraffic is what the first node says of a link, or else the second the
// other way round.
func linkTraffic(l client.GraphLink) (received, sent, queue string) {
	switch {
	case l.FromA.State != "":
		t := l.FromA
		return clikit.Bytes(t.ReceivedBytes), clikit.Bytes(t.SentBytes), clikit.Bytes(t.QueueBytes)
	case l.FromB.State != "":
		t := l.FromB
		return clikit.Bytes(t.SentBytes), clikit.Bytes(t.ReceivedBytes), clikit.Bytes(t.QueueBytes)
	}
	return "", "", ""
}

func remark(l client.GraphLink) string {
	if l.Hidden {
		return cmp.Or(l.Reason, "hidden")
	}
	return l.Reason
}
