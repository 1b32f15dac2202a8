package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/user"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/clikit"
)

// alarmFilterFlags choose alarms.
func alarmFilterFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "severity", Usage: "only alarms of `SEVERITY`: critical, major, minor, warning; repeatable"},
		&cli.StringSliceFlag{Name: "state", Usage: "only alarms in `STATE`: new, acknowledged; repeatable"},
		&cli.StringSliceFlag{Name: "node", Usage: "only alarms of nodes whose whole name matches `PATTERN`, in which * is any characters and ? one; repeatable"},
		&cli.StringSliceFlag{Name: "family", Usage: "only alarms of nodes of `FAMILY`; repeatable"},
		&cli.StringSliceFlag{Name: "source", Usage: "only alarms of `SOURCE`: builtin, sasl, elarm; repeatable"},
		&cli.StringSliceFlag{Name: "alarm", Usage: "only alarms called `NAME`; repeatable"},
	}
}

// alarmFilter is what these flags say. What is not one of the words that there
// are, the exporter refuses.
type alarmFilter struct {
	severities []client.AlarmSeverity
	states     []client.AlarmState
	sources    []client.AlarmSource
	nodes      []string
	families   []string
	names      []string
}

func filterOf(c *cli.Context) alarmFilter {
	f := alarmFilter{nodes: c.StringSlice("node"), families: c.StringSlice("family"), names: c.StringSlice("alarm")}
	for _, s := range c.StringSlice("severity") {
		f.severities = append(f.severities, client.AlarmSeverity(s))
	}
	for _, s := range c.StringSlice("state") {
		f.states = append(f.states, client.AlarmState(s))
	}
	for _, s := range c.StringSlice("source") {
		f.sources = append(f.sources, client.AlarmSource(s))
	}
	return f
}

func (f *alarmFilter) empty() bool {
	return len(f.severities)+len(f.states)+len(f.sources)+len(f.nodes)+len(f.families)+len(f.names) == 0
}

func (p *program) alarmsCommand() *cli.Command {
	list := p.with(p.listAlarms)
	return &cli.Command{
		Name: "alarms", Usage: "list the alarms of a running exporter, acknowledge, comment and clear them", Category: clientCategory,
		Flags: slices.Concat(alarmFilterFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "history", Usage: "list alarms that were cleared"},
			&cli.IntFlag{Name: "limit", Usage: "show at most `N` alarms (default: all; 100 with --history)"},
		}, watchFlags(), clientFlags()),
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return clikit.NoCommand(c)
			}
			return list(c)
		},
		Subcommands: []*cli.Command{
			p.showAlarmCommand(),
			p.alarmAction("acknowledge", []string{"ack"}, "note that you look after alarms", client.AlarmActionActionAcknowledge),
			p.alarmAction("unacknowledge", []string{"unack"}, "take an acknowledgement back", client.AlarmActionActionUnacknowledge),
			p.alarmAction("comment", nil, "say something about alarms", client.AlarmActionActionComment),
			p.alarmAction("clear", nil, "clear alarms by hand", client.AlarmActionActionClear),
		},
	}
}

func (p *program) listAlarms(c *cli.Context, e *connection) error {
	if limit := c.Int("limit"); c.IsSet("limit") && limit < 1 {
		return clikit.Usagef("--limit %d is less than 1", limit)
	}
	f := filterOf(c)
	return p.show(c, e, func(ctx context.Context) (view, error) {
		if c.Bool("history") {
			all, err := e.alarmHistory(ctx, f, max(100, c.Int("limit")), c.Int("limit"))
			return view{value: all, table: func(w io.Writer) { p.alarmTable(w, all, true) }}, err
		}
		all, err := e.alarms(ctx, f, c.Int("limit"))
		return view{value: all, table: func(w io.Writer) { p.alarmTable(w, all, false) }}, err
	})
}

// alarms reads all pages, or as many as have limit alarms; 0 is no limit.
func (e *connection) alarms(ctx context.Context, f alarmFilter, limit int) ([]client.Alarm, error) {
	size := int32(pageSize)
	params := client.ListAlarmsParams{
		State: f.states, Severity: f.severities, Source: f.sources, Name: f.names, Family: f.families, Node: f.nodes, Limit: &size,
	}
	all := []client.Alarm{}
	for {
		page, err := e.ListAlarmsWithResponse(ctx, &params)
		if page, err = ask(e, page, err); err != nil {
			return nil, err
		}
		all = append(all, page.JSON200.Alarms...)
		if limit > 0 && len(all) >= limit {
			return all[:limit], nil
		}
		next := page.JSON200.NextCursor
		if next == "" {
			return all, nil
		}
		params.Cursor = &next
	}
}

// alarmHistory reads one page after the other until there are enough.
func (e *connection) alarmHistory(ctx context.Context, f alarmFilter, enough, limit int) ([]client.Alarm, error) {
	if limit > 0 {
		enough = limit
	}
	size := int32(min(enough, pageSize))
	params := client.ListAlarmHistoryParams{
		Severity: f.severities, Source: f.sources, Name: f.names, Family: f.families, Node: f.nodes, Limit: &size,
	}
	all := []client.Alarm{}
	for {
		page, err := e.ListAlarmHistoryWithResponse(ctx, &params)
		if page, err = ask(e, page, err); err != nil {
			return nil, err
		}
		all = append(all, page.JSON200.Alarms...)
		next := page.JSON200.NextCursor
		if next == "" || len(all) >= enough {
			return all[:min(enough, len(all))], nil
		}
		params.Cursor = &next
	}
}

