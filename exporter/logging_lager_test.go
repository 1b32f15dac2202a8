package exporter_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
	"github.com/erlops/erlops/internal/proc"
)

// lagerState is what Lager does, which must be after an exporter as before it:
// its handlers, its watchers, and from which level on processes make entries.
const lagerState = `{lists:sort(gen_event:which_handlers(lager_event)), length(supervisor:which_children(lager_handler_watcher_sup)),
	lager_config:get({lager_event, loglevel}), logger:get_primary_config(), lists:sort(logger:get_handler_ids())}`

// lagerNode runs Debian's Lager with a file of its own, from warnings on.
func lagerNode(t *testing.T, redirect bool) *erltest.Node {
	t.Helper()
	erltest.RequireErlang(t, "lager")
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, fmt.Sprintf(`ok = application:load(lager), [application:set_env(lager, K, V) || {K, V} <- [{log_root, %q}, {crash_log, undefined},
		{handlers, [{lager_file_backend, [{file, "own.log"}, {level, warning}]}]}, {error_logger_redirect, %t}]],
		{ok, _} = application:ensure_all_started(lager), ok`, t.TempDir(), redirect))
	return n
}

// watchLager is watch, where Lager is.
func watchLager(t *testing.T, n *erltest.Node, logs string) *exportertest.Process {
	t.Helper()
	p := attached(t, n, logs)
	awaitLager(t, n)
	return p
}

func awaitLager(t *testing.T, n *erltest.Node) {
	t.Helper()
	awaitTrue(t, n, "lists:member({erl_exporter_agent, lager}, gen_event:which_handlers(lager_event))")
}

func awaitState(t *testing.T, n *erltest.Node, before string) {
	t.Helper()
	state := ""
	if proc.Await(20*time.Second, func() bool {
		state = n.Eval(t, lagerState)
		return state == before
	}) != nil {
		require.Equal(t, before, state)
	}
}

// TestLager reads Lager where it has taken over from error_logger, as it does
// unless it is told not to: reports come through it, once, and what Lager itself
// does not get, from logger.
func TestLager(t *testing.T) {
	t.Parallel()
	n := lagerNode(t, true)
	before := n.Eval(t, lagerState)
	p := watchLager(t, n, "  level: error")
	n.Eval(t, `lager:log(error, [{pid, self()}, {request, <<"abc">>}, {module, shop}, {function, sell}, {line, 7}], "lagered ~p", [1])`)
	n.Eval(t, `lager:log(warning, self(), "not wanted", [])`)
	n.Eval(t, `logger:error("logged ~p", [2]), error_logger:error_msg("the old way ~p", [3])`)
	n.Eval(t, `proc_lib:spawn(fun() -> error(my_crash) end)`)
	e := await(t, p, 1, query{"text": {"lagered"}})[0]
	require.Equal(t, client.NotificationSourceLager, e.Source)
	require.Equal(t, client.LogLevelError, e.Level)
	require.Equal(t, "lagered 1", e.Message)
	require.Equal(t, "abc", e.Metadata["request"])
	require.Equal(t, "shop:sell", e.Metadata["mfa"])
	require.Equal(t, "7", e.Metadata["line"])
	require.Regexp(t, `^<0\.\d+\.0>$`, e.Metadata["pid"])
	require.WithinDuration(t, time.Now(), e.Time, time.Minute)
	require.Equal(t, client.NotificationSourceLogger, await(t, p, 1, query{"text": {"logged 2"}})[0].Source)
	require.Equal(t, client.NotificationSourceLager, await(t, p, 1, query{"text": {"the old way 3"}})[0].Source)
	crash := await(t, p, 1, query{"text": {"my_crash"}})[0]
	require.Equal(t, "crash_report", crash.Event)
	require.Equal(t, client.NotificationSourceLager, crash.Source)
	require.Empty(t, list(t, p, query{"text": {"not wanted"}}))
	require.Len(t, list(t, p, query{"source": {"logger"}}), 1, "entries are read twice")
	awaitSample(t, p, n, `erlang_vm_crash_reports_total{type="crash"}`, 1)

	// Another tool removes the backend, and its process is killed.
	n.Eval(t, `gen_event:delete_handler(lager_event, {erl_exporter_agent, lager}, bye)`)
	awaitLager(t, n)
	await(t, p, 1, query{"text": {"somebody has removed the log handlers"}})
	// Lager installs the others again 5 s after that; ours stays one.
	n.Eval(t, `exit(whereis(lager_event), kill)`)
	require.Eventually(t, func() bool {
		got, err := n.TryEval(`lists:member({lager_file_backend, "own.log"}, gen_event:which_handlers(lager_event))`)
		return err == nil && got == "true"
	}, 30*time.Second, 100*time.Millisecond)
	require.Eventually(t, func() bool {
		return n.Eval(t, "[x || {erl_exporter_agent, lager} <- gen_event:which_handlers(lager_event)]") == "[x]"
	}, 30*time.Second, 100*time.Millisecond)
	n.Eval(t, `lager:log(error, self(), "once more", [])`)
	await(t, p, 1, query{"text": {"once more"}})

	// Only for as long as somebody wants debug, processes pay for it.
	status, body := put(t, p, "/api/v1/nodes/"+n.Name+"/loglevel", `{"level":"debug","source":"lager"}`)
	require.Equal(t, 200, status, body)
	require.Eventually(t, func() bool {
		n.Eval(t, `lager:log(debug, self(), "deep", [])`)
		return len(list(t, p, query{"text": {"deep"}, "level": {"debug"}})) > 0
	}, 30*time.Second, 100*time.Millisecond)
	p.Stop()
	awaitState(t, n, before)
}

