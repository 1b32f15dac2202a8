package agent_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// tableOf is a collector that makes a series of each row {{row, Label}, Number} of an ETS
// table.
func tableOf(name string) agent.Custom {
	return agent.Custom{
		Name: name, Module: "ets", Function: "tab2list", Arguments: "[" + name + "]", Interval: time.Second, Timeout: 5 * time.Second,
		Metrics: []agent.CustomMetric{customMetric(name, "2", "", "key", "1.2")},
	}
}

// until reads until a collector is as wanted.
func until(t *testing.T, s *agent.Session, name string, wanted func(snapshot.Collector) bool) snapshot.Collector {
	t.Helper()
	var c snapshot.Collector
	require.Eventually(t, func() bool {
		all := read(t, s)
		require.Empty(t, collector(t, all, snapshot.Memory).Err)
		c = collector(t, all, name)
		return wanted(c)
	}, 60*time.Second, 50*time.Millisecond, "%s: %+v", name, &c)
	return c
}

// TestLargeAnswers: a collector that tells more than fits into a message costs
// itself and nothing else; texts that are too long are cut.
func TestLargeAnswers(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, `[ets:new(T, [named_table, public]) || T <- [many, long, fine]],
		[ets:insert(many, {{row, <<I:32, (binary:copy(<<"x">>, 1500))/binary>>}, I}) || I <- lists:seq(1, 4000)],
		[ets:insert(long, {{row, <<(binary:copy(<<"x">>, 20000000))/binary, I>>}, I}) || I <- "ab"],
		ets:insert(fine, {{row, good}, 1}), ok`)
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{Custom: []agent.Custom{tableOf("many"), tableOf("long"), tableOf("fine")}})
	told := func(c snapshot.Collector) bool { return c.Missing == "" }
	require.Contains(t, until(t, s, "custom:many", told).Err, "more than fits into a message")
	long := lines(until(t, s, "custom:long", told))
	require.Len(t, long, 2, "they are told apart by what was cut")
	for line := range long {
		require.Less(t, len(line), 2200)
		require.Contains(t, line, "xxx~")
	}
	require.Equal(t, map[string]float64{`fine{key="good"}`: 1}, lines(until(t, s, "custom:fine", told)))
	require.NoError(t, s.Detach(deadline(t)))
}

// TestFullMessage: what finds no room in one reading is in the next.
func TestFullMessage(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	names := []string{"one", "two", "three", "four"}
	custom := make([]agent.Custom, len(names))
	for i, name := range names {
		n.Eval(t, fmt.Sprintf(`ets:new(%[1]s, [named_table, public]),
			[ets:insert(%[1]s, {{row, <<I:32, (binary:copy(<<"x">>, 1500))/binary>>}, I}) || I <- lists:seq(1, 1000)], ok`, name))
		custom[i] = tableOf(name)
	}
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{Custom: custom, Apps: agent.Apps{MaxBytes: 4 << 20}})
	require.Eventually(t, func() bool {
		all := read(t, s)
		require.Less(t, all.Bytes, 5<<20)
		for _, name := range names {
			c := collector(t, all, snapshot.CustomPrefix+name)
			require.Empty(t, c.Err)
			if len(lines(c)) != 1000 {
				return false
			}
		}
		return true
	}, 60*time.Second, 50*time.Millisecond)
	require.Less(t, read(t, s).Bytes, 100_000, "what was told is not told again")
	require.NoError(t, s.Detach(deadline(t)))
}

// TestTooManyProcesses are not scanned; the rest is as it is.
func TestTooManyProcesses(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{Scans: agent.Scans{MaxProcesses: 20}})
	require.Greater(t, numbers(t, n, "erlang:system_info(process_count)")[0], 20.0)
	for range 3 {
		all := read(t, s)
		skipped, known := table(t, all, "scan").Value("skipped")
		require.True(t, known)
		require.InDelta(t, 1, skipped, 0)
		_, known = table(t, all, "scan").Value("messages")
		require.False(t, known)
		require.Empty(t, table(t, all, "top_memory").Rows)
		require.Empty(t, collector(t, all, snapshot.Processes).Err)
		scans, _ := table(t, all, "agent").Value("scan_reductions")
		require.Less(t, scans, 20_000.0)
	}
	require.NoError(t, s.Detach(deadline(t)))
}

