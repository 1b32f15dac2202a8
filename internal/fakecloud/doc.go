// Package fakecloud is what the fake clouds of tests have in common: the hosts
// that are their machines, with a real sshd where that is wanted, and the faults
// that their APIs have. The fakes themselves are HTTP servers that the real SDKs
// talk to.
package fakecloud
