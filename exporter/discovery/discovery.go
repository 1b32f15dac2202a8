// Package discovery finds the Erlang nodes to attach to: from lists in the
// configuration, from files, HTTP endpoints, DNS, Consul and clouds in
// Prometheus's own syntax with relabelling, and from the names that an epmd
// knows. It is the only package that imports prometheus/prometheus; everything
// that the rest of the exporter needs of it is re-exported here under names of
// its own.
//
// What needs the large clients of clouds is built with the tag sd_cloud only.
//
// # How a discovered label set becomes a node
//
// A mechanism delivers label sets, each with at least __address__. After
// relabelling, these labels decide:
//
//   - __erlang_node__ is the node name. Without it, an __address__ that
//     contains '@' is the node name itself, and any other __address__ goes
//     through the group's node template.
//   - __erlang_address__ is host:port of the node's distribution listener, for
//     nodes that are reached without epmd (group default: address template).
//   - __erlang_epmd__ is host, host:port or :port of the epmd that knows the
//     node (group default: epmd; else port 4369 of the node's own host).
//   - __erlang_cookie_ref__ names the cookie of the node, never the cookie
//     itself; without it, the configuration decides by group and node name.
//
// Labels that begin with "__" are then dropped; the rest, for example family,
// stays with the target, unless Prometheus 2 would refuse its name.
package discovery

import (
	"context"
	"fmt"

	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/consul"
	"github.com/prometheus/prometheus/discovery/dns"
	"github.com/prometheus/prometheus/discovery/file"
	"github.com/prometheus/prometheus/discovery/http"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/relabel"
)

// Labels that decide how a node is reached; see the package comment.
const (
	NodeLabel      = "__erlang_node__"
	AddressLabel   = "__erlang_address__"
	EPMDLabel      = "__erlang_epmd__"
	CookieRefLabel = "__erlang_cookie_ref__"
)

// Configurations in Prometheus's own syntax. They set their own defaults and
// hide their own secrets when they go through YAML.
type (
	// StaticConfig is an entry of static_configs.
	StaticConfig = targetgroup.Group
	// FileConfig is an entry of file_sd_configs.
	FileConfig = file.SDConfig
	// HTTPConfig is an entry of http_sd_configs.
	HTTPConfig = http.SDConfig
	// DNSConfig is an entry of dns_sd_configs.
	DNSConfig = dns.SDConfig
	// ConsulConfig is an entry of consul_sd_configs.
	ConsulConfig = consul.SDConfig
	// RelabelConfig is a rule of relabel_configs.
	RelabelConfig = relabel.Config
)

// SDConfigs are the mechanisms of one group, keyed in YAML as Prometheus does.
type SDConfigs struct {
	Static []*StaticConfig `yaml:"static_configs,omitempty"`
	File   []*FileConfig   `yaml:"file_sd_configs,omitempty"`
	HTTP   []*HTTPConfig   `yaml:"http_sd_configs,omitempty"`
	DNS    []*DNSConfig    `yaml:"dns_sd_configs,omitempty"`
	Consul []*ConsulConfig `yaml:"consul_sd_configs,omitempty"`
	EPMD   []*EPMDConfig   `yaml:"epmd_sd_configs,omitempty"`

	CloudConfigs `yaml:",inline"`
}

// SetDirectory makes the relative file names of all mechanisms relative to dir.
func (c SDConfigs) SetDirectory(dir string) {
	for _, f := range c.File {
		f.SetDirectory(dir)
	}
	for _, h := range c.HTTP {
		h.SetDirectory(dir)
	}
	for _, s := range c.Consul {
		s.SetDirectory(dir)
	}
	c.CloudConfigs.setDirectory(dir)
}

// configs lists the mechanisms in a fixed order: where two find the same node,
// the earlier one wins.
func (c SDConfigs) configs() []discovery.Config {
	var all []discovery.Config
	if len(c.Static) > 0 {
		all = append(all, discovery.StaticConfig(numbered(c.Static)))
	}
	for _, f := range c.File {
		all = append(all, f)
	}
	for _, h := range c.HTTP {
		all = append(all, h)
	}
	for _, d := range c.DNS {
		all = append(all, d)
	}
	for _, s := range c.Consul {
		all = append(all, s)
	}
	for _, e := range c.EPMD {
		all = append(all, e)
	}
	return append(all, c.CloudConfigs.configs()...)
}

// Group is a set of nodes that are found and reached in the same way.
type Group struct {
	// Name is unique among the groups and not empty.
	Name string
	// Node is the template that makes a node name out of an __address__ that is
	// none, for example "rabbit@{{host}}". Empty: addresses are node names.
	Node string
	// Address is the template of host:port of the distribution listener, for
	// nodes without epmd. Empty: epmd is asked.
	Address string
	// EPMD is host, host:port, or :port of each node's own host, of the epmd that
	// knows the nodes. Empty: port 4369 of each node's own host.
	EPMD    string
	SD      SDConfigs
	Relabel []*RelabelConfig
	// CheckCookie returns an error when the configuration has no cookie for a
	// node, or for a reference to one; an empty node asks for the reference
	// alone. Check uses it; nil approves of all.
	CheckCookie func(node, ref string) error
}

// Format shows the name alone, under every verb: secrets in the configurations of
// Prometheus hide in YAML and JSON only.
func (g Group) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "group %q", g.Name) }

// Target is a node that may be attached to.
type Target struct {
	// Node is the full node name, name@host.
	Node string
	// Address is host:port of the node's distribution listener, or empty when
	// epmd is to be asked for it.
	Address string
	// EPMD is host:port of the epmd that knows the node, or empty for the usual
	// one on the node's host.
	EPMD string
	// CookieRef names the configured cookie of the node, or is empty when its
	// group and its name decide.
	CookieRef string
	// Labels are the labels left after relabelling; not nil, to be read only.
	Labels map[string]string
	// Group is the name of the group that found the node.
	Group string
	// Source is the mechanism that found it: static, file, http, dns, consul,
	// epmd, kubernetes, ec2 or openstack.
	Source string
}

// Name is one entry of an epmd: the part of a node name before '@' and the port
// of its distribution listener.
type Name struct {
	Name string
	Port uint16
}

// NamesFunc asks the epmd at addr (host:port) for all names it knows. It must
// return when ctx ends.
type NamesFunc func(ctx context.Context, addr string) ([]Name, error)
