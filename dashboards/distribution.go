package dashboards

import "github.com/grafana/grafana-foundation-sdk/go/cog"

func one() *float64 { return cog.ToPtr(1.0) }

// peers are the links of the chosen nodes, by what names them.
func peers(expr string) string { return maxBy("node, peer", expr) }

const arrow = "{{node}} → {{peer}}"

func distribution() *board {
	return &board{
		uid: "erlops-distribution", title: "Erlang / Distribution",
		description: "The connections between nodes: which are up, what goes through them, and what waits.",
		variables:   chooseNodes(), annotations: nodeEvents(),
		sections: []section{
			{panels: distributionNow()},
			{id: 100, title: "Traffic", panels: distributionTraffic()},
			{id: 101, title: "What waits", panels: distributionQueues()},
			{id: 102, title: "The processes and ports of the links", panels: distributionProcesses()},
		},
	}
}

func distributionNow() []panel {
	link := nodes.of("erlang_vm_dist_node_state")
	return []panel{
		{
			id: 1, kind: number, title: "Links up", w: 8, h: 3,
			normal: "n × (n − 1) for a full mesh of n nodes: each node counts its end.", ill: "fewer: a partition, or nodes that hide from each other.",
			todo: "see the states of the links.", queries: []query{{expr: "count(" + link + " == 3) or vector(0)"}},
		},
		{
			id: 2, kind: number, title: "Links not up", w: 8, h: 3, limits: []float64{1},
			normal: "0.", ill: "links that are being connected for more than some seconds: the peer hangs or a firewall drops packets.",
			todo: "see which below; try from the node: net_adm:ping/1.", queries: []query{{expr: "count(" + link + " < 3) or vector(0)"}},
		},
		{
			id: 3, kind: number, title: "Bytes that wait", w: 8, h: 3, unit: "bytes", limits: []float64{524288, 1048576},
			normal: "0.", ill: "more than half of the busy limit (1 MiB by default): soon senders are suspended.",
			todo: "see which link below, and look at its peer.", queries: []query{{expr: "max(" + nodes.of("erlang_vm_dist_node_queue_size_bytes") + ")"}}, none: "No links.",
		},
		{
			id: 5, kind: lines, title: "Connected nodes", w: 24, h: 6, unit: "short", least: zero,
			normal: "visible: the other nodes of the cluster. hidden: the exporter, remote shells.", ill: "visible that falls on one node: it lost its cluster. known that grows: node names that change with every start; each is an atom that is never freed.",
			todo: "see the states of the links.", queries: []query{{expr: maxBy("node, type", nodes.of("erlang_vm_dist_connected_nodes")), legend: "{{node}} {{type}}"}},
		},
		{
			id: 6, kind: lines, title: "Links that came up or went down", w: 12, h: 6, unit: "ops", least: zero, none: "No link came or went.",
			normal: "0 but when nodes are restarted.", ill: "links that come and go: the network, or nodes that do not answer within net_ticktime.",
			todo:    "see which nodes they have in common, and their log.",
			queries: []query{{expr: maxBy("node, peer, event", nodes.rate("erlang_vm_dist_connection_events_total")), legend: arrow + " {{event}}"}},
		},
		{
			id: 7, kind: lines, title: "Links as both ends see them, whole fleet", w: 12, h: 6, unit: "short", least: zero,
			normal: "connected, and neither asymmetric, lost nor partition.", ill: "asymmetric: one end sees the other and is not seen; lost: both run and do not see each other; partition: either of them, more than once in a row.",
			todo: "the topology in the dashboard of the fleet shows which; erl-exporter graph says why.",
			queries: []query{
				{expr: sumBy("status", "erlang_exporter_graph_links"), legend: "{{status}}"},
				{expr: "sum(erlang_exporter_graph_partition_links)", legend: "partition"},
				{expr: "sum(erlang_exporter_graph_left_out)", legend: "not drawn"},
			},
		},
		{
			id: 4, kind: states, title: "State of each link", w: 24, h: 9, none: "No links between nodes.",
			mapping: map[string]state{"0": {"closed", "red"}, "1": {"pending", "orange"}, "2": {"up_pending", "yellow"}, "3": {"up", "green"}},
			normal:  "green.", ill: "red: the link was closed. Orange for more than some seconds: it cannot be made.",
			todo:    "red on both sides: the network or net_ticktime. On one side: look at the exporter and at the node that is green.",
			queries: []query{{expr: untilGone(peers(link), peers(nodes.recent("erlang_vm_dist_node_state"))), legend: arrow}},
		},
	}
}

