package fleet

import (
	"fmt"

	"github.com/erlops/erlops/internal/strictyaml"
)

// Manifest is a whole fleet as a user wants it: what `apply -f fleet.yml`
// takes. Things are known by their names. What it does not name is left alone,
// unless Prune is set, and then families (with their nodes), releases and
// providers that it does not name are deleted.
type Manifest struct {
	Providers []ManifestProvider `json:"providers,omitempty" yaml:"providers,omitempty"`
	Releases  []ManifestRelease  `json:"releases,omitempty" yaml:"releases,omitempty"`
	Families  []ManifestFamily   `json:"families,omitempty" yaml:"families,omitempty"`
	Prune     bool               `json:"prune,omitempty" yaml:"prune,omitempty"`
}

// ManifestProvider is a [Provider] in a manifest.
type ManifestProvider struct {
	Name     string            `json:"name" yaml:"name"`
	Kind     string            `json:"kind" yaml:"kind"`
	Servers  []ManifestServer  `json:"servers,omitempty" yaml:"servers,omitempty"`
	Settings map[string]string `json:"settings,omitempty" yaml:"settings,omitempty"`
	// Secrets are the values themselves; SecretFiles the files to read them
	// from, which only the command line does.
	Secrets     map[string]PlainSecret `json:"secrets,omitempty" yaml:"secrets,omitempty"`
	SecretFiles map[string]string      `json:"-" yaml:"secret_files,omitempty"`
}

// ManifestServer is a [Server] in a manifest.
type ManifestServer struct {
	Host     string   `json:"host" yaml:"host"`
	User     string   `json:"user,omitempty" yaml:"user,omitempty"`
	Port     int      `json:"port,omitempty" yaml:"port,omitempty"`
	Slots    int      `json:"slots,omitempty" yaml:"slots,omitempty"`
	HostKeys []string `json:"host_keys,omitempty" yaml:"host_keys,omitempty"`
	Jump     []string `json:"jump,omitempty" yaml:"jump,omitempty"`
	KeyFile  string   `json:"key_file,omitempty" yaml:"key_file,omitempty"`
}

// ManifestRelease is a [Release] in a manifest.
type ManifestRelease struct {
	Name         string            `json:"name" yaml:"name"`
	Description  string            `json:"description,omitempty" yaml:"description,omitempty"`
	Archives     []ManifestArchive `json:"archives" yaml:"archives"`
	Templates    []string          `json:"templates,omitempty" yaml:"templates,omitempty"`
	StartCommand string            `json:"start_command" yaml:"start_command"`
	StopCommand  string            `json:"stop_command" yaml:"stop_command"`
	PingCommand  string            `json:"ping_command,omitempty" yaml:"ping_command,omitempty"`
	Cookie       PlainSecret       `json:"cookie,omitempty" yaml:"cookie,omitempty"`
	CookieFile   string            `json:"-" yaml:"cookie_file,omitempty"`
}

// ManifestArchive names an uploaded archive by SHA256, or a file that the
// command line uploads first.
type ManifestArchive struct {
	OS     string `json:"os,omitempty" yaml:"os,omitempty"`
	Arch   string `json:"arch,omitempty" yaml:"arch,omitempty"`
	SHA256 string `json:"sha256" yaml:"sha256,omitempty"`
	File   string `json:"-" yaml:"file,omitempty"`
}

// ManifestFamily is a [Family] in a manifest, with how many nodes it has.
type ManifestFamily struct {
	Name        string `json:"name" yaml:"name"`
	Description string `json:"description,omitempty" yaml:"description,omitempty"`
	Release     string `json:"release" yaml:"release"` // its name
	// Firewall is as ParseFirewall reads it.
	Firewall  string            `json:"firewall,omitempty" yaml:"firewall,omitempty"`
	Selection string            `json:"selection,omitempty" yaml:"selection,omitempty"`
	Bootstrap ManifestBootstrap `json:"bootstrap,omitzero" yaml:"bootstrap,omitempty"`
	// Ports is from-to, such as 6000-7999.
	Ports     string           `json:"ports,omitempty" yaml:"ports,omitempty"`
	EPMDPort  int              `json:"epmd_port,omitempty" yaml:"epmd_port,omitempty"`
	Protected bool             `json:"protected,omitempty" yaml:"protected,omitempty"`
	Domains   []ManifestDomain `json:"domains" yaml:"domains"`
}

