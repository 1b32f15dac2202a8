//go:build bench

package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/fakecloud"
	"github.com/erlops/erlops/internal/fakeec2"
	"github.com/erlops/erlops/internal/fakeopenstack"
	"github.com/erlops/erlops/internal/reltest"
	"github.com/erlops/erlops/internal/sshtest"
)

// clouds are the paper's three, and a deployer that knows them.
type clouds struct {
	*deployerProcess
	calls map[string]*fakecloud.Calls // by provider
}

func startClouds(t *testing.T, own *sshtest.Host, hosts fakecloud.Hosts) clouds {
	t.Helper()
	amazon := fakeec2.Start(t, fakeec2.Options{Hosts: hosts, Lag: 300 * time.Millisecond})
	hp := fakeopenstack.Start(t, fakeopenstack.Options{Hosts: hosts, Region: "region-a.geo-1", Version2: true, Version3: true})
	rackspace := fakeopenstack.Start(t, fakeopenstack.Options{Hosts: hosts, Region: "LON", Version2: true, NoNetwork: true, LoginUser: "root"})
	c := clouds{startDeployer(t, []*sshtest.Host{own}), map[string]*fakecloud.Calls{"EC2": &amazon.Calls, "HP": &hp.Calls, "Rackspace": &rackspace.Calls}}
	add := func(name, kind, user, password string, settings ...string) {
		t.Helper()
		c.write(name+"-user", user+"\n")
		c.write(name+"-password", password+"\n")
		args := []string{
			"provider", "add", name, "--kind", kind, "--secret-file", "username=" + filepath.Join(c.dir, name+"-user"),
			"--secret-file", "password=" + filepath.Join(c.dir, name+"-password"),
		}
		for _, s := range settings {
			args = append(args, "--setting", s)
		}
		c.run(args...)
	}
	add("EC2", "ec2", fakeec2.AccessKey, fakeec2.SecretKey, "endpoint="+amazon.URL)
	add("HP", "hp", fakeopenstack.User, fakeopenstack.Password, "auth_url="+hp.AuthURL+"/v2.0/tokens", "tenant_name="+fakeopenstack.Tenant, "service_region=region-a.geo-1")
	add("Rackspace", "rackspace", fakeopenstack.User, fakeopenstack.Password, "auth_url="+rackspace.AuthURL, "service_region=LON")
	c.prepare("kv", reltest.Archive(t, "bench"))
	return c
}

// family makes the paper's family.
func (c clouds) family() {
	c.t.Helper()
	args := []string{"family", "add", "kv", "--release", "kv", "--ports", "6000-7999", "--firewall", "tcp:4369:4369", "--bootstrap", reltest.JoinCommand}
	for _, domain := range []string{
		"provider=EC2,ssh-user=ubuntu,image=" + fakeec2.Image + ",hardware=" + fakeec2.Hardware,
		"provider=HP,ssh-user=ubuntu,image=" + fakeopenstack.Image + ",hardware=100",
		"provider=Rackspace,ssh-user=myuser,image=" + fakeopenstack.Image + ",hardware=2",
		"provider=Local,ssh-user=" + c.user,
	} {
		args = append(args, "--domain", domain)
	}
	c.run(args...)
}

func (c clouds) deploy(provider string, amount int) {
	c.t.Helper()
	c.run("deploy", "kv", "--provider", provider, "--amount", strconv.Itoa(amount), "--no-wait")
}

// ask asks the server for something in JSON.
func (d *deployerProcess) ask(into any, args ...string) {
	d.t.Helper()
	out, err := exec.CommandContext(d.t.Context(), d.program, append([]string{"--url", d.url, "-o", "json"}, args...)...).Output()
	require.NoError(d.t, err, "%s", args)
	require.NoError(d.t, json.Unmarshal(out, into), "%s", out)
}

