package sink_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/logs"
	"github.com/erlops/erlops/exporter/sink"
)

// receiver is a Sender that notes what it gets, and fails as it is told.
type receiver struct {
	mu      sync.Mutex
	got     []string
	batches int
	fail    func(batch []logs.Entry) error
}

func (r *receiver) Send(_ context.Context, batch []logs.Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		if err := r.fail(batch); err != nil {
			return err
		}
	}
	r.batches++
	for _, e := range batch {
		r.got = append(r.got, e.Message)
	}
	return nil
}

func (r *receiver) messages() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.got...)
}

func (r *receiver) failWith(f func([]logs.Entry) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = f
}

func entries(from, to int) []logs.Entry {
	var all []logs.Entry
	for i := from; i < to; i++ {
		all = append(all, logs.Entry{
			Time: time.Unix(1_700_000_000, int64(i)*1000), Node: "a@h", Family: "shop", Level: logs.Error,
			Source: logs.SourceLogger, Message: fmt.Sprintf("entry %d", i), Fields: []logs.Field{{Name: "pid", Value: "<0.1.0>"}},
		})
	}
	return all
}

func names(from, to int) []string {
	var all []string
	for _, e := range entries(from, to) {
		all = append(all, e.Message)
	}
	return all
}

type fixture struct {
	*sink.Queue
	receiver *receiver
	registry *prometheus.Registry
	stop     func() // ends Run and waits for it
}

func start(t *testing.T, r *receiver, change func(*sink.Options)) *fixture {
	t.Helper()
	registry := prometheus.NewRegistry()
	metrics, err := sink.NewMetrics(registry)
	require.NoError(t, err)
	o := sink.Options{
		Name: "test", Sender: r, Metrics: metrics,
		BatchWait: 10 * time.Millisecond, RetryMin: time.Millisecond, RetryMax: 10 * time.Millisecond,
		FlushTimeout: time.Second, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	q, err := sink.New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	return &fixture{Queue: q, receiver: r, registry: registry, stop: stop}
}

func inDir(dir string) func(*sink.Options) { return func(o *sink.Options) { o.Dir = dir } }

func (f *fixture) await(t *testing.T, want []string) {
	t.Helper()
	require.Eventually(t, func() bool { return len(f.receiver.messages()) >= len(want) }, 20*time.Second, time.Millisecond)
	require.Equal(t, want, f.receiver.messages())
}

// sum adds up the series of a family with these label values.
func (f *fixture) sum(t *testing.T, family string, values ...string) float64 {
	t.Helper()
	families, err := f.registry.Gather()
	require.NoError(t, err)
	sum := 0.0
	for _, fam := range families {
		if fam.GetName() != family {
			continue
		}
		for _, m := range fam.GetMetric() {
			var have []string
			for _, l := range m.GetLabel() {
				have = append(have, l.GetValue())
			}
			if all := strings.Join(have, " "); strings.Contains(all, strings.Join(values, " ")) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// onBoth runs a test with a queue in memory and with one on disk.
func onBoth(t *testing.T, test func(t *testing.T, where func(*sink.Options))) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		test(t, inDir(""))
	})
	t.Run("disk", func(t *testing.T) {
		t.Parallel()
		test(t, inDir(t.TempDir()))
	})
}

func TestDelivery(t *testing.T) {
	onBoth(t, func(t *testing.T, where func(*sink.Options)) {
		f := start(t, &receiver{}, where)
		for i := range 100 {
			f.Add(entries(10*i, 10*i+10))
		}
		f.await(t, names(0, 1000))
		require.Eventually(t, func() bool {
			return f.sum(t, "erlang_exporter_log_lines_forwarded_total", "a@h", "test") == 1000
		}, 10*time.Second, time.Millisecond)
		require.Eventually(t, func() bool { return f.sum(t, "erlang_exporter_log_queue_entries") == 0 }, 10*time.Second, time.Millisecond)
	})
}

func TestBatches(t *testing.T) {
	onBoth(t, func(t *testing.T, where func(*sink.Options)) {
		r := &receiver{}
		gate := make(chan struct{})
		largest := 0
		r.fail = func(batch []logs.Entry) error {
			<-gate
			largest = max(largest, len(batch))
			return nil
		}
		f := start(t, r, func(o *sink.Options) {
			where(o)
			o.BatchEntries = 100
		})
		f.Add(entries(0, 1000))
		close(gate)
		f.await(t, names(0, 1000))
		f.stop()
		require.Equal(t, 100, largest)
		require.Equal(t, 10, r.batches)
	})
}

// TestRetry has a receiver that fails for a while: nothing is lost, and the
// order stays.
func TestRetry(t *testing.T) {
	onBoth(t, func(t *testing.T, where func(*sink.Options)) {
		r := &receiver{}
		failures := 0
		r.fail = func([]logs.Entry) error {
			if failures++; failures%3 != 0 {
				return errors.New("down")
			}
			return nil
		}
		f := start(t, r, func(o *sink.Options) {
			where(o)
			o.BatchEntries = 7
		})
		f.Add(entries(0, 100))
		f.await(t, names(0, 100))
		require.NotZero(t, f.sum(t, "erlang_exporter_push_errors_total"))
	})
}

// TestRefused has a batch of which two entries are refused: it is not sent
// again.
func TestRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, where func(*sink.Options)) {
		r := &receiver{}
		first := true
		r.fail = func([]logs.Entry) error {
			if first {
				first = false
				return &sink.RefusedError{Entries: 2, Err: errors.New("too old")}
			}
			return nil
		}
		f := start(t, r, where)
		f.Add(entries(0, 10))
		require.Eventually(t, func() bool {
			return f.sum(t, "erlang_exporter_log_lines_dropped_total", "a@h", "refused", "test") == 2 &&
				f.sum(t, "erlang_exporter_log_lines_forwarded_total") == 8
		}, 10*time.Second, time.Millisecond)
		f.Add(entries(10, 12))
		f.await(t, names(10, 12))
	})
}

