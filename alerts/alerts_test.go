package alerts_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/erlops/erlops/dashboards"
)

type rule struct {
	Record, Alert, Expr string
	For                 string
	KeepFiringFor       string `yaml:"keep_firing_for"`
	Labels, Annotations map[string]string
}

// load gives the rules of all files.
func load(t *testing.T) []rule {
	t.Helper()
	files, err := filepath.Glob("*.yml")
	require.NoError(t, err)
	var all []rule
	for _, file := range files {
		if file == "alertmanager.example.yml" {
			continue
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var f struct{ Groups []struct{ Rules []rule } }
		require.NoError(t, yaml.Unmarshal(text, &f), file)
		for _, g := range f.Groups {
			all = append(all, g.Rules...)
		}
	}
	require.Greater(t, len(all), 50)
	return all
}

var (
	severities = []string{"critical", "major", "minor", "warning"}
	// atOnce are alerts about what has happened, for which there is nothing to wait:
	// a counter that grew, and what the exporter has waited for already.
	atOnce = []string{"ErlangAlarm", "ErlDeployStepFailed"}
)

const runbooks = "https://github.com/erlops/erlops/blob/main/docs/runbooks/"

func TestAlerts(t *testing.T) {
	t.Parallel()
	uids := make(map[string]bool)
	all, err := dashboards.All()
	require.NoError(t, err)
	for _, d := range all {
		uids[d.UID] = true
	}
	index, err := os.ReadFile("../docs/alerts.md")
	require.NoError(t, err)
	seen := make(map[string]bool)
	for _, r := range load(t) {
		if r.Alert == "" {
			continue
		}
		require.False(t, seen[r.Alert], "%s twice", r.Alert)
		seen[r.Alert] = true
		if r.Alert != "ErlangAlarm" { // which has the alarm's
			require.Contains(t, severities, r.Labels["severity"], r.Alert)
		}
		require.NotEmpty(t, r.KeepFiringFor, "%s has no keep_firing_for: it would flap", r.Alert)
		require.Equal(t, slices.Contains(atOnce, r.Alert), r.For == "", "for of %s", r.Alert)
		require.NotEmpty(t, r.Annotations["summary"], r.Alert)
		require.NotEmpty(t, r.Annotations["description"], r.Alert)
		require.Equal(t, runbooks+r.Alert+".md", r.Annotations["runbook_url"])
		to := regexp.MustCompile(`^/d/([a-z-]+)(\?|$)`).FindStringSubmatch(r.Annotations["dashboard"])
		require.NotNil(t, to, "%s: dashboard %q", r.Alert, r.Annotations["dashboard"])
		require.True(t, uids[to[1]], "%s leads to no dashboard: %s", r.Alert, to[1])
		if r.Alert != "ErlangAlarm" {
			row := "| [" + r.Alert + "](runbooks/" + r.Alert + ".md) | " + r.Labels["severity"] + " | " + plain(r.Annotations["summary"]) + " |"
			require.Contains(t, string(index), row, "docs/alerts.md does not list it so")
		}
		requireRunbook(t, r)
	}
	books, err := filepath.Glob("../docs/runbooks/*.md")
	require.NoError(t, err)
	for _, book := range books {
		require.True(t, seen[strings.TrimSuffix(filepath.Base(book), ".md")], "%s is of no alert", book)
	}
}

var (
	labelIn = regexp.MustCompile(`\{\{ \$labels\.(\w+) \}\}`)
	valueIn = regexp.MustCompile(`\{\{ \$value[^}]*\}\}`)
)

// plain is a template as docs/alerts.md has it.
func plain(template string) string {
	return valueIn.ReplaceAllString(labelIn.ReplaceAllString(template, "*$1*"), "*value*")
}

// requireRunbook holds that an alert has a runbook with something under each
// heading, and with the alert's own expression.
func requireRunbook(t *testing.T, r rule) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "runbooks", r.Alert+".md"))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(text), "# "+r.Alert+"\n"), r.Alert)
	if severity := r.Labels["severity"]; severity != "" {
		require.Contains(t, string(text), "\nSeverity "+severity+".\n", r.Alert)
	}
	require.Contains(t, string(text), "```promql\n"+strings.Join(strings.Fields(r.Expr), " ")+"\n```", "%s: another expression", r.Alert)
	for _, heading := range []string{"## Cause\n\n- ", "## Check\n\n- ", "## Remedy\n\n- "} {
		require.Contains(t, string(text), "\n"+heading, r.Alert)
	}
}

var metric = regexp.MustCompile("`((?:erlang|erl|process)_[a-z0-9_]+)(?:\\{[a-z,]*\\})?`")

// TestMetrics holds that the rules name only metrics that are documented and series
// that a rule records.
func TestMetrics(t *testing.T) {
	t.Parallel()
	known := map[string]bool{"up": true}
	for _, file := range []string{"../docs/metrics.md", "../docs/deploy.md"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range metric.FindAllStringSubmatch(string(text), -1) {
			known[m[1]] = true
			known[m[1]+"_bucket"] = true
		}
	}
	rules := load(t)
	for _, r := range rules {
		known[r.Record] = true
	}
	for _, r := range rules {
		e, err := parser.NewParser(parser.Options{}).ParseExpr(r.Expr)
		require.NoError(t, err, r.Expr)
		parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
			if s, ok := n.(*parser.VectorSelector); ok {
				require.True(t, known[s.Name], "%s%s asks for %q, which no document has", r.Record, r.Alert, s.Name)
			}
			return nil
		})
	}
}

// TestEveryAlertIsTested holds that there is a test in tests/ in which each alert
// fires, and one in which it does not.
func TestEveryAlertIsTested(t *testing.T) {
	t.Parallel()
	fires, rests := make(map[string]bool), make(map[string]bool)
	files, err := filepath.Glob("tests/*.yml")
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var f struct {
			Tests []struct {
				Rules []struct {
					Name   string `yaml:"alertname"`
					Alerts []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		require.NoError(t, yaml.Unmarshal(text, &f), file)
		for _, test := range f.Tests {
			for i, r := range test.Rules {
				fires[r.Name] = fires[r.Name] || len(r.Alerts) > 0
				rests[r.Name] = rests[r.Name] || len(r.Alerts) == 0 && i > 0
			}
		}
	}
	for _, r := range load(t) {
		if r.Alert != "" {
			require.True(t, fires[r.Alert], "no test makes %s fire", r.Alert)
			require.True(t, rests[r.Alert], "no test lets %s end", r.Alert)
		}
	}
}
