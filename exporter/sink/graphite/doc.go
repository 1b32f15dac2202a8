// Package graphite pushes readings of nodes to Carbon, the receiver of Graphite:
// in its plaintext or its pickle protocol, with tags or with dotted paths.
//
// Neither protocol has an answer, so TCP has to tell what has arrived. A Pusher
// sends some batches over one connection, closes its side and waits until Carbon
// closes the other: a receiver that has read everything ends a connection with
// FIN, one that has gone with bytes unread resets it. Then the connection for the
// next batches is made, and watched, for its end says that Carbon was restarted.
// What was sent shortly before any such failure is sent once more: a point that
// Graphite has already is written over by itself.
package graphite
