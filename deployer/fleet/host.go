package fleet

import (
	"fmt"
	"time"
)

// Facts are what a host says about itself.
type Facts struct {
	Platform Platform `json:"platform"`
	Hostname string   `json:"hostname"`
	// FreeBytes is what the file system of the login user's home has left.
	FreeBytes int64 `json:"free_bytes"`
	// Listening are the TCP ports that programs of the host listen on, on any
	// address, in order; none on systems without /proc/net/tcp.
	Listening []int `json:"listening,omitempty"`
}

// Installation is all that a host needs to know of one node to install and run
// it.
type Installation struct {
	// Owner is the id of this deployer's installation, which marks what is put
	// on a host.
	Owner    string
	FamilyID string
	NodeID   string
	NodeName string
	// Archive that is, or is to be, the current one.
	Archive   Archive
	Templates []string
	// Variables are replaced in the templates: node_name, node_id, host,
	// family, family_id, dist_port_min, dist_port_max, epmd_port. A template
	// that needs a port is refused when these are empty.
	Variables map[string]string
	Cookie    Secret
	// Ports are what distribution is to listen on; zero leaves it to the
	// release.
	Ports    PortRange
	EPMDPort int
	// StopCommand is run before processes are killed.
	StopCommand string
}

// Command is one run of a command line of the release.
type Command struct {
	// Step is what it is for, such as start.
	Step StepName
	// Line is run by a shell in the release's directory.
	Line string
	// Args become the command's further arguments, quoted.
	Args []string
	// Token names this run: a host that has begun a run of that token before
	// does not begin another but waits for its end and gives its result. When
	// ctx is done, only the waiting ends, and the command goes on: whoever runs
	// it again with its token gets the result. Empty for commands that only
	// ask; these end with ctx.
	Token string
	// Timeout is after how long the host itself ends the command with all its
	// processes; 0 for none.
	Timeout time.Duration
}

// Output is what a command that succeeded left.
type Output struct {
	// Text is the end of what it printed, standard error included.
	Text string
	// Repeated says that it had been run under its token before.
	Repeated bool
}

// CommandError is a command that failed: it ended with a status other than 0,
// or it did not end in time. It is never worth an automatic retry.
type CommandError struct {
	Command string
	// ExitStatus is -1 when it was ended for lasting too long, or by a signal.
	ExitStatus int
	// Output is the end of what it printed, cookie masked.
	Output string
	// Err says more, if there is more.
	Err error
}

func (e *CommandError) Error() string {
	text := fmt.Sprintf("command %q ended with status %d", e.Command, e.ExitStatus)
	if e.ExitStatus < 0 {
		text = fmt.Sprintf("command %q did not end by itself", e.Command)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *CommandError) Unwrap() error { return e.Err }

// PermanentError says that trying again without changing something is
// useless: a wrong host key, a refused login, an archive that is no archive, a
// full disk. Every other error of a host is taken as one that may pass.
type PermanentError struct{ Err error }

// Permanent marks an error as one that does not pass by itself.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &PermanentError{err}
}

func (e *PermanentError) Error() string { return e.Err.Error() }

// Unwrap returns the error itself.
func (e *PermanentError) Unwrap() error { return e.Err }
