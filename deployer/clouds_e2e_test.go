//go:build e2e

package deployer_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	gossh "golang.org/x/crypto/ssh"

	"github.com/erlops/erlops/deployer"
	"github.com/erlops/erlops/deployer/api"
	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/ssh"
	"github.com/erlops/erlops/internal/fakecloud"
	"github.com/erlops/erlops/internal/fakeec2"
	"github.com/erlops/erlops/internal/fakeopenstack"
	"github.com/erlops/erlops/internal/reltest"
	"github.com/erlops/erlops/internal/sshtest"
)

// world is four providers, a family with a domain at each, and a deployer.
type world struct {
	t             *testing.T
	dir           string
	machines      *fakecloud.SSH
	amazon        *fakeec2.Cloud
	hp, rackspace *fakeopenstack.Cloud
	own           *sshtest.Host
	before        []string
	d             *deployer.Deployer
	b             api.Backend
	family        fleet.Family
}

// worldOptions say in what a world differs.
type worldOptions struct {
	amazon fakeec2.Options
	hp     fakeopenstack.Options
	// hosts wraps the machines of all clouds.
	hosts    func(fakecloud.Hosts) fakecloud.Hosts
	timeouts map[fleet.StepName]time.Duration
	// never lets machines not boot before the test ends.
	never bool
	// exporter is where nodes are registered; empty for nowhere.
	exporter string
}

// exporterToken lets a world's deployers into the exporter.
const exporterToken = "exporter-token-of-the-test"

// exporterOf is where a world's deployers, also those in other processes,
// register nodes.
func exporterOf(dir string) deployer.ExporterOptions {
	address, err := os.ReadFile(filepath.Join(dir, "exporter-url"))
	if err != nil {
		return deployer.ExporterOptions{}
	}
	return deployer.ExporterOptions{URL: string(address), Token: exporterToken}
}

// sshKey is where a world's deployers, also those in other processes, have
// their key.
func sshKey(dir string) ssh.Options {
	return ssh.Options{KeyFiles: []string{filepath.Join(dir, "ssh-key")}}
}

func newWorld(t *testing.T, o worldOptions) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), machines: fakecloud.NewSSH(t), own: sshtest.Start(t, sshtest.Options{User: "localuser"})}
	w.before = w.own.Files(t)
	key, err := os.ReadFile(w.own.KeyFile)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, "ssh-key"), key, 0o600))
	if o.exporter != "" {
		require.NoError(t, os.WriteFile(filepath.Join(w.dir, "exporter-url"), []byte(o.exporter), 0o600))
	}
	var hosts fakecloud.Hosts = w.machines
	if o.hosts != nil {
		hosts = o.hosts(hosts)
	}
	if o.never {
		end := make(chan struct{})
		hosts = oddHosts{Hosts: hosts, before: func() { <-end }}
		// The clouds wait for their machines at the end: this comes before.
		defer t.Cleanup(func() { close(end) })
	}
	o.amazon.Hosts, o.amazon.Lag = hosts, 300*time.Millisecond
	w.amazon = fakeec2.Start(t, o.amazon)
	o.hp.Hosts, o.hp.Region, o.hp.Version2, o.hp.Version3 = hosts, "region-a.geo-1", true, true
	w.hp = fakeopenstack.Start(t, o.hp)
	w.rackspace = fakeopenstack.Start(t, fakeopenstack.Options{Hosts: hosts, Region: "LON", Version2: true, NoNetwork: true, LoginUser: "root"})
	w.d, err = deployer.New(t.Context(), deployer.Options{
		DataDir: w.dir, SSH: sshKey(w.dir), Exporter: exporterOf(w.dir), StepTimeouts: o.timeouts, MinOrphanAge: time.Millisecond, Lease: 3 * time.Second,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Registerer: prometheus.NewRegistry(),
	})
	require.NoError(t, err)
	w.b = w.d.Backend()
	t.Cleanup(func() { tell(t, w.b) })
	w.prepare()
	return w
}

// run runs the deployer until the test ends.
func (w *world) run() {
	w.t.Helper()
	w.t.Cleanup(run(w.t, w.d))
}

