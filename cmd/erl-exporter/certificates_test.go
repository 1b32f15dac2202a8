package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/clikit"
	"github.com/erlops/erlops/internal/erltest"
)

// authority makes certificates for a test, in a folder of their own.
type authority struct {
	dir         string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	serial      int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.certificate, a.key = a.issue(t, "ca", time.Now().Add(-1000*time.Hour), time.Now().Add(1000*time.Hour))
	return a
}

// issue writes NAME.pem and NAME.key.
func (a *authority) issue(t *testing.T, name string, begin, end time.Time) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: name + " of the test"}, NotBefore: begin, NotAfter: end,
		BasicConstraintsValid: true, IsCA: a.key == nil, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.certificate, a.key
	if signer == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	write(t, a.dir, name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, a.dir, name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return c, key
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// serve starts an exporter whose web configuration is in the folder.
func (a *authority) serve(t *testing.T, n *erltest.Node, certificate, more string) string {
	t.Helper()
	file := write(t, a.dir, "web-"+certificate+".yml", "tls_server_config:\n  cert_file: "+certificate+".pem\n  key_file: "+certificate+".key\n"+more)
	p := start(t, "--node", n.Name, "--cookie-file", cookieFile(t, n), "--epmd", n.EPMD, "--web.config.file", file)
	_, address, _ := strings.Cut(p.url, "://")
	return "https://" + address
}

// client runs a command of the command line.
func (a *authority) client(t *testing.T, url string, args ...string) (code int, out string) {
	t.Helper()
	path, err := binary()
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), path, append(args, "--url", url, "--ca-file", a.path("ca.pem"))...)
	command.Env = []string{"HOME=" + t.TempDir()}
	text, err := command.CombinedOutput()
	if err != nil {
		require.ErrorAs(t, err, new(*exec.ExitError), string(text))
	}
	return command.ProcessState.ExitCode(), string(text)
}

// TestExpiredCertificates: the command line says which certificate is out of its
// time, since when, and what to do; everybody else is served.
func TestExpiredCertificates(t *testing.T) {
	t.Parallel()
	n := erltest.Start(t, erltest.Options{})
	a := newAuthority(t)
	ago, soon := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	date := func(at time.Time) string { return at.UTC().Format("2006-01-02 15:04 UTC") }
	a.issue(t, "right", ago, soon)
	a.issue(t, "old", ago.Add(-time.Hour), ago)
	a.issue(t, "early", soon, soon.Add(time.Hour))
	const mutual = "  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"
	right, old, early := a.serve(t, n, "right", mutual), a.serve(t, n, "old", ""), a.serve(t, n, "early", "")
	show := func(name string) []string {
		return []string{"--cert-file", a.path(name + ".pem"), "--key-file", a.path(name + ".key")}
	}
	require.Eventually(t, func() bool {
		_, out := a.client(t, right, append([]string{"nodes"}, show("right")...)...)
		return strings.Contains(out, n.Name)
	}, time.Minute, 50*time.Millisecond, "the exporter does not know its node")
	for name, tt := range map[string]struct {
		url  string
		args []string
		code int
		want []string
	}{
		"all is right": {right, show("right"), clikit.ExitOK, []string{n.Name}},
		"the server's expired": {old, nil, clikit.ExitUnreachable, []string{
			"cannot reach an exporter at " + old, `the certificate of the server, "CN=old of the test", expired on ` + date(ago), "renew it there",
		}},
		"the server's is not valid yet": {early, nil, clikit.ExitUnreachable, []string{
			`the certificate of the server, "CN=early of the test", is not valid before ` + date(soon), "set this machine's clock",
		}},
		"the client's expired": {right, show("old"), clikit.ExitUnreachable, []string{
			"the server refuses the certificate in " + a.path("old.pem"), `"CN=old of the test", which expired on ` + date(ago), "get a new one",
		}},
		"the client's is not valid yet": {right, show("early"), clikit.ExitUnreachable, []string{
			"the server refuses the certificate in " + a.path("early.pem"), "is not valid before " + date(soon),
		}},
		"both expired":   {old, show("old"), clikit.ExitUnreachable, []string{"the certificate of the server, "}},
		"no certificate": {right, nil, clikit.ExitUnreachable, []string{"certificate required"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, command := range [][]string{{"nodes"}, {"alarms"}} {
				code, out := a.client(t, tt.url, append(command, tt.args...)...)
				require.Equal(t, tt.code, code, "%v: %s", command, out)
				if command[0] == "alarms" && code == clikit.ExitOK {
					continue
				}
				for _, want := range tt.want {
					require.Contains(t, out, want, "%v", command)
				}
			}
			// Others go on.
			code, out := a.client(t, right, append([]string{"nodes"}, show("right")...)...)
			require.Equal(t, clikit.ExitOK, code, out)
			careless := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
			defer careless.CloseIdleConnections()
			answer, err := careless.Get(old + "/-/healthy")
			require.NoError(t, err)
			require.NoError(t, answer.Body.Close())
			require.Equal(t, http.StatusOK, answer.StatusCode)
		})
	}
}
