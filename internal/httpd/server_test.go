package httpd

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

	"github.com/erlops/erlops/internal/rest"
)

var testTime = time.Date(2026, 11, 23, 17, 4, 8, 0, time.UTC)

// newTestServer makes a server without listeners; requests are handed to it.
func newTestServer(t *testing.T, o Options) *Server {
	t.Helper()
	if o.Now == nil {
		o.Now = func() time.Time { return testTime }
	}
	s, err := newServer(complete(o))
	require.NoError(t, err)
	return s
}

// complete fills in what every program says.
func complete(o Options) Options {
	o.Program, o.Namespace = "erl-test", "erl_test"
	if len(o.ListenAddresses) == 0 {
		o.ListenAddresses = []string{"127.0.0.1:0"}
	}
	return o
}

// route is one for the tests, with the least role.
func route(pattern string, h http.Handler) rest.Route {
	return rest.Route{Method: http.MethodGet, Pattern: pattern, Role: rest.RoleRead, Handler: h, Summary: "Test"}
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
	var p rest.Problem
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
	require.Equal(t, "erl-test is healthy.\n", ask(s, "GET", "/-/healthy").Body.String())
	require.Equal(t, "erl-test is ready.\n", ask(s, "GET", "/-/ready").Body.String())
	require.Equal(t, http.StatusOK, ask(s, "HEAD", "/-/ready").Code)

	notReady = errors.New("no discovery has answered yet")
	requireProblem(t, ask(s, "GET", "/-/ready"), 503, "The server is not ready: no discovery has answered yet.")
	require.Equal(t, http.StatusOK, ask(s, "GET", "/-/healthy").Code)
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

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, Options{})
	for _, path := range []string{"/nope", "/api/v1/nodes/a@b/explode", "/metrics/x", "/%2e%2e/etc/passwd", "/-/"} {
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
		Routes: []rest.Route{
			route("/probe", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oh no") })),
			route("/sd", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "half")
				panic("too late")
			})),
			route("/abort", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })),
		},
	})
	requireProblem(t, ask(s, "GET", "/probe"), 500, "The server failed; its log says why.")
	require.Contains(t, log.String(), `reason="oh no" stack=`)
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { ask(s, "GET", "/sd") }, "an answer that was begun is broken off")
	require.Contains(t, log.String(), "too late")
	log.Reset()
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { ask(s, "GET", "/abort") })
	require.NotContains(t, log.String(), "panicked")
}

func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "httpd.yml")
	require.NoError(t, os.WriteFile(file, []byte("http_server_config:\n  headers:\n    X-Frame-Options: sameorigin\n    Strict-Transport-Security: max-age=60\n"), 0o600))
	for name, s := range map[string]*Server{"default": newTestServer(t, Options{}), "configured": newTestServer(t, Options{ConfigFile: file})} {
		for _, path := range []string{"/", "/nope", "/-/healthy"} {
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
	require.Contains(t, ask(s, "GET", "/erl/").Body.String(), "erl-test serves")
	requireProblem(t, ask(s, "GET", "/erlang"), 404, "There is nothing at this path; / shows what there is.")

	for _, wrong := range []string{"mon.example.org", "ftp://x/", "http://", "http://u:SECRET@h/", "http://h/?q", "http://h/#f", "://"} {
		_, err := newServer(complete(Options{ExternalURL: wrong}))
		require.ErrorContains(t, err, "external URL", wrong)
		require.NotContains(t, err.Error(), "SECRET")
	}
}

func TestAccessLogAndMetrics(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	registry := prometheus.NewRegistry()
	s := newTestServer(t, Options{
		Logger: debugLog(&log), Registerer: registry, Routes: []rest.Route{route("/probe", text("12345"))},
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
# HELP erl_test_http_authentication_failures_total HTTP requests with a wrong token, user name or password.
# TYPE erl_test_http_authentication_failures_total counter
erl_test_http_authentication_failures_total 20
# HELP erl_test_http_requests_total HTTP requests that were answered, by route, method and status code.
# TYPE erl_test_http_requests_total counter
erl_test_http_requests_total{code="200",method="GET",route="/probe"} 1
erl_test_http_requests_total{code="401",method="GET",route="/probe"} 20
erl_test_http_requests_total{code="404",method="other",route="none"} 1
`), "erl_test_http_requests_total", "erl_test_http_authentication_failures_total"))
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)

	_, err = newServer(complete(Options{Registerer: registry}))
	require.Error(t, err, "registered twice")
}
