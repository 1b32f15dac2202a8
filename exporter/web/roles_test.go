package web

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/erlops/erlops/exporter/api"
)

// wantRoles is all that is served, and the role that it needs. It is written
// out here so that nothing changes by accident.
var wantRoles = map[string]string{
	"GET /{$}":                               "read",
	"GET /api":                               "read",
	"GET /-/healthy":                         "none",
	"GET /-/ready":                           "none",
	"POST /-/reload":                         "operate",
	"GET /config":                            "read",
	"GET /metrics":                           "read",
	"GET /metrics/nodes":                     "read",
	"GET /probe":                             "read",
	"GET /sd":                                "read",
	"GET /debug/pprof/":                      "admin",
	"GET /debug/pprof/cmdline":               "admin",
	"GET /debug/pprof/profile":               "admin",
	"GET /debug/pprof/symbol":                "admin",
	"GET /debug/pprof/trace":                 "admin",
	"GET /api/v1/alarms":                     "read",
	"GET /api/v1/alarms/events":              "read",
	"GET /api/v1/alarms/history":             "read",
	"GET /api/v1/alarms/{id}":                "read",
	"POST /api/v1/alarms/actions":            "operate",
	"POST /api/v1/alarms/{id}/acknowledge":   "operate",
	"POST /api/v1/alarms/{id}/clear":         "operate",
	"POST /api/v1/alarms/{id}/comment":       "operate",
	"POST /api/v1/alarms/{id}/unacknowledge": "operate",
	"GET /api/v1/events":                     "read",
	"GET /api/v1/nodes":                      "read",
	"POST /api/v1/nodes":                     "operate",
	"GET /api/v1/nodes/{name}":               "read",
	"DELETE /api/v1/nodes/{name}":            "operate",
	"POST /api/v1/nodes/{name}/resume":       "operate",
	"POST /api/v1/nodes/{name}/suspend":      "operate",
	"GET /api/v1/openapi.json":               "read",
	"GET /api/v1/openapi.yaml":               "read",
	"POST /api/v1/actions/add-node":          "operate",
	"POST /api/actions/add-node":             "operate",
	"GET /api/v1/families":                   "read",
	"GET /api/v1/families/{family}":          "read",
	"GET /api/v1/families/{family}/diff":     "read",
	"POST /api/v1/families/{family}/rename":  "operate",
	"POST /api/v1/families/{family}/merge":   "operate",
	"POST /api/v1/commands/call":             "operate",
	"POST /api/v1/commands/{command}":        "operate",
	"GET /api/v1/family-rules":               "read",
	"POST /api/v1/family-rules":              "operate",
	"DELETE /api/v1/family-rules/{id}":       "operate",
	"GET /api/v1/graph":                      "read",
	"GET /api/v1/graph.dot":                  "read",
	"GET /api/v1/findings":                   "read",
}

var roleNames = []string{"none", "read", "operate", "command", "admin"}

// token is that of a role in the tests.
func token(role string) api.Secret { return api.Secret("token-of-role-" + role) }

// writeUsers writes a web configuration file with a user for each name, whose
// password is "password of NAME".
func writeUsers(t *testing.T, names ...string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("basic_auth_users:\n")
	for _, name := range names {
		hash, err := bcrypt.GenerateFromPassword([]byte("password of "+name), bcrypt.MinCost)
		require.NoError(t, err)
		b.WriteString("  " + name + ": " + string(hash) + "\n")
	}
	file := filepath.Join(t.TempDir(), "web.yml")
	require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o600))
	return file
}

func basic(name, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(name, password) }
}

// newRoleServer has every route there is, each of which answers 204 to whoever
// is let through.
func newRoleServer(t *testing.T, auth Auth, file string) *Server {
	t.Helper()
	backend, err := api.New(api.Options{Backend: noBackend{}})
	require.NoError(t, err)
	s := newTestServer(t, Options{
		Auth: auth, ConfigFile: file, Routes: backend.Routes(),
		Metrics: text(""), AllNodes: text(""), Probe: text(""), ServiceDiscovery: text(""),
	})
	for i := range s.table {
		s.table[i].Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Who", api.IdentityFrom(r.Context()).Name)
			w.WriteHeader(http.StatusNoContent)
		})
	}
	s.mux = s.newMux()
	return s
}

