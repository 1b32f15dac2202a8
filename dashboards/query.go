package dashboards

import (
	"strconv"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"

	"github.com/erlops/erlops/exporter/metrics"
)

// scope is the matchers that select what the variables of a dashboard choose.
type scope string

const (
	// nodes are the chosen Erlang nodes, by the labels of service discovery.
	nodes scope = `job=~"$job",family=~"$family",node=~"$node"`
	// exporters are the chosen exporters themselves, on their own page.
	exporters scope = `instance=~"$exporter"`
	// anything is for metrics that no variable selects.
	anything scope = ""
)

// renamed are the metrics that have another name since prometheus.erl 6, by
// either name.
var renamed = renamedFamilies()

func renamedFamilies() map[string]metrics.Family {
	all := make(map[string]metrics.Family)
	for _, f := range metrics.Catalogue() {
		if f.V6 != "" {
			all[f.Name], all[f.V6] = f, f
		}
	}
	return all
}

// of selects the series of a metric. A renamed one is asked for under both names,
// and in the unit of the newer: the dashboards then work with every setting of
// metrics.names.
func (s scope) of(name string, matchers ...string) string {
	return s.each(name, matchers, "", "")
}

// rate is the growth a second of a metric that only grows.
func (s scope) rate(name string, matchers ...string) string {
	return s.over("rate", "$__rate_interval", name, matchers...)
}

// over applies a function over a range of time to a metric.
func (s scope) over(function, window, name string, matchers ...string) string {
	return s.each(name, matchers, function+"(", "["+window+"])")
}

func (s scope) each(name string, matchers []string, before, after string) string {
	if s != anything {
		matchers = append([]string{string(s)}, matchers...)
	}
	series := func(name string) string {
		selector := name
		if len(matchers) > 0 {
			selector += "{" + strings.Join(matchers, ",") + "}"
		}
		return before + selector + after
	}
	f, ok := renamed[name]
	if !ok {
		return series(name)
	}
	old := series(f.Name)
	if f.V6Divisor > 1 {
		old += " / " + strconv.FormatFloat(f.V6Divisor, 'f', -1, 64)
	}
	return "(" + series(f.V6) + " or " + old + ")"
}

// untilGone is an expression while it has a value, and 0 after: a state timeline
// draws the last value on to its end. The other one is by the same labels and has a
// value for some time longer.
func untilGone(expr, recent string) string { return expr + " or 0 * " + recent }

// recent is what a metric was last in the time between two points of a panel.
func (s scope) recent(name string) string { return s.over("last_over_time", "$__rate_interval", name) }

// sumBy and maxBy aggregate by labels.
func sumBy(labels, expr string) string { return "sum by (" + labels + ") (" + expr + ")" }
func maxBy(labels, expr string) string { return "max by (" + labels + ") (" + expr + ")" }

// byNode drops everything but what names a node.
func byNode(expr string) string { return sumBy("job, family, node", expr) }

// top keeps the series of expr that are the n highest at the end of the range, so
// that a legend never has more than n lines.
func top(n int, expr string) string {
	return expr + " and topk(" + strconv.Itoa(n) + ", " + atEnd(expr) + ")"
}

// atEnd evaluates every selector of an expression at the end of the range.
func atEnd(expr string) string {
	expr = strings.ReplaceAll(expr, "}", "} @ end()")
	// Where the selector has a range the modifier goes behind it.
	return strings.ReplaceAll(expr, "} @ end()[$__rate_interval]", "}[$__rate_interval] @ end()")
}

// query is one question to Prometheus, or to Loki.
type query struct {
	expr, legend string
	// instant asks for the present only; table gives labels as columns.
	instant, table bool
	// loki asks Loki instead, in LogQL.
	loki bool
	// ref is the letter; the place among the panel's queries when empty.
	ref string
}

func prometheusSource() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

func (q query) build(place int) cog.Builder[variants.Dataquery] {
	ref := q.ref
	if ref == "" {
		ref = string(rune('A' + place))
	}
	if q.loki {
		return q.fromLoki(ref)
	}
	b := prometheus.NewDataqueryBuilder().Expr(q.expr).RefId(ref).LegendFormat(q.legend).Datasource(prometheusSource()).
		EditorMode(prometheus.QueryEditorModeCode)
	if q.instant || q.table {
		b = b.Instant()
	} else {
		b = b.Range()
	}
	format := prometheus.PromQueryFormatTimeSeries
	if q.table {
		format = prometheus.PromQueryFormatTable
	}
	return b.Format(format)
}
