// Package ssh logs in to hosts, runs commands there and brings files to them.
//
// A host is only ever talked to when its key is known: pinned with its record,
// or in a known_hosts file. Trusting a key at first sight has to be configured,
// and is written down. Of ~/.ssh/config the package follows HostName, Port,
// User, IdentityFile, IdentitiesOnly, ProxyJump, HostKeyAlias and
// UserKnownHostsFile; it does not follow settings that weaken the check of host
// keys, and it refuses ProxyCommand rather than go another way.
//
// It is the only package that imports golang.org/x/crypto/ssh, pkg/sftp,
// skeema/knownhosts and kevinburke/ssh_config.
package ssh
