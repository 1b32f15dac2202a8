package ec2_test

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/provider/ec2"
	"github.com/erlops/erlops/deployer/provider/providertest"
	"github.com/erlops/erlops/internal/fakecloud"
	"github.com/erlops/erlops/internal/fakeec2"
)

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ4ccFfa5RvDJWTcvHOOvOrxIJyPVFTLNQyYMXuxzVtD test"

// record is a provider as in the paper's listing, with what a fake needs.
func record(c *fakeec2.Cloud) fleet.Provider {
	return fleet.Provider{
		Name: "EC2", Kind: "ec2",
		Settings: map[string]string{"endpoint": c.URL, "region": fakeec2.Region, "settle": "5s"},
		Secrets:  map[string]fleet.Secret{"username": fakeec2.AccessKey, "password": fakeec2.SecretKey},
	}
}

func environment() provider.Environment {
	return provider.Environment{Derive: func(label string) [32]byte { return sha256.Sum256([]byte("secret" + label)) }}
}

func newProvider(t *testing.T, r fleet.Provider) provider.Provider {
	t.Helper()
	p, err := ec2.New(r, environment())
	require.NoError(t, err)
	return p
}

func domain() fleet.Domain {
	return fleet.Domain{SSHUser: "ubuntu", Image: fakeec2.Image, Hardware: fakeec2.Hardware}
}

func TestContract(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		options  fakeec2.Options
		settings map[string]string
	}{
		"plain":              {},
		"eventual":           {options: fakeec2.Options{Lag: 150 * time.Millisecond, Stop: 200 * time.Millisecond}},
		"volumes that stay":  {options: fakeec2.Options{VolumesStay: true}},
		"in a subnet":        {settings: map[string]string{"subnet": fakeec2.Subnet, "public_address": "true"}},
		"key by cloud-init":  {settings: map[string]string{"host_key": "cloud-init", "user_data": "#!/bin/sh\ntrue\n"}},
		"spot, private, own": {settings: map[string]string{"spot": "true", "spot_max_price": "0.01", "address": "private", "zone": "us-east-1b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := fakeec2.Start(t, tc.options)
			d := domain()
			d.Settings = tc.settings
			providertest.Run(t, providertest.Harness{
				New:    func(t *testing.T) provider.Provider { t.Helper(); return newProvider(t, record(c)) },
				Domain: d, PublicKey: publicKey, Secrets: []string{fakeec2.SecretKey, "another-secret"},
				Broken: func(t *testing.T) provider.Provider {
					t.Helper()
					r := record(c)
					r.Secrets["password"] = "another-secret"
					return newProvider(t, r)
				},
			})
			require.Empty(t, c.Left())
		})
	}
}

// scene is a family at a cloud.
type scene struct {
	c *fakeec2.Cloud
	p provider.Provider
	f provider.Family
}

