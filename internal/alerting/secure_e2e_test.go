//go:build e2e

package alerting

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/exportertest"
)

// certificate writes a certificate for 127.0.0.1 and its key.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "alertmanager"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return certFile, keyFile
}

// TestSecureAlertmanager has an Alertmanager with TLS and passwords, one with a
// certificate that nobody trusts and one that is not there, at the same time.
func TestSecureAlertmanager(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("the-password"), bcrypt.MinCost)
	require.NoError(t, err)
	am := erltest.StartAlertmanager(t, "0.31", fmt.Sprintf("tls_server_config: {cert_file: %s, key_file: %s}\nbasic_auth_users: {erl: %q}\n", cert, key, hash))
	secure := strings.Replace(am.URL, "http://", "https://", 1)
	stranger := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(stranger.Close)
	var authorization atomic.Value
	bearer := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { authorization.Store(r.Header.Get("Authorization")) }))
	t.Cleanup(bearer.Close)

	n := erltest.Start(t, erltest.Options{})
	n.Eval(t, "{ok, _} = application:ensure_all_started(sasl), alarm_handler:set_alarm({hot, []})")
	p := exportertest.Start(t, exportertest.Options{Config: config(t, fmt.Sprintf(`
alertmanager:
  repeat: 10s
  targets:
  - {url: %q, tls_config: {ca_file: %s}, basic_auth: {username: erl, password: the-password}}
  - {url: %q}
  - {url: "http://127.0.0.1:1/am"}
  - {url: %q, authorization: {credentials: the-token}}
`, secure, cert, stranger.URL, bearer.URL), n)})
	p.AwaitUp(n.Name, patience)
	require.Equal(t, "firing", awaitNotified(t, am, "hot", 1).Status)
	require.Eventually(t, func() bool { return strings.Count(p.Log(), "alerts are not delivered") == 2 }, patience, 50*time.Millisecond, p.Log)
	require.Contains(t, p.Log(), "certificate")
	require.Contains(t, p.Log(), "connection refused")
	require.Equal(t, "Bearer the-token", authorization.Load())
	for _, secret := range []string{"the-password", "the-token"} {
		require.NotContains(t, p.Log()+p.Get("/config").Body+p.Get("/metrics").Body, secret)
	}
	require.Equal(t, 0.0, p.Sample(`erlang_exporter_alertmanager_up{alertmanager="http://127.0.0.1:1/am"}`))
}
