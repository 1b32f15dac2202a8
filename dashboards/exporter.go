package dashboards

func exporter() *board {
	return &board{
		uid: "erlops-exporter", title: "Erlang / Exporter",
		description: "The exporter itself: whether it reaches its nodes, how long scrapes take, and what it costs the nodes.",
		variables: append(chooseNodes(), choice{
			name: "exporter", label: "Exporter", query: "label_values(erlang_exporter_scrape_requests_in_flight, instance)", all: ".+",
		}.build()),
		annotations: nodeEvents(),
		sections: []section{
			{panels: exporterNow()},
			{id: 100, title: "Scrapes", panels: exporterScrapes()},
			{id: 101, title: "Attaching and discovery", panels: exporterAttaching()},
			{id: 102, title: "What it costs the nodes", panels: exporterAgents()},
			{id: 103, title: "The program", panels: exporterProgram()},
			{id: 104, title: "Graphite", panels: exporterGraphite()},
		},
	}
}

func exporterNow() []panel {
	yes := map[string]state{"0": {"no", "red"}, "1": {"yes", "green"}}
	return []panel{
		{
			id: 1, kind: number, title: "Exporter is up", w: 8, h: 3, mapping: yes, none: "not scraped",
			normal: "yes.", ill: "Prometheus does not get the exporter's own page.", todo: "see its service and its log.",
			queries: []query{{expr: `min(up{instance=~"$exporter"} and on (instance) erlang_exporter_scrape_requests_in_flight or up{instance=~"$exporter"})`}},
		},
		{
			id: 2, kind: number, title: "Last reload succeeded", w: 8, h: 3, mapping: yes, none: "not scraped",
			normal: "yes.", ill: "the configuration file has an error: the former configuration is in force.", todo: "erl-exporter --config.check says what is wrong and where.",
			queries: []query{{expr: "min(" + exporters.of("erlang_exporter_config_last_reload_successful") + ")"}},
		},
		{
			id: 3, kind: number, title: "Configuration is from", w: 8, h: 3, unit: "dateTimeFromNow",
			normal: "when you last changed it.", ill: "before the last change: it was not reloaded.", todo: "send SIGHUP, or POST /-/reload.",
			queries: []query{{expr: "max(" + exporters.of("erlang_exporter_config_last_reload_success_timestamp_seconds") + ") * 1000"}},
		},
		{
			id: 4, kind: stacked, title: "Nodes by state", w: 12, h: 8, colors: nodeColors(), least: zero,
			normal: "nearly all up.", ill: "down, refused or connecting that stay.", todo: "see the fleet's list of nodes that are not up.",
			queries: []query{{expr: sumBy("state", exporters.of("erlang_exporter_nodes")), legend: "{{state}}"}},
		},
		{
			id: 5, kind: list, title: "Exporters", w: 12, h: 8, none: "No exporter is scraped.",
			normal: "the versions that you deployed.", ill: "different versions of one fleet for longer than a roll-out.", todo: "finish the roll-out.",
			queries: []query{{expr: "max by (instance, version, revision, goversion) (" + exporters.of("erlang_exporter_build_info") + ")", table: true}},
			columns: []column{{name: "version", title: "Version"}, {name: "revision", title: "Revision"}, {name: "goversion", title: "Go"}, {name: "Value"}},
		},
	}
}

