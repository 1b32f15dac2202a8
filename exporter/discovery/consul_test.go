package discovery

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	sdconsul "github.com/prometheus/prometheus/discovery/consul"
	"github.com/stretchr/testify/require"
)

// consulToken is what the fake Consul wants to see.
const consulToken = "a-token-for-consul"

// instance is a service on a host as Consul knows it.
type instance struct {
	service, host, address string
	port                   int
	tags                   []string
	meta                   map[string]string
	status                 string // of its check
}

// fakeConsul answers as the HTTP API of Consul does: a query with an index is
// held until there is something newer, or its time is over.
type fakeConsul struct {
	*httptest.Server
	mu        sync.Mutex
	changed   chan struct{}
	index     uint64
	indexes   map[string]uint64 // of the last change of each service
	instances []instance
	fail      bool
	asked     int
	held      int
	plain     int // queries without an index, answered at once
}

func newFakeConsul(t *testing.T, instances ...instance) *fakeConsul {
	t.Helper()
	f := &fakeConsul{changed: make(chan struct{}), indexes: map[string]uint64{}, index: 10}
	f.set(instances...)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/agent/self", func(w http.ResponseWriter, r *http.Request) {
		if f.admit(w, r) {
			answer(w, 0, map[string]any{"Config": map[string]any{"Datacenter": "dc1", "NodeName": "server"}})
		}
	})
	mux.HandleFunc("GET /v1/catalog/services", func(w http.ResponseWriter, r *http.Request) {
		if f.admit(w, r) {
			index := f.wait(r, func() uint64 { return f.index })
			answer(w, index, f.services())
		}
	})
	mux.HandleFunc("GET /v1/health/service/{name}", func(w http.ResponseWriter, r *http.Request) {
		if f.admit(w, r) {
			name := r.PathValue("name")
			index := f.wait(r, func() uint64 { return max(f.indexes[name], 1) })
			answer(w, index, f.entries(name, r.URL.Query()["tag"]))
		}
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

func answer(w http.ResponseWriter, index uint64, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Consul-Index", strconv.FormatUint(index, 10))
	w.Header().Set("X-Consul-Knownleader", "true")
	w.Header().Set("X-Consul-Lastcontact", "0")
	_ = json.NewEncoder(w).Encode(body)
}

func (f *fakeConsul) admit(w http.ResponseWriter, r *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	switch {
	case f.fail:
		http.Error(w, "No cluster leader", http.StatusInternalServerError)
	case r.Header.Get("X-Consul-Token") != consulToken:
		http.Error(w, "Permission denied", http.StatusForbidden)
	default:
		return true
	}
	return false
}

// wait holds a blocking query and returns the index of the answer.
func (f *fakeConsul) wait(r *http.Request, current func() uint64) uint64 {
	since, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	limit, err := time.ParseDuration(r.URL.Query().Get("wait"))
	if err != nil {
		limit = 5 * time.Minute
	}
	deadline := time.After(limit)
	f.mu.Lock()
	defer f.mu.Unlock()
	if since == 0 {
		f.plain++
	}
	for since > 0 && current() <= since {
		f.held++
		changed := f.changed
		f.mu.Unlock()
		expired := false
		select {
		case <-changed:
		case <-deadline:
			expired = true
		case <-r.Context().Done():
			expired = true
		}
		f.mu.Lock()
		f.held--
		if expired {
			break
		}
	}
	return current()
}

// set replaces all instances; only what changes gets a new index.
func (f *fakeConsul) set(instances ...instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index++
	of := func(all []instance, name string) (own []instance) {
		for _, i := range all {
			if i.service == name {
				own = append(own, i)
			}
		}
		return own
	}
	for _, i := range slices.Concat(f.instances, instances) {
		before, after := of(f.instances, i.service), of(instances, i.service)
		if !reflect.DeepEqual(before, after) {
			f.indexes[i.service] = f.index
		}
	}
	f.instances = instances
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeConsul) services() map[string][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string][]string{"consul": {}}
	for _, i := range f.instances {
		all[i.service] = append(all[i.service], i.tags...)
	}
	return all
}

func (f *fakeConsul) entries(name string, tags []string) []any {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := []any{}
	for _, i := range f.instances {
		if i.service != name || slices.ContainsFunc(tags, func(tag string) bool { return !slices.Contains(i.tags, tag) }) {
			continue
		}
		all = append(all, map[string]any{
			"Node":    map[string]any{"Node": i.host, "Address": "192.0.2.1", "Datacenter": "dc1", "Meta": map[string]string{"rack": "r1"}},
			"Service": map[string]any{"ID": name + "-" + i.host, "Service": name, "Tags": i.tags, "Address": i.address, "Port": i.port, "Meta": i.meta},
			"Checks":  []any{map[string]any{"CheckID": "c", "Status": cmp.Or(i.status, "passing")}},
		})
	}
	return all
}

func (f *fakeConsul) config() *ConsulConfig {
	c := sdconsul.DefaultSDConfig
	c.Server = strings.TrimPrefix(f.URL, "http://")
	c.Token = consulToken
	c.RefreshInterval = model.Duration(10 * time.Millisecond)
	return &c
}

// quiet waits until n queries are held and nothing else is asked.
func (f *fakeConsul) quiet(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.held == n
	}, patience, time.Millisecond)
}

