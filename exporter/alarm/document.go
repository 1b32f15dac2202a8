package alarm

//go:generate go run ./gendoc ../../docs/alarms.md

import (
	_ "embed"
	"fmt"
	"strings"
	"time"
)

//go:embed gendoc/head.md
var documentHead string

// Document is docs/alarms.md: what alarms are about in general, and every one
// of them.
func Document() string {
	var b strings.Builder
	b.WriteString(documentHead)
	rules := Rules()
	fmt.Fprintf(&b, "\n## Built-in alarms\n\n%d rules, and the alarms of `alarm_handler` [below](#alarms-of-alarm_handler). "+
		"A rule that needs what a node does not give says nothing there.\n\n| Alarm | Severity: raised from | |\n|---|---|---|\n", len(rules))
	for i := range rules {
		r := &rules[i]
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s |\n", r.ID, r.ID, strings.Join(thresholds(r), ", "), r.Title)
	}
	for i := range rules {
		documentRule(&b, &rules[i])
	}
	b.WriteString("\n## Alarms of alarm_handler\n\nAny alarm that something on the node sets is taken (`source=\"sasl\"`), and so are those of RabbitMQ, which has them in an event manager of its own, `rabbit_alarm`. " +
		"Its name is the first word of its id, `key` the rest: `{disk_almost_full, \"/\"}` is `disk_almost_full` with the key `/`. " +
		"Its severity is that of `alarms.sasl` in the configuration, or the one here, or major.\n\nThese are known:\n")
	for _, k := range KnownSASL() {
		fmt.Fprintf(&b, "\n### %s\n\n%s. Raised by %s; %s.\n\n%s\n\n- **Probable cause**: %s\n- **What to do**: %s\n",
			k.Name, k.Title, k.By, k.Severity, k.Meaning, k.Cause, k.Repair)
	}
	return b.String()
}

func documentRule(b *strings.Builder, r *Rule) {
	fmt.Fprintf(b, "\n### %s\n\n%s.", r.ID, r.Title)
	if r.KeyLabel != "" {
		fmt.Fprintf(b, " One alarm for each %s, which is its `key`.", r.KeyLabel)
	}
	fmt.Fprintf(b, "\n\n%s\n\n- **Value**: %s.\n- **Raised**: %s.\n- **Clears**: %s.\n", r.Meaning, r.Value, strings.Join(details(r), "; "), clears(r))
	fmt.Fprintf(b, "- **Probable cause**: %s\n- **What to do**: %s\n", r.Cause, r.Repair)
	if len(r.Needs) > 0 {
		fmt.Fprintf(b, "- **Reads**: `%s`.\n", strings.Join(r.Needs, "`, `"))
	}
	if r.Since != "" {
		fmt.Fprintf(b, "- **Needs**: %s.\n", r.Since)
	}
	if r.OptIn {
		b.WriteString("- **Off** unless `alarms.rules." + r.ID + ".enabled` is `true`.\n")
	}
}

// thresholds are the levels in short, the worst first.
func thresholds(r *Rule) []string {
	var all []string
	for i := len(r.Levels) - 1; i >= 0; i-- {
		all = append(all, fmt.Sprintf("%s: %s", r.Levels[i].Severity, number(r.Levels[i].Raise, r.Unit)))
	}
	return all
}

func details(r *Rule) []string {
	side := "from"
	if r.Below {
		side = "below"
	}
	var all []string
	for _, l := range r.Levels {
		text := fmt.Sprintf("%s %s %s", l.Severity, side, number(l.Raise, r.Unit))
		if l.For > 0 {
			text += " for " + plain(l.For)
		}
		all = append(all, text)
	}
	return all
}

func clears(r *Rule) string {
	if r.Clears != "" {
		return r.Clears
	}
	side := "below"
	if r.Below {
		side = "from"
	}
	var all []string
	for _, l := range r.Levels {
		text := fmt.Sprintf("%s %s %s", l.Severity, side, number(l.Clear, r.Unit))
		if l.ClearFor > 0 {
			text += " for " + plain(l.ClearFor)
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}

// plain writes a duration without the units that are zero.
func plain(d time.Duration) string {
	text := d.String()
	text = strings.TrimSuffix(text, "0s")
	text = strings.TrimSuffix(text, "0m")
	if text == "" || strings.HasSuffix(text, "h") || strings.HasSuffix(text, "m") {
		return text
	}
	return d.String()
}
