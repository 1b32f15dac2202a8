//go:build e2e_full

package packages_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

// withoutPorts leaves the ports of this machine alone: the test asks the
// containers at their own addresses.
const withoutPorts = `
services:
  exporter: {ports: !reset []}
  deployer: {ports: !reset []}
  prometheus: {ports: !reset []}
  alertmanager: {ports: !reset []}
  loki: {ports: !reset []}
`

// stack is compose.yaml, started.
type stack struct {
	*engine
	compose []string
}

// TestImages builds the images, and starts compose.yaml with them: the nodes are
// up, Prometheus scrapes, alerts reach Alertmanager and entries reach Loki. No
// registry is asked: the images of others are made of their programs. Those of
// Grafana and Graphite, which are more than a program, are left out.
func TestImages(t *testing.T) {
	e := newEngine(t)
	compose := erltest.DockerCompose(t)
	prometheus, manager := erltest.RequireMade(t, "prometheus"), erltest.RequireMade(t, "alertmanager")
	loki, otp := erltest.RequireMade(t, "loki"), erltest.RequireMade(t, "otp-27")
	e.goBase()
	for image, file := range map[string]string{"erl-exporter": "compose/erl-exporter.Dockerfile", "erl-deploy": "compose/erl-deploy.Dockerfile"} {
		e.build(image, file)
		t.Run(image, func(t *testing.T) { e.minimal(t, image) })
	}
	e.base("docker.io/library/erlang:27-slim", otp, nil)
	e.build("erlops-demo-nodes", "compose/nodes/Dockerfile")
	e.foreign("docker.io/prom/prometheus:v3.5.0", filepath.Join(prometheus, "usr/bin/prometheus"), "/bin/prometheus", "/prometheus", "65534:65534")
	e.foreign("docker.io/prom/alertmanager:v0.31.1", filepath.Join(manager, "alertmanager"), "/bin/alertmanager", "/alertmanager", "65534:65534")
	e.foreign("docker.io/grafana/loki:3.7.8", filepath.Join(loki, "loki"), "/usr/bin/loki", "/loki", "10001:10001")
	e.serve()

	override := filepath.Join(e.dir, "override.yaml")
	require.NoError(t, os.WriteFile(override, []byte(withoutPorts), 0o600))
	e.env = append(e.env, "ERLANG_COOKIE=cookie-of-the-test")
	s := &stack{engine: e, compose: []string{compose, "-p", strings.ToLower(filepath.Base(filepath.Dir(e.dir))), "-f", "../../compose/compose.yaml", "-f", override}}
	s.up()
	t.Run("metrics", s.metrics)
	t.Run("alerts", s.alerts)
	t.Run("logs", s.logs)
	t.Run("down", s.down)
}

// minimal: an image has the program and certificates, and runs it as nobody.
func (e *engine) minimal(t *testing.T, image string) {
	t.Helper()
	require.ElementsMatch(t, []string{"/" + image, "/etc/ssl/certs/ca-certificates.crt"}, e.files(image))
	config := e.config(image)
	require.Equal(t, "65534:65534", config.User)
	require.Equal(t, []string{"/" + image}, config.Entrypoint)
	require.Len(t, config.ExposedPorts, 1)
	require.Contains(t, e.run("podman", "run", "--rm", "--network", "none", "--read-only", image, "--version"), image+" version (version=")
}

// foreign makes an image of one program and its folder of data.
func (e *engine) foreign(image, program, path, data, user string) {
	e.t.Helper()
	container := e.run("buildah", "from", "--pull-never", "localhost/debian:latest")
	e.run("buildah", "copy", "--quiet", "--chmod", "755", container, program, path)
	e.run("buildah", "run", container, "install", "-d", "-o", strings.Split(user, ":")[0], "-g", strings.Split(user, ":")[1], data)
	e.run("buildah", "config", "--entrypoint", `["`+path+`"]`, "--user", user, container)
	e.run("buildah", "commit", "--quiet", "--rm", container, image)
}

func (s *stack) up() {
	s.t.Helper()
	s.t.Cleanup(func() {
		if s.t.Failed() {
			out, _ := s.command(s.t.Context(), append(s.compose, "logs", "--tail", "30")...).CombinedOutput()
			s.t.Log(string(out))
		}
	})
	done := make(chan error, 1)
	start := s.command(s.t.Context(), append(s.compose, "up", "--detach", "--no-build", "--pull", "never",
		"stock", "shop", "office", "exporter", "deployer", "prometheus", "alertmanager", "loki")...)
	var out strings.Builder
	start.Stdout, start.Stderr = &out, &out
	require.NoError(s.t, start.Start())
	go func() { done <- start.Wait() }()
	// Podman leaves it to systemd to ask whether a container is healthy.
	for {
		select {
		case err := <-done:
			require.NoError(s.t, err, out.String())
			return
		case <-time.After(time.Second):
			for _, id := range strings.Fields(s.run("podman", "ps", "-q")) {
				_, _ = s.command(s.t.Context(), "podman", "healthcheck", "run", id).CombinedOutput()
			}
		}
	}
}

// url is where a service's container is, on the network of the stack.
func (s *stack) url(service, port string) string {
	s.t.Helper()
	id := s.run(append(s.compose, "ps", "-q", service)...)
	require.NotEmpty(s.t, id, service)
	return "http://" + s.run("podman", "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", id) + ":" + port
}

// await asks until the answer is as wanted.
func await(t *testing.T, address string, into any, wanted func() bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		answer, err := http.Get(address)
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		return json.NewDecoder(answer.Body).Decode(into) == nil && wanted()
	}, 3*time.Minute, 500*time.Millisecond, "GET %s: %+v", address, into)
}

func (s *stack) metrics(t *testing.T) {
	for query, series := range map[string]int{"erlang_up == 1": 3, `up{job=~"erl.*"} == 1`: 5, "erl_deploy_exporter_up": 1} {
		var answer struct {
			Data struct{ Result []any }
		}
		await(t, s.url("prometheus", "9090")+"/api/v1/query?"+url.Values{"query": {query}}.Encode(), &answer, func() bool { return len(answer.Data.Result) == series })
	}
	var rules struct {
		Data struct{ Groups []any }
	}
	await(t, s.url("prometheus", "9090")+"/api/v1/rules", &rules, func() bool { return len(rules.Data.Groups) > 0 })
}

func (s *stack) alerts(t *testing.T) {
	var alerts []struct{ Labels map[string]string }
	await(t, s.url("alertmanager", "9093")+"/api/v2/alerts", &alerts, func() bool {
		for _, a := range alerts {
			if strings.HasSuffix(a.Labels["node"], "@office") {
				return true
			}
		}
		return false
	})
}

func (s *stack) logs(t *testing.T) {
	var streams struct{ Data []map[string]string }
	await(t, s.url("loki", "3100")+"/loki/api/v1/series", &streams, func() bool { return len(streams.Data) > 0 })
}

// down removes all of it.
func (s *stack) down(t *testing.T) {
	s.run(append(s.compose, "down", "--volumes", "--timeout", "5")...)
	require.Empty(t, s.run("podman", "ps", "-aq"))
	require.Empty(t, s.run("podman", "volume", "ls", "-q"))
}
