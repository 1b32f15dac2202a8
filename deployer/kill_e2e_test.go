//go:build e2e && e2e_full

package deployer_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	agekeys "filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer"
	"github.com/erlops/erlops/deployer/api"
	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/exportertest"
	"github.com/erlops/erlops/internal/sshtest"
)

// childDir is in the environment of a test program that is to be a deployer
// with that data directory.
const childDir = "ERL_DEPLOY_TEST_CHILD"

// shortLease makes what a killed deployer held free soon.
const shortLease = 3 * time.Second

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := deploy(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(exportertest.Main(m))
}

// deploy is a deployer until it is ended, or its parent is.
func deploy(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	d, err := deployer.New(ctx, deployer.Options{DataDir: dir, SSH: sshKey(dir), Exporter: exporterOf(dir), Lease: shortLease})
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Run(ctx)
}

// startExporter starts a real exporter that takes nodes from deployers.
func startExporter(t *testing.T) *exportertest.Process {
	t.Helper()
	identity, err := agekeys.GenerateX25519Identity()
	require.NoError(t, err)
	return exportertest.Start(t, exportertest.Options{
		Config: `
storage: {path: exporter.db}
secrets: {key_file: age-key}
auth: {unauthenticated_role: read, tokens: [{name: deployer, role: operate, token_file: deployer-token}]}
`,
		Files: map[string]string{"age-key": identity.String() + "\n", "deployer-token": exporterToken},
	})
}

func requireWatched(t *testing.T, e *exportertest.Process, nodes []fleet.Node) {
	t.Helper()
	for _, n := range nodes {
		seen, known := e.Node(n.Name)
		require.True(t, known, n.Name)
		require.Equal(t, client.StateUp, seen.State, n.Name)
	}
}

func requireForgotten(t *testing.T, e *exportertest.Process, nodes []fleet.Node) {
	t.Helper()
	for _, n := range nodes {
		_, known := e.Node(n.Name)
		require.False(t, known, n.Name)
	}
}

// child is a deployer in a process of its own.
type child struct {
	t   *testing.T
	cmd *exec.Cmd
}

func startChild(t *testing.T, dir string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	_, err := cmd.StdinPipe() // ends with us
	require.NoError(t, err)
	cmd.Stderr = t.Output()
	require.NoError(t, cmd.Start())
	return &child{t, cmd}
}

func (c *child) end(signal os.Signal) {
	c.t.Helper()
	require.NoError(c.t, c.cmd.Process.Signal(signal))
	_ = c.cmd.Wait()
}

// TestKilledAtEveryStep kills a deployer process with SIGKILL when it has
// written each of its intents in turn, in the deployment of two nodes, and lets
// another go on: there are the two nodes, one cluster, no third one and no
// second start, and deleting them leaves the hosts as they were.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one := sshtest.Start(t, sshtest.Options{})
	other := sshtest.Start(t, sshtest.Options{KeyFile: one.KeyFile})
	before := [][]string{one.Files(t), other.Files(t)}
	var log bytes.Buffer
	d := newDeployer(t, dir, &log) // only to ask and look; the children do the work
	defer d.Close()
	b := d.Backend()
	t.Cleanup(func() { tell(t, b) })
	f := prepare(t, b, one, other)
	exporter := startExporter(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "exporter-url"), []byte(exporter.URL), 0o600))
	for intent := 1; ; intent++ {
		killed := killedAt(t, b, dir, f, intent)
		c := startChild(t, dir)
		nodes := until(t, b, 2, fleet.StateUp)
		requireOneCluster(t, b, nodes, one, other)
		requireWatched(t, exporter, nodes)
		for _, n := range nodes {
			_, err := b.Act(t.Context(), n.ID, fleet.ActionDelete)
			require.NoError(t, err)
		}
		until(t, b, 0, "")
		require.NoError(t, d.WaitIdle(t.Context()))
		c.end(syscall.SIGTERM)
		requireForgotten(t, exporter, nodes)
		after := [][]string{one.Files(t), other.Files(t)}
		require.Equal(t, before, after, "killed after %q", killed)
		if killed == "" {
			require.Greater(t, intent, 20)
			return
		}
		t.Logf("killed after the intent to %s", killed)
	}
}

// killedAt asks for two nodes and kills the deployer at its so manieth intent;
// it returns what that was, or nothing when all was done before.
func killedAt(t *testing.T, b api.Backend, dir string, f fleet.Family, intent int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	events, leave := b.Subscribe(ctx, last(t, b))
	defer leave()
	_, err := b.Deploy(fleet.WithActor(ctx, "alice"), fleet.DeployRequest{Family: f.ID, Amount: 2})
	require.NoError(t, err)
	c := startChild(t, dir)
	up := 0
	for event := range events {
		e := event.Entry
		if e == nil {
			continue
		}
		if e.Type == fleet.EntryIntent && e.Kind == fleet.KindNode {
			intent--
		}
		if e.Type == fleet.EntryState && e.State == fleet.StateUp {
			up++
		}
		if intent == 0 || up == 2 {
			c.end(syscall.SIGKILL)
			if intent == 0 {
				return string(e.Step)
			}
			return ""
		}
	}
	c.end(syscall.SIGKILL)
	require.FailNow(t, "it neither ended nor came to that intent")
	return ""
}

func last(t *testing.T, b api.Backend) int64 {
	t.Helper()
	entries, err := b.Journal(t.Context(), fleet.JournalFilter{Last: true, Limit: 1})
	require.NoError(t, err)
	return entries[0].Seq
}

// requireOneCluster asks the nodes themselves, and the hosts what runs.
func requireOneCluster(t *testing.T, b api.Backend, nodes []fleet.Node, hosts ...*sshtest.Host) {
	t.Helper()
	require.NotEqual(t, nodes[0].Host, nodes[1].Host)
	beams := 0
	for _, h := range hosts {
		for _, p := range h.Processes(t) {
			if strings.Contains(p, "beam.smp") {
				beams++
			}
		}
	}
	require.Equal(t, 2, beams, "one Erlang node a host")
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
		entries, err := b.Journal(t.Context(), fleet.JournalFilter{Subject: n.ID})
		require.NoError(t, err)
		require.False(t, slices.ContainsFunc(entries, func(e fleet.Entry) bool { return e.Result == fleet.ResultFailed }))
	}
	for _, n := range nodes {
		h := hosts[slices.IndexFunc(hosts, func(h *sshtest.Host) bool { return h.Address == n.Host })]
		home := "/home/" + h.User
		members := h.Exec(t, "env", "HOME="+home+"/.erl-deploy/nodes/"+n.ID+"/home", home+"/"+n.ID+"/bin/members")
		for _, name := range names {
			require.Contains(t, members, name)
		}
	}
}
