package alarm_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/alarm"
)

// clock is a clock that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// memory is a Store in memory.
type memory struct {
	mu      sync.Mutex
	active  map[string]alarm.Alarm
	cleared []alarm.Alarm // the last cleared last
	fail    error
	saves   int
}

func newMemory() *memory { return &memory{active: map[string]alarm.Alarm{}} }

func (m *memory) ActiveAlarms(context.Context) ([]alarm.Alarm, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.active)), m.fail
}

func (m *memory) SaveAlarms(_ context.Context, c alarm.Changes) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	m.saves++
	for _, a := range c.Active {
		m.active[a.ID] = a
	}
	for _, id := range c.Gone {
		delete(m.active, id)
	}
	m.cleared = append(m.cleared, c.Cleared...)
	return nil
}

func (m *memory) ClearedAlarms(_ context.Context, before alarm.Place, limit int) ([]alarm.Alarm, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var rows []alarm.Alarm
	for _, a := range slices.Backward(m.cleared) {
		if before.IsZero() || a.ClearedAt.Before(before.ClearedAt) || a.ClearedAt.Equal(before.ClearedAt) && a.Occurrence < before.Occurrence {
			rows = append(rows, a)
		}
	}
	return rows[:min(limit, len(rows))], nil
}

func (m *memory) TrimAlarms(_ context.Context, before time.Time, keep int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cleared = slices.DeleteFunc(m.cleared, func(a alarm.Alarm) bool { return a.ClearedAt.Before(before) })
	m.cleared = m.cleared[max(0, len(m.cleared)-keep):]
	return nil
}

func (m *memory) setFail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

func newManager(t *testing.T, o alarm.Options) *alarm.Manager {
	t.Helper()
	if o.Store == nil {
		o.Store = newMemory()
	}
	m, err := alarm.New(t.Context(), o)
	require.NoError(t, err)
	return m
}

func report(node, name, instance string, s alarm.Severity) alarm.Report {
	return alarm.Report{
		Node: alarm.Node{Name: node, Family: "shop"}, Source: alarm.SASL, Name: name, Instance: instance, Severity: s,
		Summary: name + " on " + node,
	}
}

func only(t *testing.T, m *alarm.Manager) *alarm.Alarm {
	t.Helper()
	all := m.Active(alarm.Filter{})
	require.Len(t, all, 1)
	return all[0]
}

func TestOneAlarmHoweverOftenReported(t *testing.T) {
	t.Parallel()
	c := newClock()
	m := newManager(t, alarm.Options{Now: c.Now})
	for range 5 {
		require.True(t, m.Raise(report("a@h", "disk", "/", alarm.Major)))
		c.add(time.Second)
	}
	a := only(t, m)
	require.Equal(t, uint64(5), a.Reports)
	require.Equal(t, alarm.StateNew, a.State)
	require.Equal(t, newClock().Now(), a.Raised)
	require.Equal(t, newClock().Now(), a.Updated, "a mere repetition is no change")

	m.Raise(report("a@h", "disk", "/var", alarm.Major))
	m.Raise(report("b@h", "disk", "/", alarm.Major))
	require.Len(t, m.Active(alarm.Filter{}), 3, "another instance and another node are other alarms")
}

func TestIdentityIsStable(t *testing.T) {
	t.Parallel()
	// The values are in Alertmanagers and databases of users: they must not change.
	require.Equal(t, "c4e72d281ee55b8d5afe", alarm.Key{Node: "a@h", Source: alarm.SASL, Name: "disk", Instance: "/"}.ID())
	require.NotEqual(t, alarm.Key{Node: "a", Name: "bc"}.ID(), alarm.Key{Node: "ab", Name: "c"}.ID())
}

