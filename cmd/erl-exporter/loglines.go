package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/clikit"
)

// logPrinter prints notifications: as lines for people, one JSON object a line,
// or YAML documents.
type logPrinter struct {
	out      io.Writer
	format   string
	colour   bool
	metadata bool
	printed  bool
}

func (p *program) logPrinter(c *cli.Context) (*logPrinter, error) {
	colour, err := p.colour(c)
	return &logPrinter{out: p.stdout, format: c.String("output"), colour: colour, metadata: c.Bool("metadata")}, err
}

// list prints all at once: one array in JSON and YAML.
func (l *logPrinter) list(all []client.Notification) error {
	return clikit.Print(l.out, l.format, clikit.Listed(all), l.colour, func(w io.Writer) {
		for _, n := range all {
			l.lines(w, n)
		}
	})
}

// one prints one of many.
func (l *logPrinter) one(n client.Notification) error {
	switch l.format {
	case clikit.FormatJSON:
		encoder := json.NewEncoder(l.out)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(n)
	case clikit.FormatYAML:
		if l.printed {
			if _, err := io.WriteString(l.out, "---\n"); err != nil {
				return err
			}
		}
		l.printed = true
	}
	return clikit.Print(l.out, l.format, n, l.colour, func(w io.Writer) { l.lines(w, n) })
}

// logTimeFormat has milliseconds: the order of entries is told by them.
const logTimeFormat = "2006-01-02 15:04:05.000"

// lines prints a notification for people: time, level, node, what it is, and
// the message, whose further lines are indented.
func (l *logPrinter) lines(w io.Writer, n client.Notification) {
	lines := clikit.Lines(n.Message)
	first := ""
	if len(lines) > 0 {
		first, lines = strings.TrimSpace(lines[0]), lines[1:]
	}
	fmt.Fprintf(w, "%s %s %s %s  %s\n", clikit.Paint(n.Time.Local().Format(logTimeFormat), clikit.Faint),
		clikit.Paint(fmt.Sprintf("%-9s", n.Level), levelStyle(n.Level)), clikit.Paint(clikit.OneLine(n.Node), clikit.Bold),
		clikit.OneLine(kindOf(n)), first)
	for _, line := range lines {
		fmt.Fprintln(w, "    "+line)
	}
	if l.metadata && len(n.Metadata) > 0 {
		fmt.Fprintln(w, clikit.Paint("    "+metadataText(n.Metadata), clikit.Faint))
	}
}

// kindOf is one word that says what a notification is.
func kindOf(n client.Notification) string {
	ofNode := n.Source == client.NotificationSourceLogger || n.Source == client.NotificationSourceLager
	if ofNode && n.Event != "" {
		return n.Event
	}
	return string(n.Source)
}

func levelStyle(level client.LogLevel) clikit.Style {
	switch level {
	case client.LogLevelEmergency, client.LogLevelAlert, client.LogLevelCritical, client.LogLevelError:
		return clikit.Bad
	case client.LogLevelWarning:
		return clikit.Warn
	case client.LogLevelNotice:
		return clikit.Good
	}
	return clikit.Faint
}

// metadataText has what is known of every entry first.
func metadataText(all map[string]string) string {
	names := slices.Sorted(maps.Keys(all))
	known := []string{"pid", "registered_name", "mfa", "file", "line", "domain", "application"}
	slices.SortStableFunc(names, func(a, b string) int { return place(known, a) - place(known, b) })
	parts := make([]string, len(names))
	for i, name := range names {
		value := clikit.OneLine(all[name])
		if value == "" || strings.ContainsAny(value, " \"=") {
			value = strconv.Quote(value)
		}
		parts[i] = clikit.OneLine(name) + "=" + value
	}
	return strings.Join(parts, " ")
}

// place is where a name stands in a list, or behind its end.
func place(list []string, name string) int {
	if i := slices.Index(list, name); i >= 0 {
		return i
	}
	return len(list)
}