func exporterScrapes() []panel {
	const duration = "erlang_exporter_scrape_request_duration_seconds"
	slow := func(quantile string) string {
		return "histogram_quantile(" + quantile + ", " + sumBy("le, handler", exporters.rate(duration+"_bucket")) + ")"
	}
	return []panel{
		{
			id: 10, kind: lines, title: "Time to answer a scrape", w: 8, h: 8, unit: "s", least: zero,
			normal: "tens of milliseconds; /metrics/nodes longer with the number of nodes.", ill: "near the scrape timeout: pages are lost.", todo: "see which nodes and collectors take long below; scrape through /probe instead of /metrics/nodes.",
			queries: []query{{expr: slow("0.5"), legend: "{{handler}} median"}, {expr: slow("0.99"), legend: "{{handler}} 99 %"}},
		},
		{
			id: 11, kind: stacked, title: "Answers by status", w: 8, h: 8, unit: "reqps", least: zero,
			normal: "200 only.", ill: "404: Prometheus asks for nodes that the exporter does not know. 503: more scrapes at a time than are allowed.", todo: "404: see the discovery of both. 503: scrape less often, or see what hangs.",
			queries: []query{{expr: sumBy("handler, code", exporters.rate("erlang_exporter_scrape_requests_total")), legend: "{{handler}} {{code}}"}},
		},
		{
			id: 12, kind: lines, title: "Scrapes being answered", w: 8, h: 8, unit: "short", least: zero,
			normal: "near 0.", ill: "rises and stays: nodes that hang.", todo: "see the errors below.",
			queries: []query{{expr: maxBy("instance, handler", exporters.of("erlang_exporter_scrape_requests_in_flight")), legend: "{{handler}}"}},
		},
		{
			id: 13, kind: lines, title: "Failed scrapes of nodes, by reason", w: 12, h: 8, unit: "ops", least: zero, none: "No scrape of a node failed.",
			normal: "none, but not_up for nodes that are down.", ill: "timeout: the node or the network is slow. collector_failed: part of the page is missing.", todo: "the exporter's log has the reason; /probe?target=NODE&debug=true shows it for one node.",
			queries: []query{{expr: "topk(15, " + sumBy("node, collector, reason", exporters.rate("erlang_exporter_scrape_errors_total")) + " > 0)", legend: "{{node}} {{collector}} {{reason}}"}},
		},
		{
			id: 14, kind: lines, title: "Series that limits left out", w: 12, h: 8, unit: "ops", least: zero, none: "No series was left out.",
			normal: "none.", ill: "pages are not whole: a node has more tables or peers than limits allow.", todo: "see limits in the configuration, or switch the collector off for this group.",
			queries: []query{
				{expr: "topk(10, " + sumBy("node, source", exporters.rate("erlang_exporter_series_dropped_total")) + " > 0)", legend: "{{node}} {{source}}"},
				{expr: "topk(10, " + maxBy("node, collector", nodes.of("erlang_exporter_scrape_series_dropped")) + " > 0)", legend: "{{node}} {{collector}} on the last page"},
				{expr: "topk(10, " + maxBy("node, collector", nodes.of("erlang_exporter_scrape_metrics_failed")) + " > 0)", legend: "{{node}} {{collector}} failed"},
			},
		},
	}
}

