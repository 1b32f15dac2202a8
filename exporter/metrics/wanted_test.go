package metrics_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// wantedFile has the families that were promised, a line each: the name, its other
// one since prometheus.erl 6 or a dash, and the type.
const wantedFile = "testdata/catalogue.txt"

// ofExporter are those of them that the exporter knows of itself, and has on
// /metrics: the test of its wiring holds that they are there.
var ofExporter = map[string]bool{
	"erlang_exporter_scrape_errors_total":       true,
	"erlang_exporter_node_reconnects_total":     true,
	"erlang_exporter_discovered_nodes":          true,
	"erlang_exporter_series_dropped_total":      true,
	"erlang_exporter_alarms":                    true,
	"erlang_exporter_log_lines_forwarded_total": true,
	"erlang_exporter_log_lines_dropped_total":   true,
	"erlang_exporter_push_errors_total":         true,
	"erlang_exporter_commands_total":            true,
}

// TestEveryWantedFamily: each of the 201 is a row of the catalogue, or the
// exporter's own and documented as that.
func TestEveryWantedFamily(t *testing.T) {
	text, err := os.ReadFile(wantedFile)
	require.NoError(t, err)
	wanted := strings.Split(strings.TrimSpace(string(text)), "\n")
	require.Len(t, wanted, 201)
	document, err := os.ReadFile("gendoc/tail.md")
	require.NoError(t, err)
	_, own, found := strings.Cut(string(document), "## The exporter's own page")
	require.True(t, found)

	byName := families(t)
	seen := 0
	for _, line := range wanted {
		fields := strings.Fields(line)
		require.Len(t, fields, 3, line)
		name, v6, kind := fields[0], strings.TrimPrefix(fields[1], "-"), fields[2]
		if ofExporter[name] {
			seen++
			require.Contains(t, own, "| `"+name+"` | "+kind+" |")
			continue
		}
		f, ok := byName[name]
		require.True(t, ok, "%s is not in the catalogue", name)
		require.Equal(t, v6, f.V6, name)
		require.Equal(t, kind, string(f.Type), name)
	}
	require.Len(t, ofExporter, seen)
}
