package httpd

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
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// certificates are those of a test: files for a server, and what a client needs.
type certificates struct {
	dir    string
	ca     *x509.Certificate
	caKey  *ecdsa.PrivateKey
	pool   *x509.CertPool
	client tls.Certificate
}

func newCertificates(t *testing.T) *certificates {
	t.Helper()
	c := &certificates{dir: t.TempDir(), pool: x509.NewCertPool()}
	var err error
	c.caKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &c.caKey.PublicKey, c.caKey)
	require.NoError(t, err)
	c.ca, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	c.pool.AddCert(c.ca)
	c.write(t, "ca.pem", "CERTIFICATE", der)
	c.issueServer(t, 2)
	certificate, key := c.issue(t, 3)
	c.client = tls.Certificate{Certificate: [][]byte{certificate}, PrivateKey: key}
	return c
}

// issueServer writes server.pem and server.key with another serial number.
func (c *certificates) issueServer(t *testing.T, serial int64) {
	t.Helper()
	certificate, key := c.issue(t, serial)
	der, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	c.write(t, "server.pem", "CERTIFICATE", certificate)
	c.write(t, "server.key", "EC PRIVATE KEY", der)
}

func (c *certificates) issue(t *testing.T, serial int64) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.ca, &key.PublicKey, c.caKey)
	require.NoError(t, err)
	return der, key
}

func (c *certificates) write(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	block := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, name), block, 0o600))
}

// writeTLS writes a web configuration file; certificates are named relative
// to it.
func writeTLS(t *testing.T, c *certificates, clientAuth string) string {
	t.Helper()
	file := filepath.Join(c.dir, "httpd.yml")
	text := "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
	if clientAuth != "" {
		text += "  client_ca_file: ca.pem\n  client_auth_type: " + clientAuth + "\n"
	}
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// httpsClient makes a client whose every request is a new connection.
func (c *certificates) httpsClient(certificate ...tls.Certificate) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{RootCAs: c.pool, Certificates: certificate},
	}}
}

func get(t *testing.T, c *http.Client, url string) *http.Response {
	t.Helper()
	response, err := c.Get(url)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response
}

func TestTLS(t *testing.T) {
	t.Parallel()
	c := newCertificates(t)
	file := writeTLS(t, c, "")
	s := start(t, Options{ListenAddresses: []string{"127.0.0.1:0"}, ConfigFile: file})
	url := fmt.Sprintf("https://%s/-/healthy", s.Addresses()[0])
	client := c.httpsClient()
	response := get(t, client, url)
	require.Equal(t, 200, response.StatusCode)
	require.Equal(t, 2, response.ProtoMajor)
	require.EqualValues(t, 2, response.TLS.PeerCertificates[0].SerialNumber.Int64())

	c.issueServer(t, 77)
	response = get(t, client, url)
	require.EqualValues(t, 77, response.TLS.PeerCertificates[0].SerialNumber.Int64(), "a new certificate is taken up")

	rewrite(t, file, "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"+
		"  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n")
	_, err := client.Get(url)
	require.Error(t, err, "so is a policy for clients")
	require.Equal(t, 200, get(t, c.httpsClient(c.client), url).StatusCode)

	rewrite(t, file, "")
	_, err = client.Get(url)
	require.Error(t, err, "TLS does not go away by accident")
	require.ErrorContains(t, s.Apply(Auth{}), "TLS cannot be switched on or off without a restart")

	plain, err := http.Get(fmt.Sprintf("http://%s/-/healthy", s.Addresses()[0]))
	require.NoError(t, err)
	require.NoError(t, plain.Body.Close())
	require.Equal(t, 400, plain.StatusCode, "HTTP is not answered")
}

func TestWithoutHTTP2(t *testing.T) {
	t.Parallel()
	c := newCertificates(t)
	file := writeTLS(t, c, "")
	with, err := os.ReadFile(file)
	require.NoError(t, err)
	rewrite(t, file, string(with)+"http_server_config:\n  http2: false\n")
	s := start(t, Options{ListenAddresses: []string{"127.0.0.1:0"}, ConfigFile: file})
	require.Equal(t, 1, get(t, c.httpsClient(), fmt.Sprintf("https://%s/-/healthy", s.Addresses()[0])).ProtoMajor)
}