func exporterAttaching() []panel {
	return []panel{
		{
			id: 20, kind: lines, title: "Failed attempts to attach", w: 8, h: 8, unit: "ops", least: zero,
			normal: "none.", ill: "cookie: a wrong cookie. epmd, dns, refused: the host or the port. timeout: a firewall.", todo: "the exporter's landing page has the reason for each node in words.",
			queries: []query{{expr: sumBy("reason", exporters.rate("erlang_exporter_attach_failures_total")), legend: "{{reason}}"}},
		},
		{
			id: 21, kind: lines, title: "Time to attach", w: 8, h: 8, unit: "s", least: zero, none: "No attempt in this time.",
			normal: "below a second.", ill: "at the dial timeout (5 s): packets are dropped.", todo: "see firewalls between the exporter and the nodes.",
			queries: []query{{expr: "histogram_quantile(0.9, " + sumBy("le", exporters.rate("erlang_exporter_attach_duration_seconds_bucket")) + ")", legend: "90 %"}},
		},
		{
			id: 22, kind: lines, title: "Nodes that were attached again, top 10", w: 8, h: 8, unit: "short", least: zero,
			normal: "0.", ill: "a node that is attached again and again: its connection breaks.", todo: "see net_ticktime and the network; see what else restarts on that node.",
			queries: []query{{expr: "topk(10, " + maxBy("node", exporters.over("increase", "$__rate_interval", "erlang_exporter_node_reconnects_total")) + ")", legend: "{{node}}"}},
		},
		{
			id: 23, kind: stacked, title: "Discovered targets", w: 8, h: 8, least: zero, none: "No group of targets is configured.",
			normal: "a level line for each group.", ill: "a step down: the source of the targets lost them.", todo: "see the file, DNS or service that the group takes its targets from.",
			queries: []query{{expr: sumBy("group, mechanism", exporters.of("erlang_exporter_discovery_targets")), legend: "{{group}} {{mechanism}}"}},
		},
		{
			id: 24, kind: stacked, title: "Nodes by family", w: 8, h: 8, least: zero,
			normal: "the families that you run.", ill: "a family of a node's own name: nothing told the exporter its family.", todo: "set the label family in the group, or family.applications.",
			queries: []query{{expr: sumBy("family", exporters.of("erlang_exporter_discovered_nodes")), legend: "{{family}}"}},
		},
		{
			id: 25, kind: lines, title: "Skipped targets, changes, failed questions to epmd", w: 8, h: 8, unit: "short", least: zero,
			normal: "0, but changes with deployments.", ill: "invalid: a target that is no possible node name. duplicate: two groups have the same node. epmd failures: a host does not answer.", todo: "see the exporter's log.",
			queries: []query{
				{expr: sumBy("group, reason", exporters.of("erlang_exporter_discovery_skipped_targets")), legend: "skipped {{group}} {{reason}}"},
				{expr: "sum(" + exporters.over("increase", "$__rate_interval", "erlang_exporter_discovery_updates_total") + ")", legend: "changes"},
				{expr: "sum(" + exporters.over("increase", "$__rate_interval", "erlang_exporter_discovery_epmd_failures_total") + ")", legend: "epmd failures"},
			},
		},
	}
}

