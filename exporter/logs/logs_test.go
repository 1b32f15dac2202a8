package logs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/logs"
)

func entry(i int) logs.Entry {
	return logs.Entry{
		Time: time.Unix(1_700_000_000, int64(i)), Node: "a@h", Family: "shop", Level: logs.Error, Source: logs.SourceLogger,
		Message: fmt.Sprintf("entry %d", i), Fields: []logs.Field{{Name: "pid", Value: "<0.1.0>"}},
	}
}

func newLog(t *testing.T, o logs.Options) *logs.Log {
	t.Helper()
	l, err := logs.New(o)
	require.NoError(t, err)
	return l
}

func messages(entries []logs.Numbered) []string {
	var all []string
	for _, e := range entries {
		all = append(all, e.Message)
	}
	return all
}

func TestLevels(t *testing.T) {
	t.Parallel()
	for i, name := range logs.LevelNames() {
		l, err := logs.ParseLevel(name)
		require.NoError(t, err)
		require.Equal(t, logs.Level(i), l)
		require.Equal(t, name, l.String())
	}
	_, err := logs.ParseLevel("fatal")
	require.EqualError(t, err, `"fatal" is not a level: want one of emergency, alert, critical, error, warning, notice, info, debug`)
	require.True(t, logs.Critical.AtLeast(logs.Error))
	require.True(t, logs.Error.AtLeast(logs.Error))
	require.False(t, logs.Warning.AtLeast(logs.Error))
}

// TestKeptSince is the beginning of the Log, until it has lost something.
func TestKeptSince(t *testing.T) {
	t.Parallel()
	begun := time.Unix(1_600_000_000, 0)
	l := newLog(t, logs.Options{Keep: 5, Now: func() time.Time { return begun }})
	for i := range 5 {
		l.Publish(entry(i))
		if i < 4 {
			require.Equal(t, begun, l.KeptSince())
		}
	}
	l.Publish(entry(5), entry(6))
	page, _, err := l.Last(logs.Filter{}, 10, "")
	require.NoError(t, err)
	oldest := page[len(page)-1]
	require.True(t, l.KeptSince().Before(oldest.Time))
	require.Equal(t, entry(6-len(page)).Time, l.KeptSince())
}

func TestLast(t *testing.T) {
	t.Parallel()
	l := newLog(t, logs.Options{Keep: 5})
	for i := range 8 {
		l.Publish(entry(i))
	}
	page, more, err := l.Last(logs.Filter{}, 3, "")
	require.NoError(t, err)
	require.Equal(t, []string{"entry 7", "entry 6", "entry 5"}, messages(page))
	require.NotEmpty(t, more)
	page, more, err = l.Last(logs.Filter{}, 3, more)
	require.NoError(t, err)
	require.Equal(t, []string{"entry 4", "entry 3"}, messages(page))
	require.Empty(t, more)
	_, _, err = l.Last(logs.Filter{}, 3, "0000-1")
	require.ErrorIs(t, err, logs.ErrUnknownID)
}

// TestKeepBytes has a log with room for many entries, but not for large ones.
func TestKeepBytes(t *testing.T) {
	t.Parallel()
	l := newLog(t, logs.Options{Keep: 1000, KeepBytes: 100_000})
	for i := range 50 {
		e := entry(i)
		e.Message = strings.Repeat("x", 20_000)
		l.Publish(e)
	}
	page, _, err := l.Last(logs.Filter{}, 1000, "")
	require.NoError(t, err)
	require.Len(t, page, 4)
}

func TestRead(t *testing.T) {
	t.Parallel()
	l := newLog(t, logs.Options{Keep: 5})
	from := l.Start("")
	r := l.Read(from, logs.Filter{})
	require.Empty(t, r.Entries)
	go l.Publish(entry(0), entry(1))
	<-r.Changed
	r = l.Read(r.Next, logs.Filter{})
	require.Equal(t, []string{"entry 0", "entry 1"}, messages(r.Entries))
	require.False(t, r.Missed)
	require.Equal(t, r.Next, l.Start(r.Entries[1].ID))
	for i := range 8 {
		l.Publish(entry(i + 2))
	}
	r = l.Read(r.Next, logs.Filter{})
	require.True(t, r.Missed)
	require.Equal(t, []string{"entry 5", "entry 6", "entry 7", "entry 8", "entry 9"}, messages(r.Entries))
	require.Zero(t, l.Start("other-1"))
	l.Close()
	<-r.Changed
	require.True(t, l.Read(r.Next, logs.Filter{}).Closed)
}

