package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	lokilogs "github.com/grafana/grafana-foundation-sdk/go/logs"
	"github.com/grafana/grafana-foundation-sdk/go/loki"
)

// entries selects what the chosen nodes have logged, in Loki. Labels are those
// that the exporter gives its streams.
const entries = `{family=~"$family",node=~"$node",level=~"$level",source=~"$source"}`

// levels are those of OTP's logger by how grave they are.
var levels = map[string]state{
	"1": {"emergency", "dark-red"}, "2": {"alert", "dark-red"}, "3": {"critical", "semi-dark-red"}, "4": {"error", "red"},
	"5": {"warning", "orange"}, "6": {"notice", "yellow"}, "7": {"info", "green"}, "8": {"debug", "blue"},
}

func logs() *board {
	return &board{
		uid: "erlops-logs", title: "Erlang / Logs",
		description: "What nodes log: counted on the node, whatever is read of it, and the entries themselves from Loki; beside the numbers of the same nodes and the way to Loki.",
		variables: append(chooseNodes(),
			chooseText("level", "Level", ".+", "emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"),
			chooseText("source", "Source", ".+", "logger", "lager", "alarm", "node", "code"),
			dashboard.NewTextBoxVariableBuilder("search").Label("Search").Description("A regular expression, whatever the case")),
		annotations: nodeEvents(),
		sections: []section{
			{panels: logCounts()},
			{id: 100, title: "Entries", panels: logEntries()},
			{id: 101, title: "The nodes at that time", panels: logNodes()},
			{id: 102, title: "On the way to the receivers", panels: logSinks()},
		},
	}
}

// chooseText is a variable with fixed values.
func chooseText(name, label, all string, values ...string) cog.Builder[dashboard.VariableModel] {
	text := ""
	for i, v := range values {
		if i > 0 {
			text += ","
		}
		text += v
	}
	return dashboard.NewCustomVariableBuilder(name).Label(label).Values(dashboard.StringOrMap{String: &text}).
		Multi(true).IncludeAll(true).AllValue(all).Current(dashboard.VariableOption{
		Selected: cog.ToPtr(true),
		Text:     dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}},
		Value:    dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}},
	})
}

func logCounts() []panel {
	return []panel{
		{
			id: 1, kind: stacked, title: "Entries a second, by level", w: 12, h: 8, colors: levels, unit: "cps", least: zero,
			none:    "No node tells its log; see logs in the exporter's configuration.",
			normal:  "no errors, and of warnings about as many as yesterday.",
			ill:     "errors that go on, or many times more than yesterday.",
			todo:    "read them below; the reports beside say what kind they are.",
			queries: []query{{expr: sumBy("level", nodes.rate("erlang_vm_log_events_total")), legend: "{{level}}"}},
		},
		{
			id: 2, kind: stacked, title: "Crashes and other reports a minute", w: 12, h: 8, unit: "short", least: zero,
			normal:  "none. A system that lets it crash has some, and always about as many.",
			ill:     "more than before: the same thing fails again and again.",
			todo:    "read the reports below: who crashed, with what reason, on what request.",
			queries: []query{{expr: "60 * " + sumBy("node, type", nodes.rate("erlang_vm_crash_reports_total")), legend: "{{node}} {{type}}"}},
		},
		{
			id: 3, kind: lines, title: "Children that ended, by supervisor, a minute, top 10", w: 12, h: 8, unit: "short", least: zero,
			normal: "none.", ill: "one supervisor that restarts again and again; at its limit of intensity it gives up, and its own supervisor takes over.",
			todo:    "read the supervisor's reports below: child, reason, and how often.",
			queries: []query{{expr: top(10, "60 * "+sumBy("node, supervisor", nodes.rate("erlang_vm_supervisor_restarts_total"))), legend: "{{node}} {{supervisor}}"}},
		},
		{
			id: 4, kind: lines, title: "Entries that the nodes dropped, a second", w: 12, h: 8, unit: "cps", least: zero, limits: []float64{1},
			normal: "none.", ill: "rate_limit: more is logged than logs.rate allows; overload: 16 MB wait; failed: entries that cannot be handled.",
			todo:    "see which level above floods. What is dropped is counted in the panels above all the same.",
			queries: []query{{expr: sumBy("node, reason", nodes.rate("erlang_vm_log_events_dropped_total")), legend: "{{node}} {{reason}}"}},
		},
	}
}

func logEntries() []panel {
	const search = entries + ` |~ "(?i)$search"`
	return []panel{
		{
			id: 10, kind: stacked, title: "Entries in Loki that match, by node and level", w: 24, h: 6, unit: "short", least: zero,
			none:    "Loki has none. Choose other levels or a longer time.",
			normal:  "follows the counts above, from the level on that logs are read from.",
			ill:     "empty while the counts above are not: entries do not reach Loki.",
			todo:    "see the way to the receivers at the end of this page.",
			queries: []query{{expr: "sum by (node, level) (count_over_time(" + search + " [$__auto]))", legend: "{{node}} {{level}}", loki: true}},
		},
		{
			id: 11, kind: texts, title: "Crash, supervisor and other reports", w: 24, h: 10,
			normal: "empty.", ill: "the same report again and again.",
			todo:    "open one: its fields have the process, its registered name, the function and the line.",
			queries: []query{{expr: entries + ` | event=~"crash_report|supervisor_report|terminated|process_error" |~ "(?i)$search"`, loki: true}},
		},
		{
			id: 12, kind: texts, title: "All entries", w: 24, h: 16,
			normal: "what the nodes log from the level on that is read, and what happens to them: up, down, alarms, loaded code.", ill: "depends on what is written.",
			todo:    "search above. erl-exporter loglevel NODE LEVEL reads more of one node for a while.",
			queries: []query{{expr: search, loki: true}},
		},
	}
}