// TestHostileNames: names of Folsom that no metric can have become metrics all the
// same, each one of its own.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "folsom")
	n := erltest.Start(t, erltest.Options{})
	terms := []string{
		`<<"two\nlines">>`, `<<"two\\nlines">>`, `<<"a \"quoted\" name">>`, `'a \'quoted\' atom'`, `<<255, 254, 0>>`, `[255, 254, 256]`, `[]`, `{}`,
		`binary:copy(<<"x">>, 10000)`, `<<(binary:copy(<<"x">>, 10000))/binary, "y">>`, `lists:duplicate(10000, $z)`, `"größe"`, `'größe'`,
		`{tup, 1, [nested, {deep, <<"b">>}]}`, `[a | b]`, `1.5`, `#{key => value}`, `<<1:3>>`, `"# HELP folsom_fake x"`, `<<"a{b=\"c\"} 1">>`,
	}
	n.Eval(t, `{ok, _} = application:ensure_all_started(folsom), ok`)
	for i, term := range terms {
		n.Eval(t, fmt.Sprintf("Name = %s, folsom_metrics:new_gauge(Name), ok = folsom_metrics:notify({Name, %d})", term, i+1))
	}
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{})
	c := until(t, s, snapshot.Folsom, func(c snapshot.Collector) bool { return len(c.Families) > 0 })
	require.Zero(t, c.Failed)
	require.Zero(t, c.Dropped)
	values := map[float64]string{}
	for line, v := range lines(c) {
		require.Regexp(t, `^folsom_[a-zA-Z0-9_]+\{`, line)
		require.Less(t, len(line), 1500)
		values[v] = line
	}
	require.Len(t, values, len(terms), "%v", values)
	require.NoError(t, s.Detach(deadline(t)))
}

// TestCustomThatEats: a collector that makes gigabytes, of terms or of lists of
// binaries, is ended while they are small.
func TestCustomThatEats(t *testing.T) {
	t.Parallel()
	eats(t, erltest.Start(t, erltest.Options{}), map[string]string{"terms": "lists:seq(1, 1000000000)"})
}

// eats has collectors evaluate expressions that take as much memory as there is.
func eats(t *testing.T, n *erltest.Node, expressions map[string]string) {
	t.Helper()
	forms := []string{`-module(eater).`, `-compile([export_all, nowarn_export_all]).`}
	var custom []agent.Custom
	for name, expression := range expressions {
		custom = append(custom, agent.Custom{
			Name: name, Module: "eater", Function: name, Arguments: "[]", Interval: time.Second, Timeout: 20 * time.Second,
			Metrics: []agent.CustomMetric{customMetric(name, "", "count")},
		})
		forms = append(forms, fmt.Sprintf("%s() -> %s.", name, expression))
	}
	n.Eval(t, standIn("eater", forms...)+`, Watch = fun Watch(Most) ->
		receive {most, From} -> From ! {most, Most} after 1 -> Watch(max(Most, erlang:memory(total))) end end,
		register(watch, spawn_opt(fun() -> Watch(0) end, [{priority, high}])), ok`)
	before := numbers(t, n, "erlang:memory(total)")[0]
	s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{Custom: custom})
	for name := range expressions {
		c := until(t, s, snapshot.CustomPrefix+name, func(c snapshot.Collector) bool { return c.Missing == "" })
		require.Contains(t, c.Err, "too_much_memory", name)
	}
	most := numbers(t, n, "(fun() -> watch ! {most, self()}, receive {most, M} -> M end end)()")[0]
	require.Less(t, most-before, 200e6*float64(len(expressions)), "bytes")
	require.NoError(t, s.Detach(deadline(t)))
}

// TestDearScanIsSeldom: the next scan comes after a thousand times what the last one
// cost, however short the interval.
func TestDearScanIsSeldom(t *testing.T) {
	t.Parallel()
	scans := func(n *erltest.Node) (again func() bool) {
		s := attach(t, exporter(t, "erl_exporter@localhost", agent.Options{}), n, agent.Settings{Scans: agent.Scans{Interval: time.Second}})
		reductions := func(all *snapshot.Snapshot) float64 {
			v, _ := table(t, all, "agent").Value("scan_reductions")
			return v
		}
		before := reductions(scanned(t, s))
		return func() bool { return reductions(read(t, s)) > before }
	}
	large := erltest.Start(t, erltest.Options{})
	large.Eval(t, "[spawn(fun() -> receive never -> ok end end) || _ <- lists:seq(1, 30000)], ok")
	dear := scans(large)
	cheap := scans(erltest.Start(t, erltest.Options{}))
	begun := time.Now()
	require.Eventually(t, cheap, 30*time.Second, 100*time.Millisecond, "a scan of 50 processes costs less than a millisecond")
	require.False(t, dear(), "after %v", time.Since(begun))
	for time.Since(begun) < 8*time.Second {
		require.False(t, dear(), "30,000 processes cost 50 ms and more")
		time.Sleep(200 * time.Millisecond)
	}
}
