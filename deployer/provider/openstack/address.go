package openstack

import (
	"context"
	"slices"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"

	"github.com/erlops/erlops/deployer/provider"
)

// addresses returns the floating addresses that are ours.
func (p *Provider) addresses(ctx context.Context, s *services) ([]floatingips.FloatingIP, error) {
	page, err := floatingips.List(s.network, floatingips.ListOpts{}).AllPages(ctx)
	if err != nil {
		return nil, err
	}
	all, err := floatingips.ExtractFloatingIPs(page)
	return slices.DeleteFunc(all, func(a floatingips.FloatingIP) bool {
		_, _, ok := parseDescription(a.Description)
		return !ok
	}), err
}

// floatingOf returns the address that is attached to a server, or "".
func (p *Provider) floatingOf(v servers.Server, there reading) string {
	for _, a := range there.addresses {
		if _, server, _ := parseDescription(a.Description); server == v.ID && a.PortID != "" {
			return a.FloatingIP
		}
	}
	return ""
}

// giveAddress allocates an address and attaches it, in one call. One that an
// interrupted call allocated is attached instead. It returns what there is then.
func (p *Provider) giveAddress(ctx context.Context, v servers.Server) (reading, error) {
	// The deployer asks of a machine once at a time, but whoever looks at it
	// beside must not make a second address.
	defer p.working.lock("address of " + v.ID)()
	s, err := p.connect(ctx)
	if err != nil {
		return reading{}, err
	}
	port, err := p.portOf(ctx, s, v)
	if port == "" || err != nil {
		return reading{}, err
	}
	there, err := p.readings.Get(ctx)
	if err != nil || p.floatingOf(v, there) != "" {
		return there, err
	}
	for _, a := range there.addresses {
		if _, server, _ := parseDescription(a.Description); server == v.ID {
			_, err := floatingips.Update(ctx, s.network, a.ID, floatingips.UpdateOpts{PortID: &port}).Extract()
			if err != nil {
				return there, err
			}
			return p.readings.Get(ctx)
		}
	}
	network, err := p.floatingNetwork(ctx, s)
	if err != nil {
		return there, err
	}
	// Whoever destroys the server waits for this and finds the address: the
	// answer is waited for also when nobody asks any more.
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), p.settings.requestTimeout)
	defer done()
	made, err := floatingips.Create(ctx, s.network, floatingips.CreateOpts{
		FloatingNetworkID: network, PortID: port, Description: description(tagOf(v.Metadata), v.ID),
	}).Extract()
	if err != nil {
		return there, err
	}
	there.addresses = append(slices.Clone(there.addresses), *made)
	return there, nil
}

// portOf finds a server's port: the first, when it has several.
func (p *Provider) portOf(ctx context.Context, s *services, v servers.Server) (string, error) {
	page, err := ports.List(s.network, ports.ListOpts{DeviceID: v.ID}).AllPages(ctx)
	if err != nil {
		return "", err
	}
	all, err := ports.ExtractPorts(page)
	if err != nil || len(all) == 0 {
		return "", err
	}
	slices.SortFunc(all, func(a, b ports.Port) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return all[0].ID, nil
}

func (p *Provider) release(ctx context.Context, s *services, id string) error {
	err := floatingips.Delete(ctx, s.network, id).ExtractErr()
	if isGone(err) {
		return nil
	}
	return err
}

func (p *Provider) addressResources(all []floatingips.FloatingIP, owner string) []provider.Resource {
	var found []provider.Resource
	for _, a := range all {
		if t, _, _ := parseDescription(a.Description); t.Owner == owner {
			found = append(found, provider.Resource{Kind: kindAddress, ID: a.ID, Tag: t, CreatedAt: a.CreatedAt})
		}
	}
	return found
}