// lagerLeft is what may be of ours where Lager runs.
const lagerLeft = `{lists:member({erl_exporter_agent, lager}, gen_event:which_handlers(lager_event)),
	lists:member(erl_exporter_agent, logger:get_handler_ids()),
	whereis(erl_exporter_agent), code:is_loaded(erl_exporter_agent), erlang:check_old_code(erl_exporter_agent)}`

// exporterEnds are the ways in which an exporter leaves.
var exporterEnds = map[string]func(*exportertest.Process){
	"stopped": (*exportertest.Process).Stop,
	"killed":  func(p *exportertest.Process) { p.Signal(syscall.SIGKILL) },
}

// TestLagerIsLeft ends the exporter while the watcher of Lager's own file hangs.
// Nothing of ours is left after the 5 s in which an agent leaves.
func TestLagerIsLeft(t *testing.T) {
	t.Parallel()
	const file = `hd([P || {_, P, _, _} <- supervisor:which_children(lager_handler_watcher_sup), element(2, sys:get_state(P)) =:= {lager_file_backend, "own.log"}])`
	for name, end := range exporterEnds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := lagerNode(t, true)
			before := n.Eval(t, lagerState)
			p := watchLager(t, n, "  levels: {lager: debug}")
			require.Eventually(t, func() bool { return n.Eval(t, lagerState) != before }, 20*time.Second, 20*time.Millisecond)
			n.Eval(t, "put(watcher, "+file+"), erlang:suspend_process(get(watcher))")
			end(p)
			left := ""
			_ = proc.Await(5*time.Second, func() bool {
				left = n.Eval(t, "{"+lagerLeft+", "+lagerState+"}")
				return left == "{{false,false,undefined,false,false},"+before+"}"
			})
			require.Equal(t, "{{false,false,undefined,false,false},"+before+"}", left)
		})
	}
}

