// Package alarm has the alarms of all nodes: which are active, how severe they
// are, who has acknowledged them and what was said about them.
//
// An alarm comes from a rule on what a node's pulse tells (source builtin),
// from the node's alarm_handler (sasl) or from Elarm on the node (elarm). It has
// one identity, made of its node, source, name and key, however often it is
// reported. Its life:
//
//	         report              acknowledge
//	(none) ---------->  new  ------------------->  acknowledged
//	                     |  <-------------------       |
//	                     |   unacknowledge, or         |
//	                     |   a rise in severity        |
//	                     +------------+----------------+
//	                                  | clear
//	                                  v
//	                           cleared (history)
//
// The [Manager] keeps that; an [Evaluator] turns pulses into reports by the
// rules of [Rules], with thresholds that [Settings] change. Neither asks a node
// for anything nor knows how it is reached. The package stores nothing itself:
// what has to survive a restart goes through the interface [Store].
//
// Severities are those of Elarm (and of X.733): critical, major, minor, warning.
package alarm
