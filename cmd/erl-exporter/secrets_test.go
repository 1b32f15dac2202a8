package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/erlops/erlops/internal/erltest"
)

// planted are secrets that must turn up nowhere. Each has its name in it, so
// that a failure says which one got out.
type planted struct {
	t     *testing.T
	texts map[string]string // what must not be found: which secret that would be
}

func plant(t *testing.T) *planted {
	t.Helper()
	return &planted{t: t, texts: map[string]string{}}
}

// secret makes one, of the characters that cookies and tokens may have.
func (p *planted) secret(name string) string {
	s := "planted-" + name + "-" + rand.Text()[:12]
	p.watch(name, s)
	return s
}

// watch looks for a text from now on, in all forms in which it may be written.
func (p *planted) watch(name, text string) {
	p.texts[text] = name
	p.texts[hex.EncodeToString([]byte(text))] = name + " in hexadecimal"
	// The characters around it move the groups of base64.
	for skip := range 3 {
		whole := base64.StdEncoding.EncodeToString([]byte("aa"[:min(skip, 2)] + text + "zz"))
		p.texts[whole[4:len(whole)-6]] = name + " in base64"
	}
}

// absent fails when a secret is in the text.
func (p *planted) absent(where, text string) {
	p.t.Helper()
	for secret, name := range p.texts {
		if at := strings.Index(text, secret); at >= 0 {
			p.t.Errorf("%s has the secret %s: ...%s...", where, name, text[max(0, at-150):min(len(text), at+len(secret)+50)])
		}
	}
}

func TestPlantedSecretsAreFound(t *testing.T) {
	t.Parallel()
	p := &planted{t: &testing.T{}, texts: map[string]string{}}
	s := p.secret("x")
	for _, text := range []string{
		"a " + s + " b", base64.StdEncoding.EncodeToString([]byte("u:" + s)), base64.StdEncoding.EncodeToString([]byte("us:" + s + "zzz")),
		base64.StdEncoding.EncodeToString([]byte("user:" + s)), hex.EncodeToString([]byte(s)),
	} {
		found := false
		for secret := range p.texts {
			found = found || strings.Contains(text, secret)
		}
		require.True(t, found, text)
	}
}

// write puts a private file into a folder and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// certificate writes cert.pem and key.pem, valid from begin to end, and gives
// the text of the key.
func certificate(t *testing.T, dir string, begin, end time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"}, NotBefore: begin, NotAfter: end,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	write(t, dir, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	write(t, dir, "key.pem", text)
	return text
}

// watchKey looks for the lines of a key.
func (p *planted) watchKey(name, text string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
			p.texts[line] = name
		}
	}
}

// receiver is everything that the exporter sends to or asks: it knows nobody, and
// says so, with all that it was sent.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	asked    map[string]bool
	requests int
}

// echo is a request as some servers repeat it on the page of an error.
func echo(q *http.Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", q.Method, q.URL)
	for name, values := range q.Header {
		if name != "User-Agent" && name != "Accept" { // what is cut off proves nothing
			fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(values, ", "))
		}
	}
	if user, password, ok := q.BasicAuth(); ok {
		fmt.Fprintf(&b, "user %s, password %s\n", user, password)
	}
	if q.ParseForm() == nil && q.PostForm.Has("client_secret") {
		fmt.Fprintln(&b, q.PostForm.Encode())
	}
	return b.String()
}

func startReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{asked: map[string]bool{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		for header := range q.Header {
			if strings.HasPrefix(header, "X-Planted") || header == "Authorization" || header == "X-Consul-Token" {
				r.asked[strings.SplitN(q.URL.Path, "/", 3)[1]] = true
			}
		}
		r.requests++
		asJSON := r.requests%2 == 0 && strings.HasPrefix(q.URL.Path, "/prometheus")
		r.mu.Unlock()
		w.WriteHeader(http.StatusUnauthorized)
		text := "who are you?\n" + echo(q)
		if asJSON {
			_ = json.NewEncoder(w).Encode(map[string]string{"status": "error", "errorType": "who", "error": text})
			return
		}
		fmt.Fprintln(w, text)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) has(names ...string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		if !r.asked[name] {
			return false
		}
	}
	return true
}

