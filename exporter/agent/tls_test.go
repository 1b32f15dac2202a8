package agent_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/internal/erltest"
)

// TestTLS reads a connection over TLS, our own: the numbers of its socket and
// of the three processes behind it.
func TestTLS(t *testing.T) {
	t.Parallel()
	erltest.RequireErlang(t, "ssl")
	// The certificate that httptest has for 127.0.0.1.
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	require.NoError(t, err)
	trust := x509.NewCertPool()
	trust.AddCert(server.Certificate())
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, content, 0o600))
		return file
	}
	certFile := write("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	keyFile := write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	options := write("ssl_dist.conf", fmt.Appendf(nil, `[{server, [{certfile, %q}, {keyfile, %q}]}].`, certFile, keyFile))

	n := erltest.Start(t, erltest.Options{
		LongNames: true, Args: []string{"-proto_dist", "inet_tls", "-ssl_dist_optfile", options},
	})
	to := target(n, agent.Settings{})
	to.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trust}
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
}
