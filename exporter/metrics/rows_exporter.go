package metrics

import "github.com/erlops/erlops/exporter/snapshot"

// Names of the families that the exporter computes for each page of a node.
const (
	upName            = "erlang_up"
	agentUpName       = "erlang_exporter_agent_up"
	nodeStateName     = "erlang_exporter_node_state"
	durationName      = "erlang_exporter_scrape_duration_seconds"
	successName       = "erlang_exporter_scrape_success"
	missingName       = "erlang_exporter_scrape_missing"
	shedName          = "erlang_exporter_scrape_shed"
	ageName           = "erlang_exporter_scrape_age_seconds"
	droppedName       = "erlang_exporter_scrape_series_dropped"
	failedName        = "erlang_exporter_scrape_metrics_failed"
	snapshotAgeName   = "erlang_exporter_snapshot_age_seconds"
	roundTripName     = "erlang_exporter_dist_rtt_seconds"
	snapshotBytesName = "erlang_exporter_snapshot_bytes"
)

// agentFamilies are what the agent costs its node.
func agentFamilies() []Family {
	rows := []Family{
		{
			Name: "erlang_exporter_agent_reductions_total", Type: Counter, Help: "Reductions of the agent on the node",
			Call: "erlang:process_info(self(), reductions)", Samples: single("reductions"),
		},
		{
			Name: "erlang_exporter_agent_memory_bytes", Help: "Memory of the agent on the node",
			Call: "erlang:process_info(self(), memory)", Samples: single("memory_bytes"),
		},
		{
			Name: "erlang_exporter_agent_message_queue_len", Help: "Messages in the mailbox of the agent on the node",
			Call: "erlang:process_info(self(), message_queue_len)", Samples: single("message_queue_len"),
		},
		{
			Name: "erlang_exporter_agent_dropped_total", Type: Counter, Call: "agent", Samples: single("dropped"),
			Help: "Readings and events that the agent could not send",
		},
		{
			Name: "erlang_exporter_agent_sent_bytes_total", Type: Counter, Call: "agent", Samples: single("sent_bytes"),
			Help: "Bytes of readings that the agent sent",
		},
		{
			Name: "erlang_exporter_agent_scan_reductions_total", Type: Counter, Call: "erlang:process_info(self(), reductions)",
			Help: "Reductions of the agent's scans on the node, which are not in those of the agent", Samples: single("scan_reductions"),
		},
		{
			Name: "erlang_exporter_agent_shedding", Call: "agent", Samples: single("shedding"),
			Help: "1 while the agent reads less because it passed one of its own limits, else 0",
		},
	}
	return complete(rows, Family{Type: Gauge, Collector: snapshot.Agent, Table: "agent", Cost: Cheap})
}

// agentSourceFamilies are what the sources of events on the node have told.
func agentSourceFamilies() []Family {
	rows := []Family{
		{
			Name: "erlang_exporter_agent_events_total", Samples: single("events"),
			Help: "Events that a source in the agent has had, with those that were dropped",
		},
		{
			Name: "erlang_exporter_agent_events_dropped_total", Samples: single("dropped"),
			Help: "Events that a source in the agent had to drop because the exporter did not take more",
		},
	}
	return complete(rows, Family{
		Type: Counter, Call: "agent", Labels: labelled("source"),
		Collector: snapshot.Agent, Table: snapshot.AgentSource, Cost: Cheap,
	})
}

// pageFamilies are what the exporter itself knows of a node and a scrape.
func pageFamilies() []Family {
	collector := labelled("collector")
	rows := []Family{
		{
			Name: upName, Help: "1 when the node answered this scrape, or one less than a minute ago while its session lasts, else 0", Call: "exporter",
			Note: "on /metrics/nodes with the label family besides node",
		},
		{
			Name: agentUpName, Help: "1 when the agent gave what is on this page, else 0", Call: "exporter",
			Note: "0 with erlang_up at 1: the node takes no agent, and is read by plain calls",
		},
		{
			Name: nodeStateName, Help: "1 for the state that the node is in, 0 for the others", Call: "exporter",
			Labels: labelled("state"), Note: "pending, connecting, up, down, refused, suspended",
		},
		{
			Name: durationName, Help: "Time that a collector took on the node", Call: "agent", Labels: collector,
		},
		{
			Name: successName, Help: "1 when a collector succeeded, or had nothing to read on this node, else 0", Call: "agent", Labels: collector,
		},
		{
			Name: ageName, Help: "How long ago the oldest part of a collector was read; what is dear is not read at each scrape", Call: "agent",
			Labels: collector,
		},
		{
			Name: missingName, Help: "1 for a collector that has nothing to read on this node, and why", Call: "agent",
			Labels: labelled("collector", "reason"),
		},
		{
			Name: shedName, Help: "1 when a collector was left out to keep the node within its budget, else 0", Call: "agent", Labels: collector,
		},
		{
			Name: droppedName, Help: "Series and table rows of a collector that a limit kept off this page", Call: "exporter", Labels: collector,
		},
		{
			Name: failedName, Help: "Metrics of applications that a collector could not read: they raised, hung or were no numbers", Call: "agent",
			Labels: collector,
		},
		{
			Name: roundTripName, Help: "Time from asking the node for the snapshot over the distribution to having it", Call: "exporter",
		},
		{
			Name: snapshotAgeName, Help: "How long ago the node gave the snapshot; more than a second when it did not answer this scrape", Call: "exporter",
		},
		{
			Name: snapshotBytesName, Help: "Size of the snapshot on the wire", Call: "exporter",
		},
	}
	return complete(rows, Family{Type: Gauge, Cost: None})
}