// TestSecretsDoNotGetOut plants secrets in the whole configuration, in requests,
// and on the nodes, and looks for them in all that comes out.
func TestSecretsDoNotGetOut(t *testing.T) {
	t.Parallel()
	p := plant(t)
	dir := t.TempDir()
	epmd := erltest.StartEPMD(t)
	n := erltest.Start(t, erltest.Options{EPMD: epmd, Cookie: p.secret("cookie-of-node")})
	twin := erltest.Start(t, erltest.Options{EPMD: epmd, Cookie: n.Cookie})
	other := erltest.Start(t, erltest.Options{EPMD: epmd})
	added := erltest.Start(t, erltest.Options{EPMD: epmd, Cookie: p.secret("cookie-of-added-node")})
	p.watch("cookie of erltest", other.Cookie)
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	p.watch("age identity", identity.String())
	p.watchKey("TLS key", certificate(t, dir, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
	password := p.secret("password-of-user")
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	require.NoError(t, err)
	p.watch("hash of a password", string(hash))
	inlineKey := certificate(t, t.TempDir(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	p.watchKey("TLS key in place", inlineKey)
	admin := p.secret("token-of-admin")
	silent := startReceiver(t)

	write(t, dir, "cookie", n.Cookie)
	write(t, dir, "identity", identity.String()+"\n")
	write(t, dir, "token", p.secret("token-in-file")+"\n")
	write(t, dir, "web.yml", "basic_auth_users: {alice: '"+string(hash)+"'}\n")
	// Not t.Setenv, which parallel tests must not; nobody else looks at it.
	require.NoError(t, os.Setenv("PLANTED_COOKIE", p.secret("cookie-in-environment"))) //nolint:usetesting // as said
	config := write(t, dir, "erl-exporter.yml", fmt.Sprintf(`
cookie_file: cookie
cookies:
- {name: a, cookie: '%[1]s', nodes: ['a@.*']}
- {name: b, cookie: '$(PLANTED_COOKIE)', nodes: ['b@.*']}
storage: {path: db}
secrets: {key_file: identity}
auth:
  unauthenticated_role: read
  tokens:
  - {name: admin, role: admin, token: '%[2]s'}
  - {name: file, role: read, token_file: token}
  users: [{name: alice, role: operate}]
commands:
  enabled: true
  allow: {operate: ['*:*/*']}
  audit: {path: audit.log}
alertmanager:
  targets:
  - {url: '%[3]s/alertmanager1', basic_auth: {username: u, password: '%[4]s'}}
  - {url: '%[3]s/alertmanager2', authorization: {credentials: '%[5]s'}}
  - {url: '%[3]s/alertmanager3', oauth2: {client_id: x, client_secret: '%[6]s', token_url: '%[3]s/oauth2'}}
logs:
  level: debug
  loki: {url: '%[3]s/loki', basic_auth: {username: u, password: '%[7]s'}, http_headers: {X-Planted-Key: {secrets: ['%[8]s']}}}
  syslog: {address: 'tls://127.0.0.1:1', tls_config: {cert_file: cert.pem, key_file: key.pem}}
graphite:
  address: 127.0.0.1:1
  interval: 1s
  tls_config:
    cert_file: cert.pem
    key: |
%[16]s
prometheus: {url: '%[3]s/prometheus', bearer_token: '%[9]s'}
targets:
- {name: right, family: shop, epmd: '%[10]s', static_configs: [{targets: ['%[11]s', '%[12]s', 'a@127.0.0.1', 'b@127.0.0.1']}]}
- {name: wrong, epmd: '%[10]s', cookie: '%[13]s', static_configs: [{targets: ['%[14]s']}]}
- name: http
  http_sd_configs: [{url: '%[3]s/http', authorization: {credentials: '%[15]s'}, http_headers: {X-Planted-Other: {secrets: ['%[8]s']}}}]
- name: consul
  consul_sd_configs: [{server: '%[17]s', token: '%[18]s', services: [x]}]
`, p.secret("cookie-in-place"), admin, silent.URL, p.secret("alertmanager-password"), p.secret("alertmanager-credentials"),
		p.secret("oauth2-secret"), p.secret("loki-password"), p.secret("header"), p.secret("prometheus-token"), epmd.Address(), n.Name, twin.Name,
		p.secret("cookie-of-group"), other.Name, p.secret("http-credentials"), indented(inlineKey), strings.TrimPrefix(silent.URL, "http://"), p.secret("consul-token")))
	// A key in place needs the certificate that belongs to it; this one does not,
	// which has to be said without it.
	_, out := p.run(t, dir, "--config.file", config, "--config.check")
	require.Contains(t, out, "graphite")
	text, err := os.ReadFile(config)
	require.NoError(t, err)
	write(t, dir, "erl-exporter.yml", strings.Replace(string(text), "    cert_file: cert.pem\n    key: |\n"+indented(inlineKey)+"\n", "    insecure_skip_verify: true\n", 1))

	// What nodes know: it is shown, and must not be where it is secret.
	for i, node := range []*erltest.Node{n, twin} {
		node.Eval(t, fmt.Sprintf(`[application:set_env(kernel, K, V) || {K, V} <- [{db_password, %q}, {url, "amqp://u:%s@host"}, {opts, [{token, %q}, {shown, %d}]}]]`,
			p.secret(fmt.Sprint("password-of-application-", i)), p.secret(fmt.Sprint("password-in-url-", i)), p.secret(fmt.Sprint("nested-token-", i)), i))
	}
	x := start(t, "--config.file", config, "--web.config.file", filepath.Join(dir, "web.yml"), "--log.level", "debug")
	x.awaitUp(t, n.Name)
	x.awaitUp(t, twin.Name)
	anonymous := func(*http.Request) {}
	asAdmin := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+admin) }

	p.requests(t, x, asAdmin, n, added, epmd.Address())
	require.Eventually(t, func() bool {
		return silent.has("alertmanager1", "alertmanager2", "oauth2", "loki", "http", "v1") &&
			strings.Count(x.output(), "who are you?") > 8 && strings.Contains(x.output(), other.Name) && strings.Contains(x.output(), "syslog") && strings.Contains(x.output(), "127.0.0.1:1")
	}, 60*time.Second, 50*time.Millisecond, "not everybody was asked: %v", silent.asked)
	p.pages(t, x, anonymous, n.Name)
	p.pages(t, x, asAdmin, n.Name)
	p.commands(t, x, dir, n, epmd.Address(), password)
	x.signal(t, syscall.SIGTERM)
	x.awaitEnd(t)
	p.absent("the log", x.output())
	audit, err := os.ReadFile(filepath.Join(dir, "audit.log"))
	require.NoError(t, err)
	require.Contains(t, string(audit), `"function":"application:set_env/3"`)
	p.absent("the audit log", string(audit))
	database, err := filepath.Glob(filepath.Join(dir, "db*"))
	require.NoError(t, err)
	for _, file := range database {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		p.absent(file, string(b))
	}
}

// indented is a text as a block of YAML.
func indented(text string) string {
	return "      " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n      ")
}

// oneRun keeps runs of the program inside the tests one after the other.
var oneRun sync.Mutex

// run runs the program once and looks at what it prints, which it returns.
func (p *planted) run(t *testing.T, home string, args ...string) (code int, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	program := &program{
		stdout: &out, stderr: &out, now: time.Now, size: func() (width, height int) { return 0, 0 },
		getenv: func(name string) string { return map[string]string{"HOME": home}[name] },
	}
	// The flag for help is a variable of the library.
	oneRun.Lock()
	defer oneRun.Unlock()
	code = program.run(ctx, append([]string{"erl-exporter"}, args...))
	require.NoError(t, ctx.Err(), "erl-exporter %v: %s", args, out.String())
	p.absent(fmt.Sprintf("erl-exporter %v", args), out.String())
	return code, out.String()
}

// ask sends a request and looks at the answer, header and all.
func (p *planted) ask(t *testing.T, x *process, as func(*http.Request), method, path, body string) (status int, text string) {
	t.Helper()
	// Streams go on; what comes in this time is enough of them.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	if strings.HasSuffix(path, "/live") || strings.HasSuffix(path, "/events") {
		ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
	}
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, x.url+path, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	as(r)
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err, "%s %s", method, path)
	defer answer.Body.Close()
	var b bytes.Buffer
	require.NoError(t, answer.Header.Write(&b))
	begin := b.Len()
	_, _ = io.Copy(&b, answer.Body)
	p.absent(method+" "+path, b.String())
	return answer.StatusCode, b.String()[begin:]
}

