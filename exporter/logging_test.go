package exporter_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// watch starts an exporter of one node with what is given of logs, and waits
// until it is attached and its log handler installed.
func watch(t *testing.T, n *erltest.Node, logs string) *exportertest.Process {
	t.Helper()
	p := attached(t, n, logs)
	awaitHandler(t, n)
	return p
}

// attached starts an exporter of one node with what is given of logs, and waits
// until it is attached.
func attached(t *testing.T, n *erltest.Node, logs string) *exportertest.Process {
	t.Helper()
	p := exportertest.Start(t, exportertest.Options{
		Config: fmt.Sprintf(`
cookie_file: cookie
storage: {path: db}
auth: {unauthenticated_role: admin}
logs:
%s
targets: [{name: t, family: shop, address: '%s', static_configs: [{targets: ['%s']}]}]
`, logs, n.Address(), n.Name),
		Files: map[string]string{"cookie": n.Cookie},
	})
	p.AwaitUp(n.Name, 30*time.Second)
	return p
}

func awaitHandler(t *testing.T, n *erltest.Node) {
	t.Helper()
	awaitTrue(t, n, "lists:member(erl_exporter_agent, logger:get_handler_ids())")
}

func awaitTrue(t *testing.T, n *erltest.Node, expr string) {
	t.Helper()
	require.Eventually(t, func() bool { return n.Eval(t, expr) == "true" }, 30*time.Second, 20*time.Millisecond, expr)
}

type query = url.Values

func list(t *testing.T, p *exportertest.Process, q query) []client.Notification {
	t.Helper()
	page := p.Get("/api/v1/notifications?" + q.Encode())
	require.Equal(t, http.StatusOK, page.Status, page.Body)
	var l client.NotificationList
	require.NoError(t, json.Unmarshal([]byte(page.Body), &l))
	return l.Notifications
}

// await polls until so many notifications match and returns them, the oldest
// first.
func await(t *testing.T, p *exportertest.Process, count int, q query) []client.Notification {
	t.Helper()
	q.Set("limit", "1000")
	var found []client.Notification
	require.Eventually(t, func() bool {
		found = list(t, p, q)
		return len(found) >= count
	}, 30*time.Second, 50*time.Millisecond, "%v", q)
	require.Len(t, found, count)
	oldest := make([]client.Notification, len(found))
	for i, n := range found {
		oldest[len(found)-1-i] = n
	}
	return oldest
}

func put(t *testing.T, p *exportertest.Process, path, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, p.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(text)
}

// TestLogEntries follows entries of a real node, with their metadata, and the
// reports of real crashes.
func TestLogEntries(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	p := watch(t, n, "  level: error")
	n.Eval(t, `logger:error("plain ~p", [1], #{request_id => <<"abc">>, big => lists:seq(1, 3), domain => [shop, cart]})`)
	e := await(t, p, 1, query{"text": {"plain 1"}})[0]
	require.Equal(t, "shop", e.Family)
	require.Equal(t, client.LogLevelError, e.Level)
	require.Equal(t, client.NotificationSourceLogger, e.Source)
	require.Equal(t, "plain 1", e.Message)
	require.Equal(t, "abc", e.Metadata["request_id"])
	require.Equal(t, "shop.cart", e.Metadata["domain"])
	require.Regexp(t, `^<0\.\d+\.0>$`, e.Metadata["pid"])
	require.WithinDuration(t, time.Now(), e.Time, time.Minute)

	n.Eval(t, `logger:warning("not wanted")`)
	n.Eval(t, `proc_lib:spawn(fun() -> register(my_name, self()), error(my_crash) end)`)
	crash := await(t, p, 1, query{"text": {"my_crash"}})[0]
	require.Equal(t, "crash_report", crash.Event)
	require.Equal(t, "my_name", crash.Metadata["registered_name"])
	require.Equal(t, "proc_lib:crash_report/4", crash.Metadata["mfa"])
	require.Equal(t, "otp.sasl", crash.Metadata["domain"])

	n.Eval(t, `spawn(fun() -> error(plain_crash) end)`)
	require.Equal(t, "process_error", await(t, p, 1, query{"text": {"plain_crash"}})[0].Event)
	require.Empty(t, list(t, p, query{"text": {"not wanted"}}))
	require.Len(t, await(t, p, 1, query{"source": {"node"}}), 1, "the node came up")

	for series, want := range map[string]float64{
		`erlang_vm_log_events_total{level="error"}`:               3,
		`erlang_vm_log_events_total{level="warning"}`:             0,
		`erlang_vm_crash_reports_total{type="crash"}`:             1,
		`erlang_vm_crash_reports_total{type="process"}`:           1,
		`erlang_vm_crash_reports_total{type="supervisor"}`:        0,
		`erlang_vm_log_events_dropped_total{reason="rate_limit"}`: 0,
		`erlang_vm_log_events_dropped_total{reason="overload"}`:   0,
	} {
		awaitSample(t, p, n, series, want)
	}
}

