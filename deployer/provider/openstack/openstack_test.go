package openstack_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/provider/openstack"
	"github.com/erlops/erlops/deployer/provider/providertest"
	"github.com/erlops/erlops/internal/fakecloud"
	fake "github.com/erlops/erlops/internal/fakeopenstack"
)

const (
	publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ4ccFfa5RvDJWTcvHOOvOrxIJyPVFTLNQyYMXuxzVtD test"
	region    = "region-a.geo-1"
)

// record is a provider as in the paper's listing 5.
func record(c *fake.Cloud, kind string) fleet.Provider {
	return fleet.Provider{
		Name: "HP", Kind: kind,
		Settings: map[string]string{"auth_url": c.AuthURL + "/v2.0/tokens", "tenant_name": fake.Tenant, "service_region": region, "settle": "300ms"},
		Secrets:  map[string]fleet.Secret{"username": fake.User, "password": fake.Password},
	}
}

func environment() provider.Environment {
	return provider.Environment{Derive: func(label string) [32]byte { return sha256.Sum256([]byte("secret" + label)) }}
}

func newProvider(t *testing.T, r fleet.Provider) provider.Provider {
	t.Helper()
	p, err := openstack.New(r, environment())
	require.NoError(t, err)
	return p
}

func domain() fleet.Domain {
	return fleet.Domain{SSHUser: "ubuntu", Image: fake.Image, Hardware: "100"}
}

func TestContract(t *testing.T) {
	t.Parallel()
	clouds := filepath.Join(t.TempDir(), "clouds.yaml")
	for name, tc := range map[string]struct {
		kind    string
		options fake.Options
		change  func(*fake.Cloud, *fleet.Provider)
		domain  map[string]string
	}{
		"hp":        {kind: openstack.KindHP, options: fake.Options{Version2: true, Version3: true}},
		"hp as old": {kind: openstack.KindHP, options: fake.Options{Version2: true, Stop: 100 * time.Millisecond}},
		"rackspace": {
			kind: openstack.KindRackspace, options: fake.Options{Version2: true, NoNetwork: true, LoginUser: "root"},
			change: func(_ *fake.Cloud, p *fleet.Provider) { delete(p.Settings, "tenant_name") },
		},
		"generic, slow": {
			kind: openstack.KindGeneric, options: fake.Options{Stop: 200 * time.Millisecond, TokenUses: 20},
			domain: map[string]string{"network": "private", "host_key": "cloud-init", "config_drive": "true"},
		},
		"application credential": {kind: openstack.KindGeneric, change: func(_ *fake.Cloud, p *fleet.Provider) {
			p.Secrets = map[string]fleet.Secret{"application_credential_id": fake.CredID, "application_credential_secret": fake.CredSecret}
			delete(p.Settings, "tenant_name")
		}},
		"clouds.yaml": {kind: openstack.KindGeneric, change: func(c *fake.Cloud, p *fleet.Provider) {
			text := fmt.Sprintf("clouds:\n  mine:\n    region_name: %s\n    auth: {auth_url: %q, username: %q, password: %q, project_name: %q, user_domain_name: Default, project_domain_name: Default, domain_name: Default}\n",
				region, c.AuthURL, fake.User, fake.Password, fake.Tenant)
			require.NoError(t, os.WriteFile(clouds, []byte(text), 0o600))
			p.Settings, p.Secrets = map[string]string{"cloud": "mine", "clouds_file": clouds, "floating": "true", "settle": "300ms"}, nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.options.Region = region
			c := fake.Start(t, tc.options)
			d := domain()
			d.Settings = tc.domain
			r := record(c, tc.kind)
			if tc.change != nil {
				tc.change(c, &r)
			}
			providertest.Run(t, providertest.Harness{
				New:    func(t *testing.T) provider.Provider { t.Helper(); return newProvider(t, r) },
				Domain: d, PublicKey: publicKey, Secrets: []string{fake.Password, fake.CredSecret, "another-password"},
				Broken: func(t *testing.T) provider.Provider {
					t.Helper()
					wrong := record(c, tc.kind)
					wrong.Secrets["password"] = "another-password"
					return newProvider(t, wrong)
				},
			})
			require.Empty(t, c.Left())
		})
	}
}

