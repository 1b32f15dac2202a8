package httpd

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

func TestWrongAuth(t *testing.T) {
	t.Parallel()
	err := Check(complete(Options{
		ConfigFile: writeUsers(t, "alice"),
		Auth: Auth{
			UnauthenticatedRole: "everything",
			Tokens: []Token{
				{"", "read", "SECRET-0123456789"},
				{"a", "root", "SECRET-0123456789"},
				{"b", "read", "SECRET-short"},
				{"c", "read", "SECRET-0123456789"},
				{"c", "read", "SECRET-9876543210"},
				{"d", "admin", "SECRET-0123456789"},
			},
			Users: []User{{"alice", "boss"}, {"bob", "read"}, {"alice", "admin"}, {"alice", "read"}},
		},
	}))
	require.EqualError(t, err, strings.Join([]string{
		`httpd: auth.tokens[0]: name is missing`,
		`auth.tokens[1]: unknown role "root": it must be one of none, read, operate, command, admin`,
		`auth.tokens[2]: token "b" has fewer than 16 characters`,
		`auth.tokens[4]: there is another token "c"`,
		`auth.tokens[5]: token "d" is the same as token "c"`,
		`auth.users[0]: unknown role "boss": it must be one of none, read, operate, command, admin`,
		`auth.users[1]: user "bob" is not among basic_auth_users of the web configuration file`,
		`auth.users[3]: there is another user "alice"`,
		`auth.unauthenticated_role: unknown role "everything": it must be one of none, read, operate, command, admin`,
	}, "\n"))
}

func TestWrongConfigFiles(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ content, want string }{
		"unknown key":   {"basic_auth_user:\n  a: b\n", "field basic_auth_user not found"},
		"no hash":       {"basic_auth_users:\n  a: SECRET\n", "hashedSecret too short"},
		"no name":       {"basic_auth_users:\n  '': " + someHash + "\n", `user "" needs a name`},
		"missing key":   {"tls_server_config:\n  cert_file: x.pem\n", "missing one of key or key_file"},
		"missing cert":  {"tls_server_config:\n  cert_file: x.pem\n  key_file: y.pem\n", "x.pem"},
		"wrong header":  {"http_server_config:\n  headers:\n    X-Own: x\n", `HTTP header "X-Own" can not be configured`},
		"not YAML":      {"\t", "yaml"},
		"unknown curve": {"tls_server_config:\n  curve_preferences: [x]\n", "unknown curve"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "httpd.yml")
			require.NoError(t, os.WriteFile(file, []byte(tt.content), 0o600))
			_, err := newServer(complete(Options{ConfigFile: file}))
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, fmt.Sprintf("web configuration file %q: ", file))
			require.NotContains(t, err.Error(), "SECRET")
		})
	}
	_, err := newServer(complete(Options{ConfigFile: "/nonexistent/httpd.yml"}))
	require.ErrorContains(t, err, `web configuration file "/nonexistent/httpd.yml": `)
	empty := filepath.Join(t.TempDir(), "httpd.yml")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	newTestServer(t, Options{ConfigFile: empty})
}

// someHash is that of an empty password.
const someHash = "$2a$04$yrVsmkmmVLJHhV9OvYPk4.5pGo5dZ9VFQm9CUvYH1oWgnKuHqCHdq"

// rewrite replaces a file in a way that its time shows.
func rewrite(t *testing.T, file, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	later := time.Now().Add(time.Hour)
	require.NoError(t, os.Chtimes(file, later, later))
}

