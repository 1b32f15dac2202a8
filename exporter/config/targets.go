package config

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"fmt"
	"maps"
	"os"

	"github.com/prometheus/common/config"

	"github.com/erlops/erlops/exporter/discovery"
)

// Target is a group of nodes that are found, reached and read in the same way.
type Target struct { //nolint:recvcheck // Format is for values too
	// Name is unique among the groups.
	Name string `yaml:"name"`
	// Node and Address are templates, see discovery.Group.
	Node    string `yaml:"node,omitempty"`
	Address string `yaml:"address,omitempty"`
	// Cookie, CookieFile and EPMD win over those of Config.
	Cookie     Secret `yaml:"cookie,omitempty"`
	CookieFile string `yaml:"cookie_file,omitempty"`
	EPMD       string `yaml:"epmd,omitempty"`
	// TLS is for Erlang distribution over TLS; nil for plaintext.
	TLS *config.TLSConfig `yaml:"tls_config,omitempty"`
	// Family is that of all nodes without a label family; FamilyBy and
	// Applications win over those of Config.Family.
	Family       string   `yaml:"family,omitempty"`
	FamilyBy     FamilyBy `yaml:"family_by,omitempty"`
	Applications []string `yaml:"applications,omitempty"`
	// Metrics wins over Config.Metrics where it says something.
	Metrics TargetMetrics `yaml:"metrics,omitempty"`
	// Agent wins over Config.Agent where it says something.
	Agent Agent `yaml:"agent,omitempty"`
	// Logs wins over Config.Logs where it says something.
	Logs *GroupLogs `yaml:"logs,omitempty"`

	// Connected is nil when connected nodes are not attached.
	Connected *ConnectedNodes `yaml:"connected_nodes,omitempty"`

	discovery.SDConfigs `yaml:",inline"`

	Relabel []*discovery.RelabelConfig `yaml:"relabel_configs,omitempty"`

	// OwnCookie is Cookie or what CookieFile holds.
	OwnCookie Secret `yaml:"-"`

	tls *tls.Config
	// authorities is the content of TLS.CAFile when tls was made.
	authorities []byte
}

// Format shows the name alone, under every verb: secrets in the configurations of
// Prometheus hide in YAML and JSON only.
func (t Target) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "target %q", t.Name) }

// TargetMetrics are the parts of Metrics that a group may have its own way.
type TargetMetrics struct {
	Allocators Allocators      `yaml:"allocators,omitempty"`
	MSAcc      MSAcc           `yaml:"msacc,omitempty"`
	Collectors map[string]bool `yaml:"collectors,omitempty"`
}

// IsZero reports whether the group says nothing of its own.
func (m TargetMetrics) IsZero() bool {
	return m.Allocators == "" && m.MSAcc == "" && len(m.Collectors) == 0
}

// Group is a Target with everything filled in that it leaves to Config.
type Group struct {
	Name string
	// Cookie gives the cookie of a node of the group, by its name and by the
	// reference that its target has or "". It may be used concurrently.
	Cookie func(node, ref string) (Secret, error)
	// EPMD is host:port, or :port for that port on each node's own host; empty
	// for the usual one.
	EPMD string
	// TLS is nil for plaintext.
	TLS          *tls.Config
	Family       string
	FamilyBy     FamilyBy
	Applications []string
	Allocators   Allocators
	MSAcc        MSAcc
	// Collectors has the collectors that are switched off or on explicitly.
	Collectors map[string]bool
	Agent      Agent
	// Connected is nil when connected nodes are not attached.
	Connected *ConnectedNodes
	Discovery discovery.Group
}

// Groups returns the targets with all defaults filled in, in their order.
func (c *Config) Groups() []Group {
	groups := make([]Group, 0, len(c.Targets))
	for _, t := range c.Targets {
		g := Group{
			Name:         t.Name,
			Cookie:       c.cookies(t.OwnCookie),
			TLS:          t.tls,
			Family:       t.Family,
			FamilyBy:     cmp.Or(t.FamilyBy, c.Family.By),
			Applications: t.Applications,
			Allocators:   cmp.Or(t.Metrics.Allocators, c.Metrics.Allocators),
			MSAcc:        cmp.Or(t.Metrics.MSAcc, c.Metrics.MSAcc),
			Collectors:   map[string]bool{},
			Agent: Agent{
				Injection:  cmp.Or(t.Agent.Injection, c.Agent.Injection),
				Reductions: cmp.Or(t.Agent.Reductions, c.Agent.Reductions),
				Bytes:      cmp.Or(t.Agent.Bytes, c.Agent.Bytes),
				Memory:     cmp.Or(t.Agent.Memory, c.Agent.Memory),
				Deadline:   cmp.Or(t.Agent.Deadline, c.Agent.Deadline),
			},
			Connected: t.Connected,
			Discovery: t.discovery(c.EPMD),
		}
		if len(g.Applications) == 0 {
			g.Applications = c.Family.Applications
		}
		maps.Copy(g.Collectors, c.Metrics.Collectors)
		maps.Copy(g.Collectors, t.Metrics.Collectors)
		if g.Discovery.EPMD != "" {
			// It passed the check when it was loaded.
			g.EPMD, _ = discovery.EPMDAddress(g.Discovery.EPMD, "")
		}
		groups = append(groups, g)
	}
	return groups
}

// discovery returns how the nodes of t are found.
func (t *Target) discovery(epmd string) discovery.Group {
	return discovery.Group{
		Name: t.Name, Node: t.Node, Address: t.Address, EPMD: cmp.Or(t.EPMD, epmd),
		SD: t.SDConfigs, Relabel: t.Relabel,
	}
}

// Discovery returns how the nodes of all targets are found.
func (c *Config) Discovery() []discovery.Group {
	groups := make([]discovery.Group, 0, len(c.Targets))
	for _, t := range c.Targets {
		groups = append(groups, t.discovery(c.EPMD))
	}
	return groups
}

// KeepTLS makes the groups of c share the TLS configuration of the groups of
// the same name in previous, where nothing in it has changed, so that a reload
// need not connect to their nodes anew. It is called before c is used.
func (c *Config) KeepTLS(previous *Config) {
	for i := range c.Targets {
		for k := range previous.Targets {
			if now, old := &c.Targets[i], &previous.Targets[k]; old.Name == now.Name && old.sameTLS(now) {
				now.tls = old.tls
			}
		}
	}
}

func (t *Target) sameTLS(other *Target) bool {
	if t.TLS == nil || other.TLS == nil {
		return false
	}
	return *t.TLS == *other.TLS && bytes.Equal(t.authorities, other.authorities)
}

// loadTLS builds the client's TLS configuration. The certificate and its key
// are read again at every connection, the authorities only here.
func (t *Target) loadTLS() (err error) {
	if t.TLS.CAFile != "" {
		if t.authorities, err = os.ReadFile(t.TLS.CAFile); err != nil {
			return err
		}
	}
	t.tls, err = config.NewTLSConfig(t.TLS)
	return err
}
