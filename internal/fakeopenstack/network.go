package fakeopenstack

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// The ids of the networks.
const (
	privateNetwork  = "11111111-aaaa-4aaa-8aaa-111111111111"
	externalNetwork = "22222222-bbbb-4bbb-8bbb-222222222222"
)

type group struct {
	ID, Name, Description string
	created               time.Time
	rules                 []*groupRule
}

type groupRule struct {
	ID        string `json:"id"`
	Group     string `json:"security_group_id"`
	Direction string `json:"direction"`
	EtherType string `json:"ethertype"`
	Protocol  string `json:"protocol,omitempty"`
	Min       int    `json:"port_range_min,omitempty"`
	Max       int    `json:"port_range_max,omitempty"`
	Network   string `json:"remote_ip_prefix,omitempty"`
}

type floating struct {
	ID, Description, Address, Port string
	created                        time.Time
	release                        func()
}

func (c *Cloud) network() {
	const base = "/network/v2.0"
	c.handle("GET "+base+"/networks", func(r *http.Request) (int, any) {
		all := []object{{"id": externalNetwork, "name": External, "router:external": true}}
		if r.URL.Query().Get("router:external") != "true" {
			all = append(all, object{"id": privateNetwork, "name": "private"})
		}
		return http.StatusOK, object{"networks": all}
	})
	c.handle("GET "+base+"/ports", c.listPorts)
	c.handle("GET "+base+"/security-groups", c.listGroups)
	c.handle("POST "+base+"/security-groups", c.createGroup)
	c.handle("DELETE "+base+"/security-groups/{id}", c.deleteGroup)
	c.handle("POST "+base+"/security-group-rules", c.createRule)
	c.handle("DELETE "+base+"/security-group-rules/{id}", c.deleteRule)
	c.handle("GET "+base+"/floatingips", func(*http.Request) (int, any) {
		all := []object{}
		for _, f := range c.floats {
			all = append(all, f.view())
		}
		return http.StatusOK, object{"floatingips": all}
	})
	c.handle("POST "+base+"/floatingips", c.createFloating)
	c.handle("PUT "+base+"/floatingips/{id}", c.updateFloating)
	c.handle("DELETE "+base+"/floatingips/{id}", c.deleteFloating)
}

func (c *Cloud) listPorts(r *http.Request) (int, any) {
	all := []object{}
	if s := c.server(r.URL.Query().Get("device_id")); s != nil && s.host != nil {
		all = append(all, object{"id": s.port, "device_id": s.ID, "network_id": privateNetwork, "created_at": s.created.UTC().Format(time.RFC3339)})
	}
	return http.StatusOK, object{"ports": all}
}

// groupNamed finds a group by name or id, as Nova does.
func (c *Cloud) groupNamed(name string) *group {
	i := slices.IndexFunc(c.groups, func(g *group) bool { return g.Name == name || g.ID == name })
	if i < 0 {
		return nil
	}
	return c.groups[i]
}

func (g *group) view() object {
	return object{
		"id": g.ID, "name": g.Name, "description": g.Description, "security_group_rules": g.rules,
		"created_at": g.created.UTC().Format(time.RFC3339), "updated_at": g.created.UTC().Format(time.RFC3339),
	}
}

func (c *Cloud) listGroups(r *http.Request) (int, any) {
	all := []object{}
	for _, g := range c.groups {
		if name := r.URL.Query().Get("name"); name == "" || name == g.Name {
			all = append(all, g.view())
		}
	}
	return http.StatusOK, object{"security_groups": all}
}

func (c *Cloud) createGroup(r *http.Request) (int, any) {
	in := body[group](r, "security_group")
	g := &group{ID: uuid.NewString(), Name: in.Name, Description: in.Description, created: time.Now()}
	for _, kind := range []string{"IPv4", "IPv6"} {
		g.rules = append(g.rules, &groupRule{ID: uuid.NewString(), Group: g.ID, Direction: "egress", EtherType: kind})
	}
	c.groups = append(c.groups, g) // names are not unique
	return http.StatusCreated, object{"security_group": g.view()}
}

func (c *Cloud) deleteGroup(r *http.Request) (int, any) {
	g := c.groupNamed(r.PathValue("id"))
	if g == nil {
		return failNetwork(http.StatusNotFound, "SecurityGroupNotFound", "Security group %s does not exist", r.PathValue("id"))
	}
	for _, s := range c.servers {
		if slices.Contains(s.groups, g.ID) {
			return failNetwork(http.StatusConflict, "SecurityGroupInUse", "Security Group %s in use.", g.ID)
		}
	}
	c.groups = slices.DeleteFunc(c.groups, func(other *group) bool { return other == g })
	return http.StatusNoContent, nil
}

func (c *Cloud) createRule(r *http.Request) (int, any) {
	in := body[groupRule](r, "security_group_rule")
	g := c.groupNamed(in.Group)
	if g == nil {
		return failNetwork(http.StatusNotFound, "SecurityGroupNotFound", "Security group %s does not exist", in.Group)
	}
	for _, there := range g.rules {
		in.ID = there.ID
		if *there == in {
			return failNetwork(http.StatusConflict, "SecurityGroupRuleExists", "Security group rule already exists. Rule id is %s.", there.ID)
		}
	}
	in.ID = uuid.NewString()
	g.rules = append(g.rules, &in)
	return http.StatusCreated, object{"security_group_rule": in}
}

