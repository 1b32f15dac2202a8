// Package cloud is what the providers of clouds have in common: settings that
// are checked, the host key of a new machine, user data, and readings of what
// there is that many callers share.
package cloud
