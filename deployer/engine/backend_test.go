package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/engine"
	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/provider/providertest"
)

func TestRefusals(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		ctx := t.Context()
		s := w.prepare(e, threeHosts...)
		_, err := e.Deploy(ctx, fleet.DeployRequest{Family: s.family.ID, Amount: 1})
		require.NoError(t, err)
		n := w.until(e, time.Minute, "one is UP", all(1, fleet.StateUp))[0]
		for name, tc := range map[string]struct {
			call func() error
			kind error
			want string
		}{
			"same name":          {func() error { _, err := e.AddProvider(ctx, s.provider); return err }, fleet.ErrConflict, "already"},
			"unknown kind":       {func() error { _, err := e.AddProvider(ctx, fleet.Provider{Name: "x", Kind: "abacus"}); return err }, fleet.ErrInvalid, `cannot use the kind "abacus"`},
			"provider in use":    {func() error { return e.RemoveProvider(ctx, s.provider.ID) }, fleet.ErrConflict, "is used by family"},
			"release in use":     {func() error { return e.RemoveRelease(ctx, "shop") }, fleet.ErrConflict, "is used by family"},
			"family has nodes":   {func() error { return e.RemoveFamily(ctx, s.family.ID, false) }, fleet.ErrConflict, "has 1 nodes"},
			"no such family":     {func() error { _, err := e.Deploy(ctx, fleet.DeployRequest{Family: "x", Amount: 1}); return err }, fleet.ErrNotFound, `no node family "x"`},
			"no amount":          {func() error { _, err := e.Deploy(ctx, fleet.DeployRequest{Family: s.family.ID}); return err }, fleet.ErrInvalid, "amount"},
			"no such action":     {func() error { _, err := e.Act(ctx, n.ID, "dance"); return err }, fleet.ErrInvalid, "dance"},
			"nothing to cancel":  {func() error { _, err := e.Cancel(ctx, n.ID); return err }, fleet.ErrConflict, "nothing is being done"},
			"unknown archive":    {func() error { _, err := e.AddRelease(ctx, release("x", strings.Repeat("0", 64))); return err }, fleet.ErrNotFound, "no archive"},
			"host with a node":   {func() error { return takeHost(ctx, e, s, n.Host) }, fleet.ErrConflict, "delete it before"},
			"domain with a node": {func() error { return changeFamily(ctx, e, s, func(f *fleet.Family) { f.Domains = nil }) }, fleet.ErrConflict, "delete it before"},
			"bad selection":      {func() error { return changeFamily(ctx, e, s, func(f *fleet.Family) { f.Selection = "best" }) }, fleet.ErrInvalid, "best"},
		} {
			err := tc.call()
			require.ErrorIs(t, err, tc.kind, name)
			require.ErrorContains(t, err, tc.want, name)
		}
		require.NoError(t, changeFamily(ctx, e, s, func(f *fleet.Family) { f.Protected = true }))
		require.ErrorContains(t, e.RemoveFamily(ctx, s.family.ID, true), "protected")
		_, err = e.Act(ctx, n.ID, fleet.ActionDelete)
		require.ErrorContains(t, err, "protected")
	})
}

func release(name, digest string) fleet.Release {
	return fleet.Release{
		Name: name, StartCommand: "bin/x start", StopCommand: "bin/x stop", Cookie: "monster",
		Archives: []fleet.Archive{{SHA256: digest}},
	}
}

func takeHost(ctx context.Context, e *engine.Engine, s set, host string) error {
	_, err := e.ChangeProvider(ctx, s.provider.ID, func(p *fleet.Provider) error {
		var left []fleet.Server
		for _, server := range p.Servers {
			if server.Host != host {
				left = append(left, server)
			}
		}
		p.Servers = left
		return nil
	})
	return err
}

func changeFamily(ctx context.Context, e *engine.Engine, s set, change func(*fleet.Family)) error {
	_, err := e.ChangeFamily(ctx, s.family.ID, func(f *fleet.Family) error { change(f); return nil })
	return err
}