// TestReadInParts looks at more entries than one call does.
func TestReadInParts(t *testing.T) {
	t.Parallel()
	l := newLog(t, logs.Options{})
	from := l.Start("")
	for i := range 2500 {
		l.Publish(entry(i))
	}
	last := "entry 2499"
	seen := 0
	for {
		r := l.Read(from, logs.Filter{Text: last})
		from = r.Next
		seen += len(r.Entries)
		if r.Changed != nil {
			break
		}
	}
	require.Equal(t, 1, seen)
}

func TestFilter(t *testing.T) {
	t.Parallel()
	warning := logs.Warning
	errorLevel := logs.Error
	e := entry(1)
	for name, c := range map[string]struct {
		filter logs.Filter
		want   bool
	}{
		"all":          {logs.Filter{}, true},
		"node":         {logs.Filter{Nodes: []string{"b@h", "a@*"}}, true},
		"other node":   {logs.Filter{Nodes: []string{"b@h"}}, false},
		"bracket":      {logs.Filter{Nodes: []string{"[a]@h"}}, false},
		"family":       {logs.Filter{Families: []string{"shop"}}, true},
		"other family": {logs.Filter{Families: []string{"sho"}}, false},
		"source":       {logs.Filter{Sources: []logs.Source{logs.SourceLogger}}, true},
		"other source": {logs.Filter{Sources: []logs.Source{logs.SourceLager}}, false},
		"level":        {logs.Filter{Level: &warning}, true},
		"same level":   {logs.Filter{Level: &errorLevel}, true},
		"text":         {logs.Filter{Text: "ENTRY"}, true},
		"other text":   {logs.Filter{Text: "exit"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, c.filter.Match(e))
		})
	}
	less := e
	less.Level = logs.Info
	require.False(t, logs.Filter{Level: &warning}.Match(less))
}

func TestClean(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                     "",
		"plain żółw\n\ttext":   "plain żółw\n\ttext",
		"a\x00b\x1b[31mc\rd":   `a\x00b\x1b[31mc\x0dd`,
		"\xff\xfeab\xc3":       `\xff\xfeab\xc3`,
		"real \ufffd stays":    "real \ufffd stays",
		"next\u0085line\u2028": `next\xc2\x85line\xe2\x80\xa8`,
	} {
		require.Equal(t, want, logs.Clean(in))
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x00\xffb")
	f.Fuzz(func(t *testing.T, s string) {
		clean := logs.Clean(s)
		require.True(t, utf8.ValidString(clean))
		require.Equal(t, clean, logs.Clean(clean))
	})
}

func TestFieldName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "", "request_id": "request_id", "x-y.z": "x_y_z", "1st": "_st", "Ünicode": "__nicode"} {
		require.Equal(t, want, logs.FieldName(in))
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	e := entry(7)
	e.Event = logs.EventCrashReport
	e.Fields = append(e.Fields, logs.Field{Name: "empty"})
	got, err := logs.Decode(e.Append(nil))
	require.NoError(t, err)
	require.Equal(t, e, got)
	zero := logs.Entry{Time: time.Unix(0, 0)}
	got, err = logs.Decode(zero.Append(nil))
	require.NoError(t, err)
	require.Equal(t, zero, got)
}

func FuzzDecode(f *testing.F) {
	f.Add(entry(1).Append(nil))
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := logs.Decode(b)
		if err != nil {
			return
		}
		again, err := logs.Decode(e.Append(nil))
		require.NoError(t, err)
		require.Equal(t, e, again)
	})
}

type recorder struct{ entries []logs.Entry }

func (r *recorder) Add(entries []logs.Entry) { r.entries = append(r.entries, entries...) }

func TestSinksAndMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	sink := &recorder{}
	l := newLog(t, logs.Options{Sinks: []logs.Sink{sink}, Registerer: registry})
	l.Publish()
	l.Publish(entry(1), entry(2))
	require.Len(t, sink.entries, 2)
	families, err := registry.Gather()
	require.NoError(t, err)
	require.Len(t, families, 1)
	require.InDelta(t, 2, families[0].GetMetric()[0].GetCounter().GetValue(), 0)
	_, err = logs.New(logs.Options{Registerer: registry})
	require.Error(t, err)
	_, err = logs.New(logs.Options{Keep: -1})
	require.Error(t, err)
	first, second := l.Unique(), l.Unique()
	require.NotEqual(t, first, second)
}
