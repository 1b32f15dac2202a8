package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/prometheus/common/model"

	"github.com/erlops/erlops/exporter/discovery"
	"github.com/erlops/erlops/internal/strictyaml"
)

// FlagGroup is the name of the one group of a configuration made from flags.
const FlagGroup = "flags"

// Flags are enough of a configuration for one node, or a few with the same
// cookie.
type Flags struct {
	// Nodes are full node names: --node.
	Nodes []string
	// CookieFile is --cookie-file; empty for .erlang.cookie in the home
	// directory, where Erlang's own programs look.
	CookieFile string
	// EPMD is --epmd: host, host:port or :port; empty for the usual one.
	EPMD string
	// Name is --name, the exporter's own node name; empty for the default.
	Name string
}

// FromFlags returns the configuration that the flags stand for. What is wrong
// with them is returned as Problems, whose paths are flags.
func FromFlags(f Flags) (*Config, error) {
	if len(f.Nodes) == 0 {
		return nil, Problems{{Message: "nothing to watch: give --config.file FILE, or --node NAME@HOST with --cookie-file FILE"}}
	}
	c := Default()
	if f.Name != "" {
		c.Name = f.Name
	}
	var problems Problems
	var err error
	if c.CookieFile, err = cookieFile(f.CookieFile); err != nil {
		problems = append(problems, Problem{Path: "--cookie-file", Message: err.Error()})
	}
	static, bad := flagNodes(f.Nodes)
	problems = append(problems, bad...)
	c.Targets = []Target{{Name: FlagGroup, EPMD: f.EPMD, SDConfigs: discovery.SDConfigs{Static: static}}}

	v := &validator{doc: &strictyaml.Document{}}
	v.check(&c)
	for _, p := range v.problems {
		if flag, ok := flagOf[p.Path]; ok {
			p.Path = flag
			problems = append(problems, p)
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return &c, nil
}

// flagOf has the flags that give the values at some paths. What is wrong
// elsewhere has been said in the words of flags.
var flagOf = map[string]string{
	"cookie_file":     "--cookie-file",
	"name":            "--name",
	"targets[0].epmd": "--epmd",
}

// flagNodes returns the nodes as static targets.
func flagNodes(nodes []string) (static []*discovery.StaticConfig, problems Problems) {
	list := &discovery.StaticConfig{}
	seen := map[string]bool{}
	for _, n := range nodes {
		if err := discovery.CheckNodeName(n); err != nil {
			problems = append(problems, Problem{Path: "--node", Message: err.Error()})
		} else if seen[n] {
			problems = append(problems, Problem{Path: "--node", Message: fmt.Sprintf("duplicate target %q", n)})
		}
		seen[n] = true
		list.Targets = append(list.Targets, model.LabelSet{model.AddressLabel: model.LabelValue(n)})
	}
	return []*discovery.StaticConfig{list}, problems
}

// cookieFile returns the cookie file to use: Erlang's own by default.
func cookieFile(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	const advice = "give the file that has the node's cookie; only its owner may be able to access it"
	home, err := os.UserHomeDir()
	if err != nil {
		return "", errors.New(advice)
	}
	path := filepath.Join(home, ".erlang.cookie")
	if _, err := os.Stat(path); err != nil {
		return "", errors.New(advice + " (there is no " + path + ")")
	}
	return path, nil
}
