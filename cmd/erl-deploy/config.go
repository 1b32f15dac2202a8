package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/erlops/erlops/deployer"
	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/ssh"
	"github.com/erlops/erlops/internal/httpd"
	"github.com/erlops/erlops/internal/rest"
	"github.com/erlops/erlops/internal/strictyaml"
)

// defaultListenAddress can only be reached from the same host, since by default
// nobody has to authenticate.
const defaultListenAddress = "127.0.0.1:9199"

// config is the configuration file. Every name is in docs/deploy.md.
type config struct {
	DataDir      string                           `yaml:"data_dir,omitempty"`
	Storage      fleet.Secret                     `yaml:"storage,omitempty"` // a URL may hold a password
	KeyFile      string                           `yaml:"key_file,omitempty"`
	NodeName     string                           `yaml:"node_name,omitempty"`
	Parallelism  int                              `yaml:"parallelism,omitempty"`
	TaskTimeout  time.Duration                    `yaml:"task_timeout,omitempty"`
	StepTimeouts map[fleet.StepName]time.Duration `yaml:"step_timeouts,omitempty"`
	MinOrphanAge time.Duration                    `yaml:"min_orphan_age,omitempty"`
	SSH          sshConfig                        `yaml:"ssh,omitempty"`
	Exporter     exporterConfig                   `yaml:"exporter,omitempty"`
	Web          webConfig                        `yaml:"web,omitempty"`
	Auth         authConfig                       `yaml:"auth,omitempty"`
}

type sshConfig struct {
	ConfigFile       string        `yaml:"config_file,omitempty"`
	KnownHosts       []string      `yaml:"known_hosts,omitempty"`
	KeyFiles         []string      `yaml:"key_files,omitempty"`
	AgentSocket      string        `yaml:"agent_socket,omitempty"`
	User             string        `yaml:"user,omitempty"`
	AcceptNew        bool          `yaml:"insecure_accept_new,omitempty"`
	AcceptedHosts    string        `yaml:"accepted_hosts,omitempty"`
	DialTimeout      time.Duration `yaml:"dial_timeout,omitempty"`
	HandshakeTimeout time.Duration `yaml:"handshake_timeout,omitempty"`
	KeepAlive        time.Duration `yaml:"keep_alive,omitempty"`
}

type exporterConfig struct {
	URL          string `yaml:"url,omitempty"`
	TokenFile    string `yaml:"token_file,omitempty"`
	User         string `yaml:"user,omitempty"`
	PasswordFile string `yaml:"password_file,omitempty"`
	CAFile       string `yaml:"ca_file,omitempty"`
	CookieRef    string `yaml:"cookie_ref,omitempty"`
}

type webConfig struct {
	ListenAddresses []string `yaml:"listen_addresses,omitempty"`
	ConfigFile      string   `yaml:"config_file,omitempty"`
	ExternalURL     string   `yaml:"external_url,omitempty"`
}

type authConfig struct {
	UnauthenticatedRole string        `yaml:"unauthenticated_role,omitempty"`
	Tokens              []tokenConfig `yaml:"tokens,omitempty"`
	Users               []userConfig  `yaml:"users,omitempty"`
}

type tokenConfig struct {
	Name      string       `yaml:"name"`
	Role      string       `yaml:"role"`
	Token     fleet.Secret `yaml:"token,omitempty"`
	TokenFile string       `yaml:"token_file,omitempty"`
}

type userConfig struct {
	Name string `yaml:"name"`
	Role string `yaml:"role"`
}

// loadConfig reads a file; without a path everything is a default. The error
// lists all that is wrong.
func loadConfig(path string) (*config, error) {
	c := &config{}
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		_, problems := strictyaml.Decode(text, c, nil)
		if err := strictyaml.Error(problems); err != nil {
			return nil, fmt.Errorf("configuration %s:\n%w", path, err)
		}
		c.resolve(filepath.Dir(path))
	}
	if err := c.setDefaults(); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("configuration %s:\n%w", path, err)
	}
	return c, nil
}

