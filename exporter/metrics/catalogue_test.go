package metrics_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/metrics"
)

// prometheusErl491 are the families of prometheus.erl 4.9.1's collectors of
// the VM and of Mnesia, with type and labels in its order. It stands by
// itself, so that a change of the catalogue cannot hide.
const prometheusErl491 = `
erlang_vm_memory_atom_bytes_total gauge usage
erlang_vm_memory_bytes_total gauge kind
erlang_vm_memory_dets_tables gauge
erlang_vm_memory_ets_tables gauge
erlang_vm_memory_processes_bytes_total gauge usage
erlang_vm_memory_system_bytes_total gauge usage
erlang_vm_statistics_bytes_output_total counter
erlang_vm_statistics_bytes_received_total counter
erlang_vm_statistics_context_switches counter
erlang_vm_statistics_dirty_cpu_run_queue_length gauge
erlang_vm_statistics_dirty_io_run_queue_length gauge
erlang_vm_statistics_garbage_collection_number_of_gcs counter
erlang_vm_statistics_garbage_collection_bytes_reclaimed counter
erlang_vm_statistics_garbage_collection_words_reclaimed counter
erlang_vm_statistics_reductions_total counter
erlang_vm_statistics_run_queues_length gauge
erlang_vm_statistics_runtime_milliseconds counter
erlang_vm_statistics_wallclock_time_milliseconds counter
erlang_vm_dirty_cpu_schedulers gauge
erlang_vm_dirty_cpu_schedulers_online gauge
erlang_vm_dirty_io_schedulers gauge
erlang_vm_ets_limit gauge
erlang_vm_logical_processors gauge
erlang_vm_logical_processors_available gauge
erlang_vm_logical_processors_online gauge
erlang_vm_port_count gauge
erlang_vm_port_limit gauge
erlang_vm_process_count gauge
erlang_vm_process_limit gauge
erlang_vm_schedulers gauge
erlang_vm_schedulers_online gauge
erlang_vm_smp_support untyped
erlang_vm_threads untyped
erlang_vm_thread_pool_size gauge
erlang_vm_time_correction untyped
erlang_vm_wordsize_bytes gauge
erlang_vm_atom_count gauge
erlang_vm_atom_limit gauge
erlang_vm_allocators gauge alloc instance_no kind usage
erlang_vm_msacc_aux_seconds_total counter type id
erlang_vm_msacc_check_io_seconds_total counter type id
erlang_vm_msacc_emulator_seconds_total counter type id
erlang_vm_msacc_gc_seconds_total counter type id
erlang_vm_msacc_other_seconds_total counter type id
erlang_vm_msacc_port_seconds_total counter type id
erlang_vm_msacc_sleep_seconds_total counter type id
erlang_vm_msacc_alloc_seconds_total counter type id
erlang_vm_msacc_bif_seconds_total counter type id
erlang_vm_msacc_busy_wait_seconds_total counter type id
erlang_vm_msacc_ets_seconds_total counter type id
erlang_vm_msacc_gc_full_seconds_total counter type id
erlang_vm_msacc_nif_seconds_total counter type id
erlang_vm_msacc_send_seconds_total counter type id
erlang_vm_msacc_timers_seconds_total counter type id
erlang_vm_dist_recv_bytes gauge peer
erlang_vm_dist_recv_cnt gauge peer
erlang_vm_dist_recv_max_bytes gauge peer
erlang_vm_dist_recv_avg_bytes gauge peer
erlang_vm_dist_recv_dvi_bytes gauge peer
erlang_vm_dist_send_bytes gauge peer
erlang_vm_dist_send_cnt gauge peer
erlang_vm_dist_send_max_bytes gauge peer
erlang_vm_dist_send_avg_bytes gauge peer
erlang_vm_dist_send_pend_bytes gauge peer
erlang_vm_dist_port_input_bytes gauge peer
erlang_vm_dist_port_output_bytes gauge peer
erlang_vm_dist_port_memory_bytes gauge peer
erlang_vm_dist_port_queue_size_bytes gauge peer
erlang_vm_dist_proc_memory_bytes gauge peer type
erlang_vm_dist_proc_heap_size_words gauge peer type
erlang_vm_dist_proc_min_heap_size_words gauge peer type
erlang_vm_dist_proc_min_bin_vheap_size_words gauge peer type
erlang_vm_dist_proc_stack_size_words gauge peer type
erlang_vm_dist_proc_total_heap_size_words gauge peer type
erlang_vm_dist_proc_message_queue_len gauge peer type
erlang_vm_dist_proc_reductions gauge peer type
erlang_vm_dist_proc_status gauge peer type
erlang_vm_dist_node_state gauge peer
erlang_vm_dist_node_queue_size_bytes gauge peer
erlang_mnesia_held_locks gauge
erlang_mnesia_lock_queue gauge
erlang_mnesia_transaction_participants gauge
erlang_mnesia_transaction_coordinators gauge
erlang_mnesia_failed_transactions counter
erlang_mnesia_committed_transactions counter
erlang_mnesia_logged_transactions counter
erlang_mnesia_restarted_transactions counter
erlang_mnesia_memory_usage_bytes gauge
erlang_mnesia_tablewise_memory_usage_bytes gauge table
erlang_mnesia_tablewise_size gauge table
`