// TestCloudsOnPaper writes a cloud down that nothing can be used with.
func TestCloudsOnPaper(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e, threeHosts...)
		hp, err := e.AddProvider(t.Context(), fleet.Provider{Name: "HP", Kind: "hp", Secrets: map[string]fleet.Secret{"password": "hunter2"}})
		require.NoError(t, err)
		require.NoError(t, changeFamily(t.Context(), e, s, func(f *fleet.Family) {
			f.Domains = append(f.Domains, fleet.Domain{ProviderID: hp.ID, SSHUser: "ubuntu"})
		}))
		_, err = e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Provider: "HP", Amount: 1})
		require.ErrorContains(t, err, `cannot use the kind "hp"`)
		require.NoError(t, e.RemoveFamily(t.Context(), s.family.ID, true))
		w.untilGone(e, s)
		require.NoError(t, e.RemoveProvider(t.Context(), "HP"))
	})
}

// TestFirewallFollows changes rules, which the provider gets.
func TestFirewallFollows(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e)
		w.untilIdle(e)
		rules, err := fleet.ParseFirewall("tcp:4369:4369,tcp:6000:7999")
		require.NoError(t, err)
		require.NoError(t, changeFamily(t.Context(), e, s, func(f *fleet.Family) { f.Firewall = rules }))
		w.untilIdle(e)
		got, prepared := w.memory.Firewall(s.family.ID)
		require.True(t, prepared)
		require.Equal(t, rules, got)
		require.NoError(t, changeFamily(t.Context(), e, s, func(f *fleet.Family) { f.Domains = nil }))
		w.untilIdle(e)
		_, prepared = w.memory.Firewall(s.family.ID)
		require.False(t, prepared, "the provider was left")
		require.NoError(t, e.RemoveProvider(t.Context(), "cloud"))
	})
}

// TestWithdrawnElsewhere removes a family with three providers, one of which
// refuses and another is out of order for a moment: both get theirs removed that
// can, and the third when it is open again.
func TestWithdrawnElsewhere(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		refuse := func(of string, kind provider.ErrorKind, times int) *providertest.Memory {
			return &providertest.Memory{Before: func(_ context.Context, op string) error {
				if op != "remove family" || times == 0 {
					return nil
				}
				times--
				return &provider.Error{Provider: of, Op: op, Kind: kind, Message: "not now"}
			}}
		}
		clouds := map[string]*providertest.Memory{"shut": refuse("shut", provider.KindAuth, 2), "busy": refuse("busy", provider.KindUnavailable, 1)}
		o := w.options()
		for kind, cloud := range clouds {
			o.Providers[kind] = cloud.Factory
		}
		e, _, stop := w.run(o, 0)
		defer stop()
		s := w.prepare(e)
		domains := s.family.Domains
		for kind := range clouds {
			p, err := e.AddProvider(t.Context(), fleet.Provider{Name: kind, Kind: kind})
			require.NoError(t, err)
			domains = append(domains, fleet.Domain{ProviderID: p.ID, SSHUser: "erl"})
		}
		require.NoError(t, changeFamily(t.Context(), e, s, func(f *fleet.Family) { f.Domains = domains }))
		w.untilIdle(e)
		require.Equal(t, []int{1, 1, 1}, []int{w.memory.Families(), clouds["busy"].Families(), clouds["shut"].Families()})

		require.NoError(t, e.RemoveFamily(t.Context(), s.family.ID, true))
		w.untilIdle(e)
		require.Equal(t, []int{0, 0, 1}, []int{w.memory.Families(), clouds["busy"].Families(), clouds["shut"].Families()})
		entries, err := e.Journal(t.Context(), fleet.JournalFilter{Subject: s.family.ID, Last: true, Limit: 1})
		require.NoError(t, err)
		require.Equal(t, "remove key and firewall: provider shut: remove family: not now", entries[0].Message)

		require.NoError(t, e.RemoveFamily(t.Context(), s.family.ID, true))
		w.untilGone(e, s)
		require.Zero(t, clouds["shut"].Families())
	})
}

