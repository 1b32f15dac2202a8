package dashboards

import (
	"fmt"
	"maps"
	"slices"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/nodegraph"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// kind is what a panel draws.
type kind int

const (
	lines kind = iota
	stacked
	number
	list
	states
	graph
	texts
)

// panel is one panel. Its id stays the same for ever, like the uid of its
// dashboard: links to single panels have it.
type panel struct {
	id    uint32
	kind  kind
	title string
	// normal, ill and todo are the description: what is normal, what is not, and
	// what to do then.
	normal, ill, todo string
	w, h              uint32
	unit              string
	decimals          *float64
	// least and most bound the axis.
	least, most *float64
	// around is how far the axis goes to both sides of zero at least.
	around  float64
	queries []query
	// limits colour values: green below the first, then yellow and red, or only
	// red with one; fall colours low values instead.
	limits []float64
	fall   bool
	// calm keeps a number without limits in the colour of text.
	mapping map[string]state
	// colors are those of lines by their names.
	colors map[string]state
	// none is what a panel without data says.
	none string
	// columns renames columns of a list and hides those with an empty name.
	columns []column
	// to adds links from what is shown; the label node leads to the node's
	// dashboard by itself.
	to []cog.Builder[dashboard.DashboardLink]
	// calcs are numbers beside the names of a legend.
	calcs []string
}

// minColumn is how narrow a column of a list may become, in pixels. Grafana's own
// 150 hide the last of three columns in a window 800 pixels wide.
const minColumn = 60

// nodeColumn is that of a column of node names, so that they can be told apart.
const nodeColumn = 120

// state is a text and a colour for a value.
type state struct{ text, color string }

// column is a column of a list.
type column struct {
	name, title string
	unit        string
	// gauge draws a bar up to the panel's largest limit.
	gauge bool
	// link leads to the node that the cell names.
	link bool
	// width is how narrow the column may become in pixels; 0 for minColumn.
	width int
	// choose is the variable of application metrics that a click on the cell sets.
	choose string
}

func (p panel) description() string {
	return fmt.Sprintf("**Normal:** %s\n\n**Not normal:** %s\n\n**What to do:** %s", p.normal, p.ill, p.todo)
}

func (p panel) build(at dashboard.GridPos) cog.Builder[dashboard.Panel] {
	switch p.kind {
	case lines, stacked:
		return p.timeSeries(at)
	case number:
		return p.number(at)
	case list:
		return p.list(at)
	case states:
		return p.states(at)
	case texts:
		return p.texts(at)
	}
	return p.graph(at)
}

func (p panel) timeSeries(at dashboard.GridPos) cog.Builder[dashboard.Panel] {
	source := prometheusSource()
	if p.queries[0].loki {
		source = lokiSource()
	}
	b := timeseries.NewPanelBuilder().Id(p.id).Title(p.title).Description(p.description()).GridPos(at).
		Datasource(source).Unit(p.unit).Legend(legend(p.calcs...)).LineWidth(1).FillOpacity(8).
		ShowPoints(common.VisibilityModeNever).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending)).
		Thresholds(p.thresholds()).DataLinks(append(p.to, nodeLink("${__field.labels.node}")))
	if p.kind == stacked {
		b = b.Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A")).FillOpacity(30)
	}
	if len(p.limits) > 0 {
		b = b.ThresholdsStyle(common.NewGraphThresholdsStyleConfigBuilder().Mode(common.GraphThresholdsStyleModeDashed))
	}
	if p.least != nil {
		b = b.Min(*p.least)
	}
	if p.most != nil {
		b = b.Max(*p.most)
	}
	switch {
	case p.around > 0:
		b = b.AxisSoftMin(-p.around).AxisSoftMax(p.around)
	case p.unit == "percentunit" && p.most == nil && len(p.limits) > 0:
		b = b.AxisSoftMax(1)
	case p.unit == "percentunit" && p.most == nil:
		b = b.AxisSoftMax(0.1) // an axis of nothing goes to 10,000 %
	}
	if p.none != "" {
		b = b.NoValue(p.none)
	}
	for _, value := range slices.Sorted(maps.Keys(p.colors)) {
		s := p.colors[value]
		b = b.OverrideByName(s.text, []dashboard.DynamicConfigValue{{
			Id: "color", Value: map[string]any{"mode": "fixed", "fixedColor": s.color},
		}})
	}
	for i, q := range p.queries {
		b = b.WithTarget(q.build(i))
	}
	return b
}

func (p panel) number(at dashboard.GridPos) cog.Builder[dashboard.Panel] {
	b := stat.NewPanelBuilder().Id(p.id).Title(p.title).Description(p.description()).GridPos(at).
		Datasource(prometheusSource()).Unit(p.unit).Orientation(common.VizOrientationAuto).
		TextMode(common.BigValueTextModeAuto).GraphMode(common.BigValueGraphModeArea).JustifyMode(common.BigValueJustifyModeAuto).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).Thresholds(p.thresholds()).
		ColorScheme(dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdThresholds)).
		DataLinks(p.to)
	switch {
	case len(p.limits) > 0 || p.mapping != nil:
		b = b.ColorMode(common.BigValueColorModeBackground)
	default:
		b = b.ColorMode(common.BigValueColorModeNone)
	}
	if p.mapping != nil {
		b = b.Mappings(p.mappings())
	}
	if p.decimals != nil {
		b = b.Decimals(*p.decimals)
	}
	if p.none != "" {
		b = b.NoValue(p.none)
	}
	for i, q := range p.queries {
		if q.instant {
			b = b.GraphMode(common.BigValueGraphModeNone)
		}
		b = b.WithTarget(q.build(i))
	}
	return b
}

