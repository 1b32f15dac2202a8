// Package api is the REST API of the deployer, over one [Backend].
package api
