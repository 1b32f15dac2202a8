package metrics_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// record rewrites the recorded snapshot of TestGolden:
// go test ./exporter/metrics -run TestPlainNode -record.
var record = flag.Bool("record", false, "record a snapshot of a real node")

// exporterName is the node name of the exporter in tests with real nodes.
const exporterName = "erl_exporter@127.0.0.1"

// attach attaches to a real node until the end of the test.
func attach(t *testing.T, n *erltest.Node, s agent.Settings) *agent.Session {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	network, err := dist.New(dist.Options{Name: exporterName, Logger: log})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- network.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	attacher, err := agent.New(agent.Options{Network: network, Logger: log})
	require.NoError(t, err)
	within, done := context.WithTimeout(ctx, 20*time.Second)
	defer done()
	session, err := attacher.Attach(within, agent.Target{Node: n.Name, Cookie: n.Cookie, Address: n.Address(), Settings: s})
	require.NoError(t, err)
	return session
}

// attached makes a fleet of an attached node.
func attached(n *erltest.Node, s *agent.Session) *fleet {
	return &fleet{
		nodes: []metrics.Node{{Name: n.Name, State: metrics.StateUp}},
		snapshot: func(ctx context.Context, _ string, r snapshot.Request) (*snapshot.Snapshot, error) {
			return s.Snapshot(ctx, r)
		},
	}
}

// save writes a snapshot as load reads it, a row a line.
func save(t *testing.T, s *snapshot.Snapshot, file string) {
	t.Helper()
	r := recorded{RoundTrip: s.RoundTrip.Seconds(), Bytes: s.Bytes}
	for _, c := range s.Collectors {
		collector := recordedCollector{Name: c.Name, Duration: c.Duration.Seconds(), Err: c.Err, Missing: c.Missing}
		for _, table := range c.Tables {
			saved := recordedTable{Name: table.Name, Labels: table.Labels, Columns: table.Columns}
			for _, row := range table.Rows {
				saved.Rows = append(saved.Rows, recordedRow{Labels: row.Labels, Values: pointers(row.Values)})
			}
			collector.Tables = append(collector.Tables, saved)
		}
		r.Collectors = append(r.Collectors, collector)
	}
	b, err := json.Marshal(r)
	require.NoError(t, err)
	for _, start := range []string{`{"Name"`, `{"Labels":["`, `{"Values"`} {
		b = bytes.ReplaceAll(b, []byte(start), []byte("\n"+start))
	}
	require.NoError(t, os.WriteFile(file, append(b, '\n'), 0o644))
}

func pointers(values []snapshot.Value) []*float64 {
	out := make([]*float64, len(values))
	for i, v := range values {
		if v.Valid {
			out[i] = &v.Float
		}
	}
	return out
}

func TestPlainNode(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "mnesia")
	epmd := erltest.StartEPMD(t)
	node := erltest.Start(t, erltest.Options{Name: "demo", Cookie: "secret", LongNames: true, EPMD: epmd})
	peer := erltest.Start(t, erltest.Options{Name: "peer", Cookie: "secret", LongNames: true, EPMD: epmd})
	require.Equal(t, "pong", node.Eval(t, "net_adm:ping('"+peer.Name+"')"))
	require.Equal(t, "{atomic,ok}", node.Eval(t, "ok = mnesia:start(), mnesia:create_table(session, [])"))

	session := attach(t, node, agent.Settings{MSAcc: agent.MSAccOn})
	read, err := session.Snapshot(t.Context(), snapshot.Request{})
	require.NoError(t, err)
	if *record {
		save(t, read, recordedFile)
	}
	w := get(newHandler(t, metrics.Options{Fleet: attached(node, session)}).Probe(), "/probe?target="+node.Name)
	require.Equal(t, http.StatusOK, w.Code)
	requireFamilies(t, w.Body.String(), "erlang_")
	body := w.Body.String()
	require.Contains(t, body, "\nerlang_up 1\n")
	require.Contains(t, body, `erlang_vm_dist_node_state{peer="`+peer.Name+`"} 3`)
	require.Contains(t, body, `erlang_vm_dist_node_state{peer="`+exporterName+`"} 3`)
	require.Contains(t, body, `erlang_mnesia_tablewise_size{table="schema"} 2`)
	require.Contains(t, body, `erlang_vm_allocators{alloc="ets_alloc",instance_no="all",kind="mbcs",usage="blocks_size"} `)
	for _, c := range read.Collectors {
		require.Contains(t, body, `erlang_exporter_scrape_success{collector="`+c.Name+`"} 1`)
	}
}

