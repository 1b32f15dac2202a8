package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/clikit"
)

func (p *program) statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "show all families and their nodes",
		Flags: append(filterFlags(),
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "go on showing it, until Ctrl-C"}),
		Action: p.with(p.status),
	}
}

func (p *program) status(c *cli.Context, b *connection) error {
	if err := clikit.None(c); err != nil {
		return err
	}
	f, err := filter(c, b)
	if err != nil {
		return err
	}
	if !c.Bool("watch") {
		return p.showStatus(c, b, f)
	}
	if p.screen != nil && c.String("output") == clikit.FormatTable {
		return p.watchStatus(c, b, f)
	}
	if err := p.showStatus(c, b, f); err != nil {
		return err
	}
	names, err := loadNames(c.Context, b)
	if err != nil {
		return err
	}
	return p.follow(c, b, names, fleet.JournalFilter{Family: f.FamilyID}, nil)
}

func (p *program) showStatus(c *cli.Context, b *connection, f fleet.NodeFilter) error {
	nodes, err := b.Nodes(c.Context, f)
	if err != nil {
		return err
	}
	names, err := loadNames(c.Context, b)
	if err != nil {
		return err
	}
	return p.print(c, clikit.Listed(nodes), func(w io.Writer) {
		p.nodeTable(w, names, nodes)
		fmt.Fprintln(w, summary(nodes))
	})
}

// summary counts nodes by state.
func summary(nodes []fleet.Node) string {
	parts := []string{clikit.Count(len(nodes), "node")}
	for _, s := range fleet.States() {
		n := 0
		for _, node := range nodes {
			if node.State == s {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return strings.Join(parts, ", ")
}

// watchStatus draws the table anew whenever something happens.
func (p *program) watchStatus(c *cli.Context, b *connection, f fleet.NodeFilter) error {
	events, cancel := b.Subscribe(c.Context, -1)
	defer cancel()
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		nodes, err := b.Nodes(c.Context, f)
		if c.Context.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
		names, err := loadNames(c.Context, b)
		if err != nil {
			return err
		}
		if err := p.screen.Draw(p.statusText(names, nodes)); err != nil {
			return err
		}
		// A burst of events is one drawing.
		time.Sleep(drawInterval)
		select {
		case <-c.Context.Done():
			return nil
		case _, ok := <-events:
			if !ok {
				events = nil
			}
		case <-tick.C:
		}
		drain(events)
	}
}

func drain(events <-chan fleet.Event) {
	for {
		select {
		case _, ok := <-events:
			if !ok {
				return
			}
		default:
			return
		}
	}
}

// statusText is the table, the summary first: a terminal may be too low for all
// nodes.
func (p *program) statusText(names names, nodes []fleet.Node) string {
	var text bytes.Buffer
	fmt.Fprintln(&text, summary(nodes))
	w := clikit.NewTable(&text, false)
	p.nodeTable(w, names, nodes)
	_ = w.Flush() // to memory: cannot fail
	return text.String()
}
