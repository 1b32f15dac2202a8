// Package fakeec2 is an EC2 for tests: an HTTP server that the AWS SDK talks to,
// signatures checked. It is right in what a deployer must get right: client
// tokens, with a mismatch of parameters and with machines that are gone; what
// was made shows only after a while; machines that take their time to start and
// to end, and stay visible when they have; groups that are in use; keys of the
// same name; console output that comes late; volumes that outlive machines;
// quotas, capacity and throttling. Stock moto is not.
package fakeec2