func exporterAgents() []panel {
	return []panel{
		{
			id: 30, kind: lines, title: "Round trip of a reading, top 5", w: 8, h: 8, unit: "s", least: zero,
			normal: "some milliseconds.", ill: "seconds: the node is overloaded or far away.", todo: "see the run queue of the node.",
			queries: []query{{expr: top(5, maxBy("node", nodes.of("erlang_exporter_dist_rtt_seconds"))), legend: "{{node}}"}},
		},
		{
			id: 31, kind: lines, title: "Time of collectors on the node, top 5", w: 8, h: 8, unit: "s", least: zero,
			normal: "below 10 ms.", ill: "a collector that takes hundreds of milliseconds: the node has many tables, ports or peers.", todo: "switch that collector off for the group.",
			queries: []query{{expr: top(5, maxBy("node, collector", nodes.of("erlang_exporter_scrape_duration_seconds"))), legend: "{{node}} {{collector}}"}},
		},
		{
			id: 32, kind: lines, title: "Reductions of agents, top 5", w: 8, h: 8, unit: "ops", least: zero,
			normal: "far below 50,000 a second, the default limit.", ill: "at the limit: the agent leaves collectors out.", todo: "scrape less often, or switch dear collectors off.",
			queries: []query{{expr: top(5, maxBy("node", nodes.rate("erlang_exporter_agent_reductions_total"))), legend: "{{node}}"}},
		},
		{
			id: 42, kind: lines, title: "Reductions of scans of processes, top 5", w: 8, h: 8, unit: "ops", least: zero,
			normal: "grows with the number of processes.", ill: "millions a second.", todo: "switch the collector processes off for the group.",
			queries: []query{{expr: top(5, maxBy("node", nodes.rate("erlang_exporter_agent_scan_reductions_total"))), legend: "{{node}}"}},
		},
		{
			id: 43, kind: lines, title: "Age of readings, top 5", w: 8, h: 8, unit: "s", least: zero,
			normal: "a second; what is dear is read less often: up to minutes.", ill: "grows without end: the node does not answer and old numbers are shown.",
			todo: "see the run queue of the node.",
			queries: []query{
				{expr: top(5, maxBy("node", nodes.of("erlang_exporter_snapshot_age_seconds"))), legend: "{{node}}"},
				{expr: top(5, maxBy("node, collector", nodes.of("erlang_exporter_scrape_age_seconds"))), legend: "{{node}} {{collector}}"},
			},
		},
		{
			id: 33, kind: lines, title: "Memory of agents, top 5", w: 8, h: 8, unit: "bytes", least: zero,
			normal: "some hundred kilobytes.", ill: "grows.", todo: "suspend the node in the exporter: the agent goes away within seconds; report it.",
			queries: []query{{expr: top(5, maxBy("node", nodes.of("erlang_exporter_agent_memory_bytes"))), legend: "{{node}}"}},
		},
		{
			id: 34, kind: lines, title: "Bytes of readings, top 5", w: 8, h: 8, unit: "Bps", least: zero,
			normal: "some kilobytes a second.", ill: "hundreds of kilobytes: long tables.", todo: "see limits.rows, or switch long collectors off.",
			queries: []query{{expr: top(5, maxBy("node", nodes.rate("erlang_exporter_agent_sent_bytes_total"))), legend: "{{node}}"}},
		},
		{
			id: 35, kind: lines, title: "Size of a reading, top 5", w: 8, h: 8, unit: "bytes", least: zero,
			normal: "some kilobytes.", ill: "megabytes.", todo: "see limits.rows, or switch long collectors off.",
			queries: []query{{expr: top(5, maxBy("node", nodes.of("erlang_exporter_snapshot_bytes"))), legend: "{{node}}"}},
		},
		{
			id: 36, kind: list, title: "Collectors that are left out or fail", w: 12, h: 8, none: "All collectors read what they can.",
			normal: "an empty list.", ill: "shed: left out to keep the node within its budget. failed: the exporter's log says why.", todo: "shed: raise agent.reductions or switch collectors off. failed: /probe?target=NODE&debug=true.",
			queries: []query{{
				expr: `label_replace(` + maxBy("node, collector", nodes.of("erlang_exporter_scrape_shed")) + ` == 1, "what", "shed", "", "") or label_replace(` +
					maxBy("node, collector", nodes.of("erlang_exporter_scrape_success")) + ` == 0, "what", "failed", "", "")`, table: true,
			}},
			columns: []column{{name: "node", title: "Node", link: true}, {name: "collector", title: "Collector"}, {name: "what", title: "What"}, {name: "Value"}},
		},
		{
			id: 37, kind: list, title: "Collectors with nothing to read", w: 12, h: 8, none: "Every collector finds something on every node.",
			normal: "Mnesia where it does not run, microstate accounting where it is off.", ill: "the process collector on a node that runs on Linux.", todo: "the reason is beside.",
			queries: []query{{expr: maxBy("node, collector, reason", nodes.of("erlang_exporter_scrape_missing")), table: true}},
			columns: []column{{name: "node", title: "Node", link: true}, {name: "collector", title: "Collector"}, {name: "reason", title: "Reason"}, {name: "Value"}},
		},
		{
			id: 38, kind: lines, title: "Agents that shed, wait or drop", w: 12, h: 8, unit: "short", least: zero, none: "No agent sheds, waits or drops, and none is missing.",
			normal: "nothing is drawn.", ill: "shedding: the node is at the agent's limits. dropped: the exporter or the network did not take readings or events in time.", todo: "see reductions and bytes above.",
			queries: []query{
				{expr: maxBy("node", nodes.of("erlang_exporter_agent_shedding")) + " > 0", legend: "{{node}} sheds"},
				{expr: maxBy("node", nodes.of("erlang_up")) + " > " + maxBy("node", nodes.of("erlang_exporter_agent_up")), legend: "{{node}} has no agent"},
				{expr: maxBy("node", nodes.of("erlang_exporter_agent_message_queue_len")) + " > 10", legend: "{{node}} messages wait"},
				{expr: maxBy("node", nodes.rate("erlang_exporter_agent_dropped_total")) + " > 0", legend: "{{node}} drops a second"},
				{expr: maxBy("node, source", nodes.rate("erlang_exporter_agent_events_dropped_total")) + " > 0", legend: "{{node}} {{source}} events dropped a second"},
			},
		},
		{
			id: 39, kind: lines, title: "Budget of the nodes that readings use, top 5", w: 12, h: 8, unit: "percentunit", least: zero, limits: []float64{0.8, 1},
			normal: "below 50 %.", ill: "100 %: collectors are left out for the rest of the minute.", todo: "scrape less often, or raise agent.reductions and agent.bytes.",
			queries: []query{
				{expr: top(5, maxBy("node, resource", exporters.of("erlang_exporter_governor_budget_used_ratio"))), legend: "{{node}} {{resource}}"},
			},
		},
		{
			id: 40, kind: lines, title: "Collectors that the exporter leaves out", w: 12, h: 8, unit: "short", least: zero, none: "The exporter leaves nothing out.",
			normal: "nothing is drawn.", ill: "the cost over all sessions passed the node's budget.", todo: "see the budget above.",
			queries: []query{
				{expr: maxBy("node", exporters.of("erlang_exporter_governor_shedding")) + " > 0", legend: "{{node}} collectors left out"},
				{expr: maxBy("node", exporters.over("increase", "$__rate_interval", "erlang_exporter_governor_shed_total")) + " > 0", legend: "{{node}} left out anew"},
			},
		},
		{
			id: 41, kind: lines, title: "Events from the nodes", w: 12, h: 8, unit: "ops", least: zero, none: "No source of events is on.",
			normal: "follows what happens on the nodes.", ill: "thousands a second: a storm.", todo: "see the node's log.",
			queries: []query{{expr: "topk(10, " + maxBy("node, source", nodes.rate("erlang_exporter_agent_events_total")) + ")", legend: "{{node}} {{source}}"}},
		},
	}
}

