package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/store"
)

func alarmAt(n int) store.Alarm {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC).Add(time.Duration(n/2) * time.Second)
	return store.Alarm{
		ID: fmt.Sprintf("id%d", n), Occurrence: fmt.Sprintf("occurrence%03d", n), Node: "a@h", Name: "disk",
		RaisedAt: at, ClearedAt: at, Body: `{"quote": "\"'; --", "utf8": "żółć"}`,
	}
}

func TestAlarmsSurviveARestart(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Options{URL: url})
		first, second := alarmAt(1), alarmAt(2)
		require.NoError(t, s.SaveAlarms(t.Context(), store.AlarmChanges{Active: []store.Alarm{first, second}}))
		second.Body = `{}`
		require.NoError(t, s.SaveAlarms(t.Context(), store.AlarmChanges{
			Active: []store.Alarm{second}, Gone: []string{first.ID, "never there"}, Cleared: []store.Alarm{first, first},
		}))
		require.NoError(t, s.Close())

		s = open(t, store.Options{URL: url})
		got, err := s.ActiveAlarms(t.Context())
		require.NoError(t, err)
		second.Occurrence, second.ClearedAt = "", time.Time{} // in the body only
		require.Equal(t, []store.Alarm{second}, got)
		history, err := s.ClearedAlarms(t.Context(), time.Time{}, "", 10)
		require.NoError(t, err)
		first.RaisedAt = time.Time{}
		require.Equal(t, []store.Alarm{first}, history)
	})
}

func TestAlarmHistory(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Options{URL: url})
		var all []store.Alarm
		for n := range 20 { // two of each second
			all = append(all, alarmAt(n))
		}
		require.NoError(t, s.SaveAlarms(t.Context(), store.AlarmChanges{Cleared: all}))
		names := func() (ids []string) {
			var at time.Time
			var occurrence string
			for {
				page, err := s.ClearedAlarms(t.Context(), at, occurrence, 3)
				require.NoError(t, err)
				if len(page) == 0 {
					return ids
				}
				for _, a := range page {
					ids = append(ids, a.ID)
				}
				at, occurrence = page[len(page)-1].ClearedAt, page[len(page)-1].Occurrence
			}
		}
		want := []string{}
		for n := 19; n >= 0; n-- {
			want = append(want, fmt.Sprintf("id%d", n))
		}
		require.Equal(t, want, names())
		require.NoError(t, s.TrimAlarms(t.Context(), alarmAt(10).ClearedAt, 100))
		require.Equal(t, want[:10], names())
		require.NoError(t, s.TrimAlarms(t.Context(), time.Time{}, 4))
		require.Equal(t, want[:4], names())
	})
}

// TestManyAlarms is what a second of a storm writes.
func TestManyAlarms(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Options{URL: url})
		var all []store.Alarm
		for n := range 2000 {
			all = append(all, alarmAt(n))
		}
		require.NoError(t, s.SaveAlarms(t.Context(), store.AlarmChanges{Active: all}))
		got, err := s.ActiveAlarms(t.Context())
		require.NoError(t, err)
		require.Len(t, got, 2000)
	})
}