// logNodes are the numbers that explain most of what is logged.
func logNodes() []panel {
	return []panel{
		{
			id: 20, kind: lines, title: "Memory", w: 8, h: 7, unit: "bytes", least: zero,
			normal: "follows the load.", ill: "rises until the node is gone.", todo: "see the node's dashboard.",
			queries: []query{{expr: top(10, byNode(nodes.of("erlang_vm_memory_bytes_total"))), legend: "{{node}}"}},
		},
		{
			id: 21, kind: lines, title: "Run queue", w: 8, h: 7, unit: "short", least: zero,
			normal: "near zero.", ill: "above the number of schedulers for minutes.", todo: "see the node's dashboard.",
			queries: []query{{expr: top(10, byNode(nodes.of("erlang_vm_statistics_run_queues_length"))), legend: "{{node}}"}},
		},
		{
			id: 22, kind: lines, title: "Processes", w: 8, h: 7, unit: "short", least: zero,
			normal: "follows the load.", ill: "falls at once: a subtree has ended; rises without end: processes leak.", todo: "see the dashboard of processes.",
			queries: []query{{expr: top(10, byNode(nodes.of("erlang_vm_process_count"))), legend: "{{node}}"}},
		},
	}
}

// logSinks are those of the exporters themselves.
func logSinks() []panel {
	return []panel{
		{
			id: 30, kind: lines, title: "Sent, a second", w: 8, h: 7, unit: "cps", least: zero, none: "No receiver is configured.",
			normal: "as many as are logged.", ill: "none while nodes log.", todo: "see the queue and the retries beside, and the exporter's log.",
			queries: []query{{expr: sumBy("sink", anything.rate("erlang_exporter_log_lines_forwarded_total")), legend: "{{sink}}"}},
		},
		{
			id: 31, kind: lines, title: "Dropped on the way, a second", w: 8, h: 7, unit: "cps", least: zero, limits: []float64{1}, none: "Nothing was dropped.",
			normal: "none.", ill: "queue_full and disk: the receiver is away for too long, or too slow; refused: it answers that it does not want them.",
			todo:    "refused: raise the limits of Loki that docs/logs.md names. Otherwise see the receiver.",
			queries: []query{{expr: sumBy("sink, reason", anything.rate("erlang_exporter_log_lines_dropped_total")), legend: "{{sink}} {{reason}}"}},
		},
		{
			id: 32, kind: lines, title: "Failed deliveries a second, and time to deliver, 90 %", w: 8, h: 7, unit: "short", least: zero, none: "No receiver is configured.",
			normal: "no failures, and below a second.", ill: "failures that go on: the receiver is away; they are made again.", todo: "see the receiver, and what the exporter's log says of it.",
			queries: []query{
				{expr: sumBy("sink", anything.rate("erlang_exporter_push_errors_total")), legend: "{{sink}} failures"},
				{expr: "histogram_quantile(0.9, " + sumBy("sink, le", anything.rate("erlang_exporter_log_send_duration_seconds_bucket")) + ")", legend: "{{sink}} seconds"},
			},
		},
		{
			id: 33, kind: lines, title: "Entries that wait", w: 8, h: 7, unit: "short", least: zero, none: "No receiver is configured.",
			normal: "near zero.", ill: "grows: the receiver is away or too slow.", todo: "see the failures above.",
			queries: []query{{expr: sumBy("sink", "erlang_exporter_log_queue_entries"), legend: "{{sink}}"}},
		},
		{
			id: 34, kind: lines, title: "Size of what waits", w: 8, h: 7, unit: "bytes", least: zero, none: "No receiver is configured.",
			normal: "near zero.", ill: "near logs.queue.size: soon the oldest is dropped.", todo: "see the retries above.",
			queries: []query{{expr: sumBy("sink", "erlang_exporter_log_queue_bytes"), legend: "{{sink}}"}},
		},
		{
			id: 35, kind: lines, title: "Entries and events the exporter took, a second", w: 8, h: 7, unit: "cps", least: zero,
			normal: "follows what the nodes log.", ill: "none while nodes log.", todo: "see the agents in the exporter's dashboard.",
			queries: []query{{expr: sumBy("source", anything.rate("erlang_exporter_notifications_total")), legend: "{{source}}"}},
		},
	}
}

func lokiSource() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("loki"), Uid: cog.ToPtr("${loki}")}
}

// fromLoki is the query as one to Loki.
func (q query) fromLoki(ref string) *loki.DataqueryBuilder {
	return loki.NewDataqueryBuilder().Expr(q.expr).RefId(ref).LegendFormat(q.legend).QueryType("range").
		EditorMode(loki.QueryEditorModeCode).Datasource(lokiSource())
}

func (p panel) texts(at dashboard.GridPos) cog.Builder[dashboard.Panel] {
	b := lokilogs.NewPanelBuilder().Id(p.id).Title(p.title).Description(p.description()).GridPos(at).
		Datasource(lokiSource()).ShowTime(true).WrapLogMessage(true).EnableLogDetails(true).
		SortOrder(common.LogsSortOrderDescending).DedupStrategy(common.LogsDedupStrategyNone)
	for i, q := range p.queries {
		b = b.WithTarget(q.build(i))
	}
	return b
}