func exporterProgram() []panel {
	return []panel{
		{
			id: 50, kind: lines, title: "CPU, in cores", w: 8, h: 8, unit: "short", least: zero,
			normal: "some per cent of a core for each hundred nodes.", ill: "several cores.", todo: "scrape less often, or share the nodes between exporters.",
			queries: []query{{expr: exporters.rate("process_cpu_seconds_total"), legend: "{{instance}}"}},
		},
		{
			id: 51, kind: lines, title: "Memory", w: 8, h: 8, unit: "bytes", least: zero,
			normal: "about a megabyte for each node.", ill: "grows for hours.", todo: "see /debug/pprof/heap.",
			queries: []query{
				{expr: exporters.of("process_resident_memory_bytes"), legend: "{{instance}} resident"},
				{expr: exporters.of("go_memstats_heap_inuse_bytes"), legend: "{{instance}} heap"},
			},
		},
		{
			id: 52, kind: lines, title: "Goroutines and open files", w: 8, h: 8, unit: "short", least: zero,
			normal: "follow the number of nodes.", ill: "grow without more nodes.", todo: "see /debug/pprof/goroutine.",
			queries: []query{
				{expr: exporters.of("go_goroutines"), legend: "{{instance}} goroutines"},
				{expr: exporters.of("process_open_fds"), legend: "{{instance}} open files"},
			},
		},
		{
			id: 53, kind: lines, title: "HTTP requests by status", w: 8, h: 8, unit: "reqps", least: zero,
			normal: "2xx.", ill: "401 and 403: somebody has a wrong token. 5xx: see the log.", todo: "see the exporter's log.",
			queries: []query{{expr: sumBy("route, code", exporters.rate("erlang_exporter_http_requests_total")), legend: "{{route}} {{code}}"}},
		},
		{
			id: 54, kind: lines, title: "Time to answer HTTP requests, 99 %", w: 8, h: 8, unit: "s", least: zero,
			normal: "below a second.", ill: "seconds.", todo: "see CPU above.",
			queries: []query{{expr: "histogram_quantile(0.99, " + sumBy("le, route", exporters.rate("erlang_exporter_http_request_duration_seconds_bucket")) + ")", legend: "{{route}}"}},
		},
		{
			id: 55, kind: lines, title: "Wrong credentials, slow subscribers, event streams", w: 8, h: 8, unit: "short", least: zero,
			normal: "0, but open streams of programs that follow events.", ill: "wrong credentials that go on: somebody guesses. Dropped events: a subscriber is too slow.", todo: "see the log for where they come from.",
			queries: []query{
				{expr: "sum(" + exporters.rate("erlang_exporter_http_authentication_failures_total") + ")", legend: "wrong credentials a second"},
				{expr: "sum(" + exporters.rate("erlang_exporter_events_dropped_total") + ")", legend: "events dropped a second"},
				{expr: "sum(" + exporters.of("erlang_exporter_api_event_streams") + ")", legend: "event streams"},
				{expr: "sum(" + exporters.of("erlang_exporter_live_watchers") + ")", legend: "live watchers"},
				{expr: "sum(" + exporters.of("erlang_exporter_live_nodes") + ")", legend: "nodes watched live"},
				{expr: "sum(" + exporters.rate("erlang_exporter_live_readings_total") + ")", legend: "live readings a second"},
				{expr: "sum(" + exporters.rate("erlang_exporter_live_events_skipped_total") + ")", legend: "live readings skipped a second"},
				{expr: "sum(" + exporters.rate("erlang_exporter_live_watchers_refused_total") + ")", legend: "live watchers refused a second"},
			},
		},
	}
}

