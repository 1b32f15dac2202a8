package live_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/live"
)

// source is a node of plain values; each reading counts.
type source struct {
	mu      sync.Mutex
	reading live.Reading
	gone    bool
	asked   [][]string
	hang    time.Duration
}

func (s *source) Read(ctx context.Context, node string, collectors []string, _ time.Duration) (live.Reading, bool) {
	s.mu.Lock()
	hang := s.hang
	s.mu.Unlock()
	select {
	case <-time.After(hang):
	case <-ctx.Done():
		return live.Reading{State: live.Up, Error: "the node did not answer in time"}, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, collectors)
	r := s.reading
	r.Taken = time.Now()
	r.Metrics = nil
	for _, m := range s.reading.Metrics {
		if len(collectors) == 0 || slices.Contains(collectors, m.Collector) {
			r.Metrics = append(r.Metrics, m)
		}
	}
	return r, node == "n@h" && !s.gone
}

// The catalogue has metrics of memory and vm, and an expensive one.
func (s *source) Collector(metric string) (name string, expensive, ok bool) {
	switch {
	case metric == "erlang_up":
		return live.Itself, false, true
	case strings.HasPrefix(metric, "memory_"):
		return "memory", false, true
	case strings.HasPrefix(metric, "vm_"):
		return "vm", false, true
	case strings.HasPrefix(metric, "top_"):
		return "processes", true, true
	}
	return "", false, false
}

func (s *source) IsExpensive(collector string) bool { return collector == "processes" }

func (s *source) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *source) questions() [][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func newSource() *source {
	return &source{reading: live.Reading{State: live.Up, Metrics: []live.Metric{
		{Name: "erlang_up", Collector: live.Itself, Value: 1},
		{Name: "memory_bytes", Collector: "memory", Value: 1, Labels: []live.Label{{Name: "kind", Value: "system"}}},
		{Name: "memory_bytes", Collector: "memory", Value: 2, Labels: []live.Label{{Name: "kind", Value: "processes"}}},
		{Name: "vm_processes", Collector: "vm", Value: 3},
		{Name: "folsom_requests_total", Collector: "folsom", Entry: "requests", Value: 4},
		{Name: "exometer_web_hits", Collector: "exometer", Entry: "[web,hits]", Value: 5},
		{Name: "shop_carts", Collector: "prometheus", Value: 6},
		{Name: "shop_scan", Collector: "processes", Value: 7},
	}}}
}

// inBubble runs a test of a hub on a clock of its own.
func inBubble(t *testing.T, s *source, test func(t *testing.T, h *live.Hub, r *prometheus.Registry)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		h, err := live.New(live.Options{Source: s, Registerer: registry, MaxWatchers: 1000})
		require.NoError(t, err)
		time.Sleep(500 * time.Millisecond) // so that intervals begin later
		test(t, h, registry)
		synctest.Wait()
	})
}

func watch(t *testing.T, h *live.Hub, interval time.Duration, metrics ...string) *live.Watch {
	t.Helper()
	w, err := h.Watch(t.Context(), "n@h", metrics, interval)
	require.NoError(t, err)
	t.Cleanup(w.Close)
	return w
}

func next(t *testing.T, w *live.Watch) *live.Event {
	t.Helper()
	e, _ := w.Next(t.Context())
	require.NotNil(t, e)
	return e
}

// numbers are the values of an event by name, the last of each.
func numbers(e *live.Event) map[string]float64 {
	all := map[string]float64{}
	for _, m := range e.Metrics {
		all[m.Name] = m.Value
	}
	return all
}

func TestWatchersShareAReading(t *testing.T) {
	t.Parallel()
	s := newSource()
	inBubble(t, s, func(t *testing.T, h *live.Hub, r *prometheus.Registry) {
		one := watch(t, h, time.Second, "memory_bytes")
		two := watch(t, h, time.Second, "vm_processes", "erlang_up", "vm_processes")
		slow := watch(t, h, 3*time.Second, "memory_bytes")
		for _, w := range []*live.Watch{one, two, slow} { // the first at once
			next(t, w)
		}
		synctest.Wait()
		before := len(s.questions())
		for range 6 {
			e := next(t, one)
			require.Equal(t, live.Numbers, e.Type)
			require.Len(t, e.Metrics, 2)
			require.Equal(t, map[string]float64{"vm_processes": 3, "erlang_up": 1}, numbers(next(t, two)))
		}
		require.Len(t, s.questions(), before+6, "one reading a second for all")
		for _, asked := range s.questions()[before:] {
			require.Equal(t, []string{live.Itself, "memory", "vm"}, asked)
		}
		e, skipped := slow.Next(t.Context())
		require.Equal(t, live.Numbers, e.Type)
		require.Equal(t, 1, skipped, "two readings in six seconds, of which one waits")
	})
}

