//go:build sd_cloud

package discovery_test

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/discovery"
)

// hasClouds tells whether this build takes the mechanisms of clouds.
const hasClouds = true

// often is the refresh interval of tests.
const often = model.Duration(20 * time.Millisecond)

// await waits for a set with just these nodes and returns it.
func await(t *testing.T, sets <-chan []discovery.Target, want ...string) []discovery.Target {
	t.Helper()
	deadline := time.After(patience)
	var names []string
	for {
		select {
		case set := <-sets:
			names = nil
			for _, target := range set {
				names = append(names, target.Node)
			}
			if strings.Join(names, " ") == strings.Join(want, " ") {
				return set
			}
		case <-deadline:
			require.Equal(t, want, names, "the set never came")
		}
	}
}

// ec2Instance is a machine as EC2 describes it.
type ec2Instance struct {
	XMLName struct{} `xml:"item"`
	ID      string   `xml:"instanceId"`
	State   string   `xml:"instanceState>name"`
	DNS     string   `xml:"privateDnsName"`
	Address string   `xml:"privateIpAddress"`
	Zone    string   `xml:"placement>availabilityZone"`
	Tags    []ec2Tag `xml:"tagSet>item"`
}

type ec2Tag struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

// fakeEC2 describes instances, one a page, as the Query API of EC2 does.
type fakeEC2 struct {
	instances atomic.Pointer[[]ec2Instance]
	refuse    atomic.Bool
	t         *testing.T
}

func (f *fakeEC2) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/xml")
	if f.refuse.Load() {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error></Errors><RequestID>1</RequestID></Response>`)
		return
	}
	// The request proves the secret key by a signature.
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/") {
		f.t.Errorf("no signature of the configured key: %q", r.Header.Get("Authorization"))
	}
	switch action := r.FormValue("Action"); action {
	case "DescribeAvailabilityZones":
		fmt.Fprint(w, `<DescribeAvailabilityZonesResponse><availabilityZoneInfo><item><zoneName>eu-central-1a</zoneName><zoneId>euc1-az2</zoneId></item></availabilityZoneInfo></DescribeAvailabilityZonesResponse>`)
	case "DescribeInstances":
		f.describe(w, r)
	default:
		f.t.Errorf("the role in the documents does not allow %s", action)
	}
}

func (f *fakeEC2) describe(w http.ResponseWriter, r *http.Request) {
	if got := r.FormValue("Filter.1.Name") + "=" + r.FormValue("Filter.1.Value.1"); got != "tag:erlang=shop" {
		f.t.Errorf("asked for other instances: %s", got)
	}
	all, page := *f.instances.Load(), 0
	_, _ = fmt.Sscanf(r.FormValue("NextToken"), "page-%d", &page)
	text, next := []byte{}, ""
	if page < len(all) {
		text, _ = xml.Marshal(all[page])
	}
	if page+1 < len(all) {
		next = fmt.Sprintf("<nextToken>page-%d</nextToken>", page+1)
	}
	fmt.Fprintf(w, `<DescribeInstancesResponse><reservationSet><item><ownerId>1</ownerId><instancesSet>%s</instancesSet></item></reservationSet>%s</DescribeInstancesResponse>`, text, next)
}

func TestEC2(t *testing.T) {
	// The client reads the files of the user who runs the test otherwise, and
	// does not take Prometheus's HTTP client together with a bundle.
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		t.Setenv(name, os.DevNull)
	}
	t.Setenv("AWS_CA_BUNDLE", "")
	app := func(n int) ec2Instance {
		return ec2Instance{
			ID: fmt.Sprintf("i-%d", n), State: "running", Address: fmt.Sprintf("10.0.0.%d", n), Zone: "eu-central-1a",
			DNS: fmt.Sprintf("ip-10-0-0-%d.eu-central-1.compute.internal", n), Tags: []ec2Tag{{"erlang", "shop"}, {"Name", "app"}},
		}
	}
	f := &fakeEC2{t: t}
	f.instances.Store(&[]ec2Instance{app(7), app(8)})
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)

	_, g := recipe(t, "configuration.md", "shop-on-ec2")
	c := g.SD.EC2[0]
	c.Endpoint, c.AccessKey, c.SecretKey, c.RefreshInterval = server.URL, "AKIDEXAMPLE", "secret", often
	sets := watch(t, g)
	first, second := "shop@ip-10-0-0-7.eu-central-1.compute.internal", "shop@ip-10-0-0-8.eu-central-1.compute.internal"
	require.Equal(t, discovery.Target{
		Node: second, Labels: map[string]string{"zone": "eu-central-1a"}, Group: g.Name, Source: "ec2",
	}, await(t, sets, first, second)[1])

	f.instances.Store(&[]ec2Instance{app(8)})
	await(t, sets, second)
	f.refuse.Store(true)
	require.Never(t, func() bool { return len(sets) > 0 }, 200*time.Millisecond, 20*time.Millisecond, "an API that fails keeps its targets")
}

// fakeOpenStack is Keystone, Nova and Neutron on one port.
type fakeOpenStack struct {
	*httptest.Server
	servers atomic.Pointer[string]
	fail    atomic.Bool
	logins  atomic.Int64
}

const openStackToken = "a-token-of-keystone"

func newFakeOpenStack(t *testing.T) *fakeOpenStack {
	t.Helper()
	f := &fakeOpenStack{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v3/auth/tokens", f.login)
	get := func(path string, body func() string) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Header.Get("X-Auth-Token") != openStackToken:
				http.Error(w, "{}", http.StatusUnauthorized)
			case f.fail.Load():
				http.Error(w, "{}", http.StatusServiceUnavailable)
			default:
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, body())
			}
		})
	}
	get("/compute/v2.1/servers/detail", func() string { return `{"servers": [` + *f.servers.Load() + `]}` })
	get("/network/{$}", func() string { return `{"versions": [{"id": "v2.0", "status": "CURRENT", "links": []}]}` })
	get("/network/v2.0/ports", func() string { return `{"ports": [{"id": "port-1", "device_id": "vm-1"}]}` })
	get("/network/v2.0/floatingips", func() string {
		return `{"floatingips": [{"id": "fip", "port_id": "port-1", "fixed_ip_address": "10.0.0.7", "floating_ip_address": "203.0.113.7"}]}`
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeOpenStack) login(w http.ResponseWriter, r *http.Request) {
	f.logins.Add(1)
	body := make([]byte, 4096)
	n, _ := r.Body.Read(body)
	if text := string(body[:n]); !strings.Contains(text, `"password":"os_password"`) || !strings.Contains(text, `"name":"erl-exporter"`) {
		http.Error(w, "{}", http.StatusUnauthorized)
		return
	}
	endpoint := func(kind, version string) string {
		return fmt.Sprintf(`{"type": %q, "endpoints": [{"interface": "public", "region": "RegionOne", "region_id": "RegionOne", "url": "%s/%s/%s"}]}`, kind, f.URL, kind, version)
	}
	w.Header().Set("X-Subject-Token", openStackToken)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"token": {"expires_at": "2100-01-01T00:00:00.000000Z", "catalog": [%s, %s]}}`, endpoint("compute", "v2.1"), endpoint("network", ""))
}