func TestConfigFileIsFollowed(t *testing.T) {
	t.Parallel()
	file := writeUsers(t, "alice", "bob")
	with, err := os.ReadFile(file)
	require.NoError(t, err)
	without, _, _ := strings.Cut(string(with), "  bob:")
	var log syncBuffer
	s := newRoleServer(t, Auth{Users: []User{{"alice", "admin"}}}, file)
	s.access.logger = debugLog(&log)
	alice, bob := basic("alice", "password of alice"), basic("bob", "password of bob")
	require.Equal(t, 204, ask(s, "GET", "/", bob).Code)

	rewrite(t, file, without)
	require.Equal(t, 401, ask(s, "GET", "/", bob).Code, "removed from the file, a known password is of no use")
	require.Equal(t, 204, ask(s, "POST", "/-/reload", alice).Code)
	require.Contains(t, log.String(), "is in force")

	rewrite(t, file, "nonsense")
	for range 3 {
		require.Equal(t, 204, ask(s, "GET", "/", alice).Code, "a wrong file changes nothing")
	}
	require.Equal(t, 1, strings.Count(log.String(), "keeping the old one"))
	require.ErrorContains(t, s.Apply(Auth{}), "cannot unmarshal")
	require.NoError(t, os.Remove(file))
	require.Equal(t, 204, ask(s, "GET", "/", alice).Code)

	// One without alice contradicts the configuration, which names her.
	rewrite(t, file, "basic_auth_users: {}\n")
	require.Equal(t, 401, ask(s, "GET", "/").Code)
	require.Contains(t, log.String(), `user \"alice\" is not among basic_auth_users`)
}

func TestApply(t *testing.T) {
	t.Parallel()
	s := newRoleServer(t, Auth{}, "")
	require.Equal(t, 204, ask(s, "GET", "/").Code)
	require.NoError(t, s.Apply(Auth{Tokens: []Token{{"t", "read", token("read")}}}))
	require.Equal(t, 401, ask(s, "GET", "/").Code)
	require.Error(t, s.Apply(Auth{UnauthenticatedRole: "x"}))
	require.Equal(t, 401, ask(s, "GET", "/").Code, "an error changes nothing")
	require.NoError(t, s.Apply(Auth{}))
	require.Equal(t, 204, ask(s, "GET", "/").Code)
}

// TestNobodyIsLetInByAccident holds what a listener that others can reach needs.
func TestNobodyIsLetInByAccident(t *testing.T) {
	t.Parallel()
	const refusal = `without authentication would let everybody in`
	tests := map[string]struct {
		addresses []string
		auth      Auth
		file      string
		want      string
	}{
		"default":                 {nil, Auth{}, "", ""},
		"loopback":                {[]string{"127.0.0.1:0", "[::1]:0", "localhost:0", "unix:/x"}, Auth{}, "", ""},
		"all addresses":           {[]string{":9198"}, Auth{}, "", refusal},
		"all addresses, written":  {[]string{"0.0.0.0:9198"}, Auth{}, "", refusal},
		"all v6 addresses":        {[]string{"[::]:9198"}, Auth{}, "", refusal},
		"one of several":          {[]string{"127.0.0.1:1", "10.0.0.1:9198"}, Auth{}, "", refusal},
		"a name":                  {[]string{"monitor:9198"}, Auth{}, "", refusal},
		"token":                   {[]string{":9198"}, Auth{Tokens: []Token{{"t", "read", token("read")}}}, "", ""},
		"user":                    {[]string{":9198"}, Auth{}, writeUsers(t, "alice"), ""},
		"meant to be open":        {[]string{":9198"}, Auth{UnauthenticatedRole: "read"}, "", ""},
		"meant to be shut":        {[]string{":9198"}, Auth{UnauthenticatedRole: "none"}, "", ""},
		"client certificates":     {[]string{":9198"}, Auth{}, writeTLS(t, newCertificates(t), "RequireAndVerifyClientCert"), ""},
		"certificates if present": {[]string{":9198"}, Auth{}, writeTLS(t, newCertificates(t), "VerifyClientCertIfGiven"), refusal},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := newServer(complete(Options{ListenAddresses: tt.addresses, Auth: tt.auth, ConfigFile: tt.file}))
			if tt.want != "" {
				require.ErrorContains(t, err, tt.want)
				return
			}
			require.NoError(t, err)
			if len(tt.auth.Tokens) == 1 {
				require.ErrorContains(t, s.Apply(Auth{}), refusal, "nor by a reload")
			}
		})
	}
	require.NoError(t, Check(complete(Options{})))
	require.ErrorContains(t, Check(Options{}), "no address to listen on")
	_, err := New(Options{ListenAddresses: []string{"0.0.0.0:0"}})
	require.EqualError(t, err, `httpd: listening on "0.0.0.0:0" without authentication would let everybody in: `+
		`configure auth.tokens, or basic_auth_users in the web configuration file; or listen on a loopback address; `+
		`or say with auth.unauthenticated_role what everybody may do`)
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "httpd.yml")
	require.NoError(t, os.WriteFile(file, []byte("rate_limit:\n  burst: 2\n  interval: 1h\n"), 0o600))
	s := newTestServer(t, Options{ConfigFile: file})
	require.Equal(t, 200, ask(s, "GET", "/-/healthy").Code)
	require.Equal(t, 200, ask(s, "GET", "/-/healthy").Code)
	w := ask(s, "GET", "/-/healthy")
	requireProblem(t, w, 429, "There are more requests than rate_limit in the web configuration file allows.")
	require.Equal(t, "1", w.Header().Get("Retry-After"))
}

