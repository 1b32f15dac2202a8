//go:build e2e

package agent_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// reconFigures are what recon and we both say of a node: an expression that gives
// pairs of a text and a number, and ours by the same texts.
type reconFigures struct {
	what, expr string
	ours       func(t *testing.T, all *snapshot.Snapshot) map[string]float64
	// apart is by what part they may differ, for the node goes on meanwhile.
	apart float64
	// kept is whether a session gives for a while what it has read.
	kept bool
}

func ofColumn(tab, col string) func(*testing.T, *snapshot.Snapshot) map[string]float64 {
	return func(t *testing.T, all *snapshot.Snapshot) map[string]float64 {
		t.Helper()
		return column(t, table(t, all, tab), col)
	}
}

func total(tab, col string) func(*testing.T, *snapshot.Snapshot) map[string]float64 {
	return func(t *testing.T, all *snapshot.Snapshot) map[string]float64 {
		t.Helper()
		sum := 0.0
		for _, v := range column(t, table(t, all, tab), col) {
			sum += v
		}
		return map[string]float64{"all": sum}
	}
}

// reconTypes are the allocators that recon knows.
const reconTypes = `[binary_alloc, driver_alloc, eheap_alloc, ets_alloc, fix_alloc, ll_alloc, sl_alloc, std_alloc, temp_alloc]`

func figuresOfRecon() []reconFigures {
	return []reconFigures{
		{
			"carriers by allocator", `[{A, proplists:get_value(A, recon_alloc:memory(allocated_types))} || A <- ` + reconTypes + `]`,
			ofColumn("allocated", "allocated"), 0.05, false,
		},
		{
			"ratio of multi-block to single-block", `[{A, lists:sum([B || {{T, _}, Ps} <- recon_alloc:allocators(), T =:= A, {sbcs, P} <- Ps, B <- [blocks(P)]]) /
				max(1, lists:sum([B || {{T, _}, Ps} <- recon_alloc:allocators(), T =:= A, {mbcs, P} <- Ps, B <- [blocks(P)]]))} || A <- [binary_alloc, ets_alloc]]`,
			ofColumn("allocated", "sbcs_to_mbcs"), 0.1, false,
		},
		{"hits of the segment cache", `[{all, lists:sum([proplists:get_value(hits, P) || {_, P} <- recon_alloc:cache_hit_rates()])}]`, total("mseg", "cache_hits"), 0, true},
		{"ports by driver", `[{T, N} || {T, N} <- recon:port_types(), T =:= "tcp_inet"]`, ofColumn("port_driver", "ports"), 0.3, true},
		{
			"memory of the largest process", `[{"1 large", M} || {_, M, _} <- recon:proc_count(memory, 1)]`,
			func(t *testing.T, all *snapshot.Snapshot) map[string]float64 {
				t.Helper()
				return shortened(column(t, table(t, all, "top_memory"), "value"))
			}, 0.01, false,
		},
		{
			"longest mailbox", `[{"1 box", N} || {_, N, _} <- recon:proc_count(message_queue_len, 1)]`,
			func(t *testing.T, all *snapshot.Snapshot) map[string]float64 {
				t.Helper()
				return shortened(column(t, table(t, all, "top_mailbox"), "value"))
			}, 0, false,
		},
	}
}

// shortened leaves the initial calls out of labels.
func shortened(rows map[string]float64) map[string]float64 {
	short := map[string]float64{}
	for labels, v := range rows {
		fields := strings.Fields(labels)
		short[strings.Join(fields[:min(2, len(fields))], " ")] = v
	}
	return short
}

