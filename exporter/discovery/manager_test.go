package discovery

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/file"
	sdhttp "github.com/prometheus/prometheus/discovery/http"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// dnsChildEnv marks the process that runs TestDNS in namespaces of its own; what
// it leaves behind ends with it.
const dnsChildEnv = "ERLOPS_TEST_DNS_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(dnsChildEnv) != "" {
		os.Exit(m.Run())
	}
	// After a failure Prometheus sleeps 15 s without listening to its context.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/prometheus/prometheus/discovery/consul.(*Discovery).watchService.func1"))
}

// patience bounds every wait for something that is bound to happen.
const patience = 20 * time.Second

// logBuffer collects log lines that several goroutines write.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type running struct {
	*Manager
	registry *prometheus.Registry
	logs     *logBuffer
}

// run starts a manager that ends with the test.
func run(t *testing.T, o Options) running {
	t.Helper()
	r := running{registry: prometheus.NewRegistry(), logs: &logBuffer{}}
	o.Logger = slog.New(slog.NewTextHandler(r.logs, nil))
	o.Registerer = r.registry
	if o.Debounce == 0 {
		o.Debounce = 10 * time.Millisecond
	}
	var err error
	r.Manager, err = New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return r
}

// next returns the node names of the next set.
func (r running) next(t *testing.T) []string {
	t.Helper()
	select {
	case set := <-r.Targets():
		return nodes(set)
	case <-time.After(patience):
		require.FailNow(t, "no set of targets", r.logs.String())
		return nil
	}
}

// await waits for a set with just these nodes and returns it.
func (r running) await(t *testing.T, want ...string) []Target {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case set := <-r.Targets():
			if strings.Join(nodes(set), " ") == strings.Join(want, " ") {
				return set
			}
		case <-deadline:
			require.FailNow(t, "the set never came", "%v\n%s", want, r.logs)
			return nil
		}
	}
}

func nodes(set []Target) []string {
	names := []string{}
	for _, target := range set {
		names = append(names, target.Node)
	}
	return names
}

func static(addresses ...string) []*StaticConfig {
	c := &StaticConfig{}
	for _, a := range addresses {
		c.Targets = append(c.Targets, model.LabelSet{model.AddressLabel: model.LabelValue(a)})
	}
	return []*StaticConfig{c}
}

func fileConfig(names ...string) *FileConfig {
	c := file.DefaultSDConfig
	c.Files = names
	return &c
}

func httpConfig(url string, every time.Duration) *HTTPConfig {
	c := sdhttp.DefaultSDConfig
	c.URL = url
	c.RefreshInterval = model.Duration(every)
	return &c
}

func write(t *testing.T, name, content string) {
	t.Helper()
	// Written aside and renamed, as the documentation asks, so that a half
	// written file is never read.
	require.NoError(t, os.WriteFile(name+".new", []byte(content), 0o600))
	require.NoError(t, os.Rename(name+".new", name))
}

func TestStatic(t *testing.T) {
	t.Parallel()
	m := run(t, Options{Groups: []Group{
		{Name: "a", SD: SDConfigs{Static: static("z@h", "b@h")}},
		{Name: "b", Node: "c@{{host}}", SD: SDConfigs{Static: static("h:1")}},
	}})
	require.Equal(t, []string{"b@h", "c@h", "z@h"}, m.next(t))
	require.NoError(t, testutil.GatherAndCompare(m.registry, strings.NewReader(`
# HELP erlang_exporter_discovery_targets Nodes in the current set of targets, by group and by the mechanism that found them.
# TYPE erlang_exporter_discovery_targets gauge
erlang_exporter_discovery_targets{group="a",mechanism="static"} 2
erlang_exporter_discovery_targets{group="b",mechanism="static"} 1
# HELP erlang_exporter_discovery_updates_total Changed sets of targets handed out.
# TYPE erlang_exporter_discovery_updates_total counter
erlang_exporter_discovery_updates_total 1
`), "erlang_exporter_discovery_targets", "erlang_exporter_discovery_updates_total"))
}

func TestNoGroups(t *testing.T) {
	t.Parallel()
	m := run(t, Options{})
	require.Empty(t, m.next(t))
}

func TestFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "nodes.json")
	write(t, name, `[{"targets": ["a@h", "b@h"], "labels": {"family": "x"}}]`)
	m := run(t, Options{Groups: []Group{{Name: "g", SD: SDConfigs{File: []*FileConfig{fileConfig(name)}}}}})
	require.Equal(t, []string{"a@h", "b@h"}, m.next(t))

	write(t, name, `[{"targets": ["b@h"]}, {"targets": ["c@h", "a@b@c"]}]`)
	m.await(t, "b@h", "c@h")
	require.Equal(t, 1, strings.Count(m.logs.String(), `impossible node name`), "an impossible name is logged once: %s", m.logs)

	write(t, name, `[{"targets":`)
	require.Eventually(t, func() bool { return strings.Contains(m.logs.String(), "Error reading file") }, patience, 5*time.Millisecond)
	write(t, filepath.Join(dir, "other.json"), `[]`) // makes the watcher look again
	require.Empty(t, m.Targets(), "a broken file keeps its targets")

	write(t, name, `[{"targets": ["c@h", "a@b@c"]}]`)
	m.await(t, "c@h")
	require.Equal(t, 1, strings.Count(m.logs.String(), `impossible node name`))
	require.InDelta(t, 1, testutil.ToFloat64(m.metrics.skipped.WithLabelValues("g", reasonInvalid)), 0)

	require.NoError(t, os.Remove(name))
	m.await(t)
}

// listServer is an HTTP service discovery whose answer a test changes.
type listServer struct {
	*httptest.Server
	answer  atomic.Pointer[string]
	asked   atomic.Int64
	release chan struct{}
}

func newListServer(t *testing.T, answer string) *listServer {
	s := &listServer{release: make(chan struct{})}
	s.answer.Store(&answer)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		switch answer := *s.answer.Load(); answer {
		case "hang":
			select {
			case <-s.release:
			case <-r.Context().Done():
			}
		case "fail":
			http.Error(w, "out of order", http.StatusInternalServerError)
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, answer)
		}
	}))
	t.Cleanup(func() {
		close(s.release)
		s.Close()
	})
	return s
}

func (s *listServer) set(answer string) { s.answer.Store(&answer) }

func TestHTTP(t *testing.T) {
	t.Parallel()
	s := newListServer(t, `[{"targets": ["mq1:5672", "mq2:5672"], "labels": {"__meta_dc": "eu"}}]`)
	m := run(t, Options{Groups: []Group{{
		Name: "g", Node: "rabbit@{{host}}",
		SD:      SDConfigs{HTTP: []*HTTPConfig{httpConfig(s.URL, 20*time.Millisecond)}},
		Relabel: []*RelabelConfig{replace("__meta_dc", "(.+)", "dc", "$1")},
	}}})
	set := <-m.Targets()
	require.Equal(t, []string{"rabbit@mq1", "rabbit@mq2"}, nodes(set))
	require.Equal(t, Target{Node: "rabbit@mq1", Labels: map[string]string{"dc": "eu"}, Group: "g", Source: "http"}, set[0])

	s.set("fail")
	asked := s.asked.Load()
	require.Eventually(t, func() bool { return s.asked.Load() > asked+2 }, patience, 5*time.Millisecond)
	require.Empty(t, m.Targets(), "a failing server keeps its targets")

	s.set(`[{"targets": ["mq2:5672", "mq3:5672"]}]`)
	m.await(t, "rabbit@mq2", "rabbit@mq3")
	s.set(`[]`)
	m.await(t)
}

func TestHangingMechanism(t *testing.T) {
	t.Parallel()
	s := newListServer(t, "hang")
	m := run(t, Options{Settle: 100 * time.Millisecond, Groups: []Group{
		{Name: "slow", Node: "a@{{host}}", SD: SDConfigs{HTTP: []*HTTPConfig{httpConfig(s.URL, time.Minute)}}},
		{Name: "fast", SD: SDConfigs{Static: static("a@h")}},
	}})
	require.Equal(t, []string{"a@h"}, m.next(t))
	require.Contains(t, m.logs.String(), "going on without it")
	require.Contains(t, m.logs.String(), "slow/http")
}

