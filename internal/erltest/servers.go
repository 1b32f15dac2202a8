package erltest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/proc"
)

// serverStartTimeout is for RabbitMQ and ejabberd on two busy cores.
const serverStartTimeout = 2 * time.Minute

// ServerOptions describes a RabbitMQ or ejabberd node.
type ServerOptions struct {
	// Name is the part before the @, "rabbit" or "ejabberd" when empty.
	Name string
	// Cookie is random when empty.
	Cookie string
	// EPMD is shared with other nodes; nil starts one for this node alone.
	EPMD *EPMD
	// OTP is "" for what Debian 12 has, or "27" for RabbitMQ 4 and Elixir of
	// Debian trixie.
	OTP string
	// Plugins are RabbitMQ's, e.g. "rabbitmq_prometheus".
	Plugins []string
	// Config is added to the server's own configuration file.
	Config string
	// Env is added to RabbitMQ's environment, each "KEY=value".
	Env []string
}

// RabbitMQ is a running RabbitMQ node.
type RabbitMQ struct {
	*Node
	AMQPPort int
	// MetricsURL is the page of the plugin rabbitmq_prometheus, which is there
	// when the plugin is among the options.
	MetricsURL string
}

// StartRabbitMQ starts a node of Debian's RabbitMQ and returns when the
// broker is up. It ends with the test, and the test is skipped where
// `make setup-e2e` has not been run.
func StartRabbitMQ(t testing.TB, o ServerOptions) *RabbitMQ {
	t.Helper()
	n, _ := newServer(t, "rabbit", o)
	metricsPort := FreePort(t)
	r := &RabbitMQ{Node: n, AMQPPort: FreePort(t), MetricsURL: fmt.Sprintf("http://127.0.0.1:%d/metrics", metricsPort)}
	config := fmt.Sprintf("listeners.tcp.1 = 127.0.0.1:%d\n", r.AMQPPort)
	if slices.Contains(o.Plugins, "rabbitmq_prometheus") {
		config += fmt.Sprintf("prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = %d\n", metricsPort)
	}
	n.write(t, "rabbitmq.conf", config+o.Config)
	n.write(t, "enabled_plugins", "["+strings.Join(o.Plugins, ",")+"].\n")
	n.launch.env = []string{
		"RABBITMQ_NODENAME=" + n.Name,
		"RABBITMQ_DIST_PORT=" + strconv.Itoa(FreePort(t)),
		"RABBITMQ_CONF_ENV_FILE=" + filepath.Join(n.Dir, "none"),
		"RABBITMQ_CONFIG_FILE=" + filepath.Join(n.Dir, "rabbitmq.conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + filepath.Join(n.Dir, "enabled_plugins"),
		"RABBITMQ_MNESIA_BASE=" + filepath.Join(n.Dir, "mnesia"),
		"RABBITMQ_LOG_BASE=" + filepath.Join(n.Dir, "log"),
		"RABBITMQ_ALLOW_INPUT=1", // become the emulator instead of waiting for it
	}
	n.launch.env = append(n.launch.env, o.Env...)
	n.launch.argv = func() []string { return []string{"/usr/lib/rabbitmq/bin/rabbitmq-server", "-noinput"} }
	n.boot()
	n.Eval(t, "rabbit:await_startup()")
	return r
}

// Ejabberd is a running ejabberd node.
type Ejabberd struct {
	*Node
	C2SPort int
}

// StartEjabberd starts a node of Debian 12's ejabberd and returns when it is
// up. It ends with the test, and the test is skipped where `make setup-e2e` has
// not been run.
func StartEjabberd(t testing.TB, o ServerOptions) *Ejabberd {
	t.Helper()
	n, root := newServer(t, "ejabberd", o)
	e := &Ejabberd{Node: n, C2SPort: FreePort(t)}
	n.write(t, "ejabberd.yml", fmt.Sprintf(ejabberdConfig, e.C2SPort)+o.Config)
	beams, err := filepath.Glob(filepath.Join(root, "usr/lib/*/ejabberd-*/ebin/ejabberd.beam"))
	require.NoError(t, err)
	require.NotEmpty(t, beams, "ejabberd's code in %s", root)
	libs := filepath.Dir(filepath.Dir(filepath.Dir(strings.TrimPrefix(beams[0], root))))
	n.launch.env = []string{
		"ERL_LIBS=" + libs,
		"EJABBERD_CONFIG_PATH=" + filepath.Join(n.Dir, "ejabberd.yml"),
		"EJABBERD_LOG_PATH=" + filepath.Join(n.Dir, "ejabberd.log"),
	}
	n.launch.argv = func() []string {
		return append(n.arguments(Options{}), "-mnesia", "dir", strconv.Quote(filepath.Join(n.Dir, "mnesia")), "-s", "ejabberd")
	}
	n.boot()
	return e
}

// ejabberdConfig is as small as ejabberd takes it, with the port to fill in.
const ejabberdConfig = `hosts: [localhost]
loglevel: warning
acme: {auto: false}
listen:
  - {port: %d, ip: "127.0.0.1", module: ejabberd_c2s}
modules:
  mod_disco: {}
  mod_muc: {}
  mod_ping: {}
  mod_roster: {}
`

// newServer prepares a node that runs in the folder with the servers and
// returns that folder.
func newServer(t testing.TB, name string, o ServerOptions) (*Node, string) {
	t.Helper()
	folder := "servers"
	if o.OTP != "" {
		folder = "otp-" + o.OTP
	}
	root, err := cached(folder)
	if err != nil {
		skip(t, "%v", err)
	}
	if o.Name != "" {
		name = o.Name
	}
	n := newNode(t, Options{Name: name, Cookie: o.Cookie, EPMD: o.EPMD})
	n.launch = launch{runtime: otp{root: root}, limit: serverStartTimeout}
	return n, root
}

// ServersRoot returns the Debian folder with RabbitMQ and ejabberd as packages,
// or skips the test.
func ServersRoot(t testing.TB) string {
	t.Helper()
	root, err := cached("servers")
	if err != nil {
		skip(t, "%v", err)
	}
	return root
}

// StartElixir starts `elixir --sname NAME --no-halt` of Debian trixie and
// returns when Elixir runs. It ends with the test, and the test is skipped
// where `make setup-e2e` has not been run.
func StartElixir(t testing.TB) *Node {
	t.Helper()
	n, root := newServer(t, "elixir", ServerOptions{OTP: "27"})
	if _, err := os.Stat(filepath.Join(root, "usr/bin/elixir")); err != nil {
		skip(t, "no Elixir in %s; `make setup-e2e` adds it", root)
	}
	// The script takes no -eval for the emulator, but a file of arguments.
	n.write(t, "control.eval", controlLoop)
	n.write(t, "vm.args", "-noinput -start_epmd false +sbwt none +sbwtdcpu none +sbwtdio none +pc unicode\n"+
		"-eval \"ok = file:eval('"+filepath.Join(n.Dir, "control.eval")+"')\"\n")
	n.launch.wired = true
	n.launch.argv = func() []string {
		return []string{"elixir", "--sname", n.Name, "--vm-args", filepath.Join(n.Dir, "vm.args"), "--no-halt"}
	}
	n.boot()
	require.Eventually(t, func() bool {
		return n.Eval(t, "lists:keymember(elixir, 1, application:which_applications())") == "true"
	}, serverStartTimeout, 50*time.Millisecond)
	return n
}

// write puts a file into the node's directory.
func (n *Node) write(t testing.TB, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(n.Dir, name), []byte(text), 0o600))
}

