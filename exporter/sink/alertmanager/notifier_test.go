package alertmanager_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/sink/alertmanager"
)

// alerts is a Source that a test changes.
type alerts struct {
	mu       sync.Mutex
	all      map[string]*alertmanager.Alert
	ended    []*alertmanager.Alert
	watchers map[chan struct{}]bool
}

func newAlerts() *alerts {
	return &alerts{all: map[string]*alertmanager.Alert{}, watchers: map[chan struct{}]bool{}}
}

func (a *alerts) Alerts() map[string]*alertmanager.Alert {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.all)
}

func (a *alerts) Changed() (<-chan struct{}, func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := make(chan struct{}, 1)
	a.watchers[w] = true
	return w, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.watchers, w)
	}
}

func (a *alerts) Ended(time.Time) []*alertmanager.Alert { return a.ended }

// set makes an alert fire, or end when it is nil.
func (a *alerts) set(id string, alert *alertmanager.Alert) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.all, id)
	if alert != nil {
		a.all[id] = alert
	}
	for w := range a.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

func alert(id, severity string) *alertmanager.Alert {
	return &alertmanager.Alert{
		ID: id, StartsAt: time.Now(), Labels: map[string]string{"alertname": id, "node": "a@h", "severity": severity},
		Annotations: map[string]string{"summary": "quotes \" and\nnew lines, żółć"},
	}
}

// post is an alert as it arrived.
type post struct {
	Labels           map[string]string
	StartsAt, EndsAt time.Time
	at               time.Time
}

func (p post) resolved() bool { return !p.EndsAt.After(p.at) }

// server is an Alertmanager of our own that answers what a test wants.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	posts []post
	fail  func(w http.ResponseWriter, alerts []post) bool
	calls atomic.Int64
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		body, _ := io.ReadAll(r.Body)
		var all []post
		_ = json.Unmarshal(body, &all)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.fail != nil && s.fail(w, all) {
			return
		}
		for _, p := range all {
			p.at = time.Now()
			s.posts = append(s.posts, p)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) setFail(f func(http.ResponseWriter, []post) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

func (s *server) got() []post {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]post{}, s.posts...)
}

func endpoint(t *testing.T, text string) alertmanager.Endpoint {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	return alertmanager.Endpoint{URL: u, Timeout: 2 * time.Second}
}

// run runs a notifier until the test ends or stop is called.
func run(t *testing.T, o alertmanager.Options) (stop func()) {
	t.Helper()
	n, err := alertmanager.New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, 30*time.Second, 5*time.Millisecond, what)
}

func TestRepeatedWithinItsEnd(t *testing.T) {
	t.Parallel()
	s, a := newServer(t), newAlerts()
	a.set("x", alert("x", "minor"))
	run(t, alertmanager.Options{Endpoints: []alertmanager.Endpoint{endpoint(t, s.URL)}, Source: a, Interval: 200 * time.Millisecond})
	eventually(t, func() bool { return len(s.got()) >= 5 }, "it is not posted again")
	posts := s.got()
	for i := range posts {
		require.False(t, posts[i].resolved())
		require.Equal(t, posts[0].StartsAt, posts[i].StartsAt)
		require.WithinDuration(t, posts[i].at.Add(5*200*time.Millisecond), posts[i].EndsAt, 400*time.Millisecond)
	}
}

func TestEveryAlertmanagerIsToldEverything(t *testing.T) {
	t.Parallel()
	a, slow := newAlerts(), newServer(t)
	slow.setFail(func(http.ResponseWriter, []post) bool {
		time.Sleep(time.Second)
		return false
	})
	one, two := newServer(t), newServer(t)
	var endpoints []alertmanager.Endpoint
	for _, s := range []*server{slow, one, two} {
		endpoints = append(endpoints, endpoint(t, s.URL))
	}
	run(t, alertmanager.Options{Endpoints: endpoints, Source: a})
	for i := range 700 {
		a.set(fmt.Sprint(i), alert(fmt.Sprint(i), "minor"))
	}
	for _, s := range []*server{one, two, slow} {
		eventually(t, func() bool {
			ids := map[string]bool{}
			for _, p := range s.got() {
				ids[p.Labels["alertname"]] = true
			}
			return len(ids) == 700
		}, "one of them was not told all")
	}
}