func TestApply(t *testing.T) {
	t.Parallel()
	s := newListServer(t, `[{"targets": ["x@h"]}]`)
	web := Group{Name: "web", SD: SDConfigs{HTTP: []*HTTPConfig{httpConfig(s.URL, time.Hour)}}}
	m := run(t, Options{Groups: []Group{web, {Name: "s", SD: SDConfigs{Static: static("a@h")}}}})
	require.Equal(t, []string{"a@h", "x@h"}, m.next(t))

	require.EqualError(t, m.Apply([]Group{{Name: "s", SD: SDConfigs{Static: static("a@b@c")}}}),
		`group "s": static_configs[0].targets[0]: impossible node name "a@b@c": more than one '@'`)
	require.Empty(t, m.Targets(), "what cannot be applied changes nothing")

	again := web
	again.SD.HTTP = []*HTTPConfig{httpConfig(s.URL, time.Hour)}
	again.Relabel = []*RelabelConfig{replace("__address__", "x@(.*)", "__address__", "y@$1")}
	require.NoError(t, m.Apply([]Group{{Name: "s", SD: SDConfigs{Static: static("b@h")}}, again}))
	require.Equal(t, []string{"b@h", "y@h"}, m.next(t), "one set, with the new rules on what was found before")
	require.EqualValues(t, 1, s.asked.Load(), "an unchanged mechanism is not started again")

	require.NoError(t, m.Apply(nil))
	require.Empty(t, m.next(t))
	require.Zero(t, testutil.CollectAndCount(m.metrics.targets))
	n, err := testutil.GatherAndCount(m.registry, "prometheus_sd_refresh_failures_total")
	require.NoError(t, err)
	require.Zero(t, n, "the metrics of a mechanism go with it")
}

// A set that comes after Apply waits for new mechanisms, so that a reload does
// not detach nodes only to attach them again.
func TestApplyWaitsForAnswers(t *testing.T) {
	t.Parallel()
	s := newListServer(t, `[{"targets": ["a@h"]}]`)
	group := func(every time.Duration) []Group {
		return []Group{
			{Name: "s", SD: SDConfigs{Static: static("b@h")}},
			{Name: "g", SD: SDConfigs{HTTP: []*HTTPConfig{httpConfig(s.URL, every)}}},
		}
	}
	m := run(t, Options{Groups: group(time.Hour)})
	require.Equal(t, []string{"a@h", "b@h"}, m.next(t))
	require.NoError(t, m.Apply(group(2*time.Hour)))
	require.Eventually(t, func() bool { return s.asked.Load() == 2 }, patience, 5*time.Millisecond)
	require.NoError(t, m.Apply(append(group(2*time.Hour), Group{Name: "t", SD: SDConfigs{Static: static("c@h")}})))
	require.Equal(t, []string{"a@h", "b@h", "c@h"}, m.next(t))
}

func TestFirstGroupWins(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "nodes.yml")
	write(t, name, "- targets: [a@h, b@h]\n  labels: {from: file}\n")
	m := run(t, Options{Groups: []Group{
		{Name: "first", SD: SDConfigs{Static: static("a@h")}},
		{Name: "second", SD: SDConfigs{File: []*FileConfig{fileConfig(name)}}},
	}})
	set := <-m.Targets()
	require.Equal(t, []string{"a@h", "b@h"}, nodes(set))
	require.Equal(t, "first", set[0].Group)
	require.Equal(t, "second", set[1].Group)
	require.InDelta(t, 1, testutil.ToFloat64(m.metrics.skipped.WithLabelValues("second", reasonDuplicate)), 0)
	require.Contains(t, m.logs.String(), `node \"a@h\" is already found by group \"first\"`)
}

// A consumer that is late gets the newest set, not the oldest.
func TestLateConsumer(t *testing.T) {
	t.Parallel()
	m := run(t, Options{Groups: []Group{{Name: "g", SD: SDConfigs{Static: static("a@h")}}}})
	updates := func(n float64) func() bool {
		return func() bool { return testutil.ToFloat64(m.metrics.updates) >= n }
	}
	require.Eventually(t, updates(1), patience, time.Millisecond)
	require.NoError(t, m.Apply([]Group{{Name: "g", SD: SDConfigs{Static: static("b@h")}}}))
	require.Eventually(t, updates(2), patience, time.Millisecond)
	require.Eventually(t, func() bool { return len(m.Targets()) == 1 }, patience, time.Millisecond)
	m.await(t, "b@h")
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	_, err := New(Options{})
	require.EqualError(t, err, "exporter/discovery: Options.Logger and Options.Registerer must be set")
	_, err = New(Options{Logger: slog.Default(), Registerer: prometheus.NewRegistry(), Groups: []Group{
		{Name: "g", SD: SDConfigs{EPMD: []*EPMDConfig{{Hosts: []string{"h"}, RefreshInterval: 1}}}},
	}})
	require.EqualError(t, err, `group "g": epmd_sd_configs: Options.EPMDNames is not set`)
	registry := prometheus.NewRegistry()
	_, err = New(Options{Logger: slog.Default(), Registerer: registry})
	require.NoError(t, err)
	_, err = New(Options{Logger: slog.Default(), Registerer: registry})
	require.ErrorContains(t, err, "cannot register discovery metrics")
}

