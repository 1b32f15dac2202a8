// Package release brings Erlang releases to hosts and runs them there.
//
// All that it puts on a host is below ~/.erl-deploy of the login user, and a
// link to the node's release beside it:
//
//	~/NODE -> .erl-deploy/nodes/NODE/current
//	~/.erl-deploy/archives/DIGEST.tar.gz       uploaded once for all nodes
//	~/.erl-deploy/nodes/NODE/current -> releases/DIGEST[/ROOT]
//	~/.erl-deploy/nodes/NODE/releases/DIGEST/  unpacked; older ones stay
//	~/.erl-deploy/nodes/NODE/templates/DIGEST/ the templates as they came
//	~/.erl-deploy/nodes/NODE/home/             the node's HOME, with its cookie
//	~/.erl-deploy/nodes/NODE/runs/             what was run, and how it ended
//
// With the last node all of it goes. A node's processes are known by
// ERL_DEPLOY_NODE in their environment, which they inherit wherever they move
// to; finding them needs a Linux host with /proc, and a release that changes
// neither user nor environment on its way to the Erlang VM.
//
// Work on a host is done by POSIX shell scripts of this package. What comes
// from users reaches them as arguments, never as part of a script; only the
// release's own commands are meant for a shell.
package release