// ManifestBootstrap is a [Bootstrap] in a manifest.
type ManifestBootstrap struct {
	Strategy     string `json:"strategy,omitempty" yaml:"strategy,omitempty"`
	Command      string `json:"command,omitempty" yaml:"command,omitempty"`
	LeaveCommand string `json:"leave_command,omitempty" yaml:"leave_command,omitempty"`
}

// ManifestDomain is a [Domain] in a manifest, with how many nodes it has.
type ManifestDomain struct {
	Provider string            `json:"provider" yaml:"provider"` // its name
	SSHUser  string            `json:"ssh_user" yaml:"ssh_user"`
	Image    string            `json:"image,omitempty" yaml:"image,omitempty"`
	Hardware string            `json:"hardware,omitempty" yaml:"hardware,omitempty"`
	Settings map[string]string `json:"settings,omitempty" yaml:"settings,omitempty"`
	Nodes    int               `json:"nodes" yaml:"nodes"`
	// Stopped leaves new nodes in STOPPED.
	Stopped bool `json:"stopped,omitempty" yaml:"stopped,omitempty"`
}

// PlainSecret is a [Secret] that marshals to JSON as itself, because it is on
// its way to the server; it prints and logs masked.
type PlainSecret string

// Format hides the secret under every verb and flag.
func (s PlainSecret) Format(f fmt.State, verb rune) { Secret(s).Format(f, verb) }

// MarshalYAML hides the secret: YAML is for people.
func (s PlainSecret) MarshalYAML() (any, error) { return Secret(s).String(), nil }

// ParseManifest reads a manifest from YAML (or JSON, which is YAML). Unknown
// keys are refused. The error lists all that is wrong, with its line and path.
func ParseManifest(text []byte) (Manifest, error) {
	var m Manifest
	d, problems := strictyaml.Decode(text, &m, nil) // $( in a command is the shell's
	if err := strictyaml.Error(problems); err != nil {
		return Manifest{}, Errorf(ErrInvalid, "manifest: %w", err)
	}
	if !d.Has("") {
		return Manifest{}, Errorf(ErrInvalid, "the manifest is empty")
	}
	return m, nil
}

// Verb says what a change does.
type Verb string

// The verbs.
const (
	VerbCreate Verb = "create"
	VerbUpdate Verb = "update"
	VerbDelete Verb = "delete"
	VerbDeploy Verb = "deploy" // one node
	VerbRetry  Verb = "retry"  // go on with one node that failed
)

// Change is one line of a plan, and one thing that applying it does.
type Change struct {
	Verb Verb   `json:"verb"`
	Kind string `json:"kind"` // as the kinds of journal entries
	Name string `json:"name"`
	// ID of what is changed; empty for what is created.
	ID string `json:"id,omitempty"`
	// Fields are what an update changes, secrets masked.
	Fields []FieldChange `json:"fields,omitempty"`
	// Detail says the rest in words, such as where a node goes.
	Detail string `json:"detail,omitempty"`
	// Destroys tells whether something is lost.
	Destroys bool `json:"destroys,omitempty"`
}

// FieldChange is one field of an update.
type FieldChange struct {
	Path string `json:"path"`
	From string `json:"from"`
	To   string `json:"to"`
}

// Plan is what applying a manifest would do, in that order.
type Plan struct {
	Changes []Change `json:"changes"`
	// Digest names the plan: Apply does exactly what was shown, or nothing.
	Digest string `json:"digest"`
}
