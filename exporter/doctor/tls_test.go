package doctor_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/doctor"
	"github.com/erlops/erlops/internal/erltest"
)

// startTLS starts a node that takes connections over TLS only, and returns the
// authorities that know its certificate.
func startTLS(t *testing.T) (*erltest.Node, *x509.CertPool) {
	t.Helper()
	erltest.RequireErlang(t, "ssl")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "node"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	certFile := write("cert.pem", certificate)
	keyFile := write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	options := write("ssl_dist.conf", fmt.Appendf(nil, `[{server, [{certfile, %q}, {keyfile, %q}]}].`, certFile, keyFile))
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(certificate))
	return erltest.Start(t, erltest.Options{
		LongNames: true, Args: []string{"-proto_dist", "inet_tls", "-ssl_dist_optfile", options},
	}), pool
}

func TestNodeWithTLS(t *testing.T) {
	t.Parallel()
	n, authorities := startTLS(t)
	target := targetOf(n)
	requireWrong(t, target, doctor.StepTLS, "answers with TLS and none is configured", "ssl_dist options")

	target.TLS = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	requireWrong(t, target, doctor.StepTLS, "unknown authority", "compare the certificates")

	target.TLS = &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}
	healthy, steps := examine(t, target)
	require.True(t, healthy, "%+v", steps)
	for _, s := range steps {
		require.Equal(t, doctor.OK, s.Status, "%+v", s)
	}
}