// Prometheus is a running Prometheus 3.
type Prometheus struct {
	URL string
	// Dir has its configuration and its data.
	Dir string

	proc *proc.Process
}

// StartPrometheus starts Prometheus with the given configuration file and
// returns when it is ready. It ends with the test, and the test is skipped
// where `make setup-e2e` has not been run.
func StartPrometheus(t testing.TB, config string) *Prometheus {
	t.Helper()
	root, err := cached("prometheus")
	if err != nil {
		skip(t, "%v", err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	p := &Prometheus{URL: "http://" + address, Dir: t.TempDir()}
	file := filepath.Join(p.Dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	p.proc, err = proc.Start(proc.Command{
		Argv: []string{
			filepath.Join(root, "usr/bin/prometheus"), "--config.file=" + file, "--web.listen-address=" + address,
			"--storage.tsdb.path=" + filepath.Join(p.Dir, "data"),
		},
		Env: baseEnv(p.Dir), Dir: p.Dir, Log: filepath.Join(p.Dir, "prometheus.log"),
	})
	require.NoError(t, err)
	t.Cleanup(p.proc.Kill)
	ready := func() bool { return get(p.URL+"/-/ready") == nil || !p.proc.Running() }
	if err := proc.Await(30*time.Second, ready); err != nil || !p.proc.Running() {
		t.Fatalf("Prometheus did not start: %v\n%s", err, p.proc.Tail())
	}
	return p
}

// Promtool returns the path of promtool 3, or skips the test.
func Promtool(t testing.TB) string {
	t.Helper()
	root, err := cached("prometheus")
	if err != nil {
		skip(t, "%v", err)
	}
	return filepath.Join(root, "usr/bin/promtool")
}

// DockerCompose returns the path of docker compose 2, which checks files without
// Docker, or skips the test.
func DockerCompose(t testing.TB) string {
	t.Helper()
	root, err := cached("compose")
	if err != nil {
		skip(t, "%v", err)
	}
	return filepath.Join(root, "usr/libexec/docker/cli-plugins/docker-compose")
}
