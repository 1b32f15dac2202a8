package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api"
)

// alarms is an Alarms of plain values.
type alarms struct {
	mu      sync.Mutex
	active  []api.Alarm
	cleared []api.Alarm
	acted   []api.AlarmCommand
	filters []api.AlarmFilter
	failed  []api.AlarmFailure
	events  chan api.AlarmEvent
}

func alarmOf(id string, age time.Duration) api.Alarm {
	return api.Alarm{
		ID: id, Occurrence: "o" + id, Node: "a@h", Family: "shop", Source: "sasl", Name: "disk", Severity: "major", State: "new",
		Summary: "disk on a@h", Raised: testTime.Add(-age), Updated: testTime, Reports: 1,
	}
}

func (a *alarms) ActiveAlarms(f api.AlarmFilter) []api.Alarm {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.filters = append(a.filters, f)
	return slices.Clone(a.active)
}

func (a *alarms) ActiveAlarm(id string) (api.Alarm, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.active, func(x api.Alarm) bool { return x.ID == id })
	if i < 0 {
		return api.Alarm{}, false
	}
	return a.active[i], true
}

func (a *alarms) ClearedAlarms(_ context.Context, f api.AlarmFilter, before api.AlarmPlace, limit int) ([]api.Alarm, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.filters = append(a.filters, f)
	all := slices.DeleteFunc(slices.Clone(a.cleared), func(x api.Alarm) bool {
		return before.Occurrence != "" && x.Occurrence >= before.Occurrence
	})
	return all[:min(limit, len(all))], nil
}

func (a *alarms) ActOnAlarms(_ context.Context, f api.AlarmFilter, c api.AlarmCommand) (api.AlarmActionResult, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.acted, a.filters = append(a.acted, c), append(a.filters, f)
	if len(a.failed) > 0 {
		return api.AlarmActionResult{Failed: a.failed}, nil
	}
	return api.AlarmActionResult{Alarms: a.active[:1]}, nil
}

func (a *alarms) SubscribeAlarms() (<-chan api.AlarmEvent, func()) { return a.events, func() {} }

func serveAlarms(t *testing.T, a *alarms) string {
	t.Helper()
	a.events = make(chan api.AlarmEvent, 10)
	return serve(t, newFleet(), api.Options{Alarms: a})
}

func getJSON(t *testing.T, url string, into any) (status int, body string) {
	t.Helper()
	answer, body := send(t, http.MethodGet, url, "")
	if into != nil {
		require.NoError(t, json.Unmarshal([]byte(body), into), body)
	}
	return answer.StatusCode, body
}

func post(t *testing.T, url, body string) (status int, answer string) {
	t.Helper()
	response, text := send(t, http.MethodPost, url, body)
	return response.StatusCode, text
}

func TestListAlarms(t *testing.T) {
	t.Parallel()
	a := &alarms{}
	for i := range 5 {
		a.active = append(a.active, alarmOf(string(rune('a'+i)), time.Duration(i/2)*time.Second))
	}
	url := serveAlarms(t, a)
	var ids []string
	for cursor, pages := "", 0; pages < 3; pages++ {
		var list api.AlarmList
		status, _ := getJSON(t, url+"/alarms?limit=2&severity=major&node=*@h"+cursor, &list)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, 5, list.Total)
		for _, x := range list.Alarms {
			ids = append(ids, x.ID)
		}
		cursor = "&cursor=" + list.NextCursor
	}
	require.Equal(t, []string{"a", "b", "c", "d", "e"}, ids)
	require.Equal(t, []string{"*@h"}, a.filters[0].Nodes)
	require.Equal(t, []api.AlarmSeverity{"major"}, a.filters[0].Severities)

	for _, query := range []string{"severity=bad", "state=open", "limit=0", "cursor=x", "colour=red"} {
		status, body := getJSON(t, url+"/alarms?"+query, nil)
		require.Equal(t, http.StatusBadRequest, status, body)
	}
}

