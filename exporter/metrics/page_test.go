package metrics_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/exporter/snapshot"
)

func TestPageOfTables(t *testing.T) {
	for _, tc := range []struct {
		name     string
		names    metrics.Names
		snapshot *snapshot.Snapshot
		want     []string
	}{
		{
			"both generations", metrics.NamesBoth,
			of(snapshot.SystemInfo, table("system_info", nil, []string{"process_count", "schedulers"}, []any{57, 4})),
			[]string{"erlang_vm_process_count 57", "erlang_vm_processes 57", "erlang_vm_schedulers 4"},
		},
		{
			"legacy", metrics.NamesLegacy,
			of(snapshot.Statistics, table("statistics", nil, []string{"runtime_ms", "run_queue"}, []any{1234, 3})),
			[]string{
				"erlang_vm_statistics_run_queues_length 3", "erlang_vm_statistics_run_queues_length_total 3",
				"erlang_vm_statistics_runtime_milliseconds 1234",
			},
		},
		{
			"seconds of v6 are seconds", metrics.NamesV6,
			of(snapshot.Statistics, table("statistics", nil, []string{"runtime_ms", "run_queue"}, []any{1234, 3})),
			[]string{"erlang_vm_statistics_run_queues_length 3", "erlang_vm_statistics_runtime_seconds_total 1.234"},
		},
		{
			"differences and products", metrics.NamesLegacy,
			&snapshot.Snapshot{Collectors: []snapshot.Collector{
				{Name: snapshot.Memory, Tables: []snapshot.Table{table("memory", nil,
					[]string{"processes", "processes_used", "system", "atom", "atom_used", "binary", "code", "ets"},
					[]any{100, 90, 200, 20, 19, 30, 40, 50})}},
				{Name: snapshot.Statistics, Tables: []snapshot.Table{table("statistics", nil,
					[]string{"words_reclaimed", "wordsize"}, []any{1000, 8})}},
			}},
			[]string{
				`erlang_vm_memory_atom_bytes_total{usage="used"} 19`,
				`erlang_vm_memory_atom_bytes_total{usage="free"} 1`,
				`erlang_vm_memory_bytes_total{kind="system"} 200`,
				`erlang_vm_memory_bytes_total{kind="processes"} 100`,
				`erlang_vm_memory_processes_bytes_total{usage="used"} 90`,
				`erlang_vm_memory_processes_bytes_total{usage="free"} 10`,
				`erlang_vm_memory_system_bytes_total{usage="atom"} 20`,
				`erlang_vm_memory_system_bytes_total{usage="binary"} 30`,
				`erlang_vm_memory_system_bytes_total{usage="code"} 40`,
				`erlang_vm_memory_system_bytes_total{usage="ets"} 50`,
				`erlang_vm_memory_system_bytes_total{usage="other"} 60`,
				`erlang_vm_statistics_garbage_collection_bytes_reclaimed 8000`,
				`erlang_vm_statistics_garbage_collection_words_reclaimed 1000`,
			},
		},
		{
			"labels in prometheus.erl's order", metrics.NamesLegacy,
			&snapshot.Snapshot{Collectors: []snapshot.Collector{
				{Name: snapshot.Allocators, Tables: []snapshot.Table{table("allocators", []string{"alloc", "instance"},
					[]string{"mbcs_carriers", "mbcs_pool_blocks_size"}, []any{"ets_alloc", "0", 2, nil}, []any{"ets_alloc", "1", 1, 7})}},
				{Name: snapshot.MSAcc, Tables: []snapshot.Table{table("msacc", []string{"type", "id"},
					[]string{"aux", "alloc"}, []any{"scheduler", "1", 0.25, nil})}},
				{Name: snapshot.Distribution, Tables: []snapshot.Table{table("dist_proc", []string{"peer", "type"},
					[]string{"status", "memory"}, []any{"b@h", "dist", 6, 2880})}},
			}},
			[]string{
				`erlang_vm_allocators{alloc="ets_alloc",instance_no="0",kind="mbcs",usage="carriers"} 2`,
				`erlang_vm_allocators{alloc="ets_alloc",instance_no="1",kind="mbcs",usage="carriers"} 1`,
				`erlang_vm_allocators{alloc="ets_alloc",instance_no="1",kind="mbcs_pool",usage="blocks_size"} 7`,
				`erlang_vm_dist_proc_memory_bytes{peer="b@h",type="dist"} 2880`,
				`erlang_vm_dist_proc_status{peer="b@h",type="dist"} 6`,
				`erlang_vm_msacc_aux_seconds_total{type="scheduler",id="1"} 0.25`,
			},
		},
		{
			"what the node has not is not on the page", metrics.NamesLegacy,
			&snapshot.Snapshot{Collectors: []snapshot.Collector{
				{Name: snapshot.SystemInfo, Tables: []snapshot.Table{table("system_info", nil,
					[]string{"logical_processors_available", "logical_processors"}, []any{nil, 2})}},
				{Name: snapshot.Mnesia, Missing: "Mnesia does not run"},
				{Name: snapshot.Memory, Err: "badarg", Tables: []snapshot.Table{table("memory", nil, []string{"ets_tables"}, []any{1})}},
				{Name: snapshot.Statistics, Tables: []snapshot.Table{table("statistics", nil,
					[]string{"words_reclaimed", "wordsize"}, []any{1000, nil})}},
			}},
			[]string{
				"erlang_vm_logical_processors 2",
				"erlang_vm_statistics_garbage_collection_words_reclaimed 1000",
			},
		},
		{
			"a table without its labels, rows that are too short", metrics.NamesLegacy,
			&snapshot.Snapshot{Collectors: []snapshot.Collector{{Name: snapshot.Mnesia, Tables: []snapshot.Table{
				table("mnesia_table", nil, []string{"memory", "size"}, []any{1, 2}),
				table("mnesia", nil, []string{"held_locks", "lock_queue"}, []any{5}),
			}}}},
			[]string{"erlang_mnesia_held_locks 5"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := slices.DeleteFunc(series(probe(t, tc.snapshot, metrics.Settings{Names: tc.names})), func(s string) bool {
				return strings.HasPrefix(s, "erlang_exporter_") || strings.HasPrefix(s, "erlang_up")
			})
			require.Equal(t, tc.want, got)
		})
	}
}

