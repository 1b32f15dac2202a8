package fleet

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// State is how far a node is.
type State string

// The states of a node.
const (
	StateUninit  State = "UNINIT"  // being deployed, nothing is there yet
	StateStopped State = "STOPPED" // deployed, not running
	StateDown    State = "DOWN"    // started, and not seen running
	StateUp      State = "UP"      // seen running by the exporter, or by our ping
	StateError   State = "ERROR"   // a step failed: see Reason
)

// States lists all states in the order of a node's life.
func States() []State {
	return []State{StateUninit, StateStopped, StateDown, StateUp, StateError}
}

// Goal is what a user wants of a node.
type Goal string

// The goals.
const (
	GoalRunning Goal = "running"
	GoalStopped Goal = "stopped"
	GoalDeleted Goal = "deleted"
)

// Registration says what the exporter knows of a node.
type Registration string

// The registrations. A node without an exporter has none of them.
const (
	RegistrationNone    Registration = ""
	RegistrationPending Registration = "pending" // the exporter is away; it is tried again
	RegistrationDone    Registration = "registered"
)

// Node is an Erlang node that the deployer made, or is making.
type Node struct {
	ID         string `json:"id"`
	FamilyID   string `json:"family_id"`
	DomainID   string `json:"domain_id"`
	ProviderID string `json:"provider_id"`
	// Name is the Erlang node name, ID@Host; empty until the host is known.
	Name string `json:"name,omitempty"`
	// Host is the name or address of the host.
	Host string `json:"host,omitempty"`
	// MachineID is what the provider calls the machine.
	MachineID string `json:"machine_id,omitempty"`
	// Attempt counts the machines that were made for it, this one included.
	Attempt int `json:"attempt,omitempty"`
	// AskedAt is when a machine was last asked for.
	AskedAt time.Time `json:"asked_at,omitzero"`
	State   State     `json:"state"`
	// Since is when it got into its state.
	Since time.Time `json:"since"`
	// Reason says why it is in its state; nil when there is nothing to say.
	Reason *Reason `json:"reason,omitempty"`
	Goal   Goal    `json:"goal"`
	// Task is what is being done with it; nil when nothing is.
	Task         *Task        `json:"task,omitempty"`
	Registration Registration `json:"registration,omitempty"`
	// Login says how to get to the host; set once the machine runs.
	Login Login `json:"login,omitzero"`
	// Archive is the one that is installed.
	Archive Archive `json:"archive,omitzero"`
	// Ports are what distribution listens on; none leaves it to the release.
	Ports PortRange `json:"ports,omitzero"`
	// Joined is set once it has bootstrapped.
	Joined bool `json:"joined"`
	// Warnings are what was found while deploying that is no error.
	Warnings  []string  `json:"warnings,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// NodeName is the Erlang name of a node.
func NodeName(id, host string) string { return id + "@" + host }

// Reason is why a node is in ERROR, or what its last trouble was.
type Reason struct {
	Step StepName `json:"step,omitempty"`
	// Message says it in a sentence.
	Message string `json:"message"`
	// Command is the one that failed; ExitStatus is -1 when it did not end by
	// itself; Output the end of what it printed.
	Command    string    `json:"command,omitempty"`
	ExitStatus int       `json:"exit_status,omitempty"`
	Output     string    `json:"output,omitempty"`
	At         time.Time `json:"at"`
}

// String gives the reason on one line, output aside.
func (r Reason) String() string {
	var b strings.Builder
	if r.Step != "" {
		fmt.Fprintf(&b, "%s: ", r.Step)
	}
	b.WriteString(r.Message)
	if r.Command != "" && !strings.Contains(r.Message, strconv.Quote(r.Command)) {
		fmt.Fprintf(&b, " (command %q, exit status %d)", r.Command, r.ExitStatus)
	}
	return b.String()
}

// Login says how to get onto a host.
type Login struct {
	Host string `json:"host"`
	Port int    `json:"port,omitempty"` // 0 for ~/.ssh/config, or 22
	User string `json:"user"`
	// HostKeys, Jump and KeyFile are as in [Server].
	HostKeys []string `json:"host_keys,omitempty"`
	Jump     []string `json:"jump,omitempty"`
	KeyFile  string   `json:"key_file,omitempty"`
}

// IsZero tells whether it is not known yet.
func (l Login) IsZero() bool { return l.Host == "" }
