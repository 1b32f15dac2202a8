package alerting

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// TestElarmThroughTheAPI has what people do over the API reach the server of
// Elarm that the alarm is from, and only that one.
func TestElarmThroughTheAPI(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	n.StartElarm(t)
	n.Eval(t, `{ok, _} = elarm:start_server(second, [{config, [{hot, [{severity, critical}]}]}]),
		elarm:raise(hot, {fan, 1}, first), elarm:raise(second, hot, {fan, 1}, second)`)
	p := exportertest.Start(t, exportertest.Options{Config: config(t, "", n)})
	p.AwaitUp(n.Name, patience)
	active := func() map[string]alarmOf {
		byKey := map[string]alarmOf{}
		all, _ := tryAlarms(p, "?source=elarm")
		for _, a := range all {
			byKey[a.Key] = a
		}
		return byKey
	}
	const key, other = "second: {fan,1}", "{fan,1}"
	require.Eventually(t, func() bool { return len(active()) == 2 }, patience, 20*time.Millisecond)
	hot := active()[key]
	require.Equal(t, []string{"hot", "critical", "new"}, []string{hot.Name, hot.Severity, hot.State})

	// The state is field 16, who acknowledged field 17, comments are field 13.
	of := func(server, field string) string {
		return n.Eval(t, "{ok, [A]} = elarm:get_alarms("+server+"), element("+field+", A)")
	}
	act(t, p, hot.ID, "acknowledge", "I look at it")
	require.Equal(t, "acknowledged", of("second", "16"))
	require.Contains(t, of("second", "17"), "jane (ops)")
	require.Contains(t, of("second", "13"), "I look at it")
	require.Eventually(t, func() bool { return active()[key].State == "acknowledged" }, patience, 20*time.Millisecond)
	act(t, p, hot.ID, "comment", "a fan is żółty")
	require.Contains(t, of("second", "13"), "żółty")
	require.Eventually(t, func() bool { return len(active()[key].Comments) >= 2 }, patience, 20*time.Millisecond)
	require.Len(t, active()[key].Comments, 2, "each comment is there once")
	act(t, p, hot.ID, "unacknowledge", "not mine")
	require.Equal(t, "new", of("second", "16"))
	require.Equal(t, []string{"new", "[]"}, []string{of("elarm_server", "16"), of("elarm_server", "13")}, "another server has the same alarm")

	act(t, p, hot.ID, "clear", "a new fan")
	require.Equal(t, "{ok,[]}", n.Eval(t, "elarm:get_alarms(second)"))
	require.Eventually(t, func() bool {
		_, there := active()[key]
		return !there
	}, patience, 20*time.Millisecond)
	require.Contains(t, active(), other)
	history := p.Get("/api/v1/alarms/history?source=elarm").Body
	require.Equal(t, 1, strings.Count(history, `"occurrence"`), history)
	require.Contains(t, history, "a new fan")
}