func TestLifeCycle(t *testing.T) {
	t.Parallel()
	c := newClock()
	m := newManager(t, alarm.Options{Now: c.Now})
	events, cancel := m.Subscribe()
	defer cancel()
	m.Raise(report("a@h", "disk", "/", alarm.Minor))
	id := only(t, m).ID
	do := func(verb alarm.Verb, user, text string) alarm.Alarm {
		c.add(time.Minute)
		out, err := m.Do(t.Context(), alarm.Filter{IDs: []string{id}}, alarm.Command{Verb: verb, User: user, Text: text})
		require.NoError(t, err)
		require.Empty(t, out.Failed)
		require.Len(t, out.Alarms, 1)
		return out.Alarms[0]
	}

	a := do(alarm.VerbAcknowledge, "jane", "on it")
	require.Equal(t, alarm.StateAcknowledged, a.State)
	require.Equal(t, "jane", a.AcknowledgedBy)
	require.Equal(t, c.Now(), a.AcknowledgedAt)
	require.Equal(t, []alarm.Comment{{User: "jane", Time: c.Now(), Text: "on it"}}, a.Comments)

	m.Raise(report("a@h", "disk", "/", alarm.Minor))
	require.Equal(t, alarm.StateAcknowledged, only(t, m).State, "a repetition does not undo it")
	m.Raise(report("a@h", "disk", "/", alarm.Warning))
	require.Equal(t, alarm.StateAcknowledged, only(t, m).State, "nor does a lesser severity")
	m.Raise(report("a@h", "disk", "/", alarm.Critical))
	a = *only(t, m)
	require.Equal(t, alarm.StateNew, a.State, "a worse one was acknowledged by nobody")
	require.Empty(t, a.AcknowledgedBy)
	require.Equal(t, alarm.Warning, a.PreviousSeverity)

	require.Equal(t, alarm.StateAcknowledged, do(alarm.VerbAcknowledge, "joe", "").State)
	require.Equal(t, alarm.StateNew, do(alarm.VerbUnacknowledge, "joe", "").State)
	require.Len(t, do(alarm.VerbComment, "joe", "it is the log").Comments, 2)
	a = do(alarm.VerbClear, "joe", "")
	require.Equal(t, alarm.StateCleared, a.State)
	require.Equal(t, "joe", a.ClearedBy)
	require.Empty(t, m.Active(alarm.Filter{}))

	out, err := m.Do(t.Context(), alarm.Filter{IDs: []string{id}}, alarm.Command{Verb: alarm.VerbClear, User: "joe"})
	require.NoError(t, err)
	require.ErrorIs(t, out.Failed[id], alarm.ErrNotActive)

	m.Raise(report("a@h", "disk", "/", alarm.Minor))
	again := only(t, m)
	require.Equal(t, id, again.ID)
	require.NotEqual(t, a.Occurrence, again.Occurrence)
	require.Empty(t, again.Comments)

	var got []alarm.EventType
	for len(events) > 0 {
		got = append(got, (<-events).Type)
	}
	require.Equal(t, []alarm.EventType{
		alarm.EventRaised, alarm.EventAcknowledged, alarm.EventChanged, alarm.EventChanged, alarm.EventAcknowledged,
		alarm.EventUnacknowledged, alarm.EventCommented, alarm.EventCleared, alarm.EventRaised,
	}, got)
}