func TestPageAboutTheScrape(t *testing.T) {
	s := &snapshot.Snapshot{RoundTrip: 3 * time.Millisecond, Bytes: 2606, Collectors: []snapshot.Collector{
		{Name: snapshot.Memory, Duration: 40 * time.Microsecond, Age: 7500 * time.Millisecond},
		{Name: snapshot.Statistics, Duration: time.Millisecond, Err: "badarg", Shed: true},
		{Name: snapshot.Mnesia, Missing: "Mnesia does not run"},
		{Name: snapshot.Memory},
		{Name: "made_up"},
	}}
	require.Equal(t, []string{
		`erlang_exporter_agent_up 1`,
		`erlang_exporter_dist_rtt_seconds 0.003`,
		`erlang_exporter_node_state{state="pending"} 0`,
		`erlang_exporter_node_state{state="connecting"} 0`,
		`erlang_exporter_node_state{state="up"} 1`,
		`erlang_exporter_node_state{state="down"} 0`,
		`erlang_exporter_node_state{state="refused"} 0`,
		`erlang_exporter_node_state{state="suspended"} 0`,
		`erlang_exporter_scrape_age_seconds{collector="memory"} 7.5`,
		`erlang_exporter_scrape_age_seconds{collector="statistics"} 0`,
		`erlang_exporter_scrape_age_seconds{collector="mnesia"} 0`,
		`erlang_exporter_scrape_duration_seconds{collector="memory"} 4e-05`,
		`erlang_exporter_scrape_duration_seconds{collector="statistics"} 0.001`,
		`erlang_exporter_scrape_duration_seconds{collector="mnesia"} 0`,
		`erlang_exporter_scrape_missing{collector="mnesia",reason="Mnesia does not run"} 1`,
		`erlang_exporter_scrape_series_dropped{collector="memory"} 0`,
		`erlang_exporter_scrape_series_dropped{collector="statistics"} 0`,
		`erlang_exporter_scrape_series_dropped{collector="mnesia"} 0`,
		`erlang_exporter_scrape_shed{collector="memory"} 0`,
		`erlang_exporter_scrape_shed{collector="statistics"} 1`,
		`erlang_exporter_scrape_shed{collector="mnesia"} 0`,
		`erlang_exporter_scrape_success{collector="memory"} 1`,
		`erlang_exporter_scrape_success{collector="statistics"} 0`,
		`erlang_exporter_scrape_success{collector="mnesia"} 1`,
		`erlang_exporter_snapshot_age_seconds 0`,
		`erlang_exporter_snapshot_bytes 2606`,
		`erlang_up 1`,
	}, series(probe(t, s, metrics.Settings{})))
}

