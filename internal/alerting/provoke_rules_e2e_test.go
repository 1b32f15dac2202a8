//go:build e2e

package alerting

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// provocation is how a built-in alarm is raised on a real node, and how it
// clears again.
type provocation struct {
	alarm string
	// key is that of the alarm, where it has one that is known before.
	key string
	// rule is the configuration: thresholds that are low, and no hold times.
	rule string
	// raise and relieve are expressions of Erlang; hands are what Go does
	// besides, and returns what undoes it.
	raise, relieve string
	hand           func(t *testing.T, n *erltest.Node) (undo func())
}

const (
	at      = "clear_for: 0s, for: 0s"
	worker  = "spawn(fun() -> receive stop -> ok end end)"
	stopAll = "[exit(P, kill) || P <- get(held)], erase(held), ok"
)

// hold keeps what an expression makes of 1 to n.
func hold(n int, one string) string {
	return fmt.Sprintf("put(held, [%s || N <- lists:seq(1, %d)]), ok", one, n)
}

// module makes, loads and forgets a module of so many functions.
func module(name, functions string) string {
	return fmt.Sprintf(`(fun() -> {ok, M, B} = compile:forms([{attribute, 1, module, %s}, {attribute, 2, compile, export_all}] ++
		[{function, 3, list_to_atom("f" ++ integer_to_list(I)), 0, [{clause, 3, [], [], [{atom, 3, ok}]}]} || I <- lists:seq(1, %s)], [{source, "/src/m.erl"}]),
		{module, M} = code:load_binary(M, "/lib/m.beam", B), M end)()`, name, functions)
}

const forget = "[begin code:purge(M), code:delete(M), code:purge(M) end || M <- get(held)], ok"

// full are about what can be used up.
func full() []provocation {
	return []provocation{
		{alarm: "process_limit", rule: "minor: {raise: 40, clear: 30, " + at + "}", raise: hold(700, worker), relieve: stopAll},
		{alarm: "port_limit", rule: "minor: {raise: 40, clear: 30, " + at + "}",
			raise:   hold(600, `element(2, {ok, _} = gen_udp:open(0))`),
			relieve: "[gen_udp:close(S) || S <- get(held)], ok"},
		{alarm: "ets_limit", rule: "minor: {raise: 30, clear: 20, " + at + "}", raise: hold(2500, "ets:new(t, [])"), relieve: "[ets:delete(T) || T <- get(held)], ok"},
		{alarm: "atom_growth", rule: "minor: {raise: 20000, clear: 5000, " + at + "}", raise: `[list_to_atom("grown" ++ integer_to_list(N)) || N <- lists:seq(1, 20000)], ok`},
		{alarm: "module_limit", rule: "minor: {raise: 320, clear: 310, " + at + "}",
			raise: hold(330, module(`list_to_atom("m" ++ integer_to_list(N))`, "1")), relieve: forget},
		{alarm: "export_limit", rule: "enabled: true, minor: {raise: 6, clear: 5, " + at + "}",
			raise: hold(20, module(`list_to_atom("wide" ++ integer_to_list(N))`, "2000")), relieve: forget},
		{alarm: "persistent_term_growth", rule: "warning: {raise: 1000, clear: 900, " + at + "}",
			raise: "[persistent_term:put({t, N}, N) || N <- lists:seq(1, 1000)], ok", relieve: "[persistent_term:erase({t, N}) || N <- lists:seq(1, 1000)], ok"},
		{alarm: "open_file_limit", rule: "minor: {raise: 40, clear: 30, " + at + "}",
			raise:   hold(700, `element(2, {ok, _} = file:open("/dev/null", [raw, read]))`),
			relieve: "[file:close(F) || F <- get(held)], ok"},
		{alarm: "open_socket_limit", rule: "minor: {raise: 30, clear: 20, " + at + "}",
			raise: hold(600, `element(2, {ok, _} = gen_udp:open(0))`), relieve: "[gen_udp:close(S) || S <- get(held)], ok"},
		{alarm: "old_code", rule: "warning: {" + at + "}", raise: "put(held, [" + module("old", "1") + ", " + module("old", "2") + "]), ok", relieve: "code:purge(old)"},
		{alarm: "module_clash", rule: "enabled: true, warning: {" + at + "}",
			raise:   `[begin ok = filelib:ensure_dir(D ++ "/x"), ok = file:write_file(D ++ "/twice.beam", []), true = code:add_patha(D) end || D <- ["one", "two"]], ok`,
			relieve: `code:del_path("one"), code:del_path("two")`},
		{alarm: "atom_limit", rule: "minor: {raise: 40, clear: 35, " + at + "}",
			raise: `[list_to_atom("kept" ++ integer_to_list(N)) || N <- lists:seq(1, 20000)], ok`,
			hand:  func(_ *testing.T, n *erltest.Node) func() { return n.Restart }},
	}
}

