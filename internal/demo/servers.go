package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/erlops/erlops/internal/graphite"
	"github.com/erlops/erlops/internal/proc"
)

// server is a program of others that the whole demo has, with the configuration
// that compose/ gives it.
type server struct {
	name string
	// host is how the configurations of compose/ call it, with the port.
	host string
	// program is its path; empty when it is not there.
	program string
	// missing says how to get it.
	missing string
	argv    func(s *server, dir string) []string
	// ready is the path that answers when it is.
	ready string

	address string
}

// servers lists them in the order in which they start.
func (o options) servers() []*server {
	return []*server{
		{
			name: "alertmanager", host: "alertmanager:9093", program: o.find("alertmanager/alertmanager", "alertmanager", "prometheus-alertmanager"),
			missing: "scripts/setup-e2e.sh alertmanager builds it", ready: "/-/ready",
			argv: func(s *server, dir string) []string {
				return []string{
					s.program, "--config.file=" + filepath.Join(dir, "alertmanager.yml"), "--web.listen-address=" + s.address,
					"--storage.path=" + filepath.Join(dir, "alertmanager"), "--cluster.listen-address=",
				}
			},
		},
		{
			name: "loki", host: "loki:3100", program: o.find("loki/loki", "loki"),
			missing: "`make setup-loki` builds it, in a quarter of an hour", ready: "/ready",
			argv: func(s *server, dir string) []string {
				return []string{s.program, "-config.file=" + filepath.Join(dir, "loki.yml")}
			},
		},
		{
			name: "prometheus", host: "prometheus:9090", program: o.find("prometheus/usr/bin/prometheus", "prometheus"),
			missing: "scripts/setup-e2e.sh prometheus fetches it", ready: "/-/ready",
			argv: func(s *server, dir string) []string {
				return []string{
					s.program, "--config.file=" + filepath.Join(dir, "prometheus.yml"), "--web.listen-address=" + s.address,
					"--storage.tsdb.path=" + filepath.Join(dir, "prometheus"),
				}
			},
		},
	}
}

