package fleet

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// KindPhysical is the kind of provider whose hosts run already.
const KindPhysical = "physical"

// CloudKinds are the kinds of clouds that a provider can be written down as,
// also where the program has nothing to use them with.
func CloudKinds() []string { return []string{"ec2", "hp", "openstack", "rackspace"} }

// Provider is where machines come from.
type Provider struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Kind says who makes the machines: physical, ec2, hp, rackspace, …
	Kind string `json:"kind"`
	// Servers are the hosts of a physical provider.
	Servers []Server `json:"servers,omitempty"`
	// Settings are what the kind needs, such as auth_url, tenant_name,
	// service_region, region, endpoint.
	Settings map[string]string `json:"settings,omitempty"`
	// Secrets are the same for what must not be shown, such as username and
	// password.
	Secrets   map[string]Secret `json:"secrets,omitempty"`
	CreatedAt time.Time         `json:"created_at"`
	UpdatedAt time.Time         `json:"updated_at"`
}

// Server is a host that runs already and has an SSH server.
type Server struct {
	// Host is a name or address. It is also what nodes are named after, so that
	// other nodes must be able to reach it by that name.
	Host string `json:"host"`
	// User logs in where no domain says who: to look for what is ours. Empty
	// for what ~/.ssh/config says, or the user that the deployer runs as.
	User string `json:"user,omitempty"`
	// Port of the SSH server; 0 for what ~/.ssh/config says, or 22.
	Port int `json:"port,omitempty"`
	// Slots is how many nodes the host may hold; 0 for no limit.
	Slots int `json:"slots,omitempty"`
	// HostKeys pin the host: lines as in authorized_keys ("ssh-ed25519 AAAA…").
	// Without any the known_hosts files decide.
	HostKeys []string `json:"host_keys,omitempty"`
	// Jump lists the hosts to go through, as [user@]host[:port], nearest first.
	Jump []string `json:"jump,omitempty"`
	// KeyFile is a private key file on the deployer; empty for the agent and
	// the configured ones.
	KeyFile string `json:"key_file,omitempty"`
}

// Validate tells all that is wrong with a provider. What a kind needs of
// settings and secrets is for its own package to say.
func (p Provider) Validate() error {
	var c checker
	checkName(&c, "name", p.Name)
	c.check(p.Kind != "", "kind", "is missing: name the kind of provider, such as %q", KindPhysical)
	if p.Kind == KindPhysical {
		c.check(len(p.Servers) > 0, "servers", "at least one host is needed")
	} else {
		c.check(len(p.Servers) == 0, "servers", "only a physical provider has servers")
	}
	seen := map[string]bool{}
	for i, s := range p.Servers {
		path := "servers[" + strconv.Itoa(i) + "]"
		c.check(ValidHost(s.Host), path+".host", "%q is no host name or address", s.Host)
		c.check(!seen[s.Host], path+".host", "%q is there twice", s.Host)
		seen[s.Host] = true
		c.check(s.User == "" || ValidUser(s.User), path+".user", "%q is no user name", s.User)
		c.check(s.Port >= 0 && s.Port <= maxPort, path+".port", "%d is not a port", s.Port)
		c.check(s.Slots >= 0, path+".slots", "%d is negative", s.Slots)
	}
	return c.err("provider")
}

// Server returns the server of that host.
func (p Provider) Server(host string) (Server, bool) {
	i := slices.IndexFunc(p.Servers, func(s Server) bool { return s.Host == host })
	if i < 0 {
		return Server{}, false
	}
	return p.Servers[i], true
}

// ValidHost tells whether s can be a host name or an address, and so the part
// of a node name behind the @.
func ValidHost(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	if net.ParseIP(s) != nil {
		return true
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' {
			return false
		}
		if strings.IndexFunc(label, func(r rune) bool { return !hostRune(r) }) >= 0 {
			return false
		}
	}
	return true
}

func hostRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}