// renamedIn6 are prometheus.erl's renames of version 6.0.0, old to new.
var renamedIn6 = map[string]string{
	"erlang_vm_memory_atom_bytes_total":                       "erlang_vm_memory_atom_bytes",
	"erlang_vm_memory_bytes_total":                            "erlang_vm_memory_bytes",
	"erlang_vm_memory_processes_bytes_total":                  "erlang_vm_memory_processes_bytes",
	"erlang_vm_memory_system_bytes_total":                     "erlang_vm_memory_system_bytes",
	"erlang_vm_statistics_context_switches":                   "erlang_vm_statistics_context_switches_total",
	"erlang_vm_statistics_garbage_collection_number_of_gcs":   "erlang_vm_statistics_garbage_collection_number_of_gcs_total",
	"erlang_vm_statistics_garbage_collection_bytes_reclaimed": "erlang_vm_statistics_garbage_collection_bytes_reclaimed_total",
	"erlang_vm_statistics_garbage_collection_words_reclaimed": "erlang_vm_statistics_garbage_collection_words_reclaimed_total",
	"erlang_vm_statistics_runtime_milliseconds":               "erlang_vm_statistics_runtime_seconds_total",
	"erlang_vm_statistics_wallclock_time_milliseconds":        "erlang_vm_statistics_wallclock_time_seconds_total",
	"erlang_vm_port_count":                                    "erlang_vm_ports",
	"erlang_vm_process_count":                                 "erlang_vm_processes",
	"erlang_vm_atom_count":                                    "erlang_vm_atoms",
	"erlang_mnesia_failed_transactions":                       "erlang_mnesia_failed_transactions_total",
	"erlang_mnesia_committed_transactions":                    "erlang_mnesia_committed_transactions_total",
	"erlang_mnesia_logged_transactions":                       "erlang_mnesia_logged_transactions_total",
	"erlang_mnesia_restarted_transactions":                    "erlang_mnesia_restarted_transactions_total",
}

func families(t *testing.T) map[string]metrics.Family {
	t.Helper()
	byName := make(map[string]metrics.Family)
	for _, f := range metrics.Catalogue() {
		require.NotContains(t, byName, f.Name)
		byName[f.Name] = f
	}
	return byName
}

func TestCatalogueHasPrometheusErl(t *testing.T) {
	byName := families(t)
	rows := strings.Split(strings.TrimSpace(prometheusErl491), "\n")
	require.Len(t, rows, 90)
	for _, row := range rows {
		want := strings.Fields(row)
		f, ok := byName[want[0]]
		require.True(t, ok, want[0])
		var labels []string
		for _, l := range f.Labels {
			labels = append(labels, l.Name)
		}
		require.Equal(t, want[1], string(f.Type), f.Name)
		require.Equal(t, want[2:], append([]string{}, labels...), f.Name)
		require.Equal(t, renamedIn6[f.Name], f.V6)
		require.Equal(t, "prometheus.erl", f.Origin, f.Name)
	}
}

