package web

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api"
)

var update = flag.Bool("update", false, "write the golden files anew")

// testNodes are nodes in every state, some of which mean harm.
func testNodes(t *testing.T) []api.Node {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "nodes.json"))
	require.NoError(t, err)
	var nodes []api.Node
	require.NoError(t, json.Unmarshal(text, &nodes))
	return nodes
}

// withNodes is a server with every link there is.
func withNodes(t *testing.T, nodes []api.Node) *Server {
	t.Helper()
	return newTestServer(t, Options{
		Nodes:   func() []api.Node { return slices.Clone(nodes) },
		Metrics: text(""), AllNodes: text(""), Probe: text(""), ServiceDiscovery: text(""),
		Config:   func() ([]byte, error) { return nil, nil },
		NodeName: "erl_exporter@monitor.example.org", Version: "0.1.0",
	})
}

func requireGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "run the test with -update if this is meant")
}

func TestLandingPage(t *testing.T) {
	t.Parallel()
	w := ask(withNodes(t, testNodes(t)), "GET", "/")
	require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
	page := w.Body.String()
	// Style and script have files of their own.
	requireGolden(t, "landing.golden.html", strings.NewReplacer(pageCSS, "", landingJS, "").Replace(page))
	require.Contains(t, page, pageCSS, "the style has to be what its hash in the policy says")
	require.Contains(t, page, landingJS)
	policy := w.Header().Get("Content-Security-Policy")
	require.Contains(t, policy, "style-src "+sourceHash(pageCSS))
	require.Contains(t, policy, "script-src "+sourceHash(landingJS))

	require.NotContains(t, page, "<script>alert", "names are text")
	require.NotContains(t, page, "<img")
	require.NotRegexp(t, `(src|href)="(https?:)?//`, page, "nothing comes from elsewhere")
	require.NotRegexp(t, `(src|href)="/`, page, "links hold behind any proxy")
	require.NotRegexp(t, ` style="| on[a-z]+="`, page, "the policy does not allow these")
}

// rows are the nodes on a page, from above.
func rows(page string) []string {
	var names []string
	for _, m := range regexp.MustCompile(`<th scope="row"><a href="probe\?target=([^"]+)">`).FindAllStringSubmatch(page, -1) {
		name, err := url.QueryUnescape(m[1])
		if err != nil {
			name = err.Error()
		}
		names = append(names, name)
	}
	return names
}

const longName = "legacy_billing_system_with_a_long_name@very-long-host-name-01.datacenter-frankfurt-2.internal.example.org"

func TestLandingPageFilters(t *testing.T) {
	t.Parallel()
	s := withNodes(t, testNodes(t))
	tests := map[string]struct {
		query, count string
		want         []string
	}{
		"state":           {"?state=suspended", "<strong>1</strong> of 13 nodes", []string{"shop@10.0.0.9"}},
		"family and sort": {"?family=rabbit&sort=name", "<strong>3</strong> of 13 nodes", []string{"rabbit@mq1.example.org", "rabbit@mq2.example.org", "rabbit@mq3.example.org"}},
		"what is wrong":   {"?family=rabbit", "<strong>3</strong> of 13 nodes", []string{"rabbit@mq3.example.org", "rabbit@mq1.example.org", "rabbit@mq2.example.org"}},
		"latest first":    {"?family=shop&sort=since", "<strong>3</strong> of 13 nodes", []string{"shop@10.0.0.8", "shop@10.0.0.7", "shop@10.0.0.9"}},
		"by family":       {"?q=host&sort=family", "<strong>5</strong> of 13 nodes", []string{"new@host-17", "demo1@localhost", "demo2@localhost", longName, "rabbit@mq3.example.org"}},
		"words of errors": {"?q=COOKIE+wrong", "<strong>1</strong> of 13 nodes", []string{"ejabberd@xmpp-b.internal"}},
		"release":         {"?q=otp+27&state=up", "<strong>1</strong> of 13 nodes", []string{"shop@10.0.0.7"}},
		"nothing":         {"?q=%3Cscript%3Ex", "No node matches.", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			page := ask(s, "GET", "/"+tt.query).Body.String()
			require.Contains(t, page, tt.count)
			require.Equal(t, tt.want, rows(page))
			require.NotContains(t, page, "<script>x")
		})
	}
	page := ask(s, "GET", "/?state=down&q=e").Body.String()
	require.Contains(t, page, `<a class="chip down" href="?q=e" aria-current="true">`, "a second click shows all again")
	require.Contains(t, page, `<a class="chip up" href="?q=e&amp;state=up">`)
}

func TestLandingPageWithoutNodes(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, Options{Ready: func() error { return errors.New("discovery <has> not answered") }})
	page := ask(s, "GET", "/").Body.String()
	require.Contains(t, page, "No node is known yet.")
	require.Contains(t, page, "<strong>Not ready yet.</strong> discovery &lt;has&gt; not answered")
	require.NotContains(t, page, `href="sd"`, "what is not served has no link")
}

func TestLandingPageOfALargeFleet(t *testing.T) {
	t.Parallel()
	nodes := make([]api.Node, 5000)
	for i := range nodes {
		nodes[i] = api.Node{Name: fmt.Sprintf("n%04d@h", i), State: api.StateUp, Since: testTime}
	}
	nodes[4999].State = api.StateDown
	w := ask(withNodes(t, nodes), "GET", "/")
	shown := rows(w.Body.String())
	require.Len(t, shown, maxRows)
	require.Equal(t, "n4999@h", shown[0], "what is wrong comes first")
	require.Contains(t, w.Body.String(), "These are the first 1000 of 5000 nodes")
	require.Less(t, w.Body.Len(), 1<<20)
}

func TestWhoIsSignedIn(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, Options{Auth: Auth{Tokens: []Token{{"on-call", "operate", token("operate")}}}})
	require.Contains(t, ask(s, "GET", "/", bearer(string(token("operate")))).Body.String(), "Signed in as on-call (operate).")
}

func TestAPIPage(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, Options{Probe: text(""), Routes: newRoleServer(t, Auth{}, "").options.Routes})
	page := ask(s, "GET", "/api").Body.String()
	for _, r := range s.Routes() {
		require.Contains(t, page, "<b>"+r.Method+"</b> "+strings.TrimSuffix(r.Pattern, "{$}")+"</code>")
		require.NotEmpty(t, r.Summary)
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 0: "0 s", 59 * time.Second: "59 s", 90 * time.Second: "1 min", time.Hour: "1 h 0 min",
		25 * time.Hour: "1 d 1 h", 240 * time.Hour: "10 d",
	} {
		require.Equal(t, want, age(testTime.Add(-d), testTime))
	}
	require.Empty(t, age(time.Time{}, testTime))
}

func BenchmarkLandingPage(b *testing.B) {
	nodes := make([]api.Node, 1000)
	for i := range nodes {
		nodes[i] = api.Node{Name: fmt.Sprintf("n%04d@h", i), State: api.StateUp, Since: testTime, LastError: strings.Repeat("x", 100)}
	}
	s, err := newServer(Options{Nodes: func() []api.Node { return slices.Clone(nodes) }})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if w := ask(s, http.MethodGet, "/"); w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}