// TestRequestKeys repeats a request after its answer was lost.
func TestRequestKeys(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e, threeHosts...)
		r := fleet.DeployRequest{Family: s.family.ID, Amount: 2, Key: "k"}
		first, err := e.Deploy(t.Context(), r)
		require.NoError(t, err)
		second, err := e.Deploy(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, first[1].ID, second[1].ID)
		r.Amount = 3
		_, err = e.Deploy(t.Context(), r)
		require.ErrorIs(t, err, fleet.ErrConflict)
		w.until(e, time.Minute, "two are UP", all(2, fleet.StateUp))
	})
}

// TestUnknownCreates lets every create fail after it had its effect, as a
// cloud does that times out: each machine is found and made once.
func TestUnknownCreates(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.memory.Boot, w.memory.Settle = time.Second, 10*time.Second
		w.memory.After = func(_ context.Context, op string) error {
			if op == "create" {
				return &provider.Error{Provider: "cloud", Op: op, Kind: provider.KindUnavailable, Message: "timed out"}
			}
			return nil
		}
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e)
		_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 3})
		require.NoError(t, err)
		w.until(e, 5*time.Minute, "three are UP", all(3, fleet.StateUp))
		require.Equal(t, 3, w.memory.Created())
	})
}

// TestFailedMachine deploys again after a machine failed: another is made, and
// the failed one is given back.
func TestFailedMachine(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.memory.Boot = 10 * time.Second
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e)
		nodes, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 1})
		require.NoError(t, err)
		w.until(e, time.Minute, "it boots", func([]fleet.Node) bool { return w.memory.Created() == 1 })
		w.memory.Fail(nodes[0].ID, "no valid host was found")
		failed := w.until(e, time.Minute, "it failed", all(1, fleet.StateError))
		require.Contains(t, failed[0].Reason.Message, "no valid host was found")
		_, err = e.Act(t.Context(), nodes[0].ID, fleet.ActionDeploy)
		require.NoError(t, err)
		again := w.until(e, time.Minute, "it is UP", all(1, fleet.StateUp))
		require.Equal(t, 2, again[0].Attempt)
		require.Len(t, w.memory.Machines(), 1)
	})
}

// TestForget deletes a node whose host is gone for good.
func TestForget(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e, threeHosts...)
		_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 2})
		require.NoError(t, err)
		nodes := w.until(e, time.Minute, "two are UP", all(2, fleet.StateUp))
		w.failing(func(_, host string) error {
			if host == nodes[0].Host {
				return errors.New("no route to host")
			}
			return nil
		})
		_, err = e.Act(t.Context(), nodes[0].ID, fleet.ActionDelete)
		require.NoError(t, err)
		w.until(e, 10*time.Minute, "it cannot be deleted", func(n []fleet.Node) bool { return count(n, fleet.StateError) == 1 })
		_, err = e.Act(t.Context(), nodes[0].ID, fleet.ActionForget)
		require.NoError(t, err)
		w.until(e, time.Minute, "it is forgotten", all(1, fleet.StateUp))
		require.Len(t, w.watched, 1)

		// What it left is found once it is old enough, and removed if asked to.
		o, err := e.Collect(t.Context(), fleet.CollectRequest{})
		require.NoError(t, err)
		require.Empty(t, o)
		time.Sleep(2 * time.Hour)
		for _, remove := range []bool{false, true} {
			o, err = e.Collect(t.Context(), fleet.CollectRequest{Remove: remove})
			require.NoError(t, err)
			require.Len(t, o, 1)
			require.Equal(t, nodes[0].ID, o[0].NodeID)
			require.Equal(t, remove, o[0].Removed)
		}
		require.Len(t, w.memory.Machines(), 1)

		// One provider that cannot be looked at hides nothing of the others.
		cloud, err := e.AddProvider(t.Context(), fleet.Provider{Name: "Paper", Kind: "openstack"})
		require.NoError(t, err)
		o, err = e.Collect(t.Context(), fleet.CollectRequest{})
		require.NoError(t, err)
		require.Len(t, o, 1)
		require.Equal(t, fleet.KindProvider, o[0].Kind)
		require.Equal(t, cloud.ID, o[0].ID)
		require.NotEmpty(t, o[0].Error)
	})
}

