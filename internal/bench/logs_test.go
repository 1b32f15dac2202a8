//go:build bench

package bench_test

import (
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
	"github.com/erlops/erlops/internal/proc"
)

//go:embed flood.erl
var floodSource string

const (
	// lokiLimits are those that Loki is given: none that matters. Its defaults are
	// 4 MB a second of a tenant and 3 MB a second of a stream.
	lokiLimits = "ingestion_rate_mb: 1000, ingestion_burst_size_mb: 1000, per_stream_rate_limit: 1GB, per_stream_rate_limit_burst: 1GB"
	// memoryLimit is what the exporter's memory stays under.
	memoryLimit = 512 << 20
	// floodRate and floodTime are those of the flood.
	floodRate, floodTime = 100_000, time.Minute
	// maxAlarms are less than the agent follows of a node.
	maxAlarms = 500
)

// logged is a node that logs, and the exporter that reads it.
type logged struct {
	t    *testing.T
	node *erltest.Node
	p    *exportertest.Process
}

// startLogged starts both; logs is a part of the configuration.
func startLogged(t *testing.T, logs string) *logged {
	t.Helper()
	l := &logged{t: t, node: erltest.Start(t, erltest.Options{})}
	source := filepath.Join(t.TempDir(), "bench_flood.erl")
	require.NoError(t, os.WriteFile(source, []byte(floodSource), 0o600))
	l.node.Eval(t, fmt.Sprintf(`ok = logger:remove_handler(default), {ok, _} = application:ensure_all_started(sasl),
		{ok, M, B} = compile:file(%q, [binary, return_errors]), {module, M} = code:load_binary(M, "", B), ok`, source))
	l.p = exportertest.Start(t, exportertest.Options{
		Config: fmt.Sprintf(`
cookie_file: cookie
storage: {path: db}
auth: {unauthenticated_role: admin}
logs: {%s}
targets: [{name: t, family: shop, address: '%s', static_configs: [{targets: ['%s']}]}]
`, logs, l.node.Address(), l.node.Name),
		Files: map[string]string{"cookie": l.node.Cookie},
	})
	l.p.AwaitUp(l.node.Name, time.Minute)
	l.await(true)
	return l
}

// await waits until our handler is there, or is not.
func (l *logged) await(there bool) {
	l.t.Helper()
	require.Eventually(l.t, func() bool {
		return l.node.Eval(l.t, "lists:member(erl_exporter_agent, logger:get_handler_ids())") == strconv.FormatBool(there)
	}, time.Minute, 20*time.Millisecond)
}

