package snapshot_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/snapshot"
)

func TestTableValue(t *testing.T) {
	table := snapshot.Table{
		Columns: []string{"total", "dets_tables"},
		Rows:    []snapshot.Row{{Values: []snapshot.Value{{Float: 42, Valid: true}, {}}}},
	}
	for _, tc := range []struct {
		name, column string
		table        snapshot.Table
		want         float64
		ok           bool
	}{
		{"a number", "total", table, 42, true},
		{"nothing to give", "dets_tables", table, 0, false},
		{"no such column", "ets", table, 0, false},
		{"no rows", "total", snapshot.Table{Columns: []string{"total"}}, 0, false},
		{"short row", "total", snapshot.Table{Columns: []string{"total"}, Rows: []snapshot.Row{{}}}, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, ok := tc.table.Value(tc.column)
			require.Equal(t, tc.ok, ok)
			require.Equal(t, tc.want, got)
		})
	}
}

func TestSnapshotTable(t *testing.T) {
	s := &snapshot.Snapshot{Collectors: []snapshot.Collector{
		{Name: snapshot.Memory, Tables: []snapshot.Table{{Name: "memory"}}},
		{Name: snapshot.Mnesia, Err: "timeout after 1s"},
		{Name: snapshot.Distribution, Tables: []snapshot.Table{{Name: "dist_peer"}, {Name: "dist_proc"}}},
	}}
	got, ok := s.Table("dist_proc")
	require.True(t, ok)
	require.Equal(t, "dist_proc", got.Name)
	_, ok = s.Table("mnesia")
	require.False(t, ok, "a failed collector has no tables")
}
