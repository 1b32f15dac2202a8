// Package fleet has the words of the deployer: providers, releases, node
// families and nodes, what is asked of them and what is told about them. It
// does no I/O and knows no other package of ours, so that every part of the
// deployer can speak it.
package fleet
