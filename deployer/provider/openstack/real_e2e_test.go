//go:build e2e_openstack

package openstack_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"
	sdk "github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/quotasets"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	networkquotas "github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/quotas"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/provider/openstack"
	"github.com/erlops/erlops/deployer/provider/providertest"
)

// What scripts/openstack.sh makes.
const (
	realRegion = "RegionOne"
	realImage  = "Debian 12"
	realFlavor = "standard.xsmall"
	hugeFlavor = "standard.huge" // no host has room for it
)

// realCloud is a project of the OpenStack that scripts/openstack.sh starts.
type realCloud struct {
	file  string // clouds.yaml, with the entries user and admin
	auth  gophercloud.AuthOptions
	user  *clients
	admin *clients
	// The user's ids.
	project, userID string
}

// clients are the SDK's, for what the tests do beside the provider.
type clients struct{ identity, compute, network, image *gophercloud.ServiceClient }

func newReal(t *testing.T) *realCloud {
	t.Helper()
	cache := os.Getenv("ERLOPS_CACHE")
	if cache == "" {
		dir, err := os.UserCacheDir()
		require.NoError(t, err)
		cache = filepath.Join(dir, "erlops")
	}
	r := &realCloud{file: filepath.Join(cache, "openstack.yaml")}
	if _, err := os.Stat(r.file); err != nil {
		if os.Getenv("ERLTEST_REQUIRED") == "1" {
			t.Fatalf("there is no OpenStack: %v; make e2e-openstack starts one", err)
		}
		t.Skipf("there is no OpenStack (%v); scripts/openstack.sh start starts one", err)
	}
	r.auth, r.user = connectTo(t, r.file, "user")
	_, r.admin = connectTo(t, r.file, "admin")
	result, ok := r.user.identity.GetAuthResult().(tokens.CreateResult)
	require.True(t, ok)
	project, err := result.ExtractProject()
	require.NoError(t, err)
	user, err := result.ExtractUser()
	require.NoError(t, err)
	r.project, r.userID = project.ID, user.ID
	swept.Do(func() { r.sweep(t) })
	return r
}

var swept sync.Once

// sweep deletes what a run that was killed has left.
func (r *realCloud) sweep(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		page, err := servers.List(r.user.compute, nil).AllPages(ctx)
		require.NoError(c, err)
		all, err := servers.ExtractServers(page)
		require.NoError(c, err)
		for _, v := range all {
			_ = servers.Delete(ctx, r.user.compute, v.ID).ExtractErr()
		}
		require.Empty(c, all)
	}, time.Minute, 500*time.Millisecond)
	page, err := floatingips.List(r.user.network, nil).AllPages(ctx)
	require.NoError(t, err)
	addresses, err := floatingips.ExtractFloatingIPs(page)
	require.NoError(t, err)
	for _, a := range addresses {
		require.NoError(t, floatingips.Delete(ctx, r.user.network, a.ID).ExtractErr())
	}
	page, err = groups.List(r.user.network, groups.ListOpts{}).AllPages(ctx)
	require.NoError(t, err)
	all, err := groups.ExtractGroups(page)
	require.NoError(t, err)
	for _, g := range all {
		if g.Name != "default" {
			require.NoError(t, groups.Delete(ctx, r.user.network, g.ID).ExtractErr())
		}
	}
	page, err = keypairs.List(r.user.compute, nil).AllPages(ctx)
	require.NoError(t, err)
	keys, err := keypairs.ExtractKeyPairs(page)
	require.NoError(t, err)
	for _, k := range keys {
		require.NoError(t, keypairs.Delete(ctx, r.user.compute, k.Name, nil).ExtractErr())
	}
}

func connectTo(t *testing.T, file, cloud string) (gophercloud.AuthOptions, *clients) {
	t.Helper()
	auth, endpoint, _, err := clouds.Parse(clouds.WithCloudName(cloud), clouds.WithLocations(file))
	require.NoError(t, err)
	return auth, newClients(t, auth, endpoint)
}