type noBackend struct{ api.Backend }

func TestTableOfRoles(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for _, r := range newRoleServer(t, Auth{}, "").Routes() {
		got[r.Method+" "+r.Pattern] = r.Role.String()
	}
	require.Equal(t, wantRoles, got)
}

// TestEveryRouteWithEveryRole sends each request as everybody there is.
func TestEveryRouteWithEveryRole(t *testing.T) {
	t.Parallel()
	auth := Auth{}
	var users []string
	for _, role := range roleNames[1:] {
		auth.Tokens = append(auth.Tokens, Token{Name: "token-" + role, Role: role, Token: token(role)})
		auth.Users = append(auth.Users, User{Name: "user-" + role, Role: role})
		users = append(users, "user-"+role)
	}
	file := writeUsers(t, append(users, "unlisted")...)
	configured := newRoleServer(t, auth, file)

	type somebody struct {
		role   string
		server *Server
		shows  func(*http.Request)
		denied int // status when the role does not suffice
		name   string
	}
	nothing := func(*http.Request) {}
	people := map[string]somebody{
		"anonymous":       {"none", configured, nothing, 401, ""},
		"unlisted user":   {"read", configured, basic("unlisted", "password of unlisted"), 403, "unlisted"},
		"wrong token":     {"wrong", configured, bearer("wrong-wrong-wrong-wrong"), 401, ""},
		"wrong password":  {"wrong", configured, basic("user-admin", "password"), 401, ""},
		"unknown user":    {"wrong", configured, basic("nobody", "password of user-admin"), 401, ""},
		"unknown scheme":  {"wrong", configured, header("Authorization", "Digest x"), 401, ""},
		"empty token":     {"wrong", configured, header("Authorization", "Bearer "), 401, ""},
		"no auth at all":  {"read", newRoleServer(t, Auth{}, ""), nothing, 403, ""},
		"none, on demand": {"none", newRoleServer(t, Auth{UnauthenticatedRole: "none"}, ""), nothing, 403, ""},
		// Credentials where none are configured are like none.
		"left over": {"read", newRoleServer(t, Auth{}, ""), bearer("x"), 403, ""},
	}
	for _, role := range roleNames[1:] {
		people["token "+role] = somebody{role, configured, bearer(string(token(role))), 403, "token-" + role}
		people["user "+role] = somebody{role, configured, basic("user-"+role, "password of user-"+role), 403, "user-" + role}
		open := auth
		open.UnauthenticatedRole = role
		people["anonymous as "+role] = somebody{role, newRoleServer(t, Auth{UnauthenticatedRole: role}, ""), nothing, 403, ""}
		people["anonymous as "+role+" besides others"] = somebody{role, newRoleServer(t, open, file), nothing, 401, ""}
	}
	for who, p := range people {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			for route, needs := range wantRoles {
				method, pattern, _ := strings.Cut(route, " ")
				path := strings.NewReplacer("{name}", "rabbit@mq1", "{$}", "").Replace(pattern)
				w := ask(p.server, method, path, p.shows)
				if needs == "none" || rank(p.role) >= rank(needs) {
					require.Equal(t, http.StatusNoContent, w.Code, "%s: %s", route, w.Body)
					if needs != "none" {
						require.Equal(t, p.name, w.Header().Get("X-Who"))
					}
					continue
				}
				require.Equal(t, p.denied, w.Code, "%s: %s", route, w.Body)
				require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
				require.Equal(t, p.denied == 401, len(w.Header().Values("WWW-Authenticate")) > 0)
			}
		})
	}
}

// rank orders roles; "wrong" is below all.
func rank(role string) int {
	for i, name := range roleNames {
		if name == role {
			return i
		}
	}
	return -1
}