func TestSeverityChangesInOrder(t *testing.T) {
	t.Parallel()
	s, a := newServer(t), newAlerts()
	a.set("x", alert("x", "minor"))
	run(t, alertmanager.Options{Endpoints: []alertmanager.Endpoint{endpoint(t, s.URL)}, Source: a})
	eventually(t, func() bool { return len(s.got()) == 1 }, "")
	a.set("x", alert("x", "critical"))
	eventually(t, func() bool { return len(s.got()) == 3 }, "")
	a.set("x", nil)
	eventually(t, func() bool { return len(s.got()) == 4 }, "")
	var got []string
	for _, p := range s.got() {
		got = append(got, fmt.Sprint(p.Labels["severity"], " ", p.resolved()))
	}
	require.Equal(t, []string{"minor false", "minor true", "critical false", "critical true"}, got)
}

// A severity that comes back must not be ended by what is left of before.
func TestBackAgainBeforeItWasTold(t *testing.T) {
	t.Parallel()
	s, a := newServer(t), newAlerts()
	run(t, alertmanager.Options{Endpoints: []alertmanager.Endpoint{endpoint(t, s.URL)}, Source: a, Interval: time.Second})
	a.set("x", alert("x", "minor"))
	eventually(t, func() bool { return len(s.got()) == 1 }, "")
	s.setFail(func(w http.ResponseWriter, _ []post) bool {
		http.Error(w, "no", http.StatusInternalServerError)
		return true
	})
	a.set("x", nil)
	calls := s.calls.Load()
	eventually(t, func() bool { return s.calls.Load() > calls }, "")
	a.set("x", alert("x", "minor"))
	s.setFail(nil)
	eventually(t, func() bool { return len(s.got()) >= 2 }, "")
	for _, p := range s.got() {
		require.False(t, p.resolved())
	}
}

// TestRefusals has an Alertmanager that answers errors: one log line when it
// begins and one when it ends, and nothing is lost.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(http.ResponseWriter){
		"400": func(w http.ResponseWriter) { http.Error(w, "no way", http.StatusBadRequest) },
		"429": func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "later", http.StatusTooManyRequests)
		},
		"500": func(w http.ResponseWriter) { http.Error(w, "oops", http.StatusInternalServerError) },
		"503": func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		// Slower than a request may take.
		"no answer within 2s": func(http.ResponseWriter) { time.Sleep(2500 * time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, a := newServer(t), newAlerts()
			s.setFail(func(w http.ResponseWriter, _ []post) bool {
				answer(w)
				return true
			})
			registry, log := prometheus.NewRegistry(), &syncBuffer{}
			m, err := alertmanager.NewMetrics(registry)
			require.NoError(t, err)
			a.set("x", alert("x", "minor"))
			run(t, alertmanager.Options{
				Endpoints: []alertmanager.Endpoint{endpoint(t, s.URL)}, Source: a, Metrics: m, Interval: time.Second,
				Logger: slog.New(slog.NewTextHandler(log, nil)),
			})
			eventually(t, func() bool { return s.calls.Load() >= 3 }, "it is not tried again")
			require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
			require.Contains(t, log.String(), name)
			require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(fmt.Sprintf(`
# HELP erlang_exporter_alertmanager_up Whether the last request to an Alertmanager was successful.
# TYPE erlang_exporter_alertmanager_up gauge
erlang_exporter_alertmanager_up{alertmanager=%q} 0
`, s.URL)), "erlang_exporter_alertmanager_up"))
			s.setFail(nil)
			eventually(t, func() bool { return strings.Contains(log.String(), "delivered again") }, "")
			require.Equal(t, 2, strings.Count(log.String(), "\n"), log.String())
			require.NotEmpty(t, s.got())
		})
	}
}

