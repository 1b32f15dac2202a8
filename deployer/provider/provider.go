// Package provider is what the deployer asks of those who have machines: one
// contract that running hosts and clouds keep, so that a new one is a package
// of its own and changes nothing elsewhere. Package providertest has the tests
// that every provider must pass.
package provider

import (
	"context"
	"log/slog"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
)

// Provider makes machines and takes them back.
//
// The deployer may be killed at any moment, and a call may fail after it had
// its effect. So everything that a provider creates carries its [Tag] from the
// first moment on, every method may be repeated with the same arguments, and
// the deployer asks Find before it creates. The rules in full:
//
//   - Create with the token of an earlier Create returns the machine of that
//     one, in whatever state it is, and makes no other, also when both run at
//     the same time. The token of a machine that was destroyed is never used
//     again: the deployer makes a new one for each attempt.
//   - A machine that Create made is found by Find at the latest after
//     Capabilities.Settle, and so is one whose Create returned an error.
//   - Destroy, RemoveFamily and Remove of what is gone succeed. When they
//     return nil, it is gone: Find no longer returns it, and what depended on
//     it can be removed.
//   - EnsureFamily makes things as they should be, whatever they were.
//   - Who retries: the deployer, with back-off, whenever [Retryable] says so.
//     A provider retries only inside one call, for no longer than seconds.
//   - Every error is an [*Error], except that of a context that is done.
//   - Methods may be called from many goroutines at once; they return soon
//     after ctx is done. None of them waits for a machine to boot: Describe is
//     asked again instead.
//   - No secret is in errors, logs or tags.
type Provider interface {
	// Capabilities say what it can do. They do not change and cost nothing.
	Capabilities() Capabilities
	// Check asks whether it can be used: whether hosts answer and credentials
	// are accepted. It changes nothing.
	Check(ctx context.Context) error
	// EnsureFamily sees to what the machines of a family share, such as SSH
	// key and firewall, named after the family's id.
	EnsureFamily(ctx context.Context, f Family) error
	// RemoveFamily removes what EnsureFamily made. There may be machines that
	// are just going: KindConflict then, and it is tried again.
	RemoveFamily(ctx context.Context, tag Tag) error
	// Create makes a machine, or finds the one of its token.
	Create(ctx context.Context, r Request) (Machine, error)
	// Find returns the machines that carry the tag; its empty fields match
	// all. Machines that are gone are left out.
	Find(ctx context.Context, tag Tag) ([]Machine, error)
	// Describe returns a machine as it is now, or an error of KindNotFound. It
	// also does what is left to do for the machine to run, such as giving it an
	// address: the deployer asks until it runs.
	Describe(ctx context.Context, id string) (Machine, error)
	// Destroy gives a machine back, with all that belongs to it alone, such as
	// addresses and volumes.
	Destroy(ctx context.Context, id string) error
	// Resources returns everything that carries an owner's tag, machines
	// included. It is how things are found that nobody needs.
	Resources(ctx context.Context, owner string) ([]Resource, error)
	// Remove removes one of those.
	Remove(ctx context.Context, r Resource) error
}

// DomainChecker is a [Provider] that can tell what is wrong with a domain
// before anything is made of it, such as settings that it does not know. The
// error is a [*fleet.ValidationError]; nothing outside is asked.
type DomainChecker interface {
	CheckDomain(d fleet.Domain) error
}

// Placer is a [Provider] whose settings say where things are made, such as a
// region and an account. While there may be something of a family, its place
// must not change: at another one nothing of it would be found.
type Placer interface {
	// Place is in the user's words, and the same as long as things are found.
	// Nothing outside is asked.
	Place() string
}

// Capabilities say what a provider can do.
type Capabilities struct {
	// Hosts are the hosts to choose from, when machines are not made but
	// chosen; nil when they are made. The deployer then says in
	// Request.Host which one it has chosen.
	Hosts []Host
	// Firewall tells whether firewall rules have an effect.
	Firewall bool
	// Settle is how long a machine may take to be found after its Create;
	// 0 when it is found at once. The deployer waits for it before it creates
	// again after a Create that ended unknown.
	Settle time.Duration
}

