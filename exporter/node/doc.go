// Package node is the fleet: it turns targets (what discovery found and what
// was registered through the API) into sessions (attachments of the agent),
// and keeps trying for as long as a target is one.
//
// Each node has one goroutine, its actor, which alone attaches and detaches.
// Everything else, from a reload to a suspension, tells the actor what is
// wanted of now on; the actor ends what it does if that is no longer wanted.
//
// # States
//
//	state       what it means                             goes to
//	pending     known; not dialled yet as it is wanted    connecting, suspended
//	connecting  dialled for the first time                up, down, refused, pending, suspended
//	up          attached                                  down, pending, suspended
//	down        cannot be reached, tried again            up, refused, pending, suspended
//	refused     reached, and will not have us for a       up, down, pending, suspended
//	            reason that only a person can mend;
//	            tried again, slowly
//	suspended   nothing is asked of it until resumed      pending
//
// A node that is tried again stays down or refused meanwhile, so that the time
// of its state says since when something is wrong. New settings (a cookie, an
// address) put a node back to pending. A node that is no longer a target is
// detached and is in no state: it is not listed any more.
package node
