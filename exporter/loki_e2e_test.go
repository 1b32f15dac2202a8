//go:build e2e

package exporter_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// toLoki is a node, a Loki and an exporter between them that can be started
// again with what it has on disk.
type toLoki struct {
	t     *testing.T
	node  *erltest.Node
	loki  *erltest.Loki
	dir   string
	url   string // as the exporter has it
	extra string // of logs.loki
	begun time.Time
	p     *exportertest.Process
}

func startToLoki(t *testing.T, limits string) *toLoki {
	t.Helper()
	loki := erltest.StartLoki(t, erltest.LokiOptions{Limits: limits})
	return startBeforeLoki(t, loki, loki.URL, "")
}

func startBeforeLoki(t *testing.T, loki *erltest.Loki, url, extra string) *toLoki {
	t.Helper()
	s := &toLoki{t: t, loki: loki, dir: t.TempDir(), url: url, extra: extra, begun: time.Now().Add(-time.Minute)}
	s.node = erltest.Start(t, erltest.Options{})
	// It would be slower than what is tested.
	s.node.Eval(t, "logger:remove_handler(default)")
	s.startExporter()
	return s
}

func (s *toLoki) startExporter() {
	s.t.Helper()
	s.p = exportertest.Start(s.t, exportertest.Options{
		Config: fmt.Sprintf(`
cookie_file: cookie
storage: {path: '%[1]s/db'}
auth: {unauthenticated_role: admin}
external_labels: {site: lab}
logs:
  rate: 100000
  queue: {path: '%[1]s/queue'}
  loki: {url: '%[2]s', labels: {team: shop-team}, batch_wait: 100ms, timeout: 2s%[3]s}
targets: [{name: t, family: shop, address: '%[4]s', static_configs: [{targets: ['%[5]s']}]}]
`, s.dir, s.url, s.extra, s.node.Address(), s.node.Name),
		Files: map[string]string{"cookie": s.node.Cookie},
	})
	s.p.AwaitUp(s.node.Name, time.Minute)
	awaitHandler(s.t, s.node)
}

// log has the node log numbered entries, and returns when the exporter has them.
func (s *toLoki) log(from, to int) {
	s.t.Helper()
	s.node.Eval(s.t, fmt.Sprintf(`[logger:error("numbered ~b", [I], #{number => I}) || I <- lists:seq(%d, %d)], ok`, from, to-1))
	s.taken(to - 1)
}

func (s *toLoki) taken(number int) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		for _, n := range list(s.t, s.p, query{"text": {fmt.Sprintf("numbered %d", number)}, "limit": {"1000"}}) {
			if n.Metadata["number"] == fmt.Sprint(number) {
				return true
			}
		}
		return false
	}, time.Minute, 50*time.Millisecond, "the exporter has no entry %d", number)
}

// requireAll waits until Loki has every entry, and holds that it has each once,
// in order, with its labels and metadata.
func (s *toLoki) requireAll(number int) {
	s.t.Helper()
	const logql = `{source="logger"} |= "numbered"`
	var all []erltest.LokiEntry
	require.Eventually(s.t, func() bool {
		var err error
		all, err = s.loki.Query(logql, s.begun)
		return err == nil && len(all) >= number
	}, 90*time.Second, 200*time.Millisecond, "not all %d entries are in Loki", number)
	require.Len(s.t, all, number)
	for i, e := range all {
		require.Equal(s.t, fmt.Sprintf("numbered %d", i), e.Line)
		require.Equal(s.t, fmt.Sprint(i), e.Metadata["number"])
		require.Regexp(s.t, `^<0\.\d+\.0>$`, e.Metadata["pid"])
		require.Equal(s.t, map[string]string{
			"node": s.node.Name, "family": "shop", "level": "error", "source": "logger", "site": "lab", "team": "shop-team",
			"service_name": "unknown_service",
		}, e.Labels)
	}
}

