// Package config reads the exporter's configuration: one YAML file, or a few
// flags for a single node. It reports everything that is wrong at once, each
// problem with its path in the file, and knows which values are secret.
//
// The reference for users is docs/configuration.md.
package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/erlops/erlops/internal/strictyaml"
)

// Config is a checked configuration. It does not change once loaded. Fields
// that no key sets hold what the files that it names contained.
type Config struct {
	// Name is the exporter's own node name, the same after every restart.
	Name string `yaml:"name"`
	// Cookie and CookieFile are for groups without a cookie of their own; at
	// most one is set.
	Cookie     Secret `yaml:"cookie,omitempty"`
	CookieFile string `yaml:"cookie_file,omitempty"`
	// Cookies are for single nodes, by reference or by pattern; see cookieOf.
	Cookies []NamedCookie `yaml:"cookies,omitempty"`
	// EPMD is host, host:port or :port for groups without one of their own.
	EPMD           string            `yaml:"epmd,omitempty"`
	ExternalLabels map[string]string `yaml:"external_labels,omitempty"`
	Family         Family            `yaml:"family"`
	Metrics        Metrics           `yaml:"metrics"`
	Compat         Compat            `yaml:"compat,omitempty"`
	Timeouts       Timeouts          `yaml:"timeouts"`
	Limits         Limits            `yaml:"limits"`
	Agent          Agent             `yaml:"agent"`
	Storage        Storage           `yaml:"storage,omitempty"`
	Secrets        Secrets           `yaml:"secrets,omitempty"`
	Web            Web               `yaml:"web,omitempty"`
	Auth           Auth              `yaml:"auth,omitempty"`
	Alarms         Alarms            `yaml:"alarms"`
	Alertmanager   Alertmanager      `yaml:"alertmanager"`
	Logs           Logs              `yaml:"logs"`
	Commands       Commands          `yaml:"commands"`
	Graphite       *Graphite         `yaml:"graphite,omitempty"`
	Prometheus     *Prometheus       `yaml:"prometheus,omitempty"`
	Targets        []Target          `yaml:"targets,omitempty"`
	// Collectors are the user's own.
	Collectors []Collector `yaml:"collectors,omitempty"`

	// DefaultCookie is Cookie or what CookieFile holds: the cookie of nodes
	// that nothing else gives one.
	DefaultCookie Secret `yaml:"-"`
}

// Family says how the family of a node is found when nothing names it.
type Family struct {
	By FamilyBy `yaml:"by"`
	// Applications are main applications: a node that runs one, and whose boot
	// script says nothing, belongs to the family of that name.
	Applications []string `yaml:"applications,omitempty"`
	// Patterns give families by node names; the first that matches counts.
	Patterns []FamilyPattern `yaml:"patterns,omitempty"`
}

// Compat is for dashboards of others.
type Compat struct {
	// RabbitMQIdentity adds what RabbitMQ's dashboards of the Erlang VM join
	// everything with, for any node.
	RabbitMQIdentity bool `yaml:"rabbitmq_identity"`
}

// IsZero reports whether nothing is configured.
func (c Compat) IsZero() bool { return c == Compat{} }

// Timeouts bound everything that waits for a node.
type Timeouts struct {
	// Dial is for connecting, from epmd to the end of the handshake.
	Dial model.Duration `yaml:"dial"`
	// Call is for one question to a node.
	Call model.Duration `yaml:"call"`
	// Write is for a node to take one message.
	Write model.Duration `yaml:"write"`
	// Scrape caps what Prometheus allows for one scrape.
	Scrape model.Duration `yaml:"scrape"`
	// RetryMin and RetryMax are the shortest and the longest wait before a node
	// is dialled again.
	RetryMin model.Duration `yaml:"retry_min"`
	RetryMax model.Duration `yaml:"retry_max"`
	// Lease is how long an agent stays without hearing from the exporter, which
	// renews it every Renew.
	Lease model.Duration `yaml:"lease"`
	Renew model.Duration `yaml:"renew"`
}

// Limits bound what nodes may cost the exporter.
type Limits struct {
	// Series, Rows (of one table) and LabelBytes bound the metrics of one node.
	Series int `yaml:"series"`
	// Source bounds the series of one library of a node, or of one collector of
	// the user's own.
	Source     int `yaml:"source"`
	Rows       int `yaml:"rows"`
	LabelBytes int `yaml:"label_bytes"`
	// Frame is the longest message that is taken from a node.
	Frame Size `yaml:"frame"`
	// Mailbox is how many messages of one node may wait.
	Mailbox int `yaml:"mailbox"`
}

// Agent says what the agent may do and cost its node; what is zero in a group is
// that of the whole.
type Agent struct {
	// Injection says whether an agent may be brought into a node.
	Injection Injection `yaml:"injection,omitempty"`
	// Reductions and Bytes are those of a minute, Memory is of the agent and
	// its helpers.
	Reductions int64 `yaml:"reductions,omitempty"`
	Bytes      Size  `yaml:"bytes,omitempty"`
	Memory     Size  `yaml:"memory,omitempty"`
	// Deadline is how long a reading waits for a collector that does not answer.
	Deadline model.Duration `yaml:"deadline,omitempty"`
}

// IsZero reports whether nothing is configured.
func (a Agent) IsZero() bool { return a == Agent{} }

