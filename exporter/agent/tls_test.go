package agent_test

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
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/dist"
	"github.com/erlops/erlops/exporter/snapshot"
	"github.com/erlops/erlops/internal/erltest"
)

// authority is a CA of a test's own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	a := authority{cert: cert, key: key, pool: x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

// issue gives a certificate for 127.0.0.1, good for both ends.
func (a authority) issue(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "end"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// startTLS starts a node that takes connections over TLS only, and only from
// those who have a certificate of the authority.
func startTLS(t testing.TB, release string, ca authority) *erltest.Node {
	t.Helper()
	erltest.RequireErlang(t, "ssl")
	end := ca.issue(t)
	key, err := x509.MarshalPKCS8PrivateKey(end.PrivateKey)
	require.NoError(t, err)
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return file
	}
	certFile, keyFile := write("cert.pem", "CERTIFICATE", end.Certificate[0]), write("key.pem", "PRIVATE KEY", key)
	caFile, options := write("ca.pem", "CERTIFICATE", ca.cert.Raw), filepath.Join(dir, "ssl_dist.conf")
	require.NoError(t, os.WriteFile(options, fmt.Appendf(nil,
		`[{server, [{certfile, %q}, {keyfile, %q}, {cacertfile, %q}, {verify, verify_peer}, {fail_if_no_peer_cert, true}]},
		{client, [{certfile, %q}, {keyfile, %q}, {cacertfile, %q}, {verify, verify_peer}]}].`,
		certFile, keyFile, caFile, certFile, keyFile, caFile), 0o600))
	return erltest.Start(t, erltest.Options{
		OTP: release, LongNames: true, Args: []string{"-proto_dist", "inet_tls", "-ssl_dist_optfile", options},
	})
}

// wire is a relay to a node that keeps what goes through it.
type wire struct {
	address string
	mu      sync.Mutex
	streams []*bytes.Buffer // two a connection: what we send, what the node sends
}

func tap(t testing.TB, n *erltest.Node) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &wire{address: l.Addr().String()}
	var relays sync.WaitGroup
	relays.Go(func() {
		for {
			ours, err := l.Accept()
			if err != nil {
				return
			}
			theirs, err := net.Dial("tcp", n.Address())
			if err != nil {
				ours.Close()
				continue
			}
			relays.Go(func() { w.copy(theirs, ours) })
			relays.Go(func() { w.copy(ours, theirs) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		relays.Wait()
	})
	return w
}

func (w *wire) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	stream := new(bytes.Buffer)
	w.mu.Lock()
	w.streams = append(w.streams, stream)
	w.mu.Unlock()
	_, _ = io.Copy(to, io.TeeReader(from, writer(func(b []byte) {
		w.mu.Lock()
		defer w.mu.Unlock()
		stream.Write(b)
	})))
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}

// requireSecret checks that all that went over the wire were TLS records, and
// that no name is readable in them.
func (w *wire) requireSecret(t testing.TB, secrets ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	require.NotEmpty(t, w.streams)
	for _, stream := range w.streams {
		all := stream.Bytes()
		for _, secret := range secrets {
			require.NotContains(t, string(all), secret)
		}
		for rest := all; len(rest) > 0; {
			// Type (change of cipher, alert, handshake, data), version 3.x, length.
			require.GreaterOrEqual(t, len(rest), 5)
			require.GreaterOrEqual(t, rest[0], byte(20))
			require.LessOrEqual(t, rest[0], byte(23))
			require.Equal(t, byte(3), rest[1])
			length := 5 + int(rest[3])<<8 + int(rest[4])
			require.GreaterOrEqual(t, len(rest), length)
			rest = rest[length:]
		}
	}
}

func secretsOf(n *erltest.Node) []string {
	short, _, _ := strings.Cut(n.Name, "@")
	return []string{short, n.Cookie, "erl_exporter"}
}

// TestTLS attaches with a client certificate, looks at the wire, and reads the
// connection over TLS itself: the numbers of its socket and of the three
// processes behind it.
func TestTLS(t *testing.T) {
	t.Parallel()
	visitTLS(t, "")
}

func visitTLS(t *testing.T, release string) {
	t.Helper()
	ca := newAuthority(t)
	n := startTLS(t, release, ca)
	w := tap(t, n)
	to := target(n, agent.Settings{})
	to.Address = w.address
	to.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: ca.pool, Certificates: []tls.Certificate{ca.issue(t)}}
	s, err := exporter(t, "erl_exporter@localhost", agent.Options{}).Attach(deadline(t), to)
	require.NoError(t, err)
	all := read(t, s)
	const us = "erl_exporter@localhost"
	for _, name := range table(t, all, "dist_peer").Columns {
		require.Contains(t, column(t, table(t, all, "dist_peer"), name), us, name)
	}
	require.Positive(t, column(t, table(t, all, "dist_peer"), "recv_bytes")[us])
	memory := column(t, table(t, all, "dist_proc"), "memory")
	require.Len(t, memory, 3)
	for _, process := range []string{"dist", "tls_connection", "tls_sender"} {
		require.Positive(t, memory[us+" "+process], process)
	}
	require.NoError(t, s.Detach(deadline(t)))
	require.Eventually(t, func() bool {
		return n.Eval(t, "{code:is_loaded(erl_exporter_agent), nodes(hidden)}") == "{false,[]}"
	}, 5*time.Second, 20*time.Millisecond)
	w.requireSecret(t, secretsOf(n)...)
}