func newClients(t *testing.T, auth gophercloud.AuthOptions, endpoint gophercloud.EndpointOpts) *clients {
	t.Helper()
	p, err := sdk.AuthenticatedClient(t.Context(), auth)
	require.NoError(t, err)
	var c clients
	c.compute, err = sdk.NewComputeV2(p, endpoint)
	require.NoError(t, err)
	c.network, err = sdk.NewNetworkV2(p, endpoint)
	require.NoError(t, err)
	c.image, err = sdk.NewImageV2(p, endpoint)
	require.NoError(t, err)
	c.identity, err = sdk.NewIdentityV3(p, endpoint)
	if err != nil { // a catalogue may leave it out: users know where it is
		c.identity = nil
	}
	return &c
}

// record is a provider as in the paper's listing 5. Servers of Nova's fake
// driver have no console that a host key could be on.
func (r *realCloud) record(kind string) fleet.Provider {
	return fleet.Provider{
		Name: "HP", Kind: kind,
		Settings: map[string]string{
			"auth_url": r.auth.IdentityEndpoint, "tenant_name": r.auth.TenantName, "service_region": realRegion,
			"host_key": "none", "settle": "5s",
		},
		Secrets: map[string]fleet.Secret{"username": fleet.Secret(r.auth.Username), "password": fleet.Secret(r.auth.Password)},
	}
}

func realDomain() fleet.Domain {
	return fleet.Domain{SSHUser: "debian", Image: realImage, Hardware: realFlavor}
}

// credential makes an application credential of the user's.
func (r *realCloud) credential(t *testing.T) *applicationcredentials.ApplicationCredential {
	t.Helper()
	made, err := applicationcredentials.Create(t.Context(), r.user.identity, r.userID, applicationcredentials.CreateOpts{Name: uuid.NewString()}).Extract()
	require.NoError(t, err)
	t.Cleanup(func() {
		err := applicationcredentials.Delete(context.WithoutCancel(t.Context()), r.user.identity, r.userID, made.ID).ExtractErr()
		assert.NoError(t, err)
	})
	return made
}

// requireNothing checks that no test left anything of the project's behind. A
// server is shown until its host has forgotten it.
func (r *realCloud) requireNothing(t *testing.T) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		page, err := servers.List(r.user.compute, nil).AllPages(t.Context())
		require.NoError(c, err)
		all, err := servers.ExtractServers(page)
		require.NoError(c, err)
		require.Empty(c, all)
	}, time.Minute, 100*time.Millisecond)
}

// TestRealContract has the providers' conformance suite, by every way to log in.
func TestRealContract(t *testing.T) {
	r := newReal(t)
	secret := r.credential(t)
	for name, tc := range map[string]struct {
		kind   string
		change func(*fleet.Provider)
	}{
		// The paper's URL of a version that Keystone no longer has.
		"hp, floating addresses": {kind: openstack.KindHP, change: func(p *fleet.Provider) {
			p.Settings["auth_url"] = strings.Replace(r.auth.IdentityEndpoint, "/v3", "/v2.0/tokens", 1)
		}},
		"fixed addresses, key by cloud-init": {kind: openstack.KindGeneric, change: func(p *fleet.Provider) {
			maps.Copy(p.Settings, map[string]string{"network": "private", "host_key": "cloud-init", "user_data": "#!/bin/sh\ntrue\n", "config_drive": "true"})
		}},
		"application credential": {kind: openstack.KindGeneric, change: func(p *fleet.Provider) {
			p.Secrets = map[string]fleet.Secret{"application_credential_id": fleet.Secret(secret.ID), "application_credential_secret": fleet.Secret(secret.Secret)}
			delete(p.Settings, "tenant_name")
			p.Settings["floating"], p.Settings["floating_network"] = "true", "external"
		}},
		"clouds.yaml": {kind: openstack.KindGeneric, change: func(p *fleet.Provider) {
			p.Settings, p.Secrets = map[string]string{"cloud": "user", "clouds_file": r.file, "floating": "true", "host_key": "none", "settle": "5s"}, nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			record := r.record(tc.kind)
			tc.change(&record)
			providertest.Run(t, providertest.Harness{
				New:    func(t *testing.T) provider.Provider { t.Helper(); return newProvider(t, record) },
				Domain: realDomain(), PublicKey: publicKey, Secrets: []string{r.auth.Password, secret.Secret, "another-password"},
				Broken: func(t *testing.T) provider.Provider {
					t.Helper()
					wrong := r.record(tc.kind)
					wrong.Secrets["password"] = "another-password"
					return newProvider(t, wrong)
				},
			})
			r.requireNothing(t)
		})
	}
}