func TestOpenStack(t *testing.T) {
	t.Parallel()
	server := func(n int, status string) string {
		return fmt.Sprintf(`{"id": "vm-%d", "name": "app%d", "status": %q, "tenant_id": "p", "user_id": "u", "flavor": {"id": "1"}, "image": {"id": "2"},
			"metadata": {"erlang": "shop"}, "addresses": {"private": [{"version": 4, "addr": "10.0.0.%d"}], "storage": [{"version": 4, "addr": "10.9.0.%d"}]}}`, n, n, status, n+6, n+6)
	}
	f := newFakeOpenStack(t)
	set := func(servers ...string) {
		text := strings.Join(servers, ",")
		f.servers.Store(&text)
	}
	set(server(1, "ACTIVE"), server(2, "ACTIVE"), server(3, "SHUTOFF"))

	_, g := recipe(t, "configuration.md", "shop-on-openstack")
	c := g.SD.OpenStack[0]
	c.IdentityEndpoint, c.RefreshInterval = f.URL+"/v3", model.Duration(time.Second)
	sets := watch(t, g)
	require.Equal(t, discovery.Target{
		Node: "shop@10.0.0.8", Labels: map[string]string{"instance_name": "app2"}, Group: g.Name, Source: "openstack",
	}, await(t, sets, "shop@10.0.0.7", "shop@10.0.0.8")[1])
	set(server(2, "ACTIVE"), server(3, "ACTIVE"))
	await(t, sets, "shop@10.0.0.8", "shop@10.0.0.9")
	f.fail.Store(true)
	logins := f.logins.Load()
	require.Eventually(t, func() bool { return f.logins.Load() > logins+1 }, patience, 20*time.Millisecond)
	require.Empty(t, sets, "an API that fails keeps its targets")
}
