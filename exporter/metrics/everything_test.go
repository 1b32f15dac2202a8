package metrics_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/exporter/snapshot"
)

// everything generates a snapshot that has every table and column of the
// catalogue, with one row a table.
func everything() *snapshot.Snapshot {
	s := &snapshot.Snapshot{}
	for _, f := range metrics.Catalogue() {
		if f.Table == "" {
			continue
		}
		t := tableOf(s, f.Collector, f.Table)
		for _, l := range f.Labels {
			if l.From != "" && !slices.Contains(t.Labels, l.From) {
				t.Labels = append(t.Labels, l.From)
				t.Rows[0].Labels = append(t.Rows[0].Labels, l.From+"1")
			}
		}
		for _, sample := range f.Samples {
			for _, c := range append([]string{sample.Value.Column, sample.Value.Times}, sample.Value.Minus...) {
				if c != "" && !slices.Contains(t.Columns, c) {
					t.Columns = append(t.Columns, c)
					number := snapshot.Value{Float: float64(1000 * len(t.Columns)), Valid: true}
					t.Rows[0].Values = append(t.Rows[0].Values, number)
				}
			}
		}
	}
	// A collector that is missing has no tables; the page does not mind.
	s.Collectors[0].Missing = "said on the page"
	s.Collectors[0].Failed = 1
	return s
}

// tableOf returns a table of the snapshot, new with one row when there is none.
func tableOf(s *snapshot.Snapshot, collector, name string) *snapshot.Table {
	c := slices.IndexFunc(s.Collectors, func(c snapshot.Collector) bool { return c.Name == collector })
	if c < 0 {
		s.Collectors = append(s.Collectors, snapshot.Collector{Name: collector})
		c = len(s.Collectors) - 1
	}
	tables := &s.Collectors[c].Tables
	i := slices.IndexFunc(*tables, func(t snapshot.Table) bool { return t.Name == name })
	if i < 0 {
		*tables = append(*tables, snapshot.Table{Name: name, Rows: make([]snapshot.Row, 1)})
		i = len(*tables) - 1
	}
	return &(*tables)[i]
}

func TestEveryFamilyIsExposed(t *testing.T) {
	for _, names := range []metrics.Names{metrics.NamesBoth, metrics.NamesLegacy, metrics.NamesV6} {
		t.Run(string(names), func(t *testing.T) {
			page := parse(t, probe(t, everything(), metrics.Settings{Names: names}))
			exposed := 0
			for _, f := range metrics.Catalogue() {
				for _, s := range f.Series(names) {
					exposed++
					mf, ok := page[s.Name]
					require.True(t, ok, s.Name)
					require.Equal(t, strings.ToUpper(string(f.Type)), mf.GetType().String(), s.Name)
					require.Equal(t, f.HelpText(), mf.GetHelp(), s.Name)
					if f.Table != "" {
						require.Len(t, mf.GetMetric(), len(f.Samples), s.Name)
					}
				}
			}
			require.Len(t, page, exposed)
		})
	}
}

// lintExceptions are the names that promtool check metrics does not like and
// that stay, because dashboards ask for them.
var lintExceptions = []string{
	"erlang_mnesia_committed_transactions",
	"erlang_mnesia_failed_transactions",
	"erlang_mnesia_logged_transactions",
	"erlang_mnesia_restarted_transactions",
	"erlang_vm_atom_count",
	"erlang_vm_carrier_free_block_histogram",
	"erlang_vm_ets_count",
	"erlang_vm_memory_atom_bytes_total",
	"erlang_vm_memory_bytes_total",
	"erlang_vm_memory_processes_bytes_total",
	"erlang_vm_memory_system_bytes_total",
	"erlang_vm_port_count",
	"erlang_vm_process_count",
	"erlang_vm_statistics_context_switches",
	"erlang_vm_statistics_garbage_collection_bytes_reclaimed",
	"erlang_vm_statistics_garbage_collection_number_of_gcs",
	"erlang_vm_statistics_garbage_collection_words_reclaimed",
	"erlang_vm_statistics_run_queues_length_total",
	"erlang_vm_statistics_runtime_milliseconds",
	"erlang_vm_statistics_wallclock_time_milliseconds",
	"process_threads_total",
}

func TestLint(t *testing.T) {
	lint := func(page string) []string {
		problems, err := promlint.New(strings.NewReader(page)).Lint()
		require.NoError(t, err)
		var names []string
		for _, p := range problems {
			names = append(names, p.Metric)
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	require.Equal(t, lintExceptions, lint(probe(t, everything(), metrics.Settings{})))
	require.Equal(t, []string{"erlang_vm_carrier_free_block_histogram", "erlang_vm_ets_count", "process_threads_total"}, lint(probe(t, everything(), metrics.Settings{Names: metrics.NamesV6})))
}
