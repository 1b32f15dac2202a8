package dashboards

import "github.com/grafana/grafana-foundation-sdk/go/cog"

// nodeStates are the states of erlang_exporter_node_state as numbers, in the order
// from well to ill.
var nodeStates = []struct {
	name  string
	state state
}{
	{"up", state{"up", "green"}},
	{"suspended", state{"suspended", "blue"}},
	{"pending", state{"pending", "light-yellow"}},
	{"connecting", state{"connecting", "orange"}},
	{"refused", state{"refused", "dark-red"}},
	{"down", state{"down", "red"}},
}

// nodeColors are the colours of the states by their names.
func nodeColors() map[string]state {
	_, colors := stateNumber()
	return colors
}

// stateNumber is the state of each node as a number, its place in nodeStates from
// 1 on.
func stateNumber() (expr string, mapping map[string]state) {
	mapping = make(map[string]state)
	for i, s := range nodeStates {
		n := string(rune('1' + i))
		mapping[n] = s.state
		if i > 0 {
			expr += " or "
		}
		expr += n + " * (" + nodes.of("erlang_exporter_node_state", `state="`+s.name+`"`) + " == 1)"
	}
	return maxBy("job, family, node", expr), mapping
}

// nearLimits is, for each chosen node, which part of each limit it uses, with what
// is limited in the label limit.
func nearLimits() string {
	used := func(what, count, limit string) string {
		return `label_replace(` + nodes.of(count) + ` / ` + nodes.of(limit) + `, "limit", "` + what + `", "", "")`
	}
	return used("processes", "erlang_vm_process_count", "erlang_vm_process_limit") +
		" or " + used("ports", "erlang_vm_port_count", "erlang_vm_port_limit") +
		" or " + used("atoms", "erlang_vm_atom_count", "erlang_vm_atom_limit") +
		" or " + used("open files", "process_open_fds", "process_max_fds")
}

// queued is how many processes wait for each scheduler of a node.
func queued() string {
	return nodes.of("erlang_vm_statistics_run_queues_length") + " / " + nodes.of("erlang_vm_schedulers_online")
}

func cpu() string { return nodes.rate("process_cpu_seconds_total") }

// cpuUsed is the CPU that a node uses, as a part of what it may use.
func cpuUsed() string {
	return cpu() + " / " + nodes.of("erlang_vm_schedulers_online")
}

func fleet() *board {
	return &board{
		uid: "erlops-fleet", title: "Erlang / Fleet",
		description: "All Erlang nodes: which are not well, and why. Every node's name leads to its own dashboard.",
		variables:   chooseNodes(), annotations: nodeEvents(),
		sections: []section{
			{panels: fleetNow()},
			{id: 100, title: "Nodes over time", panels: fleetStates()},
			{id: 101, title: "Top offenders", panels: fleetTop()},
			{id: 102, title: "How nodes are connected, and restarts", panels: fleetTopology()},
		},
	}
}