// TestLokiHasEveryEntry ends Loki and the exporter in every way while a node
// logs, and asks Loki for all of it.
func TestLokiHasEveryEntry(t *testing.T) {
	t.Parallel()
	s := startToLoki(t, "")
	s.log(0, 500)

	// Loki is killed, and the exporter with all that it could not deliver.
	s.loki.Kill()
	s.log(500, 1000)
	s.p.Signal(syscall.SIGKILL)
	s.startExporter()
	s.log(1000, 1500)
	s.loki.Start()

	// The exporter is stopped with entries that have only just come.
	s.log(1500, 2000)
	s.p.Stop()
	s.startExporter()

	// Loki is stopped, and later killed, in the middle of it.
	s.loki.Stop()
	s.log(2000, 2500)
	s.loki.Start()
	for from := 2500; from < 4500; from += 500 {
		s.log(from, from+500)
		if from == 3500 {
			s.loki.Kill()
			s.loki.Start()
		}
	}

	// It takes connections and answers nothing, so that nobody knows what it has
	// of a batch.
	const retries = `erlang_exporter_push_errors_total{sink="loki"}`
	before := s.p.Sample(retries)
	s.loki.Pause()
	s.log(4500, 5000)
	require.Eventually(t, func() bool { return s.p.Sample(retries) >= before+2 }, time.Minute, 50*time.Millisecond)
	s.loki.Resume()
	s.requireAll(5000)

	log := s.p.Log()
	require.Equal(t, 1, strings.Count(log[strings.LastIndex(log, "entries cannot be delivered"):], "entries cannot be delivered"))
	require.Contains(t, log, "entries are delivered again")
	require.NotContains(t, log, "the receiver refuses")
	require.Zero(t, s.p.Sample(`erlang_exporter_log_queue_entries{sink="loki"}`))

	// What the exporter itself has forgotten it finds there.
	end := time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
	found := queryRange(t, s.p, query{"text": {"NUMBERED 17"}, "direction": {"forward"}, "limit": {"3"}, "level": {"error"}, "end": {end}})
	var messages []string
	for _, n := range found {
		messages = append(messages, n.Message)
	}
	require.Equal(t, []string{"numbered 17", "numbered 170", "numbered 171"}, messages)
	require.Equal(t, s.node.Name, found[0].Node)
	require.Equal(t, "shop", found[0].Family)
	require.Equal(t, client.LogLevelError, found[0].Level)
	require.Equal(t, "17", found[0].Metadata["number"])
	require.NotContains(t, found[0].Metadata, "detected_level")
	require.Empty(t, queryRange(t, s.p, query{"family": {"nobody"}, "end": {end}}))
	ups := queryRange(t, s.p, query{"source": {"node"}, "end": {end}})
	require.NotEmpty(t, ups)
	require.Equal(t, "up", ups[0].Event)
}

func queryRange(t *testing.T, p *exportertest.Process, q query) []client.Notification {
	t.Helper()
	page := p.Get("/api/v1/notifications/query_range?" + q.Encode())
	require.Equal(t, http.StatusOK, page.Status, page.Body)
	var l client.NotificationList
	require.NoError(t, json.Unmarshal([]byte(page.Body), &l))
	return l.Notifications
}

// TestLokiRefusesPart has a Loki that takes no long lines: the others of the
// batch are there, once, and what is refused is counted and never sent again.
func TestLokiRefusesPart(t *testing.T) {
	t.Parallel()
	s := startToLoki(t, "max_line_size: 2KB")
	s.node.Eval(t, `[begin logger:error("numbered ~b", [2 * I], #{number => 2 * I}), logger:error("long ~b ~s", [I, lists:duplicate(5000, $x)]),
		logger:error("numbered ~b", [2 * I + 1], #{number => 2 * I + 1}) end || I <- lists:seq(0, 49)], ok`)
	s.requireAll(100)
	refused := fmt.Sprintf(`erlang_exporter_log_lines_dropped_total{node=%q,reason="refused",sink="loki"}`, s.node.Name)
	require.Eventually(t, func() bool { return sampleOrZero(s.p, refused) == 50 }, 30*time.Second, 50*time.Millisecond)
	require.Contains(t, s.p.Log(), "the receiver refuses entries, which are lost")
	require.Regexp(t, `\d+ entries are refused: loki answered 400 Bad Request: \d+ errors like: max entry size '2048' bytes exceeded`, s.p.Log())
	s.log(100, 101)
	s.requireAll(101)
	require.Eventually(t, func() bool { return strings.Contains(s.p.Log(), "the receiver takes all entries again") }, 30*time.Second, 50*time.Millisecond)
	require.Equal(t, 1, strings.Count(s.p.Log(), "the receiver refuses entries"))
	require.InDelta(t, 50, sampleOrZero(s.p, refused), 0)
}