// awaitSample waits for a value on the page of a node, which may show a reading
// of a second ago.
func awaitSample(t *testing.T, p *exportertest.Process, n *erltest.Node, series string, want float64) {
	t.Helper()
	require.Eventually(t, func() bool {
		got, err := exportertest.Sample(p.Probe(n.Name, 10*time.Second).Body, series)
		return err == nil && got == want
	}, 20*time.Second, 100*time.Millisecond, series)
}

// TestSupervisor has a real supervisor whose child crashes.
func TestSupervisor(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	p := watch(t, n, "  level: error")
	n.Eval(t, `{ok, M, B} = compile:forms([{attribute, 1, module, my_callback}, {attribute, 1, export, [{init, 1}]},
			{function, 1, init, 1, [{clause, 1, [{nil, 1}], [], [erl_parse:abstract({ok, {{one_for_one, 10, 10}, []}})]}]}]),
		{module, M} = code:load_binary(M, "", B), {ok, _} = supervisor:start_link({local, my_sup}, M, [])`)
	n.Eval(t, `{ok, Child} = supervisor:start_child(my_sup, #{id => worker, start => {gen_event, start_link, []}}), exit(Child, kill)`)
	e := await(t, p, 1, query{"text": {"my_sup"}})[0]
	require.Equal(t, "supervisor_report", e.Event)
	require.Contains(t, e.Message, "child_terminated")
	require.Contains(t, e.Message, "killed")
	require.Equal(t, "otp.sasl", e.Metadata["domain"])
	require.Equal(t, n.Eval(t, "whereis(my_sup)"), e.Metadata["pid"])
	require.Equal(t, "my_sup", e.Metadata["registered_name"])
	awaitSample(t, p, n, `erlang_vm_supervisor_restarts_total{supervisor="my_sup"}`, 1)
}

