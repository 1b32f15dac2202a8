package discovery_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/erlops/erlops/exporter/config"
	"github.com/erlops/erlops/exporter/discovery"
)

const (
	docs = "../../docs/"
	// patience bounds every wait for something that is bound to happen.
	patience = 20 * time.Second
)

// cookieVariables are what the recipes take from the environment.
var cookieVariables = []string{"ERLANG_COOKIE", "SHOP_COOKIE", "BILLING_COOKIE", "OS_PASSWORD"}

func readDoc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(docs + name)
	require.NoError(t, err)
	return string(text)
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// blocks returns the YAML in a Markdown file.
func blocks(t *testing.T, name string) []string {
	t.Helper()
	var all []string
	for _, m := range yamlBlock.FindAllStringSubmatch(readDoc(t, name), -1) {
		all = append(all, m[1])
	}
	require.NotEmpty(t, all)
	return all
}

// documents returns the documents of a YAML file.
func documents(t *testing.T, name string) []map[string]any {
	t.Helper()
	var all []map[string]any
	dec := yaml.NewDecoder(strings.NewReader(readDoc(t, name)))
	for {
		var doc map[string]any
		if err := dec.Decode(&doc); err != nil {
			require.EqualError(t, err, "EOF")
			require.NotEmpty(t, all)
			return all
		}
		all = append(all, doc)
	}
}

// embedded returns the configuration in the ConfigMap of a manifest.
func embedded(t *testing.T, name string) string {
	t.Helper()
	for _, doc := range documents(t, name) {
		if doc["kind"] == "ConfigMap" {
			return doc["data"].(map[string]any)["erl-exporter.yml"].(string)
		}
	}
	require.Fail(t, "no ConfigMap", name)
	return ""
}

// load reads the text as the exporter would, in an environment as the recipes
// describe it. A snippet has no cookie of its own.
func load(t *testing.T, text string) (*config.Config, error) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range cookieVariables {
		text = strings.ReplaceAll(text, "$("+name+")", strings.ToLower(name))
	}
	for _, name := range []string{"erlang.cookie", "shop.cookie"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("monster"), 0o600))
	}
	if !regexp.MustCompile(`(?m)^cookie`).MatchString(text) {
		text = "cookie: monster\n" + text
	}
	return config.Parse([]byte(text), dir)
}

// recipe finds a target group in a document: in a Markdown file in any block, in
// a manifest in the configuration that it embeds.
func recipe(t *testing.T, file, group string) (*config.Config, discovery.Group) {
	t.Helper()
	texts := []string{}
	switch {
	case strings.HasSuffix(file, ".md"):
		texts = blocks(t, file)
	case strings.Contains(file, "kubernetes/"):
		texts = append(texts, embedded(t, file))
	default:
		texts = append(texts, readDoc(t, file))
	}
	for _, text := range texts {
		if !strings.Contains(text, "- name: "+group+"\n") {
			continue
		}
		c, err := load(t, text)
		require.NoError(t, err, text)
		for _, g := range c.Discovery() {
			if g.Name == group {
				return c, g
			}
		}
	}
	require.Fail(t, "no such group", "%s in %s", group, file)
	return nil, discovery.Group{}
}

// logs collects what is logged. It may be written to after its test has ended:
// the client of Kubernetes keeps the first logger that it gets.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// watch runs a group and returns its sets of targets.
func watch(t *testing.T, g discovery.Group) <-chan []discovery.Target {
	t.Helper()
	log := &logs{}
	m, err := discovery.New(discovery.Options{
		Groups: []discovery.Group{g}, Logger: slog.New(slog.NewTextHandler(log, nil)),
		Registerer: prometheus.NewRegistry(), Debounce: 20 * time.Millisecond,
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log)
		}
	})
	done := make(chan error, 1)
	ctx := t.Context()
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() { require.NoError(t, <-done) })
	return m.Targets()
}

// deliver puts label sets through the rules of a group, as if a mechanism had
// found them.
func deliver(t *testing.T, g discovery.Group, sets ...model.LabelSet) []discovery.Target {
	t.Helper()
	g.SD = discovery.SDConfigs{Static: []*discovery.StaticConfig{{Targets: sets}}}
	select {
	case found := <-watch(t, g):
		return found
	case <-time.After(patience):
		require.Fail(t, "no set of targets")
		return nil
	}
}

