package dashboards

import "maps"

// alarmed selects what the exporter says of alarms of the chosen nodes. The job is
// that of the exporter's own page and not of the nodes.
const alarmed scope = `family=~"$family",node=~"$node"`

// severities in the order of their weight, with their colours.
var severities = map[string]state{
	"1": {"warning", "blue"}, "2": {"minor", "yellow"}, "3": {"major", "orange"}, "4": {"critical", "red"},
}

// overTime has what is no alarm's severity any more, too.
var overTime = func() map[string]state {
	all := maps.Clone(severities)
	all["0"] = state{"cleared", "transparent"}
	return all
}()

// severity is the weight of each active alarm.
func severity(by string) string {
	of := func(weight, name string) string {
		return weight + " * " + alarmed.of("erlang_exporter_alarm_active", `severity="`+name+`"`)
	}
	return maxBy(by, of("4", "critical")+" or "+of("3", "major")+" or "+of("2", "minor")+" or "+of("1", "warning"))
}

const noAlarm = "No alarm is active."

// activeAlarms is the list of alarms, the gravest first.
func activeAlarms(id, w, h uint32, expr string) panel {
	return panel{
		id: id, kind: list, title: "Active alarms", w: w, h: h, none: noAlarm, mapping: severities,
		normal: "an empty list.", ill: "critical: now. major: today, at once. minor: today. warning: this week.",
		todo:    "open the node; the exporter's API has the value, the probable cause and the proposed repair of each alarm. Acknowledge what you work on.",
		queries: []query{{expr: "sort_desc(" + expr + ")", table: true}},
		columns: []column{
			{name: "Value", title: "Severity"}, {name: "alarm", title: "Alarm"}, {name: "node", title: "Node", link: true},
			{name: "key", title: "About"}, {name: "family", title: "Family"}, {name: "state", title: "State"}, {name: "source", title: "Source"},
		},
	}
}

func alarms() *board {
	count := func(id uint32, name string, limits []float64, ill string) panel {
		return panel{
			id: id, kind: number, title: name, w: 6, h: 3, limits: limits,
			normal: "0.", ill: ill, todo: "see the list below.",
			queries: []query{{expr: "count(" + alarmed.of("erlang_exporter_alarm_active", `severity="`+name+`"`) + ") or vector(0)"}},
		}
	}
	return &board{
		uid: "erlops-alarms", title: "Erlang / Alarms",
		description: "The alarms that the exporter raised, now and before, and whether they reach Alertmanager.",
		variables:   chooseNodes(), annotations: nodeEvents(),
		sections: []section{
			{panels: []panel{
				count(1, "critical", []float64{1}, "something is down or about to be."),
				count(2, "major", []float64{1}, "something will be down soon, or works only in part."),
				count(3, "minor", []float64{1, 10}, "something to look at today."),
				count(4, "warning", []float64{5, 50}, "many: something changes, or thresholds are wrong."),
				{
					id: 5, kind: number, title: "Acknowledged", w: 8, h: 3,
					normal: "those that somebody works on.", ill: "alarms that were acknowledged and forgotten.", todo: "see the column State below.",
					queries: []query{{expr: "count(" + alarmed.of("erlang_exporter_alarm_active", `state="acknowledged"`) + ") or vector(0)"}},
				},
				{
					id: 6, kind: number, title: "Not shown", w: 8, h: 3, limits: []float64{1},
					normal: "0.", ill: "more alarms are active than alarms.limits.series allows to be shown.", todo: "see them in the exporter's API.",
					queries: []query{{expr: "sum(erlang_exporter_alarm_series_dropped) or vector(0)"}},
				},
				{
					id: 7, kind: number, title: "Alertmanagers not reached", w: 8, h: 3, limits: []float64{1},
					normal: "0; also where the exporter posts to none.", ill: "alarms are raised and this Alertmanager is not told.", todo: "see the exporter's log.",
					queries: []query{{expr: "count(erlang_exporter_alertmanager_up == 0) or vector(0)"}},
				},
				activeAlarms(8, 24, 10, severity("alarm, node, key, family, state, source")),
			}},
			{id: 100, title: "History", panels: []panel{
				{
					id: 10, kind: states, title: "Alarms over time", w: 24, h: 12, mapping: overTime, none: "No alarm was active in this time.",
					normal: "an empty picture.", ill: "the same alarm in stripes: it comes and goes. Many that begin together: one cause.",
					todo: "stripes: give the alarm's threshold more distance. Many: see what happened first.",
					queries: []query{{
						expr:   untilGone(severity("node, alarm, key"), maxBy("node, alarm, key", alarmed.recent("erlang_exporter_alarm_active"))),
						legend: "{{node}} {{alarm}} {{key}}",
					}},
				},
				{
					id: 11, kind: stacked, title: "Active alarms by severity", w: 12, h: 8, colors: severities, unit: "short", least: zero,
					normal: "level, near 0.", ill: "a step: something happened to many nodes.", todo: "see the alarms over time.",
					queries: []query{{expr: sumBy("severity", "erlang_exporter_alarms"), legend: "{{severity}}"}},
				},
				{
					id: 12, kind: lines, title: "Raised and cleared", w: 12, h: 8, unit: "short", least: zero,
					normal: "few.", ill: "raised and cleared again and again: thresholds that are too near to each other.", todo: "see the alarms over time.",
					queries: []query{
						{expr: sumBy("severity", anything.over("increase", "$__rate_interval", "erlang_exporter_alarms_raised_total")), legend: "raised {{severity}}"},
						{expr: "sum(" + anything.over("increase", "$__rate_interval", "erlang_exporter_alarms_cleared_total") + ")", legend: "cleared"},
					},
				},
				{
					id: 13, kind: lines, title: "By family", w: 12, h: 8, unit: "short", least: zero, none: "No alarm was active in this time.",
					normal: "near 0.", ill: "one family with many.", todo: "choose it above.",
					queries: []query{{expr: "count by (family) (" + alarmed.of("erlang_exporter_alarm_active") + ")", legend: "{{family}}"}},
				},
				{
					id: 14, kind: lines, title: "By alarm, top 10", w: 12, h: 8, unit: "short", least: zero, none: "No alarm was active in this time.",
					normal: "near 0.", ill: "one alarm on many nodes: one cause, or a threshold that is wrong.", todo: "see alarms.rules and alarms.overrides.",
					queries: []query{{expr: "topk(10, count by (alarm) (" + alarmed.of("erlang_exporter_alarm_active") + "))", legend: "{{alarm}}"}},
				},
			}},
			{id: 101, title: "Delivery", panels: alarmDelivery()},
		},
	}
}