// TestWithoutAgent: the page of a node that takes no agent says what is not on
// it, and why.
func TestWithoutAgent(t *testing.T) {
	t.Parallel()
	node := erltest.Start(t, erltest.Options{})
	session := attach(t, node, agent.Settings{Injection: agent.InjectionNever})
	w := get(newHandler(t, metrics.Options{Fleet: attached(node, session)}).Probe(), "/probe?target="+node.Name)
	require.Equal(t, http.StatusOK, w.Code)
	body := w.Body.String()
	require.Contains(t, body, "\nerlang_up 1\n")
	require.Contains(t, body, "\nerlang_exporter_agent_up 0\n")
	for _, prefix := range []string{"erlang_vm_memory_", "erlang_vm_statistics_"} {
		requireFamilies(t, body, prefix)
	}
	for _, c := range []string{"allocators", "msacc", "distribution", "mnesia", "process", "agent"} {
		require.Contains(t, body, `erlang_exporter_scrape_missing{collector="`+c+
			`",reason="the agent may not be injected into this node and its release has no application erl_exporter_agent"} 1`)
	}
	require.NotContains(t, body, "erlang_vm_allocators{")
}

// extraStates are those that only VMs built for it tell apart.
var extraStates = []string{"alloc", "bif", "busy_wait", "ets", "gc_full", "nif", "send", "timers"}

// requireFamilies requires prometheus.erl's families of that prefix.
func requireFamilies(t *testing.T, page, prefix string) {
	t.Helper()
	exposed := parse(t, page)
	for row := range strings.Lines(strings.TrimSpace(prometheusErl491)) {
		name := strings.Fields(row)[0]
		state := strings.TrimSuffix(strings.TrimPrefix(name, "erlang_vm_msacc_"), "_seconds_total")
		if strings.HasPrefix(name, prefix) && !slices.Contains(extraStates, state) {
			require.Contains(t, exposed, name)
		}
	}
}

// TestHostileNames: whatever applications call their metrics, the page can be read,
// and has them all.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "folsom")
	node := erltest.Start(t, erltest.Options{})
	node.Eval(t, `{ok, _} = application:ensure_all_started(folsom),
		[begin folsom_metrics:new_gauge(Name), ok = folsom_metrics:notify({Name, 7}) end || Name <- [
			<<"two\nlines">>, <<"a{b=\"c\"} 1\n# TYPE up counter">>, <<255, 254, 0>>, binary:copy(<<"x">>, 10000),
			<<(binary:copy(<<"x">>, 10000))/binary, "y">>, 'ö', {tup, [<<"\\">>]}, "# EOF"]], ok`)
	h := newHandler(t, metrics.Options{Fleet: attached(node, attach(t, node, agent.Settings{}))})
	require.Eventually(t, func() bool {
		page := get(h.Probe(), "/probe?target="+node.Name).Body.String()
		found := 0
		for name, family := range parse(t, page) {
			if strings.HasPrefix(name, "folsom_") {
				for _, m := range family.GetMetric() {
					require.InDelta(t, 7, m.GetGauge().GetValue(), 0)
					found++
				}
			}
		}
		require.Contains(t, page, "\nerlang_up 1\n")
		return found == 8
	}, 30*time.Second, 50*time.Millisecond)
}