// held are what a node holds on to.
func held() []provocation {
	return []provocation{
		{alarm: "memory_limit", rule: "minor: {raise: 50, clear: 45, " + at + "}",
			raise: "put(held, binary:copy(<<0>>, 200000000)), ok", relieve: "erase(held), garbage_collect(), ok", hand: controlGroup},
	}
}

// events are about what happens.
func events() []provocation {
	minute := "clear_for: 0s"
	return []provocation{
		{alarm: "long_gc", rule: "warning: {" + minute + "}",
			raise: `[begin {P, R} = spawn_monitor(fun() -> L = lists:seq(1, 3000000), garbage_collect(), exit({done, length(L)}) end),
				receive {'DOWN', R, process, P, _} -> ok end end || _ <- lists:seq(1, 6)], ok`},
		{alarm: "large_heap", rule: "warning: {" + minute + "}",
			raise: `{P, R} = spawn_monitor(fun() -> L = lists:seq(1, 3000000), garbage_collect(), exit({done, length(L)}) end),
				receive {'DOWN', R, process, P, _} -> ok end`},
		{alarm: "long_schedule", rule: "warning: {" + minute + "}",
			raise: "L = lists:seq(1, 8000000), [begin erts_debug:flat_size(L), erlang:yield() end || _ <- lists:seq(1, 10)], ok"},
		{alarm: "busy_port", rule: "warning: {raise: 5, " + minute + "}",
			raise: `{ok, L} = gen_tcp:listen(0, [{active, false}, {ip, {127, 0, 0, 1}}]), {ok, Port} = inet:port(L),
				{ok, S} = gen_tcp:connect({127, 0, 0, 1}, Port, []), {ok, _} = gen_tcp:accept(L),
				put(held, [spawn(fun() -> gen_tcp:send(S, binary:copy(<<0>>, 10000000)) end) || _ <- lists:seq(1, 20)]), ok`, relieve: stopAll},
		{alarm: "crash_rate", rule: "minor: {" + minute + "}",
			raise: "[proc_lib:spawn(fun() -> exit(crashed) end) || _ <- lists:seq(1, 12)], [spawn(fun() -> error(crashed) end) || _ <- lists:seq(1, 4)], ok"},
		{alarm: "supervisor_restart_intensity", key: "supervisor_bridge_test", rule: "major: {clear_for: 5s}",
			raise: `{ok, Tokens, _} = erl_scan:string("-module(supervisor_bridge_test). -export([init/1, start/0]). init(_) -> {ok, {{one_for_one, 1, 60}, [{c, {?MODULE, start, []}, permanent, 100, worker, []}]}}. start() -> {ok, proc_lib:spawn_link(fun() -> exit(crashed) end)}."),
				{Forms, []} = lists:foldl(fun({dot, _} = D, {Fs, Ts}) -> {ok, F} = erl_parse:parse_form(lists:reverse([D | Ts])), {[F | Fs], []};
					({'?', L}, {Fs, Ts}) -> {Fs, [{'?', L} | Ts]}; ({var, L, 'MODULE'}, {Fs, [{'?', _} | Ts]}) -> {Fs, [{atom, L, supervisor_bridge_test} | Ts]};
					(T, {Fs, Ts}) -> {Fs, [T | Ts]} end, {[], []}, Tokens),
				{ok, M, B} = compile:forms(lists:reverse(Forms)), {module, M} = code:load_binary(M, "m", B),
				{Pid, Ref} = spawn_monitor(fun() -> process_flag(trap_exit, true), {ok, _} = supervisor:start_link(M, []), receive {'EXIT', _, _} -> ok end end),
				receive {'DOWN', Ref, process, Pid, _} -> ok end`},
		{alarm: "disk_capacity", rule: "minor: {raise: 50, clear: 40, " + at + "}", raise: "disksup ! timeout, ok", hand: fullDisk},
	}
}

// quick has everything looked at soon, and small things count as long.
const quick = `
metrics:
  vip: [shop]
  scans: {interval: 10s}
  monitor: {long_gc: 5ms, long_schedule: 10ms, large_heap: 16MiB}
`

