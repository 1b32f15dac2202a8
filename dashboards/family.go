package dashboards

// compared are the metrics in which the nodes of a family should be alike.
var compared = []struct {
	title, unit, expr, about string
}{
	{"Resident memory", "bytes", nodes.of("process_resident_memory_bytes"), "memory"},
	{"Memory of processes", "bytes", nodes.of("erlang_vm_memory_bytes_total", `kind="processes"`), "heaps and mailboxes"},
	{"Memory of binaries", "bytes", nodes.of("erlang_vm_memory_system_bytes_total", `usage="binary"`), "large binaries"},
	{"Memory of ETS tables", "bytes", nodes.of("erlang_vm_memory_system_bytes_total", `usage="ets"`), "tables"},
	{"CPU, in cores", "short", cpu(), "work"},
	{"Run queue", "short", nodes.of("erlang_vm_statistics_run_queues_length"), "waiting processes"},
	{"Reductions", "ops", nodes.rate("erlang_vm_statistics_reductions_total"), "work"},
	{"Garbage collections", "ops", nodes.rate("erlang_vm_statistics_garbage_collection_number_of_gcs"), "garbage"},
	{"Processes", "short", nodes.of("erlang_vm_process_count"), "sessions and connections"},
	{"Ports", "short", nodes.of("erlang_vm_port_count"), "connections"},
	{"Messages in mailboxes", "short", nodes.of("erlang_vm_messages_in_queues"), "waiting messages"},
	{"Weighted utilisation of schedulers", "percentunit", nodes.of("erlang_vm_scheduler_utilisation_ratio", `type="weighted"`), "work"},
	{"Open files", "short", nodes.of("process_open_fds"), "connections"},
	{"Bytes read", "Bps", nodes.rate("erlang_vm_statistics_bytes_received_total"), "traffic"},
	{"Bytes written", "Bps", nodes.rate("erlang_vm_statistics_bytes_output_total"), "traffic"},
}

// deviation is how far each node is from the median of its family, as a part of
// the median.
func deviation(expr string) string {
	return "(" + byNode(expr) + ") / on (job, family) group_left () (quantile by (job, family) (0.5, " + byNode(expr) + ") > 0) - 1"
}

func family() *board {
	b := &board{
		uid: "erlops-family", title: "Erlang / Family",
		description: "The nodes of one family beside each other: nodes that do the same work should look the same.",
		variables:   chooseFamily(), annotations: nodeEvents(),
		sections: []section{{panels: familyNow()}},
	}
	for i, m := range compared {
		id := uint32(10 + 2*i)
		b.sections = append(b.sections, section{id: uint32(100 + i), title: m.title, panels: []panel{
			{
				id: id, kind: stacked, title: m.title, w: 12, h: 7, unit: m.unit, least: zero,
				normal: "shares of about the same height.", ill: "one node with much more or less of the " + m.about + " than the others, or a sum that grows without more load.",
				todo:    "see the deviation beside, then that node's dashboard. A node with less may be out of the load balancer.",
				queries: []query{{expr: byNode(m.expr), legend: "{{node}}"}},
			},
			{
				id: id + 1, kind: lines, title: m.title + ": deviation from the median", w: 12, h: 7, unit: "percentunit", around: 0.5,
				none:   "The median is 0.",
				normal: "lines near 0 %.", ill: "a line that leaves the others for minutes: +100 % is twice the median, -100 % nothing at all.",
				todo:    "see what is particular about that node: an older version, a leader's work, no traffic.",
				queries: []query{{expr: deviation(m.expr), legend: "{{node}}"}},
			},
		}})
	}
	return b
}

func familyNow() []panel {
	differ := ""
	for i, m := range compared {
		if i > 0 {
			differ += " or "
		}
		differ += `label_replace(` + deviation(m.expr) + `, "metric", "` + m.title + `", "", "")`
	}
	expr, mapping := stateNumber()
	return []panel{
		{
			id: 1, kind: number, title: "Nodes up", w: 4, h: 5,
			normal: "all nodes of the family.", ill: "fewer than you run.", todo: "see the states beside.",
			queries: []query{{expr: "sum(" + nodes.of("erlang_up") + ")"}},
		},
		{
			id: 2, kind: states, title: "State of each node", w: 20, h: 5, mapping: mapping, none: "No node is known.",
			normal: "green.", ill: "red: down. Dark red: refused.", todo: "open the node's dashboard; the exporter's landing page has the reason in words.",
			queries: []query{{expr: expr, legend: "{{node}}"}},
		},
		{
			id: 3, kind: list, title: "Who differs most", w: 24, h: 8, limits: []float64{1, 3}, none: "All nodes are alike, or the family has one node only.",
			normal: "an empty list: every node within 50 % of the median.", ill: "the node at the top, in the metric beside it. A family of two has its median in the middle between both.",
			todo:    "open the node's dashboard. A node far below the others gets no work.",
			queries: []query{{expr: "topk(15, abs(" + differ + ") > 0.5)", table: true}},
			columns: []column{
				{name: "node", title: "Node", link: true}, {name: "metric", title: "Differs in"}, {name: "family", title: "Family"},
				{name: "Value", title: "From the median", unit: "percentunit"},
			},
		},
	}
}
