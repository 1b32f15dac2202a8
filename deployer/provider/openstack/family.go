package openstack

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/provider"
)

// sshPort is opened for the deployer.
const sshPort = 22

// hasGroups tells whether the family has a security group here.
func (p *Provider) hasGroups(s *services) bool {
	return s.network != nil && p.settings.groups != "false"
}

// EnsureFamily makes the family's key pair and security group.
func (p *Provider) EnsureFamily(ctx context.Context, f provider.Family) error {
	const op = "prepare family"
	if f.PublicKey == "" {
		return p.errorf(op, provider.KindInvalid, "the deployer has no SSH key that machines could let in: configure ssh.key_files")
	}
	defer p.working.lock(f.Tag.FamilyID)()
	s, err := p.connect(ctx)
	if err != nil {
		return p.fail(op, err)
	}
	if err := p.ensureKey(ctx, s, f); err != nil {
		return p.fail(op, err)
	}
	if !p.hasGroups(s) {
		return nil
	}
	return p.fail(op, p.ensureGroup(ctx, s, f))
}

// ensureKey makes the key pair, in the place of another one of that name.
func (p *Provider) ensureKey(ctx context.Context, s *services, f provider.Family) error {
	name := nameOf(f.Tag)
	there, err := keypairs.Get(ctx, s.compute, name, nil).Extract()
	switch {
	case err == nil && sameKey(there.PublicKey, f.PublicKey):
		return nil
	case err == nil:
		if err := keypairs.Delete(ctx, s.compute, name, nil).ExtractErr(); err != nil && !isGone(err) {
			return err
		}
	case !isGone(err):
		return err
	}
	opts := keypairs.CreateOpts{Name: name, PublicKey: markKey(f.PublicKey, f.Tag, p.environment.Now())}
	_, err = keypairs.Create(ctx, s.compute, opts).Extract()
	if status(err) != http.StatusConflict {
		return err
	}
	// An earlier try of this very call had its effect.
	there, err = keypairs.Get(ctx, s.compute, name, nil).Extract()
	if err == nil && !sameKey(there.PublicKey, f.PublicKey) {
		return p.errorf("", provider.KindConflict, "another key pair %s was just made; it is tried again", name)
	}
	return err
}

