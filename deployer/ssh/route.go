package ssh

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	sshconfig "github.com/kevinburke/ssh_config"
	"golang.org/x/crypto/ssh"

	"github.com/erlops/erlops/deployer/fleet"
)

const (
	defaultPort = 22
	// maxHops bounds routes, whatever ProxyJump lines refer to.
	maxHops = 8
)

// hop is one host of a route, with all that is known of it.
type hop struct {
	// name is what the user calls it; host is where it is.
	name, host string
	port       int
	user       string
	// keyFiles are the host's own; without any the configured ones count.
	keyFiles []string
	// onlyKeyFiles says that keys of the agent are not to be offered unless
	// they are those of keyFiles.
	onlyKeyFiles bool
	// pinned are the host's keys; without any knownHosts decide.
	pinned       []ssh.PublicKey
	knownHosts   []string
	hostKeyAlias string
}

func (h hop) address() string { return net.JoinHostPort(h.host, strconv.Itoa(h.port)) }

// hostKeyName is the name under which known_hosts has it.
func (h hop) hostKeyName() string {
	if h.hostKeyAlias != "" {
		return net.JoinHostPort(h.hostKeyAlias, strconv.Itoa(h.port))
	}
	return h.address()
}

// route lists the hosts to go through, the one to log in to last.
func (d *Dialer) route(l fleet.Login) ([]hop, error) {
	config, err := readConfig(d.options.ConfigFile)
	if err != nil {
		return nil, err
	}
	pinned, err := parseHostKeys(l.HostKeys)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", l.Host, err)
	}
	target := jump{host: l.Host, port: l.Port, user: l.User}
	r := router{config: config, options: d.options}
	if err := r.add(target, l.Jump, 0); err != nil {
		return nil, fmt.Errorf("host %s: %w", l.Host, err)
	}
	last := &r.hops[len(r.hops)-1]
	last.pinned = pinned
	if l.KeyFile != "" {
		last.keyFiles, last.onlyKeyFiles = []string{l.KeyFile}, true
	}
	return r.hops, nil
}

// router collects hops.
type router struct {
	config  config
	options Options
	hops    []hop
}

// add adds a host after those that lead to it: the given ones, or those of its
// ProxyJump line.
func (r *router) add(j jump, via []string, depth int) error {
	if depth > maxHops {
		return fmt.Errorf("more than %d jump hosts lead to it; does a ProxyJump line lead to itself?", maxHops)
	}
	if command := r.config.get(j.host, "ProxyCommand"); len(via) == 0 && command != "" && command != "none" {
		return fmt.Errorf("%s has a ProxyCommand for %q, which is not supported; use ProxyJump", r.options.ConfigFile, j.host)
	}
	if line := r.config.get(j.host, "ProxyJump"); len(via) == 0 && line != "" && line != "none" {
		via = strings.Split(line, ",")
	}
	for i, text := range via {
		next, err := parseJump(strings.TrimSpace(text))
		if err != nil {
			return err
		}
		if i > 0 { // is reached from the one before, whatever its own line says
			if err := r.append(next); err != nil {
				return err
			}
		} else if err := r.add(next, nil, depth+1); err != nil {
			return err
		}
	}
	return r.append(j)
}

func (r *router) append(j jump) error {
	if len(r.hops) == maxHops {
		return fmt.Errorf("more than %d jump hosts lead to it", maxHops-1)
	}
	h := hop{name: j.host, host: j.host, port: j.port, user: j.user, knownHosts: r.options.KnownHosts}
	if name := r.config.get(j.host, "HostName"); name != "" {
		h.host = strings.ReplaceAll(strings.ReplaceAll(name, "%h", j.host), "%%", "%")
	}
	if !fleet.ValidHost(h.host) {
		return fmt.Errorf("%q is no host name or address", h.host)
	}
	if h.port == 0 {
		port, err := parsePort(r.config.get(j.host, "Port"))
		if err != nil {
			return err
		}
		h.port = port
	}
	for _, u := range []string{r.config.get(j.host, "User"), r.options.User} {
		if h.user == "" {
			h.user = u
		}
	}
	for _, file := range r.config.all(j.host, "IdentityFile") {
		h.keyFiles = append(h.keyFiles, expand(file, h))
	}
	h.onlyKeyFiles = strings.EqualFold(r.config.get(j.host, "IdentitiesOnly"), "yes")
	for file := range strings.FieldsSeq(r.config.get(j.host, "UserKnownHostsFile")) {
		h.knownHosts = append(slices.Clone(h.knownHosts), expand(file, h))
	}
	h.hostKeyAlias = r.config.get(j.host, "HostKeyAlias")
	r.hops = append(r.hops, h)
	return nil
}

// jump is a host as it is written in lists of jump hosts.
type jump struct {
	user, host string
	port       int
}

// parseJump reads [user@]host[:port] and ssh://[user@]host[:port], an IPv6
// address with a port in brackets.
func parseJump(s string) (jump, error) {
	var j jump
	rest := strings.TrimSuffix(strings.TrimPrefix(s, "ssh://"), "/")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		j.user, rest = rest[:i], rest[i+1:]
		if !fleet.ValidUser(j.user) {
			return jump{}, fmt.Errorf("jump host %q: %q is no user name", s, j.user)
		}
	}
	j.host = strings.TrimSuffix(strings.TrimPrefix(rest, "["), "]")
	if host, port, err := net.SplitHostPort(rest); err == nil && net.ParseIP(rest) == nil {
		if j.port, err = parsePort(port); err != nil || port == "" {
			return jump{}, fmt.Errorf("jump host %q: %q is not a port", s, port)
		}
		j.host = host
	}
	if !fleet.ValidHost(j.host) {
		return jump{}, fmt.Errorf("jump host %q: %q is no host name or address", s, j.host)
	}
	return j, nil
}

func parsePort(s string) (int, error) {
	if s == "" {
		return defaultPort, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a port", s)
	}
	return int(n), nil
}

// config is a file as ~/.ssh/config; nil when there is none.
type config struct{ parsed *sshconfig.Config }

func readConfig(path string) (config, error) {
	if path == "" {
		return config{}, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return config{}, nil
	} else if err != nil {
		return config{}, fmt.Errorf("read the SSH configuration: %w", err)
	}
	c, err := parseConfig(text)
	if err != nil {
		return config{}, fmt.Errorf("SSH configuration %s: %w", path, err)
	}
	return c, nil
}

func parseConfig(text []byte) (config, error) {
	parsed, err := sshconfig.DecodeBytes(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")))
	return config{parsed}, err
}

// get returns the first value for a host, as ssh takes it.
func (c config) get(host, key string) string {
	if c.parsed == nil {
		return ""
	}
	value, err := c.parsed.Get(host, key)
	if err != nil {
		return ""
	}
	return unquote(value)
}

func (c config) all(host, key string) []string {
	if c.parsed == nil {
		return nil
	}
	values, err := c.parsed.GetAll(host, key)
	if err != nil {
		return nil
	}
	for i, v := range values {
		values[i] = unquote(v)
	}
	return values
}

func unquote(s string) string {
	s = strings.TrimSpace(s)
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

// expand replaces ~ and the tokens that ssh knows in file names.
func expand(path string, h hop) string {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/"
	}
	if path == "~" || strings.HasPrefix(path, "~/") {
		path = filepath.Join(home, strings.TrimPrefix(path[1:], "/"))
	}
	return strings.NewReplacer("%%", "%", "%d", home, "%h", h.host, "%n", h.name, "%r", h.user, "%u", currentUser()).Replace(path)
}

func currentUser() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}