// TestFull has more entries than there is room for: the oldest are dropped, and
// each is counted.
func TestFull(t *testing.T) {
	onBoth(t, func(t *testing.T, where func(*sink.Options)) {
		r := &receiver{}
		r.fail = func([]logs.Entry) error { return errors.New("down") }
		f := start(t, r, func(o *sink.Options) {
			where(o)
			o.MaxBytes = 1 << 20
			o.BatchEntries = 10
		})
		const all = 30_000
		for i := range all / 100 {
			f.Add(entries(100*i, 100*i+100))
		}
		dropped := int(f.sum(t, "erlang_exporter_log_lines_dropped_total", "a@h", "queue_full", "test"))
		require.Positive(t, dropped)
		r.failWith(nil)
		require.Eventually(t, func() bool { return f.sum(t, "erlang_exporter_log_queue_entries") == 0 }, 20*time.Second, time.Millisecond)
		got := r.messages()
		// What was on its way when its place was dropped is delivered as well.
		require.Len(t, got, all-dropped)
		require.Equal(t, fmt.Sprintf("entry %d", all-1), got[len(got)-1])
		require.Equal(t, names(all-len(got)+10, all), got[10:])
	})
}

// TestRestart ends the queue with entries in it, in an orderly way and without.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := &receiver{}
	f := start(t, r, inDir(dir))
	f.Add(entries(0, 50))
	f.await(t, names(0, 50))
	r.failWith(func([]logs.Entry) error { return errors.New("down") })
	f.Add(entries(50, 80))
	f.stop()

	f = start(t, r, inDir(dir))
	f.Add(entries(80, 100))
	// A copy of the directory is what a process that is killed here leaves.
	killed := t.TempDir()
	require.NoError(t, os.CopyFS(killed, os.DirFS(dir)))
	r.failWith(nil)
	f.await(t, names(0, 100))

	r2 := &receiver{}
	f = start(t, r2, inDir(killed))
	f.Add(entries(100, 110))
	f.await(t, names(50, 110))
}

// TestTorn has a process that was killed in the middle of a write.
func TestTorn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := &receiver{fail: func([]logs.Entry) error { return errors.New("down") }}
	f := start(t, r, inDir(dir))
	f.Add(entries(0, 100))
	torn := t.TempDir()
	require.NoError(t, os.CopyFS(torn, os.DirFS(dir)))
	segment := newest(t, torn)
	info, err := os.Stat(segment)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(segment, info.Size()-5))
	r2 := &receiver{}
	f = start(t, r2, inDir(torn))
	f.Add(entries(100, 110))
	f.await(t, append(names(0, 99), names(100, 110)...))
}