func TestCatalogueRowsAreComplete(t *testing.T) {
	seen := make(map[string]string)
	for _, f := range metrics.Catalogue() {
		require.NotEmpty(t, f.Help, f.Name)
		require.NotEmpty(t, f.Call, f.Name)
		require.NotEmpty(t, f.Cost, f.Name)
		require.Contains(t, []metrics.Type{metrics.Counter, metrics.Gauge, metrics.Untyped}, f.Type, f.Name)
		require.Equal(t, f.Table == "", f.Collector == "", f.Name)
		require.Equal(t, f.Table == "", f.Samples == nil, f.Name)
		for _, s := range f.Series(metrics.NamesBoth) {
			require.Empty(t, seen[s.Name], "%s is exposed by two rows", s.Name)
			seen[s.Name] = f.Name
		}
		fixed := 0
		for _, l := range f.Labels {
			require.NotEqual(t, "node", l.Name, "%s: /metrics/nodes adds a label node", f.Name)
			if l.From == "" {
				fixed++
			}
		}
		for _, s := range f.Samples {
			require.Len(t, s.Fixed, fixed, f.Name)
		}
	}
}

func TestNamesOfGenerations(t *testing.T) {
	byName := families(t)
	for _, tc := range []struct {
		family           string
		both, legacy, v6 []metrics.Series
	}{
		{
			"erlang_vm_process_count",
			[]metrics.Series{{Name: "erlang_vm_process_count", Divisor: 1}, {Name: "erlang_vm_processes", Divisor: 1}},
			[]metrics.Series{{Name: "erlang_vm_process_count", Divisor: 1}},
			[]metrics.Series{{Name: "erlang_vm_processes", Divisor: 1}},
		},
		{
			"erlang_vm_statistics_runtime_milliseconds",
			[]metrics.Series{
				{Name: "erlang_vm_statistics_runtime_milliseconds", Divisor: 1},
				{Name: "erlang_vm_statistics_runtime_seconds_total", Divisor: 1000},
			},
			[]metrics.Series{{Name: "erlang_vm_statistics_runtime_milliseconds", Divisor: 1}},
			[]metrics.Series{{Name: "erlang_vm_statistics_runtime_seconds_total", Divisor: 1000}},
		},
		{
			"erlang_vm_statistics_run_queues_length_total",
			[]metrics.Series{{Name: "erlang_vm_statistics_run_queues_length_total", Divisor: 1}},
			[]metrics.Series{{Name: "erlang_vm_statistics_run_queues_length_total", Divisor: 1}},
			nil,
		},
		{
			"erlang_vm_schedulers",
			[]metrics.Series{{Name: "erlang_vm_schedulers", Divisor: 1}},
			[]metrics.Series{{Name: "erlang_vm_schedulers", Divisor: 1}},
			[]metrics.Series{{Name: "erlang_vm_schedulers", Divisor: 1}},
		},
	} {
		t.Run(tc.family, func(t *testing.T) {
			f := byName[tc.family]
			require.Equal(t, tc.both, f.Series(metrics.NamesBoth))
			require.Equal(t, tc.legacy, f.Series(metrics.NamesLegacy))
			require.Equal(t, tc.v6, f.Series(metrics.NamesV6))
		})
	}
}

// In OpenMetrics a counter's series must end in _total, and its family must
// not have the name of another one.
func TestV6NamesFitOpenMetrics(t *testing.T) {
	var stems []string
	for _, f := range metrics.Catalogue() {
		for _, s := range f.Series(metrics.NamesV6) {
			if f.Type == metrics.Counter {
				require.True(t, strings.HasSuffix(s.Name, "_total"), s.Name)
			}
			stem := s.Name
			if f.Type == metrics.Counter {
				stem = strings.TrimSuffix(s.Name, "_total")
			}
			require.False(t, slices.Contains(stems, stem), stem)
			stems = append(stems, stem)
		}
	}
}

func TestParseNames(t *testing.T) {
	for in, want := range map[string]metrics.Names{
		"": metrics.NamesBoth, "both": metrics.NamesBoth, "legacy": metrics.NamesLegacy, "v6": metrics.NamesV6,
	} {
		got, err := metrics.ParseNames(in)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := metrics.ParseNames("v5")
	require.EqualError(t, err, `exporter/metrics: names "v5": must be both, legacy or v6`)
}
