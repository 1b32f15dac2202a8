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

	"github.com/erlops/erlops/internal/graphite"
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

// StartGraphite starts Carbon and graphite-web of Debian 12 with two files of
// Carbon, storage-schemas.conf and storage-aggregation.conf, and returns when both
// listen. They end with the test, and the test is skipped where `make setup-e2e`
// has not been run.
func StartGraphite(t testing.TB, schemas, aggregation string) *Graphite {
	t.Helper()
	root := RequireMade(t, "graphite")
	line, pickle, query, web := FreePort(t), FreePort(t), FreePort(t), FreePort(t)
	g := &Graphite{
		Address: fmt.Sprintf("127.0.0.1:%d", line), PickleAddress: fmt.Sprintf("127.0.0.1:%d", pickle),
		URL: fmt.Sprintf("http://127.0.0.1:%d", web), t: t, Dir: t.TempDir(),
	}
	programs, err := graphite.New(root, g.Dir, graphite.Ports{Line: line, Pickle: pickle, Query: query, Web: web}, schemas, aggregation)
	require.NoError(t, err)
	command := func(name string, argv []string) proc.Command {
		return proc.Command{Argv: argv, Env: append(baseEnv(g.Dir), "PYTHONPATH="+g.Dir), Dir: g.Dir, Log: filepath.Join(g.Dir, name+".log")}
	}
	g.carbon = command("carbon", programs.Carbon)
	graphiteWeb, err := proc.Start(command("web", programs.Web))
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
