// Package rest is what the REST APIs of our programs have in common: roles and
// identities, problem answers (RFC 9457), requests that are held against an
// OpenAPI document, and streams of server-sent events. It neither listens nor
// authenticates: that is package httpd.
package rest
