package topology

import (
	"cmp"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxNodeSeries and maxEdgeSeries bound what the graph may cost Prometheus;
	// more than that nobody can see in a panel.
	maxNodeSeries = 500
	maxEdgeSeries = 2000
)

var (
	graphNodeDesc = prometheus.NewDesc("erlang_exporter_graph_node_info",
		"A node of the graph, with the fields that the node graph panel of Grafana takes; at most 500.",
		[]string{"id", "title", "subtitle", "mainstat", "secondarystat"}, nil)
	graphEdgeDesc = prometheus.NewDesc("erlang_exporter_graph_edge_info",
		"A connection of the graph, with the fields that the node graph panel of Grafana takes; at most 2000, suspect ones first.",
		[]string{"id", "source", "target", "mainstat", "secondarystat"}, nil)
	graphLeftOutDesc = prometheus.NewDesc("erlang_exporter_graph_left_out",
		"Nodes and edges that the graph has and its metrics do not, because there are too many.", []string{"kind"}, nil)
	graphLinksDesc = prometheus.NewDesc("erlang_exporter_graph_links",
		"Connections between nodes by what the views of both ends make of them.", []string{"status"}, nil)
	partitionsDesc = prometheus.NewDesc("erlang_exporter_graph_partition_links",
		"Connections that look like a network partition.", nil, nil)
	ignoredDesc = prometheus.NewDesc("erlang_exporter_connected_nodes_ignored",
		"Nodes that a target is connected to and that are not attached, by the target at which the search began and the reason.",
		[]string{"root", "reason"}, nil)
	connectedDesc = prometheus.NewDesc("erlang_exporter_connected_nodes",
		"Nodes that are targets because others are connected to them, by the target at which the search began.", []string{"root"}, nil)
)

// collector is the prometheus.Collector of a Topology.
type collector struct{ t *Topology }

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		graphNodeDesc, graphEdgeDesc, graphLeftOutDesc, graphLinksDesc, partitionsDesc, ignoredDesc, connectedDesc,
	} {
		ch <- d
	}
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	c.t.mu.Lock()
	g, ignored, known := c.t.graph, c.t.ignored, c.t.known
	c.t.mu.Unlock()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	shown := collectNodes(gauge, g)
	edges := collectEdges(gauge, g, shown)
	gauge(graphLeftOutDesc, float64(len(g.Nodes)-len(shown)), "node")
	gauge(graphLeftOutDesc, float64(len(g.Links)+g.LeftOut-edges), "edge")
	counts, partitions := map[LinkStatus]int{LinkConnected: 0, LinkAsymmetric: 0, LinkLost: 0}, 0
	for _, l := range g.Links {
		counts[l.Status]++
		if l.Partition {
			partitions++
		}
	}
	for status, n := range counts {
		gauge(graphLinksDesc, float64(n), string(status))
	}
	gauge(partitionsDesc, float64(partitions))
	roots := map[string]int{}
	for _, n := range known {
		roots[n.Root]++
	}
	for root, n := range roots {
		gauge(connectedDesc, float64(n), root)
	}
	for key, n := range ignored {
		gauge(ignoredDesc, float64(n), key.root, key.reason)
	}
}

// collectNodes shows the first nodes and returns their ids by name.
func collectNodes(gauge func(*prometheus.Desc, float64, ...string), g Graph) map[string]string {
	shown := map[string]string{}
	for _, n := range g.Nodes {
		if len(shown) == maxNodeSeries {
			break
		}
		shown[n.Name] = n.ID
		kind := ""
		if n.Hidden {
			kind = "hidden"
		}
		gauge(graphNodeDesc, 1, n.ID, n.Name, n.Family, cmp.Or(string(n.State), "no target"), kind)
	}
	return shown
}

// collectEdges shows the links between nodes that are shown, and returns how
// many.
func collectEdges(gauge func(*prometheus.Desc, float64, ...string), g Graph, shown map[string]string) int {
	links := slices.Clone(g.Links)
	slices.SortStableFunc(links, func(a, b Link) int { return cmp.Compare(rank(a), rank(b)) })
	n := 0
	for _, l := range links {
		a, okA := shown[l.A]
		b, okB := shown[l.B]
		if !okA || !okB || n == maxEdgeSeries {
			continue
		}
		n++
		kind := ""
		switch {
		case l.Partition:
			kind = "partition"
		case l.Hidden:
			kind = "hidden"
		}
		gauge(graphEdgeDesc, 1, a+"/"+b, a, b, string(l.Status), kind)
	}
	return n
}
