package dashboards

import (
	"cmp"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// columns is how wide Grafana's grid is.
const columns = 24

// tag is on every dashboard; the links between them go by it.
const tag = "erlops"

// board is a dashboard: sections of panels, laid out from left to right.
type board struct {
	uid, title, description string
	// from is how far back the dashboard looks at first.
	from string
	// variables come after those of the data sources.
	variables []cog.Builder[dashboard.VariableModel]
	// annotations are the events that are marked in every panel.
	annotations []annotation
	sections    []section
}

// section is a row with a heading; the first of a dashboard has none.
type section struct {
	// id is that of the row's panel.
	id     uint32
	title  string
	panels []panel
}

// annotation marks events.
type annotation struct {
	name, color, expr string
	// off leaves it to the user to switch it on.
	off bool
}

func (b *board) build() (dashboard.Dashboard, error) {
	d := dashboard.NewDashboardBuilder(b.title).Uid(b.uid).Description(b.description).
		Tags([]string{tag}).Time(cmp.Or(b.from, "now-1h"), "now").Refresh("30s").Timezone("browser").
		Tooltip(dashboard.DashboardCursorSyncCrosshair).Editable().
		Link(dashboard.NewDashboardLinkBuilder("Erlang dashboards").Type(dashboard.DashboardLinkTypeDashboards).
			Icon("external link").Tags([]string{tag}).AsDropdown(true).IncludeVars(true).KeepTime(true))
	for _, v := range append(sourceVariables(), b.variables...) {
		d = d.WithVariable(v)
	}
	for _, a := range b.annotations {
		d = d.Annotation(a.build())
	}
	y := uint32(0)
	for _, s := range b.sections {
		if s.title != "" {
			d = d.WithRow(dashboard.NewRowBuilder(s.title).Id(s.id).GridPos(dashboard.GridPos{X: 0, Y: y, W: columns, H: 1}))
			y++
		}
		y = s.lay(d, y)
	}
	built, err := d.Build()
	// What the builder puts into a menu belongs where it can be seen.
	for i := range built.Links {
		built.Links[i].Placement = nil
	}
	for i := range built.Annotations.List {
		built.Annotations.List[i].Placement = nil
	}
	return built, err
}

// lay puts the panels of a section into the dashboard from the line y on and
// returns the line below them.
func (s section) lay(d *dashboard.DashboardBuilder, y uint32) uint32 {
	x, height := uint32(0), uint32(0)
	for _, p := range s.panels {
		if x+p.w > columns {
			x, y, height = 0, y+height, 0
		}
		d.WithPanel(p.build(dashboard.GridPos{X: x, Y: y, W: p.w, H: p.h}))
		x, height = x+p.w, max(height, p.h)
	}
	return y + height
}

func (a annotation) build() cog.Builder[dashboard.AnnotationQuery] {
	return dashboard.NewAnnotationQueryBuilder().Name(a.name).Datasource(prometheusSource()).Enable(!a.off).IconColor(a.color).
		Expr(a.expr).Target(prometheus.NewDataqueryBuilder().RefId("Anno").Expr(a.expr).Range().Datasource(prometheusSource()))
}

// restarts and outages of the chosen nodes.
func nodeEvents() []annotation {
	return []annotation{
		{name: "Restarts", color: "orange", expr: sumBy("node", nodes.over("resets", "$__rate_interval", "process_uptime_seconds")) + " > 0"},
		{name: "Node not up", color: "red", off: true, expr: maxBy("node", nodes.of("erlang_up")) + " == 0"},
		{name: "Alarms", color: "purple", off: true, expr: severity("node, alarm") + " > 2"},
		{name: "Deployments", color: "blue", off: true, expr: sumBy("action", "erl_deploy_tasks") + " > 0"},
	}
}

// sourceVariables choose the data sources. Every dashboard has them all, so that
// links hand them on.
func sourceVariables() []cog.Builder[dashboard.VariableModel] {
	return []cog.Builder[dashboard.VariableModel]{
		dashboard.NewDatasourceVariableBuilder("datasource").Label("Prometheus").Type("prometheus"),
		dashboard.NewDatasourceVariableBuilder("loki").Label("Loki").Type("loki"),
	}
}

// choice is a variable whose values are those of a label.
type choice struct {
	name, label, query string
	// one allows a single value instead of any number, or all.
	one bool
	// all stands for all values; what it says must match each of them.
	all string
}

func (c choice) build() cog.Builder[dashboard.VariableModel] {
	v := dashboard.NewQueryVariableBuilder(c.name).Label(c.label).Datasource(prometheusSource()).
		Query(dashboard.StringOrMap{Map: map[string]any{"query": c.query, "refId": "Variable-" + c.name}}).
		Definition(c.query).Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortAlphabeticalAsc)
	if c.one {
		return v
	}
	return v.Multi(true).IncludeAll(true).AllValue(c.all).Current(dashboard.VariableOption{
		Selected: cog.ToPtr(true),
		Text:     dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}},
		Value:    dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}},
	})
}

// The variables that choose nodes, each out of what those before it leave. All
// families are ".*", because a node without one belongs to them too; all nodes are
// ".+", because Loki wants a matcher that the empty string does not satisfy.
func chooseNodes() []cog.Builder[dashboard.VariableModel]  { return choose(false, false) }
func chooseNode() []cog.Builder[dashboard.VariableModel]   { return choose(false, true) }
func chooseFamily() []cog.Builder[dashboard.VariableModel] { return choose(true, false) }

func choose(oneFamily, oneNode bool) []cog.Builder[dashboard.VariableModel] {
	return []cog.Builder[dashboard.VariableModel]{
		choice{name: "job", label: "Job", query: `label_values(erlang_up, job)`, all: ".+"}.build(),
		choice{name: "family", label: "Family", query: `label_values(erlang_up{job=~"$job"}, family)`, all: ".*", one: oneFamily}.build(),
		choice{name: "node", label: "Node", query: `label_values(erlang_up{job=~"$job",family=~"$family"}, node)`, all: ".+", one: oneNode}.build(),
	}
}

// nodeLink leads from a series or a row of a table to the node's dashboard; value
// is how Grafana spells the node's name there.
func nodeLink(value string) cog.Builder[dashboard.DashboardLink] {
	return link("Look at "+value, "erlops-node", "var-node="+value)
}

func link(title, uid, variables string) cog.Builder[dashboard.DashboardLink] {
	return dashboard.NewDashboardLinkBuilder(title).Type(dashboard.DashboardLinkTypeLink).
		Url("/d/" + uid + "?" + variables + "&${datasource:queryparam}&${loki:queryparam}&${job:queryparam}&${__url_time_range}")
}

func legend(calcs ...string) cog.Builder[common.VizLegendOptions] {
	return common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeList).
		Placement(common.LegendPlacementBottom).Calcs(append([]string{}, calcs...)) // never null
}