func (p *program) alarmTable(w io.Writer, all []client.Alarm, history bool) {
	last := "STATE"
	if history {
		last = "CLEARED"
	}
	clikit.Header(w, "ID", "SEVERITY", last, "AGE", "NODE", "ALARM", "KEY", "BY", "SUMMARY")
	for _, a := range all {
		state, by := string(a.State), a.AcknowledgedBy
		if history {
			state, by = clikit.Age(p.now(), a.ClearedAt), a.ClearedBy
		}
		clikit.Row(w, a.ID, severityCell(a.Severity), state, clikit.Age(p.now(), a.Raised), a.Node, a.Name, a.Key, by, a.Summary)
	}
	fmt.Fprintln(w, alarmSummary(all))
}

// alarmSummary counts the alarms by severity.
func alarmSummary(all []client.Alarm) string {
	parts := []string{clikit.Count(len(all), "alarm")}
	for _, severity := range []client.AlarmSeverity{client.AlarmSeverityCritical, client.AlarmSeverityMajor, client.AlarmSeverityMinor, client.AlarmSeverityWarning} {
		n := 0
		for _, a := range all {
			if a.Severity == severity {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, severity))
		}
	}
	return strings.Join(parts, ", ")
}

func severityCell(s client.AlarmSeverity) clikit.Styled {
	style := clikit.Warn
	if s == client.AlarmSeverityCritical || s == client.AlarmSeverityMajor {
		style = clikit.Bad
	}
	return clikit.Styled{Text: s, Style: style}
}

func (p *program) showAlarmCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show all that is known of an active alarm", ArgsUsage: "ID",
		Flags: slices.Concat(watchFlags(), clientFlags()),
		Action: p.with(func(c *cli.Context, e *connection) error {
			id, err := clikit.One(c, "alarm")
			if err != nil {
				return err
			}
			return p.show(c, e, func(ctx context.Context) (view, error) {
				answer, err := e.GetAlarmWithResponse(ctx, id)
				if answer, err = ask(e, answer, err); err != nil {
					return view{}, err
				}
				a := *answer.JSON200
				return view{value: a, table: func(w io.Writer) { p.alarmFields(w, a) }}, nil
			})
		}),
	}
}

func (p *program) alarmFields(w io.Writer, a client.Alarm) {
	clikit.Fields(w, "ID", a.ID, "Summary", a.Summary, "Severity", string(a.Severity), "State", string(a.State),
		"Node", a.Node, "Family", a.Family, "Alarm", a.Name, "Key", a.Key, "Source", string(a.Source),
		"Raised", fmt.Sprintf("%s (%s ago), reported %s", a.Raised.Local().Format(timeFormat), clikit.Age(p.now(), a.Raised), clikit.Count(int(a.Reports), "time")),
		"Acknowledged by", a.AcknowledgedBy, "Description", a.Description, "Probable cause", a.ProbableCause, "What to do", a.RepairAction)
	for _, c := range a.Comments {
		clikit.Fields(w, "Comment", fmt.Sprintf("%s %s: %s", c.Time.Local().Format(timeFormat), c.User, c.Text))
	}
}

// alarmAction is a command that does something to the alarms that it is given,
// or to all that match.
func (p *program) alarmAction(name string, aliases []string, usage string, action client.AlarmActionAction) *cli.Command {
	return &cli.Command{
		Name: name, Aliases: aliases, Usage: usage, ArgsUsage: "[ID...]",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "comment", Aliases: []string{"m"}, Usage: "`TEXT` that becomes a comment of each alarm"},
			&cli.StringFlag{Name: "as", Usage: "`NAME` to be recorded under, where the exporter does not know a user by a password (default: that of the login)"},
			&cli.BoolFlag{Name: "all", Usage: "do it to all active alarms"},
		}, alarmFilterFlags(), clientFlags()),
		Action: p.with(func(c *cli.Context, e *connection) error {
			f := filterOf(c)
			if c.NArg() == 0 && f.empty() && !c.Bool("all") {
				return clikit.Usagef("%s: name alarms by their ids, choose them by filters, or say --all", c.Command.HelpName)
			}
			if action == client.AlarmActionActionComment && c.String("comment") == "" {
				return clikit.Usagef("%s: --comment is missing", c.Command.HelpName)
			}
			return p.act(c, e, client.AlarmAction{
				Action: action, All: c.Bool("all"), Ids: c.Args().Slice(), State: f.states, Severity: f.severities,
				Source: f.sources, Name: f.names, Family: f.families, Node: f.nodes,
				Comment: c.String("comment"), User: actingUser(c.String("as")),
			})
		}),
	}
}

func actingUser(said string) string {
	if said != "" {
		return said
	}
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

func (p *program) act(c *cli.Context, e *connection, a client.AlarmAction) error {
	answer, err := e.ActOnAlarmsWithResponse(c.Context, a)
	if answer, err = ask(e, answer, err); err != nil {
		return err
	}
	result := *answer.JSON200
	if err := p.print(c, result, func(w io.Writer) { p.alarmTable(w, result.Alarms, a.Action == client.AlarmActionActionClear) }); err != nil {
		return err
	}
	var failed []error
	for _, f := range result.Failed {
		failed = append(failed, fmt.Errorf("alarm %s: %s", f.ID, f.Detail))
	}
	return errors.Join(failed...)
}
