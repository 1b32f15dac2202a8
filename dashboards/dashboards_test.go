package dashboards_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/dashboards"
)

// parsed is what the tests look at in a dashboard's JSON.
type parsed struct {
	UID, Title, Description string
	Tags                    []string
	Templating              struct{ List []variable }
	Annotations             struct{ List []struct{ Name, Expr string } }
	Links                   []struct {
		IncludeVars, KeepTime bool
		Tags                  []string
	}
	Panels []parsedPanel
}

type variable struct {
	Name, Type, AllValue string
	Query                any
}

type parsedPanel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []target
	FieldConfig              struct {
		Defaults struct {
			Links []struct{ URL string }
			Unit  string
		}
	}
}

type target struct {
	RefID, Expr string
	Instant     bool
	Datasource  struct{ Type, UID string }
}

func load(t *testing.T) []parsed {
	t.Helper()
	all, err := dashboards.All()
	require.NoError(t, err)
	boards := make([]parsed, len(all))
	for i, d := range all {
		require.NoError(t, json.Unmarshal(d.JSON, &boards[i]))
		require.Equal(t, d.UID, boards[i].UID)
	}
	return boards
}

// each calls do for every panel that shows something.
func (p parsed) each(do func(parsedPanel)) {
	for _, panel := range p.Panels {
		if panel.Type != "row" {
			do(panel)
		}
	}
}

func TestCommitted(t *testing.T) {
	t.Parallel()
	all, err := dashboards.All()
	require.NoError(t, err)
	want := make([]string, len(all))
	for i, d := range all {
		want[i] = filepath.Join("json", d.UID+".json")
		text, err := os.ReadFile(want[i])
		require.NoError(t, err)
		require.Equal(t, string(d.JSON), string(text), "%s is not what the program makes; run `make dashboards`", want[i])
	}
	files, err := filepath.Glob("json/*")
	require.NoError(t, err)
	require.ElementsMatch(t, want, files)
}

func TestStructure(t *testing.T) {
	t.Parallel()
	uids := make(map[string]bool)
	boards := load(t)
	for _, b := range boards {
		require.False(t, uids[b.UID], "uid %s twice", b.UID)
		uids[b.UID] = true
	}
	for _, b := range boards {
		t.Run(b.UID, func(t *testing.T) {
			t.Parallel()
			require.NotEmpty(t, b.Title)
			require.NotEmpty(t, b.Description)
			require.Contains(t, b.Tags, "erlops")
			require.Len(t, b.Links, 1)
			require.True(t, b.Links[0].IncludeVars && b.Links[0].KeepTime, "the links to the other dashboards lose variables or time")
			names := make([]string, 0, 6)
			for _, v := range b.Templating.List {
				names = append(names, v.Name)
			}
			require.Subset(t, names, []string{"datasource", "loki", "job", "family", "node"})
			requirePlaces(t, b)
			b.each(func(p parsedPanel) { requirePanel(t, p, uids) })
		})
	}
}

// requirePlaces holds that ids are unique and that no panels overlap or leave the
// grid.
func requirePlaces(t *testing.T, b parsed) {
	t.Helper()
	ids, cells := make(map[int]string), make(map[[2]int]string)
	for _, p := range b.Panels {
		require.Empty(t, ids[p.ID], "id %d of %s is taken", p.ID, p.Title)
		ids[p.ID] = p.Title
		require.NotZero(t, p.ID, p.Title)
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, "%s is wider than the grid", p.Title)
		require.NotZero(t, p.GridPos.H, p.Title)
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				cell := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				require.Empty(t, cells[cell], "%s overlaps another panel", p.Title)
				cells[cell] = p.Title
			}
		}
	}
}

// TestSchema holds that the JSON is what Grafana's schema of dashboards says: no
// field that it does not know, and no null where it has a list. Grafana draws no
// table whose overrides are null.
func TestSchema(t *testing.T) {
	t.Parallel()
	plugins.RegisterDefaultPlugins()
	all, err := dashboards.All()
	require.NoError(t, err)
	for _, d := range all {
		var board dashboard.Dashboard
		require.NoError(t, board.UnmarshalJSONStrict(d.JSON), d.UID)
		require.NoError(t, board.Validate(), d.UID)
		require.NotContains(t, string(d.JSON), `"properties": null`, d.UID)
	}
}

var toDashboard = regexp.MustCompile(`^/d/([a-z-]+)\?`)

func requirePanel(t *testing.T, p parsedPanel, uids map[string]bool) {
	t.Helper()
	for _, part := range []string{"**Normal:** ", "**Not normal:** ", "**What to do:** "} {
		_, text, found := strings.Cut(p.Description, part)
		require.True(t, found && !strings.HasPrefix(text, "\n") && text != "", "%s does not say %s", p.Title, part)
	}
	require.NotEmpty(t, p.Targets, p.Title)
	refs := make([]string, 0, len(p.Targets))
	for _, q := range p.Targets {
		refs = append(refs, q.RefID)
		require.Contains(t, []string{"${datasource}", "${loki}"}, q.Datasource.UID, p.Title)
	}
	slices.Sort(refs)
	require.Len(t, slices.Compact(refs), len(p.Targets), "%s has a refId twice", p.Title)
	for _, l := range p.FieldConfig.Defaults.Links {
		to := toDashboard.FindStringSubmatch(l.URL)
		require.NotNil(t, to, l.URL)
		require.True(t, uids[to[1]], "%s leads to no dashboard: %s", p.Title, l.URL)
		require.Contains(t, l.URL, "${datasource:queryparam}")
	}
}

var variables = regexp.MustCompile(`\$\{?(\w+)\}?`)