// startGraphite starts Carbon and graphite-web, where `make setup-e2e` has put
// them.
func (d *demo) startGraphite(ctx context.Context) error {
	root := filepath.Join(d.cache, "graphite")
	if !exists(filepath.Join(root, ".complete")) || d.cache == "" {
		fmt.Fprintln(d.out, "without graphite: scripts/setup-e2e.sh graphite fetches it")
		return nil
	}
	var ports [4]int
	for i := range ports {
		port, err := proc.FreePort()
		if err != nil {
			return err
		}
		ports[i] = port
	}
	var files [2][]byte
	for i, name := range []string{"storage-schemas.conf", "storage-aggregation.conf"} {
		text, err := os.ReadFile(filepath.Join(d.files, "compose", "graphite", name))
		if err != nil {
			return err
		}
		files[i] = text
	}
	dir := filepath.Join(d.dir, "graphite")
	g, err := graphite.New(root, dir, graphite.Ports{Line: ports[0], Pickle: ports[1], Query: ports[2], Web: ports[3]}, string(files[0]), string(files[1]))
	if err != nil {
		return err
	}
	env := []string{"PYTHONPATH=" + dir}
	if err := d.add("carbon", env, g.Carbon...); err != nil {
		return err
	}
	if err := d.add("graphite-web", env, g.Web...); err != nil {
		return err
	}
	d.graphite, d.carbon = local(ports[3]), local(ports[1])
	return d.await(ctx, "graphite", func() bool { return accepts(d.carbon) && answers(ctx, "http://"+d.graphite+"/version/") })
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// find looks for a program among what the tests use, and then in the PATH.
func (o options) find(cached string, names ...string) string {
	if path := filepath.Join(o.cache, cached); o.cache != "" && runs(path) {
		return path
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func runs(path string) bool {
	_, err := exec.LookPath(path)
	return err == nil
}

// prepareServers gives all servers that are there an address, so that their
// configurations can name each other, and writes these.
func (d *demo) prepareServers() error {
	for _, s := range d.options.servers() {
		if s.program == "" {
			fmt.Fprintf(d.out, "without %s: %s\n", s.name, s.missing)
			continue
		}
		port, err := proc.FreePort()
		if err != nil {
			return err
		}
		s.address = local(port)
		d.with = append(d.with, s)
	}
	port, err := proc.FreePort()
	if err != nil {
		return err
	}
	d.deployer = local(port)
	addresses := []string{"exporter:9198", d.listen, "deployer:9199", d.deployer}
	for _, s := range d.with {
		addresses = append(addresses, s.host, s.address)
	}
	addressed := strings.NewReplacer(addresses...)
	for _, s := range d.with {
		text, err := os.ReadFile(filepath.Join(d.files, "compose", s.name, s.name+".yml"))
		if err != nil {
			return err
		}
		if err := d.write(s.name+".yml", d.localised(s, addressed.Replace(string(text)))); err != nil {
			return err
		}
	}
	return d.copyRules()
}

// localised is a configuration that is no container's: Loki has its folder and
// ports in it.
func (d *demo) localised(s *server, text string) string {
	if s.name != "loki" {
		return text
	}
	_, port, _ := net.SplitHostPort(s.address)
	return strings.NewReplacer(
		"/loki/", filepath.Join(d.dir, "loki")+"/", "path_prefix: /loki", "path_prefix: "+filepath.Join(d.dir, "loki"),
		"http_listen_address: 0.0.0.0", "http_listen_address: 127.0.0.1, grpc_listen_address: 127.0.0.1",
		"http_listen_port: 3100", "http_listen_port: "+port, "grpc_listen_port: 9096", "grpc_listen_port: 0",
	).Replace(text)
}

// copyRules brings the rules to where prometheus.yml looks for them.
func (d *demo) copyRules() error {
	files, err := filepath.Glob(filepath.Join(d.files, "alerts", "*.yml"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(d.dir, "rules"), 0o700); err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := d.write(filepath.Join("rules", filepath.Base(file)), string(text)); err != nil {
			return err
		}
	}
	return nil
}

// startServers starts them and waits until each is ready.
func (d *demo) startServers(ctx context.Context) error {
	for _, s := range d.with {
		if err := d.add(s.name, nil, s.argv(s, d.dir)...); err != nil {
			return err
		}
	}
	for _, s := range d.with {
		url := "http://" + s.address + s.ready
		if err := d.await(ctx, s.name, func() bool { return answers(ctx, url) }); err != nil {
			return err
		}
	}
	return nil
}

// startDeployer starts the deployer, which tells the exporter of what it deploys.
func (d *demo) startDeployer(ctx context.Context) error {
	text := fmt.Sprintf("data_dir: %s\nexporter: {url: %q}\nauth: {unauthenticated_role: operate}\n",
		filepath.Join(d.dir, "erl-deploy"), d.url(""))
	if err := d.write("erl-deploy.yml", text); err != nil {
		return err
	}
	program := filepath.Join(filepath.Dir(d.exporter), "erl-deploy")
	err := d.add("erl-deploy", nil, program, "--config.file", filepath.Join(d.dir, "erl-deploy.yml"), "serve", "--web.listen-address", d.deployer)
	if err != nil {
		return err
	}
	return d.await(ctx, "erl-deploy", func() bool { return answers(ctx, "http://"+d.deployer+"/metrics") })
}

// startPreview starts the server that shows the dashboards.
func (d *demo) startPreview(ctx context.Context) error {
	port, err := proc.FreePort()
	if err != nil {
		return err
	}
	dashboards, err := filepath.Abs(filepath.Join(d.files, "dashboards", "json"))
	if err != nil {
		return err
	}
	argv := []string{"node", filepath.Join(d.cache, "preview", "serve.mjs"), "--port", strconv.Itoa(port), "--dashboards", dashboards}
	for _, s := range d.with {
		if s.name == "prometheus" || s.name == "loki" {
			argv = append(argv, "--"+s.name, "http://"+s.address)
		}
	}
	d.dashboard = local(port)
	if err := d.add("dashboards", nil, argv...); err != nil {
		return err
	}
	return d.await(ctx, "the dashboards", func() bool { return answers(ctx, "http://"+d.dashboard+"/") })
}

// receivers is what the exporter's configuration has of the servers that are
// there, and of what the shop counts.
func (d *demo) receivers() string {
	var b strings.Builder
	b.WriteString("metrics: {counters: ['\\[shop,orders.*']}\n")
	if d.carbon != "" {
		fmt.Fprintf(&b, "graphite: {address: %q, protocol: pickle, path: \"erlang.{{family}}.{{node}}.{{metric}}.{{labels}}\"}\n", d.carbon)
	}
	for _, s := range d.with {
		url := "http://" + s.address
		switch s.name {
		case "alertmanager":
			fmt.Fprintf(&b, "alertmanager: {targets: [{url: %q}]}\n", url)
		case "loki":
			fmt.Fprintf(&b, "logs: {loki: {url: %q}}\n", url)
		case "prometheus":
			fmt.Fprintf(&b, "prometheus: {url: %q}\n", url)
		}
	}
	return b.String()
}

// answers tells whether a page is there.
func answers(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// showServers prints where they are, and things to try.
func (d *demo) showServers() {
	fmt.Fprintf(d.out, "\n  exporter      %s/\n  deployer      http://%s/\n", strings.TrimSuffix(d.url(""), "/"), d.deployer)
	for _, s := range d.with {
		fmt.Fprintf(d.out, "  %-13s http://%s/\n", s.name, s.address)
	}
	if d.graphite != "" {
		fmt.Fprintf(d.out, "  %-13s http://%s/\n", "graphite", d.graphite)
	}
	if d.preview {
		fmt.Fprintf(d.out, "  %-13s http://%s/\n", "dashboards", d.dashboard)
	}
	fmt.Fprintf(d.out, `
Five things to try
  export ERL_EXPORTER_URL=%[1]s
  bin/erl-exporter nodes --watch              the fleet, as it changes
  bin/erl-exporter alarms --watch             office raises one every few minutes: acknowledge it
  bin/erl-exporter logs -f                    what crashes, and what alarms do
  bin/erl-exporter graph                      who is connected to whom
  bin/erl-exporter loglevel shop@localhost info

Logs, configurations and data are in %[2]s.
Ctrl-C ends and removes everything.
`, strings.TrimSuffix(d.url(""), "/"), d.dir)
}