func (p panel) list(at dashboard.GridPos) cog.Builder[dashboard.Panel] {
	b := table.NewPanelBuilder().Id(p.id).Title(p.title).Description(p.description()).GridPos(at).
		Datasource(prometheusSource()).ShowHeader(true).MinWidth(minColumn).CellHeight(common.TableCellHeightSm).Thresholds(p.thresholds()).
		Footer(common.NewTableFooterOptionsBuilder().Reducer([]string{})) // never null
	if p.none != "" {
		b = b.NoValue(p.none)
	}
	for i, q := range p.queries {
		b = b.WithTarget(q.build(i))
	}
	hidden, titles, order := map[string]bool{"Time": true, "__name__": true, "job": true, "instance": true}, map[string]string{}, map[string]int{}
	for i, c := range p.columns {
		if c.title == "" {
			hidden[c.name] = true
			continue
		}
		delete(hidden, c.name)
		titles[c.name], order[c.name] = c.title, i
		if cell := p.cell(c); len(cell) > 0 { // Grafana does not draw a table with an override of nothing
			b = b.OverrideByName(c.title, cell)
		}
	}
	return b.WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
		"excludeByName": hidden, "renameByName": titles, "indexByName": order,
	}})
}

// cell says how the cells of a column look.
func (p panel) cell(c column) []dashboard.DynamicConfigValue {
	var all []dashboard.DynamicConfigValue
	set := func(id string, value any) { all = append(all, dashboard.DynamicConfigValue{Id: id, Value: value}) }
	if c.name != "Value" {
		set("noValue", "–") // what the panel says when it is empty is no cell's
	}
	if c.unit != "" {
		set("unit", c.unit)
		set("decimals", 1)
	}
	switch {
	case c.gauge:
		set("custom.cellOptions", map[string]any{"type": "gauge", "mode": "basic", "valueDisplayMode": "text"})
		set("min", 0)
		set("max", p.limits[len(p.limits)-1])
	case c.name == "Value" && len(p.limits) > 0:
		set("custom.cellOptions", map[string]any{"type": "color-background", "mode": "basic"})
	}
	if c.name == "Value" && p.mapping != nil {
		set("mappings", p.mappings())
		set("custom.cellOptions", map[string]any{"type": "color-background", "mode": "basic"})
	}
	if c.link {
		set("custom.minWidth", nodeColumn)
		set("links", []map[string]any{{
			"title": "Look at this node",
			"url":   "/d/erlops-node?var-node=${__value.raw}&${datasource:queryparam}&${loki:queryparam}&${job:queryparam}&${__url_time_range}",
		}})
	}
	if c.width > 0 {
		set("custom.minWidth", c.width)
	}
	if c.choose != "" {
		set("links", []map[string]any{{
			"title": "Look at this metric",
			"url": "/d/erlops-appmetrics?var-" + c.choose + "=${__value.raw}&${datasource:queryparam}&${loki:queryparam}&" +
				"${job:queryparam}&${family:queryparam}&${node:queryparam}&${__url_time_range}",
		}})
	}
	return all
}

func (p panel) states(at dashboard.GridPos) cog.Builder[dashboard.Panel] {
	b := statetimeline.NewPanelBuilder().Id(p.id).Title(p.title).Description(p.description()).GridPos(at).
		Datasource(prometheusSource()).MergeValues(true).ShowValue(common.VisibilityModeAuto).RowHeight(0.85).
		AlignValue(common.TimelineValueAlignmentLeft).FillOpacity(75).LineWidth(0).PerPage(25).
		Legend(legend()).Thresholds(p.thresholds()).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeSingle).Sort(common.SortOrderNone)).
		DataLinks([]cog.Builder[dashboard.DashboardLink]{nodeLink("${__field.labels.node}")})
	if p.mapping != nil {
		b = b.Mappings(p.mappings())
	}
	if p.none != "" {
		b = b.NoValue(p.none)
	}
	for i, q := range p.queries {
		b = b.WithTarget(q.build(i))
	}
	return b
}

func (p panel) graph(at dashboard.GridPos) cog.Builder[dashboard.Panel] {
	b := nodegraph.NewPanelBuilder().Id(p.id).Title(p.title).Description(p.description()).GridPos(at).
		Datasource(prometheusSource()).ZoomMode(nodegraph.ZoomModeCooperative)
	for i, q := range p.queries {
		b = b.WithTarget(q.build(i))
	}
	return b
}

func (p panel) mappings() []dashboard.ValueMapping {
	options := make(map[string]dashboard.ValueMappingResult, len(p.mapping))
	for value, s := range p.mapping {
		options[value] = dashboard.ValueMappingResult{Text: cog.ToPtr(s.text), Color: cog.ToPtr(s.color)}
	}
	return []dashboard.ValueMapping{{ValueMap: &dashboard.ValueMap{Type: dashboard.MappingTypeValueToText, Options: options}}}
}

// thresholds colours values by the panel's limits.
func (p panel) thresholds() cog.Builder[dashboard.ThresholdsConfig] {
	colors := []string{"green", "yellow", "red"}
	if len(p.limits) == 1 {
		colors = []string{"green", "red"}
	}
	if p.fall {
		colors = colors[:0]
		if len(p.limits) > 1 {
			colors = append(colors, "red", "yellow", "green")
		} else {
			colors = append(colors, "red", "green")
		}
	}
	steps := []dashboard.Threshold{{Color: colors[0]}}
	for i, limit := range p.limits {
		steps = append(steps, dashboard.Threshold{Value: cog.ToPtr(limit), Color: colors[i+1]})
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(steps)
}
