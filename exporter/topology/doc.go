// Package topology knows the fleet as a whole: which nodes are connected to
// which, as each of them sees it; which nodes are to be attached because others
// are connected to them; and in what the nodes of a family differ.
//
// It is fed by the pulse of each node, asks the node then for its view (nodes/1
// and its clock) and, once a minute, for its applications, and draws its
// conclusions from what all have said. Nothing waits for a node that does not
// answer: what it said last is used as long as it is fresh, and then left out.
package topology