// requests have secrets where they belong, and where they do not.
func (p *planted) requests(t *testing.T, x *process, admin func(*http.Request), n, added *erltest.Node, epmd string) {
	t.Helper()
	status, text := p.ask(t, x, admin, "POST", "/api/v1/nodes", fmt.Sprintf(`{"name": %q, "epmd": %q, "cookie": %q}`, added.Name, epmd, added.Cookie))
	require.Equal(t, http.StatusCreated, status, text)
	x.awaitUp(t, added.Name)
	for _, body := range []string{
		`{"name": "c@127.0.0.1", "cookie": "` + p.secret("wrong-cookie") + `"}`,
		`{"name": "c@127.0.0.1", "cookie": ["` + p.secret("list") + `"]}`,
		`{"name": "c@127.0.0.1", "cookie": {"` + p.secret("key") + `": 1}}`,
		`{"name": "c@127.0.0.1", "cookie": "` + p.secret("open-end"),
		`{"name": "c@127.0.0.1", "cookie": "` + p.secret("bad-characters") + `\u0001\n"}`,
		`{"name": "c@127.0.0.1", "cookie": "` + strings.Repeat(p.secret("long"), 30) + `"}`,
		`{"name": "c@127.0.0.1", "cookie": "` + p.secret("with-reference") + `", "cookie_ref": "right"}`,
		`{"name": "impossible", "cookie": "` + p.secret("impossible") + `"}`,
		`{"name": "c@127.0.0.1", "cookie": "` + p.secret("unknown-field") + `", "colour": 1}`,
		`"` + p.secret("no-object") + `"`,
	} {
		for _, path := range []string{"/api/v1/nodes", "/api/v1/actions/add-node", "/api/actions/add-node"} {
			p.ask(t, x, admin, "POST", path, body)
		}
	}
	for _, as := range []func(*http.Request){
		func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+p.secret("wrong-token")) },
		func(r *http.Request) { r.Header.Set("Authorization", p.secret("no-scheme")) },
		func(r *http.Request) { r.SetBasicAuth("alice", p.secret("wrong-password")) },
		func(r *http.Request) { r.SetBasicAuth("nobody", p.secret("password-of-nobody")) },
		func(r *http.Request) { r.Header.Set("Cookie", "session="+p.secret("session")) },
	} {
		p.ask(t, x, as, "GET", "/api/v1/nodes", "")
		p.ask(t, x, as, "POST", "/-/reload", "")
	}
	for _, key := range []string{"token", "access_token", "api_key", "password", "cookie", "client_secret"} {
		p.ask(t, x, admin, "GET", "/api/v1/nodes?"+key+"="+p.secret("query-"+key), "")
		p.ask(t, x, admin, "GET", "/probe?target="+url.QueryEscape(n.Name)+"&"+key+"="+p.secret("query-of-probe-"+key), "")
	}
	// As text and as JSON.
	for range 2 {
		for _, path := range []string{
			"/api/v1/metrics/query_range?query=up&start=2026-01-01T00:00:00Z&end=2026-01-01T01:00:00Z&step=60",
			"/api/v1/notifications/query_range",
		} {
			status, text := p.ask(t, x, admin, "GET", path, "")
			require.GreaterOrEqual(t, status, http.StatusBadRequest, text)
			require.Contains(t, text, "who are you?", path)
		}
	}
	call := func(text string) {
		body, err := json.Marshal(map[string]any{"nodes": []string{n.Name}, "call": text})
		require.NoError(t, err)
		status, answer := p.ask(t, x, admin, "POST", "/api/v1/commands/call", string(body))
		require.Contains(t, []int{http.StatusOK, http.StatusBadRequest}, status, answer)
	}
	call(fmt.Sprintf("application:set_env(kernel, my_password, %q)", p.secret("argument")))
	call(fmt.Sprintf("application:set_env(kernel, my_password, %q", p.secret("argument-without-end")))
	call(fmt.Sprintf("application:set_env(kernel, [{password, %q}])", p.secret("argument-of-error")))
	for _, command := range []string{"application-env", "inspect-process"} {
		p.ask(t, x, admin, "POST", "/api/v1/commands/"+command, fmt.Sprintf(`{"nodes": [%q], "application": "kernel", "process": "init"}`, n.Name))
	}
}

