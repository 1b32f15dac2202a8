//go:build e2e_openstack

package openstack_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/stretchr/testify/require"

	fake "github.com/erlops/erlops/internal/fakeopenstack"
)

// party is a cloud with what can be asked for of it.
type party struct {
	*clients
	image, flavor, private, external string
	// Made by the test: a key pair, a group and a server that is in it.
	name, group, server string
}

func realParty(t *testing.T, r *realCloud) *party {
	t.Helper()
	p := &party{clients: r.user}
	s := prepared(t, r)
	m, err := s.create(t.Context())
	require.NoError(t, err)
	v, err := servers.Get(t.Context(), p.compute, m.ID).Extract()
	require.NoError(t, err)
	p.image, _ = v.Image["id"].(string)
	p.flavor, _ = v.Flavor["id"].(string)
	require.NoError(t, servers.WaitForStatus(t.Context(), p.compute, m.ID, "ACTIVE"))
	p.fill(t, "erl-deploy-"+s.f.Tag.FamilyID, m.ID, "external")
	return p
}

func fakeParty(t *testing.T) *party {
	t.Helper()
	s := newScene(t, fake.Options{})
	require.NoError(t, s.p.EnsureFamily(t.Context(), s.f))
	m, err := s.p.Create(t.Context(), s.request())
	require.NoError(t, err)
	auth := gophercloud.AuthOptions{
		IdentityEndpoint: s.c.AuthURL + "/v3", Username: fake.User, Password: fake.Password, DomainName: "Default", TenantName: fake.Tenant,
	}
	p := &party{clients: newClients(t, auth, gophercloud.EndpointOpts{Region: region}), image: fake.Image, flavor: "100"}
	require.NoError(t, servers.WaitForStatus(t.Context(), p.compute, m.ID, "ACTIVE"))
	p.fill(t, "erl-deploy-"+s.f.Tag.FamilyID, m.ID, fake.External)
	return p
}

// fill finds the ids of what there is by the names.
func (p *party) fill(t *testing.T, name, server, external string) {
	t.Helper()
	p.name, p.server = name, server
	page, err := networks.List(p.network, nil).AllPages(t.Context())
	require.NoError(t, err)
	all, err := networks.ExtractNetworks(page)
	require.NoError(t, err)
	for _, n := range all {
		if n.Name == external {
			p.external = n.ID
		} else {
			p.private = n.ID
		}
	}
	page, err = groups.List(p.network, groups.ListOpts{Name: name}).AllPages(t.Context())
	require.NoError(t, err)
	found, err := groups.ExtractGroups(page)
	require.NoError(t, err)
	require.Len(t, found, 1)
	p.group = found[0].ID
}

// ids are what differs between two clouds that say the same.
var ids = regexp.MustCompile(`[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32}|req-\S+|\d+\.\d+\.\d+\.\d+`)

// said is an answer without the ids in it: its code, the kind of error and the words.
func said(err error) string {
	var answer gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &answer) {
		return fmt.Sprint(err)
	}
	var outer map[string]struct {
		Type, Message string
		Code          int
	}
	if json.Unmarshal(answer.Body, &outer) != nil {
		return fmt.Sprintf("%d %q", answer.Actual, answer.Body)
	}
	for kind, inner := range outer {
		return fmt.Sprintf("%d %s %s %d %s", answer.Actual, kind, inner.Type, inner.Code, ids.ReplaceAllString(inner.Message, "ID"))
	}
	return fmt.Sprint(answer.Actual)
}

// launch asks for a server that differs from a good one.
func (p *party) launch(ctx context.Context, change func(*servers.CreateOpts, *keypairs.CreateOptsExt)) error {
	opts := servers.CreateOpts{
		Name: "x", ImageRef: p.image, FlavorRef: p.flavor, Networks: []servers.Network{{UUID: p.private}}, SecurityGroups: []string{p.group},
	}
	whole := keypairs.CreateOptsExt{KeyName: p.name}
	change(&opts, &whole)
	whole.CreateOptsBuilder = opts
	v, err := servers.Create(ctx, p.compute, whole, nil).Extract()
	if err == nil {
		err = servers.Delete(ctx, p.compute, v.ID).ExtractErr()
	}
	return err
}

