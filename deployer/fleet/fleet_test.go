package fleet_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/erlops/erlops/deployer/fleet"
)

func TestParseFirewall(t *testing.T) {
	t.Parallel()
	const seed = "tcp:4369:4369,tcp:8097:8099,tcp:8087:8087,tcp:8069:8069,tcp:6000:7999"
	rules, err := fleet.ParseFirewall(seed)
	require.NoError(t, err)
	require.Len(t, rules, 5)
	require.Equal(t, fleet.PortRange{From: 8097, To: 8099}, rules[1].PortRange)
	require.Equal(t, seed, fleet.FormatFirewall(rules))
	for text, want := range map[string]string{
		"tcp:1":                "PROTOCOL:FROM:TO",
		"icmp:1:2":             `protocol "icmp"`,
		"tcp:2:1":              "no range",
		"tcp:0:1":              `port "0"`,
		"tcp:1:65536":          `port "65536"`,
		"tcp:4369:4369,":       `firewall[1]: ""`,
		"tcp:4369:$(reboot)":   `port "$(reboot)"`,
		"tcp:4369:4369 tcp:1:": "PROTOCOL:FROM:TO",
	} {
		_, err := fleet.ParseFirewall(text)
		require.ErrorIs(t, err, fleet.ErrInvalid, text)
		require.ErrorContains(t, err, want, text)
	}
	rules, err = fleet.ParseFirewall(" \n")
	require.NoError(t, err)
	require.Empty(t, rules)
}

func FuzzParseFirewall(f *testing.F) {
	f.Add("tcp:4369:4369,udp:1:2")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := fleet.ParseFirewall(text)
		if err != nil {
			return
		}
		again, err := fleet.ParseFirewall(fleet.FormatFirewall(rules))
		require.NoError(t, err)
		require.Equal(t, rules, again)
	})
}

func TestPlatforms(t *testing.T) {
	t.Parallel()
	r := fleet.Release{Archives: []fleet.Archive{
		{Size: 1}, {Platform: fleet.NewPlatform("Linux", "amd64"), Size: 2}, {Platform: fleet.NewPlatform("linux", ""), Size: 3},
	}}
	for host, want := range map[fleet.Platform]int64{
		fleet.NewPlatform("Linux\n", "x86_64\n"): 2,
		fleet.NewPlatform("Linux", "aarch64"):    3,
		fleet.NewPlatform("FreeBSD", "amd64"):    1,
	} {
		a, ok := r.ArchiveFor(host)
		require.True(t, ok)
		require.Equal(t, want, a.Size, host)
	}
	r.Archives = r.Archives[1:2]
	_, ok := r.ArchiveFor(fleet.NewPlatform("linux", "arm64"))
	require.False(t, ok)
	require.Equal(t, "linux/aarch64", fleet.NewPlatform("Linux", "arm64").String())
	require.Equal(t, "any/any", fleet.Platform{}.String())
}

// paths returns where a value is wrong.
func paths(err error) []string {
	var invalid *fleet.ValidationError
	if !errors.As(err, &invalid) {
		return nil
	}
	var found []string
	for _, p := range invalid.Problems {
		found = append(found, p.Path)
	}
	return found
}

