package discovery

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

// Problem is one thing that is wrong with a group.
type Problem struct {
	// Group is the index of the group in the list that was checked.
	Group int
	// Path leads to the place in the group's YAML, as in
	// "static_configs[0].targets[1]".
	Path string
	// Message says what is wrong there.
	Message string
}

// checker collects the problems of a list of groups.
type checker struct {
	problems []Problem
	group    int
	// seen has where each statically listed node was first met.
	seen map[string]string
}

// Check returns everything that is wrong with the groups: names that are empty
// or used twice, templates, relabelling rules and mechanisms that cannot work,
// statically listed nodes that have impossible names or are listed twice. It
// reads the files that HTTP clients need; it does not use the network.
func Check(groups []Group) []Problem {
	c := &checker{seen: map[string]string{}}
	names := map[string]int{}
	for i, g := range groups {
		c.group = i
		if first, ok := names[g.Name]; ok {
			c.add("name", "the name %q is taken by targets[%d]", g.Name, first)
		} else if g.Name == "" {
			c.add("name", "must not be empty")
		} else {
			names[g.Name] = i
		}
		c.check(g)
	}
	return c.problems
}

func (c *checker) add(path, format string, args ...any) {
	c.problems = append(c.problems, Problem{c.group, path, fmt.Sprintf(format, args...)})
}

func (c *checker) check(g Group) {
	before := len(c.problems)
	for _, t := range []struct {
		path string
		template
	}{{"node", template(g.Node)}, {"address", template(g.Address)}} {
		if err := t.check(); err != nil {
			c.add(t.path, "%v", err)
		}
	}
	if g.EPMD != "" {
		if _, err := EPMDAddress(g.EPMD, ""); err != nil {
			c.add("epmd", "%v", err)
		}
	}
	for i, r := range g.Relabel {
		rule := *r
		if err := rule.Validate(model.LegacyValidation); err != nil {
			c.add(fmt.Sprintf("relabel_configs[%d]", i), "%v", err)
		}
	}
	c.checkMechanisms(g.SD)
	// Static targets go through templates and rules; with those broken, each
	// of the targets would only repeat what is already said.
	if len(c.problems) == before {
		c.checkStatic(g)
	}
}

func (c *checker) checkMechanisms(sd SDConfigs) {
	interval := func(path string, d model.Duration) {
		if time.Duration(d) <= 0 {
			c.add(path+".refresh_interval", "must be more than 0")
		}
	}
	for i, f := range sd.File {
		interval(fmt.Sprintf("file_sd_configs[%d]", i), f.RefreshInterval)
	}
	for i, d := range sd.DNS {
		interval(fmt.Sprintf("dns_sd_configs[%d]", i), d.RefreshInterval)
	}
	for i, h := range sd.HTTP {
		path := fmt.Sprintf("http_sd_configs[%d]", i)
		interval(path, h.RefreshInterval)
		c.checkHTTP(path, h)
	}
	for i, e := range sd.EPMD {
		path := fmt.Sprintf("epmd_sd_configs[%d]", i)
		interval(path, e.RefreshInterval)
		for k, host := range e.Hosts {
			if err := checkEPMDHost(host); err != nil {
				c.add(fmt.Sprintf("%s.hosts[%d]", path, k), "%v", err)
			}
		}
	}
}

func (c *checker) checkHTTP(path string, h *HTTPConfig) {
	if u, err := url.Parse(h.URL); err == nil && u.User != nil {
		c.add(path+".url", "must not contain a user or a password: use basic_auth")
	}
	client := h.HTTPClientConfig
	before := len(c.problems)
	for _, f := range secretFiles(client) {
		if err := checkReadable(f.name); err != nil {
			c.add(path+"."+f.path, "%v", err)
		}
	}
	if len(c.problems) > before {
		return
	}
	if _, err := config.NewClientFromConfig(client, "http"); err != nil {
		c.add(path, "%v", err)
	}
}

type namedFile struct{ path, name string }

// secretFiles lists the files of an HTTP client that are read when a request is
// made or a client is built.
func secretFiles(h config.HTTPClientConfig) []namedFile {
	files := []namedFile{
		{"bearer_token_file", h.BearerTokenFile},
		{"tls_config.ca_file", h.TLSConfig.CAFile},
		{"tls_config.cert_file", h.TLSConfig.CertFile},
		{"tls_config.key_file", h.TLSConfig.KeyFile},
	}
	if h.BasicAuth != nil {
		files = append(files,
			namedFile{"basic_auth.username_file", h.BasicAuth.UsernameFile},
			namedFile{"basic_auth.password_file", h.BasicAuth.PasswordFile})
	}
	if h.Authorization != nil {
		files = append(files, namedFile{"authorization.credentials_file", h.Authorization.CredentialsFile})
	}
	if h.OAuth2 != nil {
		files = append(files,
			namedFile{"oauth2.client_secret_file", h.OAuth2.ClientSecretFile},
			namedFile{"oauth2.client_certificate_key_file", h.OAuth2.ClientCertificateKeyFile},
			namedFile{"oauth2.tls_config.ca_file", h.OAuth2.TLSConfig.CAFile},
			namedFile{"oauth2.tls_config.cert_file", h.OAuth2.TLSConfig.CertFile},
			namedFile{"oauth2.tls_config.key_file", h.OAuth2.TLSConfig.KeyFile})
	}
	if h.HTTPHeaders != nil {
		for _, name := range slices.Sorted(maps.Keys(h.HTTPHeaders.Headers)) {
			for i, f := range h.HTTPHeaders.Headers[name].Files {
				files = append(files, namedFile{fmt.Sprintf("http_headers.%s.files[%d]", name, i), f})
			}
		}
	}
	return files
}

// checkReadable opens a file to see whether it can be; an empty name is fine.
// Devices and pipes are refused, for reading them could block for ever.
func checkReadable(name string) error {
	if name == "" {
		return nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return openError(err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("open %s: not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return f.Close()
}

// openError words a failed stat as the failed open that it stands for.
func openError(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return &fs.PathError{Op: "open", Path: p.Path, Err: p.Err}
	}
	return err
}

func (c *checker) checkStatic(g Group) {
	r := newResolver(g)
	for i, list := range g.SD.Static {
		for k, set := range list.Targets {
			path := fmt.Sprintf("static_configs[%d].targets[%d]", i, k)
			t, keep, err := r.resolve(set, list.Labels, "static")
			if err != nil {
				c.add(path, "%v", err)
				continue
			}
			if !keep {
				continue
			}
			if first, ok := c.seen[t.Node]; ok {
				c.add(path, "duplicate target %q: already in %s", t.Node, first)
				continue
			}
			c.seen[t.Node] = fmt.Sprintf("targets[%d].%s", c.group, path)
		}
	}
}