func TestBulk(t *testing.T) {
	t.Parallel()
	m := newManager(t, alarm.Options{})
	for _, node := range []string{"a@h", "b@h", "c@other"} {
		for _, s := range alarm.Severities() {
			m.Raise(report(node, string(s), "", s))
		}
	}
	count := func(f alarm.Filter) int { return len(m.Active(f)) }
	for name, tc := range map[string]struct {
		filter alarm.Filter
		want   int
	}{
		"all":      {alarm.Filter{}, 12},
		"severity": {alarm.Filter{Severities: []alarm.Severity{alarm.Critical, alarm.Minor}}, 6},
		"node":     {alarm.Filter{Nodes: []string{"*@h"}}, 8},
		"both":     {alarm.Filter{Nodes: []string{"?@other"}, Severities: []alarm.Severity{alarm.Warning}}, 1},
		"family":   {alarm.Filter{Families: []string{"shop"}}, 12},
		"other":    {alarm.Filter{Families: []string{"chat"}}, 0},
		"state":    {alarm.Filter{States: []alarm.State{alarm.StateAcknowledged}}, 0},
		"source":   {alarm.Filter{Sources: []alarm.Source{alarm.Elarm}}, 0},
		"name":     {alarm.Filter{Names: []string{"critical"}}, 3},
	} {
		require.Equal(t, tc.want, count(tc.filter), name)
	}
	out, err := m.Do(t.Context(), alarm.Filter{Nodes: []string{"*@h"}, Severities: []alarm.Severity{alarm.Major}},
		alarm.Command{Verb: alarm.VerbAcknowledge, User: "jane", Text: "known"})
	require.NoError(t, err)
	require.Len(t, out.Alarms, 2)
	require.Equal(t, 2, count(alarm.Filter{States: []alarm.State{alarm.StateAcknowledged}}))
	_, err = m.Do(t.Context(), alarm.Filter{States: []alarm.State{alarm.StateAcknowledged}}, alarm.Command{Verb: alarm.VerbClear, User: "jane"})
	require.NoError(t, err)
	require.Equal(t, 10, count(alarm.Filter{}))
}

func TestWrongCommands(t *testing.T) {
	t.Parallel()
	m := newManager(t, alarm.Options{})
	for name, tc := range map[string]struct {
		command alarm.Command
		want    string
	}{
		"no user":      {alarm.Command{Verb: alarm.VerbClear}, "the user is missing"},
		"no comment":   {alarm.Command{Verb: alarm.VerbComment, User: "jane"}, "the comment is empty"},
		"long comment": {alarm.Command{Verb: alarm.VerbComment, User: "jane", Text: strings.Repeat("x", 3000)}, "the comment has more than 2048 bytes"},
	} {
		_, err := m.Do(t.Context(), alarm.Filter{}, tc.command)
		require.EqualError(t, err, tc.want, name)
	}
}

// TestEchoOfACommand comes while the source is still being told: it is the command,
// with who gave it, and nothing else.
func TestEchoOfACommand(t *testing.T) {
	t.Parallel()
	c := newClock()
	var m *alarm.Manager
	m = newManager(t, alarm.Options{Now: c.Now, Forward: func(_ context.Context, a alarm.Alarm, cmd alarm.Command) error {
		m.Comment(a.Key(), alarm.Comment{User: cmd.User, Time: c.Now(), Text: cmd.Text})
		switch cmd.Verb {
		case alarm.VerbAcknowledge:
			m.Acknowledge(a.Key(), alarm.Acknowledgement{Acknowledged: true, User: cmd.User})
		case alarm.VerbClear:
			m.Clear(a.Key(), "manual")
		}
		return nil
	}})
	m.Raise(report("a@h", "link", "", alarm.Major))
	do := func(verb alarm.Verb, text string) alarm.Alarm {
		out, err := m.Do(t.Context(), alarm.Filter{}, alarm.Command{Verb: verb, User: "jane", Text: text})
		require.NoError(t, err)
		require.Empty(t, out.Failed)
		require.Len(t, out.Alarms, 1)
		return out.Alarms[0]
	}
	require.Len(t, do(alarm.VerbAcknowledge, "mine").Comments, 1)
	require.Len(t, do(alarm.VerbComment, "mine").Comments, 2, "said again is another comment")
	cleared := do(alarm.VerbClear, "mended")
	require.Equal(t, []string{"jane", "cleared by hand"}, []string{cleared.ClearedBy, cleared.ClearReason})
	require.Len(t, cleared.Comments, 3)
	require.Empty(t, m.Active(alarm.Filter{}))
}