// Storage says where registered and suspended nodes survive a restart; at most
// one of its fields is set.
type Storage struct {
	// Path is of a SQLite file.
	Path string `yaml:"path,omitempty"`
	// URL is postgres://USER:PASSWORD@HOST/DATABASE or sqlite://PATH.
	URL     DatabaseURL `yaml:"url,omitempty"`
	URLFile string      `yaml:"url_file,omitempty"`

	// Location is the one path or URL that is configured, with its password.
	Location DatabaseURL `yaml:"-"`
}

// IsZero reports whether nothing is configured.
func (s Storage) IsZero() bool { return s.Path == "" && s.URL == "" && s.URLFile == "" }

// Secrets has the age identity that encrypts stored cookies; at most one of its
// fields is set.
type Secrets struct {
	Key     Secret `yaml:"key,omitempty"`
	KeyFile string `yaml:"key_file,omitempty"`

	// Identity is Key or what KeyFile holds.
	Identity Secret `yaml:"-"`
}

// IsZero reports whether nothing is configured.
func (s Secrets) IsZero() bool { return s.Key == "" && s.KeyFile == "" }

// Auth says who may use the API and what for.
type Auth struct {
	// UnauthenticatedRole is for requests without credentials; empty leaves the
	// choice to the server: read when nothing authenticates, else none.
	UnauthenticatedRole Role    `yaml:"unauthenticated_role,omitempty"`
	Tokens              []Token `yaml:"tokens,omitempty"`
	// Users give roles to the users of the web configuration file.
	Users []User `yaml:"users,omitempty"`
}

// IsZero reports whether nothing is configured.
func (a Auth) IsZero() bool {
	return a.UnauthenticatedRole == "" && len(a.Tokens) == 0 && len(a.Users) == 0
}

// operates reports whether anybody may change what survives a restart.
func (a Auth) operates() bool {
	roles := []Role{a.UnauthenticatedRole}
	for _, t := range a.Tokens {
		roles = append(roles, t.Role)
	}
	for _, u := range a.Users {
		roles = append(roles, u.Role)
	}
	return slices.ContainsFunc(roles, func(r Role) bool {
		return r == RoleOperate || r == RoleCommand || r == RoleAdmin
	})
}

// Token is a bearer token; exactly one of Token and TokenFile is set.
type Token struct {
	Name      string `yaml:"name"`
	Role      Role   `yaml:"role"`
	Token     Secret `yaml:"token,omitempty"`
	TokenFile string `yaml:"token_file,omitempty"`

	// Value is Token or what TokenFile holds.
	Value Secret `yaml:"-"`
}

// User gives a role to a user whose password the web configuration file has.
type User struct {
	Name string `yaml:"name"`
	Role Role   `yaml:"role"`
}

func duration(d time.Duration) model.Duration { return model.Duration(d) }

// Default returns the values of everything that a file leaves out.
func Default() Config {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	return Config{
		Name:    "erl_exporter@" + host,
		Family:  Family{By: FamilyByRelease},
		Metrics: defaultMetrics(),
		Timeouts: Timeouts{
			Dial: duration(5 * time.Second), Call: duration(10 * time.Second), Write: duration(10 * time.Second),
			Scrape:   duration(10 * time.Second),
			RetryMin: duration(2 * time.Second), RetryMax: duration(30 * time.Second),
			Lease: duration(15 * time.Second), Renew: duration(3 * time.Second),
		},
		Limits: Limits{Series: 20_000, Source: 5_000, Rows: 2_000, LabelBytes: 1_024, Frame: 16 << 20, Mailbox: 4_096},
		Agent: Agent{
			Injection: InjectionAuto, Reductions: 3_000_000, Bytes: 16 << 20, Memory: 32 << 20,
			Deadline: duration(time.Second),
		},
		Alarms:       defaultAlarms(),
		Alertmanager: defaultAlertmanager(),
		Logs:         defaultLogs(),
		Commands:     defaultCommands(),
	}
}

// maxFile bounds the configuration file.
const maxFile = 4 << 20

// Load reads and checks the file at path. What is wrong with it is returned as
// Problems. Relative file names in it are relative to its directory.
func Load(path string) (*Config, error) {
	data, err := readAll(path)
	if err != nil {
		return nil, Problems{{Message: "cannot read the configuration: " + err.Error()}}
	}
	c, err := Parse(data, filepath.Dir(path))
	var problems Problems
	if errors.As(err, &problems) {
		for i := range problems {
			problems[i].File = path
		}
	}
	return c, err
}

// readAll takes pipes too, for a configuration that is made on the fly.
func readAll(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return data, err
}

// Parse reads and checks the YAML in data. What is wrong with it is returned as
// Problems. Relative file names in it are relative to dir.
func Parse(data []byte, dir string) (*Config, error) {
	return parse(data, dir, os.LookupEnv)
}

func parse(data []byte, dir string, lookup func(string) (string, bool)) (*Config, error) {
	c := Default()
	doc, syntax := strictyaml.Decode(data, &c, lookup)
	v := &validator{doc: doc, dir: dir}
	for _, p := range syntax {
		v.problems = append(v.problems, Problem{Line: p.Line, Path: p.Path, Message: withoutCredentials(p.Message)})
	}
	v.check(&c)
	if len(v.problems) > 0 {
		return nil, v.sorted()
	}
	return &c, nil
}