// pages are all that can be read.
func (p *planted) pages(t *testing.T, x *process, as func(*http.Request), node string) {
	t.Helper()
	paths := []string{
		"/", "/api", "/-/healthy", "/-/ready", "/config", "/metrics", "/metrics/nodes", "/sd", "/probe?target=" + url.QueryEscape(node),
		"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/nothing",
	}
	_, text := p.ask(t, x, as, "GET", "/api/v1/openapi.json", "")
	var specification struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	require.NoError(t, json.Unmarshal([]byte(text), &specification))
	fill := strings.NewReplacer("{name}", url.PathEscape(node), "{family}", "shop", "{id}", "1")
	for path, methods := range specification.Paths {
		if methods["get"] != nil {
			paths = append(paths, "/api/v1"+fill.Replace(path))
		}
	}
	require.Greater(t, len(paths), 30)
	var running sync.WaitGroup
	for _, path := range paths {
		running.Go(func() {
			status, text := p.ask(t, x, as, "GET", path, "")
			if path == "/config" {
				require.Equal(t, http.StatusOK, status, text)
				require.Contains(t, text, "<secret>")
			}
			if path == "/api/v1/families/shop/diff" {
				require.Contains(t, text, "db_password", "the environment is compared")
			}
		})
	}
	running.Wait()
}

