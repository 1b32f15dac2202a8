package metrics_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/metrics"
)

type group struct {
	Targets []string
	Labels  map[string]string
}

func discover(t *testing.T, h *metrics.Handler, r *http.Request) []group {
	t.Helper()
	w := httptest.NewRecorder()
	h.SD().ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	var groups []group
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &groups))
	return groups
}

func TestSDWithoutNodes(t *testing.T) {
	w := get(newHandler(t, metrics.Options{Fleet: &fleet{}}).SD(), "/sd")
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "[]\n", w.Body.String())
}

func TestSDOfNodes(t *testing.T) {
	f := &fleet{nodes: []metrics.Node{
		{Name: "rabbit@h2", ID: "2", State: metrics.StateDown},
		{
			Name: "rabbit@h1", ID: "1", Family: "rabbit", State: metrics.StateUp,
			Labels: map[string]string{
				"env": "prod", "instance": "other", "__address__": "evil", "__meta_dns_name": "h1", "a-b": "\xff", "9": "x",
			},
			Meta: map[string]string{"otp_release": "25", "state": "mine"},
		},
	}}
	h := newHandler(t, metrics.Options{Fleet: f, Settings: metrics.Settings{
		ExternalLabels: map[string]string{"env": "test", "site": "dc1"},
	}})
	groups := discover(t, h, httptest.NewRequest(http.MethodGet, "http://exporter:9198/sd", nil))
	require.Len(t, groups, 2, "all nodes, whatever their state")
	require.Equal(t, group{
		Targets: []string{"exporter:9198"},
		Labels: map[string]string{
			"__scheme__": "http", "__metrics_path__": "/probe", "__param_target": "rabbit@h1",
			"instance": "rabbit@h1", "node": "rabbit@h1", "family": "rabbit",
			"__meta_erlang_node": "rabbit@h1", "__meta_erlang_id": "1", "__meta_erlang_family": "rabbit",
			"__meta_erlang_state": "up", "__meta_erlang_name": "rabbit", "__meta_erlang_host": "h1",
			"__meta_erlang_otp_release": "25", "__meta_dns_name": "h1",
			"env": "prod", "site": "dc1", "a_b": "\uFFFD", "_9": "x",
		},
	}, groups[0])
	require.Equal(t, "down", groups[1].Labels["__meta_erlang_state"])
	require.NotContains(t, groups[1].Labels, "family")
}

func TestSDAddress(t *testing.T) {
	nodes := []metrics.Node{{Name: "n@h", State: metrics.StateUp}}
	external, err := url.Parse("https://prom.example.org/erlang/")
	require.NoError(t, err)
	overTLS := httptest.NewRequest(http.MethodGet, "http://10.0.0.1:9198/sd", nil)
	overTLS.TLS = &tls.ConnectionState{}
	for _, tc := range []struct {
		name                  string
		external              *url.URL
		request               *http.Request
		address, scheme, path string
	}{
		{"as asked", nil, httptest.NewRequest(http.MethodGet, "http://10.0.0.1:9198/sd", nil), "10.0.0.1:9198", "http", "/probe"},
		{"as asked over TLS", nil, overTLS, "10.0.0.1:9198", "https", "/probe"},
		{"external URL", external, httptest.NewRequest(http.MethodGet, "http://10.0.0.1:9198/sd", nil), "prom.example.org", "https", "/erlang/probe"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHandler(t, metrics.Options{Fleet: &fleet{nodes: nodes}, Settings: metrics.Settings{ExternalURL: tc.external}})
			groups := discover(t, h, tc.request)
			require.Equal(t, []string{tc.address}, groups[0].Targets)
			require.Equal(t, tc.scheme, groups[0].Labels["__scheme__"])
			require.Equal(t, tc.path, groups[0].Labels["__metrics_path__"])
		})
	}
}

func TestSDWithoutHost(t *testing.T) {
	h := newHandler(t, metrics.Options{Fleet: &fleet{nodes: []metrics.Node{{Name: "n@h"}}}})
	server := httptest.NewServer(h.SD())
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("GET /sd HTTP/1.0\r\n\r\n"))
	require.NoError(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer answer.Body.Close()
	var groups []group
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&groups))
	require.Equal(t, []string{server.Listener.Addr().String()}, groups[0].Targets)
}
