package dashboards

// What Folsom and Exometer count is under names that only the applications know:
// they are chosen by a variable, of which the prefix is certain.
const (
	appMetrics scope = nodes + `,__name__=~"(folsom|exometer)_.+"`
	chosen     scope = appMetrics + `,__name__="$metric"`
	// parts are the labels that make several series of one metric of a node.
	parts = "name, quantile, window, datapoint"
)

func applicationMetrics() *board {
	metric := choice{name: "metric", label: "Metric", query: "label_values(" + appMetrics.of("") + ", __name__)", one: true}
	return &board{
		uid: "erlops-appmetrics", title: "Erlang / Application metrics",
		description: "What applications count with Folsom and Exometer, by name: which metrics there are, and one of them on all nodes.",
		variables:   append(chooseNodes(), metric.build()), annotations: nodeEvents(),
		sections: []section{
			{panels: appMetricsThereAre()},
			{id: 100, title: "$metric", panels: appMetricChosen()},
		},
	}
}

func appMetricsThereAre() []panel {
	ofLibraries := `collector=~"folsom|exometer"`
	return []panel{
		{
			id: 1, kind: number, title: "Metrics", w: 6, h: 4, none: "none",
			normal: "as many names as the applications have, and always the same.", ill: "none, though Folsom or Exometer runs; or ever more: names that are made of what users send.",
			todo:    "none: see the collectors folsom and exometer on the dashboard of the exporter. Ever more: name metrics after what is in the code.",
			queries: []query{{expr: "count(count by (__name__) (" + appMetrics.of("") + "))"}},
		},
		{
			id: 2, kind: number, title: "Series", w: 6, h: 4, none: "none",
			normal: "metrics times nodes, and a few for each histogram.", ill: "thousands: Prometheus keeps them all.",
			todo:    "leave some out with metrics.exclude in the exporter's configuration.",
			queries: []query{{expr: "count(" + appMetrics.of("") + ")"}},
		},
		{
			id: 3, kind: number, title: "Could not be read", w: 6, h: 4, limits: []float64{1}, none: "no node told",
			normal: "0.", ill: "metrics that raise, hang or are no numbers.", todo: "see the application that updates them; metrics.app_timeout says how long one may take.",
			queries: []query{{expr: "sum(" + maxBy("job, node, collector", nodes.of("erlang_exporter_scrape_metrics_failed", ofLibraries)) + ")"}},
		},
		{
			id: 4, kind: number, title: "Series left out", w: 6, h: 4, limits: []float64{1}, none: "no node told",
			normal: "0.", ill: "more series than limits.source allows.", todo: "choose with metrics.include and metrics.exclude, or raise the limit.",
			queries: []query{{expr: "sum(" + maxBy("job, node, collector", nodes.of("erlang_exporter_scrape_series_dropped", ofLibraries)) + ")"}},
		},
		{
			id: 5, kind: list, title: "Metrics by name", w: 24, h: 9, none: "No chosen node has metrics of Folsom or Exometer.",
			normal: "the same number of series on all nodes of a family.", ill: "a metric that fewer nodes have than others of their family.",
			todo:    "a click on a name shows it below; a node that lacks it runs another version, or has not come there yet.",
			queries: []query{{expr: "count by (__name__, family) (count by (__name__, family, node) (" + appMetrics.of("") + "))", table: true}},
			columns: []column{{name: "__name__", title: "Metric", choose: "metric"}, {name: "family", title: "Family"}, {name: "Value", title: "Nodes"}},
		},
	}
}

func appMetricChosen() []panel {
	by := "node, " + parts
	legend := "{{node}} {{name}} {{quantile}} {{window}} {{datapoint}}"
	return []panel{
		{
			id: 10, kind: lines, title: "$metric, top 20", w: 24, h: 9, unit: "short",
			normal: "what it was at the same time yesterday, and much alike on the nodes of a family.", ill: "one node far from the others, or a step at a deployment.",
			todo:    "look at that node, and at what the application's authors say of the metric. Units are the application's own unless metrics.units says more.",
			queries: []query{{expr: top(20, maxBy(by, chosen.of(""))), legend: legend}}, none: "No chosen node has this metric.",
		},
		{
			id: 11, kind: stacked, title: "Sum of each family", w: 12, h: 8, unit: "short",
			normal: "follows the load.", ill: "less than before at the same load: a node is missing or does nothing.",
			todo:    "see which node is low above. Quantiles are not summed, for that says nothing.",
			queries: []query{{expr: sumBy("family, name, window, datapoint", chosen.of("", `quantile=""`)), legend: "{{family}} {{name}} {{window}} {{datapoint}}"}},
			none:    "It is a histogram, or no chosen node has it.",
		},
		{
			id: 12, kind: lines, title: "Growth a second, where it only grows", w: 12, h: 8, unit: "short", least: zero,
			normal: "follows the load, alike on the nodes of a family.", ill: "0 on one node alone.", todo: "see whether that node gets work: its connections, and the balancer in front.",
			queries: []query{{expr: top(20, maxBy(by, chosen.rate("", `__name__=~".+_total"`))), legend: legend}},
			none:    "It does not only grow: metrics.counters says which do.",
		},
		{
			id: 13, kind: list, title: "At present", w: 24, h: 9, none: "No chosen node has this metric.", unit: "short",
			normal: "much the same on the nodes of a family.", ill: "one far from the others.", todo: "a click on the node shows it.",
			queries: []query{{expr: maxBy("family, "+by, chosen.of("")), table: true}},
			columns: []column{
				{name: "node", title: "Node", link: true}, {name: "family", title: "Family"}, {name: "name", title: "Name"}, {name: "quantile", title: "Quantile"},
				{name: "window", title: "Window"}, {name: "datapoint", title: "Datapoint"}, {name: "Value", title: "Value"},
			},
		},
	}
}
