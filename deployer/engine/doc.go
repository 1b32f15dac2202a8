// Package engine turns what users want of their fleet into what is: it plans
// the steps of each node, writes each down before it is done, and goes on
// after a crash where it stopped.
package engine