// groups returns the groups that are ours, oldest first.
func (p *Provider) groups(ctx context.Context, s *services, t provider.Tag) ([]groups.SecGroup, error) {
	opts := groups.ListOpts{}
	if t.FamilyID != "" {
		opts.Name = nameOf(t)
	}
	page, err := groups.List(s.network, opts).AllPages(ctx)
	if err != nil {
		return nil, err
	}
	all, err := groups.ExtractGroups(page)
	if err != nil {
		return nil, err
	}
	ours := slices.DeleteFunc(all, func(g groups.SecGroup) bool {
		carried, _, ok := parseDescription(g.Description)
		return !ok || !t.Matches(carried)
	})
	slices.SortFunc(ours, func(a, b groups.SecGroup) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	return ours, nil
}

// ensureGroup makes the group and its rules as they should be. A second one of
// the name was left by a call whose answer was lost.
func (p *Provider) ensureGroup(ctx context.Context, s *services, f provider.Family) error {
	there, err := p.groups(ctx, s, f.Tag)
	if err != nil {
		return err
	}
	if len(there) == 0 {
		opts := groups.CreateOpts{Name: nameOf(f.Tag), Description: description(f.Tag, "")}
		made, err := groups.Create(ctx, s.network, opts).Extract()
		if err != nil {
			return err
		}
		there = append(there, *made)
	}
	for _, g := range there[1:] {
		if err := p.deleteGroup(ctx, s, g.ID); err != nil {
			return err
		}
	}
	return p.setRules(ctx, s, there[0], p.rules(f.Firewall))
}

// rule is one permission: a protocol, ports and a network.
type rule struct {
	protocol string
	from, to int
	network  string
}

// rules are what a family's group lets in.
func (p *Provider) rules(wanted []fleet.FirewallRule) []rule {
	var all []rule
	add := func(r rule) {
		if !slices.Contains(all, r) {
			all = append(all, r)
		}
	}
	for _, network := range p.settings.sshFrom {
		add(rule{"tcp", sshPort, sshPort, network})
	}
	for _, r := range wanted {
		for _, network := range p.settings.allowFrom {
			add(rule{r.Protocol, r.From, r.To, network})
		}
	}
	return all
}

func ruleOf(r rules.SecGroupRule) rule {
	network := r.RemoteIPPrefix
	if network == "" && r.EtherType == string(rules.EtherType4) {
		network = "0.0.0.0/0" // some clouds leave the whole world out
	}
	return rule{r.Protocol, r.PortRangeMin, r.PortRangeMax, network}
}

// setRules adds what is missing, and then takes away what is too much. What
// goes out is the cloud's default.
func (p *Provider) setRules(ctx context.Context, s *services, g groups.SecGroup, wanted []rule) error {
	var there []rule
	var tooMuch []string
	for _, r := range g.Rules {
		if r.Direction != string(rules.DirIngress) {
			continue
		}
		there = append(there, ruleOf(r))
		if !slices.Contains(wanted, ruleOf(r)) {
			tooMuch = append(tooMuch, r.ID)
		}
	}
	for _, r := range wanted {
		if slices.Contains(there, r) {
			continue
		}
		opts := rules.CreateOpts{
			Direction: rules.DirIngress, EtherType: rules.EtherType4, SecGroupID: g.ID, Protocol: rules.RuleProtocol(r.protocol),
			PortRangeMin: r.from, PortRangeMax: r.to, RemoteIPPrefix: r.network,
		}
		if strings.Contains(r.network, ":") {
			opts.EtherType = rules.EtherType6
		}
		_, err := rules.Create(ctx, s.network, opts).Extract()
		if said, ok := response(err); ok && said.Actual == http.StatusConflict && !quota(said.Body) {
			continue // it is there
		}
		if err != nil {
			return err
		}
	}
	for _, id := range tooMuch {
		if err := rules.Delete(ctx, s.network, id).ExtractErr(); err != nil && !isGone(err) {
			return err
		}
	}
	return nil
}

func quota(body []byte) bool {
	said, kind := message(body)
	found, _ := meaning(http.StatusConflict, said, kind)
	return found == provider.KindQuota
}

// groupID finds the family's group.
func (p *Provider) groupID(ctx context.Context, s *services, t provider.Tag) (string, error) {
	return p.names.id("group", t.FamilyID, func() (string, error) {
		there, err := p.groups(ctx, s, provider.Tag{Owner: t.Owner, FamilyID: t.FamilyID})
		if err != nil {
			return "", err
		}
		if len(there) == 0 {
			return "", p.errorf("", provider.KindNotFound, "the family's security group is gone")
		}
		return there[0].ID, nil
	})
}

// RemoveFamily removes group and key pair. A group that a machine is still in
// stays, and it is tried again.
func (p *Provider) RemoveFamily(ctx context.Context, t provider.Tag) error {
	const op = "remove family"
	defer p.working.lock(t.FamilyID)()
	s, err := p.connect(ctx)
	if err != nil {
		return p.fail(op, err)
	}
	if s.network != nil {
		there, err := p.groups(ctx, s, t)
		if err != nil {
			return p.fail(op, err)
		}
		for _, g := range there {
			if err := p.deleteGroup(ctx, s, g.ID); err != nil {
				return p.fail(op, err)
			}
		}
	}
	p.names.forget("group", t.FamilyID)
	return p.fail(op, p.deleteKey(ctx, s, nameOf(t)))
}

func (p *Provider) deleteGroup(ctx context.Context, s *services, id string) error {
	err := groups.Delete(ctx, s.network, id).ExtractErr()
	if isGone(err) {
		return nil
	}
	return err
}

func (p *Provider) deleteKey(ctx context.Context, s *services, name string) error {
	err := keypairs.Delete(ctx, s.compute, name, nil).ExtractErr()
	if isGone(err) {
		return nil
	}
	return err
}
