package fakecloud

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/erlops/erlops/internal/sshtest"
)

// Spec says what a host is to be like.
type Spec struct {
	// User can log in, and Keys are let in, as in authorized_keys.
	User string
	Keys []string
	// UserData is what cloud-init on the host would be given.
	UserData string
}

// Host is a machine of a cloud from within.
type Host interface {
	// Address is where it is reached.
	Address() string
	// Console is what it has printed.
	Console() string
	// AddAddress lets it be reached by another address too.
	AddAddress(address string) error
	RemoveAddress(address string) error
	// End takes it away with all that is on it.
	End()
}

// Hosts makes hosts. Its methods may be called from many goroutines.
type Hosts interface {
	// Boot makes a host and returns when it lets users in.
	Boot(Spec) (Host, error)
	// Reserve returns an address that no host has, until it is released.
	Reserve() (address string, release func(), err error)
}

// console is what cloud-init prints when a host has booted.
func console(key string) string {
	return "[    1.234567] cloud-init[612]: Cloud-init finished\n" +
		"-----BEGIN SSH HOST KEY FINGERPRINTS-----\n256 SHA256:... root@host (ED25519)\n-----END SSH HOST KEY FINGERPRINTS-----\n" +
		"-----BEGIN SSH HOST KEY KEYS-----\n" + key + " root@host\n-----END SSH HOST KEY KEYS-----\nhost login: "
}

// SSH makes hosts with a real sshd. They end with the test at the latest.
type SSH struct {
	dir string
	n   atomic.Int64

	mu    sync.Mutex
	hosts map[string]*sshHost
}

// NewSSH skips the test where there can be no such hosts.
func NewSSH(t testing.TB) *SSH {
	t.Helper()
	sshtest.Require(t)
	s := &SSH{dir: t.TempDir(), hosts: map[string]*sshHost{}}
	t.Cleanup(func() {
		for _, h := range s.All() {
			h.End()
		}
	})
	return s
}

// All returns the hosts that there are.
func (s *SSH) All() []*sshtest.Host {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*sshtest.Host
	for _, h := range s.hosts {
		all = append(all, h.Host)
	}
	return all
}

// Host returns the host of an address, also of one that was added; nil when
// there is none.
func (s *SSH) Host(address string) *sshtest.Host {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hosts {
		if h.Host.Address == address || h.more[address] {
			return h.Host
		}
	}
	return nil
}

type sshHost struct {
	*sshtest.Host
	all  *SSH
	more map[string]bool
}

// Boot starts a host.
func (s *SSH) Boot(spec Spec) (Host, error) {
	dir := filepath.Join(s.dir, fmt.Sprint(s.n.Add(1)))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	h, err := sshtest.Launch(dir, sshtest.Options{User: spec.User, AuthorizedKeys: spec.Keys, PrivateHostKey: hostKey(spec.UserData)})
	if err != nil {
		return nil, err
	}
	made := &sshHost{Host: h, all: s, more: map[string]bool{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts[h.Address] = made
	return made, nil
}

// Reserve takes an address of the hosts' network.
func (s *SSH) Reserve() (string, func(), error) {
	dir := filepath.Join(s.dir, fmt.Sprint(s.n.Add(1)))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", nil, err
	}
	return sshtest.ReserveAddress(dir)
}

func (h *sshHost) Address() string { return h.Host.Address }
func (h *sshHost) Console() string { return console(h.HostKey) }

func (h *sshHost) AddAddress(address string) error {
	h.all.mu.Lock()
	h.more[address] = true
	h.all.mu.Unlock()
	return h.Host.AddAddress(address)
}

func (h *sshHost) RemoveAddress(address string) error {
	h.all.mu.Lock()
	delete(h.more, address)
	h.all.mu.Unlock()
	return h.Host.RemoveAddress(address)
}

func (h *sshHost) End() {
	h.all.mu.Lock()
	delete(h.all.hosts, h.Host.Address)
	h.all.mu.Unlock()
	h.Host.End()
}

// hostKey takes the private key out of user data that installs one, as
// cloud-init does; "" when it has none.
func hostKey(userData string) string {
	_, after, found := strings.Cut(userData, "ed25519_private: |\n")
	if !found {
		return ""
	}
	var key strings.Builder
	for line := range strings.Lines(after) {
		text, indented := strings.CutPrefix(line, "    ")
		if !indented {
			break
		}
		key.WriteString(text)
	}
	return key.String()
}

// Paper makes hosts that are only written down, for tests that never log in.
type Paper struct{ n atomic.Int64 }

type paperHost struct{ address string }

// Boot makes up an address.
func (p *Paper) Boot(Spec) (Host, error) { return paperHost{p.next()}, nil }

// Reserve makes up an address.
func (p *Paper) Reserve() (string, func(), error) { return p.next(), func() {}, nil }

func (p *Paper) next() string {
	n := p.n.Add(1)
	return fmt.Sprintf("198.18.%d.%d", n/250, 1+n%250)
}

func (h paperHost) Address() string { return h.address }

func (paperHost) Console() string {
	return console("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ4ccFfa5RvDJWTcvHOOvOrxIJyPVFTLNQyYMXuxzVtD")
}
func (paperHost) AddAddress(string) error    { return nil }
func (paperHost) RemoveAddress(string) error { return nil }
func (paperHost) End()                       {}
