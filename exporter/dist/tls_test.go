package dist_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/etf"
	"github.com/erlops/erlops/internal/erltest"
)

// certificate makes a self-signed certificate for a host, as files and as the
// pool that trusts it.
func certificate(t testing.TB, host string) (certFile, keyFile string, trust *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	trust = x509.NewCertPool()
	trust.AddCert(parsed)
	return certFile, keyFile, trust
}

func TestTLS(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "ssl")
	cert, key, trust := certificate(t, "127.0.0.1")
	options := filepath.Join(t.TempDir(), "ssl_dist.conf")
	require.NoError(t, os.WriteFile(options, fmt.Appendf(nil,
		`[{server, [{certfile, %q}, {keyfile, %q}]}, {client, [{verify, verify_none}]}].`, cert, key), 0o600))
	peer := erltest.Start(t, erltest.Options{
		LongNames: true, Args: []string{"-proto_dist", "inet_tls", "-ssl_dist_optfile", options},
	})
	n := start(t, dist.Options{})
	to := target(peer)

	t.Run("plaintext", func(t *testing.T) {
		_, err := n.Dial(t.Context(), to)
		requireKind(t, err, dist.KindTLS, dist.ErrTLS, "answers with TLS")
	})
	t.Run("unknown authority", func(t *testing.T) {
		to := to
		to.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		_, err := n.Dial(t.Context(), to)
		requireKind(t, err, dist.KindTLS, dist.ErrTLS, "unknown authority")
	})
	t.Run("certificate of another host", func(t *testing.T) {
		to := to
		to.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trust, ServerName: "elsewhere"}
		_, err := n.Dial(t.Context(), to)
		requireKind(t, err, dist.KindTLS, dist.ErrTLS, "elsewhere")
	})
	to.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trust}
	c := dial(t, n, to)
	big := bytes.Repeat([]byte("tls"), 1<<19)
	v, err := c.Call(t.Context(), "erlang", "iolist_to_binary", etf.List{big})
	require.NoError(t, err)
	require.True(t, bytes.Equal(big, v.([]byte)))
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { return peer.Eval(t, "nodes(connected)") == "[]" }, 5*time.Second, 10*time.Millisecond)
}

// TestTLSNeverPlaintext looks at what a TLS target gets on the wire.
func TestTLSNeverPlaintext(t *testing.T) {
	t.Parallel()
	const tlsHandshake = 22
	first := make(chan []byte, 10)
	address := listen(t, func(c net.Conn) {
		b := make([]byte, 3)
		if _, err := io.ReadFull(c, b); err == nil {
			first <- b
		}
	})
	n := start(t, dist.Options{DialTimeout: 2 * time.Second})
	to := dist.Target{Node: fakeName, Cookie: fakeCookie, Address: address, TLS: &tls.Config{MinVersion: tls.VersionTLS12}}
	for range 3 {
		_, err := n.Dial(t.Context(), to)
		requireKind(t, err, dist.KindTLS, dist.ErrTLS)
		require.Equal(t, byte(tlsHandshake), (<-first)[0])
	}
	require.Empty(t, first)
}