func TestLimits(t *testing.T) {
	columns := []string{"memory", "size"}
	tables := of(snapshot.Mnesia, table("mnesia_table", []string{"table"}, columns,
		[]any{"c", 30, 3}, []any{"a", 10, 1}, []any{"b", 20, 2}, []any{"a", 11, 1}))

	t.Run("rows", func(t *testing.T) {
		page := probe(t, tables, metrics.Settings{Limits: metrics.Limits{Rows: 2}})
		require.Contains(t, page, `erlang_mnesia_tablewise_size{table="a"} 1`)
		require.Contains(t, page, `erlang_mnesia_tablewise_size{table="b"} 2`)
		require.NotContains(t, page, `table="c"`)
		require.Contains(t, page, `erlang_exporter_scrape_series_dropped{collector="mnesia"} 2`, "row c and the second row a")
	})
	t.Run("series", func(t *testing.T) {
		page := probe(t, tables, metrics.Settings{Limits: metrics.Limits{Series: 4}})
		require.Contains(t, page, `erlang_mnesia_tablewise_memory_usage_bytes{table="c"} 30`)
		require.Contains(t, page, `erlang_mnesia_tablewise_size{table="c"} 3`)
		require.NotContains(t, page, `erlang_mnesia_tablewise_size{table="b"}`)
		require.Contains(t, page, `erlang_exporter_scrape_series_dropped{collector="mnesia"} 3`)
		require.Contains(t, page, "\nerlang_up 1\n", "the limit is for what the node sends")
	})
}

func TestLabelValues(t *testing.T) {
	long := strings.Repeat("é", 300)
	for _, tc := range []struct{ name, in, want string }{
		{"plain", "rabbit_queue", "rabbit_queue"},
		{"quotes and backslash", `a"b\c`, `a\"b\\c`},
		{"UTF-8", "ünïcode 节点", "ünïcode 节点"},
		{"not UTF-8", "a\xffb", `a\\xffb`},
		{"control characters", "a\nb\x00c\x7f\u0085", `a\\x0ab\\x00c\\x7f\\xc2\\x85`},
		{"empty", "", ""},
		{"too long", long, strings.Repeat("é", 45) + "~2748e235"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := of(snapshot.Mnesia, table("mnesia_table", []string{"table"}, []string{"size"}, []any{tc.in, 1}))
			page := probe(t, s, metrics.Settings{Limits: metrics.Limits{LabelBytes: 100}})
			require.Contains(t, page, `erlang_mnesia_tablewise_size{table="`+tc.want+`"} 1`)
			parse(t, page)
		})
	}
}

func FuzzLabelValues(f *testing.F) {
	f.Add("a", "b", 10)
	f.Add("a\xff\xfe", "a\xff", 3)
	f.Fuzz(func(t *testing.T, a, b string, limit int) {
		if limit < 1 || limit > 1<<20 {
			return
		}
		s := of(snapshot.Mnesia, table("mnesia_table", []string{"table"}, []string{"size"}, []any{a, 1}, []any{b, 2}))
		parse(t, probe(t, s, metrics.Settings{Limits: metrics.Limits{LabelBytes: limit}}))
	})
}