func TestNothingIsReadWhenNobodyWatches(t *testing.T) {
	t.Parallel()
	s := newSource()
	inBubble(t, s, func(t *testing.T, h *live.Hub, r *prometheus.Registry) {
		one, two := watch(t, h, time.Second, "vm_processes"), watch(t, h, time.Second, "vm_processes")
		next(t, one)
		one.Close()
		one.Close()
		next(t, two)
		next(t, two)
		require.NoError(t, testutil.GatherAndCompare(r, strings.NewReader(`
# HELP erlang_exporter_live_nodes Nodes that are read because somebody watches them.
# TYPE erlang_exporter_live_nodes gauge
erlang_exporter_live_nodes 1
# HELP erlang_exporter_live_watchers Watchers at the moment.
# TYPE erlang_exporter_live_watchers gauge
erlang_exporter_live_watchers 1
`), "erlang_exporter_live_nodes", "erlang_exporter_live_watchers"))
		two.Close()
		synctest.Wait()
		before := len(s.questions())
		time.Sleep(time.Minute)
		require.Len(t, s.questions(), before)
		require.NoError(t, testutil.GatherAndCompare(r, strings.NewReader(`
# HELP erlang_exporter_live_nodes Nodes that are read because somebody watches them.
# TYPE erlang_exporter_live_nodes gauge
erlang_exporter_live_nodes 0
`), "erlang_exporter_live_nodes"))
		again := watch(t, h, time.Second, "vm_processes")
		next(t, again)
	})
}

// A watcher that never reads costs nobody else anything, and is told how many it
// missed.
func TestAWatcherThatNeverReads(t *testing.T) {
	t.Parallel()
	inBubble(t, newSource(), func(t *testing.T, h *live.Hub, r *prometheus.Registry) {
		sleeper, reader := watch(t, h, time.Second, "vm_processes"), watch(t, h, time.Second, "vm_processes")
		var last *live.Event
		for range 100 {
			last = next(t, reader)
		}
		e, skipped := sleeper.Next(t.Context())
		require.Same(t, last, e, "the newest, which both share")
		require.Equal(t, 99, skipped)
		require.NoError(t, testutil.GatherAndCompare(r, strings.NewReader(`
# HELP erlang_exporter_live_events_skipped_total Readings that a watcher did not take in time.
# TYPE erlang_exporter_live_events_skipped_total counter
erlang_exporter_live_events_skipped_total 99
`), "erlang_exporter_live_events_skipped_total"))
	})
}

func TestAThousandWatchers(t *testing.T) {
	t.Parallel()
	s := newSource()
	inBubble(t, s, func(t *testing.T, h *live.Hub, r *prometheus.Registry) {
		all := make([]*live.Watch, 1000)
		for i := range all {
			all[i] = watch(t, h, time.Second, "vm_processes")
			next(t, all[i])
		}
		synctest.Wait()
		before := len(s.questions())
		encoded := 0
		for _, w := range all {
			body := next(t, w).Encoded(func(*live.Event) []byte { encoded++; return []byte("x") })
			require.Equal(t, "x", string(body))
		}
		require.Equal(t, 1, encoded)
		require.Len(t, s.questions(), before+1)
		_, err := h.Watch(t.Context(), "n@h", []string{"vm_processes"}, time.Second)
		require.ErrorIs(t, err, live.ErrFull)
		all[0].Close()
		watch(t, h, time.Second, "vm_processes")
		require.NoError(t, testutil.GatherAndCompare(r, strings.NewReader(`
# HELP erlang_exporter_live_watchers_refused_total Watchers that were refused because there are too many.
# TYPE erlang_exporter_live_watchers_refused_total counter
erlang_exporter_live_watchers_refused_total 1
`), "erlang_exporter_live_watchers_refused_total"))
	})
}

