package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/clikit"
)

// lockedBuffer may be written to while it is read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// startServer runs erl-deploy serve until the test ends. It returns its URL.
func startServer(t *testing.T, configuration string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files["erl-deploy.yml"] = configuration
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	address := freeAddress(t)
	log := &lockedBuffer{}
	p := &program{stdin: strings.NewReader(""), stdout: io.Discard, stderr: log, now: time.Now, open: open}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan int, 1)
	go func() {
		done <- p.run(ctx, []string{"erl-deploy", "serve", "--config.file", filepath.Join(dir, "erl-deploy.yml"), "--web.listen-address", address})
	}()
	t.Cleanup(func() {
		cancel()
		require.Equal(t, clikit.ExitOK, <-done, log.String())
		if t.Failed() {
			t.Log(log.String())
		}
	})
	require.Eventually(t, func() bool {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil || len(done) > 0
	}, 20*time.Second, 20*time.Millisecond)
	return address
}

func get(t *testing.T, c *http.Client, method, url, token, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(text)
}

// TestServe runs the whole server: roles by token, both forms of the API,
// health, metrics and configuration.
func TestServe(t *testing.T) {
	t.Parallel()
	url := "http://" + startServer(t, `
data_dir: data
auth:
  tokens:
    - {name: reader, role: read, token: reader-of-the-test}
    - {name: boss, role: admin, token_file: boss}
`, map[string]string{"boss": "boss-of-the-test-0\n"})
	c := http.DefaultClient
	const add = `{"type": "physical", "name": "Local", "servers": ["10.255.255.1"]}`
	for _, tc := range []struct {
		method, path, token, body string
		status                    int
		want                      string
	}{
		{"GET", "/-/healthy", "", "", 200, "erl-deploy is healthy"},
		{"GET", "/api/v1/providers", "", "", 401, "unauthenticated"},
		{"GET", "/api/v1/providers", "nobody-in-the-test", "", 401, "unauthenticated"},
		{"GET", "/api/v1/providers", "reader-of-the-test", "", 200, `{"providers":[]}`},
		{"POST", "/api/orch/providers", "reader-of-the-test", add, 403, `needs the role`},
		{"POST", "/api/orch/providers", "boss-of-the-test-0", add, 201, `"type":"physical"`},
		{"GET", "/api/v1/providers/Local", "reader-of-the-test", "", 200, `"host":"10.255.255.1"`},
		{"GET", "/api/v1/journal", "reader-of-the-test", "", 200, `"actor":"boss"`},
		{"GET", "/metrics", "reader-of-the-test", "", 200, "erl_deploy_http_requests_total"},
		{"GET", "/config", "reader-of-the-test", "", 200, "********"},
		{"GET", "/", "reader-of-the-test", "", 200, "/api/orch/node_families/{id}/nodes"},
		{"GET", "/nothing", "reader-of-the-test", "", 404, "not-found"},
	} {
		status, text := get(t, c, tc.method, url+tc.path, tc.token, tc.body)
		require.Equal(t, tc.status, status, "%s %s: %s", tc.method, tc.path, text)
		require.Contains(t, text, tc.want, tc.path)
		require.NotContains(t, text, "boss-of-the-test-0")
	}
}

// certificate is that of net/http's own tests, for 127.0.0.1.
func certificate(t *testing.T) (certificate, key []byte) {
	t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	der, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// TestServeWithTLS lets the command line in with a user of the web
// configuration file and a certificate of its own.
func TestServeWithTLS(t *testing.T) {
	t.Parallel()
	certificate, key := certificate(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("password of the test"), bcrypt.MinCost)
	require.NoError(t, err)
	dir := t.TempDir()
	ca, password := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "password")
	require.NoError(t, os.WriteFile(ca, certificate, 0o600))
	require.NoError(t, os.WriteFile(password, []byte("password of the test\n"), 0o600))
	address := startServer(t, `
data_dir: data
web: {config_file: web.yml}
auth: {users: [{name: alice, role: operate}]}
`, map[string]string{
		"cert.pem": string(certificate), "key.pem": string(key),
		"web.yml": "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\nbasic_auth_users: {alice: " + string(hash) + "}\n",
	})
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(certificate))
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	status, _ := get(t, c, "GET", "https://"+address+"/api/v1/nodes", "", "")
	require.Equal(t, 401, status)
	p, stdout, stderr := newProgram(t, fixture(t), "")
	p.open = open
	code := p.run(t.Context(), []string{"erl-deploy", "status", "--url", "https://" + address, "--ca-file", ca, "--user", "alice", "--password-file", password})
	require.Equal(t, clikit.ExitOK, code, stderr)
	require.Contains(t, stdout.String(), "0 nodes")
}