func TestWordsOfRefusal(t *testing.T) {
	t.Parallel()
	s := newRoleServer(t, Auth{Tokens: []Token{{"grafana", "read", token("read")}}}, writeUsers(t, "alice"))
	w := ask(s, "POST", "/-/reload")
	requireProblem(t, w, 401, `This needs a token or a user with the role "operate".`)
	require.Equal(t, []string{`Basic realm="erl-exporter", charset="UTF-8"`, `Bearer realm="erl-exporter"`}, w.Header().Values("WWW-Authenticate"))
	w = ask(s, "POST", "/-/reload", bearer("nonsense"))
	requireProblem(t, w, 401, "The token, or the user name and password, are wrong.")
	require.Equal(t, `Bearer realm="erl-exporter", error="invalid_token"`, w.Header().Values("WWW-Authenticate")[1])
	requireProblem(t, ask(s, "POST", "/-/reload", bearer(string(token("read")))), 403,
		`This needs the role "operate"; "grafana" has "read".`)
	requireProblem(t, ask(newRoleServer(t, Auth{}, ""), "POST", "/-/reload"), 403,
		`This needs the role "operate", and without authentication everybody has "read": configure auth.tokens, or auth.unauthenticated_role.`)

	onlyTokens := newRoleServer(t, Auth{Tokens: []Token{{"grafana", "read", token("read")}}}, "")
	w = ask(onlyTokens, "GET", "/", basic("alice", "x"))
	require.Equal(t, []string{`Bearer realm="erl-exporter", error="invalid_token"`}, w.Header().Values("WWW-Authenticate"))
}

func TestOtherSites(t *testing.T) {
	t.Parallel()
	s := newRoleServer(t, Auth{}, writeUsers(t, "alice"))
	require.NoError(t, s.Apply(Auth{Users: []User{{"alice", "admin"}}}))
	require.NoError(t, s.setExternalURL("https://mon.example.org/erl"))
	alice := basic("alice", "password of alice")
	tests := map[string]struct {
		headers map[string]string
		status  int
	}{
		"no browser":                  {nil, 204},
		"our own page":                {map[string]string{"Sec-Fetch-Site": "same-origin"}, 204},
		"typed in":                    {map[string]string{"Sec-Fetch-Site": "none"}, 204},
		"another site":                {map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		"a sister site":               {map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		"old browser, our own page":   {map[string]string{"Origin": "http://localhost:9198"}, 204},
		"old browser, another site":   {map[string]string{"Origin": "http://evil.example"}, 403},
		"old browser, sandboxed page": {map[string]string{"Origin": "null"}, 403},
		"behind a proxy":              {map[string]string{"Origin": "https://mon.example.org"}, 204},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, route := range []string{"POST /-/reload", "POST /api/v1/nodes", "DELETE /api/v1/nodes/a@b", "POST /api/v1/nodes/a@b/suspend"} {
				method, path, _ := strings.Cut(route, " ")
				w := ask(s, method, path, alice, func(r *http.Request) {
					for k, v := range tt.headers {
						r.Header.Set(k, v)
					}
				})
				require.Equal(t, tt.status, w.Code, route)
			}
		})
	}
}

func TestRebinding(t *testing.T) {
	t.Parallel()
	s := newRoleServer(t, Auth{}, "")
	require.NoError(t, s.setExternalURL("http://mon.example.org:9198"))
	for name, status := range map[string]int{
		"localhost:9198": 204, "LOCALHOST": 204, "exporter.localhost:9198": 204, "127.0.0.1:9198": 204, "[::1]:9198": 204,
		"[::1]": 204, "10.0.0.1": 204, "mon.example.org:9198": 204, "evil.example:9198": 421, "localhost.evil.example": 421, "": 421,
	} {
		w := ask(s, "GET", "/api/v1/nodes", host(name))
		require.Equal(t, status, w.Code, "host %q", name)
	}
	requireProblem(t, ask(s, "GET", "/", host("evil.example:9198")), 421,
		`Without authentication this is only served under localhost or an IP address, not "evil.example:9198"; set --web.external-url if the name is right.`)
	require.Equal(t, 204, ask(s, "GET", "/-/healthy", host("evil.example")).Code, "open to everybody")

	withToken := newRoleServer(t, Auth{Tokens: []Token{{"t", "read", token("read")}}}, "")
	require.Equal(t, 204, ask(withToken, "GET", "/", host("any.name"), bearer(string(token("read")))).Code)
}

