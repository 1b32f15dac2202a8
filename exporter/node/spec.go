package node

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"reflect"

	"github.com/erlops/erlops/exporter/agent"
	"github.com/erlops/erlops/exporter/discovery"
	"github.com/erlops/erlops/exporter/store"
)

// DefaultGroup is the name of the group whose cookie and settings apply to
// registered nodes that name none.
const DefaultGroup = ""

// sourceRegistered is the Source of nodes from the store.
const sourceRegistered = "registered"

// Group is what the configuration says about the nodes of one target group.
type Group struct {
	Name string
	// Cookie gives the cookie of a node, by its name and the reference to a
	// cookie that its target has, or says why it has none. It must not block.
	// What it gives is never logged.
	Cookie func(node, ref string) (string, error)
	// EPMD is host:port, or :port of each node's own host, of the epmd to ask
	// for registered nodes that name none; empty for the usual one.
	EPMD string
	// Family is that of all its nodes, unless they have a label family.
	Family string
	// FamilyBy is FamilyByScriptID, or anything else for the release name.
	FamilyBy string
	// Applications are main applications, to find families by.
	Applications []string
	Settings     agent.Settings
	// Families switches collectors for the nodes of a family, by its name.
	Families map[string]map[string]bool
	// Connected has the nodes that those of the group are connected to attached
	// too; nil: not.
	Connected *Connected
	// TLS is nil for plaintext. It is compared by identity: a reload that gives
	// another pointer attaches the group's nodes anew.
	TLS *tls.Config
}

// spec is what is wanted of one node.
type spec struct {
	target    agent.Target
	suspended bool
	// blocked says why the node cannot be dialled at all; nil when it can.
	blocked error

	labels     map[string]string
	group      string
	source     string
	registered bool
	family     familyRules
	// cookie gives the cookie of a node that is reached as this one; nil when
	// there is none.
	cookie    func(node string) (string, error)
	connected *Connected
	// found says how a connected node became known; nil for others.
	found *ConnectedNode
	// switches are Group.Families.
	switches map[string]map[string]bool
}

// sameSession tells whether a session for s is also one for t: the rest of a
// spec can change while the node stays attached.
func (s spec) sameSession(t spec) bool {
	return s.suspended == t.suspended && sameText(s.blocked, t.blocked) && sameTarget(s.target, t.target)
}

func sameTarget(a, b agent.Target) bool {
	if a.TLS != b.TLS {
		return false
	}
	a.TLS, b.TLS = nil, nil
	return reflect.DeepEqual(a, b)
}

func sameText(a, b error) bool {
	return fmt.Sprint(a) == fmt.Sprint(b)
}

// discoveredSpec makes a spec of a target. Group is nil when the configuration
// has no group of that name: targets and groups arrive separately, so on a
// reload this may be true for a moment.
func discoveredSpec(t discovery.Target, group *Group) spec {
	s := spec{labels: t.Labels, group: t.Group, source: t.Source}
	s.target = agent.Target{Node: t.Node, Address: t.Address, EPMD: t.EPMD}
	return s.in(group, t.CookieRef)
}

// registeredSpec makes a spec of a registration; group is that of its
// CookieRef.
func registeredSpec(r store.Registration, group *Group) spec {
	s := spec{labels: maps.Clone(r.Labels), group: r.CookieRef, source: sourceRegistered, registered: true}
	s.target = agent.Target{Node: r.Name, Address: r.Address, EPMD: r.EPMD}
	s = s.in(group, "")
	if s.target.EPMD == "" && group != nil {
		s.target.EPMD = group.EPMD
	}
	if r.Family != "" {
		s.family.own = r.Family
	}
	if r.Connected != nil {
		s.connected = r.Connected
	}
	switch {
	case r.CookieErr != nil:
		s.blocked = r.CookieErr
	case r.Cookie != "":
		s.target.Cookie, s.blocked = string(r.Cookie), nil
		s.cookie = func(string) (string, error) { return string(r.Cookie), nil }
	}
	return s
}

// in adds what the group gives to its nodes; ref names a cookie, or is empty.
func (s spec) in(g *Group, ref string) spec {
	switch {
	case g != nil:
		s.target.TLS, s.target.Settings = g.TLS, g.Settings
		s.cookie = func(node string) (string, error) { return g.Cookie(node, ref) }
		s.target.Cookie, s.blocked = s.cookie(s.target.Node)
		s.connected = g.Connected
		s.switches = g.Families
		s.family = familyRules{given: g.Family, by: g.FamilyBy, applications: g.Applications}
	case s.group == DefaultGroup:
		s.blocked = errors.New("no cookie is configured for nodes that name no target group")
	default:
		s.blocked = fmt.Errorf("target group %q is not in the configuration", s.group)
	}
	return s
}
