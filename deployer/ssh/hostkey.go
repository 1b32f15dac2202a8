package ssh

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"

	"github.com/erlops/erlops/deployer/fleet"
)

// trust decides whether a host is the one it should be.
type trust struct {
	check ssh.HostKeyCallback
	// algorithms make the host show a key of a type that is known of it; nil
	// for any.
	algorithms []string
}

// untrustedError is why a host's key is not accepted.
type untrustedError struct{ reason string }

func (e *untrustedError) Error() string { return fleet.ErrHostKey.Error() + ": " + e.reason }

func (*untrustedError) Unwrap() error { return fleet.ErrHostKey }

// trust says what the host of a hop must show.
func (d *Dialer) trust(h hop) (trust, error) {
	if len(h.pinned) > 0 {
		return trust{check: checkPinned(h.pinned), algorithms: algorithms(h.pinned)}, nil
	}
	files, err := existing(append(slices.Clone(h.knownHosts), d.options.AcceptedHosts))
	if err != nil {
		return trust{}, err
	}
	db, err := knownhosts.NewDB(files...)
	if err != nil {
		return trust{}, fmt.Errorf("read known hosts: %w", err)
	}
	return trust{check: d.checkKnown(db.HostKeyCallback()), algorithms: db.HostKeyAlgorithms(h.hostKeyName())}, nil
}

// checkPinned accepts the keys that are pinned and no others.
func checkPinned(pinned []ssh.PublicKey) ssh.HostKeyCallback {
	return func(_ string, _ net.Addr, key ssh.PublicKey) error {
		for _, p := range pinned {
			if ssh.FixedHostKey(p)("", nil, key) == nil {
				return nil
			}
		}
		return &untrustedError{fmt.Sprintf("the host shows %s, which is not the key that is pinned (%s); "+
			"either this is another host, or its key was changed and the pinned one has to be, too", show(key), show(pinned[0]))}
	}
}

// checkKnown accepts what known_hosts files have, and what is new if that is
// wanted.
func (d *Dialer) checkKnown(known ssh.HostKeyCallback) ssh.HostKeyCallback {
	return func(name string, remote net.Addr, key ssh.PublicKey) error {
		err := known(name, remote, key)
		switch {
		case err == nil:
			return nil
		case knownhosts.IsHostKeyChanged(err):
			return &untrustedError{fmt.Sprintf("the host shows %s, which is not the key that known_hosts has of %q; "+
				"either this is another host, or its key was changed and the line has to be, too", show(key), name)}
		case !knownhosts.IsHostUnknown(err):
			return &untrustedError{err.Error()} // revoked, or a certificate that is not valid
		case d.options.InsecureAcceptNew:
			return d.accept(name, key)
		default:
			return &untrustedError{fmt.Sprintf("no key of %q is known; if %s is its key, pin it, or add to known_hosts: %s",
				name, show(key), knownhosts.Line([]string{name}, key))}
		}
	}
}

// accept writes down a key that was seen first.
func (d *Dialer) accept(name string, key ssh.PublicKey) error {
	d.accepting.Lock()
	defer d.accepting.Unlock()
	path := d.options.AcceptedHosts
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write down an accepted host key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("write down an accepted host key: %w", err)
	}
	_, err = fmt.Fprintln(f, knownhosts.Line([]string{name}, key))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write down an accepted host key: %w", err)
	}
	d.options.Logger.Warn("accepted a host key that was not known", "host", name, "key", show(key))
	return nil
}

// show names a key as ssh-keygen -l does.
func show(key ssh.PublicKey) string { return key.Type() + " " + ssh.FingerprintSHA256(key) }

// algorithms are those of keys: an RSA key signs with several.
func algorithms(keys []ssh.PublicKey) []string {
	var names []string
	for _, k := range keys {
		switch k.Type() {
		case ssh.KeyAlgoRSA:
			names = append(names, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		default:
			names = append(names, k.Type())
		}
	}
	return names
}

// parseHostKeys reads lines as in authorized_keys; empty ones are passed over.
func parseHostKeys(lines []string) ([]ssh.PublicKey, error) {
	var keys []ssh.PublicKey
	for _, line := range lines {
		key, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil || len(rest) > 0 {
			return nil, fmt.Errorf("%q is no host key; write it as in authorized_keys, such as \"ssh-ed25519 AAAA…\"", line)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// existing leaves out the files that do not exist.
func existing(files []string) ([]string, error) {
	var there []string
	for _, f := range files {
		if f == "" || slices.Contains(there, f) {
			continue
		}
		if _, err := os.Stat(f); err == nil {
			there = append(there, f)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read %s: %w", f, err)
		}
	}
	return there, nil
}
