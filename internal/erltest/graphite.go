package erltest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/proc"
)

// Graphite is a running Carbon with graphite-web before it.
type Graphite struct {
	// Address takes the plaintext protocol, PickleAddress the pickle protocol.
	Address, PickleAddress string
	// URL is graphite-web's.
	URL string

	// Dir has whisper, the folder of the series.
	Dir string

	t      testing.TB
	carbon proc.Command
	proc   *proc.Process
}

const carbonConfig = `[cache]
STORAGE_DIR = %[1]s
CONF_DIR = %[1]s
LOG_DIR = %[1]s
PID_DIR = %[1]s
LOCAL_DATA_DIR = %[1]s/whisper/
USER =
MAX_CACHE_SIZE = inf
MAX_UPDATES_PER_SECOND = inf
MAX_CREATES_PER_MINUTE = inf
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = %[2]d
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = %[3]d
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = %[4]d
ENABLE_TAGS = True
TAG_UPDATE_INTERVAL = 1
GRAPHITE_URL = http://127.0.0.1:%[5]d
ENABLE_LOGROTATION = False
`

const graphiteSettings = `SECRET_KEY = 'of a test'
TIME_ZONE = 'UTC'
CONF_DIR = STORAGE_DIR = LOG_DIR = %[1]q
WHISPER_DIR = %[1]q + '/whisper'
INDEX_FILE = %[1]q + '/index'
CARBONLINK_HOSTS = ['127.0.0.1:%[2]d']
LOG_ROTATION = False
DATABASES = {'default': {'NAME': %[1]q + '/graphite.db', 'ENGINE': 'django.db.backends.sqlite3', 'OPTIONS': {'timeout': 20}}}
`

const graphiteWeb = `import os, sys
os.environ['DJANGO_SETTINGS_MODULE'] = 'graphite.settings'
os.environ['GRAPHITE_SETTINGS_MODULE'] = 'erlops_settings'
import django
django.setup()
from django.core.management import call_command
call_command('migrate', run_syncdb=True, verbosity=0)
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server
from django.core.wsgi import get_wsgi_application
class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
make_server('127.0.0.1', int(sys.argv[1]), get_wsgi_application(), Server).serve_forever()
`

// StartGraphite starts Carbon and graphite-web of Debian 12 with two files of
// Carbon, storage-schemas.conf and storage-aggregation.conf, and returns when both
// listen. They end with the test, and the test is skipped where `make setup-e2e`
// has not been run.
func StartGraphite(t testing.TB, schemas, aggregation string) *Graphite {
	t.Helper()
	root, err := cached("graphite")
	if err != nil {
		skip(t, "%v", err)
	}
	line, pickle, query, web := FreePort(t), FreePort(t), FreePort(t), FreePort(t)
	g := &Graphite{
		Address: fmt.Sprintf("127.0.0.1:%d", line), PickleAddress: fmt.Sprintf("127.0.0.1:%d", pickle),
		URL: fmt.Sprintf("http://127.0.0.1:%d", web), t: t, Dir: t.TempDir(),
	}
	require.NoError(t, os.Mkdir(filepath.Join(g.Dir, "whisper"), 0o700))
	for name, text := range map[string]string{
		"carbon.conf":              fmt.Sprintf(carbonConfig, g.Dir, line, pickle, query, web),
		"storage-schemas.conf":     schemas,
		"storage-aggregation.conf": aggregation,
		"erlops_settings.py":       fmt.Sprintf(graphiteSettings, g.Dir, query),
		"web.py":                   graphiteWeb,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(g.Dir, name), []byte(text), 0o600))
	}
	command := func(name string, argv ...string) proc.Command {
		return proc.Command{
			Argv: otp{root: root}.wrap(argv, g.Dir), Env: append(baseEnv(g.Dir), "PYTHONPATH="+g.Dir), Dir: g.Dir,
			Log: filepath.Join(g.Dir, name+".log"),
		}
	}
	g.carbon = command("carbon", "/usr/bin/carbon-cache", "--nodaemon", "--config="+filepath.Join(g.Dir, "carbon.conf"),
		"--pidfile="+filepath.Join(g.Dir, "carbon.pid"), "start")
	graphiteWeb, err := proc.Start(command("web", "/usr/bin/python3", filepath.Join(g.Dir, "web.py"), strconv.Itoa(web)))
	require.NoError(t, err)
	t.Cleanup(graphiteWeb.Kill)
	t.Cleanup(g.Kill)
	g.Start()
	g.await(graphiteWeb, "graphite-web", func() bool { return get(g.URL+"/version/") == nil })
	return g
}

func (g *Graphite) await(p *proc.Process, name string, ready func() bool) {
	g.t.Helper()
	if err := proc.Await(60*time.Second, func() bool { return ready() || !p.Running() }); err != nil || !p.Running() {
		g.t.Fatalf("%s did not start: %v\n%s", name, err, p.Tail())
	}
}

// Start starts Carbon again, with what it has on disk, after Stop or Kill.
func (g *Graphite) Start() {
	g.t.Helper()
	var err error
	g.proc, err = proc.Start(g.carbon)
	require.NoError(g.t, err)
	g.await(g.proc, "Carbon", func() bool { return listens(g.Address) && listens(g.PickleAddress) })
}

// Stop ends Carbon as a service manager does: it writes what it has in memory.
func (g *Graphite) Stop() {
	guard := strconv.Itoa(g.proc.Pid())
	children, _ := os.ReadFile("/proc/" + guard + "/task/" + guard + "/children")
	for child := range strings.FieldsSeq(string(children)) {
		name, _ := os.ReadFile("/proc/" + child + "/comm")
		if pid, err := strconv.Atoi(child); err == nil && strings.Contains(string(name), "carbon") {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}
	_ = proc.Await(30*time.Second, func() bool { return !g.proc.Running() })
	g.Kill()
}

// Kill ends Carbon at once, without what it has in memory; killing twice does
// nothing.
func (g *Graphite) Kill() {
	if g.proc != nil {
		g.proc.Kill()
		g.proc = nil
	}
}

// listens tells whether somebody accepts connections.
func listens(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// GraphiteSeries is one series of an answer.
type GraphiteSeries struct {
	Target string
	Tags   map[string]string
	// Points are by their times, without those that have no value.
	Points map[int64]float64
}

// Render asks graphite-web for a target since a time.
func (g *Graphite) Render(target string, since time.Time) ([]GraphiteSeries, error) {
	query := url.Values{"target": {target}, "from": {strconv.FormatInt(since.Unix(), 10)}, "format": {"json"}, "noCache": {"1"}}
	answer, err := http.Get(g.URL + "/render?" + query.Encode())
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, errors.New(answer.Status + ": " + string(body))
	}
	var raw []struct {
		Target     string
		Tags       map[string]any
		Datapoints [][2]*float64
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, err
	}
	all := make([]GraphiteSeries, len(raw))
	for i, r := range raw {
		all[i] = GraphiteSeries{Target: r.Target, Tags: map[string]string{}, Points: map[int64]float64{}}
		for name, value := range r.Tags {
			all[i].Tags[name] = fmt.Sprint(value)
		}
		for _, p := range r.Datapoints {
			if p[0] != nil {
				all[i].Points[int64(*p[1])] = *p[0]
			}
		}
	}
	return all, nil
}
