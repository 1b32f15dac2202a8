// Package sshtest makes hosts for tests: each has a real sshd, a file system
// that is a copy-on-write view of the machine's own, users, processes, a host
// name and a network of its own, so that ports and epmd are not shared. They
// reach each other and are reached from the machine. A host is made of Linux
// namespaces and overlayfs and takes about a quarter of a second.
//
// Nothing outlives a test, also not when its process is killed: all that a host
// consists of, mounts and network included, belongs to namespaces that end with
// their processes.
//
// A test that asks for a host is skipped, with the reason, where there can be
// none: without root, in containers that allow no namespaces or no overlayfs,
// and without sshd or iproute2. With ERLTEST_REQUIRED=1 in the environment
// missing programs fail it.
package sshtest