func TestCheck(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "none")
	withAuth := httpConfig("http://h", time.Minute)
	withAuth.HTTPClientConfig.BasicAuth = &config.BasicAuth{Username: "u", PasswordFile: secret}
	withPipe := httpConfig("http://h", time.Minute)
	withPipe.HTTPClientConfig.Authorization = &config.Authorization{CredentialsFile: t.TempDir()}
	oauth := httpConfig("http://h", time.Minute)
	oauth.HTTPClientConfig.OAuth2 = &config.OAuth2{ClientSecretFile: secret}
	badRule := replace("a", "b", "not a label", "c")
	problems := Check([]Group{
		{Name: "g", Node: "{{nope}}@{{host}}", Address: "{{host", EPMD: "h:x", SD: SDConfigs{Static: static("not reported with a broken template")}},
		{Name: "g", Relabel: []*RelabelConfig{badRule}},
		{SD: SDConfigs{
			File: []*FileConfig{{Files: []string{"a.yml"}}},
			DNS:  []*DNSConfig{{Names: []string{"a"}}},
			HTTP: []*HTTPConfig{httpConfig("http://u:secret@h", 0), withAuth, withPipe, oauth},
			EPMD: []*EPMDConfig{{Hosts: []string{"ok", "not ok"}}},
		}},
		{Name: "h", SD: SDConfigs{Static: static("a@h", "b", "a@h")}},
		{Name: "i", SD: SDConfigs{Static: static("a@h")}},
	})
	var got []string
	for _, p := range problems {
		got = append(got, fmt.Sprintf("%d %s: %s", p.Group, p.Path, strings.NewReplacer(secret, "NONE", withPipe.HTTPClientConfig.Authorization.CredentialsFile, "DIR").Replace(p.Message)))
	}
	require.Equal(t, []string{
		`0 node: unknown variable {{nope}} in "{{nope}}@{{host}}": must be one of {{host}}, {{port}}, {{address}}, {{label.NAME}}`,
		`0 address: unbalanced {{ or }} in "{{host"`,
		`0 epmd: impossible epmd address "h:x": must be host, host:port or :port`,
		`1 name: the name "g" is taken by targets[0]`,
		`1 relabel_configs[0]: "not a label" is invalid 'target_label' for replace action`,
		`2 name: must not be empty`,
		`2 file_sd_configs[0].refresh_interval: must be more than 0`,
		`2 dns_sd_configs[0].refresh_interval: must be more than 0`,
		`2 http_sd_configs[0].refresh_interval: must be more than 0`,
		`2 http_sd_configs[0].url: must not contain a user or a password: use basic_auth`,
		`2 http_sd_configs[1].basic_auth.password_file: open NONE: no such file or directory`,
		`2 http_sd_configs[2].authorization.credentials_file: open DIR: not a regular file`,
		`2 http_sd_configs[3].oauth2.client_secret_file: open NONE: no such file or directory`,
		`2 epmd_sd_configs[0].refresh_interval: must be more than 0`,
		`2 epmd_sd_configs[0].hosts[1]: impossible epmd address "not ok": must be host or host:port`,
		`3 static_configs[0].targets[1]: "b" is not a node name (name@host), and the group has no node template such as "rabbit@{{host}}"`,
		`3 static_configs[0].targets[2]: duplicate target "a@h": already in targets[3].static_configs[0].targets[0]`,
		`4 static_configs[0].targets[0]: duplicate target "a@h": already in targets[3].static_configs[0].targets[0]`,
	}, got)
}