func TestCommandsReachTheSourceFirst(t *testing.T) {
	t.Parallel()
	var told []alarm.Command
	refuse := errors.New("elarm does not answer")
	m := newManager(t, alarm.Options{Forward: func(_ context.Context, a alarm.Alarm, c alarm.Command) error {
		if a.Name == "broken" {
			return refuse
		}
		told = append(told, c)
		return nil
	}})
	m.Raise(report("a@h", "good", "", alarm.Major))
	m.Raise(report("a@h", "broken", "", alarm.Major))
	c := alarm.Command{Verb: alarm.VerbAcknowledge, User: "jane"}
	out, err := m.Do(t.Context(), alarm.Filter{}, c)
	require.NoError(t, err)
	require.Equal(t, []alarm.Command{c}, told)
	require.Len(t, out.Alarms, 1)
	require.Len(t, out.Failed, 1)
	for id, err := range out.Failed {
		require.ErrorIs(t, err, refuse)
		a, ok := m.Get(id)
		require.True(t, ok)
		require.Equal(t, alarm.StateNew, a.State, "what the source refused is not done")
	}
}

func TestStateThatTheSourceKeeps(t *testing.T) {
	t.Parallel()
	c := newClock()
	m := newManager(t, alarm.Options{Now: c.Now})
	r := report("a@h", "link", "", alarm.Major)
	r.Acknowledgement = &alarm.Acknowledgement{Acknowledged: true, User: "elarm-user"}
	r.Comments = []alarm.Comment{{User: "x", Time: c.Now(), Text: "seen"}}
	m.Raise(r)
	a := only(t, m)
	require.Equal(t, alarm.StateAcknowledged, a.State)
	require.Equal(t, "elarm-user", a.AcknowledgedBy)
	require.Len(t, a.Comments, 1)

	m.Acknowledge(a.Key(), alarm.Acknowledgement{})
	require.Equal(t, alarm.StateNew, only(t, m).State)
	m.Acknowledge(a.Key(), alarm.Acknowledgement{Acknowledged: true, User: "y"})
	require.Equal(t, "y", only(t, m).AcknowledgedBy)

	_, err := m.Do(t.Context(), alarm.Filter{}, alarm.Command{Verb: alarm.VerbComment, User: "jane", Text: "looking"})
	require.NoError(t, err)
	m.Comment(a.Key(), alarm.Comment{User: "jane", Time: c.Now().Add(time.Second), Text: "looking"})
	require.Len(t, only(t, m).Comments, 2, "the echo of a comment is no comment")
	m.Comment(a.Key(), alarm.Comment{User: "jane", Time: c.Now().Add(time.Hour), Text: "looking"})
	require.Len(t, only(t, m).Comments, 3)
}

// TestRestart saves with one manager and goes on with another.
func TestRestart(t *testing.T) {
	t.Parallel()
	c, store := newClock(), newMemory()
	m := newManager(t, alarm.Options{Now: c.Now, Store: store})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	m.Raise(report("a@h", "disk", "/", alarm.Minor))
	m.Raise(report("a@h", "gone", "", alarm.Minor))
	m.Clear(alarm.Key{Node: "a@h", Source: alarm.SASL, Name: "gone"}, "better")
	cancel()
	require.NoError(t, <-done)

	c.add(time.Hour)
	m = newManager(t, alarm.Options{Now: c.Now, Store: store})
	a := only(t, m)
	require.Equal(t, "disk", a.Name)
	require.Equal(t, newClock().Now(), a.Raised)
	m.Raise(report("a@h", "disk", "/", alarm.Minor))
	require.Equal(t, a.Occurrence, only(t, m).Occurrence, "it is the same alarm as before the restart")
	old, err := m.ClearedSince(t.Context(), c.Now().Add(-2*time.Hour))
	require.NoError(t, err)
	require.Len(t, old, 1)
	require.Equal(t, "better", old[0].ClearReason)
}

