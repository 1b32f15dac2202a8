package deployer_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer"
	"github.com/erlops/erlops/deployer/api"
	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/reltest"
	"github.com/erlops/erlops/internal/sshtest"
)

// newDeployer opens one with a data directory and without an exporter.
func newDeployer(t *testing.T, dir string, log *bytes.Buffer) *deployer.Deployer {
	t.Helper()
	d, err := deployer.New(t.Context(), deployer.Options{
		DataDir: dir, Logger: slog.New(slog.NewTextHandler(log, nil)), Registerer: prometheus.NewRegistry(),
	})
	require.NoError(t, err)
	return d
}

// tell shows the journal of a test that fails.
func tell(t *testing.T, b api.Backend) {
	t.Helper()
	if !t.Failed() {
		return
	}
	entries, err := b.Journal(context.WithoutCancel(t.Context()), fleet.JournalFilter{})
	t.Log(err)
	for _, e := range entries {
		t.Logf("%s %.8s %s %s %d %s %s %s", e.Time.Format("05.000"), e.Subject, e.Type, e.Step, e.Attempt, e.State, e.Result, e.Message)
	}
}

// run runs it until stop.
func run(t *testing.T, d *deployer.Deployer) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return func() {
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, d.Close())
	}
}

// until waits until all nodes are in a state.
func until(t *testing.T, b api.Backend, amount int, state fleet.State) []fleet.Node {
	t.Helper()
	var nodes []fleet.Node
	ok := func() bool {
		var err error
		nodes, err = b.Nodes(t.Context(), fleet.NodeFilter{})
		require.NoError(t, err)
		if len(nodes) != amount {
			return false
		}
		for _, n := range nodes {
			require.NotEqual(t, fleet.StateError, n.State, "%v", n.Reason)
			if n.State != state || n.Task != nil {
				return false
			}
		}
		return true
	}
	require.Eventually(t, ok, 2*time.Minute, 100*time.Millisecond)
	return nodes
}

const cookie = "hunter2hunter2"

// prepare makes a family of a real release on hosts.
func prepare(t *testing.T, b api.Backend, hosts ...*sshtest.Host) fleet.Family {
	t.Helper()
	ctx := fleet.WithActor(t.Context(), "alice")
	local := fleet.Provider{Name: "Local", Kind: fleet.KindPhysical}
	for _, h := range hosts {
		local.Servers = append(local.Servers, h.Server())
	}
	p, err := b.AddProvider(ctx, local)
	require.NoError(t, err)
	archive, err := b.UploadArchive(ctx, bytes.NewReader(reltest.Archive(t, "")), "")
	require.NoError(t, err)
	r, err := b.AddRelease(ctx, fleet.Release{
		Name: "kv", StartCommand: reltest.StartCommand, StopCommand: reltest.StopCommand, PingCommand: reltest.PingCommand,
		Templates: []string{reltest.Template}, Cookie: cookie, Archives: []fleet.Archive{archive},
	})
	require.NoError(t, err)
	f, err := b.AddFamily(ctx, fleet.Family{
		Name: "KV Cluster", ReleaseID: r.ID, Ports: fleet.PortRange{From: 6000, To: 6009},
		Bootstrap: fleet.Bootstrap{Strategy: fleet.BootstrapCustom, Command: reltest.JoinCommand, LeaveCommand: reltest.LeaveCommand},
		Domains:   []fleet.Domain{{ProviderID: p.ID, SSHUser: hosts[0].User}},
	})
	require.NoError(t, err)
	return f
}

// TestHosts deploys a real release to real hosts, and takes it away again; in
// the middle of it the deployer is restarted.
func TestHosts(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	dir := t.TempDir()
	one := sshtest.Start(t, sshtest.Options{})
	other := sshtest.Start(t, sshtest.Options{KeyFile: one.KeyFile})
	before := [][]string{one.Files(t), other.Files(t)}
	d := newDeployer(t, dir, &log)
	b := d.Backend()
	ctx := fleet.WithActor(t.Context(), "alice")
	f := prepare(t, b, one, other)
	_, err := b.Deploy(ctx, fleet.DeployRequest{Family: f.ID, Amount: 3})
	require.NoError(t, err)
	stop := run(t, d)
	t.Cleanup(func() { tell(t, b) })
	// Somewhere in the middle; what is done goes on elsewhere.
	require.Eventually(t, func() bool {
		nodes, err := b.Nodes(t.Context(), fleet.NodeFilter{States: []fleet.State{fleet.StateStopped}})
		return err == nil && len(nodes) > 0
	}, time.Minute, 10*time.Millisecond)
	stop()

	d = newDeployer(t, dir, &log)
	b = d.Backend()
	stop = run(t, d)
	nodes := until(t, b, 3, fleet.StateUp)
	members := one.Exec(t, "sh", "-c", "ls -d /home/"+one.User+"/*-*-*-*-*/bin/members | wc -l")
	require.Contains(t, []string{"1", "2"}, strings.TrimSpace(members), "the release is where listing 11 looks for it")
	findings, err := b.Doctor(ctx)
	require.NoError(t, err)
	for _, finding := range findings {
		require.True(t, finding.OK || finding.Subject == "SSH key", "%+v", finding)
	}
	for _, n := range nodes {
		_, err := b.Act(ctx, n.ID, fleet.ActionDelete)
		require.NoError(t, err)
	}
	until(t, b, 0, "")
	require.NoError(t, b.RemoveFamily(ctx, f.ID, false))
	require.NoError(t, d.WaitIdle(t.Context()))
	stop()
	after := [][]string{one.Files(t), other.Files(t)}
	require.Equal(t, before, after, "hosts are as they were")
	require.NotContains(t, log.String(), cookie)
}
