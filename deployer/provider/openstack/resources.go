package openstack

import (
	"context"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"

	"github.com/erlops/erlops/deployer/provider"
)

// The kinds of resources.
const (
	kindMachine  = "machine"
	kindAddress  = "address"
	kindFirewall = "firewall"
	kindKey      = "key"
)

// Resources returns machines, floating addresses, groups and keys. Volumes go
// with their machines.
func (p *Provider) Resources(ctx context.Context, owner string) ([]provider.Resource, error) {
	const op = "resources"
	t := provider.Tag{Owner: owner}
	there, err := p.readings.Get(ctx)
	if err != nil {
		return nil, p.fail(op, err)
	}
	var all []provider.Resource
	for _, m := range p.matching(there, t) {
		all = append(all, provider.Resource{Kind: kindMachine, ID: m.ID, Tag: m.Tag, CreatedAt: m.CreatedAt})
	}
	s, err := p.connect(ctx)
	if err != nil {
		return nil, p.fail(op, err)
	}
	if s.network != nil {
		more, err := p.networkResources(ctx, s, t, there)
		if err != nil {
			return nil, p.fail(op, err)
		}
		all = append(all, more...)
	}
	page, err := keypairs.List(s.compute, nil).AllPages(ctx)
	if err != nil {
		return nil, p.fail(op, err)
	}
	keys, err := keypairs.ExtractKeyPairs(page)
	if err != nil {
		return nil, p.fail(op, err)
	}
	for _, k := range keys {
		if carried, at, ok := parseKey(k.PublicKey); ok && t.Matches(carried) {
			all = append(all, provider.Resource{Kind: kindKey, ID: k.Name, Tag: carried, CreatedAt: at})
		}
	}
	return all, nil
}

// networkResources also finds floating addresses that were made before the
// setting was changed.
func (p *Provider) networkResources(ctx context.Context, s *services, t provider.Tag, there reading) ([]provider.Resource, error) {
	addresses := there.addresses
	if !p.settings.floating {
		var err error
		if addresses, err = p.addresses(ctx, s); err != nil {
			return nil, err
		}
	}
	all := p.addressResources(addresses, t.Owner)
	found, err := p.groups(ctx, s, t)
	if err != nil {
		return nil, err
	}
	for _, g := range found {
		carried, _, _ := parseDescription(g.Description)
		all = append(all, provider.Resource{Kind: kindFirewall, ID: g.ID, Tag: carried, CreatedAt: g.CreatedAt})
	}
	return all, nil
}

// Remove removes one of those.
func (p *Provider) Remove(ctx context.Context, r provider.Resource) error {
	const op = "remove"
	s, err := p.connect(ctx)
	if err != nil {
		return p.fail(op, err)
	}
	switch {
	case r.Kind == kindMachine:
		return p.Destroy(ctx, r.ID)
	case r.Kind == kindAddress && s.network != nil:
		return p.fail(op, p.release(ctx, s, r.ID))
	case r.Kind == kindFirewall && s.network != nil:
		return p.fail(op, p.deleteGroup(ctx, s, r.ID))
	case r.Kind == kindKey:
		return p.fail(op, p.deleteKey(ctx, s, r.ID))
	}
	return p.errorf(op, provider.KindInvalid, "there is no kind of resource %q", r.Kind)
}