func newScene(t *testing.T, o fakeec2.Options, change ...func(*fleet.Provider)) scene {
	t.Helper()
	s := scene{c: fakeec2.Start(t, o)}
	r := record(s.c)
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
		options fakeec2.Options
		record  func(*fleet.Provider)
		fault   *fakecloud.Fault
		call    func(context.Context, scene) error
		kind    provider.ErrorKind
		want    string
	}{
		"access key": {record: func(p *fleet.Provider) { p.Secrets["username"] = "AKIANOBODY" }, kind: provider.KindAuth, want: "check username (the access key), password (the secret key) and region"},
		"secret key": {record: func(p *fleet.Provider) { p.Secrets["password"] = "nonsense" }, kind: provider.KindAuth, want: "check password"},
		"region":     {record: func(p *fleet.Provider) { p.Settings["region"] = "eu-nowhere-1" }, kind: provider.KindAuth, want: "valid region"},
		"no host": {
			record: func(p *fleet.Provider) { p.Settings["endpoint"] = "http://ec2.eu-nowhere-1.invalid" }, kind: provider.KindUnavailable,
			want: "there is no EC2 in region us-east-1",
		},
		"image":    {call: with(func(r *provider.Request) { r.Domain.Image = "ami-none" }), kind: provider.KindInvalid, want: "check image, which is another in each region"},
		"no image": {call: with(func(r *provider.Request) { r.Domain.Image = "ubuntu" }), kind: provider.KindInvalid, want: "no AMI id"},
		"hardware": {call: with(func(r *provider.Request) { r.Domain.Hardware = "x9.huge" }), kind: provider.KindInvalid, want: "Invalid value 'x9.huge' for InstanceType"},
		"subnet":   {call: with(func(r *provider.Request) { r.Domain.Settings = map[string]string{"subnet": "subnet-none"} }), kind: provider.KindInvalid, want: "check subnet"},
		"quota":    {options: fakeec2.Options{Quota: 1}, call: func(ctx context.Context, s scene) error { _ = plain(ctx, s); return plain(ctx, s) }, kind: provider.KindQuota, want: "limit of virtual CPUs"},
		"price": {call: with(func(r *provider.Request) {
			r.Domain.Settings = map[string]string{"spot": "true", "spot_max_price": "0.0001"}
		}), kind: provider.KindCapacity, want: "above spot_max_price"},
		"capacity":  {fault: &fakecloud.Fault{Status: http.StatusInternalServerError, Code: "InsufficientInstanceCapacity", Message: "We currently do not have sufficient t1.micro capacity"}, kind: provider.KindCapacity, want: "use another zone or hardware"},
		"throttled": {fault: &fakecloud.Fault{Status: http.StatusServiceUnavailable, Code: "RequestLimitExceeded", Message: "Request limit exceeded."}, kind: provider.KindThrottled, want: "too many requests"},
		"not allowed": {
			fault: &fakecloud.Fault{Status: http.StatusForbidden, Code: "UnauthorizedOperation", Message: "You are not authorized to perform this operation."},
			kind:  provider.KindAuth, want: "add it to the policy",
		},
		"trouble":        {fault: &fakecloud.Fault{Status: http.StatusInternalServerError, Code: "InternalError", Message: "An internal error has occurred"}, kind: provider.KindUnavailable, want: "trouble of its own"},
		"no answer":      {fault: &fakecloud.Fault{Lose: true}, kind: provider.KindUnavailable, want: "does not answer"},
		"key is gone":    {call: func(ctx context.Context, s scene) error { _ = s.p.RemoveFamily(ctx, s.f.Tag); return plain(ctx, s) }, kind: provider.KindNotFound, want: "is gone"},
		"no key of ours": {call: func(ctx context.Context, s scene) error { s.f.PublicKey = ""; return s.p.EnsureFamily(ctx, s.f) }, kind: provider.KindInvalid, want: "ssh.key_files"},
		"odd key": {
			call: func(ctx context.Context, s scene) error {
				s.f.PublicKey = "ecdsa-sha2-nistp256 AAAA"
				return s.p.EnsureFamily(ctx, s.f)
			},
			kind: provider.KindInvalid, want: "use an ed25519 or RSA one",
		},
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
					if op == "RunInstances" {
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
			require.NotContains(t, err.Error(), fakeec2.SecretKey)
		})
	}
}

// TestLostAnswers makes a machine whose answer is lost, again and again.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	s := newScene(t, fakeec2.Options{Lag: 100 * time.Millisecond})
	require.NoError(t, s.p.EnsureFamily(t.Context(), s.f))
	r := s.request()
	s.c.Calls.Fail(func(op string, n int) *fakecloud.Fault {
		return &fakecloud.Fault{Lose: op == "RunInstances" && n%2 == 0}
	})
	require.EventuallyWithT(t, func(ct *assert.CollectT) {
		_, err := s.p.Create(t.Context(), r)
		require.NoError(ct, err)
	}, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, 1, s.c.Made())
}

// TestReconcile changes rules and keys behind the provider's back.
func TestReconcile(t *testing.T) {
	t.Parallel()
	s := newScene(t, fakeec2.Options{})
	ctx := t.Context()
	require.NoError(t, s.p.EnsureFamily(ctx, s.f))
	require.Equal(t, []string{"tcp:22:22", "tcp:4369:4369"}, s.c.Rules(s.f.Tag.FamilyID))
	s.f.Firewall = []fleet.FirewallRule{{Protocol: "udp", PortRange: fleet.PortRange{From: 1, To: 2}}, {Protocol: "tcp", PortRange: fleet.PortRange{From: 6000, To: 7999}}}
	s.f.PublicKey = strings.Replace(publicKey, "VtD test", "VtE test", 1)
	for range 2 {
		require.NoError(t, s.p.EnsureFamily(ctx, s.f))
	}
	require.Equal(t, []string{"tcp:22:22", "tcp:6000:7999", "udp:1:2"}, s.c.Rules(s.f.Tag.FamilyID))
	require.NoError(t, s.p.RemoveFamily(ctx, s.f.Tag))
	require.Empty(t, s.c.Left())
}