// TestRealFakeAlike asks the real services and our fake of them for the same, and
// holds that they answer in the same words: what is shown with the fake is then
// shown of OpenStack.
func TestRealFakeAlike(t *testing.T) {
	r := newReal(t)
	theirs, ours := realParty(t, r), fakeParty(t)
	for name, ask := range map[string]func(context.Context, *party) error{
		"server that is not there": func(ctx context.Context, p *party) error {
			_, err := servers.Get(ctx, p.compute, uuid.NewString()).Extract()
			return err
		},
		"deleting a server that is not there": func(ctx context.Context, p *party) error {
			return servers.Delete(ctx, p.compute, uuid.NewString()).ExtractErr()
		},
		"console of a server that is not there": func(ctx context.Context, p *party) error {
			return servers.ShowConsoleOutput(ctx, p.compute, uuid.NewString(), servers.ShowConsoleOutputOpts{}).Err
		},
		"image": func(ctx context.Context, p *party) error {
			return p.launch(ctx, func(o *servers.CreateOpts, _ *keypairs.CreateOptsExt) { o.ImageRef = uuid.NewString() })
		},
		"flavour": func(ctx context.Context, p *party) error {
			return p.launch(ctx, func(o *servers.CreateOpts, _ *keypairs.CreateOptsExt) { o.FlavorRef = "none" })
		},
		"network": func(ctx context.Context, p *party) error {
			return p.launch(ctx, func(o *servers.CreateOpts, _ *keypairs.CreateOptsExt) {
				o.Networks = []servers.Network{{UUID: uuid.NewString()}}
			})
		},
		"key": func(ctx context.Context, p *party) error {
			return p.launch(ctx, func(_ *servers.CreateOpts, k *keypairs.CreateOptsExt) { k.KeyName = "none" })
		},
		"group": func(ctx context.Context, p *party) error {
			return p.launch(ctx, func(o *servers.CreateOpts, _ *keypairs.CreateOptsExt) { o.SecurityGroups = []string{uuid.NewString()} })
		},
		"zone": func(ctx context.Context, p *party) error {
			return p.launch(ctx, func(o *servers.CreateOpts, _ *keypairs.CreateOptsExt) { o.AvailabilityZone = "none" })
		},
		"all well": func(ctx context.Context, p *party) error {
			return p.launch(ctx, func(*servers.CreateOpts, *keypairs.CreateOptsExt) {})
		},
		"key that is not there": func(ctx context.Context, p *party) error {
			_, err := keypairs.Get(ctx, p.compute, "none", nil).Extract()
			return err
		},
		"deleting a key that is not there": func(ctx context.Context, p *party) error {
			return keypairs.Delete(ctx, p.compute, "none", nil).ExtractErr()
		},
		"key twice": func(ctx context.Context, p *party) error {
			return keypairs.Create(ctx, p.compute, keypairs.CreateOpts{Name: p.name, PublicKey: publicKey}).Err
		},
		"no key": func(ctx context.Context, p *party) error {
			return keypairs.Create(ctx, p.compute, keypairs.CreateOpts{Name: uuid.NewString(), PublicKey: "nonsense"}).Err
		},
		"deleting a group in use": func(ctx context.Context, p *party) error {
			return groups.Delete(ctx, p.network, p.group).ExtractErr()
		},
		"deleting a group that is not there": func(ctx context.Context, p *party) error {
			return groups.Delete(ctx, p.network, uuid.NewString()).ExtractErr()
		},
		"rule twice": func(ctx context.Context, p *party) error {
			return rules.Create(ctx, p.network, rules.CreateOpts{
				Direction: rules.DirIngress, EtherType: rules.EtherType4, SecGroupID: p.group, Protocol: "tcp", PortRangeMin: 22, PortRangeMax: 22, RemoteIPPrefix: "0.0.0.0/0",
			}).Err
		},
		"rule of a group that is not there": func(ctx context.Context, p *party) error {
			return rules.Create(ctx, p.network, rules.CreateOpts{Direction: rules.DirIngress, EtherType: rules.EtherType4, SecGroupID: uuid.NewString()}).Err
		},
		"deleting a rule that is not there": func(ctx context.Context, p *party) error {
			return rules.Delete(ctx, p.network, uuid.NewString()).ExtractErr()
		},
		"address of a network that has none": func(ctx context.Context, p *party) error {
			return floatingips.Create(ctx, p.network, floatingips.CreateOpts{FloatingNetworkID: p.private}).Err
		},
		"address of a network that is not there": func(ctx context.Context, p *party) error {
			return floatingips.Create(ctx, p.network, floatingips.CreateOpts{FloatingNetworkID: uuid.NewString()}).Err
		},
		"address for a port that is not there": func(ctx context.Context, p *party) error {
			return floatingips.Create(ctx, p.network, floatingips.CreateOpts{FloatingNetworkID: p.external, PortID: uuid.NewString()}).Err
		},
		"second address for a port": func(ctx context.Context, p *party) error {
			port, err := p.port(ctx)
			if err != nil {
				return err
			}
			opts := floatingips.CreateOpts{FloatingNetworkID: p.external, PortID: port}
			first, err := floatingips.Create(ctx, p.network, opts).Extract()
			if err != nil {
				return err
			}
			err = floatingips.Create(ctx, p.network, opts).Err
			return errors.Join(err, floatingips.Delete(ctx, p.network, first.ID).ExtractErr())
		},
		"deleting an address that is not there": func(ctx context.Context, p *party) error {
			return floatingips.Delete(ctx, p.network, uuid.NewString()).ExtractErr()
		},
		"attaching an address that is not there": func(ctx context.Context, p *party) error {
			port := uuid.NewString()
			return floatingips.Update(ctx, p.network, uuid.NewString(), floatingips.UpdateOpts{PortID: &port}).Err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			want := said(ask(ctx, theirs))
			require.Equal(t, want, said(ask(ctx, ours)))
			t.Log(want)
		})
	}
	for _, p := range []*party{theirs, ours} {
		page, err := floatingips.List(p.network, nil).AllPages(t.Context())
		require.NoError(t, err)
		left, err := floatingips.ExtractFloatingIPs(page)
		require.NoError(t, err)
		require.Empty(t, left, "what was refused made no address")
	}
}

func (p *party) port(ctx context.Context) (string, error) {
	page, err := ports.List(p.network, ports.ListOpts{DeviceID: p.server}).AllPages(ctx)
	if err != nil {
		return "", err
	}
	all, err := ports.ExtractPorts(page)
	if err != nil || len(all) == 0 {
		return "", errors.Join(err, errors.New("no port"))
	}
	return all[0].ID, nil
}