func fleetNow() []panel {
	notUp := nodes.of("erlang_exporter_node_state", `state!="up"`) + " == 1"
	return []panel{
		{
			id: 23, kind: number, title: "Grave alarms", w: 6, h: 3, limits: []float64{1},
			normal: "0.", ill: "critical and major alarms that nobody has acknowledged.",
			todo:    "see the list of alarms: the gravest are at the top.",
			queries: []query{{expr: "count(" + alarmed.of("erlang_exporter_alarm_active", `severity=~"critical|major"`, `state="new"`) + ") or vector(0)"}},
		},
		{
			id: 1, kind: number, title: "Nodes up", w: 6, h: 3,
			normal: "as many nodes as you run.", ill: "fewer than yesterday: a node that nobody discovers any more is missing here without being down.",
			todo:    "compare with the number by family below, and with the discovery of the exporter.",
			queries: []query{{expr: "sum(" + nodes.of("erlang_up") + ")"}},
		},
		{
			id: 2, kind: number, title: "Nodes not up", w: 6, h: 3, limits: []float64{1},
			normal: "0.", ill: "any other number: these nodes do not answer the exporter.",
			todo:    "see the list of nodes that are not up: it has their states.",
			queries: []query{{expr: "count(" + nodes.of("erlang_up") + " == 0) or vector(0)"}},
		},
		{
			id: 3, kind: number, title: "Not scraped", w: 6, h: 3, limits: []float64{1},
			normal: "0.", ill: "Prometheus gets no page from the exporter for this many nodes. They may be well; nobody sees them.",
			todo:    "see whether the exporter runs and whether its scrapes take too long (dashboard Exporter).",
			queries: []query{{expr: `count(up{job=~"$job",family=~"$family",node=~"$node"} == 0) or vector(0)`}},
		},
		{
			id: 4, kind: number, title: "Restarts", w: 8, h: 3, limits: []float64{1, 5}, decimals: cog.ToPtr(0.0),
			normal: "0, or what you restarted.", ill: "nodes that restart by themselves: crashes, the out-of-memory killer, heart.",
			todo:    "see which below, then the node's log and crash dump from before the restart.",
			queries: []query{{expr: "sum(" + nodes.over("resets", "$__range", "process_uptime_seconds") + ") or vector(0)", instant: true}},
		},
		{
			id: 5, kind: number, title: "Near a limit", w: 8, h: 3, limits: []float64{1},
			normal: "0.", ill: "nodes that use more than 70 % of what they may have of processes, ports, atoms or open files. A node that reaches such a limit refuses work or dies.",
			todo:    "see the list of limits for which node and which limit.",
			queries: []query{{expr: "count(count by (job, node) ((" + nearLimits() + ") > 0.7)) or vector(0)"}},
		},
		{
			id: 6, kind: number, title: "Overloaded", w: 8, h: 3, limits: []float64{1},
			normal: "0.", ill: "nodes where more than 5 processes wait for each scheduler: they have more work than CPU.",
			todo:    "see the run queues among the top offenders, then the node's dashboard.",
			queries: []query{{expr: "count((" + queued() + ") > 5) or vector(0)"}},
		},
		activeAlarms(24, 24, 7, "topk(20, "+severity("alarm, node, key, family, state, source")+")"),
		{
			id: 7, kind: list, title: "Nodes that are not up", w: 8, h: 8, none: "All nodes are up.",
			normal: "an empty list.", ill: "`down`: does not answer. `refused`: answers and does not let the exporter in. `suspended`: somebody suspended it. `pending` and `connecting` for more than a minute: the network.",
			todo:    "down: see whether the node and its epmd run. refused: compare cookies; the exporter's landing page has the reason in words.",
			queries: []query{{expr: notUp, table: true}},
			columns: []column{
				{name: "node", title: "Node", link: true}, {name: "family", title: "Family"}, {name: "state", title: "State"},
				{name: "Value"},
			},
		},
		{
			id: 8, kind: list, title: "Closest to their limits", w: 8, h: 8, limits: []float64{0.7, 0.9}, none: "No node told its limits.",
			normal: "everything below 70 %.", ill: "yellow from 70 %, red from 90 %. Atoms are never freed: only a restart helps against them.",
			todo:    "open the node's dashboard: what grows, and since when? Raise the limit (+P, +Q, +t, ulimit -n) only when the growth is wanted.",
			queries: []query{{expr: "topk(12, " + maxBy("node, limit", nearLimits()) + ")", table: true}},
			columns: []column{
				{name: "node", title: "Node", link: true}, {name: "limit", title: "Limit"},
				{name: "Value", title: "Used", unit: "percentunit", gauge: true},
			},
		},
		{
			id: 9, kind: list, title: "Longest run queues", w: 8, h: 8, limits: []float64{5, 20}, none: "No node told its run queues.",
			normal: "below 1 for each scheduler, with short peaks.", ill: "yellow from 5, red from 20 for minutes: every process waits that many turns before it runs.",
			todo:    "open the node's dashboard: is the CPU used up, or stuck in NIFs and dirty schedulers? Move load away, or add schedulers.",
			queries: []query{{expr: "topk(12, " + maxBy("node", queued()) + ")", table: true}},
			columns: []column{
				{name: "node", title: "Node", link: true}, {name: "Value", title: "Waiting for each scheduler", unit: "short", gauge: true},
			},
		},
	}
}

