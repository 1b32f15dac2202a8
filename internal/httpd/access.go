package httpd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// access holds the policy in force and renews it when the configuration is
// loaded anew or the web configuration file has changed. A configuration that
// is wrong changes nothing.
type access struct {
	path    string
	exposed string // an address that others can reach, if there is one
	logger  *slog.Logger

	mu      sync.Mutex // for renewing
	auth    Auth
	stamp   atomic.Pointer[fileStamp]
	current atomic.Pointer[policy]
}

// fileStamp tells a file from what it was before. ModTime and size miss a
// change within one tick of the file system's clock that keeps the size.
type fileStamp struct {
	modified time.Time
	size     int64
}

func newAccess(path, exposed string, auth Auth, logger *slog.Logger) (*access, error) {
	a := &access{path: path, exposed: exposed, logger: logger}
	if err := a.apply(auth); err != nil {
		return nil, err
	}
	return a, nil
}

// apply puts a configuration in force, together with the web configuration
// file as it is now.
func (a *access) apply(auth Auth) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stamp.Store(a.stat()) // before reading: a change meanwhile is seen next time
	return a.renew(auth)
}

// policy returns what is in force.
func (a *access) policy() *policy {
	if a.path != "" {
		if now := a.stat(); *now != *a.stamp.Load() {
			a.refresh(now)
		}
	}
	return a.current.Load()
}

// refresh reads the web configuration file again after it has changed. One
// that is wrong is logged once, and what was in force stays.
func (a *access) refresh(now *fileStamp) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if *now == *a.stamp.Load() { // somebody else was faster
		return
	}
	a.stamp.Store(now)
	if err := a.renew(a.auth); err != nil {
		a.logger.Error("web configuration file has changed and is wrong; keeping the old one", "file", a.path, "err", err)
		return
	}
	a.logger.Info("web configuration file has changed and is in force", "file", a.path)
}

// renew is called with the lock held.
func (a *access) renew(auth Auth) error {
	file, err := loadFile(a.path)
	if err != nil {
		return err
	}
	old := a.current.Load()
	passwords := newPasswords()
	if old != nil {
		passwords = old.passwords
		if (old.file.tls == nil) != (file.tls == nil) {
			return fmt.Errorf("web configuration file %q: TLS cannot be switched on or off without a restart", a.path)
		}
	}
	p, err := newPolicy(auth, file, passwords)
	if err != nil {
		return err
	}
	if a.exposed != "" && !p.configured && !file.authenticates() && auth.UnauthenticatedRole == "" {
		return fmt.Errorf("listening on %q without authentication would let everybody in: "+
			"configure auth.tokens, or basic_auth_users in the web configuration file; "+
			"or listen on a loopback address; or say with auth.unauthenticated_role what everybody may do",
			a.exposed)
	}
	a.auth = auth
	a.current.Store(p)
	return nil
}

// stat returns the stamp of the file, an empty one if it is not there.
func (a *access) stat() *fileStamp {
	info, err := os.Stat(a.path)
	if err != nil {
		return &fileStamp{}
	}
	return &fileStamp{info.ModTime(), info.Size()}
}

// tlsConfig follows the file: each new connection gets what it says then. It
// is nil without TLS.
func (a *access) tlsConfig() *tls.Config {
	initial := a.current.Load().file.tls
	if initial == nil {
		return nil
	}
	config := initial.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		current := a.policy().file.tls
		if current == nil {
			return nil, errors.New("no TLS configuration")
		}
		return current, nil
	}
	return config
}
