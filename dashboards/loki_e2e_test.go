//go:build e2e

package dashboards_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

const lokiExporter = `
name: erl_exporter@127.0.0.1
cookie: %s
epmd: %s
logs: {loki: {url: %q, batch_wait: 100ms}}
targets: [{name: shop, family: shop, static_configs: [{targets: [%q]}]}]
`

// TestLokiQueries runs every query of the dashboards to Loki against one that has
// what a node logs. Each finds something.
func TestLokiQueries(t *testing.T) {
	loki := erltest.StartLoki(t, erltest.LokiOptions{})
	n := erltest.Start(t, erltest.Options{Name: "a", LongNames: true})
	begun := time.Now().Add(-time.Minute)
	p := exportertest.Start(t, exportertest.Options{Config: fmt.Sprintf(lokiExporter, n.Cookie, n.EPMD, loki.URL, n.Name)})
	p.AwaitUp(n.Name, time.Minute)
	require.Eventually(t, func() bool {
		return n.Eval(t, "lists:member(erl_exporter_agent, logger:get_handler_ids())") == "true"
	}, time.Minute, 100*time.Millisecond)
	// A child that ends, as its supervisor reports.
	n.Eval(t, "{ok, P} = supervisor:start_child(kernel_safe_sup, #{id => shop, start => {gen_event, start_link, []}}), exit(P, kill), ok")
	values := map[string]string{"node": n.Name, "family": "shop", "level": "error", "source": ".+", "search": "kernel_safe_SUP"}
	asked := 0
	for _, b := range load(t) {
		b.each(func(panel parsedPanel) {
			for _, q := range panel.Targets {
				if q.Datasource.Type != "loki" {
					continue
				}
				asked++
				query := substitute(t, b, q.Expr, values)
				require.Eventually(t, func() bool {
					found, err := loki.Series(query, begun)
					require.NoError(t, err, "%s: %s", panel.Title, query)
					return found > 0
				}, time.Minute, 200*time.Millisecond, "%s finds nothing: %s", panel.Title, query)
				// Everything, as a dashboard is opened.
				_, err := loki.Series(substitute(t, b, q.Expr, map[string]string{"node": ".+", "family": ".+", "level": ".+", "source": ".+", "search": ""}), begun)
				require.NoError(t, err, "%s: %s", panel.Title, query)
			}
		})
		for _, a := range b.Annotations.List {
			require.False(t, strings.HasPrefix(a.Expr, "{"), "an annotation from Loki is not asked here")
		}
	}
	require.NotZero(t, asked)
}