// substitute replaces what Grafana replaces, and fails for variables that the
// dashboard does not have.
func substitute(t *testing.T, b parsed, expr string, values map[string]string) string {
	t.Helper()
	return variables.ReplaceAllStringFunc(expr, func(text string) string {
		name := variables.FindStringSubmatch(text)[1]
		switch name {
		case "1": // a group of label_replace
			return text
		case "__rate_interval", "__interval", "__auto":
			return "1m"
		case "__range":
			return "1h"
		}
		require.True(t, slices.ContainsFunc(b.Templating.List, func(v variable) bool { return v.Name == name }),
			"%s: %s has no variable %s", b.UID, expr, text)
		if v, ok := values[name]; ok {
			return v
		}
		return ".*"
	})
}

// queries calls do for every PromQL expression of a dashboard, with the variables
// replaced: those of panels, annotations and variables.
func (p parsed) queries(t *testing.T, do func(where, expr string)) {
	t.Helper()
	p.each(func(panel parsedPanel) {
		for _, q := range panel.Targets {
			if q.Datasource.Type == "prometheus" {
				do(p.UID+"/"+panel.Title+"/"+q.RefID, substitute(t, p, q.Expr, nil))
			}
		}
	})
	for _, a := range p.Annotations.List {
		do(p.UID+"/annotation "+a.Name, substitute(t, p, a.Expr, nil))
	}
	for _, v := range p.Templating.List {
		question, _ := v.Query.(map[string]any)
		text, _ := question["query"].(string)
		if series, found := strings.CutPrefix(text, "label_values("); found {
			do(p.UID+"/variable "+v.Name, substitute(t, p, series[:strings.LastIndex(series, ",")], nil))
		}
	}
}

// TestQueries parses every query, and holds that it asks only for metrics that the
// documents promise.
func TestQueries(t *testing.T) {
	t.Parallel()
	known := documented(t)
	for _, b := range load(t) {
		b.queries(t, func(where, expr string) {
			for _, name := range metricsOf(t, where, expr) {
				base := strings.TrimSuffix(name, "_bucket")
				require.True(t, known[base] || known[name] || slices.Contains(ofEverybody, name), "%s asks for %s, which no document has", where, name)
			}
		})
	}
}

// ofEverybody are metrics of Prometheus itself and of every Go program.
var ofEverybody = []string{"up", "go_goroutines", "go_memstats_heap_inuse_bytes"}

// metricsOf lists the names of the metrics that an expression asks for.
func metricsOf(t *testing.T, where, expr string) []string {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	require.NoError(t, err, "%s: %s", where, expr)
	var names []string
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			if s.Name == "" && slices.ContainsFunc(s.LabelMatchers, ofApplications) {
				return nil
			}
			require.NotEmpty(t, s.Name, "%s selects metrics without a name", where)
			names = append(names, s.Name)
		}
		return nil
	})
	return names
}

// ofApplications tells whether a matcher leaves only metrics of Folsom and Exometer,
// whose names no document has.
func ofApplications(m *labels.Matcher) bool {
	return m.Name == "__name__" && m.Type == labels.MatchRegexp && m.Value == "(folsom|exometer)_.+"
}

var (
	names    = regexp.MustCompile("`((?:erlang|erl|process)_[a-z0-9_]+)(?:\\{[a-z,]*\\})?`")
	bullet   = regexp.MustCompile("(?m)^- `([a-z0-9_]+)`: .+")
	ofDeploy = "../docs/deploy.md"
	ofNodes  = "../docs/metrics.md"
)

// documented are the metrics that the documents promise.
func documented(t *testing.T) map[string]bool {
	t.Helper()
	known := make(map[string]bool)
	for _, file := range []string{ofNodes, ofDeploy} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range names.FindAllStringSubmatch(string(text), -1) {
			known[m[1]] = true
		}
	}
	return known
}

// TestEveryMetricIsUsed holds that every metric of docs/metrics.md is in a
// dashboard or a rule, or in the list of those for exploration with a reason.
func TestEveryMetricIsUsed(t *testing.T) {
	t.Parallel()
	used := make(map[string]bool)
	for _, b := range load(t) {
		b.queries(t, func(where, expr string) {
			for _, name := range metricsOf(t, where, expr) {
				used[name] = true
				used[strings.TrimSuffix(name, "_bucket")] = true
			}
		})
	}
	rules, err := filepath.Glob("../alerts/*.yml")
	require.NoError(t, err)
	for _, file := range rules {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, name := range regexp.MustCompile(`(erlang|erl|process)_[a-z0-9_]+`).FindAllString(string(text), -1) {
			used[name] = true
		}
	}
	text, err := os.ReadFile("../docs/dashboards.md")
	require.NoError(t, err)
	explored := make(map[string]bool)
	for _, m := range bullet.FindAllStringSubmatch(string(text), -1) {
		explored[m[1]] = true
	}
	page, err := os.ReadFile(ofNodes)
	require.NoError(t, err)
	rows := regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)`").FindAllStringSubmatch(string(page), -1)
	require.Greater(t, len(rows), 100)
	var unused, both []string
	for _, row := range rows {
		name := row[1]
		switch {
		case !names.MatchString("`" + name + "`"): // a page, label or collector
		case used[name] && explored[name]:
			both = append(both, name)
		case !used[name] && !explored[name]:
			unused = append(unused, name)
		}
		delete(explored, name)
	}
	require.Empty(t, unused, "in no dashboard and no rule: use them, or list them in docs/dashboards.md as for exploration")
	require.Empty(t, both, "in a dashboard or a rule, and in docs/dashboards.md as for exploration")
	require.Empty(t, explored, "docs/dashboards.md lists metrics that are not in docs/metrics.md")
}