// commands are those of the command line, right and wrong.
func (p *planted) commands(t *testing.T, x *process, dir string, n *erltest.Node, epmd, password string) {
	t.Helper()
	file := func(name, text string) string { return write(t, dir, name, text) }
	right := file("cli-password", password+"\n")
	wrong := file("cli-wrong", p.secret("wrong-password-of-command-line"))
	broken := file("cli-broken", p.secret("first-line")+"\n"+p.secret("second-line")+"\n")
	cookie := file("cli-cookie", p.secret("wrong-cookie-of-command-line"))
	profiles := file("profiles.yml", "profiles: {a: {url: 'http://127.0.0.1:1', token: '"+p.secret("token-in-profile")+"'}, b: {url: [ '"+p.secret("list-in-profile")+"' ]}}\n")
	withPassword := "http://u:" + p.secret("password-in-url-of-flag") + "@127.0.0.1:1"
	for _, args := range [][]string{
		{"nodes", "--url", x.url, "--user", "alice", "--password-file", right},
		{"nodes", "show", n.Name, "-o", "json", "--url", x.url, "--user", "alice", "--password-file", right},
		{"families", "diff", "shop", "--url", x.url, "--user", "alice", "--password-file", right},
		{"call", "application-env", "kernel", "-n", n.Name, "--url", x.url, "--user", "alice", "--password-file", right},
		{"check", "--url", x.url, "--user", "alice", "--password-file", wrong},
		{"nodes", "--url", x.url, "--user", "alice", "--password-file", wrong},
		{"nodes", "--url", x.url, "--token-file", wrong},
		{"nodes", "--url", x.url, "--token-file", broken},
		{"nodes", "--url", "http://127.0.0.1:1", "--user", "alice", "--password-file", right},
		{"nodes", "--url", withPassword}, {"check", "--url", withPassword}, {"nodes", "--url", withPassword + "x"},
		{"nodes", "--profiles-file", profiles, "--profile", "a"},
		{"nodes", "add", "d@127.0.0.1", "--cookie-file", broken, "--url", x.url, "--user", "alice", "--password-file", right},
		{"probe", n.Name, "--epmd", epmd, "--cookie-file", cookie},
		{"doctor", n.Name, "--epmd", epmd, "--cookie-file", cookie},
		{"doctor", n.Name, "--epmd", epmd, "--cookie-file", broken},
		{"doctor", n.Name, "--config.file", filepath.Join(dir, "erl-exporter.yml")},
		{"--config.file", filepath.Join(dir, "erl-exporter.yml"), "--web.external-url", withPassword, "--config.check"},
		{"--config.file", filepath.Join(dir, "erl-exporter.yml"), "--web.external-url", withPassword + "x", "--config.check"},
		{"--config.file", filepath.Join(dir, "erl-exporter.yml"), "--web.external-url", "ftp://u:" + p.secret("ftp") + "@x/", "--config.check"},
	} {
		p.run(t, dir, args...)
	}
}

