package erltest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/proc"
)

// AlertmanagerVersions are those that tests can run: Debian 12's and a current
// one.
func AlertmanagerVersions() []string { return []string{"0.25", "0.31"} }

// Alertmanager is a running Alertmanager that notifies Webhook of everything at
// once.
type Alertmanager struct {
	URL     string
	Webhook *Webhook

	t      testing.TB
	dir    string
	start  proc.Command
	proc   *proc.Process
	listen string
}

// StartAlertmanager starts an Alertmanager of a version and returns when it is
// ready. It ends with the test, and the test is skipped where `make setup-e2e`
// has not been run. Its web configuration, for TLS and passwords, may be empty.
func StartAlertmanager(t testing.TB, version, webConfig string) *Alertmanager {
	t.Helper()
	argv, wrap := findAlertmanager(t, version)
	a := &Alertmanager{t: t, dir: t.TempDir(), Webhook: StartWebhook(t), listen: fmt.Sprintf("127.0.0.1:%d", FreePort(t))}
	a.URL = "http://" + a.listen
	config := fmt.Sprintf(`route: {receiver: all, group_by: ["..."], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}
receivers: [{name: all, webhook_configs: [{url: %q, send_resolved: true, max_alerts: 0}]}]
`, a.Webhook.URL)
	file := filepath.Join(a.dir, "alertmanager.yml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	argv = append(argv,
		"--config.file="+file, "--storage.path="+filepath.Join(a.dir, "data"),
		"--web.listen-address="+a.listen, "--cluster.listen-address=",
	)
	if webConfig != "" {
		web := filepath.Join(a.dir, "web.yml")
		require.NoError(t, os.WriteFile(web, []byte(webConfig), 0o600))
		argv = append(argv, "--web.config.file="+web)
	}
	a.start = proc.Command{Argv: wrap(argv, a.dir), Env: baseEnv(a.dir), Dir: a.dir, Log: filepath.Join(a.dir, "alertmanager.log")}
	a.Start()
	t.Cleanup(a.Stop)
	return a
}

// findAlertmanager returns the program and how to run it.
func findAlertmanager(t testing.TB, version string) (argv []string, wrap func([]string, string) []string) {
	t.Helper()
	if version == "0.25" {
		root, err := cached("servers")
		if err != nil {
			skip(t, "%v", err)
		}
		if _, err := os.Stat(filepath.Join(root, "usr/bin/prometheus-alertmanager")); err != nil {
			skip(t, "no Alertmanager in %s; `make setup-e2e` adds it", root)
		}
		return []string{"/usr/bin/prometheus-alertmanager"}, otp{root: root}.wrap
	}
	root, err := cached("alertmanager")
	if err != nil {
		skip(t, "%v", err)
	}
	return []string{filepath.Join(root, "alertmanager")}, func(argv []string, _ string) []string { return argv }
}

// Start starts it again, with what it has on disk, after Stop.
func (a *Alertmanager) Start() {
	a.t.Helper()
	var err error
	a.proc, err = proc.Start(a.start)
	require.NoError(a.t, err)
	// It answers something as soon as it listens, with TLS and passwords too.
	ready := func() bool {
		client := http.Client{Timeout: time.Second}
		answer, err := client.Get(a.URL + "/-/ready")
		if err == nil {
			answer.Body.Close()
			return answer.StatusCode != http.StatusServiceUnavailable
		}
		return !a.proc.Running()
	}
	if err := proc.Await(60*time.Second, ready); err != nil || !a.proc.Running() {
		a.t.Fatalf("Alertmanager did not start: %v\n%s", err, a.proc.Tail())
	}
}

// Stop ends it as a service manager does, so that it writes down what it has
// notified; stopping twice does nothing.
func (a *Alertmanager) Stop() {
	if a.proc == nil {
		return
	}
	terminate(a.proc, "aler", 10*time.Second)
	a.proc.Kill()
	a.proc = nil
}

// Notification is an alert as a webhook gets it.
type Notification struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
	// Received is when it came.
	Received time.Time `json:"-"`
}

// Webhook records what Alertmanagers notify.
type Webhook struct {
	URL string

	mu  sync.Mutex
	all []Notification
}

// StartWebhook starts a receiver that ends with the test.
func StartWebhook(t testing.TB) *Webhook {
	t.Helper()
	w := &Webhook{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var message struct{ Alerts []Notification }
		if json.NewDecoder(r.Body).Decode(&message) != nil {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, n := range message.Alerts {
			n.Received = time.Now()
			w.all = append(w.all, n)
		}
	}))
	t.Cleanup(server.Close)
	w.URL = server.URL
	return w
}

// Notifications returns what came about alerts of a name, in order.
func (w *Webhook) Notifications(alertname string) []Notification {
	w.mu.Lock()
	defer w.mu.Unlock()
	var some []Notification
	for _, n := range w.all {
		if n.Labels["alertname"] == alertname {
			some = append(some, n)
		}
	}
	return some
}

// Amtool returns the path of amtool, or skips the test.
func Amtool(t testing.TB) string {
	t.Helper()
	root, err := cached("alertmanager")
	if err != nil {
		skip(t, "%v", err)
	}
	return filepath.Join(root, "amtool")
}