// TestHostileEntries logs what no log can show as it is.
func TestHostileEntries(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	// The node's own handler would be hung by these as well.
	n.Eval(t, "logger:remove_handler(default)")
	p := watch(t, n, "  level: error\n  message_bytes: 4KiB")
	for name, c := range map[string]struct{ expr, text, want string }{
		"callback crashes":  {`logger:error(#{mark => cb1}, #{report_cb => fun(_) -> error(bad) end})`, "cb1", "report_cb has failed"},
		"callback exits":    {`logger:error(#{mark => cb2}, #{report_cb => fun(_, _) -> exit(kill) end})`, "cb2", "report_cb has failed"},
		"callback hangs":    {`logger:error(#{mark => cb3}, #{report_cb => fun(_) -> timer:sleep(infinity) end})`, "cb3", "report_cb has hung"},
		"callback eats":     {`logger:error(#{mark => cb4}, #{report_cb => fun(_) -> {"~p", [lists:duplicate(100000000, x)]} end})`, "cb4", "report_cb has"},
		"callback answers":  {`logger:error(#{mark => cb5}, #{report_cb => fun(R) -> {"made of ~p", [R]} end})`, "cb5", "made of"},
		"callback is wrong": {`logger:error(#{mark => cb6}, #{report_cb => fun(_) -> {not_text} end})`, "cb6", "report_cb has failed"},
		"arguments":         {`logger:error("few1 ~p ~p", [1])`, "few1", "few1"},
		"large list":        {`logger:error("large1 ~p", [lists:seq(1, 1000000)])`, "large1", "large1 [1,2,3"},
		"large binary":      {`logger:error(<<"large2", (binary:copy(<<"x">>, 10000000))/binary>>)`, "large2", "bytes more"},
		"large map":         {`logger:error(maps:from_list([{I, large3} || I <- lists:seq(1, 100000)]))`, "large3", "large3"},
		"shared":            {`logger:error("shared1 ~p", [lists:foldl(fun(_, A) -> [A | A] end, x, lists:seq(1, 60))])`, "shared1", "shared1"},
		"large metadata":    {`logger:error("meta1", #{x => lists:seq(1, 1000000)})`, "meta1", "meta1"},
		"not UTF-8":         {`logger:error(<<"bytes1 ", 255, 254, 0>>)`, "bytes1", `bytes1 \xff\xfe\x00`},
		"control":           {`logger:error("esc1 ~ts", [[27, $[, $3, $1, $m, 7]])`, "esc1", `esc1 \x1b[31m\x07`},
		"improper":          {`logger:error([$i, $m, $p, $1 | x])`, "[105,109,112,49|x]", "[105,109,112,49|x]"},
		"old time":          {`logger:error("old1", #{time => 0})`, "old1", "old1"},
		"deep":              {`logger:error("deep1 ~p", [lists:foldl(fun(_, A) -> {A} end, x, lists:seq(1, 100000))])`, "deep1", "deep1"},
	} {
		n.Eval(t, c.expr)
		e := await(t, p, 1, query{"text": {c.text}})[0]
		require.Contains(t, e.Message, c.want, name)
		require.LessOrEqual(t, len(e.Message), 5000, name)
		require.WithinDuration(t, time.Now(), e.Time, time.Minute, name)
	}
	require.Equal(t, "1970-01-01T00:00:00Z", list(t, p, query{"text": {"old1"}})[0].Metadata["event_time"])
	require.Equal(t, "true", list(t, p, query{"text": {"large1"}})[0].Metadata["truncated"])
	n.Eval(t, `logger:error("still here")`)
	await(t, p, 1, query{"text": {"still here"}})
	require.NotContains(t, p.Log(), "collector of log entries was ended")
}

// TestRateLimit logs more than is wanted: what is over is told.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, "logger:remove_handler(default)")
	p := watch(t, n, "  rate: 100")
	n.Eval(t, `[logger:error("flood ~p", [I]) || I <- lists:seq(1, 20000)], ok`)
	// The flood may last longer than what one entry tells of.
	told := regexp.MustCompile(`^dropped (\d+) log entries in [\d.]+m?s: (\d+) over the rate limit$`)
	var got int
	require.Eventually(t, func() bool {
		got = len(list(t, p, query{"text": {"flood "}, "limit": {"1000"}}))
		sum := 0
		for _, e := range list(t, p, query{"text": {"dropped "}}) {
			parts := told.FindStringSubmatch(e.Message)
			require.NotNil(t, parts, e.Message)
			require.Equal(t, parts[1], parts[2])
			require.Equal(t, "dropped", e.Event)
			number, err := strconv.Atoi(parts[1])
			require.NoError(t, err)
			sum += number
		}
		return got > 0 && got+sum == 20000
	}, 20*time.Second, 100*time.Millisecond, "%d entries came, and what was dropped is not told", &got)
	awaitSample(t, p, n, `erlang_vm_log_events_dropped_total{reason="rate_limit"}`, float64(20000-got))
}