func (c *Cloud) deleteRule(r *http.Request) (int, any) {
	id := r.PathValue("id")
	for _, g := range c.groups {
		if i := slices.IndexFunc(g.rules, func(there *groupRule) bool { return there.ID == id }); i >= 0 {
			g.rules = slices.Delete(g.rules, i, i+1)
			return http.StatusNoContent, nil
		}
	}
	return failNetwork(http.StatusNotFound, "SecurityGroupRuleNotFound", "Security group rule %s does not exist", id)
}

// Rules returns what a family's group lets in, sorted, as protocol:from:to.
func (c *Cloud) Rules(familyID string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	if g := c.groupNamed("erl-deploy-" + familyID); g != nil {
		for _, r := range g.rules {
			if r.Direction == "ingress" {
				all = append(all, r.Protocol+":"+strconv.Itoa(r.Min)+":"+strconv.Itoa(r.Max))
			}
		}
	}
	slices.Sort(all)
	return all
}

func (f *floating) view() object {
	view := object{
		"id": f.ID, "description": f.Description, "floating_ip_address": f.Address, "floating_network_id": externalNetwork,
		"port_id": nil, "created_at": f.created.UTC().Format(time.RFC3339), "updated_at": f.created.UTC().Format(time.RFC3339),
	}
	if f.Port != "" {
		view["port_id"] = f.Port
	}
	return view
}

func (c *Cloud) createFloating(r *http.Request) (int, any) {
	in := body[struct {
		Description string
		Network     string `json:"floating_network_id"`
		Port        string `json:"port_id"`
	}](r, "floatingip")
	switch in.Network {
	case externalNetwork:
	case privateNetwork:
		return failNetwork(http.StatusBadRequest, "BadRequest", "Bad floatingip request: Network %s is not a valid external network.", in.Network)
	default:
		return failNetwork(http.StatusNotFound, "NetworkNotFound", "Network %s could not be found.", in.Network)
	}
	if c.options.AddressQuota > 0 && len(c.floats) >= c.options.AddressQuota {
		return failNetwork(http.StatusConflict, "OverQuota", "Quota exceeded for resources: ['floatingip'].")
	}
	address, release, err := c.options.Hosts.Reserve()
	if err != nil {
		return failNetwork(http.StatusConflict, "IpAddressGenerationFailure", "No more IP addresses available on network %s.", externalNetwork)
	}
	f := &floating{ID: uuid.NewString(), Description: in.Description, Address: address, created: time.Now(), release: release}
	if in.Port != "" {
		if status, refusal := c.attach(f, in.Port); refusal != nil {
			release()
			return status, refusal
		}
	}
	c.floats = append(c.floats, f)
	return http.StatusCreated, object{"floatingip": f.view()}
}

func (c *Cloud) attach(f *floating, port string) (int, any) {
	i := slices.IndexFunc(c.servers, func(s *server) bool { return s.port == port && s.host != nil })
	if i < 0 {
		return failNetwork(http.StatusNotFound, "PortNotFound", "Port %s could not be found.", port)
	}
	for _, other := range c.floats {
		if other != f && other.Port == port {
			return failNetwork(http.StatusConflict, "FloatingIPPortAlreadyAssociated",
				"Cannot associate floating IP %s (%s) with port %s using fixed IP %s, as that fixed IP already has a floating IP on external network %s.",
				f.Address, f.ID, port, c.servers[i].host.Address(), externalNetwork)
		}
	}
	if err := c.servers[i].host.AddAddress(f.Address); err != nil {
		return failNetwork(http.StatusInternalServerError, "HTTPInternalServerError", "%v", err)
	}
	f.Port = port
	return 0, nil
}

func (c *Cloud) detach(f *floating) {
	for _, s := range c.servers {
		if s.port == f.Port && s.host != nil && s.task != deleting {
			_ = s.host.RemoveAddress(f.Address)
		}
	}
	f.Port = ""
}

func (c *Cloud) floatingOf(id string) *floating {
	i := slices.IndexFunc(c.floats, func(f *floating) bool { return f.ID == id })
	if i < 0 {
		return nil
	}
	return c.floats[i]
}

func (c *Cloud) updateFloating(r *http.Request) (int, any) {
	f := c.floatingOf(r.PathValue("id"))
	if f == nil {
		return failNetwork(http.StatusNotFound, "FloatingIPNotFound", "Floating IP %s could not be found", r.PathValue("id"))
	}
	in := body[struct {
		Port string `json:"port_id"`
	}](r, "floatingip")
	c.detach(f)
	if in.Port != "" {
		if status, refusal := c.attach(f, in.Port); refusal != nil {
			return status, refusal
		}
	}
	return http.StatusOK, object{"floatingip": f.view()}
}

func (c *Cloud) deleteFloating(r *http.Request) (int, any) {
	f := c.floatingOf(r.PathValue("id"))
	if f == nil {
		return failNetwork(http.StatusNotFound, "FloatingIPNotFound", "Floating IP %s could not be found", r.PathValue("id"))
	}
	c.detach(f)
	f.release()
	c.floats = slices.DeleteFunc(c.floats, func(other *floating) bool { return other == f })
	return http.StatusNoContent, nil
}