func exporterGraphite() []panel {
	const none = "Nothing is pushed to Graphite."
	return []panel{
		{
			id: 60, kind: lines, title: "Points to Graphite", w: 8, h: 8, unit: "ops", least: zero, none: none,
			normal: "a level line of points sent.", ill: "dropped: the buffer was full for too long, or names are too long. sent once more: Graphite was restarted.", todo: "raise graphite.buffer, or see why Graphite is away.",
			queries: []query{
				{expr: "sum(" + exporters.rate("erlang_exporter_graphite_points_sent_total") + ")", legend: "sent"},
				{expr: "sum(" + exporters.rate("erlang_exporter_graphite_points_resent_total") + ")", legend: "sent once more"},
				{expr: sumBy("reason", exporters.rate("erlang_exporter_graphite_points_dropped_total")), legend: "dropped {{reason}}"},
			},
		},
		{
			id: 61, kind: lines, title: "Points that wait for Graphite", w: 8, h: 8, unit: "short", least: zero, none: none,
			normal: "0 but for moments.", ill: "grows: Graphite is away or too slow.", todo: "see the failures beside, and the log.",
			queries: []query{
				{expr: "sum(" + exporters.of("erlang_exporter_graphite_buffer_points") + ")", legend: "points"},
				{expr: "max(" + exporters.of("erlang_exporter_graphite_lag_seconds") + ")", legend: "seconds that the oldest waits"},
			},
		},
		{
			id: 62, kind: lines, title: "Failures to deliver, time until Graphite has read", w: 8, h: 8, unit: "short", least: zero, none: none,
			normal: "no failures; far below a second.", ill: "connect: Graphite is away. write, confirm: it does not read, or has gone before it had read all.", todo: "see Graphite's log and its disks.",
			queries: []query{
				{expr: sumBy("stage", exporters.over("increase", "$__rate_interval", "erlang_exporter_graphite_failures_total")), legend: "failed {{stage}}"},
				{expr: "histogram_quantile(0.9, " + sumBy("le", exporters.rate("erlang_exporter_graphite_send_duration_seconds_bucket")) + ")", legend: "seconds, 90 %"},
				{expr: "1 - min(" + exporters.of("erlang_exporter_graphite_up") + ")", legend: "away"},
				{expr: "sum(" + exporters.over("increase", "$__rate_interval", "erlang_exporter_graphite_intervals_skipped_total") + ")", legend: "intervals skipped"},
			},
		},
	}
}