func TestAlarmHistory(t *testing.T) {
	t.Parallel()
	a := &alarms{}
	for i := range 5 {
		x := alarmOf(string(rune('e'-i)), 0)
		x.State, x.ClearedAt = "cleared", testTime.Add(-time.Duration(i)*time.Second)
		a.cleared = append(a.cleared, x)
	}
	url := serveAlarms(t, a)
	var ids []string
	for cursor, pages := "", 0; pages < 3; pages++ {
		var list api.AlarmList
		status, _ := getJSON(t, url+"/alarms/history?limit=2&since=2026-01-01T00:00:00Z"+cursor, &list)
		require.Equal(t, http.StatusOK, status)
		for _, x := range list.Alarms {
			ids = append(ids, x.ID)
		}
		cursor = "&cursor=" + list.NextCursor
	}
	require.Equal(t, []string{"e", "d", "c", "b", "a"}, ids)
	require.Equal(t, 2026, a.filters[0].Since.Year())
}

func TestActOnAlarms(t *testing.T) {
	t.Parallel()
	a := &alarms{active: []api.Alarm{alarmOf("x", 0)}}
	url := serveAlarms(t, a)
	for verb, action := range map[string]api.AlarmActionAction{
		"acknowledge": "acknowledge", "unacknowledge": "unacknowledge", "comment": "comment", "clear": "clear",
	} {
		status, body := post(t, url+"/alarms/x/"+verb, `{"comment": "c", "user": "jane"}`)
		require.Equal(t, http.StatusOK, status, body)
		require.Equal(t, api.AlarmCommand{Action: action, User: "jane", Comment: "c"}, a.acted[len(a.acted)-1])
		require.Equal(t, []string{"x"}, a.filters[len(a.filters)-1].IDs)
	}
	status, _ := post(t, url+"/alarms/x/acknowledge", `{}`)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "anonymous", a.acted[len(a.acted)-1].User)

	status, body := post(t, url+"/alarms/actions", `{"action": "clear", "family": ["shop"], "severity": ["minor", "warning"], "state": ["new"], "node": ["a@*"]}`)
	require.Equal(t, http.StatusOK, status, body)
	last := a.filters[len(a.filters)-1]
	require.Equal(t, []string{"shop"}, last.Families)
	require.Equal(t, []api.AlarmSeverity{"minor", "warning"}, last.Severities)

	for request, want := range map[string]struct {
		body   string
		status int
		text   string
	}{
		"/alarms/nobody/clear":         {`{}`, http.StatusNotFound, "is active; if it was cleared"},
		"/alarms/x/comment":            {`{}`, http.StatusBadRequest, "#/comment"},
		"/alarms/x/acknowledge":        {`{"coment": "x"}`, http.StatusBadRequest, "unknown field"},
		"/alarms/actions":              {`{"action": "clear"}`, http.StatusBadRequest, "#/all"},
		"/alarms/actions?x=1":          {`{"action": "clear", "all": true}`, http.StatusBadRequest, "unknown parameter"},
		"/alarms/nobody/unacknowledge": {`{"comment": ""}`, http.StatusBadRequest, "at least 1"},
	} {
		status, body := post(t, url+request, want.body)
		require.Equal(t, want.status, status, body)
		require.Contains(t, body, want.text)
	}

	a.failed = []api.AlarmFailure{{ID: "x", Detail: "Elarm does not answer"}}
	status, body = post(t, url+"/alarms/x/clear", `{}`)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "Elarm does not answer")
	status, body = post(t, url+"/alarms/actions", `{"action": "clear", "all": true}`)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "Elarm does not answer")
}

func TestAlarmEvents(t *testing.T) {
	t.Parallel()
	a := &alarms{}
	url := serveAlarms(t, a)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/alarms/events", http.NoBody)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	require.Equal(t, "text/event-stream", answer.Header.Get("Content-Type"))
	a.events <- api.AlarmEvent{Type: api.AlarmEventTypeAlarmRaised, Time: testTime, Alarm: alarmOf("x", 0)}
	a.events <- api.AlarmEvent{Type: api.AlarmEventTypeAlarmAcknowledged, Time: testTime, User: "jane", Alarm: alarmOf("x", 0)}
	var got []string
	for lines := bufio.NewScanner(answer.Body); len(got) < 2 && lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			got = append(got, name)
		}
	}
	require.Equal(t, []string{"alarm.raised", "alarm.acknowledged"}, got)
}

func TestWithoutAlarms(t *testing.T) {
	t.Parallel()
	url := serve(t, newFleet(), api.Options{})
	for _, path := range []string{"/alarms", "/alarms/history", "/alarms/events", "/alarms/x"} {
		status, _ := getJSON(t, url+path, nil)
		require.Equal(t, http.StatusServiceUnavailable, status, path)
	}
}
