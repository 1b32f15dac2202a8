// Package api is the REST interface of the deployer, in two forms over one
// [Backend]. The one of today is under /api/v1: openapi.yaml says what it is,
// and the generated code (api.gen.go, and package client) follows from it; the
// shapes of its answers are those of package fleet. The other, under /api/orch
// and /api/topo, answers the requests that users of WombatOAM know, as the
// transcripts in testdata/listings show.
//
// The package neither listens nor authenticates: [Server.Routes] is for
// somebody's mux, and who asks is a [rest.Identity] in the context.
package api