// TestLogLevels changes levels at run time, below the primary level of the node,
// whose own handler must get no more for it.
func TestLogLevels(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	dir := t.TempDir()
	n.Eval(t, fmt.Sprintf(`ok = logger:add_handler(own, logger_std_h, #{config => #{file => %q}})`, dir+"/own.log"))
	before := n.Eval(t, "lists:sort([{maps:get(id, C), maps:get(level, C), maps:get(filters, C)} || C <- logger:get_handler_config()])")
	p := watch(t, n, "  level: error")
	path := "/api/v1/nodes/" + url.PathEscape(n.Name) + "/loglevel"
	status, body := put(t, p, path, `{"level":"debug"}`)
	require.Equal(t, http.StatusOK, status, body)
	require.JSONEq(t, `{"levels":[{"source":"logger","level":"debug","default":false},{"source":"lager","level":"debug","default":false}]}`, body)
	require.Eventually(t, func() bool {
		return n.Eval(t, "maps:get(level, logger:get_primary_config())") == "debug"
	}, 10*time.Second, 20*time.Millisecond)
	n.Eval(t, `logger:debug("debug1")`)
	n.Eval(t, `logger:notice("notice1")`)
	await(t, p, 1, query{"text": {"debug1"}})
	await(t, p, 1, query{"text": {"notice1"}})
	own := func() string {
		n.Eval(t, "logger_std_h:filesync(own)")
		return n.Eval(t, fmt.Sprintf("{ok, B} = file:read_file(%q), B", dir+"/own.log"))
	}
	require.Contains(t, own(), "notice1")
	require.NotContains(t, own(), "debug1", "the node's own handler")

	status, body = put(t, p, path, `{"level":"none","source":"logger"}`)
	require.Equal(t, http.StatusOK, status, body)
	require.Eventually(t, func() bool {
		return n.Eval(t, "maps:get(level, logger:get_primary_config())") == "notice"
	}, 10*time.Second, 20*time.Millisecond)
	status, body = put(t, p, path, `{"level":"loud"}`)
	require.Equal(t, http.StatusBadRequest, status, body)
	status, body = put(t, p, path, `{"level":"default"}`)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"default":true,"level":"error"`)
	status, _ = put(t, p, path, `{"level":"debug"}`)
	require.Equal(t, http.StatusOK, status)
	require.Eventually(t, func() bool {
		return n.Eval(t, "maps:get(level, logger:get_primary_config())") == "debug"
	}, 10*time.Second, 20*time.Millisecond)
	p.Stop()
	require.Eventually(t, func() bool {
		return n.Eval(t, "lists:sort([{maps:get(id, C), maps:get(level, C), maps:get(filters, C)} || C <- logger:get_handler_config()])") == before
	}, 10*time.Second, 50*time.Millisecond, "the node is as it was")
	require.Equal(t, "notice", n.Eval(t, "maps:get(level, logger:get_primary_config())"))
}

// TestHandlerRemoved has another tool that removes the handler.
func TestHandlerRemoved(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	p := watch(t, n, "  level: error")
	// What comes through says that the agent is done with installing.
	n.Eval(t, `logger:error("before it")`)
	await(t, p, 1, query{"text": {"before it"}})
	n.Eval(t, "logger:remove_handler(erl_exporter_agent)")
	awaitHandler(t, n)
	await(t, p, 1, query{"text": {"somebody has removed the log handlers"}})
	n.Eval(t, `logger:error("after it")`)
	await(t, p, 1, query{"text": {"after it"}})
	// The collector is one more process that somebody may kill.
	n.Eval(t, `{ok, #{config := #{collector := C}}} = logger:get_handler_config(erl_exporter_agent), exit(C, kill)`)
	require.Eventually(t, func() bool {
		n.Eval(t, `logger:error("with another collector")`)
		return len(list(t, p, query{"text": {"with another collector"}})) > 0
	}, 20*time.Second, 100*time.Millisecond)
}

// TestForwardedEntries has a process on one node whose group leader is on
// another: its entry is of the node where it runs, once.
func TestForwardedEntries(t *testing.T) {
	t.Parallel()
	epmd := erltest.StartEPMD(t)
	a := erltest.Start(t, erltest.Options{EPMD: epmd})
	b := erltest.Start(t, erltest.Options{EPMD: epmd, Cookie: a.Cookie})
	pa, pb := watch(t, a, "  level: error"), watch(t, b, "  level: error")
	b.Eval(t, fmt.Sprintf("pong = net_adm:ping('%s')", a.Name))
	b.Eval(t, fmt.Sprintf(`spawn('%s', fun() -> ok end), L = group_leader(), rpc:call('%s', erlang, apply, [logger, error, ["from afar"]]), L`, a.Name, a.Name))
	e := await(t, pa, 1, query{"text": {"from afar"}})[0]
	require.Equal(t, a.Name, e.Node)
	b.Eval(t, `logger:error("of b")`)
	await(t, pb, 1, query{"text": {"of b"}})
	require.Empty(t, list(t, pb, query{"text": {"from afar"}}))
	require.Len(t, list(t, pa, query{"text": {"from afar"}}), 1)
}

// TestCodeNotifications loads and purges a module.
func TestCodeNotifications(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, "compile:module_info()")
	p := watch(t, n, "  level: error")
	compile := func(version int) string {
		return fmt.Sprintf(`{ok, M, B} = compile:forms([{attribute,1,module,my_module},{attribute,1,export,[{f,0}]},{function,1,f,0,[{clause,1,[],[],[{integer,1,%d}]}]}]),
			{module, M} = code:load_binary(M, "my_module.beam", B)`, version)
	}
	// What is loaded before the node has first been looked at is no news.
	require.Eventually(t, func() bool {
		looks, err := exportertest.Sample(p.Probe(n.Name, 10*time.Second).Body, `erlang_exporter_agent_events_total{source="code"}`)
		return err == nil && looks > 0
	}, 20*time.Second, 100*time.Millisecond)
	n.Eval(t, compile(1))
	e := await(t, p, 1, query{"source": {"code"}, "text": {"my_module"}})[0]
	require.Equal(t, "loaded", e.Event)
	require.Equal(t, "my_module", e.Metadata["module"])
	n.Eval(t, compile(2))
	await(t, p, 2, query{"source": {"code"}, "text": {"my_module"}})
	n.Eval(t, "code:purge(my_module)")
	require.Equal(t, "purged", await(t, p, 3, query{"source": {"code"}, "text": {"my_module"}})[2].Event)
}

// TestLive follows the stream, and takes it up again.
func TestLive(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	p := watch(t, n, "  level: error")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := follow(ctx, t, p, "")
	n.Eval(t, `logger:error("live 1")`)
	first := next(t, events)
	require.Equal(t, "live 1", first.Message)
	n.Eval(t, `logger:error("live 2")`)
	require.Equal(t, "live 2", next(t, events).Message)
	again := follow(ctx, t, p, first.ID)
	require.Equal(t, "live 2", next(t, again).Message)
}

func follow(ctx context.Context, t *testing.T, p *exportertest.Process, after string) <-chan client.Notification {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/api/v1/notifications/live?source=logger", http.NoBody)
	require.NoError(t, err)
	if after != "" {
		request.Header.Set("Last-Event-ID", after)
	}
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	events := make(chan client.Notification, 100)
	go func() {
		defer answer.Body.Close()
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			var n client.Notification
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && json.Unmarshal([]byte(data), &n) == nil {
				events <- n
			}
		}
	}()
	return events
}

func next(t *testing.T, events <-chan client.Notification) client.Notification {
	t.Helper()
	select {
	case n := <-events:
		return n
	case <-time.After(20 * time.Second):
		t.Fatal("no notification came")
		return client.Notification{}
	}
}