// TestSecretsInWrongConfigurations: errors quote what is wrong, and never a
// secret, be it in the wrong place or of the wrong kind.
func TestSecretsInWrongConfigurations(t *testing.T) {
	t.Parallel()
	const begin = "cookie_file: cookie\nstorage: {path: db}\n"
	tests := map[string]string{
		"cookie is a list":             "cookie: ['%s']\n",
		"cookie is a mapping":          "cookie: {%s: 1}\n",
		"cookie in several lines":      "cookie: \"%s\\nx\"\n",
		"cookie with bad characters":   "cookie: \"%s \u00e9\"\n",
		"cookie with a tag":            "cookie: !%s\n",
		"cookie with an alias":         "cookie: *%s\n",
		"cookie with a known tag":      "cookie: !!binary %s\n",
		"no space after the colon":     begin + "targets: [{name: a, cookie:%s}]\n",
		"no space, twice":              begin + "targets: [{name: a, cookie:%s, cookie:%[1]s}]\n",
		"secret as a key":              begin + "auth: {tokens: [{name: a, role: read, token: {}, %s: x}]}\n",
		"password as the key of users": begin + "prometheus: {url: 'http://h', basic_auth: {%s: x}}\n",
		"unknown key of a secret":      begin + "prometheus: {url: 'http://h', basic_auth: {username: u, pasword: '%s'}}\n",
		"other unknown key":            begin + "prometheus: {url: 'http://h', magic: '%s'}\n",
		"unknown key with a list":      begin + "magic: [{a: '%s'}]\n",
		"cookie twice":                 "cookie: '%s'\ncookie: '%[1]s'\n",
		"cookie and cookie_file":       begin + "cookie: '%s'\n",
		"no end of a quote":            "cookie: '%s\n",
		"colon in the cookie":          "cookie: %s: x\n",
		"cookie as its file":           "cookie_file: {a: '%s'}\n",
		"cookies without name":         begin + "cookies: [{cookie: '%s', nodes: ['[']}]\n",
		"token too short":              begin + "auth: {tokens: [{name: a, role: read, token: '%.12s'}]}\n",
		"token of no role":             begin + "auth: {tokens: [{name: a, role: boss, token: '%s'}]}\n",
		"token with spaces":            begin + "auth: {tokens: [{name: a, role: read, token: 'x %s y'}]}\n",
		"token is a list":              begin + "auth: {tokens: [{name: a, role: read, token: ['%s']}]}\n",
		"same token twice":             begin + "auth: {tokens: [{name: a, role: read, token: '%s'}, {name: b, role: read, token: '%[1]s'}]}\n",
		"key is no key":                begin + "secrets: {key: '%s'}\n",
		"key is a list":                begin + "secrets: {key: ['%s']}\n",
		"password in a wrong database": "cookie_file: cookie\nstorage: {url: 'mysql://u:%s@h/d'}\n",
		"password in no database":      "cookie_file: cookie\nstorage: {url: '%s'}\n",
		"password of PostgreSQL":       "cookie_file: cookie\nstorage: {url: 'postgres://u:%s@127.0.0.1:1/d?connect_timeout=1'}\n",
		"password with a percent":      "cookie_file: cookie\nstorage: {url: 'postgres://u:%s%%zz@127.0.0.1:1/d'}\n",
		"password at a wrong port":     "cookie_file: cookie\nstorage: {url: 'postgres://u:%s@127.0.0.1:port/d'}\n",
		"password as a parameter":      "cookie_file: cookie\nstorage: {url: 'postgres://127.0.0.1:1/d?user=u&connect_timeout=1&password=%s'}\n",
		"URL of an Alertmanager":       begin + "alertmanager: {targets: [{url: 'http://u:%s@h'}]}\n",
		"no URL of an Alertmanager":    begin + "alertmanager: {targets: [{url: 'http://u:%s@h:port'}]}\n",
		"Alertmanager with two":        begin + "alertmanager: {targets: [{url: 'http://h', bearer_token: '%s', basic_auth: {username: u, password: '%[1]s'}}]}\n",
		"password is a list":           begin + "alertmanager: {targets: [{url: 'http://h', basic_auth: {username: u, password: ['%s']}}]}\n",
		"basic_auth is a text":         begin + "alertmanager: {targets: [{url: 'http://h', basic_auth: '%s'}]}\n",
		"URL of Loki":                  begin + "logs: {loki: {url: 'http://u:%s@h'}}\n",
		"no URL of Loki":               begin + "logs: {loki: {url: 'http://u:%s@h:port'}}\n",
		"Loki's password is a mapping": begin + "logs: {loki: {url: 'http://h', basic_auth: {username: u, password: {x: '%s'}}}}\n",
		"address of syslog":            begin + "logs: {syslog: {address: 'tls://u:%s@h:1'}}\n",
		"no address of syslog":         begin + "logs: {syslog: {address: 'http://u:%s@h:port'}}\n",
		"key of syslog":                begin + "logs: {syslog: {address: 'tls://h:1', tls_config: {cert: x, key: '%s'}}}\n",
		"address of Graphite":          begin + "graphite: {address: 'u:%s@h:2003'}\n",
		"key of Graphite":              begin + "graphite: {address: 'h:2003', tls_config: {cert: x, key: '%s'}}\n",
		"URL of Prometheus":            begin + "prometheus: {url: 'http://u:%s@h'}\n",
		"no URL of Prometheus":         begin + "prometheus: {url: 'http://u:%s@h:port'}\n",
		"cookie of a group":            begin + "targets: [{name: a, cookie: ['%s'], static_configs: [{targets: [a@b]}]}]\n",
		"bad cookie of a group":        begin + "targets: [{name: a, cookie: '%s\u0001', static_configs: [{targets: [a@b]}]}]\n",
		"key of a group":               begin + "targets: [{name: a, tls_config: {cert: x, key: '%s'}, static_configs: [{targets: [a@b]}]}]\n",
		"URL of http_sd":               begin + "targets: [{name: a, http_sd_configs: [{url: 'http://u:%s@h'}]}]\n",
		"no URL of http_sd":            begin + "targets: [{name: a, http_sd_configs: [{url: 'http://u:%s@h:port'}]}]\n",
		"ftp of http_sd":               begin + "targets: [{name: a, http_sd_configs: [{url: 'ftp://u:%s@h/'}]}]\n",
		"server of Consul":             begin + "targets: [{name: a, consul_sd_configs: [{server: 'u:%s@h:1'}]}]\n",
		"Consul with two":              begin + "targets: [{name: a, consul_sd_configs: [{server: 'h:1', token: '%s', username: u, password: '%[1]s', authorization: {credentials: '%[1]s'}}]}]\n",
		"headers":                      begin + "prometheus: {url: 'http://h', http_headers: {Authorization: {secrets: ['%s']}}}\n",
		"oauth2":                       begin + "prometheus: {url: 'http://h', oauth2: {client_id: x, client_secret: ['%s'], token_url: 'http://h'}}\n",
		"not in the environment":       begin + "auth: {tokens: [{name: a, role: read, token: '%s$(NOT_THERE_AT_ALL)'}]}\n",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, dir := plant(t), t.TempDir()
			secret := p.secret("x")
			p.texts[secret[:12]] = "its beginning"
			write(t, dir, "cookie", "cookie")
			config := write(t, dir, "erl-exporter.yml", fmt.Sprintf(text, secret))
			code, out := p.run(t, dir, "--config.file", config, "--config.check")
			if code == 0 { // it is found when the exporter starts
				code, out = p.run(t, dir, "--config.file", config, "--web.listen-address", "127.0.0.1:0")
			}
			require.Equal(t, 1, code, out)
			require.NotEmpty(t, strings.TrimSpace(out))
		})
	}
}

