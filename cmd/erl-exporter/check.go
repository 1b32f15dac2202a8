package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/clikit"
)

// status is what a check comes to. Its number is the exit code that Nagios,
// Icinga and what else runs the Monitoring Plugins expect.
type status int

const (
	statusOK status = iota
	statusWarning
	statusCritical
	statusUnknown
)

func (s status) String() string {
	return [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[s]
}

// MarshalJSON writes the word.
func (s status) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

func (s status) style() clikit.Style {
	return [...]clikit.Style{clikit.Good, clikit.Warn, clikit.Bad, clikit.Warn}[s]
}

// severityNone as a threshold is one that no alarm reaches.
const severityNone = "none"

// severities in descending order.
func severities() []string {
	return []string{
		string(client.AlarmSeverityCritical), string(client.AlarmSeverityMajor),
		string(client.AlarmSeverityMinor), string(client.AlarmSeverityWarning),
	}
}

// thresholds say what is how bad.
type thresholds struct {
	// criticalNodes is from how many nodes on that are down or refused the
	// check is critical.
	criticalNodes int
	// An alarm of this severity or a higher one is critical, or a warning.
	critical, warning string
	// Alarms that somebody looks after, and those of these names, do not count.
	ignoreAcknowledged bool
	ignored            []string
}

// checked is the outcome of a check.
type checked struct {
	Status  status `json:"status"`
	Summary string `json:"summary"`
	// Nodes and Alarms count by state and by severity.
	Nodes    map[string]int `json:"nodes"`
	Alarms   map[string]int `json:"alarms"`
	Problems []trouble      `json:"problems"`
}

// trouble is a node that is not up, or an alarm.
type trouble struct {
	Status status `json:"status"`
	Node   string `json:"node"`
	Family string `json:"family"`
	Alarm  string `json:"alarm,omitempty"`
	Detail string `json:"detail"`
}

func (p *program) checkCommand() *cli.Command {
	run := p.with(p.check)
	return &cli.Command{
		Name: "check", Usage: "say whether nodes are up and have no alarms, as a check of Nagios and Icinga", Category: clientCategory,
		Description: "It prints one line with the status and what is measured, then a line for each problem, and\n" +
			"exits with 0 (OK), 1 (WARNING), 2 (CRITICAL) or 3 (UNKNOWN): also when it is called wrongly or\n" +
			"the exporter cannot be reached.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringSliceFlag{Name: "family", Usage: "only nodes of `FAMILY`; repeatable"},
			&cli.StringFlag{Name: "name", Usage: "only nodes whose whole name matches `PATTERN`, in which * is any characters and ? one"},
			&cli.IntFlag{Name: "critical-nodes", Value: 1, Usage: "it is critical when `N` nodes are down or refused, and a warning when fewer are"},
			&cli.StringFlag{Name: "critical-alarms", Value: string(client.AlarmSeverityCritical), Usage: "alarms of `SEVERITY` and above are critical: critical, major, minor, warning, or none"},
			&cli.StringFlag{Name: "warning-alarms", Value: string(client.AlarmSeverityWarning), Usage: "alarms of `SEVERITY` and above are a warning: critical, major, minor, warning, or none"},
			&cli.BoolFlag{Name: "ignore-acknowledged", Usage: "leave out alarms that somebody has acknowledged"},
			&cli.StringSliceFlag{Name: "ignore-alarm", Usage: "leave out alarms called `NAME`; repeatable"},
			&cli.IntFlag{Name: "details", Value: 50, Usage: "print lines for at most `N` problems, the worst"},
			&cli.DurationFlag{Name: "timeout", Value: 10 * time.Second, Usage: "the longest `TIME` to wait for the exporter"},
		}, clientFlags()),
		OnUsageError: func(c *cli.Context, err error, _ bool) error { return p.unknown(c, err) },
		Action: func(c *cli.Context) error {
			err := run(c)
			if err == nil || clikit.Silent(err) {
				return err
			}
			return p.unknown(c, err)
		},
	}
}

