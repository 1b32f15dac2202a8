// Package exportertest runs the real erl-exporter for tests and measurements:
// the program that users run, built from the sources beside it, on a free port
// of the loopback address. It ends with the test, and when the test process
// dies.
package exportertest
