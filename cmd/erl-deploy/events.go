package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/clikit"
)

func (p *program) eventsCommand() *cli.Command {
	return &cli.Command{
		Name: "events", Usage: "read the journal: who did what, when, and how it ended",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on with what happens"},
			&cli.IntFlag{Name: "last", Value: 50, Usage: "begin with the last `N` entries"},
			&cli.DurationFlag{Name: "since", Usage: "only what is not older than `TIME`, such as 2h"},
			&cli.StringFlag{Name: "family", Usage: "only what is about `FAMILY` and its nodes"},
			&cli.StringFlag{Name: "node", Usage: "only what is about `NODE`"},
		},
		Action: p.with(p.events),
	}
}

func (p *program) events(c *cli.Context, b *connection) error {
	if err := clikit.None(c); err != nil {
		return err
	}
	f, err := p.journalFilter(c, b)
	if err != nil {
		return err
	}
	entries, err := b.Journal(c.Context, f)
	if err != nil {
		return err
	}
	names, err := loadNames(c.Context, b)
	if err != nil {
		return err
	}
	if !c.Bool("follow") {
		return p.print(c, clikit.Listed(entries), func(w io.Writer) {
			for _, e := range entries {
				fmt.Fprintln(w, entryLine(names, e))
			}
		})
	}
	return p.follow(c, b, names, f, entries)
}

func (p *program) journalFilter(c *cli.Context, b *connection) (fleet.JournalFilter, error) {
	f := fleet.JournalFilter{Limit: c.Int("last"), Last: true}
	if f.Limit < 1 {
		return f, clikit.Usagef("--last %d is not at least 1", f.Limit)
	}
	if d := c.Duration("since"); d > 0 {
		f.Since = p.now().Add(-d)
	}
	// What is gone is still in the journal, and known there by its id.
	if ref := c.String("family"); ref != "" {
		f.Family = ref
		if family, err := b.Family(c.Context, ref); err == nil {
			f.Family = family.ID
		}
	}
	if ref := c.String("node"); ref != "" {
		f.Subject = ref
		if n, err := b.Node(c.Context, ref); err == nil {
			f.Subject = n.ID
		}
	}
	return f, nil
}

// follow prints entries as they come, until the user has enough. As JSON each
// is one line.
func (p *program) follow(c *cli.Context, b *connection, names names, f fleet.JournalFilter, entries []fleet.Entry) error {
	last := int64(-1)
	show := func(e fleet.Entry) error {
		last = e.Seq
		if c.String("output") == clikit.FormatTable {
			fmt.Fprintln(p.stdout, entryLine(names, e))
			return nil
		}
		return p.print(c, e, nil)
	}
	for _, e := range entries {
		if err := show(e); err != nil {
			return err
		}
	}
	events, cancel := b.Subscribe(c.Context, last)
	defer cancel()
	for e := range events {
		if e.Entry == nil || !wanted(f, *e.Entry) {
			continue
		}
		if err := show(*e.Entry); err != nil {
			return err
		}
	}
	return nil // by Ctrl-C: that is how one ends it
}

// wanted is the filter of the journal for entries that come later.
func wanted(f fleet.JournalFilter, e fleet.Entry) bool {
	return (f.Subject == "" || f.Subject == e.Subject) &&
		(f.Family == "" || f.Family == e.FamilyID || f.Family == e.Subject)
}

// entryLine is an entry for people: time, who, about what, what.
func entryLine(n names, e fleet.Entry) string {
	about := e.Name
	switch {
	case e.Kind == fleet.KindNode:
		about = n.family(e.FamilyID) + "/" + clikit.Short(e.Subject)
	case about == "":
		about = clikit.Short(e.Subject)
	}
	parts := []string{e.Time.UTC().Format(timeFormat), e.Actor, e.Kind, about, what(e)}
	if e.Message != "" {
		parts = append(parts, "— "+e.Message)
	}
	if e.Reason != nil && e.Reason.Message != e.Message {
		parts = append(parts, "— "+e.Reason.String())
	}
	return clikit.OneLine(strings.Join(parts, " "))
}

func what(e fleet.Entry) string {
	var words []string
	add := func(word string) {
		if word != "" {
			words = append(words, word)
		}
	}
	switch e.Type {
	case fleet.EntryRequest:
		words = append(words, "asked for")
	case fleet.EntryIntent:
		words = append(words, "begins")
	case fleet.EntryState:
		words = append(words, "is")
	}
	if e.Type != fleet.EntryIntent && e.Type != fleet.EntryResult {
		add(e.Action)
	}
	add(string(e.Step))
	if e.Attempt > 1 {
		add(fmt.Sprintf("(attempt %d)", e.Attempt))
	}
	add(string(e.State))
	add(e.Result)
	return strings.Join(words, " ")
}
