// Package alerting has tests of alarms over their whole way: from a real node
// through the exporter, as users run it, to real Alertmanagers and what they
// notify.
package alerting