// TestPasswordsAreRemembered takes the one turn away after the first check of
// each, so that none can be checked again.
func TestPasswordsAreRemembered(t *testing.T) {
	t.Parallel()
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	require.NoError(t, err)
	p := newPasswords()
	for range 2 {
		ok, err := p.check(t.Context(), hash, "right")
		require.NoError(t, err)
		require.True(t, ok)
		ok, err = p.check(t.Context(), hash, "wrong")
		require.NoError(t, err)
		require.False(t, ok)
		if len(p.turn) == 0 {
			p.turn <- struct{}{}
		}
	}
}

func TestRightPasswordsOutliveGuesses(t *testing.T) {
	t.Parallel()
	p := newPasswords()
	right := p.id([]byte("hash"), "right")
	p.remember(right, true)
	for i := range 10 * maxRemembered {
		p.remember(p.id([]byte("hash"), fmt.Sprint(i)), false)
		require.LessOrEqual(t, len(p.wrong), maxRemembered)
	}
	ok, known := p.recall(right)
	require.True(t, ok && known)
	require.NotEqual(t, p.id([]byte("ab"), "c"), p.id([]byte("a"), "bc"))
	require.NotEqual(t, right, newPasswords().id([]byte("hash"), "right"), "of use in this process only")
}

// TestGuessesDoNotPileUp holds the one turn, so that nobody gets on.
func TestGuessesDoNotPileUp(t *testing.T) {
	t.Parallel()
	file := writeUsers(t, "alice")
	s := newRoleServer(t, Auth{}, file)
	alice := basic("alice", "password of alice")
	require.Equal(t, 204, ask(s, "GET", "/", alice).Code)

	passwords := s.access.policy().passwords
	passwords.turn <- struct{}{}
	ctx, giveUp := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for i := range maxWaiting {
		waiting.Go(func() {
			w := ask(s, "GET", "/", basic("alice", fmt.Sprint("guess ", i)), func(r *http.Request) { *r = *r.WithContext(ctx) })
			requireProblem(t, w, 503, "The request was given up.")
		})
	}
	require.Eventually(t, func() bool { return passwords.waiting.Load() == maxWaiting }, 5*time.Second, time.Millisecond)
	w := ask(s, "GET", "/", basic("alice", "one more"))
	requireProblem(t, w, 429, "Too many passwords wait to be checked; try again in a second.")
	require.Equal(t, 204, ask(s, "GET", "/", alice).Code, "who was let in before still is")
	giveUp()
	waiting.Wait()
	<-passwords.turn
	require.Equal(t, 401, ask(s, "GET", "/", basic("alice", "one more")).Code)
}