// scene is a family at a cloud.
type scene struct {
	c *fake.Cloud
	p provider.Provider
	f provider.Family
}

func newScene(t *testing.T, o fake.Options, change ...func(*fleet.Provider)) scene {
	t.Helper()
	o.Region = region
	s := scene{c: fake.Start(t, o)}
	r := record(s.c, openstack.KindHP)
	for _, f := range change {
		f(&r)
	}
	s.p = newProvider(t, r)
	s.f = provider.Family{
		Tag: provider.Tag{Owner: uuid.NewString(), FamilyID: uuid.NewString()}, Name: "kv", PublicKey: publicKey, Domains: []fleet.Domain{domain()},
		Firewall: []fleet.FirewallRule{{Protocol: "tcp", PortRange: fleet.PortRange{From: 4369, To: 4369}}},
	}
	return s
}

func (s scene) request() provider.Request {
	tag := s.f.Tag
	tag.NodeID = uuid.NewString()
	return provider.Request{Tag: tag, Token: uuid.NewString(), Domain: domain(), FamilyName: "kv", PublicKey: publicKey}
}

// TestRefusals shows what users read.
func TestRefusals(t *testing.T) {
	t.Parallel()
	with := func(f func(*provider.Request)) func(context.Context, scene) error {
		return func(ctx context.Context, s scene) error {
			r := s.request()
			f(&r)
			_, err := s.p.Create(ctx, r)
			return err
		}
	}
	plain := with(func(*provider.Request) {})
	for name, tc := range map[string]struct {
		options fake.Options
		record  func(*fleet.Provider)
		op      string
		fault   *fakecloud.Fault
		call    func(context.Context, scene) error
		kind    provider.ErrorKind
		want    string
	}{
		"password": {record: func(p *fleet.Provider) { p.Secrets["password"] = "nonsense" }, kind: provider.KindAuth, want: "check username, password and tenant_name"},
		"tenant":   {record: func(p *fleet.Provider) { p.Settings["tenant_name"] = "nobody" }, kind: provider.KindAuth, want: "tenant_name"},
		"region":   {record: func(p *fleet.Provider) { p.Settings["service_region"] = "region-x" }, kind: provider.KindInvalid, want: `no compute service in region "region-x": check service_region`},
		"no host":  {record: func(p *fleet.Provider) { p.Settings["auth_url"] = "http://identity.invalid/v3" }, kind: provider.KindUnavailable, want: "check auth_url"},
		"image":    {call: with(func(r *provider.Request) { r.Domain.Image = uuid.NewString() }), kind: provider.KindInvalid, want: "check image"},
		"image by name": {
			call: with(func(r *provider.Request) { r.Domain.Image = "Debian" }), kind: provider.KindInvalid,
			want: `there is no image "Debian" in this region: check image; there are Ubuntu Server`,
		},
		"flavour":   {call: with(func(r *provider.Request) { r.Domain.Hardware = "huge" }), kind: provider.KindInvalid, want: `there is no flavour "huge"`},
		"network":   {call: with(func(r *provider.Request) { r.Domain.Settings = map[string]string{"network": "none"} }), kind: provider.KindInvalid, want: `there is no network "none"`},
		"quota":     {options: fake.Options{Quota: 1}, call: func(ctx context.Context, s scene) error { _ = plain(ctx, s); return plain(ctx, s) }, kind: provider.KindQuota, want: "already used 1 of 1 instances"},
		"throttled": {op: "POST servers", fault: &fakecloud.Fault{Status: http.StatusTooManyRequests, RetryAfter: "7", Message: "This request was rate-limited."}, kind: provider.KindThrottled, want: "too many requests"},
		"forbidden": {op: "POST servers", fault: &fakecloud.Fault{Status: http.StatusForbidden, Message: "Policy doesn't allow os_compute_api:servers:create to be performed."}, kind: provider.KindAuth, want: "ask for a role"},
		"trouble":   {op: "POST servers", fault: &fakecloud.Fault{Status: http.StatusInternalServerError, Message: "Unexpected API Error."}, kind: provider.KindUnavailable, want: "trouble of its own"},
		"no answer": {op: "POST servers", fault: &fakecloud.Fault{Lose: true}, kind: provider.KindUnavailable, want: "does not answer"},
		"networks": {
			op: "POST servers", fault: &fakecloud.Fault{Status: http.StatusConflict, Message: "Multiple possible networks found, use a Network ID to be more specific."},
			kind: provider.KindInvalid, want: "name one in the setting network",
		},
		"value": {
			op: "POST servers", fault: &fakecloud.Fault{Status: http.StatusBadRequest, Message: "Invalid input for field/attribute user_data. Value: " + fake.Password + ". '" + fake.Password + "' is too long"},
			kind: provider.KindInvalid, want: "Invalid input for field/attribute user_data.",
		},
		"family is gone": {call: func(ctx context.Context, s scene) error { _ = s.p.RemoveFamily(ctx, s.f.Tag); return plain(ctx, s) }, kind: provider.KindNotFound, want: "is gone"},
		"no key of ours": {call: func(ctx context.Context, s scene) error { s.f.PublicKey = ""; return s.p.EnsureFamily(ctx, s.f) }, kind: provider.KindInvalid, want: "ssh.key_files"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			change := func(*fleet.Provider) {}
			if tc.record != nil {
				change = tc.record
			}
			s := newScene(t, tc.options, change)
			if tc.record == nil {
				require.NoError(t, s.p.EnsureFamily(t.Context(), s.f))
			}
			if tc.fault != nil {
				s.c.Calls.Fail(func(op string, _ int) *fakecloud.Fault {
					if op == tc.op {
						return tc.fault
					}
					return nil
				})
			}
			call := plain
			if tc.call != nil {
				call = tc.call
			}
			err := call(t.Context(), s)
			require.True(t, provider.IsKind(err, tc.kind), "%v", err)
			require.ErrorContains(t, err, tc.want)
			require.NotContains(t, err.Error(), fake.Password)
			if tc.fault != nil && tc.fault.RetryAfter != "" {
				require.Equal(t, 7*time.Second, provider.RetryAfter(err))
			}
		})
	}
}