func TestProvokeFull(t *testing.T) {
	t.Parallel()
	provoke(t, full(), erltest.Options{Args: []string{"+P", "1024", "+Q", "1024", "+e", "2048", "+t", "65536"}})
}

func TestProvokeHeld(t *testing.T) {
	t.Parallel()
	provoke(t, held(), erltest.Options{})
}

func TestProvokeEvents(t *testing.T) {
	t.Parallel()
	provoke(t, events(), erltest.Options{})
}

// provoke gives each alarm a node of its own.
func provoke(t *testing.T, all []provocation, o erltest.Options) {
	t.Helper()
	nodes := make([]*erltest.Node, len(all))
	var overrides strings.Builder
	for i, c := range all {
		nodes[i] = erltest.Start(t, o)
		out, err := exec.CommandContext(t.Context(), "prlimit", "--nofile=1500:1500", "--pid", strconv.Itoa(nodes[i].Pid)).CombinedOutput()
		require.NoError(t, err, string(out))
		fmt.Fprintf(&overrides, "  - {nodes: [%q], rules: {%s: {%s}}}\n", nodes[i].Name, c.alarm, c.rule)
	}
	p := exportertest.Start(t, exportertest.Options{Config: config(t, quick+"alarms:\n  overrides:\n"+overrides.String(), nodes...)})
	for _, n := range nodes {
		p.AwaitUp(n.Name, patience)
	}
	for i, c := range all {
		t.Run(c.alarm, func(t *testing.T) {
			t.Parallel()
			provokeOne(t, p, nodes[i], c)
		})
	}
}

func provokeOne(t *testing.T, p *exportertest.Process, n *erltest.Node, c provocation) {
	// Two readings, so that what is compared with the one before can be.
	const within = 3 * time.Minute
	active := func() []alarmOf { return alarms(t, p, "?name="+c.alarm+"&node="+n.Name) }
	require.Empty(t, active(), "it is not to be raised by itself")
	var undo func()
	if c.hand != nil {
		undo = c.hand(t, n)
	}
	if c.raise != "" {
		n.Eval(t, c.raise)
	}
	require.Eventually(t, func() bool { return len(active()) > 0 }, within, 100*time.Millisecond, "%s is not raised", c.alarm)
	raised := active()
	require.Len(t, raised, 1)
	if c.key != "" {
		require.Equal(t, c.key, raised[0].Key)
	}
	if c.relieve != "" {
		n.Eval(t, c.relieve)
	}
	if undo != nil {
		undo()
	}
	require.Eventually(t, func() bool { return len(active()) == 0 }, within, 100*time.Millisecond, "%s is not cleared", c.alarm)
	history, err := p.TryGet("/api/v1/alarms/history?name=" + c.alarm + "&node=" + n.Name)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(history.Body, `"occurrence"`), "raised and cleared once: %s", history.Body)
}

// controlGroup gives the node less memory than its host has, within what the
// test itself may have.
func controlGroup(t *testing.T, n *erltest.Node) func() {
	t.Helper()
	text, err := os.ReadFile("/proc/self/cgroup")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 || fields[1] != "memory" {
			continue
		}
		group := filepath.Join("/sys/fs/cgroup/memory", fields[2], "erltest"+strconv.Itoa(n.Pid))
		require.NoError(t, os.Mkdir(group, 0o755))
		t.Cleanup(func() {
			n.Kill()
			require.Eventually(t, func() bool { return os.Remove(group) == nil }, patience, 100*time.Millisecond)
		})
		require.NoError(t, os.WriteFile(filepath.Join(group, "memory.limit_in_bytes"), []byte("400000000"), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(n.Pid)), 0o600))
		return nil
	}
	t.Skip("this machine has no control groups for memory that a test may make")
	return nil
}

// fullDisk mounts a small file system and fills it.
func fullDisk(t *testing.T, n *erltest.Node) func() {
	t.Helper()
	dir := filepath.Join(n.Dir, "disk")
	require.NoError(t, os.Mkdir(dir, 0o755))
	out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=4m", "erltest", dir).CombinedOutput()
	if err != nil {
		t.Skipf("no file system can be mounted: %s", out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", dir).Run() })
	full := filepath.Join(dir, "full")
	require.NoError(t, os.WriteFile(full, make([]byte, 3<<20), 0o600))
	n.Eval(t, "{ok, _} = application:ensure_all_started(os_mon), ok")
	return func() {
		require.NoError(t, os.Remove(full))
		n.Eval(t, "disksup ! timeout, ok")
	}
}