// One alert that is refused costs no other.
func TestOneAlertIsRefused(t *testing.T) {
	t.Parallel()
	s, a := newServer(t), newAlerts()
	run(t, alertmanager.Options{Endpoints: []alertmanager.Endpoint{endpoint(t, s.URL)}, Source: a})
	a.set("first", alert("first", "minor"))
	eventually(t, func() bool { return len(s.got()) == 1 }, "")
	s.setFail(func(w http.ResponseWriter, all []post) bool {
		for _, p := range all {
			if p.Labels["alertname"] == "bad" {
				http.Error(w, "bad label", http.StatusBadRequest)
				return true
			}
		}
		return false
	})
	for i := range 30 {
		a.set(fmt.Sprint(i), alert(fmt.Sprint(i), "minor"))
	}
	a.set("bad", alert("bad", "minor"))
	eventually(t, func() bool { return len(s.got()) >= 31 }, "the others do not get through")
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(tls.Close)
	for name, address := range map[string]string{"nobody": "http://127.0.0.1:1", "certificate": tls.URL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, log := newAlerts(), &syncBuffer{}
			a.set("x", alert("x", "minor"))
			stop := run(t, alertmanager.Options{
				Endpoints: []alertmanager.Endpoint{endpoint(t, address)}, Source: a, Logger: slog.New(slog.NewTextHandler(log, nil)),
			})
			eventually(t, func() bool { return strings.Contains(log.String(), "not delivered") }, "")
			stop()
			require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
		})
	}
}

func TestEndedBeforeTheRestart(t *testing.T) {
	t.Parallel()
	s, a := newServer(t), newAlerts()
	a.ended = []*alertmanager.Alert{alert("gone", "minor"), alert("x", "minor")}
	a.set("x", alert("x", "minor"))
	run(t, alertmanager.Options{Endpoints: []alertmanager.Endpoint{endpoint(t, s.URL)}, Source: a})
	eventually(t, func() bool { return len(s.got()) >= 2 }, "")
	resolved := map[string]bool{}
	for _, p := range s.got() {
		resolved[p.Labels["alertname"]] = p.resolved()
	}
	require.Equal(t, map[string]bool{"gone": true, "x": false}, resolved, "what fires again is not ended")
}

// TestSilenceIsRenewed before it ends, however seldom alerts are repeated.
func TestSilenceIsRenewed(t *testing.T) {
	t.Parallel()
	type silence struct {
		ID     string
		EndsAt time.Time
	}
	var mu sync.Mutex
	var set []silence
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/silences") && r.Method == http.MethodPost:
			var s silence
			_ = json.NewDecoder(r.Body).Decode(&s)
			mu.Lock()
			defer mu.Unlock()
			set = append(set, s)
			fmt.Fprint(w, `{"silenceID": "one"}`)
		case strings.HasSuffix(r.URL.Path, "/silences"):
			fmt.Fprint(w, "[]")
		}
	}))
	t.Cleanup(server.Close)
	a, x := newAlerts(), alert("x", "minor")
	x.Silence = &alertmanager.Silence{User: "jane", Comment: "mine", Matchers: map[string]string{"alertname": "x"}}
	a.set("x", x)
	run(t, alertmanager.Options{
		Endpoints: []alertmanager.Endpoint{endpoint(t, server.URL)}, Source: a, Interval: time.Hour, Silences: true, SilenceFor: 2 * time.Second,
	})
	sets := func() []silence {
		mu.Lock()
		defer mu.Unlock()
		return append([]silence{}, set...)
	}
	eventually(t, func() bool { return len(sets()) >= 3 }, "the silence is not renewed")
	all := sets()
	require.Empty(t, all[0].ID)
	for i, s := range all[1:] {
		require.Equal(t, "one", s.ID, "the same silence is renewed")
		require.True(t, s.EndsAt.After(all[i].EndsAt))
	}
}

func TestMetricsAreWellNamed(t *testing.T) {
	t.Parallel()
	s, a, registry := newServer(t), newAlerts(), prometheus.NewRegistry()
	m, err := alertmanager.NewMetrics(registry)
	require.NoError(t, err)
	a.set("x", alert("x", "minor"))
	run(t, alertmanager.Options{Endpoints: []alertmanager.Endpoint{endpoint(t, s.URL)}, Source: a, Metrics: m})
	eventually(t, func() bool { return len(s.got()) == 1 }, "")
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
}

// syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
