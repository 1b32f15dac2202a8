// Package httpd is the HTTP side of a program: listeners, TLS, who may do what,
// health and profiles. What it serves besides is handed to it as routes with
// the role that each needs.
//
// TLS, passwords, headers and the rate limit come from a web configuration
// file in the format of the Prometheus exporters (exporter-toolkit). The file
// is read and checked by code of that toolkit, but its own handler is not
// used: that answers 401 to whoever has no password, and so leaves no room
// for bearer tokens, for roles, or for health checks without either.
package httpd