func TestANodeThatGoesWhileItIsWatched(t *testing.T) {
	t.Parallel()
	s := newSource()
	inBubble(t, s, func(t *testing.T, h *live.Hub, _ *prometheus.Registry) {
		w := watch(t, h, time.Second, "vm_processes")
		require.Equal(t, live.Numbers, next(t, w).Type)
		s.set(func() { s.reading.State, s.reading.Error = "down", "connection lost" })
		e := next(t, w)
		require.Equal(t, []string{live.State, "down", "connection lost"}, []string{e.Type, e.State, e.Error})
		time.Sleep(time.Minute) // told once
		s.set(func() { s.reading.State, s.reading.Error = live.Up, "" })
		e = next(t, w)
		require.Equal(t, []string{live.State, live.Up, ""}, []string{e.Type, e.State, e.Error})
		require.Equal(t, live.Numbers, next(t, w).Type)
		s.set(func() { s.hang = time.Hour })
		e = next(t, w)
		require.Equal(t, []string{live.State, live.Up, "the node did not answer in time"}, []string{e.Type, e.State, e.Error})
		s.set(func() { s.hang, s.gone = 0, true })
		e = next(t, w)
		require.Equal(t, live.End, e.Type)
	})
}

// What is down can be watched, and is found once it is up.
func TestWatchingANodeThatIsDown(t *testing.T) {
	t.Parallel()
	s := newSource()
	s.reading.State = "down"
	inBubble(t, s, func(t *testing.T, h *live.Hub, _ *prometheus.Registry) {
		w := watch(t, h, time.Second, "shop_carts", "vm_processes")
		require.Equal(t, live.State, next(t, w).Type)
		s.set(func() { s.reading.State = live.Up })
		require.Equal(t, live.State, next(t, w).Type)
		for {
			if e := next(t, w); len(e.Missing) == 0 {
				require.Equal(t, map[string]float64{"vm_processes": 3, "shop_carts": 6}, numbers(e))
				break
			}
		}
	})
}

func TestMetricsOfLibraries(t *testing.T) {
	t.Parallel()
	s := newSource()
	inBubble(t, s, func(t *testing.T, h *live.Hub, _ *prometheus.Registry) {
		w := watch(t, h, time.Second, "folsom:requests", "exometer:[web,hits]", "shop_carts", "folsom_requests_total")
		want := map[string]float64{"folsom_requests_total": 4, "exometer_web_hits": 5, "shop_carts": 6}
		require.Equal(t, want, numbers(next(t, w)))
		require.Equal(t, want, numbers(next(t, w)))
		asked := s.questions()
		require.Equal(t, []string{"exometer", "folsom", "prometheus"}, asked[len(asked)-1], "and no more")
		s.set(func() {
			s.reading.Metrics = s.reading.Metrics[:4]
			s.reading.Failed = map[string]string{"folsom": "it crashed", "memory": "not asked for"}
		})
		e := next(t, w)
		require.Equal(t, []string{"exometer:[web,hits]", "folsom:requests", "folsom_requests_total", "shop_carts"}, e.Missing)
		require.Equal(t, map[string]string{"folsom": "it crashed"}, e.Failed)
	})
}

func TestWhatCannotBeWatched(t *testing.T) {
	t.Parallel()
	h, err := live.New(live.Options{Source: newSource()})
	require.NoError(t, err)
	const scanned = " comes from a scan of all processes or all memory of the node, which is not done every second: " +
		"its page (/probe) has what the last scan found"
	for _, tc := range []struct {
		metrics []string
		want    string
	}{
		{nil, "metrics[0]: name from 1 to 200 metrics"},
		{make([]string, 201), "metrics[0]: name from 1 to 200 metrics"},
		{[]string{"vm_x", ""}, "metrics[1]: a name is empty"},
		{[]string{"folsom:"}, "metrics[0]: a name is empty"},
		{[]string{"vm_x", "top_memory"}, "metrics[1]: top_memory" + scanned},
		{[]string{"shop_scan"}, "metrics[0]: shop_scan" + scanned},
		{[]string{"vm_x", "nonsense"}, `metrics[1]: "nonsense" is neither in the catalogue (docs/metrics.md) nor does the node have it now`},
		{[]string{"exometer:[a]"}, `metrics[0]: exometer has no metric "[a]" on this node`},
	} {
		_, err := h.Watch(t.Context(), "n@h", tc.metrics, time.Second)
		require.EqualError(t, err, tc.want)
	}
	_, err = h.Watch(t.Context(), "other@h", []string{"vm_x"}, time.Second)
	require.ErrorIs(t, err, live.ErrUnknown)
	for _, interval := range []time.Duration{0, time.Hour} {
		_, err = h.Watch(t.Context(), "n@h", []string{"vm_x"}, interval)
		require.EqualError(t, err, fmt.Sprintf("the interval %v is not from 1s to 1m0s", interval))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = h.Watch(ended, "n@h", []string{"vm_x"}, time.Second)
	require.ErrorIs(t, err, context.Canceled)
	_, err = live.New(live.Options{})
	require.EqualError(t, err, "exporter/live: Options.Source is missing")
}
