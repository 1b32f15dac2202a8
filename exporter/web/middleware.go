package web

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erlops/erlops/exporter/api"
)

// bodyTimeout is how long a client may take to send a body.
const bodyTimeout = 30 * time.Second

// response watches what a handler answers, for log, metrics and recovery.
type response struct {
	http.ResponseWriter
	status   int // 0 as long as nothing was sent
	bytes    int64
	pattern  string // of the route; empty when there is none
	identity api.Identity
}

func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK { // not 100 Continue and the like
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap is for [http.ResponseController], which streams need.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// notePattern and noteIdentity keep for the log what is found out on the way.
func notePattern(w http.ResponseWriter, pattern string) {
	if r, ok := w.(*response); ok {
		r.pattern = pattern
	}
}

func noteIdentity(w http.ResponseWriter, id api.Identity) {
	if r, ok := w.(*response); ok {
		r.identity = id
	}
}

// ServeHTTP answers everything that comes in.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	watched := &response{ResponseWriter: w}
	start := s.now()
	defer func() { s.account(watched, r, start) }()
	defer s.recover(watched, r)

	policy := s.access.policy()
	setHeaders(w.Header(), policy.file.headers)
	if limiter := policy.file.limiter; limiter != nil && !limiter.Allow() {
		w.Header().Set("Retry-After", "1")
		api.WriteProblem(watched, r, http.StatusTooManyRequests, "There are more requests than rate_limit in the web configuration file allows.")
		return
	}
	if r.ContentLength != 0 {
		// Not for requests without a body: a deadline that passes while an
		// answer is worked out would end it. Not every connection has one.
		_ = http.NewResponseController(w).SetReadDeadline(start.Add(bodyTimeout))
	}
	s.stripPrefix(watched, r)
}

// stripPrefix takes the path of the external URL off. A request without it is
// one from which a proxy has taken it off already, or that came directly.
func (s *Server) stripPrefix(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.prefix != "" && r.URL.Path == s.prefix:
		http.Redirect(w, r, s.prefix+"/", http.StatusPermanentRedirect)
	case s.prefix != "" && strings.HasPrefix(r.URL.Path, s.prefix+"/"):
		http.StripPrefix(s.prefix, http.HandlerFunc(s.dispatch)).ServeHTTP(w, r)
	default:
		s.dispatch(w, r)
	}
}

// setHeaders sets what is right for everything here; the landing page says
// more about itself. The web configuration file has the last word.
func setHeaders(h http.Header, configured map[string]string) {
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	for name, value := range configured {
		h.Set(name, value)
	}
}

// recover turns a panic into a 500 and a log entry. An answer that was begun
// already is broken off, so that the client does not take it for whole.
func (s *Server) recover(w *response, r *http.Request) {
	reason := recover()
	if reason == nil {
		return
	}
	if reason == http.ErrAbortHandler { //nolint:errorlint // compared like net/http does
		panic(reason)
	}
	s.logger.Error("HTTP handler panicked", "method", r.Method, "path", r.URL.Path,
		"reason", fmt.Sprint(reason), "stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	api.WriteProblem(w, r, http.StatusInternalServerError, "The exporter failed; its log says why.")
}

// account counts and logs a request that is done.
func (s *Server) account(w *response, r *http.Request, start time.Time) {
	status := w.status
	if status == 0 { // a handler that writes nothing answers 200
		status = http.StatusOK
	}
	took := s.now().Sub(start)
	pattern := w.pattern
	if pattern == "" {
		pattern = "none" // any path can be asked for: not for a label
	}
	s.metrics.requests.WithLabelValues(pattern, method(r), strconv.Itoa(status)).Inc()
	if w.Header().Get("Content-Type") != "text/event-stream" { // they last as long as they last
		s.metrics.duration.WithLabelValues(pattern).Observe(took.Seconds())
	}
	s.logger.Debug("HTTP request", "method", r.Method, "path", r.URL.Path, "query", shownQuery(r.URL.RawQuery),
		"status", status, "bytes", w.bytes, "duration", took, "remote", r.RemoteAddr, "user", w.identity.Name)
}

// secretParameter is in the names of parameters that may hold a secret. None of
// ours do: they are for headers and bodies, but not everybody knows.
var secretParameter = regexp.MustCompile(`(?i)token|passw|secret|cookie|key|auth|credential|signature`)

// shownQuery is a query for the log.
func shownQuery(query string) string {
	parts := strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == ';' })
	for i, part := range parts {
		name, _, found := strings.Cut(part, "=")
		if plain, err := url.QueryUnescape(name); found && (err != nil || secretParameter.MatchString(plain)) {
			parts[i] = name + "=<secret>"
		}
	}
	return strings.Join(parts, "&")
}

// method is the method if it is a known one: others are not for a label.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	default:
		return "other"
	}
}

// metrics are those of the HTTP side.
type metrics struct {
	requests     *prometheus.CounterVec
	duration     *prometheus.HistogramVec
	authFailures prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "erlang_exporter_http_requests_total",
			Help: "HTTP requests that were answered, by route, method and status code.",
		}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "erlang_exporter_http_request_duration_seconds",
			Help:                            "Time from a HTTP request to the end of its answer, by route; streams do not count.",
			Buckets:                         []float64{.005, .025, .1, .25, .5, 1, 2.5, 5, 10, 30},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"route"}),
		authFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "erlang_exporter_http_authentication_failures_total",
			Help: "HTTP requests with a wrong token, user name or password.",
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.authFailures} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