// Each recipe makes the right targets of the labels that its mechanism delivers:
// here are those that any build has.
func TestRecipes(t *testing.T) {
	t.Parallel()
	// Prometheus takes the dot off the end of the address only.
	srv := model.LabelSet{
		"__address__": "shop-0.shop-nodes.shop.svc.cluster.local:25672", "__meta_dns_name": "_distribution._tcp.shop-nodes.shop.svc.cluster.local",
		"__meta_dns_srv_record_target": "shop-0.shop-nodes.shop.svc.cluster.local.", "__meta_dns_srv_record_port": "25672",
	}
	a := func(ip, name string) model.LabelSet {
		return model.LabelSet{"__address__": model.LabelValue(ip + ":4369"), "__meta_dns_name": model.LabelValue(name)}
	}
	consul := model.LabelSet{
		"__address__": "10.0.0.7:25672", "__meta_consul_dc": "dc1", "__meta_consul_service": "shop",
		"__meta_consul_service_metadata_erlang_node": "shop@app1", "__meta_consul_service_metadata_cookie": "billing",
	}
	for name, tc := range map[string]struct {
		file, group string
		labels      []model.LabelSet
		want        []discovery.Target
	}{
		"SRV records in a cluster": {"examples/kubernetes/exporter-dns.yaml", "shop", []model.LabelSet{srv}, []discovery.Target{{
			Node: "shop@shop-0.shop-nodes.shop.svc.cluster.local", Labels: map[string]string{"pod": "shop-0", "namespace": "shop"},
		}}},
		"the same without labels":    {"kubernetes.md", "shop", []model.LabelSet{srv}, []discovery.Target{{Node: "shop@shop-0.shop-nodes.shop.svc.cluster.local"}}},
		"SRV records without epmd":   {"kubernetes.md", "shop-without-epmd", []model.LabelSet{srv}, []discovery.Target{{Node: "shop@shop-0.shop-nodes.shop.svc.cluster.local", Address: "shop-0.shop-nodes.shop.svc.cluster.local:25672"}}},
		"address records of pods":    {"kubernetes.md", "worker", []model.LabelSet{a("10.1.0.4", "worker-nodes.shop.svc.cluster.local")}, []discovery.Target{{Node: "worker@10.1.0.4"}}},
		"containers that have names": {"docker.md", "shop", []model.LabelSet{{"__address__": "shop@shop1"}}, []discovery.Target{{Node: "shop@shop1"}}},
		"address records of containers": {
			"docker.md", "worker", []model.LabelSet{a("172.18.0.4", "worker"), a("172.18.0.5", "worker")},
			[]discovery.Target{{Node: "worker@172.18.0.4"}, {Node: "worker@172.18.0.5"}},
		},
		"address records in compose": {"examples/docker/erl-exporter.yml", "worker", []model.LabelSet{a("172.18.0.4", "worker")}, []discovery.Target{{Node: "worker@172.18.0.4"}}},
		"Consul":                     {"configuration.md", "shop", []model.LabelSet{consul}, []discovery.Target{{Node: "shop@app1", Address: "10.0.0.7:25672", Labels: map[string]string{"datacentre": "dc1"}}}},
		"Consul with cookies": {"configuration.md", "everything", []model.LabelSet{{"__address__": "shop@app1", "__meta_consul_service_metadata_cookie": "billing"}},
			[]discovery.Target{{Node: "shop@app1", CookieRef: "billing"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, g := recipe(t, tc.file, tc.group)
			for i := range tc.want {
				tc.want[i].Group, tc.want[i].Source = tc.group, "static"
				if tc.want[i].Labels == nil {
					tc.want[i].Labels = map[string]string{}
				}
			}
			require.Equal(t, tc.want, deliver(t, g, tc.labels...))
		})
	}
}

// cloudKey is in configurations that only release builds take.
var cloudKey = regexp.MustCompile(`(kubernetes|ec2|openstack)_sd_configs`)

// Every configuration in the documents and manifests loads; one of a release
// build is refused by others, with the reason and for no other.
func TestDocumentedConfigurations(t *testing.T) {
	t.Parallel()
	texts := map[string]string{}
	for _, name := range []string{"configuration.md", "kubernetes.md", "docker.md"} {
		for _, b := range blocks(t, name) {
			if strings.Contains(b, "\ntargets:") || strings.HasPrefix(b, "targets:") {
				texts[name+": "+b] = b
			}
		}
	}
	for _, name := range []string{"examples/kubernetes/exporter-dns.yaml", "examples/kubernetes/exporter-api.yaml"} {
		texts[name] = embedded(t, name)
	}
	texts["compose"] = readDoc(t, "examples/docker/erl-exporter.yml")
	require.Greater(t, len(texts), 12)
	for name, text := range texts {
		text = strings.ReplaceAll(text, "/etc/erl-exporter/cookie", "erlang.cookie")
		_, err := load(t, text)
		if err == nil || hasClouds || !cloudKey.MatchString(text) {
			require.NoError(t, err, name)
			continue
		}
		var problems config.Problems
		require.ErrorAs(t, err, &problems)
		for _, p := range problems {
			require.Contains(t, p.Message, "use a release build", name)
		}
	}
}

// The manifests fit together: what refers to something finds it.
func TestManifests(t *testing.T) {
	t.Parallel()
	nodes := documents(t, "examples/kubernetes/nodes.yaml")
	service, set := nodes[0], nodes[1]
	require.Equal(t, "None", at(service, "spec", "clusterIP"))
	require.Equal(t, true, at(service, "spec", "publishNotReadyAddresses"))
	require.Equal(t, at(service, "metadata", "name"), at(set, "spec", "serviceName"))
	require.Equal(t, at(service, "spec", "selector"), at(set, "spec", "template", "metadata", "labels"))
	require.Equal(t, "epmd", at(service, "spec", "ports").([]any)[0].(map[string]any)["name"])

	for _, name := range []string{"exporter-dns.yaml", "exporter-api.yaml"} {
		byKind := map[string]map[string]any{}
		for _, doc := range documents(t, "examples/kubernetes/"+name) {
			byKind[doc["kind"].(string)] = doc
			require.Equal(t, "shop", at(doc, "metadata", "namespace"))
		}
		deployment := byKind["Deployment"]
		require.Equal(t, 1, at(deployment, "spec", "replicas"))
		require.Equal(t, "Recreate", at(deployment, "spec", "strategy", "type"))
		container := at(deployment, "spec", "template", "spec", "containers").([]any)[0].(map[string]any)
		require.Equal(t, cookieSecret(at(set, "spec", "template", "spec", "containers").([]any)[0].(map[string]any)), cookieSecret(container), "one cookie on both sides")
		require.Equal(t, at(byKind["Service"], "spec", "selector"), at(deployment, "spec", "template", "metadata", "labels"))
		_, usesAPI := byKind["Role"]
		require.Equal(t, usesAPI, at(deployment, "spec", "template", "spec", "automountServiceAccountToken") == nil)
	}
}

// cookieSecret returns the first secret that the environment of a container
// refers to.
func cookieSecret(container map[string]any) any {
	for _, e := range container["env"].([]any) {
		if ref := at(e.(map[string]any), "valueFrom", "secretKeyRef"); ref != nil {
			return ref
		}
	}
	return nil
}

// at follows keys through mappings; nil where there is nothing.
func at(doc map[string]any, keys ...string) any {
	var value any = doc
	for _, k := range keys {
		m, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = m[k]
	}
	return value
}

// The nodes of the compose file are those that the configuration watches.
func TestCompose(t *testing.T) {
	t.Parallel()
	services := documents(t, "examples/docker/compose.yaml")[0]["services"].(map[string]any)
	c, shop := recipe(t, "examples/docker/erl-exporter.yml", "shop")
	require.Equal(t, "erl_exporter@"+at(services, "exporter", "hostname").(string), c.Name)
	for _, target := range shop.SD.Static[0].Targets {
		name, host, _ := strings.Cut(string(target["__address__"]), "@")
		require.Equal(t, host, at(services, host, "hostname"))
		require.Equal(t, []any{"-sname " + name}, at(services, host, "command"))
	}
	_, worker := recipe(t, "examples/docker/erl-exporter.yml", "worker")
	require.Contains(t, services, worker.SD.DNS[0].Names[0])
	require.FileExists(t, filepath.Join(docs, "examples/docker", at(services, "exporter", "build", "context").(string), at(services, "exporter", "build", "dockerfile").(string)))
}
