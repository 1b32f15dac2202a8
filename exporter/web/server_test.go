package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api"
)

var testTime = time.Date(2026, 11, 23, 17, 4, 8, 0, time.UTC)

// newTestServer makes a server without listeners; requests are handed to it.
func newTestServer(t *testing.T, o Options) *Server {
	t.Helper()
	if o.Now == nil {
		o.Now = func() time.Time { return testTime }
	}
	s, err := newServer(o)
	require.NoError(t, err)
	return s
}

// ask hands a request to a server, as if it had come to 127.0.0.1.
func ask(s http.Handler, method, target string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "localhost:9198"
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9198}))
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func bearer(token string) func(*http.Request) { return header("Authorization", "Bearer "+token) }

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

func requireProblem(t *testing.T, w *httptest.ResponseRecorder, status int, detail string) {
	t.Helper()
	require.Equal(t, status, w.Code, w.Body.String())
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	var p api.Problem
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
	require.Equal(t, status, p.Status)
	require.Equal(t, detail, p.Detail)
}

// syncBuffer is a buffer that a server may write to while a test reads it.
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

func debugLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func text(body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
}

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	var notReady error
	s := newTestServer(t, Options{Ready: func() error { return notReady }})
	require.Equal(t, "erl-exporter is healthy.\n", ask(s, "GET", "/-/healthy").Body.String())
	require.Equal(t, "erl-exporter is ready.\n", ask(s, "GET", "/-/ready").Body.String())
	require.Equal(t, http.StatusOK, ask(s, "HEAD", "/-/ready").Code)

	notReady = errors.New("no discovery has answered yet")
	requireProblem(t, ask(s, "GET", "/-/ready"), 503, "The exporter is not ready: no discovery has answered yet.")
	require.Equal(t, http.StatusOK, ask(s, "GET", "/-/healthy").Code)
}

func TestReload(t *testing.T) {
	t.Parallel()
	auth := Auth{UnauthenticatedRole: "operate"}
	reloads := 0
	var fail error
	s := newTestServer(t, Options{Auth: auth, Reload: func(ctx context.Context) error {
		reloads++
		require.NoError(t, ctx.Err())
		return fail
	}})
	w := ask(s, "POST", "/-/reload", func(r *http.Request) {
		gone, cancel := context.WithCancel(r.Context())
		cancel() // the client did not wait
		*r = *r.WithContext(gone)
	})
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "The configuration was loaded.\n", w.Body.String())
	fail = errors.New(`targets[0].node: "a@b@c" is no node name`)
	requireProblem(t, ask(s, "POST", "/-/reload"), 500,
		`The old configuration stays in force: targets[0].node: "a@b@c" is no node name`)
	requireProblem(t, ask(s, "GET", "/-/reload"), 405, "GET is not possible here, only POST.")
	require.Equal(t, 2, reloads)
	requireProblem(t, ask(newTestServer(t, Options{Auth: auth}), "POST", "/-/reload"), 404,
		"There is no configuration file to load anew.")
}

func TestConfig(t *testing.T) {
	t.Parallel()
	var fail error
	var log bytes.Buffer
	s := newTestServer(t, Options{Logger: debugLog(&log), Config: func() ([]byte, error) { return []byte("name: x\n"), fail }})
	w := ask(s, "GET", "/config")
	require.Equal(t, "name: x\n", w.Body.String())
	require.Equal(t, "text/plain; charset=utf-8", w.Header().Get("Content-Type"))
	fail = errors.New("cannot marshal")
	requireProblem(t, ask(s, "GET", "/config"), 500, "The configuration cannot be shown; the log says why.")
	require.Contains(t, log.String(), "cannot marshal")
	requireProblem(t, ask(newTestServer(t, Options{}), "GET", "/config"), 404, "There is no configuration to show.")
}

func TestHandlersThatAreGiven(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, Options{
		Metrics: text("own"), AllNodes: text("all"), Probe: text("one"), ServiceDiscovery: text("sd"),
	})
	for path, want := range map[string]string{"/metrics": "own", "/metrics/nodes": "all", "/probe?target=a@b": "one", "/sd": "sd"} {
		require.Equal(t, want, ask(s, "GET", path).Body.String())
	}
	requireProblem(t, ask(newTestServer(t, Options{}), "GET", "/probe"), 404, "There is nothing at this path; / shows what there is.")
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, Options{})
	for _, path := range []string{"/nope", "/api/v1/nodes/a@b/explode", "/metrics/nodes/x", "/%2e%2e/etc/passwd", "/-/"} {
		requireProblem(t, ask(s, "GET", path), 404, "There is nothing at this path; / shows what there is.")
	}
	w := ask(s, "DELETE", "/config")
	requireProblem(t, w, 405, "DELETE is not possible here, only GET, HEAD.")
	require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
}

