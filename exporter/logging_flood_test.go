package exporter_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

// TestFlood has a node log as fast as it can: alarms get through meanwhile, each
// once, no mailbox of the node and no memory of the exporter grows without end,
// and what is not told is counted.
func TestFlood(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, "logger:remove_handler(default), {ok, _} = application:ensure_all_started(sasl), ok")
	p := watch(t, n, "  level: error")
	n.Eval(t, `[register(list_to_atom("flood" ++ [$0 + I]), spawn(fun L() -> logger:error("flood ~p", [lists:seq(1, 50)]), L() end)) || I <- [1, 2]], ok`)
	require.Eventually(t, func() bool { return len(list(t, p, query{"text": {"over the rate limit"}})) > 0 }, 20*time.Second, 100*time.Millisecond)
	n.Eval(t, `[alarm_handler:set_alarm({{flooded, I}, "while it floods"}) || I <- lists:seq(1, 20)], ok`)
	await(t, p, 20, query{"source": {"alarm"}, "text": {"flooded"}})
	n.Eval(t, `[alarm_handler:clear_alarm({flooded, I}) || I <- lists:seq(1, 20)], ok`)
	require.Eventually(t, func() bool {
		cleared := 0
		for _, a := range list(t, p, query{"source": {"alarm"}, "limit": {"1000"}}) {
			if a.Event == "cleared" {
				cleared++
			}
		}
		return cleared == 20
	}, 60*time.Second, 100*time.Millisecond, "alarms that were cleared are not told")
	// 16 MB are what may be on its way to the collector, of which no entry here is
	// less than 50 words.
	require.Equal(t, "true", n.Eval(t, `{ok, #{config := #{collector := C}}} = logger:get_handler_config(erl_exporter_agent),
		{_, Length} = process_info(C, message_queue_len), {_, Agent} = process_info(whereis(erl_exporter_agent), message_queue_len),
		Length =< 2000000 div 50 andalso Agent < 1000`))
	require.Less(t, p.Sample("process_resident_memory_bytes"), float64(512<<20))
	n.Eval(t, "[exit(whereis(F), kill) || F <- [flood1, flood2]], ok")
	n.Eval(t, `logger:error("after the flood")`)
	require.Eventually(t, func() bool {
		n.Eval(t, `logger:error("after the flood")`)
		return len(list(t, p, query{"text": {"after the flood"}})) > 0
	}, 20*time.Second, 100*time.Millisecond)
}