// resolve makes file names relative to the file that has them; ~ is home.
func (c *config) resolve(dir string) {
	home, _ := os.UserHomeDir() // without one ~ stays, and is not found
	paths := []*string{
		&c.DataDir, &c.KeyFile, &c.SSH.ConfigFile, &c.SSH.AgentSocket, &c.SSH.AcceptedHosts,
		&c.Exporter.TokenFile, &c.Exporter.PasswordFile, &c.Exporter.CAFile, &c.Web.ConfigFile,
	}
	for _, list := range [][]string{c.SSH.KnownHosts, c.SSH.KeyFiles} {
		for i := range list {
			paths = append(paths, &list[i])
		}
	}
	for i := range c.Auth.Tokens {
		paths = append(paths, &c.Auth.Tokens[i].TokenFile)
	}
	storage := string(c.Storage)
	if !strings.Contains(storage, "://") && storage != "" {
		paths = append(paths, &storage)
	}
	for _, path := range paths {
		below, isHome := strings.CutPrefix(*path, "~/")
		switch {
		case isHome && home != "":
			*path = filepath.Join(home, below)
		case *path != "" && !filepath.IsAbs(*path):
			*path = filepath.Join(dir, *path)
		}
	}
	c.Storage = fleet.Secret(storage)
}

func (c *config) setDefaults() error {
	home, err := os.UserHomeDir()
	if err != nil && c.DataDir == "" {
		return fmt.Errorf("data_dir is not configured, and there is no home directory: %w", err)
	}
	if c.DataDir == "" {
		state := os.Getenv("XDG_STATE_HOME")
		if state == "" {
			state = filepath.Join(home, ".local", "state")
		}
		c.DataDir = filepath.Join(state, "erl-deploy")
	}
	s := &c.SSH
	if s.ConfigFile == "" {
		s.ConfigFile = filepath.Join(home, ".ssh", "config")
	}
	if s.KnownHosts == nil {
		s.KnownHosts = []string{filepath.Join(home, ".ssh", "known_hosts"), "/etc/ssh/ssh_known_hosts"}
	}
	if s.KeyFiles == nil {
		for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
			s.KeyFiles = append(s.KeyFiles, filepath.Join(home, ".ssh", name))
		}
	}
	if s.AgentSocket == "" {
		s.AgentSocket = os.Getenv("SSH_AUTH_SOCK")
	}
	if s.AcceptedHosts == "" {
		s.AcceptedHosts = filepath.Join(c.DataDir, "accepted_hosts")
	}
	if len(c.Web.ListenAddresses) == 0 {
		c.Web.ListenAddresses = []string{defaultListenAddress}
	}
	return nil
}

// steps are those that can have a timeout of their own.
var steps = []fleet.StepName{
	fleet.StepPlace, fleet.StepPrepare, fleet.StepMachine, fleet.StepBoot, fleet.StepConnect, fleet.StepUser, fleet.StepInspect,
	fleet.StepUpload, fleet.StepInstall, fleet.StepConfigure, fleet.StepStart, fleet.StepAnswer, fleet.StepBootstrap, fleet.StepRegister,
	fleet.StepDeregister, fleet.StepLeave, fleet.StepStop, fleet.StepClean, fleet.StepDestroy, fleet.StepWithdraw,
}

