package dashboards

func deployments() *board {
	return &board{
		uid: "erlops-deployments", title: "Erlang / Deployments",
		description: "What erl-deploy does: nodes by state, tasks that are under way, steps that take long or fail.",
		variables:   chooseNodes(), annotations: nodeEvents(), from: "now-6h",
		sections: []section{
			{panels: deploymentsNow()},
			{id: 100, title: "Steps", panels: deploymentSteps()},
		},
	}
}

// deployedStates are the states of nodes as the deployer tells them.
var deployedStates = map[string]state{
	"1": {"UP", "green"}, "2": {"STOPPED", "blue"}, "3": {"UNINIT", "yellow"}, "4": {"DOWN", "orange"}, "5": {"ERROR", "red"},
}

func deploymentsNow() []panel {
	deployed := scope(`family=~"$family"`).of("erl_deploy_nodes")
	yes := map[string]state{"0": {"no", "red"}, "1": {"yes", "green"}}
	return []panel{
		{
			id: 1, kind: number, title: "Exporter is followed", w: 8, h: 3, mapping: yes, none: "no deployer is scraped",
			normal: "yes.", ill: "the deployer cannot register nodes with the exporter: deployed nodes are not watched.", todo: "see the deployer's log, and whether the exporter runs.",
			queries: []query{{expr: "min(erl_deploy_exporter_up)"}},
		},
		{
			id: 2, kind: number, title: "Nodes to be registered", w: 8, h: 3, limits: []float64{1}, none: "no deployer is scraped",
			normal: "0.", ill: "nodes that the exporter has yet to be told of, or told to forget, for more than a minute.", todo: "see whether the exporter is followed.",
			queries: []query{{expr: "sum(erl_deploy_registrations_pending)"}},
		},
		{
			id: 3, kind: number, title: "Tasks under way", w: 8, h: 3, none: "no deployer is scraped",
			normal: "0 between deployments.", ill: "a task that does not end for an hour.", todo: "erl-deploy status says at which step it is.",
			queries: []query{{expr: "sum(erl_deploy_tasks) or 0 * sum(erl_deploy_exporter_up)"}},
		},
		{
			id: 4, kind: stacked, title: "Nodes by state", w: 8, h: 8, colors: deployedStates, least: zero, none: "No node was ever deployed.",
			normal: "UP.", ill: "states between that stay, or failed ones.", todo: "erl-deploy status says what failed and why.",
			queries: []query{{expr: sumBy("state", deployed), legend: "{{state}}"}},
		},
		{
			id: 6, kind: list, title: "Nodes that are not UP", w: 8, h: 8, none: "All nodes are UP.",
			normal: "an empty list between deployments.", ill: "ERROR: a step failed for good. DOWN: the node ended.", todo: "erl-deploy status says what failed and why.",
			queries: []query{{expr: "sort_desc(" + sumBy("family, provider, state", scope(`family=~"$family",state!="UP"`).of("erl_deploy_nodes")) + " > 0)", table: true}},
			columns: []column{
				{name: "Value", title: "Nodes"}, {name: "state", title: "State"}, {name: "family", title: "Family"}, {name: "provider", title: "Provider"},
			},
		},
		{
			id: 5, kind: lines, title: "Tasks by action", w: 8, h: 8, least: zero, none: "No task is under way.",
			normal: "short humps at deployments.", ill: "a line that stays.", todo: "erl-deploy status says at which step it is.",
			queries: []query{{expr: sumBy("action", "erl_deploy_tasks"), legend: "{{action}}"}},
		},
	}
}

func deploymentSteps() []panel {
	return []panel{
		{
			id: 10, kind: lines, title: "Steps that failed for good", w: 8, h: 8, least: zero,
			normal: "0.", ill: "any: a node is not in the state that was asked for.", todo: "erl-deploy status says what failed and why.",
			queries: []query{{expr: sumBy("step", anything.over("increase", "$__rate_interval", "erl_deploy_step_failures_total")) + " > 0", legend: "{{step}}"}}, none: "No step failed.",
		},
		{
			id: 11, kind: lines, title: "Attempts that were repeated", w: 8, h: 8, least: zero,
			normal: "0, now and then 1.", ill: "many: a host or a provider that hardly answers.", todo: "see the deployer's log.",
			queries: []query{{expr: sumBy("step", anything.over("increase", "$__rate_interval", "erl_deploy_step_retries_total")) + " > 0", legend: "{{step}}"}}, none: "No attempt was repeated.",
		},
		{
			id: 12, kind: lines, title: "Time of steps, 90 %", w: 8, h: 8, unit: "s", least: zero, none: "No step ended in this time.",
			normal: "seconds; uploading and machines of clouds take minutes.", ill: "a step that takes a multiple of before.", todo: "upload: the network or the archive's size. start: see the node's log.",
			queries: []query{{expr: "histogram_quantile(0.9, " + sumBy("le, step", anything.rate("erl_deploy_step_duration_seconds_bucket")) + ") >= 0", legend: "{{step}}"}},
		},
		{
			id: 13, kind: lines, title: "Uploads", w: 12, h: 7, unit: "Bps", least: zero, none: "No deployer serves its API.",
			normal: "0 but when releases are added.", ill: "an upload that takes for ever: some kilobytes a second.", todo: "see the network between who adds the release and the deployer.",
			queries: []query{{expr: "sum(" + anything.rate("erl_deploy_api_uploaded_bytes_total") + ")", legend: "uploaded"}},
		},
		{
			id: 14, kind: lines, title: "Event streams", w: 12, h: 7, unit: "short", least: zero, none: "No deployer serves its API.",
			normal: "one for each program that watches.", ill: "grows: watchers that nobody ends.", todo: "see who is connected.",
			queries: []query{{expr: "sum(erl_deploy_api_event_streams)", legend: "streams"}},
		},
	}
}
