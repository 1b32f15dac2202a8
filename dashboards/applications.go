package dashboards

func applications() *board {
	info := nodes.of("erlang_vm_application_info")
	return &board{
		uid: "erlops-applications", title: "Erlang / Applications",
		description: "Which OTP applications run where, in which versions, and what their processes cost.",
		variables:   chooseNodes(), annotations: nodeEvents(),
		sections: []section{{panels: []panel{
			{
				id: 1, kind: lines, title: "Running and loaded applications", w: 12, h: 8, unit: "short", least: zero,
				normal: "level after the start, and the same on the nodes of a family.", ill: "fewer that run: an application has ended.",
				todo:    "see which is loaded and does not run beside, and the node's log.",
				queries: []query{{expr: maxBy("node, state", nodes.of("erlang_vm_applications")), legend: "{{node}} {{state}}"}},
			},
			{
				id: 2, kind: list, title: "Loaded and not running, where others of the family run them", w: 12, h: 8, none: "All nodes of each family run the same.",
				normal: "an empty list.", ill: "an application that ended on this node alone.",
				todo: "see the node's log; start it again with application:ensure_all_started/1 once you know why.",
				queries: []query{{
					expr: maxBy("family, node, application", nodes.of("erlang_vm_application_info", `state="loaded"`)) +
						" and on (family, application) " + maxBy("family, application", nodes.of("erlang_vm_application_info", `state="running"`)),
					table: true,
				}},
				columns: []column{
					{name: "node", title: "Node", link: true}, {name: "application", title: "Application"}, {name: "family", title: "Family"}, {name: "Value"},
				},
			},
			{
				id: 3, kind: list, title: "More than one version in a family", w: 8, h: 9, none: "Every family has one version of each application.",
				normal: "an empty list.", ill: "a roll-out that has not ended, or a node that was forgotten.",
				todo: "see which nodes have which version beside.",
				queries: []query{{
					expr:  "count by (family, application) (count by (family, application, version) (" + info + ")) > 1",
					table: true,
				}},
				columns: []column{{name: "family", title: "Family"}, {name: "application", title: "Application"}, {name: "Value", title: "Versions"}},
			},
			{
				id: 4, kind: list, title: "Applications and versions", w: 16, h: 9, none: "No node told its applications.",
				normal: "one line for each application of a family.", ill: "an application in several versions.",
				todo:    "choose the node above.",
				queries: []query{{expr: "count by (family, application, version, state) (" + info + ")", table: true}},
				columns: []column{
					{name: "family", title: "Family"}, {name: "application", title: "Application"}, {name: "version", title: "Version"},
					{name: "state", title: "State"}, {name: "Value", title: "Nodes"},
				},
			},
		}}},
	}
}