func fleetStates() []panel {
	expr, mapping := stateNumber()
	return []panel{
		{
			id: 10, kind: stacked, title: "Nodes up by family", w: 8, h: 8, least: cog.ToPtr(0.0),
			normal: "a level line for each family.", ill: "a step down: nodes of that family are lost or no longer discovered. All families at once: the exporter or the network.",
			todo:    "choose the family above, and see the states beside.",
			queries: []query{{expr: sumBy("family", nodes.of("erlang_up")), legend: "{{family}}"}},
		},
		{
			id: 11, kind: states, title: "State of each node", w: 16, h: 8, mapping: mapping, none: "No node is known.",
			normal: "green.", ill: "red: down. Dark red: refused. Stripes of green and red: the node flaps.",
			todo:    "see what happened at the beginning of the red: deployments and restarts are marked.",
			queries: []query{{expr: expr, legend: "{{node}}"}},
		},
	}
}

func fleetTop() []panel {
	return []panel{
		{
			id: 12, kind: lines, title: "CPU, top 5", w: 8, h: 8, unit: "percentunit", least: cog.ToPtr(0.0), limits: []float64{0.8, 0.95},
			normal: "below 80 % of the schedulers.", ill: "above 95 % for minutes: work waits.",
			todo:    "compare with the run queue: a busy node without a queue is only well used.",
			queries: []query{{expr: top(5, maxBy("node", cpuUsed())), legend: "{{node}}"}},
		},
		{
			id: 13, kind: lines, title: "Resident memory, top 5", w: 8, h: 8, unit: "bytes", least: cog.ToPtr(0.0),
			normal: "a level line, or a saw that returns to the same floor.", ill: "a floor that rises for hours: a leak. The out-of-memory killer ends it.",
			todo:    "open the node's dashboard: which kind of memory grows?",
			queries: []query{{expr: top(5, maxBy("node", nodes.of("process_resident_memory_bytes"))), legend: "{{node}}"}},
		},
		{
			id: 14, kind: lines, title: "Run queues, top 5", w: 8, h: 8, least: cog.ToPtr(0.0), limits: []float64{5, 20},
			normal: "below 1 for each scheduler, with short peaks.", ill: "above 5 for minutes.",
			todo:    "see the CPU of the same nodes, and the reductions: is it more work or slower work?",
			queries: []query{{expr: top(5, maxBy("node", queued())), legend: "{{node}}"}},
		},
		{
			id: 15, kind: lines, title: "Processes, top 5", w: 8, h: 8, unit: "short", least: cog.ToPtr(0.0),
			normal: "follows the load (connections, channels, sessions).", ill: "grows and does not come back: processes that nobody ends.",
			todo:    "open the node's dashboard of processes: which function and which application do they belong to?",
			queries: []query{{expr: top(5, maxBy("node", nodes.of("erlang_vm_process_count"))), legend: "{{node}}"}},
		},
		{
			id: 21, kind: lines, title: "Longest mailbox, top 5", w: 8, h: 8, unit: "short", least: cog.ToPtr(0.0), limits: []float64{5000, 50000},
			none:   "No node's processes are scanned.",
			normal: "below some hundreds.", ill: "thousands that stay: a process gets more than it can do. Its memory grows until the node dies.",
			todo:    "open the dashboard of processes: it names the process.",
			queries: []query{{expr: top(5, maxBy("node", nodes.of("erlang_vm_process_mailbox_max"))), legend: "{{node}}"}},
		},
		{
			id: 22, kind: lines, title: "Scheduler utilisation, top 5", w: 8, h: 8, unit: "percentunit", least: cog.ToPtr(0.0), limits: []float64{0.85, 0.95},
			normal: "below 85 %.", ill: "above 95 % for minutes: there is no CPU left.",
			todo:    "compare with the run queue: a busy node without a queue is only well used.",
			queries: []query{{expr: top(5, maxBy("node", nodes.of("erlang_vm_scheduler_utilisation_ratio", `type="weighted"`))), legend: "{{node}}"}},
		},
		{
			id: 16, kind: lines, title: "Distribution output queue, top 5 links", w: 12, h: 8, unit: "bytes", least: cog.ToPtr(0.0), none: "No links between nodes.",
			normal: "0, with short peaks.", ill: "bytes that stay: the peer does not take them. At the busy limit (1 MiB by default) senders are suspended.",
			todo:    "look at the peer first (is it overloaded, is the network full?), then at the dashboard of distribution.",
			queries: []query{{expr: top(5, maxBy("node, peer", nodes.of("erlang_vm_dist_node_queue_size_bytes"))), legend: "{{node}} → {{peer}}"}},
		},
		{
			id: 17, kind: lines, title: "Garbage collections, top 5", w: 12, h: 8, unit: "ops", least: cog.ToPtr(0.0),
			normal: "follows the load.", ill: "a multiple of the other nodes of the family at the same load.",
			todo:    "see what the node reclaims in its dashboard, and which processes have large heaps.",
			queries: []query{{expr: top(5, maxBy("node", nodes.rate("erlang_vm_statistics_garbage_collection_number_of_gcs"))), legend: "{{node}}"}},
		},
	}
}

