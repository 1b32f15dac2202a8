// Package logs has what happens on nodes in words: their log entries, alarms
// raised and cleared, nodes up and down, code loaded and purged. A Log keeps the
// last of them in memory, lets any number of readers follow, and hands each to
// the sinks.
package logs