// unknown says on standard output, which is what such programs read, why there
// is no answer.
func (p *program) unknown(c *cli.Context, err error) error {
	if own, ok := errors.AsType[*clikit.ExitError](err); ok {
		err = own.Err
	}
	r := checked{Status: statusUnknown, Summary: plain(err.Error()), Nodes: map[string]int{}, Alarms: map[string]int{}, Problems: []trouble{}}
	format := c.String("output")
	if !slices.Contains(clikit.Formats(), format) {
		format = clikit.FormatTable
	}
	line := func(w io.Writer) { fmt.Fprintf(w, "ERLANG %s - %s\n", r.Status, r.Summary) }
	if err := clikit.Print(p.stdout, format, r, false, line); err != nil {
		fmt.Fprintf(p.stderr, "erl-exporter: %v\n", err)
	}
	return &clikit.ExitError{Code: int(statusUnknown)}
}

// plain is a text without what has a meaning in the output of a check.
func plain(text string) string { return strings.ReplaceAll(clikit.OneLine(text), "|", "/") }

func (p *program) check(c *cli.Context, e *connection) error {
	if err := clikit.None(c); err != nil {
		return err
	}
	t, err := thresholdsOf(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	params := client.ListNodesParams{Family: c.StringSlice("family")}
	filter := alarmFilter{families: c.StringSlice("family")}
	if name := c.String("name"); name != "" {
		params.Name, filter.nodes = &name, []string{name}
	}
	nodes, _, err := e.nodes(ctx, params, 0)
	if err != nil {
		return err
	}
	if len(nodes) == 0 {
		return errors.New(nobody(c))
	}
	alarms, err := e.alarms(ctx, filter, 0)
	if err != nil {
		return err
	}
	result := t.judge(nodes, alarms, p.now())
	if err := p.print(c, result, func(w io.Writer) { checkLines(w, result, c.Int("details")) }); err != nil {
		return err
	}
	if result.Status == statusOK {
		return nil
	}
	return &clikit.ExitError{Code: int(result.Status)}
}

// nobody says that no node was found; an exporter that knows none watches
// nothing, which is not OK.
func nobody(c *cli.Context) string {
	if len(c.StringSlice("family")) == 0 && c.String("name") == "" {
		return "the exporter knows no node"
	}
	return "the exporter knows no node that --family and --name choose"
}

func thresholdsOf(c *cli.Context) (thresholds, error) {
	t := thresholds{
		criticalNodes: c.Int("critical-nodes"), critical: c.String("critical-alarms"), warning: c.String("warning-alarms"),
		ignoreAcknowledged: c.Bool("ignore-acknowledged"), ignored: c.StringSlice("ignore-alarm"),
	}
	for _, flag := range []string{"critical-nodes", "details"} {
		if n := c.Int(flag); n < 1 {
			return t, clikit.Usagef("--%s %d is less than 1", flag, n)
		}
	}
	for _, flag := range []string{"critical-alarms", "warning-alarms"} {
		known := append(severities(), severityNone)
		if s := c.String(flag); !slices.Contains(known, s) {
			return t, clikit.Usagef("--%s %q is not one of %s", flag, s, strings.Join(known, ", "))
		}
	}
	if d := c.Duration("timeout"); d <= 0 {
		return t, clikit.Usagef("--timeout %s is not more than 0", d)
	}
	return t, nil
}

// reaches says whether an alarm is as bad as a threshold.
func reaches(severity client.AlarmSeverity, threshold string) bool {
	at := slices.Index(severities(), threshold)
	return at >= 0 && slices.Index(severities(), string(severity)) <= at
}

// judge makes an outcome of nodes and their active alarms.
func (t thresholds) judge(nodes []client.Node, alarms []client.Alarm, now time.Time) checked {
	r := checked{Nodes: map[string]int{}, Alarms: map[string]int{}, Problems: []trouble{}}
	for _, n := range nodes {
		r.Nodes[string(n.State)]++
	}
	failed := r.Nodes[string(client.StateDown)] + r.Nodes[string(client.StateRefused)]
	for _, n := range nodes {
		s := t.node(n.State, failed)
		if s == statusOK {
			continue
		}
		text := fmt.Sprintf("%s for %s", n.State, clikit.Age(now, n.Since))
		if n.Reason != "" {
			text += ": " + n.Reason
		}
		r.Problems = append(r.Problems, trouble{Status: s, Node: n.Name, Family: n.Family, Detail: text})
	}
	for _, a := range alarms {
		if t.ignoreAcknowledged && a.State == client.AlarmStateAcknowledged || slices.Contains(t.ignored, a.Name) {
			continue
		}
		r.Alarms[string(a.Severity)]++
		if s := t.alarm(a.Severity); s != statusOK {
			text := fmt.Sprintf("%s for %s: %s", a.Severity, clikit.Age(now, a.Raised), a.Summary)
			r.Problems = append(r.Problems, trouble{Status: s, Node: a.Node, Family: a.Family, Alarm: a.Name, Detail: text})
		}
	}
	slices.SortStableFunc(r.Problems, func(a, b trouble) int {
		return cmp.Or(cmp.Compare(b.Status, a.Status), cmp.Compare(a.Alarm, b.Alarm), cmp.Compare(a.Node, b.Node))
	})
	if len(r.Problems) > 0 {
		r.Status = r.Problems[0].Status
	}
	r.Summary = r.summary(len(nodes))
	return r
}

// node says how bad a state is. Who suspends a node knows that it is away.
func (t thresholds) node(s client.State, failed int) status {
	switch s {
	case client.StateUp, client.StateSuspended:
		return statusOK
	case client.StateDown, client.StateRefused:
		if failed >= t.criticalNodes {
			return statusCritical
		}
	}
	return statusWarning
}

func (t thresholds) alarm(s client.AlarmSeverity) status {
	switch {
	case reaches(s, t.critical):
		return statusCritical
	case reaches(s, t.warning):
		return statusWarning
	}
	return statusOK
}

func (r checked) summary(nodes int) string {
	states := fmt.Sprintf("%d of %s up", r.Nodes[string(client.StateUp)], clikit.Count(nodes, "node"))
	for _, s := range stateNames() {
		if n := r.Nodes[s]; n > 0 && s != string(client.StateUp) {
			states += fmt.Sprintf(", %d %s", n, s)
		}
	}
	var alarms []string
	for _, s := range severities() {
		if n := r.Alarms[s]; n > 0 {
			alarms = append(alarms, fmt.Sprintf("%d %s", n, s))
		}
	}
	if len(alarms) == 0 {
		return states + "; no alarms"
	}
	return states + "; alarms: " + strings.Join(alarms, ", ")
}

// checkLines prints what the guidelines of the Monitoring Plugins say: a line
// with the status and, after a bar, the numbers; then the details.
func checkLines(w io.Writer, r checked, details int) {
	var numbers []string
	for _, s := range stateNames() {
		numbers = append(numbers, fmt.Sprintf("nodes_%s=%d;;;0", s, r.Nodes[s]))
	}
	for _, s := range severities() {
		numbers = append(numbers, fmt.Sprintf("alarms_%s=%d;;;0", s, r.Alarms[s]))
	}
	fmt.Fprintf(w, "ERLANG %s - %s | %s\n", clikit.Paint(r.Status.String(), r.Status.style()), r.Summary, strings.Join(numbers, " "))
	for i, p := range r.Problems {
		if i == details {
			fmt.Fprintf(w, "and %s more\n", clikit.Count(len(r.Problems)-i, "problem"))
			return
		}
		where := p.Node
		if p.Family != "" {
			where += " (" + p.Family + ")"
		}
		if p.Alarm != "" {
			where = strings.TrimSpace("alarm " + p.Alarm + " " + where)
		}
		fmt.Fprintf(w, "[%s] %s %s\n", clikit.Paint(p.Status.String(), p.Status.style()), plain(where), plain(p.Detail))
	}
}
