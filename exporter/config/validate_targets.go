package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/erlops/erlops/exporter/discovery"
	"github.com/erlops/erlops/internal/strictyaml"
)

func (v *validator) targets(c *Config) {
	groups := make([]discovery.Group, len(c.Targets))
	for i := range c.Targets {
		t := &c.Targets[i]
		path := strictyaml.Index("targets", i)
		v.target(path, t)
		t.SetDirectory(v.dir)
		// The EPMD of the whole has been checked where it is.
		groups[i] = t.discovery("")
		groups[i].CheckCookie = v.cookieCheck(path, c, t)
	}
	for _, p := range discovery.Check(groups) {
		path := strictyaml.Index("targets", p.Group)
		if strings.HasPrefix(p.Path, "static_configs") && v.unsure(path) {
			continue
		}
		if p.Path == "name" && c.Targets[p.Group].Name == "" {
			v.missing(path, []string{"name"}, "name must be configured")
			continue
		}
		v.add(path+"."+p.Path, "%s", p.Message)
	}
}

// cookieCheck returns what tells whether the nodes of t have a cookie, or nil
// when that cannot be told, or has been told of the whole group.
func (v *validator) cookieCheck(path string, c *Config, t *Target) func(node, ref string) error {
	own := t.Cookie != "" || t.CookieFile != ""
	if !own && !v.anyCookie(c) {
		v.missing(path, []string{"cookie", "cookie_file"}, "one of cookie & cookie_file must be configured, here or at the top of the file")
		return nil
	}
	if v.unsureCookies || own && t.OwnCookie == "" || v.doc.BadBelow(path+".cookie") || v.doc.BadBelow(path+".cookie_file") {
		return nil
	}
	cookie := c.cookies(t.OwnCookie)
	return func(node, ref string) error {
		_, err := cookie(node, ref)
		return err
	}
}

// unsure reports whether what static targets would become cannot be told,
// because of a problem in what makes nodes of them.
func (v *validator) unsure(path string) bool {
	for _, key := range []string{"node", "address", "epmd", "relabel_configs"} {
		if v.doc.BadBelow(strictyaml.Join(path, key)) {
			return true
		}
	}
	return false
}

func (v *validator) target(path string, t *Target) {
	at := func(key string) string { return strictyaml.Join(path, key) }
	t.OwnCookie = v.cookie(path, t.Cookie, &t.CookieFile)
	v.texts(at("applications"), t.Applications)
	v.collectors(at("metrics")+".collectors", t.Metrics.Collectors)
	v.agent(at("agent"), t.Agent)
	v.connected(at("connected_nodes"), t.Connected)
	for i, s := range t.Static {
		var names []string
		for name := range s.Labels {
			// Relabelling works with internal names; they do not reach a page.
			if !strings.HasPrefix(string(name), model.ReservedLabelPrefix) {
				names = append(names, string(name))
			}
		}
		slices.Sort(names)
		v.labels(fmt.Sprintf("%s.static_configs[%d].labels", path, i), names)
	}
	if t.TLS != nil && !v.doc.BadBelow(at("tls_config")) {
		t.TLS.SetDirectory(v.dir)
		v.tls(at("tls_config"), t)
	}
}

func (v *validator) tls(path string, t *Target) {
	before := len(v.problems)
	for _, f := range []struct{ key, name string }{
		{"ca_file", t.TLS.CAFile}, {"cert_file", t.TLS.CertFile}, {"key_file", t.TLS.KeyFile},
	} {
		if f.name == "" {
			continue
		}
		if _, err := readSmall(f.name); err != nil {
			v.add(strictyaml.Join(path, f.key), "%v", err)
		}
	}
	if len(v.problems) > before {
		return
	}
	if err := t.loadTLS(); err != nil {
		v.add(path, "%v", err)
	}
}
