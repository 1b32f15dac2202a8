package config

import (
	"time"

	"github.com/prometheus/common/model"

	"github.com/erlops/erlops/exporter/discovery"
	"github.com/erlops/erlops/internal/strictyaml"
)

// The bounds of what ConnectedNodes may be set to.
const (
	maxConnectedDepth = 100
	maxConnectedNodes = 10_000
)

// ConnectedNodes has the nodes that those of a group are connected to attached
// too, and those that these are connected to, and so on.
type ConnectedNodes struct {
	// Include and Exclude are patterns of whole node names; an empty Include
	// takes all, and Exclude wins.
	Include []discovery.Pattern `yaml:"include,omitempty"`
	Exclude []discovery.Pattern `yaml:"exclude,omitempty"`
	// MaxDepth is how many steps from a node of the group, MaxNodes how many
	// nodes in all that begin at one of them.
	MaxDepth int `yaml:"max_depth"`
	MaxNodes int `yaml:"max_nodes"`
	// Hidden takes hidden nodes too.
	Hidden bool `yaml:"hidden,omitempty"`
	// ForgetAfter is how long a node is kept that nobody is connected to any more
	// and that cannot be attached.
	ForgetAfter model.Duration `yaml:"forget_after"`
}

// DefaultConnectedNodes has the values of what is left out.
func DefaultConnectedNodes() ConnectedNodes {
	return ConnectedNodes{MaxDepth: 8, MaxNodes: 200, ForgetAfter: duration(time.Hour)}
}

// UnmarshalYAML sets the defaults before it reads.
func (c *ConnectedNodes) UnmarshalYAML(unmarshal func(any) error) error {
	*c = DefaultConnectedNodes()
	type plain ConnectedNodes
	return unmarshal((*plain)(c))
}

// FamilyPattern gives nodes their family by their names.
type FamilyPattern struct {
	Nodes  discovery.Pattern `yaml:"nodes"`
	Family string            `yaml:"family"`
}

func (v *validator) connected(path string, c *ConnectedNodes) {
	if c == nil || v.doc.BadBelow(path) {
		return
	}
	if c.MaxDepth < 1 || c.MaxDepth > maxConnectedDepth {
		v.add(strictyaml.Join(path, "max_depth"), "must be from 1 to %d, not %d", maxConnectedDepth, c.MaxDepth)
	}
	if c.MaxNodes < 1 || c.MaxNodes > maxConnectedNodes {
		v.add(strictyaml.Join(path, "max_nodes"), "must be from 1 to %d, not %d", maxConnectedNodes, c.MaxNodes)
	}
}

func (v *validator) familyPatterns(path string, patterns []FamilyPattern) {
	for i, p := range patterns {
		at := strictyaml.Index(path, i)
		if p.Nodes == "" {
			v.missing(at, []string{"nodes"}, "nodes must be configured")
		}
		if p.Family == "" {
			v.missing(at, []string{"family"}, "family must be configured")
		}
	}
}
