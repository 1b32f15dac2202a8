package fleet

import (
	"slices"
	"strconv"
	"time"
)

// SelectRandom takes a random node of those that are UP.
const SelectRandom = "random"

// BootstrapStrategy says how a started node joins its family.
type BootstrapStrategy string

const (
	// BootstrapErlang connects the node to one that is UP over distribution.
	BootstrapErlang BootstrapStrategy = "distributed_erlang"
	// BootstrapCustom runs a command of the release with the name of a node
	// that is UP as its only argument.
	BootstrapCustom BootstrapStrategy = "custom"
)

// Bootstrap is how nodes join and leave their family.
type Bootstrap struct {
	Strategy BootstrapStrategy `json:"strategy"`
	// Command is the one of BootstrapCustom, such as bin/bootstrap.
	Command string `json:"command,omitempty"`
	// LeaveCommand is run before a node is deleted; empty for none.
	LeaveCommand string `json:"leave_command,omitempty"`
}

// Family is a set of nodes that run the same release.
type Family struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// ReleaseID names the release; empty until it is connected with one.
	ReleaseID string         `json:"release_id,omitempty"`
	Firewall  []FirewallRule `json:"firewall"`
	// Selection is how the node that a new one joins is chosen: SelectRandom.
	Selection string    `json:"selection"`
	Bootstrap Bootstrap `json:"bootstrap"`
	Domains   []Domain  `json:"domains"`
	// Ports are those that distribution may listen on. Every node gets one of
	// its own on its host; no range leaves it to the release.
	Ports PortRange `json:"ports,omitzero"`
	// EPMDPort is where the nodes' epmd listens; 0 for 4369.
	EPMDPort int `json:"epmd_port,omitempty"`
	// Prepared says for each provider's id which key and rules it was prepared
	// with, as a digest.
	Prepared map[string]string `json:"prepared,omitempty"`
	// Protected families and their nodes cannot be deleted.
	Protected bool `json:"protected"`
	// Deleting is set from the request to delete it on.
	Deleting  bool      `json:"deleting,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Domain is the part of a family that has the same provider, image and
// hardware.
type Domain struct {
	ID         string `json:"id"`
	ProviderID string `json:"provider_id"`
	// SSHUser logs in to the machines.
	SSHUser string `json:"ssh_user"`
	// Image (the seed's vdisk) and Hardware (hw_profile) are as the provider
	// calls them; a physical one ignores them.
	Image    string `json:"image,omitempty"`
	Hardware string `json:"hardware,omitempty"`
	// Settings are what else the provider takes, such as subnet and zone.
	Settings map[string]string `json:"settings,omitempty"`
}

// SettingSudo is the setting of domains that says whether a login user that is
// created may become root, which is so unless it is "false".
const SettingSudo = "sudo"

// Sudo tells whether a login user that is created may become root.
func (d Domain) Sudo() bool { return d.Settings[SettingSudo] != "false" }

// DefaultEPMDPort is where epmd listens unless told otherwise.
const DefaultEPMDPort = 4369

// WithDefaults fills in what was left out.
func (f Family) WithDefaults() Family {
	if f.Selection == "" {
		f.Selection = SelectRandom
	}
	if f.Bootstrap.Strategy == "" {
		f.Bootstrap.Strategy = BootstrapErlang
	}
	return f
}

// Validate tells all that is wrong with a family that has its defaults.
func (f Family) Validate() error {
	var c checker
	checkName(&c, "name", f.Name)
	c.check(f.Selection == SelectRandom, "selection", "%q is not known; there is %q", f.Selection, SelectRandom)
	f.checkBootstrap(&c)
	for i, r := range f.Firewall {
		if err := r.problem(); err != nil {
			c.check(false, "firewall["+strconv.Itoa(i)+"]", "%s", err)
		}
	}
	c.check(f.Ports.IsZero() || f.Ports.valid(), "ports", "%s is no range from 1 to %d", f.Ports, maxPort)
	c.check(f.EPMDPort >= 0 && f.EPMDPort <= maxPort, "epmd_port", "%d is not a port", f.EPMDPort)
	for i, d := range f.Domains {
		path := "domains[" + strconv.Itoa(i) + "]"
		c.check(d.ProviderID != "", path+".provider", "is missing")
		c.check(ValidUser(d.SSHUser), path+".ssh_user", "%q is no user name", d.SSHUser)
		sudo := d.Settings[SettingSudo]
		c.check(sudo == "" || sudo == "true" || sudo == "false", path+".settings."+SettingSudo, "%q is neither true nor false", sudo)
	}
	return c.err("node family")
}

func (f Family) checkBootstrap(c *checker) {
	switch f.Bootstrap.Strategy {
	case BootstrapErlang:
		c.check(f.Bootstrap.Command == "", "bootstrap.command", "only the strategy %q has a command", BootstrapCustom)
	case BootstrapCustom:
		checkCommand(c, "bootstrap.command", f.Bootstrap.Command, true)
	default:
		c.check(false, "bootstrap.strategy", "%q is neither %q nor %q", f.Bootstrap.Strategy, BootstrapErlang, BootstrapCustom)
	}
	checkCommand(c, "bootstrap.leave_command", f.Bootstrap.LeaveCommand, false)
}

// Domain returns the domain of that id.
func (f Family) Domain(id string) (Domain, bool) {
	i := slices.IndexFunc(f.Domains, func(d Domain) bool { return d.ID == id })
	if i < 0 {
		return Domain{}, false
	}
	return f.Domains[i], true
}

// DomainOf returns the first domain of a provider.
func (f Family) DomainOf(providerID string) (Domain, bool) {
	i := slices.IndexFunc(f.Domains, func(d Domain) bool { return d.ProviderID == providerID })
	if i < 0 {
		return Domain{}, false
	}
	return f.Domains[i], true
}

// ValidUser tells whether s can be the name of a Unix user.
func ValidUser(s string) bool {
	if s == "" || len(s) > 32 || s[0] == '-' || s[0] == '.' {
		return false
	}
	for _, r := range s {
		if !hostRune(r) && r != '.' {
			return false
		}
	}
	return true
}
