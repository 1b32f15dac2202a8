// Package api is the REST interface of the exporter: openapi.yaml says what
// it is, the generated code (api.gen.go, and package client) follows from it,
// and the rest answers from one [Backend].
//
// The document is not only for readers. Requests are checked against it, the
// role that an operation needs is its x-role, and what the document does not
// describe is refused.
//
// The package neither listens nor authenticates: [Server.Routes] is for
// somebody's mux, and who asks is an [Identity] in the context.
package api
