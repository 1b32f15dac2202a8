// Package fakeopenstack is an OpenStack for tests: the identity, compute, image
// and network services as one HTTP server that gophercloud talks to. It is right
// in what a deployer must get right: identity of version 2, 3 or both, tokens
// that end; servers that are made and deleted asynchronously, that fail with a
// fault, and that have no token to make a create repeatable; duplicate key pairs
// and groups in use as conflicts; floating addresses that survive their servers;
// quotas in the services' own words; console output.
package fakeopenstack
