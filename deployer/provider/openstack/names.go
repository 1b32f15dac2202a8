package openstack

import (
	"context"
	"regexp"
	"strings"
	"sync"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/external"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"

	"github.com/erlops/erlops/deployer/provider"
)

// names remembers the ids of what users name, until the cloud takes none of
// them any more: an image of that name may be another one then. Only what was
// found is remembered.
type names struct {
	mu    sync.Mutex
	known map[string]string
}

// id returns the id of a name, from what is known or by finding it.
func (n *names) id(kind, name string, find func() (string, error)) (string, error) {
	n.mu.Lock()
	id, ok := n.known[kind+"/"+name]
	n.mu.Unlock()
	if ok {
		return id, nil
	}
	id, err := find()
	if err != nil {
		return "", err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.known = map[string]string{}
	}
	n.known[kind+"/"+name] = id
	return id, nil
}

func (n *names) forget(kind, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.known, kind+"/"+name)
}

// entry is one of several with an id and a name.
type entry struct{ id, name string }

// choose finds the one that a user means.
func (p *Provider) choose(kind, setting, wanted string, all []entry) (string, error) {
	var byName []entry
	var there []string
	for _, e := range all {
		if e.id == wanted {
			return e.id, nil
		}
		if e.name == wanted {
			byName = append(byName, e)
		}
		there = append(there, e.name)
	}
	switch {
	case len(byName) == 1:
		return byName[0].id, nil
	case len(byName) > 1:
		return "", p.errorf("", provider.KindInvalid, "there are %d %ss with the name %q: give the id of one in %s", len(byName), kind, wanted, setting)
	}
	const most = 20
	more := ""
	if len(there) > most {
		there, more = there[:most], ", …"
	}
	return "", p.errorf("", provider.KindInvalid, "there is no %s %q in this region: check %s; there are %s%s", kind, wanted, setting, strings.Join(there, ", "), more)
}

// flavor finds a flavour: ids look like names on many clouds.
func (p *Provider) flavor(ctx context.Context, s *services, wanted string) (string, error) {
	return p.names.id("flavor", wanted, func() (string, error) {
		page, err := flavors.ListDetail(s.compute, nil).AllPages(ctx)
		if err != nil {
			return "", err
		}
		found, err := flavors.ExtractFlavors(page)
		if err != nil {
			return "", err
		}
		all := make([]entry, len(found))
		for i, f := range found {
			all[i] = entry{f.ID, f.Name}
		}
		return p.choose("flavour", "hardware", wanted, all)
	})
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$`)

// imageID finds an image. Nova itself tells of an id that does not exist.
func (p *Provider) imageID(ctx context.Context, s *services, wanted string) (string, error) {
	if uuidForm.MatchString(wanted) || s.image == nil {
		return wanted, nil
	}
	return p.names.id("image", wanted, func() (string, error) {
		page, err := images.List(s.image, images.ListOpts{Status: images.ImageStatusActive}).AllPages(ctx)
		if err != nil {
			return "", err
		}
		found, err := images.ExtractImages(page)
		if err != nil {
			return "", err
		}
		all := make([]entry, len(found))
		for i, f := range found {
			all[i] = entry{f.ID, f.Name}
		}
		return p.choose("image", "image", wanted, all)
	})
}

// networkID finds a network of the project's.
func (p *Provider) networkID(ctx context.Context, s *services, wanted string) (string, error) {
	if uuidForm.MatchString(wanted) || s.network == nil {
		return wanted, nil
	}
	return p.names.id("network", wanted, func() (string, error) {
		all, err := listNetworks(ctx, s.network, networks.ListOpts{})
		if err != nil {
			return "", err
		}
		return p.choose("network", "network", wanted, all)
	})
}

// floatingNetwork finds the external network that addresses come from.
func (p *Provider) floatingNetwork(ctx context.Context, s *services) (string, error) {
	wanted := p.settings.floatingNetwork
	return p.names.id("floating", wanted, func() (string, error) {
		yes := true
		all, err := listNetworks(ctx, s.network, external.ListOptsExt{ListOptsBuilder: networks.ListOpts{}, External: &yes})
		if err != nil {
			return "", err
		}
		switch {
		case wanted != "":
			return p.choose("external network", "floating_network", wanted, all)
		case len(all) == 1:
			return all[0].id, nil
		case len(all) == 0:
			return "", p.errorf("", provider.KindInvalid, "the cloud has no external network that floating addresses could come from: set floating=false")
		}
		var there []string
		for _, e := range all {
			there = append(there, e.name)
		}
		return "", p.errorf("", provider.KindInvalid, "the cloud has several external networks: name one in floating_network; there are %s", strings.Join(there, ", "))
	})
}

func listNetworks(ctx context.Context, c *gophercloud.ServiceClient, o networks.ListOptsBuilder) ([]entry, error) {
	page, err := networks.List(c, o).AllPages(ctx)
	if err != nil {
		return nil, err
	}
	found, err := networks.ExtractNetworks(page)
	all := make([]entry, len(found))
	for i, n := range found {
		all[i] = entry{n.ID, n.Name}
	}
	return all, err
}