// TestMoved describes a server that an operator moves: it is not failed.
func TestMoved(t *testing.T) {
	t.Parallel()
	s := newScene(t, fake.Options{})
	require.NoError(t, s.p.EnsureFamily(t.Context(), s.f))
	m, err := s.p.Create(t.Context(), s.request())
	require.NoError(t, err)
	become := func(want provider.MachineState, fault string) {
		t.Helper()
		require.EventuallyWithT(t, func(ct *assert.CollectT) {
			got, err := s.p.Describe(t.Context(), m.ID)
			require.NoError(ct, err)
			require.Equal(ct, want, got.State)
			require.Equal(ct, fault, got.Fault)
		}, 10*time.Second, 10*time.Millisecond)
	}
	become(provider.MachineRunning, "")
	s.c.SetStatus(m.ID, "MIGRATING")
	become(provider.MachinePending, "it is in state MIGRATING")
	s.c.SetStatus(m.ID, "SHUTOFF")
	become(provider.MachineFailed, "it is in state SHUTOFF")
}

// TestNotListed describes a server that the cloud leaves out of its lists.
func TestNotListed(t *testing.T) {
	t.Parallel()
	s := newScene(t, fake.Options{Lag: time.Hour})
	require.NoError(t, s.p.EnsureFamily(t.Context(), s.f))
	m, err := s.p.Create(t.Context(), s.request())
	require.NoError(t, err)
	got, err := s.p.Describe(t.Context(), m.ID)
	require.NoError(t, err)
	require.Equal(t, s.request().Tag.FamilyID, got.Tag.FamilyID)
	_, err = s.p.Describe(t.Context(), uuid.NewString())
	require.True(t, provider.IsKind(err, provider.KindNotFound), "%v", err)
}

// tries is more often than a request is tried again.
const tries = 8

// TestServiceAway logs in while one of the services does not answer: that is no
// cloud without the service.
func TestServiceAway(t *testing.T) {
	t.Parallel()
	for away := range 6 {
		t.Run(fmt.Sprint(away), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, fake.Options{})
			asked := -1
			s.c.Calls.Fail(func(op string, _ int) *fakecloud.Fault {
				if op != "GET versions" {
					return nil
				}
				if asked++; asked < away || asked > away+tries {
					return nil
				}
				return &fakecloud.Fault{Status: http.StatusServiceUnavailable, Message: "The service is restarting."}
			})
			request := s.request()
			request.Domain.Image = fake.ImageName
			require.EventuallyWithT(t, func(ct *assert.CollectT) {
				require.NoError(ct, s.p.EnsureFamily(t.Context(), s.f))
				_, err := s.p.Create(t.Context(), request)
				require.NoError(ct, err)
			}, 20*time.Second, 10*time.Millisecond)
		})
	}
}