func shop(host string, port int) instance {
	return instance{
		service: "shop", host: host, address: "10.0.0." + strings.TrimPrefix(host, "app"), port: port, tags: []string{"erlang", "eu"},
		meta: map[string]string{"erlang-node": "shop@" + host + ".example.org", "cookie": "shop"},
	}
}

func consulGroup(c *ConsulConfig) Group {
	return Group{
		Name: "g", Address: "{{address}}", SD: SDConfigs{Consul: []*ConsulConfig{c}},
		Relabel: []*RelabelConfig{
			replace("__meta_consul_service_metadata_erlang_node", "(.+)", NodeLabel, "$1"),
			replace("__meta_consul_service_metadata_cookie", "(.+)", CookieRefLabel, "$1"),
			replace("__meta_consul_health", "(.+)", "health", "$1"),
			replace("__meta_consul_metadata_rack", "(.+)", "rack", "$1"),
			replace("__meta_consul_dc", "(.+)", "dc", "$1"),
		},
	}
}

func TestConsul(t *testing.T) {
	t.Parallel()
	f := newFakeConsul(t, shop("app1", 25672), shop("app2", 25673), instance{service: "web", host: "www", port: 80})
	c := f.config()
	c.Services, c.AllowStale = []string{"shop", "later"}, false
	m := run(t, Options{Groups: []Group{consulGroup(c)}})
	set := m.await(t, "shop@app1.example.org", "shop@app2.example.org")
	require.Equal(t, Target{
		Node: "shop@app2.example.org", Address: "10.0.0.2:25673", CookieRef: "shop",
		Labels: map[string]string{"health": "passing", "rack": "r1", "dc": "dc1"}, Group: "g", Source: "consul",
	}, set[1])

	f.quiet(t, 2)
	f.mu.Lock()
	require.Equal(t, 2, f.plain, "only the first question to each service has no index")
	f.mu.Unlock()
	later := shop("app3", 1)
	later.service = "later"
	down := shop("app1", 25672)
	down.status = "critical"
	f.set(down, later)
	m.await(t, "shop@app1.example.org", "shop@app3.example.org")
	f.set(later)
	m.await(t, "shop@app3.example.org")
	f.set()
	m.await(t)
}

// Without a list of services, those with the tags are found in the catalogue.
func TestConsulCatalog(t *testing.T) {
	t.Parallel()
	web := instance{service: "web", host: "www", port: 80, tags: []string{"nginx"}}
	f := newFakeConsul(t, shop("app1", 25672), web)
	c := f.config()
	c.ServiceTags = []string{"erlang"}
	m := run(t, Options{Groups: []Group{consulGroup(c)}})
	require.Equal(t, []string{"shop@app1.example.org"}, m.next(t))
	f.quiet(t, 2)

	other := shop("app2", 1)
	other.service = "billing"
	f.set(shop("app1", 25672), web, other)
	m.await(t, "shop@app1.example.org", "shop@app2.example.org")
	f.set(web, other)
	m.await(t, "shop@app2.example.org")
}

func TestConsulFails(t *testing.T) {
	t.Parallel()
	f := newFakeConsul(t, shop("app1", 25672))
	c := f.config()
	c.Services, c.Datacenter = []string{"shop"}, "dc1"
	m := run(t, Options{Groups: []Group{consulGroup(c)}})
	require.Equal(t, []string{"shop@app1.example.org"}, m.next(t))

	f.quiet(t, 1)
	f.mu.Lock()
	f.fail = true
	f.mu.Unlock()
	f.CloseClientConnections()
	require.Eventually(t, func() bool {
		n, err := testutil.GatherAndCount(m.registry, "prometheus_sd_consul_rpc_failures_total")
		require.NoError(t, err)
		return n == 1 && strings.Contains(m.logs.String(), "Error refreshing service")
	}, patience, 5*time.Millisecond)
	require.Empty(t, m.Targets(), "a failing server keeps its targets")
	require.NotContains(t, m.logs.String(), consulToken)
}
