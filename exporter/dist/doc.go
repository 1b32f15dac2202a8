// Package dist connects to Erlang nodes as a hidden node of their
// distribution: it dials, calls functions, loads modules, sends messages and
// hands out the messages that come back.
//
// # Who does what
//
// The node, its processes, their mailboxes and the table of connected peers
// are those of github.com/ergo-services/ergo. Every byte that comes from
// another machine is read by this package: epmd's answers, the handshake
// (version 6) and the protocol (OTP 23 and later) are plugged into ergo through
// node.Options, because ergo's own leave it to the peer how much memory is
// taken, tell every failure as "no route to node", and publish the node.
//
// Two things cannot be plugged in and are arranged around:
//
//   - ergo dials by itself, with its own timeout and without the caller's
//     context, in plaintext unless the peer is written with ergo, and it drops
//     the reason of a failure. So Dial makes the connection and then hands it
//     over: the registrar resolves the node's name to ergo's own loopback
//     listener, ergo "dials" that, and our Start closes this stand-in and goes
//     on with the real connection. A name that nobody is dialling does not
//     resolve, so ergo never dials on its own account.
//   - ergo's router carries ergo's terms and no context. Messages from a node
//     travel through ergo's router into the mailbox of the process that stands
//     for the connection; what we send goes straight to the connection.
//
// # ergo's globals
//
// Importing ergo registers four flags (-ergo.trace, -ergo.warning,
// -ergo.norecover, -ergo.debug) in flag.CommandLine. They cannot be taken back
// without replacing flag.CommandLine, which would take the flags of others
// along; a program with a flag set of its own does not show them. The first
// Run switches ergo's warnings off, since they go to the standard logger and
// say less than our errors do. ergo is never given a cookie, so that its trace
// cannot print one.
package dist