// TestFaults tells why a server ended in ERROR, and why an address is missing.
func TestFaults(t *testing.T) {
	t.Parallel()
	s := newScene(t, fake.Options{AddressQuota: 1})
	ctx := t.Context()
	require.NoError(t, s.p.EnsureFamily(ctx, s.f))
	s.c.FailNext("No valid host was found. There are not enough hosts available.")
	m, err := s.p.Create(ctx, s.request())
	require.NoError(t, err)
	require.EventuallyWithT(t, func(ct *assert.CollectT) {
		got, err := s.p.Describe(ctx, m.ID)
		require.NoError(ct, err)
		require.Equal(ct, provider.MachineFailed, got.State)
		require.Contains(ct, got.Fault, "no host with room for this flavour")
	}, 10*time.Second, 10*time.Millisecond)

	for _, want := range []string{"", "quota of the project is reached"} {
		m, err := s.p.Create(ctx, s.request())
		require.NoError(t, err)
		require.EventuallyWithT(t, func(ct *assert.CollectT) {
			got, err := s.p.Describe(ctx, m.ID)
			if want == "" {
				require.NoError(ct, err)
				require.Equal(ct, provider.MachineRunning, got.State)
				return
			}
			require.ErrorContains(ct, err, want)
			require.True(ct, provider.IsKind(err, provider.KindQuota))
		}, 10*time.Second, 10*time.Millisecond)
	}
}

// TestAddressesSurvive deletes a server behind the provider's back, and finds
// its address; and takes up an address whose attaching was interrupted.
func TestAddressesSurvive(t *testing.T) {
	t.Parallel()
	s := newScene(t, fake.Options{})
	ctx := t.Context()
	require.NoError(t, s.p.EnsureFamily(ctx, s.f))
	s.c.Calls.Once("POST floatingips", fakecloud.Fault{Lose: true})
	made, err := s.p.Create(ctx, s.request())
	require.NoError(t, err)
	require.EventuallyWithT(t, func(ct *assert.CollectT) {
		m, err := s.p.Describe(ctx, made.ID)
		require.NoError(ct, err)
		require.Equal(ct, provider.MachineRunning, m.State)
	}, 10*time.Second, 10*time.Millisecond)
	count := func(kind string) (n int) {
		all, err := s.p.Resources(ctx, s.f.Tag.Owner)
		require.NoError(t, err)
		for _, r := range all {
			if r.Kind == kind {
				n++
			}
		}
		return n
	}
	require.Equal(t, 1, count("address"), "the lost one was found")
	s.c.Kill(made.ID)
	require.Equal(t, 1, count("address"))
	require.NoError(t, s.p.Destroy(ctx, made.ID))
	require.Zero(t, count("address"))
}

// TestLostCreate finds the server whose answer was lost, instead of making
// another.
func TestLostCreate(t *testing.T) {
	t.Parallel()
	s := newScene(t, fake.Options{})
	ctx := t.Context()
	require.NoError(t, s.p.EnsureFamily(ctx, s.f))
	r := s.request()
	s.c.Calls.Once("POST servers", fakecloud.Fault{Lose: true})
	_, err := s.p.Create(ctx, r)
	require.True(t, provider.IsKind(err, provider.KindUnavailable), "%v", err)
	m, err := s.p.Create(ctx, r)
	require.NoError(t, err)
	require.Equal(t, r.Token, m.Token)
	require.Equal(t, 1, s.c.Made())
}

