package engine

import (
	"context"
	"io"

	"github.com/erlops/erlops/deployer/fleet"
)

// Host is a host on which nodes are installed and run: what deployer/release
// does over deployer/ssh. Every method may be repeated after a crash in the
// middle of it, and then finishes what was begun: it checks before it acts.
//
// Errors: a [*fleet.CommandError] for a command of the release that failed, a
// [*fleet.PermanentError] for what does not pass by itself (host key, refused
// login, full disk, bad archive, missing template); all else is retried with
// back-off. Methods may be called from several goroutines, and return soon
// after ctx is done.
type Host interface {
	// Facts asks the host what it is.
	Facts(ctx context.Context) (fleet.Facts, error)
	// EnsureUser creates a login user with our key, and sudo if asked to, for
	// clouds whose machines only have root.
	EnsureUser(ctx context.Context, user string, sudo bool) error
	// Upload brings an archive to the host, once for all of its nodes: it
	// resumes what was interrupted, verifies the digest, and does nothing when
	// the archive is there. progress is called with bytes done, from any
	// goroutine, at most some times a second.
	Upload(ctx context.Context, a fleet.Archive, content io.ReaderAt, progress func(done int64)) error
	// Install unpacks the archive for the node beside older ones and makes it
	// the current one.
	Install(ctx context.Context, i fleet.Installation) error
	// Configure renders templates and puts the cookie in place. It returns
	// warnings for the user.
	Configure(ctx context.Context, i fleet.Installation) ([]string, error)
	// Run runs a command of the release in its directory, in the environment
	// of the node. A token makes it run exactly once: see [fleet.Command].
	Run(ctx context.Context, i fleet.Installation, c fleet.Command) (fleet.Output, error)
	// Running tells whether processes of the node are there.
	Running(ctx context.Context, i fleet.Installation) (bool, error)
	// Kill ends what is left of the node's processes; epmd too when it is the
	// node's and no other node uses it.
	Kill(ctx context.Context, i fleet.Installation) error
	// Clean removes all files of the node, and what was shared with nodes that
	// are gone.
	Clean(ctx context.Context, i fleet.Installation) error
	Close() error
}

// Erlang asks nodes over distribution, from the deployer.
type Erlang interface {
	// Ping succeeds when the node answers with its cookie.
	Ping(ctx context.Context, n NodeAddress) error
	// Connect makes the node connect to another; it succeeds when they are
	// connected.
	Connect(ctx context.Context, n NodeAddress, other string) error
}

// NodeAddress says how to reach a node over distribution.
type NodeAddress struct {
	Name   string
	Cookie fleet.Secret
	EPMD   string // host:port
}

// Monitor is the exporter: it watches nodes for us.
type Monitor interface {
	// Register makes a node known, or changes what is known of it.
	Register(ctx context.Context, r MonitorNode) error
	// Deregister makes it unknown; it succeeds when it was.
	Deregister(ctx context.Context, name string) error
	// Watch calls f with the state of every node that the exporter knows, and
	// then with every change, until ctx is done. It reconnects by itself;
	// away is called when the exporter cannot be reached, and f with all nodes
	// again when it can.
	Watch(ctx context.Context, f func(MonitorState), away func(error)) error
}

// MonitorNode is what is registered.
type MonitorNode struct {
	NodeAddress
	Family string
	Labels map[string]string
}

// MonitorState is what the exporter says of a node.
type MonitorState struct {
	Name   string
	Up     bool
	Known  bool   // false: the exporter does not know it, or no longer
	Reason string // why it is not up
}