// TestEveryRoleAtEveryCeiling asks for every route with every role over HTTP, at
// listeners with every ceiling: what somebody may is the lower of the two.
func TestEveryRoleAtEveryCeiling(t *testing.T) {
	t.Parallel()
	certificates := newCertificates(t)
	for name, file := range map[string]string{"http": "", "https": writeTLS(t, certificates, "")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ceilings := []string{"read", "operate", "command", "admin", ""}
			o := Options{ConfigFile: file, MaxRoles: map[string]string{}, Auth: Auth{UnauthenticatedRole: "none"}}
			for _, role := range roleNames[1:] {
				o.Auth.Tokens = append(o.Auth.Tokens, Token{Name: role, Role: role, Token: token(role)})
			}
			dir := t.TempDir()
			for _, ceiling := range ceilings {
				address := "unix:" + filepath.Join(dir, "s"+ceiling)
				if name == "https" { // which sockets do not have
					address = "127.0.0." + strconv.Itoa(10+len(o.ListenAddresses)) + ":0"
				}
				o.ListenAddresses = append(o.ListenAddresses, address)
				if ceiling != "" {
					o.MaxRoles[address] = ceiling
				}
			}
			s := serveRoles(t, o)
			for i, ceiling := range ceilings {
				client := certificates.httpsClient()
				transport, ok := client.Transport.(*http.Transport)
				require.True(t, ok)
				transport.DisableKeepAlives = false
				transport.TLSClientConfig.ServerName = "127.0.0.1"
				address := s.Addresses()[i]
				transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, address.Network(), address.String())
				}
				t.Cleanup(client.CloseIdleConnections)
				if ceiling == "" {
					ceiling = "admin"
				}
				for _, role := range append([]string{"anonymous"}, roleNames[1:]...) {
					for route, needs := range wantRoles {
						requireCeiling(t, client, name, role, ceiling, route, needs)
					}
				}
			}
		})
	}
}

// requireCeiling asks once.
func requireCeiling(t *testing.T, client *http.Client, scheme, role, ceiling, route, needs string) {
	t.Helper()
	method, pattern, _ := strings.Cut(route, " ")
	path := strings.NewReplacer("{name}", "rabbit@mq1", "{$}", "").Replace(pattern)
	r, err := http.NewRequest(method, scheme+"://localhost"+path, nil)
	require.NoError(t, err)
	if role != "anonymous" {
		bearer(string(token(role)))(r)
	}
	answer, err := client.Do(r)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	want := http.StatusNoContent
	switch {
	case needs == "none":
	case rank(ceiling) < rank(needs):
		want = http.StatusForbidden
	case role == "anonymous":
		want = http.StatusUnauthorized
	case rank(role) < rank(needs):
		want = http.StatusForbidden
	}
	require.Equal(t, want, answer.StatusCode, "%s of %s at a listener for %s", route, role, ceiling)
	if want == http.StatusNoContent && needs != "none" {
		require.Equal(t, roleNames[min(rank(role), rank(ceiling))], answer.Header.Get("X-Role"), "what handlers see")
	}
}

// serveRoles is newRoleServer over HTTP.
func serveRoles(t *testing.T, o Options) *Server {
	t.Helper()
	backend, err := api.New(api.Options{Backend: noBackend{}})
	require.NoError(t, err)
	o.Routes, o.Metrics, o.AllNodes, o.Probe, o.ServiceDiscovery = backend.Routes(), text(""), text(""), text(""), text("")
	s, err := New(o)
	require.NoError(t, err)
	for i := range s.table {
		s.table[i].Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Role", api.IdentityFrom(r.Context()).Role.String())
			w.WriteHeader(http.StatusNoContent)
		})
	}
	s.mux = s.newMux()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return s
}

func TestWrongCeiling(t *testing.T) {
	t.Parallel()
	err := Check(Options{ListenAddresses: []string{"127.0.0.1:0"}, MaxRoles: map[string]string{"127.0.0.1:0": "boss"}})
	require.EqualError(t, err, `web: the highest role at "127.0.0.1:0": unknown role "boss": it must be one of none, read, operate, command, admin`)
}
