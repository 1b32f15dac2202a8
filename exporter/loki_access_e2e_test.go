//go:build e2e

package exporter_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

const (
	undelivered = "entries cannot be delivered; they wait"
	deliveredOn = "entries are delivered again"
)

// gateway is what stands before a Loki of several tenants: it lets only those
// through who say who they are and push to their own tenant.
type gateway struct {
	url         string
	certificate []byte
	// authorization is the header that it wants, tenant the one that it lets
	// through.
	authorization, tenant atomic.Value
}

func startGateway(t *testing.T, loki *erltest.Loki, authorization, tenant string) *gateway {
	t.Helper()
	g := &gateway{}
	g.authorization.Store(authorization)
	g.tenant.Store(tenant)
	target, err := url.Parse(loki.URL)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{TLSClientConfig: erltest.Trusting(loki.Certificate)},
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != g.authorization.Load():
			http.Error(w, "who are you?", http.StatusUnauthorized)
		case r.Header.Get("X-Scope-OrgID") != g.tenant.Load():
			http.Error(w, "not your tenant", http.StatusForbidden)
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	g.url = server.URL
	g.certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return g
}

// TestLokiAccess has a Loki that speaks TLS and serves several tenants, by itself
// and behind a gateway. Entries are under their tenant and no other; for as long
// as a certificate, a password, a token or a tenant is wrong they wait, which is
// told once, and then all are there.
func TestLokiAccess(t *testing.T) {
	t.Parallel()
	loki := erltest.StartLoki(t, erltest.LokiOptions{Tenants: true, TLS: true})
	stranger, _ := erltest.Certificate(t)
	// file has what the exporter is to be told, outside of its own folder.
	file := func(t *testing.T, text []byte) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "secret")
		require.NoError(t, os.WriteFile(path, text, 0o600))
		return path
	}
	// change replaces it at once: nobody reads half of it.
	change := func(t *testing.T, path string, text []byte) {
		t.Helper()
		require.NoError(t, os.WriteFile(path+".new", text, 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	t.Run("certificate", func(t *testing.T) {
		t.Parallel()
		ca := file(t, loki.Certificate)
		s := startBeforeLoki(t, loki.Under("certificate"), loki.URL, ", tenant_id: certificate, tls_config: {ca_file: '"+ca+"'}")
		s.requireAwaited("x509: certificate signed by unknown authority",
			func() { change(t, ca, stranger) }, func() { change(t, ca, loki.Certificate) })
	})
	t.Run("password", func(t *testing.T) {
		t.Parallel()
		g := startGateway(t, loki, "Basic ZXJsOmh1bnRlcjI=", "password") // erl:hunter2
		password := file(t, []byte("hunter2"))
		s := startBeforeLoki(t, loki.Under("password"), g.url, ", tenant_id: password, tls_config: {ca_file: '"+file(t, g.certificate)+
			"'}, basic_auth: {username: erl, password_file: '"+password+"'}")
		s.requireAwaited("401 Unauthorized: who are you?",
			func() { change(t, password, []byte("hunter3")) }, func() { change(t, password, []byte("hunter2")) })
	})
	t.Run("token", func(t *testing.T) {
		t.Parallel()
		g := startGateway(t, loki, "Bearer hunter2", "token")
		token := file(t, []byte("hunter2"))
		s := startBeforeLoki(t, loki.Under("token"), g.url, ", tenant_id: token, tls_config: {ca_file: '"+file(t, g.certificate)+
			"'}, authorization: {credentials_file: '"+token+"'}")
		s.requireAwaited("401 Unauthorized: who are you?",
			func() { g.authorization.Store("Bearer hunter3") }, func() { change(t, token, []byte("hunter3")) })
	})
	t.Run("tenant", func(t *testing.T) {
		t.Parallel()
		g := startGateway(t, loki, "", "tenant")
		s := startBeforeLoki(t, loki.Under("tenant"), g.url, ", tenant_id: tenant, tls_config: {ca_file: '"+file(t, g.certificate)+"'}")
		s.requireAwaited("403 Forbidden: not your tenant",
			func() { g.tenant.Store("another") }, func() { g.tenant.Store("tenant") })
	})
	t.Run("no tenant", func(t *testing.T) {
		t.Parallel()
		access := ", tls_config: {ca_file: '" + file(t, loki.Certificate) + "'}"
		s := startBeforeLoki(t, loki.Under("late"), loki.URL, access+", tenant_id: late")
		s.requireAwaited("401 Unauthorized: no org id",
			func() { s.restart(access) }, func() { s.restart(access + ", tenant_id: late") })
	})
}

func (s *toLoki) restart(extra string) {
	s.t.Helper()
	s.p.Stop()
	s.extra = extra
	s.startExporter()
}

// requireAwaited logs before something is wrong, while it is, and afterwards, and
// holds that all is in Loki in the end, under the tenant alone, and what the
// exporter tells of it.
func (s *toLoki) requireAwaited(why string, wrong, right func()) {
	t := s.t
	t.Helper()
	const retries = `erlang_exporter_push_errors_total{sink="loki"}`
	s.log(0, 100)
	s.requireAll(100)
	require.NotContains(t, s.p.Log(), undelivered)
	wrong()
	before := sampleOrZero(s.p, retries)
	s.log(100, 200)
	require.Eventually(t, func() bool { return sampleOrZero(s.p, retries) >= before+2 }, time.Minute, 50*time.Millisecond)
	require.GreaterOrEqual(t, s.p.Sample(`erlang_exporter_log_queue_entries{sink="loki"}`), float64(100))
	told := s.p.Log()
	require.Equal(t, 1, strings.Count(told, undelivered), told)
	require.Contains(t, told, why)
	right()
	s.log(200, 300)
	s.requireAll(300)
	require.Eventually(t, func() bool {
		return s.p.Sample(`erlang_exporter_log_queue_entries{sink="loki"}`) == 0
	}, 20*time.Second, 50*time.Millisecond)
	told = s.p.Log()
	// A restart begins a new log, in which nothing was ever wrong.
	require.Equal(t, strings.Count(told, undelivered), strings.Count(told, deliveredOn), told)
	require.LessOrEqual(t, strings.Count(told, undelivered), 1, told)
	require.NotContains(t, told, "hunter")
	require.NotContains(t, told, "refuses")
	require.NotContains(t, s.p.Get("/metrics").Body, "erlang_exporter_log_lines_dropped_total{")

	others, err := s.loki.Under("nobody").Query(`{source=~".+"}`, s.begun)
	require.NoError(t, err)
	require.Empty(t, others)
	// Whom the exporter asks for what it has forgotten itself.
	end := time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
	require.Len(t, queryRange(t, s.p, query{"source": {"logger"}, "text": {"numbered"}, "limit": {"1000"}, "end": {end}}), 300)
}