// TestGroupMadeAnew has the family made anew by another process: its group is
// another one then, which is found once the cloud says that there is none.
func TestGroupMadeAnew(t *testing.T) {
	t.Parallel()
	s := newScene(t, fake.Options{})
	ctx := t.Context()
	require.NoError(t, s.p.EnsureFamily(ctx, s.f))
	m, err := s.p.Create(ctx, s.request())
	require.NoError(t, err)
	other := newProvider(t, record(s.c, openstack.KindHP))
	require.NoError(t, other.Destroy(ctx, m.ID))
	require.EventuallyWithT(t, func(c *assert.CollectT) { require.NoError(c, other.RemoveFamily(ctx, s.f.Tag)) }, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, other.EnsureFamily(ctx, s.f))
	_, err = s.p.Create(ctx, s.request())
	require.True(t, provider.IsKind(err, provider.KindNotFound), "%v", err)
	require.ErrorContains(t, err, "security group is gone")
	_, err = s.p.Create(ctx, s.request())
	require.NoError(t, err)
}

// TestReconcile changes rules, and finds a group twice.
func TestReconcile(t *testing.T) {
	t.Parallel()
	s := newScene(t, fake.Options{})
	ctx := t.Context()
	s.c.Calls.Once("POST security-groups", fakecloud.Fault{Lose: true})
	require.Error(t, s.p.EnsureFamily(ctx, s.f))
	require.NoError(t, s.p.EnsureFamily(ctx, s.f))
	require.Equal(t, []string{"tcp:22:22", "tcp:4369:4369"}, s.c.Rules(s.f.Tag.FamilyID))
	s.f.Firewall = []fleet.FirewallRule{{Protocol: "udp", PortRange: fleet.PortRange{From: 1, To: 2}}}
	for range 2 {
		require.NoError(t, s.p.EnsureFamily(ctx, s.f))
	}
	require.Equal(t, []string{"tcp:22:22", "udp:1:2"}, s.c.Rules(s.f.Tag.FamilyID))
	require.NoError(t, s.p.RemoveFamily(ctx, s.f.Tag))
	require.Empty(t, s.c.Left())
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		kind   string
		change func(*fleet.Provider)
		want   string
	}{
		"unknown":     {openstack.KindHP, func(p *fleet.Provider) { p.Settings["regoin"] = "x" }, "settings.regoin: is not known"},
		"no tenant":   {openstack.KindHP, func(p *fleet.Provider) { delete(p.Settings, "tenant_name") }, "settings.tenant_name: is missing"},
		"no password": {openstack.KindRackspace, func(p *fleet.Provider) { delete(p.Secrets, "password") }, "username and password are needed"},
		"no URL":      {openstack.KindGeneric, func(p *fleet.Provider) { delete(p.Settings, "auth_url") }, "settings.auth_url: is missing"},
		"half":        {openstack.KindGeneric, func(p *fleet.Provider) { p.Secrets["application_credential_id"] = "x" }, "are needed both"},
		"groups":      {openstack.KindGeneric, func(p *fleet.Provider) { p.Settings["security_groups"] = "maybe" }, `"maybe" is not one of true, false, auto`},
		"URL":         {openstack.KindGeneric, func(p *fleet.Provider) { p.Settings["auth_url"] = "http://u:hunter2@localhost/v3" }, `"http://…@localhost/v3" is not http://HOST`},
		"user data": {openstack.KindGeneric, func(p *fleet.Provider) {
			p.Settings["host_key"], p.Settings["user_data"] = "cloud-init", strings.Repeat("x", 49<<10)
		}, "settings.user_data: has 50176 bytes, and 48125 are taken at most"},
		"login user": {openstack.KindGeneric, func(p *fleet.Provider) { p.Settings["login_user"] = "a b" }, `"a b" is no user name`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := fleet.Provider{
				Name: "x", Kind: tc.kind, Settings: map[string]string{"auth_url": "http://localhost/v3", "tenant_name": "t"},
				Secrets: map[string]fleet.Secret{"username": "u", "password": "p"},
			}
			tc.change(&r)
			_, err := openstack.New(r, environment())
			require.ErrorIs(t, err, fleet.ErrInvalid)
			require.ErrorContains(t, err, tc.want)
		})
	}
	// Rackspace's listing has no URL.
	p := newProvider(t, fleet.Provider{
		Name: "Rackspace", Kind: openstack.KindRackspace, Settings: map[string]string{"service_region": "LON"},
		Secrets: map[string]fleet.Secret{"username": "u", "password": "p"},
	})
	err := p.(provider.DomainChecker).CheckDomain(fleet.Domain{SSHUser: "root", Image: "i", Hardware: "2"})
	require.ErrorContains(t, err, "not to run nodes")
}