func fleetTopology() []panel {
	// The exporter draws the graph out of what the nodes say of each other. An
	// edge is drawn where both its ends are.
	const vertices = `max by (id, title, subtitle, mainstat, secondarystat) (erlang_exporter_graph_node_info{subtitle=~"$family",title=~"$node"})`
	const edges = `max by (id, source, target, mainstat, secondarystat) (erlang_exporter_graph_edge_info)` +
		` and on (source) label_replace(` + vertices + `, "source", "$1", "id", "(.+)")` +
		` and on (target) label_replace(` + vertices + `, "target", "$1", "id", "(.+)")`
	return []panel{
		{
			id: 18, kind: graph, title: "Topology", w: 24, h: 12,
			normal: "the nodes of a cluster are connected with each other.", ill: "links that are asymmetric or lost; a node apart from its cluster, or two halves: a partition.",
			todo:    "see the states of the links in the dashboard of distribution: it says since when. erl-exporter graph says why.",
			queries: []query{{expr: vertices, table: true, ref: "nodes"}, {expr: edges, table: true, ref: "edges"}},
		},
		{
			id: 19, kind: list, title: "Restarts in this time", w: 12, h: 6, none: "No node restarted.", limits: []float64{1, 3},
			normal: "an empty list, or what you restarted.", ill: "a node that is here more than once.",
			todo:    "see its log and its crash dump from before the restart.",
			queries: []query{{expr: "sort_desc(" + maxBy("node, family", nodes.over("resets", "$__range", "process_uptime_seconds")) + " > 0)", table: true}},
			columns: []column{
				{name: "node", title: "Node", link: true}, {name: "family", title: "Family"}, {name: "Value", title: "Restarts"},
			},
		},
		{
			id: 20, kind: list, title: "Versions", w: 12, h: 6, none: "No node told its versions.",
			normal: "one line for each family.", ill: "more lines for a family: a roll-out that has not ended, or a node that was forgotten.",
			todo: "open the family to see which nodes differ.",
			queries: []query{{
				expr:  "count by (family, release_name, release_version, otp_release, erts_version, elixir) (" + nodes.of("erlang_vm_info") + ")",
				table: true,
			}},
			columns: []column{
				{name: "family", title: "Family"}, {name: "release_name", title: "Release"}, {name: "release_version", title: "Version"},
				{name: "otp_release", title: "OTP"}, {name: "erts_version", title: "ERTS"}, {name: "elixir", title: "Elixir"},
				{name: "Value", title: "Nodes"},
			},
		},
	}
}