// TestRecon holds our figures to those of recon, on the same nodes.
func TestRecon(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) *erltest.Node{
		"plain": func(t *testing.T) *erltest.Node {
			t.Helper()
			n := erltest.Start(t, erltest.Options{})
			n.Eval(t, fmt.Sprintf("true = code:add_patha(%q)", reconOf(t)))
			return n
		},
		"RabbitMQ": func(t *testing.T) *erltest.Node {
			t.Helper()
			return erltest.StartRabbitMQ(t, erltest.ServerOptions{}).Node
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t)
			require.Contains(t, n.Eval(t, "code:which(recon_alloc)"), "recon-2.5")
			n.Eval(t, `Sleep = fun() -> receive never -> ok end end, register(box, spawn(Sleep)), [box ! M || M <- lists:seq(1, 5000)],
				Self = self(), register(large, spawn(fun() -> L = lists:seq(1, 3000000), erlang:garbage_collect(), Self ! made, Sleep(), L end)),
				receive made -> ok end,
				ets:new(wide, [named_table, public]), ets:insert(wide, [{I, binary:copy(<<"x">>, 100000)} || I <- lists:seq(1, 50)]), ok`)
			a := exporter(t, "erl_exporter@localhost", agent.Options{})
			s := attach(t, a, n, agent.Settings{})
			require.Eventually(t, func() bool {
				return shortened(column(t, table(t, scanned(t, s), "top_memory"), "value"))["1 large"] > 0
			}, patience, time.Second)
			for _, f := range figuresOfRecon() {
				if !f.kept {
					agrees(t, n, s, f)
				}
			}
			busy := numbers(t, n, "lists:sum([U || {_, U} <- recon:scheduler_usage(3000)])")[0]
			ours := column(t, table(t, read(t, s), "scheduler_use"), "utilisation")
			require.Less(t, ours["normal"], 1.0)
			require.Less(t, busy, numbers(t, n, "erlang:system_info(schedulers)")[0])
			require.NoError(t, s.Detach(deadline(t)))
			for _, f := range figuresOfRecon() {
				if f.kept {
					s := attach(t, a, n, agent.Settings{})
					agrees(t, n, s, f)
					require.NoError(t, s.Detach(deadline(t)))
				}
			}
		})
	}
}

// agrees compares what recon said before and after with what we said in between.
func agrees(t *testing.T, n *erltest.Node, s *agent.Session, f reconFigures) {
	t.Helper()
	before, ours, after := reconSays(t, n, f.expr), f.ours(t, read(t, s)), reconSays(t, n, f.expr)
	require.NotEmpty(t, before, f.what)
	for key, was := range before {
		got, ok := ours[key]
		require.True(t, ok || was == 0, "%s: we do not have %s, but %v", f.what, key, ours)
		is, there := after[key]
		require.True(t, there)
		require.GreaterOrEqual(t, got, min(was, is)*(1-f.apart), "%s: %s", f.what, key)
		require.LessOrEqual(t, got, max(was, is)*(1+f.apart), "%s: %s", f.what, key)
	}
}

// reconSays evaluates an expression of figuresOfRecon.
func reconSays(t *testing.T, n *erltest.Node, expr string) map[string]float64 {
	t.Helper()
	expr = strings.ReplaceAll(expr, "blocks(P)", "element(2, lists:keyfind(blocks, 1, P))")
	text := strings.Trim(n.Eval(t, `[lists:flatten(io_lib:format("~s=~p;", [if is_atom(K) -> atom_to_list(K); true -> K end, V])) || {K, V} <- `+expr+`]`), `[]`)
	all := map[string]float64{}
	for quoted := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(strings.Trim(quoted, `";`), "=")
		require.True(t, ok, text)
		var v float64
		_, err := fmt.Sscan(value, &v)
		require.NoError(t, err, text)
		all[key] = v
	}
	return all
}

// reconOf is where the folder with the servers has RabbitMQ's recon.
func reconOf(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(erltest.ServersRoot(t), "usr/lib/rabbitmq/lib/*/plugins/recon-*/ebin"))
	require.NoError(t, err)
	require.NotEmpty(t, found)
	slices.Sort(found)
	return found[0]
}
