package discovery

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/relabel"
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
// statically listed nodes that have impossible names, no cookie or are listed
// twice. It reads the files that HTTP clients need; it does not use the network.
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
		c.checkCookieRule(i, g)
	}
	c.checkMechanisms(g.SD)
	// Static targets go through templates and rules; with those broken, each
	// of the targets would only repeat what is already said.
	if len(c.problems) == before {
		c.checkStatic(g)
	}
}

// checkCookieRule reports a rule that refers to a cookie that there is not. A
// reference that is put together from labels is known only with the target.
func (c *checker) checkCookieRule(i int, g Group) {
	rule := g.Relabel[i]
	if g.CheckCookie == nil || rule.Action != relabel.Replace || rule.TargetLabel != CookieRefLabel ||
		rule.Replacement == "" || strings.Contains(rule.Replacement, "$") {
		return
	}
	if err := g.CheckCookie("", rule.Replacement); err != nil {
		c.add(fmt.Sprintf("relabel_configs[%d].replacement", i), "%v", err)
	}
}

func (c *checker) checkMechanisms(sd SDConfigs) {
	for i, f := range sd.File {
		c.checkInterval(fmt.Sprintf("file_sd_configs[%d]", i), f.RefreshInterval)
	}
	for i, d := range sd.DNS {
		c.checkInterval(fmt.Sprintf("dns_sd_configs[%d]", i), d.RefreshInterval)
	}
	for i, h := range sd.HTTP {
		path := fmt.Sprintf("http_sd_configs[%d]", i)
		c.checkInterval(path, h.RefreshInterval)
		c.checkURL(path+".url", h.URL, "basic_auth")
		c.checkClient(path, h.HTTPClientConfig)
	}
	for i, s := range sd.Consul {
		path := fmt.Sprintf("consul_sd_configs[%d]", i)
		c.checkInterval(path, s.RefreshInterval)
		// Consul's server is host:port, which a parser would take for a scheme.
		c.checkURL(path+".server", "consul://"+s.Server, "username and password")
		c.checkClient(path, s.HTTPClientConfig)
	}
	for i, e := range sd.EPMD {
		path := fmt.Sprintf("epmd_sd_configs[%d]", i)
		c.checkInterval(path, e.RefreshInterval)
		for k, host := range e.Hosts {
			if err := checkEPMDHost(host); err != nil {
				c.add(fmt.Sprintf("%s.hosts[%d]", path, k), "%v", err)
			}
		}
	}
	sd.CloudConfigs.check(c)
}

func (c *checker) checkInterval(path string, d model.Duration) {
	if time.Duration(d) <= 0 {
		c.add(path+".refresh_interval", "must be more than 0")
	}
}

// checkURL reports a password in a URL, where everybody would see it; instead
// names the keys that are for it.
func (c *checker) checkURL(path, text, instead string) {
	if u, err := url.Parse(text); err == nil && u.User != nil {
		c.add(path, "must not contain a user or a password: use %s", instead)
	}
}

// checkClient reports what an HTTP client lacks.
func (c *checker) checkClient(path string, client config.HTTPClientConfig) {
	if !c.checkFiles(path, secretFiles(client)) {
		return
	}
	if _, err := config.NewClientFromConfig(client, "check"); err != nil {
		c.add(path, "%v", err)
	}
}

// checkFiles reports those of the files that cannot be read, and returns false
// when there are any.
func (c *checker) checkFiles(path string, files []namedFile) bool {
	before := len(c.problems)
	for _, f := range files {
		if err := checkReadable(f.name); err != nil {
			c.add(path+"."+f.path, "%v", err)
		}
	}
	return len(c.problems) == before
}

type namedFile struct{ path, name string }

// secretFiles lists the files of an HTTP client that are read when a request is
// made or a client is built.
func secretFiles(h config.HTTPClientConfig) []namedFile {
	files := append([]namedFile{{"bearer_token_file", h.BearerTokenFile}}, tlsFiles("tls_config", h.TLSConfig)...)
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
			namedFile{"oauth2.client_certificate_key_file", h.OAuth2.ClientCertificateKeyFile})
		files = append(files, tlsFiles("oauth2.tls_config", h.OAuth2.TLSConfig)...)
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

func tlsFiles(path string, t config.TLSConfig) []namedFile {
	return []namedFile{
		{path + ".ca_file", t.CAFile}, {path + ".cert_file", t.CertFile}, {path + ".key_file", t.KeyFile},
	}
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
			if g.CheckCookie != nil {
				if err := g.CheckCookie(t.Node, t.CookieRef); err != nil {
					c.add(path, "%v", err)
				}
			}
			if first, ok := c.seen[t.Node]; ok {
				c.add(path, "duplicate target %q: already in %s", t.Node, first)
				continue
			}
			c.seen[t.Node] = fmt.Sprintf("targets[%d].%s", c.group, path)
		}
	}
}
