package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/exporter/api/client"
	"github.com/erlops/erlops/internal/clikit"
	"github.com/erlops/erlops/internal/strictyaml"
)

// defaultURL is where an exporter listens that was told nothing.
const defaultURL = "http://127.0.0.1:9198"

// profiles is the file of them.
type profiles struct {
	// Default is the profile that is used when neither --profile nor --url
	// says another; empty for none.
	Default  string             `yaml:"default"`
	Profiles map[string]profile `yaml:"profiles"`
}

// profile is how to reach one exporter. Secrets are in files of their own, and
// paths are relative to the file of the profiles.
type profile struct {
	URL          string `yaml:"url"`
	TokenFile    string `yaml:"token_file"`
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	CAFile       string `yaml:"ca_file"`
	CertFile     string `yaml:"cert_file"`
	KeyFile      string `yaml:"key_file"`
	ServerName   string `yaml:"server_name"`
}

// profile gives the options of the client: those of the profile, over which
// flags and environment have the last word. A URL that is said in another way
// than by the profile is another exporter: nothing of a profile is told to it.
func (p *program) profile(c *cli.Context) (client.Options, error) {
	chosen, err := p.chosen(c)
	if err != nil {
		return client.Options{}, err
	}
	o := client.Options{
		URL:      cmp.Or(chosen.URL, defaultURL),
		User:     cmp.Or(c.String("user"), chosen.User),
		CAFile:   cmp.Or(c.Path("ca-file"), chosen.CAFile),
		CertFile: cmp.Or(c.Path("cert-file"), chosen.CertFile), KeyFile: cmp.Or(c.Path("key-file"), chosen.KeyFile),
		ServerName: cmp.Or(c.String("server-name"), chosen.ServerName),
	}
	token, err := secret("token-file", "token_file", c.Path("token-file"), chosen.TokenFile)
	if err != nil {
		return o, err
	}
	password, err := secret("password-file", "password_file", c.Path("password-file"), chosen.PasswordFile)
	if err != nil {
		return o, err
	}
	// What is said by hand is in place of the profile's, not beside it.
	switch {
	case c.IsSet("token-file") && !c.IsSet("user"):
		o.User, password = "", ""
	case c.IsSet("user") && !c.IsSet("token-file"):
		token = ""
	}
	o.Token, o.Password = client.Secret(token), client.Secret(password)
	return o, nil
}

func secret(flag, key, given, ofProfile string) (string, error) {
	if given != "" {
		return clikit.SecretFile("--"+flag, given)
	}
	return clikit.SecretFile(key+" of the profile", ofProfile)
}

// chosen is the profile that is meant, with the URL of --url when that is
// given.
func (p *program) chosen(c *cli.Context) (profile, error) {
	name := c.String("profile")
	if url := c.String("url"); url != "" {
		// Both on the command line contradict each other; one from the
		// environment gives way.
		switch {
		case name == "" || p.fromEnvironment("ERL_EXPORTER_PROFILE", name):
			return profile{URL: url}, nil
		case !p.fromEnvironment("ERL_EXPORTER_URL", url):
			return profile{}, clikit.Usagef("give --url or --profile, not both: a profile's token is for its own exporter")
		}
	}
	path, all, err := p.loadProfiles(c, name != "")
	if err != nil {
		return profile{}, err
	}
	if name = cmp.Or(name, all.Default); name == "" {
		return profile{}, nil
	}
	chosen, ok := all.Profiles[name]
	if !ok {
		known := strings.Join(slices.Sorted(maps.Keys(all.Profiles)), ", ")
		return profile{}, clikit.Usagef("there is no profile %q in %s; there are: %s", name, path, cmp.Or(known, "none"))
	}
	if chosen.URL == "" {
		return profile{}, clikit.Usagef("%s: profiles.%s.url is missing", path, name)
	}
	for _, file := range []*string{&chosen.TokenFile, &chosen.PasswordFile, &chosen.CAFile, &chosen.CertFile, &chosen.KeyFile} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(filepath.Dir(path), *file)
		}
	}
	return chosen, nil
}

func (p *program) fromEnvironment(variable, value string) bool { return p.getenv(variable) == value }

// loadProfiles reads the file of the profiles; without one there are none,
// unless one is needed.
func (p *program) loadProfiles(c *cli.Context, needed bool) (path string, all profiles, err error) {
	path = c.Path("profiles-file")
	needed = needed || path != ""
	if path == "" {
		dir := p.getenv("XDG_CONFIG_HOME")
		if home := p.getenv("HOME"); dir == "" && home != "" {
			dir = filepath.Join(home, ".config")
		}
		path = filepath.Join(dir, "erl-exporter", "profiles.yml")
	}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !needed:
		return path, profiles{}, nil
	case err != nil:
		return path, profiles{}, clikit.Usagef("profiles: %w", err)
	}
	_, problems := strictyaml.Decode(text, &all, os.LookupEnv)
	if len(problems) > 0 {
		var lines []string
		for _, problem := range problems {
			lines = append(lines, fmt.Sprintf("%s:%d: %s", path, problem.Line, problem))
		}
		return path, all, clikit.Usagef("%s", strings.Join(lines, "\n"))
	}
	return path, all, nil
}
