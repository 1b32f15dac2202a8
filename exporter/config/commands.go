package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/erlops/erlops/internal/strictyaml"
)

// Commands says what may be run on nodes.
type Commands struct {
	// Enabled is whether anything may be run at all.
	Enabled bool `yaml:"enabled"`
	// Allow has the functions that each role may call; a role may call what
	// those below it may, too.
	Allow map[string][]CallPattern `yaml:"allow,omitempty"`
	// Timeout is the longest that a command may take on a node.
	Timeout model.Duration `yaml:"timeout"`
	// MaxResult is the size of a result, from which on it does not leave its
	// node.
	MaxResult Size  `yaml:"max_result"`
	Audit     Audit `yaml:"audit,omitempty"`
}

// Audit is the file with the audit log. Without a path it is in the exporter's
// own log.
type Audit struct {
	Path     string `yaml:"path,omitempty"`
	MaxSize  Size   `yaml:"max_size"`
	MaxFiles int    `yaml:"max_files"`
}

// CallPattern is a pattern of functions, module:function/arity, in which * in
// the names is any characters, and as the arity any number.
type CallPattern string

var callPattern = regexp.MustCompile(`^([^:/\s]+):([^:/\s]+)/(\*|\d{1,3})$`)

// UnmarshalYAML refuses what is no pattern.
func (p *CallPattern) UnmarshalYAML(unmarshal func(any) error) error {
	if err := unmarshal((*string)(p)); err != nil {
		return err
	}
	if !callPattern.MatchString(string(*p)) {
		return fmt.Errorf("%q is not module:function/arity, such as erlang:memory/0 or ets:*/*", string(*p))
	}
	return nil
}

// Matches tells whether a function is meant.
func (p CallPattern) Matches(module, function string, arity int) bool {
	m := callPattern.FindStringSubmatch(string(p))
	return len(m) == 4 && wildcard(m[1], module) && wildcard(m[2], function) && (m[3] == "*" || m[3] == strconv.Itoa(arity))
}

// wildcard matches a whole name with a pattern in which * is any characters.
func wildcard(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	rest := name[len(first) : len(name)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return true
}

// commandRoles may have patterns, in ascending order.
func commandRoles() []string {
	return []string{string(RoleOperate), string(RoleCommand), string(RoleAdmin)}
}

// Allows tells whether a role may call a function.
func (c Commands) Allows(role, module, function string, arity int) bool {
	roles := commandRoles()
	for _, r := range roles[:slices.Index(roles, role)+1] {
		if slices.ContainsFunc(c.Allow[r], func(p CallPattern) bool { return p.Matches(module, function, arity) }) {
			return true
		}
	}
	return false
}

func defaultCommands() Commands {
	return Commands{
		Timeout: duration(10 * time.Second), MaxResult: 1 << 20,
		Audit: Audit{MaxSize: 100 << 20, MaxFiles: 5},
	}
}

// maxCommandTime is less than the API waits for an operation.
const maxCommandTime = 25 * time.Second

func (v *validator) commands(c *Commands) {
	for role := range c.Allow {
		if !slices.Contains(commandRoles(), role) {
			v.add(strictyaml.Join("commands.allow", role), "%q is not one of %s", role, strings.Join(commandRoles(), ", "))
		}
	}
	if t := time.Duration(c.Timeout); t < time.Millisecond || t > maxCommandTime {
		v.add("commands.timeout", "must be from 1ms to %s", maxCommandTime)
	}
	v.between("commands.max_result", int64(c.MaxResult), 1<<10, 8<<20)
	v.between("commands.audit.max_size", int64(c.Audit.MaxSize), minLogFile, 1<<40)
	v.between("commands.audit.max_files", int64(c.Audit.MaxFiles), 1, 1000)
	if c.Audit.Path != "" {
		v.resolve(&c.Audit.Path)
	}
}