// read puts our handler there or takes it away, while all else of the exporter
// stays as it is.
func (l *logged) read(on bool) {
	l.t.Helper()
	level := map[bool]string{true: "error", false: "none"}[on]
	request, err := http.NewRequestWithContext(l.t.Context(), http.MethodPut,
		l.p.URL+"/api/v1/nodes/"+url.PathEscape(l.node.Name)+"/loglevel", strings.NewReader(`{"level":"`+level+`"}`))
	require.NoError(l.t, err)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	require.NoError(l.t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(l.t, err)
	require.Equal(l.t, http.StatusOK, answer.StatusCode, string(body))
	l.await(on)
}

// file gives the node a file handler of its own, as releases have, or takes it.
func (l *logged) file(on bool) {
	l.t.Helper()
	if on {
		l.node.Eval(l.t, fmt.Sprintf("ok = logger:add_handler(own, logger_std_h, #{config => #{file => %q}})", filepath.Join(l.t.TempDir(), "own.log")))
		return
	}
	l.node.Eval(l.t, "ok = logger:remove_handler(own)")
}

// flood is what processes made of a flood.
type flood struct {
	made       int
	took       time.Duration
	reductions float64 // of those who logged
}

func (f flood) perSecond() float64 { return float64(f.made) / f.took.Seconds() }

// flood has four processes log with a mark; rate is a number or max. Meanwhile
// is called again and again until they have ended.
func (l *logged) flood(mark, rate string, last time.Duration, meanwhile func()) flood {
	l.t.Helper()
	l.node.Eval(l.t, fmt.Sprintf("bench_flood:start(%q, 4, %s, %d)", mark, rate, int(last.Seconds())))
	for deadline := time.Now().Add(last + time.Minute); ; time.Sleep(200 * time.Millisecond) {
		meanwhile()
		if state := l.node.Eval(l.t, "bench_flood:result()"); state != "running" {
			var f flood
			var micros int64
			_, err := fmt.Sscanf(state, "{%d,%d,%g}", &f.made, &micros, &f.reductions)
			require.NoError(l.t, err, state)
			f.took = time.Duration(micros) * time.Microsecond
			return f
		}
		require.True(l.t, time.Now().Before(deadline), "the flood does not end")
	}
}

// dropped is how many entries the node has not told, as it counts them.
func (l *logged) dropped() int {
	l.t.Helper()
	sum := 0.0
	page := l.p.Probe(l.node.Name, 10*time.Second).Body
	for _, reason := range []string{"rate_limit", "overload", "failed"} {
		v, err := exportertest.Sample(page, fmt.Sprintf("erlang_vm_log_events_dropped_total{reason=%q}", reason))
		require.NoError(l.t, err)
		sum += v
	}
	return int(sum)
}

// TestLogsIntoLoki is how many entries a second get from one node into Loki. At
// each rate, every entry is there once or was dropped on the node and told so; at
// the lowest none is dropped.
func TestLogsIntoLoki(t *testing.T) {
	loki := erltest.StartLoki(t, erltest.LokiOptions{Limits: lokiLimits})
	l := startLogged(t, fmt.Sprintf("rate: 1000000, queue: {path: queue}, loki: {url: '%s', batch_wait: 100ms}", loki.URL))
	const last = 10 * time.Second
	results := newTable(fmt.Sprintf("entries of one node into one Loki for %s at each rate (%s)", last, lokiLimits),
		"made a second", "in Loki", "dropped on the node", "all there after")
	for i, rate := range []int{5_000, 10_000, 20_000, 30_000, 40_000} {
		mark := fmt.Sprintf("rate%d", rate)
		begun := time.Now()
		f := l.flood(mark, strconv.Itoa(rate), last, func() {})
		var in, lost int
		var err error
		if proc.Await(2*time.Minute, func() bool {
			// What was dropped last is told with what comes after it.
			l.node.Eval(t, `logger:error("after it")`)
			if in, err = loki.Count(fmt.Sprintf(`{source="logger"} |= "%s "`, mark), begun); err == nil {
				lost, err = toldDropped(loki, begun)
			}
			return err == nil && in+lost == f.made
		}) != nil {
			t.Fatalf("of %d entries %d are in Loki and %d dropped: %v", f.made, in, lost, err)
		}
		there := time.Since(begun)
		results.row(count(float64(rate)), count(f.perSecond()), count(float64(in)), count(float64(lost)), there.Round(100*time.Millisecond).String())
		if i == 0 {
			require.Zero(t, lost, "at %d a second", rate)
		}
	}
	results.end()
	require.Less(t, l.p.Sample("process_resident_memory_bytes"), float64(memoryLimit))
}

var droppedText = regexp.MustCompile(`^dropped (\d+) log entries`)

// toldDropped sums what entries in Loki say was dropped since a time.
func toldDropped(loki *erltest.Loki, since time.Time) (sum int, err error) {
	told, err := loki.Query(`{source="logger"} |= "dropped "`, since)
	for _, e := range told {
		if found := droppedText.FindStringSubmatch(e.Line); found != nil && err == nil {
			var n int
			n, err = strconv.Atoi(found[1])
			sum += n
		}
	}
	return sum, err
}

// TestLogsCost is what an entry costs the node: with our handler, and with a
// file of the node's own.
func TestLogsCost(t *testing.T) {
	l := startLogged(t, "rate: 1000000")
	l.read(false)
	const rate, last = 2_000, 10 * time.Second
	measure := func() (work, flood) {
		l.node.Eval(t, "erlang:garbage_collect(), ok")
		before := workOf(t, l.node)
		dropped := l.dropped()
		f := l.flood("cost", strconv.Itoa(rate), last, func() {})
		done := workOf(t, l.node).since(before)
		require.Equal(t, dropped, l.dropped())
		n := float64(f.made)
		return work{reductions: done.reductions / n, cpu: time.Duration(float64(done.cpu) / n)}, flood{reductions: f.reductions / n}
	}
	bare, bareLogger := measure()
	l.file(true)
	own, ownLogger := measure()
	l.file(false)
	l.read(true)
	ours, oursLogger := measure()
	results := newTable(fmt.Sprintf("one entry on the node, at %s a second; less the same without a handler", count(rate)),
		"reductions", "of who logs", "processor time")
	results.row("the node's own file (logger_std_h)", count(own.reductions-bare.reductions),
		count(ownLogger.reductions-bareLogger.reductions), micros(own.cpu-bare.cpu))
	results.row("the exporter's handler", count(ours.reductions-bare.reductions),
		count(oursLogger.reductions-bareLogger.reductions), micros(ours.cpu-bare.cpu))
	results.row("file / handler", ratio(own.reductions-bare.reductions, ours.reductions-bare.reductions),
		ratio(ownLogger.reductions-bareLogger.reductions, oursLogger.reductions-bareLogger.reductions),
		ratio(float64(own.cpu-bare.cpu), float64(ours.cpu-bare.cpu)))
	results.end()
}

// TestLogsFlood is what processes that log more than the exporter takes, with the
// rate that it has by default, have of our handler: how many entries they make with
// it and without it. The alarms of that time are all told.
func TestLogsFlood(t *testing.T) {
	l := startLogged(t, "level: error")
	most := 0.0
	alarms := 0
	watch := func() {
		most = max(most, l.p.Sample("process_resident_memory_bytes"))
		if alarms == maxAlarms {
			return
		}
		alarms++
		l.node.Eval(t, fmt.Sprintf(`alarm_handler:set_alarm({{flooded, %d}, "while it floods"})`, alarms))
	}
	results := newTable("entries that four processes make a second", "without", "with our handler", "with / without")
	// Half of the one is before the other and half after it, as the machine may
	// have more or less to do by and by.
	compare := func(what, rate string, last time.Duration) {
		var without flood
		half := func() {
			l.read(false)
			f := l.flood("flood", rate, last/2, func() {})
			without.made, without.took = without.made+f.made, without.took+f.took
		}
		half()
		l.read(true)
		with := l.flood("flood", rate, last, watch)
		half()
		results.row(what, count(without.perSecond()), count(with.perSecond()), fmt.Sprintf("%.3f", with.perSecond()/without.perSecond()))
	}
	l.file(true)
	compare(fmt.Sprintf("%s a second wanted, for %s, the node's own file besides", count(floodRate), floodTime), strconv.Itoa(floodRate), floodTime)
	compare("as many as they can, the node's own file besides", "max", 20*time.Second)
	l.file(false)
	compare(fmt.Sprintf("%s a second wanted, no other handler", count(floodRate)), strconv.Itoa(floodRate), 20*time.Second)
	compare("as many as they can, no other handler", "max", 20*time.Second)
	results.end()
	fmt.Fprintf(os.Stdout, "\n  memory of the exporter: %s at most\n", kilobytes(most))
	require.Less(t, most, float64(memoryLimit))
	require.Eventually(t, func() bool {
		return strings.Count(l.p.Get("/api/v1/alarms?name=flooded&limit=1000").Body, "while it floods") == alarms
	}, time.Minute, 500*time.Millisecond, "not all alarms are told")
}