// check tells all that is wrong.
func (c *config) check() error {
	var errs []error
	wrong := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("  "+format, args...))
		}
	}
	wrong(c.Parallelism >= 0, "parallelism: %d is negative", c.Parallelism)
	wrong(c.TaskTimeout >= 0, "task_timeout: %s is negative", c.TaskTimeout)
	wrong(c.MinOrphanAge >= 0, "min_orphan_age: %s is negative", c.MinOrphanAge)
	for step, timeout := range c.StepTimeouts {
		wrong(slices.Contains(steps, step), "step_timeouts: there is no step %q", step)
		wrong(timeout > 0, "step_timeouts.%s: %s is not more than nothing", step, timeout)
	}
	if e := c.Exporter; e.URL == "" {
		wrong(reflect.ValueOf(e).IsZero(), "exporter: url is missing")
	} else {
		u, err := url.Parse(e.URL)
		wrong(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil,
			"exporter.url: is not http://HOST:PORT or https://HOST:PORT")
		wrong(e.TokenFile == "" || e.User == "", "exporter: at most one of token_file and user can be given")
		wrong((e.User == "") == (e.PasswordFile == ""), "exporter: user and password_file belong together")
	}
	if role := c.Auth.UnauthenticatedRole; role != "" {
		_, err := rest.ParseRole(role)
		wrong(err == nil, "auth.unauthenticated_role: %v", err)
	}
	for i, t := range c.Auth.Tokens {
		_, err := rest.ParseRole(t.Role)
		wrong(err == nil, "auth.tokens[%d]: %v", i, err)
		wrong(t.Name != "", "auth.tokens[%d]: name is missing", i)
		wrong((t.Token == "") != (t.TokenFile == ""), "auth.tokens[%d]: exactly one of token and token_file is needed", i)
	}
	for i, u := range c.Auth.Users {
		_, err := rest.ParseRole(u.Role)
		wrong(err == nil, "auth.users[%d]: %v", i, err)
	}
	return errors.Join(errs...)
}

// options are those of the deployer, secrets read.
func (c *config) options() (deployer.Options, error) {
	o := deployer.Options{
		DataDir: c.DataDir, Storage: string(c.Storage), KeyFile: c.KeyFile, NodeName: c.NodeName,
		Parallelism: c.Parallelism, TaskTimeout: c.TaskTimeout, StepTimeouts: c.StepTimeouts, MinOrphanAge: c.MinOrphanAge,
		SSH: ssh.Options{
			ConfigFile: c.SSH.ConfigFile, KnownHosts: c.SSH.KnownHosts, KeyFiles: c.SSH.KeyFiles, AgentSocket: c.SSH.AgentSocket,
			User: c.SSH.User, InsecureAcceptNew: c.SSH.AcceptNew, AcceptedHosts: c.SSH.AcceptedHosts,
			DialTimeout: c.SSH.DialTimeout, HandshakeTimeout: c.SSH.HandshakeTimeout, KeepAlive: c.SSH.KeepAlive,
		},
		Exporter: deployer.ExporterOptions{
			URL: c.Exporter.URL, User: c.Exporter.User, CAFile: c.Exporter.CAFile, CookieRef: c.Exporter.CookieRef,
		},
	}
	var tokenErr, passwordErr error
	o.Exporter.Token, tokenErr = secretFile("exporter.token_file", c.Exporter.TokenFile)
	o.Exporter.Password, passwordErr = secretFile("exporter.password_file", c.Exporter.PasswordFile)
	return o, errors.Join(tokenErr, passwordErr)
}

// auth says who may do what, tokens read.
func (c *config) auth() (httpd.Auth, error) {
	a := httpd.Auth{UnauthenticatedRole: c.Auth.UnauthenticatedRole}
	var errs []error
	for i, t := range c.Auth.Tokens {
		if t.TokenFile != "" {
			var err error
			if t.Token, err = secretFile(fmt.Sprintf("auth.tokens[%d].token_file", i), t.TokenFile); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		a.Tokens = append(a.Tokens, httpd.Token{Name: t.Name, Role: t.Role, Token: string(t.Token)})
	}
	for _, u := range c.Auth.Users {
		a.Users = append(a.Users, httpd.User(u))
	}
	return a, errors.Join(errs...)
}

// redacted is the configuration in force, for people. Of a storage that is a
// URL only asterisks are shown, since it may hold a password.
func (c *config) redacted() ([]byte, error) {
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	err := encoder.Encode(c)
	return b.Bytes(), err
}
