package httpd

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	toolkit "github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/time/rate"
)

// fileConfig is what a web configuration file says.
type fileConfig struct {
	tls     *tls.Config // nil without TLS
	http2   bool
	headers map[string]string
	limiter *rate.Limiter // nil without a limit
	users   map[string][]byte
}

// loadFile reads a web configuration file; none, when path is empty, is an
// empty one.
func loadFile(path string) (*fileConfig, error) {
	if path == "" {
		return &fileConfig{}, nil
	}
	// The toolkit's own checks first: they cover what is not repeated below.
	// They do not say which file they are about.
	if err := toolkit.Validate(path); err != nil {
		return nil, fmt.Errorf("web configuration file %q: %w", path, err)
	}
	raw, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("web configuration file %q: %w", path, err)
	}
	c := &fileConfig{http2: raw.HTTPConfig.HTTP2, headers: raw.HTTPConfig.Header, users: map[string][]byte{}}
	for name, hash := range raw.Users {
		if _, err := bcrypt.Cost([]byte(hash)); err != nil || name == "" {
			return nil, fmt.Errorf("web configuration file %q: basic_auth_users: user %q needs a name and a bcrypt hash", path, name)
		}
		c.users[name] = []byte(hash)
	}
	if limit := raw.RateLimiterConfig; limit.Interval != 0 {
		c.limiter = rate.NewLimiter(rate.Every(limit.Interval), limit.Burst)
	}
	if raw.TLSConfig.IsEnabled() {
		if c.tls, err = toolkit.ConfigToTLSConfig(&raw.TLSConfig); err != nil {
			return nil, fmt.Errorf("web configuration file %q: %w", path, err)
		}
		c.tls.NextProtos = []string{"http/1.1"}
		if c.http2 {
			c.tls.NextProtos = []string{"h2", "http/1.1"}
		}
	}
	return c, nil
}

// readFile decodes a file into the toolkit's type, with the toolkit's
// defaults; the function that does this there is not exported.
func readFile(path string) (*toolkit.Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := &toolkit.Config{
		TLSConfig:  toolkit.TLSConfig{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13},
		HTTPConfig: toolkit.HTTPConfig{HTTP2: true},
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	c.TLSConfig.SetDirectory(filepath.Dir(path))
	return c, nil
}

// authenticates says whether nobody gets past TLS without a certificate.
func (c *fileConfig) authenticates() bool {
	return c.tls != nil && c.tls.ClientAuth == tls.RequireAndVerifyClientCert
}
