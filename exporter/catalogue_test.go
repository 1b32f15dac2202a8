package exporter

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/config"
)

// TestOwnMetrics: what the wiring registers has the exporter's own metrics of the
// catalogue, those too that have no series before something happens.
func TestOwnMetrics(t *testing.T) {
	t.Parallel()
	c, err := config.Parse([]byte("cookie: secret"), "")
	require.NoError(t, err)
	registry := newRegistry()
	e := &Exporter{
		options: Options{ListenAddresses: []string{"127.0.0.1:0"}}, logger: slog.New(slog.DiscardHandler), config: c, health: newHealth(registry),
	}
	require.NoError(t, e.wire(c, registry))
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	described := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(described)
		close(described)
	}()
	var all strings.Builder
	for d := range described {
		all.WriteString(d.String() + "\n")
	}
	for name, labels := range map[string]string{
		"erlang_exporter_scrape_errors_total":       "{node,collector,reason}",
		"erlang_exporter_node_reconnects_total":     "{node}",
		"erlang_exporter_discovered_nodes":          "{family}",
		"erlang_exporter_series_dropped_total":      "{node,source}",
		"erlang_exporter_alarms":                    "{severity,state}",
		"erlang_exporter_log_lines_forwarded_total": "{node,sink}",
		"erlang_exporter_log_lines_dropped_total":   "{node,sink,reason}",
		"erlang_exporter_push_errors_total":         "{sink}",
		"erlang_exporter_commands_total":            "{node,command,result}",
	} {
		require.Regexp(t, `fqName: "`+name+`".*variableLabels: `+labels+`}`, all.String())
	}
}
