package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/clikit"
)

func (p *program) agentsCommand() *cli.Command {
	return &cli.Command{
		Name: "agents", Usage: "list the agents that are attached, and what they cost their nodes", Category: clientCategory,
		Flags: slices.Concat(nodeFilterFlags(), watchFlags(), clientFlags()),
		Action: p.with(func(c *cli.Context, e *connection) error {
			if err := clikit.None(c); err != nil {
				return err
			}
			params, err := nodeParams(c)
			if err != nil {
				return err
			}
			return p.show(c, e, func(ctx context.Context) (view, error) {
				nodes, _, err := e.nodes(ctx, params, c.Int("limit"))
				if err != nil {
					return view{}, err
				}
				agents := agentsOf(nodes)
				return view{value: agents, table: func(w io.Writer) { p.agentTable(w, agents, len(nodes)) }}, nil
			})
		}),
	}
}

// agent is what is known of the agent on a node.
type agent struct {
	Node       string           `json:"node"`
	Family     string           `json:"family"`
	Since      string           `json:"since"`
	OTPRelease string           `json:"otp_release"`
	Reconnects int64            `json:"reconnects"`
	Cost       client.AgentCost `json:"cost"`

	node client.Node
}

func agentsOf(nodes []client.Node) []agent {
	agents := []agent{}
	for _, n := range nodes {
		if n.State == client.StateUp {
			agents = append(agents, agent{
				Node: n.Name, Family: n.Family, Since: n.Since.UTC().Format(jsonTime), OTPRelease: n.OTPRelease,
				Reconnects: n.Reconnects, Cost: n.Agent, node: n,
			})
		}
	}
	return agents
}

const jsonTime = "2006-01-02T15:04:05Z07:00"

func (p *program) agentTable(w io.Writer, agents []agent, nodes int) {
	clikit.Header(w, "NODE", "FAMILY", "KIND", "ATTACHED", "RECONNECTS", "MEMORY", "REDUCTIONS", "QUEUE", "DROPPED", "REMARK")
	for _, a := range agents {
		remark := ""
		if a.Cost.Shedding {
			remark = "leaves out what is dear: it has passed its limits"
		}
		clikit.Row(w, a.Node, a.Family, a.Cost.Kind, clikit.Age(p.now(), a.node.Since), a.Reconnects,
			clikit.Bytes(a.Cost.MemoryBytes), a.Cost.Reductions, a.Cost.MessageQueueLength,
			a.Cost.Dropped, clikit.Styled{Text: remark, Style: clikit.Warn})
	}
	fmt.Fprintf(w, "%s on %s\n", clikit.Count(len(agents), "agent"), clikit.Count(nodes, "node"))
}