// realScene is a family at the real cloud, which is gone afterwards.
type realScene struct {
	r *realCloud
	p provider.Provider
	f provider.Family
}

func newRealScene(t *testing.T, r *realCloud, change ...func(*fleet.Provider)) realScene {
	t.Helper()
	record := r.record(openstack.KindHP)
	for _, f := range change {
		f(&record)
	}
	s := realScene{r: r, p: newProvider(t, record)}
	s.f = provider.Family{
		Tag: provider.Tag{Owner: uuid.NewString(), FamilyID: uuid.NewString()}, Name: "kv", PublicKey: publicKey, Domains: []fleet.Domain{realDomain()},
		Firewall: []fleet.FirewallRule{{Protocol: "tcp", PortRange: fleet.PortRange{From: 4369, To: 4369}}},
	}
	return s
}

// prepared is a scene with its family made.
func prepared(t *testing.T, r *realCloud, change ...func(*fleet.Provider)) realScene {
	t.Helper()
	s := newRealScene(t, r, change...)
	require.NoError(t, s.p.EnsureFamily(t.Context(), s.f))
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		assert.EventuallyWithT(t, func(c *assert.CollectT) {
			all, err := s.p.Resources(ctx, s.f.Tag.Owner)
			require.NoError(c, err)
			for _, left := range all {
				if err := s.p.Remove(ctx, left); err != nil {
					require.True(c, provider.Retryable(err), "%v", err)
				}
			}
			require.Empty(c, all)
		}, time.Minute, 100*time.Millisecond)
	})
	return s
}

func (s realScene) create(ctx context.Context, change ...func(*provider.Request)) (provider.Machine, error) {
	tag := s.f.Tag
	tag.NodeID = uuid.NewString()
	request := provider.Request{Tag: tag, Token: uuid.NewString(), Domain: realDomain(), FamilyName: "kv", PublicKey: publicKey}
	for _, f := range change {
		f(&request)
	}
	return s.p.Create(ctx, request)
}

// become waits until a machine is in a state.
func (s realScene) become(t *testing.T, id string, want provider.MachineState) provider.Machine {
	t.Helper()
	var m provider.Machine
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		var err error
		m, err = s.p.Describe(t.Context(), id)
		require.NoError(c, err)
		if m.State != provider.MachineFailed { // for good
			require.Equal(c, want, m.State)
		}
	}, time.Minute, 50*time.Millisecond)
	require.Equal(t, want, m.State, m.Fault)
	return m
}

// TestRealRefusals shows what users read when a real cloud refuses.
func TestRealRefusals(t *testing.T) {
	r := newReal(t)
	for name, tc := range map[string]struct {
		record func(*fleet.Provider)
		change func(*provider.Request)
		kind   provider.ErrorKind
		want   string
	}{
		"password": {record: func(p *fleet.Provider) { p.Secrets["password"] = "nonsense" }, kind: provider.KindAuth, want: "check username, password and tenant_name"},
		"user":     {record: func(p *fleet.Provider) { p.Secrets["username"] = "nobody" }, kind: provider.KindAuth, want: "check username, password and tenant_name"},
		"tenant":   {record: func(p *fleet.Provider) { p.Settings["tenant_name"] = "nobody" }, kind: provider.KindAuth, want: "tenant_name"},
		"domain":   {record: func(p *fleet.Provider) { p.Settings["user_domain"] = "nobody" }, kind: provider.KindAuth, want: "check username"},
		"region":   {record: func(p *fleet.Provider) { p.Settings["service_region"] = "region-x" }, kind: provider.KindInvalid, want: `no compute service in region "region-x": check service_region`},
		"port":     {record: func(p *fleet.Provider) { p.Settings["auth_url"] = "http://127.0.45.1:1/v3" }, kind: provider.KindUnavailable, want: "does not answer"},
		"image":    {change: func(q *provider.Request) { q.Domain.Image = uuid.NewString() }, kind: provider.KindInvalid, want: "check image"},
		"image by name": {
			change: func(q *provider.Request) { q.Domain.Image = "Ubuntu" }, kind: provider.KindInvalid,
			want: `there is no image "Ubuntu" in this region: check image; there are Debian 12`,
		},
		"flavour":         {change: func(q *provider.Request) { q.Domain.Hardware = "enormous" }, kind: provider.KindInvalid, want: `there is no flavour "enormous"`},
		"network":         {change: func(q *provider.Request) { q.Domain.Settings = map[string]string{"network": uuid.NewString()} }, kind: provider.KindInvalid, want: "check network"},
		"network by name": {change: func(q *provider.Request) { q.Domain.Settings = map[string]string{"network": "none"} }, kind: provider.KindInvalid, want: `there is no network "none"`},
		"zone":            {change: func(q *provider.Request) { q.Domain.Settings = map[string]string{"zone": "none"} }, kind: provider.KindInvalid, want: "check zone"},
	} {
		t.Run(name, func(t *testing.T) {
			change := func(*fleet.Provider) {}
			if tc.record != nil {
				change = tc.record
			}
			var s realScene
			if tc.change == nil {
				s = newRealScene(t, r, change)
				tc.change = func(*provider.Request) {}
			} else {
				s = prepared(t, r)
			}
			_, err := s.create(t.Context(), tc.change)
			require.True(t, provider.IsKind(err, tc.kind), "%v", err)
			require.ErrorContains(t, err, tc.want)
			require.NotContains(t, err.Error(), r.auth.Password)
			t.Log(err)
		})
	}
}

