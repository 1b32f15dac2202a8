// Package history answers questions about the past from the Prometheus that
// scrapes the exporter: it fills in the labels of nodes and passes the rest on.
package history