// TestLagerIsLeftWithoutItsManager ends the exporter just after Lager's event
// manager was killed. Lager then installs anew what its watchers have installed,
// 5 s later, when nobody is there any more to take ours back.
func TestLagerIsLeftWithoutItsManager(t *testing.T) {
	t.Parallel()
	for name, end := range exporterEnds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := lagerNode(t, true)
			before := n.Eval(t, lagerState)
			p := watchLager(t, n, "  levels: {lager: debug}")
			require.Eventually(t, func() bool { return n.Eval(t, lagerState) != before }, 20*time.Second, 20*time.Millisecond)
			// A timer of the node that is set after those of the watchers, which have
			// ended then, comes after them too.
			n.Eval(t, `Manager = whereis(lager_event), {links, Links} = process_info(Manager, links),
				Watchers = [erlang:monitor(process, P) || {_, P, _, _} <- supervisor:which_children(lager_handler_watcher_sup), lists:member(P, Links)],
				exit(Manager, kill), [receive {'DOWN', M, _, _, _} -> ok end || M <- Watchers],
				{ok, _} = timer:send_after(6000, settled), ok`)
			end(p)
			n.Eval(t, "receive settled -> ok end")
			awaitState(t, n, before)
			require.Equal(t, "{false,false,undefined,false,false}", n.Eval(t, lagerLeft))
		})
	}
}

// TestLagerBesideLogger reads both where Lager leaves error_logger alone.
func TestLagerBesideLogger(t *testing.T) {
	t.Parallel()
	n := lagerNode(t, false)
	before := n.Eval(t, lagerState)
	p := watchLager(t, n, "  level: error\n  levels: {lager: warning}")
	awaitHandler(t, n)
	n.Eval(t, `lager:log(warning, self(), "lagered", []), lager:log(notice, self(), "not wanted", []), logger:warning("not wanted"), logger:error("logged")`)
	require.Equal(t, client.NotificationSourceLager, await(t, p, 1, query{"text": {"lagered"}})[0].Source)
	require.Equal(t, client.NotificationSourceLogger, await(t, p, 1, query{"text": {"logged"}})[0].Source)
	require.Empty(t, list(t, p, query{"text": {"not wanted"}}))
	p.Stop()
	awaitState(t, n, before)
}

// TestSASL has a real supervisor whose real child crashes: what proc_lib, the
// behaviour and the supervisor report of it, each once.
func TestSASL(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, "{ok, _} = application:ensure_all_started(sasl), ok")
	p := watch(t, n, "  level: error")
	n.Eval(t, `{ok, P} = supervisor:start_child(kernel_safe_sup, #{id => shop, start => {gen_event, start_link, [{local, shop}]}}), exit(P, kill), ok`)
	report := await(t, p, 1, query{"text": {"child_terminated"}})[0]
	require.Equal(t, "supervisor_report", report.Event)
	require.Contains(t, report.Message, "kernel_safe_sup")
	require.Contains(t, report.Message, "killed")
	require.Equal(t, "otp.sasl", report.Metadata["domain"])
	require.Equal(t, "kernel", report.Metadata["application"])
	// A gen_server whose state is not what it needs ends with two reports.
	n.Eval(t, `{ok, _} = pg:start(shop_scope), sys:replace_state(shop_scope, fun(_) -> broken end), catch pg:join(shop_scope, group, self()), ok`)
	ends := await(t, p, 2, query{"text": {"shop_scope"}})
	require.Equal(t, "terminated", ends[0].Event)
	require.Contains(t, ends[0].Message, "broken")
	require.Equal(t, "shop_scope", ends[0].Metadata["registered_name"])
	require.Equal(t, "crash_report", ends[1].Event)
	for series, want := range map[string]float64{
		`erlang_vm_crash_reports_total{type="crash"}`:                       1,
		`erlang_vm_crash_reports_total{type="supervisor"}`:                  1,
		`erlang_vm_crash_reports_total{type="terminate"}`:                   1,
		`erlang_vm_supervisor_restarts_total{supervisor="kernel_safe_sup"}`: 1,
	} {
		awaitSample(t, p, n, series, want)
	}
}