func TestPanics(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := newTestServer(t, Options{
		Logger: debugLog(&log),
		Probe:  http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oh no") }),
		ServiceDiscovery: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			panic("too late")
		}),
		AllNodes: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
	})
	requireProblem(t, ask(s, "GET", "/probe"), 500, "The exporter failed; its log says why.")
	require.Contains(t, log.String(), `reason="oh no" stack=`)
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { ask(s, "GET", "/sd") }, "an answer that was begun is broken off")
	require.Contains(t, log.String(), "too late")
	log.Reset()
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { ask(s, "GET", "/metrics/nodes") })
	require.NotContains(t, log.String(), "panicked")
}

func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "web.yml")
	require.NoError(t, os.WriteFile(file, []byte("http_server_config:\n  headers:\n    X-Frame-Options: sameorigin\n    Strict-Transport-Security: max-age=60\n"), 0o600))
	for name, s := range map[string]*Server{"default": newTestServer(t, Options{}), "configured": newTestServer(t, Options{ConfigFile: file})} {
		for _, path := range []string{"/", "/api", "/nope", "/-/healthy"} {
			h := ask(s, "GET", path).Header()
			require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), path)
			require.Equal(t, "no-referrer", h.Get("Referrer-Policy"))
			require.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'")
			if name == "configured" {
				require.Equal(t, "sameorigin", h.Get("X-Frame-Options"))
				require.Equal(t, "max-age=60", h.Get("Strict-Transport-Security"))
			} else {
				require.Equal(t, "DENY", h.Get("X-Frame-Options"))
			}
		}
	}
}

func TestExternalURL(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, Options{ExternalURL: "https://mon.example.org/erl/", Metrics: text("own")})
	for _, path := range []string{"/metrics", "/erl/metrics"} {
		require.Equal(t, "own", ask(s, "GET", path).Body.String(), path)
	}
	require.Equal(t, "/erl/", ask(s, "GET", "/erl").Header().Get("Location"))
	require.Contains(t, ask(s, "GET", "/erl/").Body.String(), "erl-exporter")
	requireProblem(t, ask(s, "GET", "/erlang"), 404, "There is nothing at this path; / shows what there is.")

	for _, wrong := range []string{"mon.example.org", "ftp://x/", "http://", "http://u:SECRET@h/", "http://h/?q", "http://h/#f", "://"} {
		_, err := newServer(Options{ExternalURL: wrong})
		require.ErrorContains(t, err, "external URL", wrong)
		require.NotContains(t, err.Error(), "SECRET")
	}
}

func TestAccessLogAndMetrics(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	registry := prometheus.NewRegistry()
	s := newTestServer(t, Options{
		Logger: debugLog(&log), Registerer: registry, Probe: text("12345"),
		Auth: Auth{Tokens: []Token{{"prometheus", "read", "0123456789abcdef"}}},
	})
	ask(s, "GET", "/probe?target=a@b", bearer("0123456789abcdef"))
	require.Contains(t, log.String(), `level=DEBUG msg="HTTP request" method=GET path=/probe query="target=a@b" status=200 bytes=5 `+
		`duration=0s remote=192.0.2.1:1234 user=prometheus`)
	for range 20 {
		ask(s, "GET", "/probe", bearer("WRONG-BUT-SECRET"))
	}
	ask(s, "BREW", "/coffee")
	require.NotContains(t, log.String(), "0123456789abcdef")
	require.NotContains(t, log.String(), "WRONG-BUT-SECRET")
	require.LessOrEqual(t, strings.Count(log.String(), "authentication failed"), 6, "guesses do not fill the log")
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP erlang_exporter_http_authentication_failures_total HTTP requests with a wrong token, user name or password.
# TYPE erlang_exporter_http_authentication_failures_total counter
erlang_exporter_http_authentication_failures_total 20
# HELP erlang_exporter_http_requests_total HTTP requests that were answered, by route, method and status code.
# TYPE erlang_exporter_http_requests_total counter
erlang_exporter_http_requests_total{code="200",method="GET",route="/probe"} 1
erlang_exporter_http_requests_total{code="401",method="GET",route="/probe"} 20
erlang_exporter_http_requests_total{code="404",method="other",route="none"} 1
`), "erlang_exporter_http_requests_total", "erlang_exporter_http_authentication_failures_total"))
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)

	_, err = newServer(Options{Registerer: registry})
	require.Error(t, err, "registered twice")
}