func (w *world) prepare() {
	w.t.Helper()
	ctx := fleet.WithActor(w.t.Context(), "alice")
	open := map[string]fleet.Secret{"username": fakeopenstack.User, "password": fakeopenstack.Password}
	for _, p := range []fleet.Provider{
		{
			Name: "EC2", Kind: "ec2", Settings: map[string]string{"endpoint": w.amazon.URL, "settle": "2s"},
			Secrets: map[string]fleet.Secret{"username": fakeec2.AccessKey, "password": fakeec2.SecretKey},
		},
		{Name: "HP", Kind: "hp", Secrets: open, Settings: map[string]string{
			"auth_url": w.hp.AuthURL + "/v2.0/tokens", "tenant_name": fakeopenstack.Tenant, "service_region": "region-a.geo-1", "settle": "2s",
		}},
		{Name: "Rackspace", Kind: "rackspace", Secrets: open, Settings: map[string]string{
			"auth_url": w.rackspace.AuthURL, "service_region": "LON", "settle": "2s",
		}},
		{Name: "Local", Kind: fleet.KindPhysical, Servers: []fleet.Server{w.own.Server()}},
	} {
		_, err := w.b.AddProvider(ctx, p)
		require.NoError(w.t, err)
	}
	archive, err := w.b.UploadArchive(ctx, bytes.NewReader(reltest.Archive(w.t, "")), "")
	require.NoError(w.t, err)
	r, err := w.b.AddRelease(ctx, fleet.Release{
		Name: "kv", StartCommand: reltest.StartCommand, StopCommand: reltest.StopCommand, PingCommand: reltest.PingCommand,
		Templates: []string{reltest.Template}, Cookie: cookie, Archives: []fleet.Archive{archive},
	})
	require.NoError(w.t, err)
	w.family, err = w.b.AddFamily(ctx, fleet.Family{
		Name: "Riak Cluster", ReleaseID: r.ID, Ports: fleet.PortRange{From: 6000, To: 6009},
		Firewall:  []fleet.FirewallRule{{Protocol: "tcp", PortRange: fleet.PortRange{From: 4369, To: 4369}}},
		Bootstrap: fleet.Bootstrap{Strategy: fleet.BootstrapCustom, Command: reltest.JoinCommand},
		Domains: []fleet.Domain{
			{ProviderID: "EC2", SSHUser: "ubuntu", Image: fakeec2.Image, Hardware: fakeec2.Hardware},
			{ProviderID: "HP", SSHUser: "ubuntu", Image: fakeopenstack.ImageName, Hardware: "standard.xsmall"},
			{ProviderID: "Rackspace", SSHUser: "myuser", Image: fakeopenstack.Image, Hardware: "2", Settings: map[string]string{"sudo": "false"}},
			{ProviderID: "Local", SSHUser: "localuser"},
		},
	})
	require.NoError(w.t, err)
}

// deploy asks for nodes at a provider.
func (w *world) deploy(provider string, amount int) []fleet.Node {
	w.t.Helper()
	nodes, err := w.b.Deploy(fleet.WithActor(w.t.Context(), "alice"), fleet.DeployRequest{Family: w.family.ID, Provider: provider, Amount: amount})
	require.NoError(w.t, err)
	return nodes
}

// deploySeven asks for the paper's seven.
func (w *world) deploySeven() {
	w.t.Helper()
	for _, provider := range []string{"EC2", "HP", "Rackspace"} {
		w.deploy(provider, 2)
	}
	w.deploy("Local", 1)
}

// patience is for machines that do much else.
const patience = 5 * time.Minute

// settled waits until nothing is being done with any node.
func (w *world) settled() []fleet.Node {
	w.t.Helper()
	var nodes []fleet.Node
	require.Eventually(w.t, func() bool {
		var err error
		nodes, err = w.b.Nodes(w.t.Context(), fleet.NodeFilter{})
		require.NoError(w.t, err)
		for _, n := range nodes {
			if n.Task != nil || n.State == fleet.StateDown {
				return false
			}
		}
		return true
	}, patience, 100*time.Millisecond)
	return nodes
}

// requireSeven waits for one cluster of seven nodes that are UP.
func (w *world) requireSeven() []fleet.Node {
	w.t.Helper()
	nodes := w.settled()
	require.Len(w.t, nodes, 7)
	for _, n := range nodes {
		require.Equal(w.t, fleet.StateUp, n.State, "%v", n.Reason)
	}
	w.requireOneCluster(nodes)
	return nodes
}

// requireOneCluster asks each of the nodes who is in its cluster.
func (w *world) requireOneCluster(nodes []fleet.Node) {
	w.t.Helper()
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	for _, n := range nodes {
		require.ElementsMatch(w.t, names, w.members(n), "%s is in one cluster with the others", n.Name)
	}
}

func (w *world) members(n fleet.Node) []string {
	w.t.Helper()
	return strings.Fields(w.hostOf(n).Exec(w.t, "sh", "-c",
		fmt.Sprintf("HOME=/home/%[1]s/.erl-deploy/nodes/%[2]s/home /home/%[1]s/%[2]s/bin/members", n.Login.User, n.ID)))
}