// TestCommandsAreSaved holds without Run: what somebody has done is in the
// database when they are told so.
func TestCommandsAreSaved(t *testing.T) {
	t.Parallel()
	store := newMemory()
	m := newManager(t, alarm.Options{Store: store})
	m.Raise(report("a@h", "disk", "/", alarm.Minor))
	_, err := m.Do(t.Context(), alarm.Filter{}, alarm.Command{Verb: alarm.VerbAcknowledge, User: "jane"})
	require.NoError(t, err)
	saved, err := store.ActiveAlarms(t.Context())
	require.NoError(t, err)
	require.Equal(t, "jane", saved[0].AcknowledgedBy)

	store.setFail(errors.New("disk full"))
	_, err = m.Do(t.Context(), alarm.Filter{}, alarm.Command{Verb: alarm.VerbClear, User: "jane"})
	require.ErrorContains(t, err, "disk full")
	require.Empty(t, m.Active(alarm.Filter{}), "the alarms go on without the database")
	store.setFail(nil)
	old, err := m.History(t.Context(), alarm.Filter{}, alarm.Place{}, 10)
	require.NoError(t, err)
	require.Len(t, old, 1, "nothing is lost when the database is back")
}

func TestHistory(t *testing.T) {
	t.Parallel()
	c := newClock()
	m := newManager(t, alarm.Options{Now: c.Now})
	for i := range 1200 {
		r := report("a@h", fmt.Sprintf("n%d", i), "", alarm.Severities()[i%4])
		m.Raise(r)
		c.add(time.Second)
		m.Clear(r.Key(), "")
	}
	page, err := m.History(t.Context(), alarm.Filter{}, alarm.Place{}, 10)
	require.NoError(t, err)
	require.Len(t, page, 10)
	require.Equal(t, "n1199", page[0].Name)
	page, err = m.History(t.Context(), alarm.Filter{}, alarm.Place{ClearedAt: page[9].ClearedAt, Occurrence: page[9].Occurrence}, 10)
	require.NoError(t, err)
	require.Equal(t, "n1189", page[0].Name)
	page, err = m.History(t.Context(), alarm.Filter{Severities: []alarm.Severity{alarm.Critical}}, alarm.Place{}, 1000)
	require.NoError(t, err)
	require.Len(t, page, 300)
	page, err = m.History(t.Context(), alarm.Filter{Since: c.Now().Add(-9 * time.Second)}, alarm.Place{}, 1000)
	require.NoError(t, err)
	require.Len(t, page, 10)
}

