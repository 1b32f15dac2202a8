// Package appmetrics makes Prometheus metrics of what applications of a node
// measure: of the entries of Folsom and Exometer, and of the families that
// prometheus.erl, Telemetry and collectors of the configuration tell.
//
// Names of entries are any Erlang terms, their types say little, and their units
// nothing. A name becomes the printed term with everything that a metric may not
// have in its name replaced, after the name of the library: [http, requests] of
// Folsom is folsom_http_requests. Where that loses something, the label name has
// the printed term. Units, and which entries only grow, come from Rules alone.
package appmetrics