// TestCookiesThatLookLikeNumbers are the texts that they are written as.
func TestCookiesThatLookLikeNumbers(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"digits": "0123456789012345678901234567890", "hexadecimal": "0x7f001234", "float": "1234567.50", "exponent": "12345e678",
		"yes": "yes", "date": "2026-01-02", "infinity": ".inf", "underscores": "1_000_000",
		"tag of integers": "!!int 123456789", "tag of integers, a word": "!!int hunter2hunter2", "tag of floats": "!!float hunter2hunter2",
		"tag of truth": "!!bool hunter2hunter2",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The cookie that is sent is compared with a node's.
			cookie := strings.TrimLeft(text[strings.LastIndex(text, " ")+1:], " ")
			n := erltest.Start(t, erltest.Options{Cookie: cookie})
			p, dir := plant(t), t.TempDir()
			if len(cookie) > 3 {
				p.texts[cookie] = "the cookie"
			}
			config := write(t, dir, "erl-exporter.yml", fmt.Sprintf(
				"cookie: %s\nstorage: {path: db}\ntargets: [{name: a, epmd: '%s', static_configs: [{targets: ['%s']}]}]\n", text, n.EPMD, n.Name))
			code, out := p.run(t, dir, "--config.file", config, "--config.check")
			require.Zero(t, code, out)
			code, out = p.run(t, dir, "doctor", n.Name, "--config.file", config)
			require.Zero(t, code, out)
			require.Contains(t, out, n.Name)
		})
	}
}
