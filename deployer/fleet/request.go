package fleet

import "time"

// MaxDeploy is the most nodes that one request may ask for.
const MaxDeploy = 1000

// DeployRequest asks for new nodes.
type DeployRequest struct {
	// Family, by id or name.
	Family string `json:"family"`
	// Provider or Domain, by id (a provider also by name), say where; neither
	// is needed when the family has one domain.
	Provider string `json:"provider,omitempty"`
	Domain   string `json:"domain,omitempty"`
	Amount   int    `json:"amount"`
	// Stopped leaves the nodes in STOPPED; autostart is the default.
	Stopped bool `json:"stopped,omitempty"`
	// Continue takes up failed nodes of the same family and domain first;
	// they count towards Amount.
	Continue bool `json:"continue,omitempty"`
	// Key makes a repeated request return the nodes of the first; empty for
	// none. At most 200 bytes.
	Key string `json:"-"`
}

// Validate tells all that is wrong with the request itself.
func (r DeployRequest) Validate() error {
	var c checker
	c.check(r.Family != "", "family", "is missing")
	c.check(r.Amount >= 1 && r.Amount <= MaxDeploy, "amount", "%d is not from 1 to %d", r.Amount, MaxDeploy)
	c.check(len(r.Key) <= 200, "key", "is longer than 200 bytes")
	return c.err("deployment")
}

// NodeFilter selects nodes; zero fields select all.
type NodeFilter struct {
	FamilyID   string
	ProviderID string
	States     []State
}

// Orphan is something with this installation's owner tag at a provider, or on
// a host, that no node or family of ours needs.
type Orphan struct {
	ProviderID string `json:"provider_id"`
	Provider   string `json:"provider"`
	// Kind as the provider calls it: machine, address, key, firewall, files; or
	// KindProvider for one that could not be looked at, with the Error.
	Kind      string    `json:"kind"`
	ID        string    `json:"id"`
	NodeID    string    `json:"node_id,omitempty"`
	FamilyID  string    `json:"family_id,omitempty"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	// Removed says that it was collected; Error why it could not be.
	Removed bool   `json:"removed,omitempty"`
	Error   string `json:"error,omitempty"`
}

// CollectRequest asks to look for orphans.
type CollectRequest struct {
	// Remove collects what is found; without it nothing is changed.
	Remove bool `json:"remove"`
	// MinAge spares what is younger; 0 for the configured limit.
	MinAge time.Duration `json:"min_age,omitempty"`
}

// Finding is one line of a self-examination.
type Finding struct {
	// Subject is what was looked at, such as provider "EC2".
	Subject string `json:"subject"`
	OK      bool   `json:"ok"`
	// Message says what was found and, when it is not ok, what to do.
	Message string `json:"message"`
}
