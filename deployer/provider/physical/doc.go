// Package physical is the provider of hosts that run already and have an SSH
// server. A machine of it is a place for one node on a host, kept by a
// reservation: a file in ~/.erl-deploy/reservations of the login user that has
// the tag and the token. Giving a machine back ends the node's processes there
// and removes its files, whoever put them there and whatever is known of them.
//
// Firewall and keys are the owner's of the hosts: EnsureFamily does nothing.
package physical
