package metrics

import (
	"cmp"

	"github.com/erlops/erlops/exporter/snapshot"
)

// rabbitMQIdentityName is the family that RabbitMQ's dashboards join all others
// with, by instance and job.
const rabbitMQIdentityName = "rabbitmq_identity_info"

// rabbitMQEndpoint is one of the endpoints of RabbitMQ's own plugin: its dashboards
// let the user choose among those that there are.
const rabbitMQEndpoint = "aggregated"

// rabbitMQFamilies are what RabbitMQ's dashboards of the Erlang VM ask for besides
// the metrics of prometheus.erl. They are on pages only with
// Settings.RabbitMQIdentity.
func rabbitMQFamilies() []Family {
	const asks = "for RabbitMQ's dashboards"
	identity := complete([]Family{{
		Name: rabbitMQIdentityName, Help: "1; the node, and its family as the cluster, " + asks, Call: "exporter",
		Labels: labelled("rabbitmq_node", "rabbitmq_cluster", "rabbitmq_endpoint"),
	}}, Family{Type: Gauge, Cost: None})
	process := complete([]Family{{
		Name: "rabbitmq_process_resident_memory_bytes", Help: "Resident memory of the node's OS process, " + asks,
		Call: "/proc/self/status of the node", Samples: single("resident_bytes"),
	}}, Family{Type: Gauge, Collector: snapshot.OSProcess, Table: "process", Cost: Moderate, Origin: "rabbitmq_prometheus"})
	tables := complete([]Family{
		{Name: "erlang_vm_ets_tables", Help: "ETS tables, " + asks, Call: "ets:all/0", Samples: single("ets_tables")},
		{Name: "erlang_vm_dets_tables", Help: "Open DETS tables, " + asks, Call: "dets:all/0", Samples: single("dets_tables")},
	}, Family{Type: Gauge, Collector: snapshot.Memory, Table: "memory", Cost: Cheap, Origin: prometheusErl})
	return append(append(identity, process...), tables...)
}

// rabbitMQIdentity writes who the node is on a page of its own. On a page of many
// nodes the join by instance and job would be ambiguous.
func (n *nodePage) rabbitMQIdentity(node Node) {
	if _, ok := n.own[rabbitMQIdentityName]; !ok || n.common != "" {
		return
	}
	n.exporter(rabbitMQIdentityName, 1, n.value(node.Name), n.value(cmp.Or(node.Family, node.Name)), rabbitMQEndpoint)
}
