package alerting

import (
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/alarm"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// record has TestRecording write down what the machine's Erlang tells.
var record = flag.Bool("record", false, "record a reading of a node in testdata")

const recording = "testdata/reading.json"

// recordedCollectors are what the rules of recorded look at.
var recordedCollectors = []string{snapshot.Memory, snapshot.OSProcess, snapshot.VMEvents}

// TestRecording holds what was recorded to what nodes tell today: all columns
// that its rules read.
func TestRecording(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	now := readNode(t, n)
	if *record {
		body, err := json.MarshalIndent(now, "", " ")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(recording, append(body, '\n'), 0o600))
	}
	then := readRecording(t)
	for _, r := range alarm.Rules() {
		if _, ok := recorded()[r.ID]; !ok {
			continue
		}
		for _, need := range r.Needs {
			need, _, _ = strings.Cut(need, " ")
			name, column, _ := strings.Cut(need, ".")
			for _, s := range []*snapshot.Snapshot{now, then} {
				require.NotNil(t, number(s, name, column), "%s needs %s", r.ID, need)
			}
		}
	}
}

// readNode attaches to a node and reads it once it has found the limit of its
// memory.
func readNode(t *testing.T, n *erltest.Node) *snapshot.Snapshot {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	network, err := dist.New(dist.Options{Name: "record@localhost", Logger: logger})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- network.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	attacher, err := agent.New(agent.Options{Network: network, Logger: logger})
	require.NoError(t, err)
	session, err := attacher.Attach(t.Context(), agent.Target{Node: n.Name, Cookie: n.Cookie, Address: n.Address()})
	require.NoError(t, err)
	var read *snapshot.Snapshot
	require.Eventually(t, func() bool {
		read, err = session.Snapshot(ctx, snapshot.Request{Collectors: recordedCollectors})
		return err == nil && number(read, "inspection", "memory_limit_bytes") != nil
	}, patience, 100*time.Millisecond)
	require.NoError(t, session.Detach(ctx))
	return read
}

func readRecording(t *testing.T) *snapshot.Snapshot {
	t.Helper()
	body, err := os.ReadFile(recording)
	require.NoError(t, err)
	var s snapshot.Snapshot
	require.NoError(t, json.Unmarshal(body, &s))
	return &s
}

// number is a place in a reading that may be changed; nil where there is no
// number.
func number(s *snapshot.Snapshot, table, column string) *float64 {
	for _, c := range s.Collectors {
		for _, x := range c.Tables {
			i := slices.Index(x.Columns, column)
			if x.Name == table && i >= 0 && len(x.Rows) > 0 && x.Rows[0].Values[i].Valid {
				return &x.Rows[0].Values[i].Float
			}
		}
	}
	return nil
}

// forgetful is a store that keeps nothing.
type forgetful struct{}

func (forgetful) ActiveAlarms(context.Context) ([]alarm.Alarm, error) { return nil, nil }
func (forgetful) SaveAlarms(context.Context, alarm.Changes) error     { return nil }
func (forgetful) ClearedAlarms(context.Context, alarm.Place, int) ([]alarm.Alarm, error) {
	return nil, nil
}
func (forgetful) TrimAlarms(context.Context, time.Time, int) error { return nil }

// TestRecorded plays hours of a node to the rules of recorded, a reading each 15
// s: each alarm is raised and cleared once.
func TestRecorded(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	// What changes of the reading, and at what time; between two times, evenly.
	type change struct {
		at    time.Duration
		value float64
	}
	for name, c := range map[string]struct {
		table, column          string
		changes                []change
		raised, cleared, still time.Duration
	}{
		// 8 GiB are the limit: 4 h at 1 GiB an hour from 5 GiB on are too many.
		"memory_growth": {
			"process", "resident_bytes", []change{{0, 4096 * mib}, {90 * time.Minute, 5632 * mib}, {6 * time.Hour, 5632 * mib}},
			90 * time.Minute, 3 * time.Hour, 6 * time.Hour,
		},
		"binary_leak_suspected": {
			"memory", "binary", []change{{0, 10 * mib}, {time.Hour, 400 * mib}, {61 * time.Minute, 10 * mib}, {2 * time.Hour, 10 * mib}},
			time.Hour, 62 * time.Minute, 2 * time.Hour,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			begun := now
			clock := func() time.Time { return now }
			manager, err := alarm.New(t.Context(), alarm.Options{Store: forgetful{}, Now: clock})
			require.NoError(t, err)
			evaluator, err := alarm.NewEvaluator(alarm.EvaluatorOptions{Manager: manager, Now: clock})
			require.NoError(t, err)
			s := readRecording(t)
			*number(s, "inspection", "memory_limit_bytes") = 8192 * mib
			*number(s, "memory", "total") = 500 * mib
			var raised, cleared []time.Duration
			for active := false; now.Sub(begun) < c.still; now = now.Add(15 * time.Second) {
				for i := 1; i < len(c.changes); i++ {
					from, to := c.changes[i-1], c.changes[i]
					if d := now.Sub(begun); d >= from.at && d <= to.at {
						*number(s, c.table, c.column) = from.value + (to.value-from.value)*float64(d-from.at)/float64(to.at-from.at)
					}
				}
				s.Taken = now
				evaluator.Pulse(alarm.Node{Name: "a@h"}, s)
				is := len(manager.Active(alarm.Filter{Names: []string{name}})) == 1
				switch {
				case is && !active:
					raised = append(raised, now.Sub(begun))
				case !is && active:
					cleared = append(cleared, now.Sub(begun))
				}
				active = is
			}
			require.Len(t, raised, 1)
			require.Len(t, cleared, 1)
			require.LessOrEqual(t, raised[0], c.raised)
			require.LessOrEqual(t, cleared[0], c.cleared)
			require.Greater(t, raised[0], 25*time.Minute, "so little proves nothing")
		})
	}
}
