package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// writeAuthority writes a new certificate that is its own authority.
func writeAuthority(t *testing.T, path string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

// A reload that changes nothing about TLS must not cost the nodes of a group
// their connections.
func TestKeepTLS(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	authority := filepath.Join(dir, "ca.pem")
	writeAuthority(t, authority)
	load := func(serverName string) *Config {
		c, err := parse([]byte(`
cookie_file: cookie
targets:
  - name: plain
  - name: secure
    tls_config: {ca_file: ca.pem, server_name: `+serverName+`}
`), dir, environment)
		require.NoError(t, err)
		return c
	}
	first := load("a")
	require.Nil(t, first.Groups()[0].TLS)
	require.NotNil(t, first.Groups()[1].TLS)
	require.NotNil(t, first.Groups()[1].TLS.RootCAs)

	same := load("a")
	require.NotSame(t, first.Groups()[1].TLS, same.Groups()[1].TLS)
	same.KeepTLS(first)
	require.Same(t, first.Groups()[1].TLS, same.Groups()[1].TLS)
	require.Nil(t, same.Groups()[0].TLS)

	other := load("b")
	other.KeepTLS(first)
	require.NotSame(t, first.Groups()[1].TLS, other.Groups()[1].TLS)

	writeAuthority(t, authority)
	renewed := load("a")
	renewed.KeepTLS(first)
	require.NotSame(t, first.Groups()[1].TLS, renewed.Groups()[1].TLS, "the file has the same name and another authority")
}

func TestBadTLS(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	_, err := parse([]byte("cookie_file: cookie\ntargets:\n  - name: a\n    tls_config: {ca_file: cookie}\n  - name: b\n    tls_config: {min_version: TLS9}\n"), dir, environment)
	require.EqualError(t, err, "targets[0].tls_config: unable to use specified CA cert file "+dir+"/cookie\n"+
		"targets[1].tls_config.min_version: unknown TLS version: TLS9")
}