// limit says how many servers and addresses the project may have, until the test
// ends.
func (r *realCloud) limit(t *testing.T, servers, addresses int) {
	t.Helper()
	set := func(servers, addresses int) error {
		ctx := context.WithoutCancel(t.Context()) // it is lifted after the test
		_, err := quotasets.Update(ctx, r.admin.compute, r.project, quotasets.UpdateOpts{Instances: &servers}).Extract()
		_, failure := networkquotas.Update(ctx, r.admin.network, r.project, networkquotas.UpdateOpts{FloatingIP: &addresses}).Extract()
		return errors.Join(err, failure)
	}
	t.Cleanup(func() { assert.NoError(t, set(10, 50)) })
	require.NoError(t, set(servers, addresses))
}

// TestRealQuotas reaches the project's limits of servers and of addresses.
func TestRealQuotas(t *testing.T) {
	r := newReal(t)
	ctx := t.Context()
	r.requireNothing(t)
	s := prepared(t, r)

	r.limit(t, 1, 50)
	first, err := s.create(ctx)
	require.NoError(t, err)
	require.NotEmpty(t, s.become(t, first.ID, provider.MachineRunning).Host)
	_, err = s.create(ctx)
	require.True(t, provider.IsKind(err, provider.KindQuota), "%v", err)
	require.ErrorContains(t, err, "a quota of the project is reached: delete what is not needed")
	require.ErrorContains(t, err, "already used 1 of 1 instances")

	r.limit(t, 2, 1)
	second, err := s.create(ctx)
	require.NoError(t, err)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, err := s.p.Describe(ctx, second.ID)
		require.True(c, provider.IsKind(err, provider.KindQuota), "%v", err)
		require.ErrorContains(c, err, "floatingip")
	}, time.Minute, 50*time.Millisecond)
}

// TestRealQuotaAtOnce asks for two servers at the same time where one may be.
// Nova counts twice, and one that it took may end in ERROR.
func TestRealQuotaAtOnce(t *testing.T) {
	r := newReal(t)
	ctx := t.Context()
	r.requireNothing(t)
	s := prepared(t, r)
	r.limit(t, 1, 50)
	type outcome struct {
		id  string
		err error
	}
	outcomes := make(chan outcome, 2)
	for range cap(outcomes) {
		go func() {
			m, err := s.create(ctx)
			outcomes <- outcome{m.ID, err}
		}()
	}
	running := 0
	for range cap(outcomes) {
		o := <-outcomes
		if o.err != nil {
			require.True(t, provider.IsKind(o.err, provider.KindQuota), "%v", o.err)
			t.Log("refused:", o.err)
			continue
		}
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			m, err := s.p.Describe(ctx, o.id)
			require.NoError(c, err)
			require.NotEqual(c, provider.MachinePending, m.State)
			if m.State == provider.MachineRunning {
				running++
				return
			}
			require.Contains(c, m.Fault, "quota of the project is reached")
			t.Log("failed:", m.Fault)
		}, time.Minute, 50*time.Millisecond)
	}
	require.LessOrEqual(t, running, 1)
}

