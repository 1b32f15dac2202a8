// Package faults has tests only: it breaks what is between the exporter and a
// node, or either of them, in every way that is known from practice, and looks
// at what a user reads meanwhile, how long it takes until the node is up again,
// and what is left behind on the node and in the exporter. The exporter is the
// real program, the node a real Erlang, the network a proxy that can be told to
// misbehave.
//
// With the build tag e2e each fault is met once, with short timeouts; with
// e2e_full besides it the exporter and the nodes have the timeouts that they
// have by default. docs/faults.md is the outcome of the latter.
package faults
