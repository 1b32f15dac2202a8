// Package live shows metrics of nodes as they change, to any number of watchers.
// A node that somebody watches is read at the shortest of their intervals, only
// for the collectors that they need, and once for all of them; when nobody
// watches, nothing is read.
package live