// TestDamaged has a bit that has flipped.
func TestDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := &receiver{fail: func([]logs.Entry) error { return errors.New("down") }}
	f := start(t, r, inDir(dir))
	f.Add(entries(0, 100))
	damaged := t.TempDir()
	require.NoError(t, os.CopyFS(damaged, os.DirFS(dir)))
	segment := newest(t, damaged)
	b, err := os.ReadFile(segment)
	require.NoError(t, err)
	b[len(b)/2] ^= 0x10
	require.NoError(t, os.WriteFile(segment, b, 0o600))
	r2 := &receiver{}
	f = start(t, r2, inDir(damaged))
	f.Add(entries(100, 110))
	require.Eventually(t, func() bool {
		got := r2.messages()
		return len(got) > 10 && got[len(got)-1] == "entry 109"
	}, 10*time.Second, time.Millisecond)
	got := r2.messages()
	require.Equal(t, names(0, len(got)-10), got[:len(got)-10])
	require.Eventually(t, func() bool { return f.sum(t, "erlang_exporter_log_queue_entries") == 0 }, 10*time.Second, time.Millisecond)
}

func newest(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "0*"))
	require.NoError(t, err)
	return files[len(files)-1]
}

// smallDisk is a file system of its own, or the test is skipped.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "size="+size)
	return dir
}

// mount is mount(2) until the test ends, or the test is skipped.
func mount(t *testing.T, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount")
	}
	if err := syscall.Mount(source, target, kind, flags, data); err != nil {
		t.Skipf("nothing can be mounted: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(target, 0) })
}

// TestDiskFull fills a small file system and gives it room again.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "1m")
	ballast := filepath.Join(dir, "ballast")
	r := &receiver{}
	f := start(t, r, inDir(filepath.Join(dir, "queue")))
	f.Add(entries(0, 10))
	f.await(t, names(0, 10))
	_ = os.WriteFile(ballast, make([]byte, 2<<20), 0o600) // as much as there is room for
	i := 10
	require.Eventually(t, func() bool {
		f.Add(entries(i, i+10))
		i += 10
		return f.sum(t, "erlang_exporter_log_lines_dropped_total", "a@h", "disk", "test") > 0
	}, 20*time.Second, time.Millisecond)
	require.NoError(t, os.Remove(ballast))
	last := ""
	require.Eventually(t, func() bool {
		e := entries(i, i+1)
		last = e[0].Message
		i++
		f.Add(e)
		got := r.messages()
		return len(got) > 0 && got[len(got)-1] == last || strings.Contains(strings.Join(got[max(len(got)-5, 0):], "\n"), fmt.Sprintf("entry %d", i-5))
	}, 20*time.Second, 50*time.Millisecond)
	f.stop()
}

// TestBackoff waits longer and longer, as the receiver asks, and not for ever.
func TestBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{}
		var at []time.Duration
		begun := time.Now()
		r.fail = func([]logs.Entry) error {
			at = append(at, time.Since(begun))
			if len(at) == 3 {
				return &sink.RetryError{After: 20 * time.Second, Err: errors.New("later")}
			}
			if len(at) < 10 {
				return errors.New("down")
			}
			return nil
		}
		f := start(t, r, func(o *sink.Options) { o.RetryMin, o.RetryMax = time.Second, 8*time.Second })
		f.Add(entries(0, 1))
		time.Sleep(2 * time.Minute)
		require.Equal(t, names(0, 1), r.messages())
		var gaps []time.Duration
		for i := 1; i < len(at); i++ {
			gaps = append(gaps, at[i]-at[i-1])
		}
		for i, most := range []int{1, 2, 8, 8, 8, 8, 8, 8, 8} {
			require.LessOrEqual(t, gaps[i], time.Duration(most)*time.Second, "%v", gaps)
			require.GreaterOrEqual(t, gaps[i], time.Duration(min(most, 4))*time.Second/2, "%v", gaps)
		}
		require.GreaterOrEqual(t, gaps[2], 8*time.Second, "%v", gaps)
		f.stop()
	})
}

func TestOptions(t *testing.T) {
	t.Parallel()
	m, err := sink.NewMetrics(nil)
	require.NoError(t, err)
	for want, o := range map[string]sink.Options{
		"Name is missing":    {Sender: &receiver{}, Metrics: m},
		"Sender is missing":  {Name: "a", Metrics: m},
		"Metrics is missing": {Name: "a", Sender: &receiver{}},
		"must be at least":   {Name: "a", Sender: &receiver{}, Metrics: m, MaxBytes: 1000},
		"not a directory":    {Name: "a", Sender: &receiver{}, Metrics: m, Dir: "/dev/null/queue"},
	} {
		_, err := sink.New(o)
		require.ErrorContains(t, err, want)
	}
}