// Host is one to choose.
type Host struct {
	Name  string
	Slots int // how many nodes it takes; 0 for no limit
}

// Tag is what everything that a provider makes is marked with.
type Tag struct {
	Owner    string // this installation of the deployer
	FamilyID string
	NodeID   string // empty for what a family shares
}

// Matches tells whether a tag that something carries is asked for.
func (t Tag) Matches(carried Tag) bool {
	return (t.Owner == "" || t.Owner == carried.Owner) &&
		(t.FamilyID == "" || t.FamilyID == carried.FamilyID) &&
		(t.NodeID == "" || t.NodeID == carried.NodeID)
}

// Family is what the machines of a family share.
type Family struct {
	Tag      Tag
	Name     string // for people to read
	Firewall []fleet.FirewallRule
	// Domains are those of the family's that are with this provider.
	Domains []fleet.Domain
	// PublicKey is what the deployer logs in with, as in authorized_keys;
	// empty when it has none of its own.
	PublicKey string
}

// Request asks for a machine.
type Request struct {
	Tag Tag
	// Token makes a repeated Create harmless: at most 64 of [A-Za-z0-9-].
	Token string
	// Host is one of Capabilities.Hosts, if there are any.
	Host string
	// Domain has user, image and hardware.
	Domain fleet.Domain
	// FamilyName is for people to read.
	FamilyName string
	// PublicKey is as in Family.
	PublicKey string
}

// MachineState is how far a machine is.
type MachineState string

// The states of a machine.
const (
	MachinePending MachineState = "pending" // being made
	MachineRunning MachineState = "running" // has an address; SSH may still be starting
	MachineFailed  MachineState = "failed"  // will not run: see Fault
	MachineGone    MachineState = "gone"    // being or already destroyed
)

// Machine is a machine as its provider describes it.
type Machine struct {
	ID    string
	Tag   Tag
	Token string // of its Create, where the provider keeps it
	State MachineState
	// Fault says in the provider's words why it failed, and of a machine that
	// is pending what it waits for.
	Fault string
	// Host is the name or address that nodes on it are named after. It must
	// be the same for the life of the machine; empty while it is not known.
	Host string
	// Login is how to get onto it, as the provider knows it; its User is the
	// one that exists, which may be another than the domain's.
	Login     fleet.Login
	CreatedAt time.Time
	// KeyMissing tells of a pending machine that it runs, at Host and with
	// Login, and that only its host key is not known yet. The deployer takes the
	// one that it knows, of the same machine, if there is any.
	KeyMissing bool
}

// Resource is something that a provider keeps for us.
type Resource struct {
	Kind      string // machine, address, key, firewall, volume, files
	ID        string
	Tag       Tag
	CreatedAt time.Time // zero when it is not known
}

// Environment is what a provider is given to work with.
type Environment struct {
	Logger *slog.Logger
	// Now is the clock.
	Now func() time.Time
	// OpenHost opens a shell-like connection for providers that work on hosts
	// themselves; nil when there is none.
	OpenHost func(ctx context.Context, l fleet.Login) (Shell, error)
	// Users returns the login users of the domains that the provider has, for
	// those that look for what is ours on hosts; nil when there are none.
	Users func(ctx context.Context) ([]string, error)
	// Derive returns 32 bytes that only this installation knows and that are
	// always the same for the same label, to make keys of; nil when there is no
	// such secret.
	Derive func(label string) [32]byte
}

// Shell runs commands on a host. It is what deployer/ssh gives.
type Shell interface {
	// Exec runs argv, each element quoted, with stdin, and returns what it
	// printed to standard output. A status other than 0 is a
	// [*fleet.CommandError].
	Exec(ctx context.Context, stdin []byte, argv ...string) ([]byte, error)
	Close() error
}

// Factory makes the provider of a record. It checks settings and secrets (a
// [*fleet.ValidationError] says what is wrong with them) and connects to
// nothing.
type Factory func(p fleet.Provider, e Environment) (Provider, error)