func distributionTraffic() []panel {
	rates := func(id uint32, title, unit, metric, more string) panel {
		return panel{
			id: id, kind: lines, title: title, w: 12, h: 8, unit: unit, least: zero, none: "No links between nodes.",
			normal: "follows the load, and is about the same for nodes that do the same.", ill: "one link with a multiple of the others. " + more,
			todo:    "find what sends so much: large messages, a process that everybody calls, a table that is copied.",
			queries: []query{{expr: peers(nodes.rate(metric)), legend: arrow}},
		}
	}
	size := func(id uint32, title, bytes, count string) panel {
		return panel{
			id: id, kind: lines, title: title, w: 12, h: 8, unit: "bytes", least: zero, none: "No packets were sent.",
			normal: "hundreds of bytes to some kilobytes.", ill: "tens of kilobytes: large messages hold up the small ones behind them, heartbeats too.",
			todo:    "send large data in pieces, or beside the distribution.",
			queries: []query{{expr: peers(nodes.rate(bytes)) + " / (" + peers(nodes.rate(count)) + " > 0)", legend: arrow}},
		}
	}
	messages := rates(16, "Messages sent", "ops", "erlang_vm_dist_messages_out_total", "Many small ones cost CPU on both sides.")
	received := rates(17, "Messages received", "ops", "erlang_vm_dist_messages_in_total", "Many small ones cost CPU on both sides.")
	return []panel{
		messages, received,
		rates(10, "Sent", "Bps", "erlang_vm_dist_send_bytes", "At the bandwidth of the network nothing else gets through."),
		rates(11, "Received", "Bps", "erlang_vm_dist_recv_bytes", "At the bandwidth of the network nothing else gets through."),
		rates(12, "Packets sent", "pps", "erlang_vm_dist_send_cnt", "Many small ones cost CPU on both sides."),
		rates(13, "Packets received", "pps", "erlang_vm_dist_recv_cnt", "Many small ones cost CPU on both sides."),
		size(14, "Average size of packets sent", "erlang_vm_dist_send_bytes", "erlang_vm_dist_send_cnt"),
		size(15, "Average size of packets received", "erlang_vm_dist_recv_bytes", "erlang_vm_dist_recv_cnt"),
	}
}

func distributionQueues() []panel {
	wait := func(id uint32, title, metric, normal, ill, todo string) panel {
		return panel{
			id: id, kind: lines, title: title, w: 8, h: 8, unit: "bytes", least: zero, none: "No links between nodes.",
			normal: normal, ill: ill, todo: todo, queries: []query{{expr: peers(nodes.of(metric)), legend: arrow}},
		}
	}
	ratio := nodes.of("erlang_vm_dist_node_queue_size_bytes") + " / on (job, node) group_left () " + nodes.of("erlang_vm_dist_buffer_busy_limit_bytes")
	return []panel{
		{
			id: 23, kind: lines, title: "Distribution buffer of its busy limit", w: 24, h: 8, unit: "percentunit", least: zero, limits: []float64{0.5, 0.9}, none: "No links between nodes.",
			normal: "near 0 %.", ill: "100 %: every process that sends to the peer is suspended.", todo: "look at the peer: is it overloaded, is the network full? Then raise +zdbbl.",
			queries: []query{{expr: peers(ratio), legend: arrow}},
		},
		wait(20, "In the distribution buffer", "erlang_vm_dist_node_queue_size_bytes",
			"0, with short peaks.", "bytes that stay: at the busy limit (+zdbbl, 1 MiB by default) every process that sends to the peer is suspended.",
			"look at the peer: is it overloaded, is the network full? Then raise +zdbbl."),
		wait(21, "In the driver queue of the port", "erlang_vm_dist_port_queue_size_bytes",
			"0.", "bytes that stay: the operating system does not take them.", "look at the network and at the peer."),
		wait(22, "Not yet sent by the socket", "erlang_vm_dist_send_pend_bytes",
			"0.", "bytes that stay: the network or the peer does not take them.", "look at the network and at the peer."),
	}
}

func distributionProcesses() []panel {
	by := func(expr string) string { return maxBy("node, peer, type", expr) }
	const legend = "{{node}} → {{peer}} {{type}}"
	return []panel{
		{
			id: 30, kind: lines, title: "Memory of the links' ports", w: 8, h: 8, unit: "bytes", least: zero, none: "No links between nodes.",
			normal: "some kilobytes.", ill: "megabytes: data that waits.", todo: "see what waits above.",
			queries: []query{{expr: peers(nodes.of("erlang_vm_dist_port_memory_bytes")), legend: arrow}},
		},
		{
			id: 31, kind: lines, title: "Mailboxes of the links' processes", w: 8, h: 8, unit: "short", least: zero, none: "No links between nodes.",
			normal: "0.", ill: "a queue under TLS: encryption is the bottleneck; one process does it for a link.", todo: "send less, or use faster ciphers and a current OTP.",
			queries: []query{{expr: by(nodes.of("erlang_vm_dist_proc_message_queue_len")), legend: legend}},
		},
		{
			id: 32, kind: lines, title: "Memory of the links' processes", w: 8, h: 8, unit: "bytes", least: zero, none: "No links between nodes.",
			normal: "some kilobytes, under TLS up to megabytes.", ill: "grows.", todo: "see the mailboxes beside.",
			queries: []query{{expr: by(nodes.of("erlang_vm_dist_proc_memory_bytes")), legend: legend}},
		},
		{
			id: 33, kind: lines, title: "Reductions of the links' processes", w: 12, h: 8, unit: "ops", least: zero, none: "No links between nodes.",
			normal: "near 0 without TLS; with TLS it follows the traffic.", ill: "one process that takes a whole scheduler (some millions a second).", todo: "spread the traffic, or send less.",
			queries: []query{{expr: by(nodes.rate("erlang_vm_dist_proc_reductions")), legend: legend}},
		},
		{
			id: 34, kind: states, title: "Status of the links' processes", w: 12, h: 8, none: "No links between nodes.",
			mapping: map[string]state{
				"0": {"gone", "transparent"}, "1": {"exiting", "red"}, "2": {"suspended", "orange"}, "3": {"runnable", "yellow"},
				"4": {"collecting garbage", "purple"}, "5": {"running", "blue"}, "6": {"waiting", "green"},
			},
			normal: "waiting.", ill: "suspended or runnable in every reading.", todo: "see the run queue of the node.",
			queries: []query{{expr: untilGone(by(nodes.of("erlang_vm_dist_proc_status")), by(nodes.recent("erlang_vm_dist_proc_status"))), legend: legend}},
		},
	}
}