// requireNothing waits until nothing is left anywhere.
func (w *world) requireNothing() {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		families, err := w.b.Families(w.t.Context())
		require.NoError(w.t, err)
		return len(families) == 0
	}, patience, 100*time.Millisecond)
	require.Empty(w.t, w.amazon.Left())
	require.Empty(w.t, w.hp.Left())
	require.Empty(w.t, w.rackspace.Left())
	require.Eventually(w.t, func() bool { return len(w.machines.All()) == 0 }, time.Minute, 50*time.Millisecond)
	require.Equal(w.t, w.before, w.own.Files(w.t))
}

func (w *world) removeAll() {
	w.t.Helper()
	require.NoError(w.t, w.b.RemoveFamily(fleet.WithActor(w.t.Context(), "alice"), w.family.ID, true))
}

// at calls f when the deployer begins a step of a node, once.
func (w *world) at(step fleet.StepName, f func(fleet.Node)) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	events, leave := w.b.Subscribe(ctx, 0)
	w.t.Cleanup(cancel)
	w.t.Cleanup(leave)
	go func() {
		for event := range events {
			e := event.Entry
			if e == nil || e.Type != fleet.EntryIntent || e.Step != step || e.Kind != fleet.KindNode {
				continue
			}
			if n, err := w.b.Node(ctx, e.Subject); err == nil {
				f(n)
			}
			return
		}
	}()
}

// oddHosts are hosts with something wrong.
type oddHosts struct {
	fakecloud.Hosts
	before func()
	after  func(fakecloud.Host) fakecloud.Host
}

func (o oddHosts) Boot(s fakecloud.Spec) (fakecloud.Host, error) {
	if o.before != nil {
		o.before()
	}
	h, err := o.Hosts.Boot(s)
	if err == nil && o.after != nil {
		h = o.after(h)
	}
	return h, err
}

// liar shows the host key of another machine.
type liar struct{ fakecloud.Host }

func (liar) Console() string {
	other, _ := (&fakecloud.Paper{}).Boot(fakecloud.Spec{})
	return other.Console()
}

// withoutSSH lets machines boot whose SSH server does not run.
func withoutSSH(t *testing.T) func(fakecloud.Host) fakecloud.Host {
	t.Helper()
	return func(h fakecloud.Host) fakecloud.Host {
		h.(interface{ Down(t testing.TB) }).Down(t)
		return h
	}
}

// TestCloudTroubles shows of what goes wrong with machines that the node says
// why, that the rest goes on, and that nothing is left of it.
func TestCloudTroubles(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		options worldOptions
		// do asks for nodes, and returns how many of them must be UP.
		do   func(*world) int
		want []string
	}{
		"quota in the middle of seven": {
			options: worldOptions{amazon: fakeec2.Options{Quota: 1}},
			do:      func(w *world) int { w.deploySeven(); return 6 },
			want:    []string{"machine: provider EC2: create: the account's limit of virtual CPUs"},
		},
		"quota of OpenStack": {
			options: worldOptions{hp: fakeopenstack.Options{Quota: 1}},
			do:      func(w *world) int { w.deploy("HP", 2); w.deploy("Local", 1); return 2 },
			want:    []string{"machine: provider HP: create: a quota of the project is reached", "already used 1 of 1 instances"},
		},
		"no capacity": {
			do: func(w *world) int {
				w.hp.FailNext("No valid host was found. There are not enough hosts available.")
				w.deploy("HP", 2)
				return 1
			},
			want: []string{"boot: machine ", "the cloud has no host with room for this flavour now", "deploy again for another one"},
		},
		"never boots": {
			options: worldOptions{never: true, timeouts: map[fleet.StepName]time.Duration{fleet.StepBoot: 4 * time.Second}},
			do:      func(w *world) int { w.deploy("EC2", 1); return 0 },
			want:    []string{"boot: it did not end within 4s", "is pending: EC2 is starting it"},
		},
		"no SSH": {
			options: worldOptions{
				hosts:    func(h fakecloud.Hosts) fakecloud.Hosts { return oddHosts{Hosts: h, after: withoutSSH(t)} },
				timeouts: map[fleet.StepName]time.Duration{fleet.StepConnect: 4 * time.Second},
			},
			do:   func(w *world) int { w.deploy("EC2", 1); w.deploy("Local", 1); return 1 },
			want: []string{"connect: it did not end within 4s", ":22: connect: connection refused", "the machine runs, and nobody answers at its SSH port"},
		},
		"another host key": {
			options: worldOptions{hosts: func(h fakecloud.Hosts) fakecloud.Hosts {
				return oddHosts{Hosts: h, after: func(h fakecloud.Host) fakecloud.Host { return liar{h} }}
			}},
			do:   func(w *world) int { w.deploy("Rackspace", 1); return 0 },
			want: []string{"connect: ", "which is not the key that is pinned"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, newWorld(t, tc.options), tc.do, tc.want)
		})
	}
}