// TestDeadMachine deletes a machine of ours whose host does not answer: it is
// given back all the same.
func TestDeadMachine(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		s := w.prepare(e)
		_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 1})
		require.NoError(t, err)
		n := w.until(e, time.Minute, "it is UP", all(1, fleet.StateUp))[0]
		w.failing(func(_, _ string) error { return errors.New("no route to host") })
		_, err = e.Act(t.Context(), n.ID, fleet.ActionDelete)
		require.NoError(t, err)
		w.until(e, 2*time.Minute, "it is gone", all(0, ""))
		require.Empty(t, w.memory.Machines())
	})
}

func TestSubscribe(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		events, cancel := e.Subscribe(t.Context(), 0)
		s := w.prepare(e, threeHosts...)
		_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 2})
		require.NoError(t, err)
		w.until(e, time.Minute, "two are UP", all(2, fleet.StateUp))
		entries, err := e.Journal(t.Context(), fleet.JournalFilter{})
		require.NoError(t, err)
		progress := 0
		for want := int64(1); want <= int64(len(entries)); {
			event := <-events
			if event.Progress != nil {
				progress++
				continue
			}
			require.Equal(t, want, event.Entry.Seq, "none is left out")
			want++
		}
		for ; progress == 0; progress++ { // it waits for who reads entries late
			require.NotNil(t, (<-events).Progress)
		}
		cancel()
		for range events {
		}
		late, cancel := e.Subscribe(t.Context(), -1)
		time.Sleep(time.Second)
		_, err = e.AddProvider(fleet.WithActor(t.Context(), "alice"), fleet.Provider{Name: "HP", Kind: "hp"})
		require.NoError(t, err)
		event := <-late
		require.Equal(t, "alice", event.Entry.Actor)
		require.Equal(t, int64(len(entries)+1), event.Entry.Seq)
		cancel()
		for range late {
		}
	})
}

func TestMetricsAndDoctor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		registry := prometheus.NewRegistry()
		o := w.options()
		o.Registerer = registry
		o.Checks = []engine.Check{{Subject: "weather", Run: func(context.Context) (string, error) { return "", errors.New("it rains") }}}
		e, _, stop := w.run(o, 0)
		defer stop()
		s := w.prepare(e, threeHosts...)
		_, err := e.Deploy(t.Context(), fleet.DeployRequest{Family: s.family.ID, Amount: 2})
		require.NoError(t, err)
		w.until(e, time.Minute, "two are UP", all(2, fleet.StateUp))
		require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP erl_deploy_nodes Nodes by family, provider and state.
# TYPE erl_deploy_nodes gauge
erl_deploy_nodes{family="Shop Cluster",provider="Local",state="DOWN"} 0
erl_deploy_nodes{family="Shop Cluster",provider="Local",state="ERROR"} 0
erl_deploy_nodes{family="Shop Cluster",provider="Local",state="STOPPED"} 0
erl_deploy_nodes{family="Shop Cluster",provider="Local",state="UNINIT"} 0
erl_deploy_nodes{family="Shop Cluster",provider="Local",state="UP"} 2
# HELP erl_deploy_exporter_up Whether the exporter is being followed.
# TYPE erl_deploy_exporter_up gauge
erl_deploy_exporter_up 1
# HELP erl_deploy_registrations_pending Nodes that the exporter has to be told of, or told to forget.
# TYPE erl_deploy_registrations_pending gauge
erl_deploy_registrations_pending 0
`), "erl_deploy_nodes", "erl_deploy_exporter_up", "erl_deploy_registrations_pending"))
		problems, err := testutil.GatherAndLint(registry)
		require.NoError(t, err)
		require.Empty(t, problems)

		findings, err := e.Doctor(t.Context())
		require.NoError(t, err)
		for _, f := range findings {
			require.Equal(t, f.Subject != "weather", f.OK, "%+v", f)
		}
		require.NoError(t, os.Remove(w.archives.Path(w.digest)))
		findings, err = e.Doctor(t.Context())
		require.NoError(t, err)
		require.Contains(t, fmt.Sprint(findings), "upload it again")
	})
}

const manifest = `
providers:
  - name: Local
    kind: physical
    servers: [{host: h1}, {host: h2, slots: 4}]