// TestTLSFails: whatever is wrong with the certificates, the error says that
// it is TLS, and nothing goes over the wire in clear.
func TestTLSFails(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	n := startTLS(t, "", ca)
	a := exporter(t, "erl_exporter@localhost", agent.Options{})
	for name, config := range map[string]*tls.Config{
		"node of an unknown authority":   {RootCAs: other.pool, Certificates: []tls.Certificate{ca.issue(t)}},
		"client of an unknown authority": {RootCAs: ca.pool, Certificates: []tls.Certificate{other.issue(t)}},
		"client without certificate":     {RootCAs: ca.pool},
		"another host":                   {RootCAs: ca.pool, ServerName: "elsewhere", Certificates: []tls.Certificate{ca.issue(t)}},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				t.Parallel()
				w := tap(t, n)
				to := target(n, agent.Settings{})
				to.Address = w.address
				to.TLS = config.Clone()
				to.TLS.MinVersion, to.TLS.MaxVersion = version, version
				_, err := exporter(t, "erl_exporter@localhost", agent.Options{}).Attach(deadline(t), to)
				require.ErrorIs(t, err, dist.ErrTLS)
				w.requireSecret(t, secretsOf(n)...)
			})
		}
	}
	t.Run("plaintext to a node with TLS", func(t *testing.T) {
		_, err := a.Attach(deadline(t), target(n, agent.Settings{}))
		require.ErrorIs(t, err, dist.ErrTLS)
		require.ErrorContains(t, err, "none is configured")
	})
	t.Run("TLS to a node without", func(t *testing.T) {
		plain := erltest.Start(t, erltest.Options{LongNames: true})
		w := tap(t, plain)
		to := target(plain, agent.Settings{})
		to.Address = w.address
		to.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: ca.pool}
		_, err := a.Attach(deadline(t), to)
		require.ErrorIs(t, err, dist.ErrTLS)
		w.requireSecret(t, secretsOf(plain)...)
	})
	// And the node is fine.
	to := target(n, agent.Settings{})
	to.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: ca.pool, Certificates: []tls.Certificate{ca.issue(t)}}
	s, err := a.Attach(deadline(t), to)
	require.NoError(t, err)
	_, err = s.Snapshot(deadline(t), snapshot.Request{})
	require.NoError(t, err)
	require.NoError(t, s.Detach(deadline(t)))
}
