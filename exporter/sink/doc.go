// Package sink brings log entries to where they are kept: Loki, files, standard
// output, syslog. A receiver is a Sender, which does no more than deliver one
// batch; a Queue in front of it bounds what waits, makes batches, tries again
// and counts. Another kind of receiver is one more file with a Sender.
package sink