func alarmDelivery() []panel {
	const none = "The exporter posts to no Alertmanager."
	return []panel{
		{
			id: 20, kind: lines, title: "Alerts at each Alertmanager", w: 8, h: 8, unit: "short", least: zero, none: none,
			normal: "as many as there are alarms, and none that wait.", ill: "some that wait for minutes.", todo: "see the requests beside, and the exporter's log.",
			queries: []query{
				{expr: maxBy("alertmanager", "erlang_exporter_alertmanager_alerts"), legend: "{{alertmanager}} firing"},
				{expr: maxBy("alertmanager", "erlang_exporter_alertmanager_waiting"), legend: "{{alertmanager}} waiting"},
			},
		},
		{
			id: 21, kind: lines, title: "Requests, alerts and silences", w: 8, h: 8, unit: "ops", least: zero, none: none,
			normal: "200 and accepted.", ill: "error: no answer. 400 and refused: an alert that Alertmanager does not take.", todo: "see the exporter's log.",
			queries: []query{
				{expr: sumBy("alertmanager, code", anything.rate("erlang_exporter_alertmanager_requests_total")), legend: "{{alertmanager}} {{code}}"},
				{expr: sumBy("alertmanager, outcome", anything.rate("erlang_exporter_alertmanager_alerts_total")), legend: "{{alertmanager}} {{outcome}}"},
				{expr: sumBy("alertmanager, action", anything.rate("erlang_exporter_alertmanager_silences_total")), legend: "{{alertmanager}} silences {{action}}"},
			},
		},
		{
			id: 22, kind: lines, title: "Time of requests, 90 %, and since the last that succeeded", w: 8, h: 8, unit: "s", least: zero, none: none,
			normal: "below a second, and below alertmanager.repeat (1 min).", ill: "minutes since the last success.", todo: "see whether that Alertmanager runs.",
			queries: []query{
				{expr: "histogram_quantile(0.9, " + sumBy("le, alertmanager", anything.rate("erlang_exporter_alertmanager_request_duration_seconds_bucket")) + ")", legend: "{{alertmanager}}"},
				{expr: "time() - " + maxBy("alertmanager", "erlang_exporter_alertmanager_last_success_timestamp_seconds"), legend: "{{alertmanager}} since success"},
			},
		},
		{
			id: 23, kind: lines, title: "Alarms that were lost", w: 24, h: 7, unit: "short", least: zero,
			normal: "0.", ill: "dropped: too many are active. not saved: the database fails; a restart loses them.", todo: "see alarms.limits and storage.",
			queries: []query{
				{expr: "sum(" + anything.over("increase", "$__rate_interval", "erlang_exporter_alarms_dropped_total") + ")", legend: "dropped"},
				{expr: "sum(" + anything.over("increase", "$__rate_interval", "erlang_exporter_alarms_history_dropped_total") + ")", legend: "not in history"},
				{expr: "sum(" + anything.over("increase", "$__rate_interval", "erlang_exporter_alarms_save_failures_total") + ")", legend: "not saved"},
			},
		},
	}
}