// follow reads the journal from now on. What it returns waits until so many
// nodes were in an entry that is wanted. One program is started for all of
// them: to ask again and again would take the cores from what is measured.
func (d *deployerProcess) follow(amount int, wanted func(fleet.Entry) bool) (wait func()) {
	d.t.Helper()
	ctx, stop := context.WithTimeout(d.t.Context(), 10*time.Minute)
	d.t.Cleanup(stop)
	journal := exec.CommandContext(ctx, d.program, "--url", d.url, "-o", "json", "events", "--follow", "--last", "1")
	out, err := journal.StdoutPipe()
	require.NoError(d.t, err)
	require.NoError(d.t, journal.Start())
	begun, entries := time.Now(), json.NewDecoder(out)
	var last fleet.Entry // what was last written before: it follows from there
	require.NoError(d.t, entries.Decode(&last))
	return func() {
		d.t.Helper()
		nodes := map[string]bool{}
		for len(nodes) < amount {
			var e fleet.Entry
			require.NoError(d.t, entries.Decode(&e), "%d of %d nodes after %s", len(nodes), amount, time.Since(begun))
			require.NotEqual(d.t, fleet.ResultFailed, e.Result, "%+v", e)
			if e.Kind == fleet.KindNode && wanted(e) {
				nodes[e.Subject] = true
			}
		}
		stop()
		_ = journal.Wait() // killed
	}
}

func up(e fleet.Entry) bool { return e.Type == fleet.EntryState && e.State == fleet.StateUp }

// remove removes the family and waits for it.
func (c clouds) remove() {
	c.t.Helper()
	c.run("family", "remove", "kv", "--with-nodes", "--yes")
}

// TestClouds takes the time of the paper's seven nodes at four providers, by
// step, and compares it with what cannot be less: the path of the slowest
// machine by itself, and the nodes' CPU time on all cores.
func TestClouds(t *testing.T) {
	own := sshtest.Start(t, sshtest.Options{User: "localuser"})
	machines := fakecloud.NewSSH(t)
	c := startClouds(t, own, machines)
	alone := map[string]time.Duration{}
	for _, provider := range []string{"EC2", "HP", "Rackspace", "Local"} {
		c.family()
		wait := c.follow(1, up)
		begun := time.Now()
		c.deploy(provider, 1)
		wait()
		alone[provider] = time.Since(begun)
		c.remove()
	}
	slowest := slices.MaxFunc(slices.Collect(maps.Keys(alone)), func(a, b string) int { return int(alone[a] - alone[b]) })

	c.family()
	wait := c.follow(7, up)
	before, deployerBefore := hostCPU(t, own), cpuOf(t, c.pid)
	begun := time.Now()
	for provider, amount := range map[string]int{"EC2": 2, "HP": 2, "Rackspace": 2, "Local": 1} {
		c.deploy(provider, amount)
	}
	wait()
	wall, deployer := time.Since(begun), cpuOf(t, c.pid)-deployerBefore
	cpu := hostCPU(t, own) - before
	for _, h := range machines.All() {
		cpu += hostCPU(t, h)
	}
	var entries []fleet.Entry
	c.ask(&entries, "events", "--last", "1000")
	c.remove()

	steps := newTable("the paper's seven nodes at four providers, by step", "first begins after", "last ends after", "takes a node, at most", "on average")
	for _, s := range stepsIn(entries, begun) {
		steps.row(string(s.name), seconds(s.begin), seconds(s.end), seconds(s.most), seconds(s.all/time.Duration(s.nodes)))
	}
	steps.end()
	share := cpu / time.Duration(runtime.NumCPU())
	least := max(alone[slowest], share)
	whole := newTable("the same, against what it cannot be shorter than", "", "aim")
	whole.row("until all seven are UP", seconds(wall), "")
	whole.row("the slowest machine's own path, one of "+slowest, seconds(alone[slowest]), "")
	whole.row(fmt.Sprintf("the nodes' CPU time, %s, on %d cores", seconds(cpu), runtime.NumCPU()), seconds(share), "")
	whole.row("the deployer's own CPU time", seconds(deployer), "")
	whole.row("the whole against the larger of both", fmt.Sprintf("%.2f", wall.Seconds()/least.Seconds()), "1.1 at most")
	whole.end()
}

// stepTime is when and how long nodes were in a step.
type stepTime struct {
	name       fleet.StepName
	begin, end time.Duration
	most, all  time.Duration
	nodes      int
}