releases:
  - name: shop
    archives: [{sha256: DIGEST}]
    start_command: bin/shop start
    stop_command: bin/shop stop
    cookie: monster
families:
  - name: Shop Cluster
    release: shop
    firewall: tcp:4369:4369
    ports: 6000-6009
    bootstrap: {strategy: custom, command: bin/bootstrap}
    domains: [{provider: Local, ssh_user: erl, nodes: NODES}]
`

func TestPlanAndApply(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.memory.Hosts = threeHosts[:2]
		e, _, stop := w.run(w.options(), 0)
		defer stop()
		parse := func(text string, nodes int) fleet.Manifest {
			m, err := fleet.ParseManifest([]byte(strings.NewReplacer("DIGEST", w.digest, "NODES", fmt.Sprint(nodes)).Replace(text)))
			require.NoError(t, err)
			return m
		}
		apply := func(m fleet.Manifest) string {
			plan, err := e.Plan(t.Context(), m)
			require.NoError(t, err)
			applied, err := e.Apply(t.Context(), m, plan.Digest)
			require.NoError(t, err)
			require.Equal(t, plan, applied)
			var lines []string
			for _, c := range plan.Changes {
				lines = append(lines, fmt.Sprint(c.Verb, " ", c.Kind, " ", c.Fields))
			}
			return strings.Join(lines, "\n")
		}
		require.Equal(t, "create provider []\ncreate release []\ncreate family []\ndeploy node []\ndeploy node []\ndeploy node []", apply(parse(manifest, 3)))
		w.until(e, time.Minute, "three are UP", all(3, fleet.StateUp))
		require.Empty(t, apply(parse(manifest, 3)), "it is as it should be")

		changed := strings.NewReplacer("tcp:4369:4369", "tcp:4369:4370", "cookie: monster", "cookie: other").Replace(manifest)
		require.Equal(t, "update release [{cookie ******** ********}]\n"+
			"update family [{firewall tcp:4369:4369 tcp:4369:4370}]\ndelete node []\ndelete node []", apply(parse(changed, 1)))
		w.until(e, time.Minute, "one is left", all(1, fleet.StateUp))

		stale, err := e.Plan(t.Context(), parse(changed, 2))
		require.NoError(t, err)
		apply(parse(changed, 3))
		_, err = e.Apply(t.Context(), parse(changed, 2), stale.Digest)
		require.ErrorIs(t, err, fleet.ErrConflict)
		w.until(e, time.Minute, "three are UP", all(3, fleet.StateUp))

		require.Equal(t, "delete family []", apply(fleet.Manifest{Prune: true}))
		w.untilIdle(e)
		require.Equal(t, "delete release []\ndelete provider []", apply(fleet.Manifest{Prune: true}))
		require.Empty(t, w.memory.Machines())

		bad := parse(manifest, 1)
		bad.Families[0].Domains[0].Provider = "elsewhere"
		_, err = e.Apply(t.Context(), bad, "")
		require.ErrorIs(t, err, fleet.ErrNotFound)
		providers, err := e.Providers(t.Context())
		require.NoError(t, err)
		require.Empty(t, providers, "all of it or nothing")
	})
}