func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	c, store := newClock(), newMemory()
	m := newManager(t, alarm.Options{Now: c.Now, Store: store, Limits: alarm.Limits{HistoryCount: 5, HistoryAge: time.Hour}})
	for i := range 20 {
		r := report("a@h", fmt.Sprintf("n%d", i), "", alarm.Minor)
		m.Raise(r)
		m.Clear(r.Key(), "")
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := m.History(t.Context(), alarm.Filter{}, alarm.Place{}, 1) // saves
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	require.Eventually(t, func() bool {
		store.mu.Lock()
		defer store.mu.Unlock()
		return len(store.cleared) == 5
	}, 10*time.Second, time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	c.add(2 * time.Hour)
	old, err := m.History(t.Context(), alarm.Filter{}, alarm.Place{}, 10)
	require.NoError(t, err)
	require.Empty(t, old, "what is too old is not shown, also before it is trimmed")
}

func TestTooManyAlarms(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m := newManager(t, alarm.Options{Registerer: registry, Limits: alarm.Limits{Active: 10, PerNode: 6, Series: 4}})
	for i := range 8 {
		require.Equal(t, i < 6, m.Raise(report("a@h", fmt.Sprint(i), "", alarm.Minor)))
	}
	for i := range 8 {
		require.Equal(t, i < 4, m.Raise(report("b@h", fmt.Sprint(i), "", alarm.Major)))
	}
	require.Len(t, m.Active(alarm.Filter{}), 10)
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP erlang_exporter_alarms_dropped_total Reports of alarms that were dropped because too many alarms are active.
# TYPE erlang_exporter_alarms_dropped_total counter
erlang_exporter_alarms_dropped_total 6
# HELP erlang_exporter_alarm_series_dropped Active alarms that erlang_exporter_alarm_active leaves out, the least severe and newest first, to stay within its limit.
# TYPE erlang_exporter_alarm_series_dropped gauge
erlang_exporter_alarm_series_dropped 6
# HELP erlang_exporter_alarm_active Active alarms; the value is always 1.
# TYPE erlang_exporter_alarm_active gauge
erlang_exporter_alarm_active{alarm="0",family="shop",key="",node="b@h",severity="major",source="sasl",state="new"} 1
erlang_exporter_alarm_active{alarm="1",family="shop",key="",node="b@h",severity="major",source="sasl",state="new"} 1
erlang_exporter_alarm_active{alarm="2",family="shop",key="",node="b@h",severity="major",source="sasl",state="new"} 1
erlang_exporter_alarm_active{alarm="3",family="shop",key="",node="b@h",severity="major",source="sasl",state="new"} 1
`), "erlang_exporter_alarms_dropped_total", "erlang_exporter_alarm_series_dropped", "erlang_exporter_alarm_active"))
	lint, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, lint)
}

func TestHostileTexts(t *testing.T) {
	t.Parallel()
	m := newManager(t, alarm.Options{})
	hostile := "\"quotes\"\nnew\x00line\xff\xfe" + strings.Repeat("ż", 10_000)
	r := report("a@h", hostile, hostile, "no severity")
	r.Summary, r.Description, r.ProbableCause = hostile, hostile, hostile
	r.Comments = slices.Repeat([]alarm.Comment{{User: hostile, Text: hostile}}, 500)
	m.Raise(r)
	a := only(t, m)
	for _, text := range []string{a.Name, a.Instance, a.Summary, a.Description, a.ProbableCause, a.Comments[0].User, a.Comments[0].Text} {
		require.True(t, utf8.ValidString(text), "%q", text)
		require.LessOrEqual(t, len(text), 4096)
		require.NotContains(t, text, "\x00")
	}
	require.NotContains(t, a.Name+a.Instance+a.Summary, "\n")
	require.LessOrEqual(t, len(a.Name), 128)
	require.Len(t, a.Comments, 100)
	require.Equal(t, alarm.Warning, a.Severity)
}

func TestSlowSubscribersAreTold(t *testing.T) {
	t.Parallel()
	m := newManager(t, alarm.Options{})
	events, cancel := m.Subscribe()
	defer cancel()
	changed, stop := m.Changed()
	defer stop()
	for i := range 3000 {
		m.Raise(report("a@h", fmt.Sprint(i), "", alarm.Minor))
	}
	require.Len(t, changed, 1)
	n, dropped := 0, 0
	for len(events) > 0 {
		if (<-events).Type == alarm.EventDropped {
			dropped++
		}
		n++
	}
	require.Equal(t, 1, dropped)
	require.Less(t, n, 3000)
	m.Raise(report("a@h", "after", "", alarm.Minor))
	require.Equal(t, "after", (<-events).Alarm.Name)
}

// TestThousandsASecond raises and clears from several goroutines, against a
// database that is slow to answer nothing.
func TestThousandsASecond(t *testing.T) {
	t.Parallel()
	store := newMemory()
	m := newManager(t, alarm.Options{Store: store})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 1000 {
				r := report(fmt.Sprintf("n%d@h", g), fmt.Sprint(i%50), "", alarm.Minor)
				m.Raise(r)
				m.Clear(r.Key(), "")
			}
		})
	}
	wg.Wait()
	cancel()
	require.NoError(t, <-done)
	require.Empty(t, m.Active(alarm.Filter{}))
	require.Empty(t, store.active)
	require.Len(t, store.cleared, 4000)
}