func check(t *testing.T, w *world, do func(*world) int, want []string) {
	t.Helper()
	w.run()
	amount := do(w)
	var up []fleet.Node
	for _, n := range w.settled() {
		if n.State == fleet.StateUp {
			up = append(up, n)
			continue
		}
		require.Equal(t, fleet.StateError, n.State)
		for _, text := range want {
			require.Contains(t, n.Reason.String(), text)
		}
	}
	require.Len(t, up, amount, "the others are UP")
	w.requireOneCluster(up)
	w.removeAll()
	w.requireNothing()
}

// TestMachineDies loses a machine during the upload: the node says so, and gets
// another one when it is deployed again.
func TestMachineDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.at(fleet.StepUpload, func(n fleet.Node) { w.amazon.Kill(n.MachineID) })
	w.run()
	node := w.deploy("EC2", 1)[0]
	failed := w.settled()[0]
	require.Equal(t, fleet.StateError, failed.State)
	require.Contains(t, failed.Reason.String(), "is gone; deploy again for another one")
	_, err := w.b.Act(fleet.WithActor(t.Context(), "alice"), node.ID, fleet.ActionDeploy)
	require.NoError(t, err)
	up := w.settled()[0]
	require.Equal(t, fleet.StateUp, up.State, "%v", up.Reason)
	require.NotEqual(t, failed.MachineID, up.MachineID)
	require.Equal(t, 2, w.amazon.Made())
	w.removeAll()
	w.requireNothing()
}

// TestHostKeyChanges changes the host key of a machine on which a node runs:
// nothing is done there any more, and the node says what is pinned and what can
// be done. Deleting it gives the machine back all the same.
func TestHostKeyChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.run()
	ctx := fleet.WithActor(t.Context(), "alice")
	nodes := append(w.deploy("HP", 1), w.deploy("Local", 1)...)
	remedies := []string{"delete the node, which gives the machine back, and deploy another one", "the pinned one has to be, too"}
	w.settled()
	for i, remedy := range remedies {
		node, err := w.b.Node(ctx, nodes[i].ID)
		require.NoError(t, err)
		require.Equal(t, fleet.StateUp, node.State, "%v", node.Reason)
		host, pinned := w.hostOf(node), node.Login.HostKeys[0]
		require.Contains(t, pinned, host.HostKey)
		host.ChangeHostKey(t)
		_, err = w.b.Act(ctx, node.ID, fleet.ActionRestart)
		require.NoError(t, err)
		w.settled()
		failed, err := w.b.Node(ctx, node.ID)
		require.NoError(t, err)
		require.Equal(t, fleet.StateError, failed.State)
		for _, text := range []string{"connect: ", "shows " + fingerprint(t, host.HostKey), "which is not the key that is pinned (" + fingerprint(t, pinned) + ")", remedy} {
			require.Contains(t, failed.Reason.String(), text)
		}
	}
	// The own server is there to stay: its new key is pinned.
	_, err := w.b.ChangeProvider(ctx, "Local", func(p *fleet.Provider) error {
		p.Servers = []fleet.Server{w.own.Server()}
		return nil
	})
	require.NoError(t, err)
	w.removeAll()
	w.requireNothing()
}

func fingerprint(t *testing.T, line string) string {
	t.Helper()
	key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(line))
	require.NoError(t, err)
	return key.Type() + " " + gossh.FingerprintSHA256(key)
}

func (w *world) hostOf(n fleet.Node) *sshtest.Host {
	if n.Host == w.own.Address {
		return w.own
	}
	return w.machines.Host(n.Host)
}

// TestLostCreates makes machines whose answers get lost, between requests that
// are too many or fail: they are found and adopted, and no others are made.
func TestLostCreates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	for calls, op := range map[*fakecloud.Calls]string{&w.amazon.Calls: "RunInstances", &w.hp.Calls: "POST servers", &w.rackspace.Calls: "POST servers"} {
		faults := []fakecloud.Fault{
			{Status: http.StatusTooManyRequests, Code: "RequestLimitExceeded", Message: "Request limit exceeded."},
			{Lose: true},
			{Status: http.StatusInternalServerError, Code: "InternalError", Message: "An internal error has occurred"},
		}
		calls.Fail(func(called string, _ int) *fakecloud.Fault {
			if called != op || len(faults) == 0 {
				return nil
			}
			f := faults[0]
			faults = faults[1:]
			return &f
		})
	}
	w.run()
	for _, provider := range []string{"EC2", "HP", "Rackspace"} {
		w.deploy(provider, 1)
	}
	nodes := w.settled()
	for _, n := range nodes {
		require.Equal(t, fleet.StateUp, n.State, "%v", n.Reason)
	}
	w.requireOneCluster(nodes)
	require.Equal(t, []int{1, 1, 1}, w.made())
	w.removeAll()
	w.requireNothing()
}
