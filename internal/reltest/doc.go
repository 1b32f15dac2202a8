// Package reltest builds a real Erlang release for tests of the deployer: an
// archive with its own Erlang runtime system and a small key-value store, kv,
// that makes clusters. It is built by the machine's own Erlang, at test time.
//
// Its commands, all in bin/ and relative to nothing but their own place:
//
//	start    starts the node in the background and returns
//	stop     stops it and returns when it has; it may be stopped already
//	ping     succeeds when kv answers
//	join N   makes the node a member of N's cluster
//	leave    takes it out of its cluster, its data stays with the others
//	members  prints the cluster's nodes, one on each line, sorted
//	put K V  writes everywhere in the cluster; get K prints
//
// etc/vm.args is a template. The node finds its cookie in its HOME.
package reltest
