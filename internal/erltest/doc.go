// Package erltest starts real Erlang nodes for tests: plain OTP nodes of
// several releases, RabbitMQ and ejabberd, each with an epmd of its own on a
// free port, so that tests run in parallel and beside whatever else the machine
// runs.
//
// Nothing outlives a test. A node is told what to do over a pair of pipes, and
// halts when they close, so it ends even when the test process is killed;
// helpers without such a pipe (epmd, servers) run under a small shell guard
// that does the same. Clean-up ends whole process groups and then everything
// that carries the node's mark in its environment, which is how a node that
// heart restarted is found.
//
// A test that needs Erlang is skipped, with the reason, where there is none;
// with ERLTEST_REQUIRED=1 in the environment it fails instead.
package erltest