// TestDocumentedFiles reads the examples of docs/deploy.md.
func TestDocumentedFiles(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "deploy.md"))
	require.NoError(t, err)
	var examples []string
	for i, part := range strings.Split(string(text), "```") {
		if example, ok := strings.CutPrefix(part, "yaml\n"); ok && i%2 == 1 {
			examples = append(examples, example)
		}
	}
	require.Len(t, examples, 2)
	manifest, err := fleet.ParseManifest([]byte(examples[0]))
	require.NoError(t, err)
	require.Equal(t, 3, manifest.Families[0].Domains[0].Nodes)
	path := filepath.Join(t.TempDir(), "erl-deploy.yml")
	require.NoError(t, os.WriteFile(path, []byte(examples[1]), 0o600))
	c, err := loadConfig(path)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(filepath.Dir(path), "web.yml"), c.Web.ConfigFile)
	require.NotContains(t, c.SSH.ConfigFile, "~")
	require.Equal(t, 5*time.Minute, c.StepTimeouts[fleet.StepStart])
}

// TestConfigCheck finds what is wrong without starting anything.
func TestConfigCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "erl-deploy.yml")
	for text, want := range map[string]string{
		"data_dir: data": "",
		"data_dir: data\nweb: {listen_addresses: ['0.0.0.0:9199']}":  "would let everybody in",
		"data_dir: data\nweb: {config_file: none.yml}":               "none.yml",
		"data_dir: data\nauth: {users: [{name: bob, role: admin}]}":  `user "bob" is not among basic_auth_users`,
		"data_dir: data\nexporter: {url: 'http://x', token_file: t}": "exporter.token_file: open",
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		p, stdout, stderr := newProgram(t, fixture(t), "")
		code := p.run(t.Context(), []string{"erl-deploy", "serve", "--config.file", path, "--config.check"})
		if want == "" {
			require.Equal(t, clikit.ExitOK, code, stderr)
			require.Equal(t, "configuration is valid\n", stdout.String())
			continue
		}
		require.Equal(t, clikit.ExitFailed, code)
		require.Contains(t, stderr.String(), want)
	}
	require.NoDirExists(t, filepath.Join(dir, "data"))
}

func TestConfigProblems(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"data_dirr: x\nparallelism: many":    "line 1: data_dirr: unknown key; did you mean \"data_dir\"?\nline 2: parallelism: must be a whole number, is \"many\"",
		"task_timeout: soon":                 `line 1: task_timeout: must be a duration such as 30s, is "soon"`,
		"auth: {tokens: [{nam: a}]}":         `line 1: auth.tokens[0].nam: unknown key; did you mean "name"?`,
		"step_timeouts: {begin: 1m}":         `there is no step "begin"`,
		"parallelism: -1":                    "parallelism: -1 is negative",
		"exporter: {url: 'ftp://x'}":         "exporter.url: is not http://HOST:PORT",
		"exporter: {user: x}":                "exporter: url is missing",
		"auth: {tokens: [{name: a}]}":        "auth.tokens[0]: exactly one of token and token_file is needed",
		"auth: {unauthenticated_role: root}": `unknown role "root"`,
	} {
		path := filepath.Join(t.TempDir(), "erl-deploy.yml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := loadConfig(path)
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, fmt.Sprint(err), "main.", text)
	}
}