// TestRealLife follows a machine and looks at it with the SDK beside the
// provider: what it carries, what depends on it, and how it goes.
func TestRealLife(t *testing.T) {
	r := newReal(t)
	ctx := t.Context()
	s := prepared(t, r)
	var asked provider.Request
	m, err := s.create(ctx, func(q *provider.Request) { asked = *q })
	require.NoError(t, err)
	m = s.become(t, m.ID, provider.MachineRunning)
	require.Regexp(t, `^198\.18\.`, m.Host, "a floating address of the external network")
	require.Equal(t, "debian", m.Login.User)

	v, err := servers.Get(ctx, r.user.compute, m.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, "ACTIVE", v.Status)
	require.Equal(t, "erl-deploy-"+asked.Tag.FamilyID, v.KeyName)
	require.Subset(t, v.Metadata, map[string]string{
		"erl-deploy-owner": asked.Tag.Owner, "erl-deploy-family": asked.Tag.FamilyID, "erl-deploy-node": asked.Tag.NodeID,
		"erl-deploy-token": asked.Token, "erl-deploy-user": "debian",
	})

	err = s.p.RemoveFamily(ctx, s.f.Tag)
	require.True(t, provider.IsKind(err, provider.KindConflict), "its group is in use: %v", err)
	require.True(t, provider.Retryable(err))

	// Somebody else deletes the server: its address survives, and is found.
	require.NoError(t, servers.Delete(ctx, r.user.compute, m.ID).ExtractErr(), "204")
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, err := servers.Get(ctx, r.user.compute, m.ID).Extract()
		require.True(c, gophercloud.ResponseCodeIs(err, http.StatusNotFound), "%v", err)
	}, time.Minute, 50*time.Millisecond)
	require.True(t, gophercloud.ResponseCodeIs(servers.Delete(ctx, r.user.compute, m.ID).ExtractErr(), http.StatusNotFound))
	require.Equal(t, []string{"address", "firewall", "key"}, s.kinds(t))
	require.NoError(t, s.p.Destroy(ctx, m.ID))
	require.Equal(t, []string{"firewall", "key"}, s.kinds(t))
	_, err = s.p.Describe(ctx, m.ID)
	require.True(t, provider.IsKind(err, provider.KindNotFound), "%v", err)
	require.NoError(t, s.p.RemoveFamily(ctx, s.f.Tag))
	require.Empty(t, s.kinds(t))
}

func (s realScene) kinds(t *testing.T) []string {
	t.Helper()
	all, err := s.p.Resources(t.Context(), s.f.Tag.Owner)
	require.NoError(t, err)
	var kinds []string
	for _, r := range all {
		kinds = append(kinds, r.Kind)
	}
	return kinds
}

// TestRealFault asks for a flavour that no host has room for.
func TestRealFault(t *testing.T) {
	s := prepared(t, newReal(t))
	m, err := s.create(t.Context(), func(q *provider.Request) { q.Domain.Hardware = hugeFlavor })
	require.NoError(t, err)
	require.Contains(t, s.become(t, m.ID, provider.MachineFailed).Fault, "no host with room for this flavour")
}

// TestRealConsole asks Nova for the console: the fake driver has one that no
// host key is on, so that a machine waits and says for what.
func TestRealConsole(t *testing.T) {
	s := prepared(t, newReal(t), func(p *fleet.Provider) { p.Settings["host_key"] = "console" })
	m, err := s.create(t.Context())
	require.NoError(t, err)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		got, err := s.p.Describe(t.Context(), m.ID)
		require.NoError(c, err)
		require.Equal(c, "it runs, and its host key is not on its console yet", got.Fault)
		require.True(c, got.KeyMissing)
	}, time.Minute, 50*time.Millisecond)
	t.Skip("passed so far; a key on the console, and SSH, are not tried here: the servers of Nova's fake driver boot nothing")
}