func sampleOrZero(p *exportertest.Process, series string) float64 {
	page, err := p.TryGet("/metrics")
	if err != nil {
		return 0
	}
	v, _ := exportertest.Sample(page.Body, series)
	return v
}

// TestLokiLimits has a Loki whose limits are below what a node logs at once, and
// even below a batch: it answers 429, and gets everything in the end.
func TestLokiLimits(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]string{
		"of the tenant": "ingestion_rate_strategy: local, ingestion_rate_mb: 0.1, ingestion_burst_size_mb: 0.1",
		"of the stream": "per_stream_rate_limit: 100KB, per_stream_rate_limit_burst: 100KB",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startToLoki(t, limits)
			s.node.Eval(t, `[logger:error("numbered ~b", [I], #{number => I, padding => lists:duplicate(400, $x)}) || I <- lists:seq(0, 1999)], ok`)
			s.requireAll(2000)
			require.NotZero(t, s.p.Sample(`erlang_exporter_push_errors_total{sink="loki"}`))
			require.NotContains(t, s.p.Log(), "refuses")
		})
	}
}

// TestLokiTakesHostileEntries has entries that no log can show as they are: what
// the exporter makes of them Loki takes, all of them.
func TestLokiTakesHostileEntries(t *testing.T) {
	t.Parallel()
	s := startToLoki(t, "")
	s.node.Eval(t, `logger:error("hostile ~p", [lists:seq(1, 1000000)], #{number => 0}),
		logger:error(<<"hostile ", 255, 254, 0, 27, "[31m", 7>>, #{number => 1, <<"k", 255, 0>> => <<255, 0>>, '' => empty, 'a b' => 1, "a b" => 2}),
		logger:error(#{hostile => x}, #{number => 2, report_cb => fun(_) -> error(bad) end}),
		logger:error("hostile", #{number => 3, level => x, node => y, time => 0}),
		logger:error("hostile", #{number => 4, time => erlang:system_time(microsecond) + 86400000000}),
		logger:error(maps:from_list([{{hostile, I}, lists:duplicate(2000, $y)} || I <- lists:seq(1, 500)]), #{number => 5}),
		logger:error("hostile", maps:from_list([{number, 6} | [{list_to_atom("k" ++ integer_to_list(I)), lists:duplicate(2000, $z)} || I <- lists:seq(1, 200)]])),
		logger:error("~s~n", ["hostile"], #{number => 7}), logger:error("", #{number => 8}), logger:error("hostile last", #{number => 9})`)
	var all []erltest.LokiEntry
	require.Eventually(t, func() bool {
		var err error
		all, err = s.loki.Query(`{source="logger"}`, s.begun)
		return err == nil && len(all) >= 10
	}, time.Minute, 200*time.Millisecond, "Loki has not all of 10 entries: %v", &all)
	require.Len(t, all, 10)
	// What is cut has not all of its metadata.
	numbers, cut := map[string]bool{}, 0
	for _, e := range all {
		switch {
		case e.Metadata["truncated"] == "true":
			cut++
		default:
			numbers[e.Metadata["number"]] = true
		}
	}
	require.Equal(t, 3, cut)
	require.Len(t, numbers, 7, "%v", numbers)
	require.NotContains(t, s.p.Log(), "refuses")
	require.NotContains(t, s.p.Get("/metrics").Body, "erlang_exporter_log_lines_dropped_total{")
}
