package alerting

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// patience is how long anything may take on a loaded machine.
const patience = 60 * time.Second

// token may do everything.
const token = "token-of-the-operator"

func TestMain(m *testing.M) {
	flag.Parse()
	// Most of the time these tests wait for the next reading of a node, 15 s later.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(exportertest.Main(m))
}

// config is a configuration for nodes, with more keys after it and a database of
// its own.
func config(t *testing.T, more string, nodes ...*erltest.Node) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, `
name: watch@localhost
storage: {path: %s/alarms.db}
auth: {unauthenticated_role: read, tokens: [{name: ops, role: operate, token: %s}]}
targets:
`, t.TempDir(), token)
	for i, n := range nodes {
		fmt.Fprintf(&b, "- {name: n%d, family: shop, cookie: %q, epmd: %q, static_configs: [{targets: [%q], labels: {site: berlin}}]}\n",
			i, n.Cookie, n.EPMD, n.Name)
	}
	return b.String() + more
}

// alarmOf is what these tests look at of an alarm.
type alarmOf struct {
	ID, Node, Name, Key, Severity, State, Summary string
	Source                                        string
	AcknowledgedBy                                string `json:"acknowledged_by"`
	Comments                                      []struct{ User, Text string }
}

// alarms are the active alarms, with a query such as ?name=disk.
func alarms(t *testing.T, p *exportertest.Process, query string) []alarmOf {
	t.Helper()
	all, err := tryAlarms(p, query)
	require.NoError(t, err)
	return all
}

// tryAlarms are those of alarms, for conditions that are waited for: what waits
// may ask once more when the test is over.
func tryAlarms(p *exportertest.Process, query string) ([]alarmOf, error) {
	page, err := p.TryGet("/api/v1/alarms" + query)
	if err != nil {
		return nil, err
	}
	var list struct{ Alarms []alarmOf }
	err = json.Unmarshal([]byte(page.Body), &list)
	return list.Alarms, err
}

// awaitAlarm waits until one alarm of a name is active, and awaitNone until none
// is.
func awaitAlarm(t *testing.T, p *exportertest.Process, name string) alarmOf {
	t.Helper()
	var all []alarmOf
	require.Eventually(t, func() bool {
		found, err := tryAlarms(p, "?name="+name)
		all = found
		return err == nil && len(found) > 0
	}, patience, 20*time.Millisecond, "%s is not raised", name)
	return all[0]
}

func awaitNone(t *testing.T, p *exportertest.Process, name string) {
	t.Helper()
	none := func() bool {
		all, err := tryAlarms(p, "?name="+name)
		return err == nil && len(all) == 0
	}
	require.Eventually(t, none, patience, 20*time.Millisecond, "%s is not cleared", name)
}

// requireOnce requires that alarms of a name, on a node or on any, are not active
// and were raised and cleared once each.
func requireOnce(t *testing.T, p *exportertest.Process, name, node string) {
	t.Helper()
	query := "?name=" + name
	if node != "" {
		query += "&node=" + url.QueryEscape(node)
	}
	require.Empty(t, alarms(t, p, query), "%s is still active", name)
	page, err := p.TryGet("/api/v1/alarms/history" + query)
	require.NoError(t, err)
	var list struct{ Alarms []alarmOf }
	require.NoError(t, json.Unmarshal([]byte(page.Body), &list), page.Body)
	require.NotEmpty(t, list.Alarms, "%s was never raised", name)
	times := map[string]int{}
	for _, a := range list.Alarms {
		times[a.ID]++
		require.Equal(t, 1, times[a.ID], "%s on %s was raised more than once: %s", a.Name, a.Node, page.Body)
	}
}

// act does something to an alarm.
func act(t *testing.T, p *exportertest.Process, id, verb, comment string) {
	t.Helper()
	body := fmt.Sprintf(`{"user": "jane", "comment": %q}`, comment)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL+"/api/v1/alarms/"+id+"/"+verb, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	require.Equal(t, http.StatusOK, answer.StatusCode, string(text))
}

// ask reads JSON of an Alertmanager.
func ask(t *testing.T, client *http.Client, address string, into any) error {
	t.Helper()
	answer, err := client.Get(address)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	return json.NewDecoder(bytes.NewReader(text)).Decode(into)
}

type silenceOf struct {
	ID, Comment, CreatedBy string
	EndsAt                 time.Time
	Status                 struct{ State string }
}

// silences are those that are in force.
func silences(t *testing.T, am *erltest.Alertmanager) []silenceOf {
	t.Helper()
	var all, active []silenceOf
	require.NoError(t, ask(t, http.DefaultClient, am.URL+"/api/v2/silences", &all))
	for _, s := range all {
		if s.Status.State == "active" {
			active = append(active, s)
		}
	}
	return active
}

// firing tells whether the Alertmanager has an alert of a name.
func firing(t *testing.T, am *erltest.Alertmanager, name string) bool {
	t.Helper()
	var all []any
	err := ask(t, http.DefaultClient, am.URL+"/api/v2/alerts?active=true&filter="+url.QueryEscape(`alertname="`+name+`"`), &all)
	return err == nil && len(all) > 0
}

// awaitNotified waits for the nth notification about an alert.
func awaitNotified(t *testing.T, am *erltest.Alertmanager, name string, n int) erltest.Notification {
	t.Helper()
	require.Eventually(t, func() bool { return len(am.Webhook.Notifications(name)) >= n }, patience, 10*time.Millisecond,
		"notification %d about %s does not come", n, name)
	return am.Webhook.Notifications(name)[n-1]
}
