package config

import (
	"fmt"
	"strings"

	"github.com/erlops/erlops/exporter/discovery"
	"github.com/erlops/erlops/internal/strictyaml"
)

// NamedCookie is a cookie for nodes of any group: those whose target refers to
// it by name, and those whose name matches one of its patterns. Exactly one of
// Cookie and CookieFile is set.
type NamedCookie struct {
	// Name is unique among the cookies.
	Name       string `yaml:"name"`
	Cookie     Secret `yaml:"cookie,omitempty"`
	CookieFile string `yaml:"cookie_file,omitempty"`
	// Nodes are patterns of full node names.
	Nodes []discovery.Pattern `yaml:"nodes,omitempty"`

	// Value is Cookie or what CookieFile holds.
	Value Secret `yaml:"-"`

	matches func(node string) bool
}

// cookies returns what gives the nodes of a group their cookies, of which own
// is the group's, or "".
func (c *Config) cookies(own Secret) func(node, ref string) (Secret, error) {
	return func(node, ref string) (Secret, error) { return c.cookieOf(own, node, ref) }
}

// NodeCookie gives the cookie of a node that belongs to no group.
func (c *Config) NodeCookie(node, ref string) (Secret, error) { return c.cookieOf("", node, ref) }

// cookieOf gives a node the first of: the cookie that its target refers to, that
// of its group, the first that has a pattern for it, that of the whole file.
// What is said of just this node comes before what is said of many.
func (c *Config) cookieOf(own Secret, node, ref string) (Secret, error) {
	if ref != "" {
		return c.cookieNamed(ref)
	}
	if own != "" {
		return own, nil
	}
	for i := range c.Cookies {
		if c.Cookies[i].matches(node) {
			return c.Cookies[i].Value, nil
		}
	}
	if c.DefaultCookie != "" {
		return c.DefaultCookie, nil
	}
	return "", fmt.Errorf("no cookie is configured for %q: its group has none, there is none at the top of the file, and no pattern of cookies matches", node)
}

func (c *Config) cookieNamed(ref string) (Secret, error) {
	names := make([]string, len(c.Cookies))
	for i := range c.Cookies {
		if names[i] = c.Cookies[i].Name; names[i] == ref {
			return c.Cookies[i].Value, nil
		}
	}
	if len(names) == 0 {
		return "", fmt.Errorf("%s is %q, but no cookies are configured", discovery.CookieRefLabel, ref)
	}
	return "", fmt.Errorf("%s is %q, which is not one of %s", discovery.CookieRefLabel, ref, strings.Join(names, ", "))
}

// allCookies checks and reads all cookies but those of groups.
func (v *validator) allCookies(c *Config) {
	before := len(v.problems)
	c.DefaultCookie = v.cookie("", c.Cookie, &c.CookieFile)
	names := map[string]int{}
	for i := range c.Cookies {
		v.namedCookie(&c.Cookies[i], i, names)
	}
	v.unsureCookies = len(v.problems) > before
	for _, key := range []string{"cookie", "cookie_file", "cookies"} {
		v.unsureCookies = v.unsureCookies || v.doc.BadBelow(key)
	}
}

func (v *validator) namedCookie(n *NamedCookie, i int, names map[string]int) {
	path := strictyaml.Index("cookies", i)
	if first, ok := names[n.Name]; n.Name == "" {
		v.missing(path, []string{"name"}, "name must be configured")
	} else if ok {
		v.add(strictyaml.Join(path, "name"), "the name %q is taken by cookies[%d]", n.Name, first)
	} else {
		names[n.Name] = i
	}
	keys := []string{"cookie", "cookie_file"}
	if n.Cookie == "" && n.CookieFile == "" && !v.doc.Has(path+".cookie") && !v.doc.Has(path+".cookie_file") {
		v.missing(path, keys, "one of cookie & cookie_file must be configured")
	}
	n.Value = v.cookie(path, n.Cookie, &n.CookieFile)
	var err error
	if n.matches, err = discovery.MatchAny(n.Nodes); err != nil {
		// Decoding has refused it already, and said where.
		n.matches = func(string) bool { return false }
	}
}

// anyCookie reports whether the file has any cookie beside those of groups,
// usable or not.
func (v *validator) anyCookie(c *Config) bool {
	return c.Cookie != "" || c.CookieFile != "" || len(c.Cookies) > 0 ||
		v.doc.Has("cookie") || v.doc.Has("cookie_file") || v.doc.Bad("cookies")
}