func TestValidate(t *testing.T) {
	t.Parallel()
	digest := strings.Repeat("a", 64)
	for name, tc := range map[string]struct {
		err  error
		want []string
	}{
		"provider":             {fleet.Provider{Name: "Local", Kind: "physical", Servers: []fleet.Server{{Host: "78.47.223.138", Slots: 2}, {Host: "::1", User: "erl"}}}.Validate(), nil},
		"provider without all": {fleet.Provider{}.Validate(), []string{"name", "kind"}},
		"servers": {fleet.Provider{Name: "x", Kind: "physical", Servers: []fleet.Server{
			{Host: "a b"}, {Host: "h", Port: 70000, Slots: -1}, {Host: "h", User: "-oProxyCommand=x"},
		}}.Validate(), []string{"servers[0].host", "servers[1].port", "servers[1].slots", "servers[2].host", "servers[2].user"}},
		"cloud with servers": {fleet.Provider{Name: "x", Kind: "ec2", Servers: []fleet.Server{{Host: "h"}}}.Validate(), []string{"servers"}},
		"release": {fleet.Release{
			Name: "Riak Linux 64-bit", StartCommand: "bin/riak start", StopCommand: "bin/riak stop", Cookie: "riak",
			Templates: []string{"etc/vm.args"}, Archives: []fleet.Archive{{SHA256: digest}},
		}.Validate(), nil},
		"release without all": {fleet.Release{}.Validate(), []string{"name", "start_command", "stop_command", "cookie"}},
		"release out of its tree": {fleet.Release{
			Name: "x", StartCommand: "a", StopCommand: "b\x00", Cookie: "two words", Templates: []string{"/etc/passwd", "../x", "a/../../x", "."},
			Archives: []fleet.Archive{{SHA256: "x"}, {SHA256: digest}},
		}.Validate(), []string{"stop_command", "cookie", "templates[0]", "templates[1]", "templates[2]", "templates[3]", "archives[0].sha256", "archives[1]"}},
		"family": {fleet.Family{Name: "Riak Cluster"}.WithDefaults().Validate(), nil},
		"family without all": {fleet.Family{
			Selection: "best", Bootstrap: fleet.Bootstrap{Strategy: "magic"}, Firewall: []fleet.FirewallRule{{Protocol: "sctp"}},
			Ports: fleet.PortRange{From: 9, To: 8}, EPMDPort: -1, Domains: []fleet.Domain{{SSHUser: "a b"}},
		}.Validate(), []string{"name", "selection", "bootstrap.strategy", "firewall[0]", "ports", "epmd_port", "domains[0].provider", "domains[0].ssh_user"}},
		"bootstrap without command": {fleet.Family{Name: "x", Bootstrap: fleet.Bootstrap{Strategy: fleet.BootstrapCustom}}.WithDefaults().Validate(), []string{"bootstrap.command"}},
		"bootstrap with command":    {fleet.Family{Name: "x", Bootstrap: fleet.Bootstrap{Command: "bin/x"}}.WithDefaults().Validate(), []string{"bootstrap.command"}},
		"deployment":                {fleet.DeployRequest{Family: "x", Amount: 7}.Validate(), nil},
		"deployment of too much":    {fleet.DeployRequest{Amount: fleet.MaxDeploy + 1, Key: strings.Repeat("k", 201)}.Validate(), []string{"family", "amount", "key"}},
	} {
		require.Equal(t, tc.want, paths(tc.err), name)
		if tc.want == nil {
			require.NoError(t, tc.err, name)
			continue
		}
		require.ErrorIs(t, tc.err, fleet.ErrInvalid, name)
	}
}

func TestSecretDoesNotShow(t *testing.T) {
	t.Parallel()
	r := fleet.Release{Name: "x", Cookie: "hunter2"}
	p := fleet.Provider{Secrets: map[string]fleet.Secret{"password": "hunter2"}}
	m := fleet.Manifest{Releases: []fleet.ManifestRelease{{Name: "x", Cookie: "hunter2"}}}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v %s %q %x", r, p, m, r.Cookie, r.Cookie, r.Cookie)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "r", r, "p", p, "cookie", r.Cookie)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "r", r, "p", p, "m", m)
	require.NoError(t, json.NewEncoder(&out).Encode([]any{r, p}))
	require.NoError(t, yaml.NewEncoder(&out).Encode([]any{r, p, m}))
	require.NotContains(t, out.String(), "hunter2")
	require.NotContains(t, out.String(), fmt.Sprintf("%x", "hunter2"))
	var back struct{ Cookie fleet.Secret }
	require.NoError(t, json.Unmarshal([]byte(`{"Cookie":"hunter2"}`), &back))
	require.Equal(t, fleet.Secret("hunter2"), back.Cookie)
	sent, err := json.Marshal(m)
	require.NoError(t, err)
	require.Contains(t, string(sent), "hunter2", "a manifest on its way to the server has what it needs")
}

const manifest = `
providers:
  - {name: Local, kind: physical, servers: [{host: h1, port: 2222, slots: 2, jump: [erl@gate]}]}
  - {name: EC2, kind: ec2, settings: {region: eu-west-1}, secrets: {password: hunter2}}
releases:
  - name: kv
    archives: [{os: Linux, arch: amd64, sha256: DIGEST}]
    templates: [etc/vm.args]
    start_command: bin/kv start
    stop_command: bin/kv stop
    cookie: hunter2
families:
  - name: KV
    release: kv
    firewall: tcp:4369:4369,tcp:6000:7999
    ports: 6000-7999
    bootstrap: {strategy: custom, command: bin/join}
    domains:
      - {provider: Local, ssh_user: erl, nodes: 2}
      - {provider: EC2, ssh_user: ubuntu, image: ami-1, hardware: t1.micro, nodes: 1}
`