// stepsIn reads the journal: how long each step took each node, from its first
// intent to its last result.
func stepsIn(entries []fleet.Entry, since time.Time) []*stepTime {
	type key struct {
		subject string
		step    fleet.StepName
	}
	intents := map[key]time.Time{}
	byName := map[fleet.StepName]*stepTime{}
	var all []*stepTime
	for _, e := range entries {
		k := key{e.Subject, e.Step}
		switch {
		case e.Kind != fleet.KindNode || e.Time.Before(since):
		case e.Type == fleet.EntryIntent:
			if _, known := intents[k]; !known {
				intents[k] = e.Time
			}
		case e.Type == fleet.EntryResult && e.Result != fleet.ResultRetry:
			s := byName[e.Step]
			if s == nil {
				s = &stepTime{name: e.Step, begin: intents[k].Sub(since)}
				byName[e.Step] = s
				all = append(all, s)
			}
			took := e.Time.Sub(intents[k])
			s.begin, s.end = min(s.begin, intents[k].Sub(since)), e.Time.Sub(since)
			s.most, s.all, s.nodes = max(s.most, took), s.all+took, s.nodes+1
		}
	}
	return all
}

// hostCPU is the CPU time of all that runs and ran on a host.
func hostCPU(t *testing.T, h *sshtest.Host) time.Duration {
	t.Helper()
	var ticks int64
	// The processes themselves, and those that have ended and were waited for.
	for line := range strings.Lines(h.Exec(t, "/bin/sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null || true")) {
		_, after, _ := strings.Cut(line, ") ")
		fields := strings.Fields(after)
		for _, f := range fields[11:15] {
			n, err := strconv.ParseInt(f, 10, 64)
			require.NoError(t, err)
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / ticksASecond
}

// ticksASecond is what the kernel counts CPU time in, on all that Go runs on.
const ticksASecond = 100

// closed are hosts of this machine's own network at which nobody listens: their
// machines run, and no further than to the login can be got.
type closed struct{ n atomic.Int64 }

func (c *closed) next() string {
	n := c.n.Add(1)
	return net.IPv4(127, 77, byte(n/250), byte(1+n%250)).String()
}

func (c *closed) Boot(s fakecloud.Spec) (fakecloud.Host, error) {
	paper, err := new(fakecloud.Paper).Boot(s)
	return closedHost{paper, c.next()}, err
}

func (c *closed) Reserve() (string, func(), error) { return c.next(), func() {}, nil }

type closedHost struct {
	fakecloud.Host
	address string
}

func (h closedHost) Address() string { return h.address }

// TestHundredMachines counts what a hundred machines cost: calls of the clouds'
// APIs until all run and their SSH is tried, and until all are given back, and
// the deployer's memory.
func TestHundredMachines(t *testing.T) {
	own := sshtest.Start(t, sshtest.Options{User: "localuser"})
	c := startClouds(t, own, &closed{})
	amounts := map[string]int{"EC2": 34, "HP": 33, "Rackspace": 33}
	c.family()
	c.resetPeak()
	idle := c.peak()
	wait := c.follow(100, func(e fleet.Entry) bool {
		return e.Type == fleet.EntryResult && e.Step == fleet.StepBoot && e.Result == fleet.ResultOK
	})
	begun := time.Now()
	for provider, amount := range amounts {
		c.deploy(provider, amount)
	}
	wait()
	ran := time.Since(begun)
	made := c.counts()
	begun = time.Now()
	c.remove()
	gone := time.Since(begun)
	all := c.counts()

	result := newTable("100 machines of three clouds, calls of their APIs for each machine", "machines", "until they run", "until they are gone, all in all")
	for _, provider := range slices.Sorted(maps.Keys(amounts)) {
		each := func(n int) string { return fmt.Sprintf("%.2f", float64(n)/float64(amounts[provider])) }
		total := func(counts map[string]int) (n int) {
			for _, calls := range counts {
				n += calls
			}
			return n
		}
		result.row(provider, strconv.Itoa(amounts[provider]), each(total(made[provider])), each(total(all[provider])))
		for _, op := range slices.Sorted(maps.Keys(all[provider])) {
			result.row("  "+op, "", each(made[provider][op]), each(all[provider][op]))
		}
	}
	result.end()
	cost := newTable("the same, time and the server's memory (RSS)", "")
	cost.row("until all run", seconds(ran))
	cost.row("until all are gone", seconds(gone))
	cost.row("memory before", fmt.Sprintf("%d MiB", idle>>20))
	cost.row("memory at most", fmt.Sprintf("%d MiB", c.peak()>>20))
	cost.end()
}

func (c clouds) counts() map[string]map[string]int {
	all := map[string]map[string]int{}
	for provider, calls := range c.calls {
		all[provider], _ = calls.Count()
	}
	return all
}
