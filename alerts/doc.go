// Package alerts holds the rules of Prometheus to their own: the files beside it are
// what users load, and its tests are what `make test` and `make e2e` run over them.
package alerts