// TestManifest reads a manifest, makes what it says, and gets it back.
func TestManifest(t *testing.T) {
	t.Parallel()
	m, err := fleet.ParseManifest([]byte(strings.ReplaceAll(manifest, "DIGEST", strings.Repeat("a", 64))))
	require.NoError(t, err)
	require.NoError(t, m.Validate())
	for _, mp := range m.Providers {
		p := mp.Provider(fleet.Provider{ID: "p"})
		require.NoError(t, p.Validate())
		require.Empty(t, fleet.Diff(mp, fleet.ProviderManifest(p)))
	}
	r := m.Releases[0].Release(fleet.Release{})
	require.NoError(t, r.Validate())
	require.Equal(t, "linux/x86_64", r.Archives[0].String())
	names := map[string]string{"p1": "Local", "p2": "EC2", "r1": "kv"}
	old := fleet.Family{ID: "f", Domains: []fleet.Domain{{ID: "d2", ProviderID: "p2"}, {ID: "d1", ProviderID: "p1"}}}
	f, err := m.Families[0].Family(old, names)
	require.NoError(t, err)
	require.Equal(t, "f", f.ID)
	require.Equal(t, []string{"d1", "d2"}, []string{f.Domains[0].ID, f.Domains[1].ID}, "domains are known by their provider")
	back := fleet.FamilyManifest(f, names)
	back.Domains[0].Nodes, back.Domains[1].Nodes = 2, 1
	back.Selection = ""
	require.Equal(t, m.Families[0], back)
	require.True(t, m.Names()[fleet.KindFamily+"KV"])

	changed := m.Releases[0]
	changed.Cookie, changed.StopCommand = "hunter3", "bin/kv halt"
	require.Equal(t, []fleet.FieldChange{
		{Path: "cookie", From: fleet.Masked, To: fleet.Masked},
		{Path: "stop_command", From: "bin/kv stop", To: "bin/kv halt"},
	}, fleet.Diff(m.Releases[0], changed))
	kept := fleet.ManifestRelease{Name: "kv"}.Release(fleet.Release{Cookie: "hunter2"})
	require.Equal(t, fleet.Secret("hunter2"), kept.Cookie, "what is left out stays")
}

func TestManifestRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                              "the manifest is empty",
		"famlies: []\nproviders: x":                     "line 1: famlies: unknown key; did you mean \"families\"?\nline 2: providers: must be a list, is a single value",
		"families: []\n---\nfamilies: []":               "line 2: only one document is allowed",
		"providers: [{servers: [{cpus: 2}]}]":           "line 1: providers[0].servers[0].cpus: unknown key",
		"providers: [{name: a}, {name: a}]":             `providers[1].name: "a" is there twice`,
		"releases: [{start_command: x}]":                "releases[0].name: is missing",
		"families: [{name: a, domains: [{nodes: -1}]}]": "families[0].domains[0].nodes: -1",
	} {
		m, err := fleet.ParseManifest([]byte(text))
		if err == nil {
			err = m.Validate()
		}
		require.ErrorIs(t, err, fleet.ErrInvalid, text)
		require.ErrorContains(t, err, want, text)
	}
	for _, f := range []fleet.ManifestFamily{{Name: "x", Ports: "7-x"}, {Name: "x", Firewall: "x"}, {Name: "x", Ports: "9-8"}} {
		_, err := f.Family(fleet.Family{}, nil)
		require.ErrorIs(t, err, fleet.ErrInvalid, f)
	}
}

// What a shell of the host expands is not for the environment of this program.
func TestManifestLeavesTheShellItsVariables(t *testing.T) {
	t.Parallel()
	m, err := fleet.ParseManifest([]byte("releases: [{name: a, start_command: 'echo $(hostname) $$(id -u)'}]"))
	require.NoError(t, err)
	require.Equal(t, "echo $(hostname) $$(id -u)", m.Releases[0].StartCommand)
}

func TestErrors(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	err := fleet.Errorf(fleet.ErrConflict, "node %q: %w", "n", cause)
	require.EqualError(t, err, `node "n": cause`)
	require.ErrorIs(t, err, fleet.ErrConflict)
	require.ErrorIs(t, err, cause)
	require.NoError(t, fleet.Permanent(nil))
	require.ErrorIs(t, fleet.Permanent(cause), cause)
	reason := fleet.Reason{Step: fleet.StepStart, Message: "no", Command: "bin/x start", ExitStatus: 3}
	require.Equal(t, `start: no (command "bin/x start", exit status 3)`, reason.String())
	require.EqualError(t, &fleet.CommandError{Command: "x", ExitStatus: -1, Err: cause}, `command "x" did not end by itself: cause`)
	require.Equal(t, fleet.ActorEngine, fleet.Actor(t.Context()))
	require.Equal(t, "alice", fleet.Actor(fleet.WithActor(t.Context(), "alice")))
}

func TestHostsAndUsers(t *testing.T) {
	t.Parallel()
	for host, ok := range map[string]bool{
		"78.47.223.138": true, "::1": true, "mq-1.example.org": true, "h": true, "": false, "a b": false, "-x": false,
		"a..b": false, "h;reboot": false, strings.Repeat("a", 64): false, "$(x)": false, "h\n": false,
	} {
		require.Equal(t, ok, fleet.ValidHost(host), host)
	}
	for user, ok := range map[string]bool{
		"ubuntu": true, "my_user-1": true, "": false, "-l": false, "a b": false, "a;b": false, "root\n": false, ".": false,
	} {
		require.Equal(t, ok, fleet.ValidUser(user), user)
	}
}