// TestOneVPC has domains in the default VPC, one of which names its subnet, and
// one in another VPC: a group in each.
func TestOneVPC(t *testing.T) {
	t.Parallel()
	s := newScene(t, fakeec2.Options{})
	ctx := t.Context()
	for _, subnets := range [][]string{{"", fakeec2.DefaultSubnet}, {fakeec2.DefaultSubnet}, {fakeec2.Subnet, fakeec2.DefaultSubnet}, {""}} {
		s.f.Domains = nil
		vpcs := map[bool]bool{}
		for _, subnet := range subnets {
			s.f.Domains = append(s.f.Domains, fleet.Domain{Settings: map[string]string{"subnet": subnet}})
			vpcs[subnet == fakeec2.Subnet] = true
		}
		require.NoError(t, s.p.EnsureFamily(ctx, s.f))
		require.Len(t, s.c.Left(), 1+len(vpcs), "a key and the groups for %q", subnets)
	}
	require.NoError(t, s.p.RemoveFamily(ctx, s.f.Tag))
	require.Empty(t, s.c.Left())
}

func TestSettings(t *testing.T) {
	t.Parallel()
	c := fakeec2.Start(t, fakeec2.Options{})
	for name, tc := range map[string]struct {
		change func(*fleet.Provider)
		want   string
	}{
		"unknown":        {func(p *fleet.Provider) { p.Settings["regoin"] = "x" }, `settings.regoin: is not known; there are address, allow_from`},
		"half a secret":  {func(p *fleet.Provider) { delete(p.Secrets, "password") }, "username (the access key) and password (the secret key) are needed both"},
		"unknown secret": {func(p *fleet.Provider) { p.Secrets["pasword"] = "x" }, "secrets.pasword: is not known"},
		"network":        {func(p *fleet.Provider) { p.Settings["ssh_from"] = "10.0.0.1/33" }, `settings.ssh_from: "10.0.0.1/33" is not a network`},
		"endpoint":       {func(p *fleet.Provider) { p.Settings["endpoint"] = "localhost" }, "settings.endpoint"},
		"host key":       {func(p *fleet.Provider) { p.Settings["host_key"] = "blind" }, `"blind" is not one of console, cloud-init, none`},
		"password in it": {func(p *fleet.Provider) { p.Settings["endpoint"] = "http://u:hunter2@localhost" }, `settings.endpoint: "http://…@localhost" is not`},
		"user data":      {func(p *fleet.Provider) { p.Settings["user_data"] = strings.Repeat("x", 17<<10) }, "settings.user_data: has 17408 bytes, and 16384 are taken at most"},
		"price":          {func(p *fleet.Provider) { p.Settings["spot_max_price"] = "1" }, "only for machines with spot=true"},
		"all at once": {func(p *fleet.Provider) { p.Settings["spot"], p.Settings["settle"] = "maybe", "soon" },
			`provider: settings.settle: "soon" is not a time such as 30s; settings.spot: "maybe" is not one of true, false`},
		"time": {func(p *fleet.Provider) { p.Settings["settle"] = "soon" }, `"soon" is not a time`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := record(c)
			tc.change(&r)
			_, err := ec2.New(r, environment())
			require.ErrorIs(t, err, fleet.ErrInvalid)
			require.ErrorContains(t, err, tc.want)
		})
	}
	p := newProvider(t, record(c))
	err := p.(provider.DomainChecker).CheckDomain(fleet.Domain{Settings: map[string]string{"sudo": "false", "spot": "maybe"}})
	for _, want := range []string{"domain: settings.spot: ", "image: is missing", "hardware: is missing"} {
		require.ErrorContains(t, err, want)
	}
}

// TestFault tells what became of a machine that ended by itself.
func TestFault(t *testing.T) {
	t.Parallel()
	s := newScene(t, fakeec2.Options{})
	require.NoError(t, s.p.EnsureFamily(t.Context(), s.f))
	m, err := s.p.Create(t.Context(), s.request())
	require.NoError(t, err)
	s.c.Kill(m.ID)
	got, err := s.p.Describe(t.Context(), m.ID)
	require.NoError(t, err)
	require.Equal(t, provider.MachineGone, got.State)
	require.Contains(t, got.Fault, "Internal error on launch")
}

// TestCallsAreShared asks for many machines at a time.
func TestCallsAreShared(t *testing.T) {
	t.Parallel()
	s := newScene(t, fakeec2.Options{})
	require.NoError(t, s.p.EnsureFamily(t.Context(), s.f))
	_, before := s.c.Calls.Count()
	done := make(chan error)
	for range 100 {
		go func() {
			_, err := s.p.Find(t.Context(), s.f.Tag)
			done <- err
		}()
	}
	for range 100 {
		require.NoError(t, <-done)
	}
	_, after := s.c.Calls.Count()
	require.Less(t, after-before, 100)
}
