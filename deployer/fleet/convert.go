package fleet

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Validate tells what is wrong with a manifest as such: what it names twice, or
// how many nodes it wants. What is in it is checked when it becomes real.
func (m Manifest) Validate() error {
	var c checker
	seen := map[string]bool{}
	once := func(path, kind, name string) {
		c.check(strings.TrimSpace(name) != "", path+".name", "is missing")
		c.check(!seen[kind+name], path+".name", "%q is there twice", name)
		seen[kind+name] = true
	}
	for i, p := range m.Providers {
		once(at("providers", i), KindProvider, p.Name)
	}
	for i, r := range m.Releases {
		once(at("releases", i), KindRelease, r.Name)
	}
	for i, f := range m.Families {
		once(at("families", i), KindFamily, f.Name)
		for j, d := range f.Domains {
			c.check(d.Nodes >= 0 && d.Nodes <= MaxDeploy, at("families", i)+"."+at("domains", j)+".nodes", "%d is not from 0 to %d", d.Nodes, MaxDeploy)
		}
	}
	return c.err("manifest")
}

func at(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

// Names returns kind and name, as one string, of all that a manifest names.
func (m Manifest) Names() map[string]bool {
	names := map[string]bool{}
	for _, p := range m.Providers {
		names[KindProvider+p.Name] = true
	}
	for _, r := range m.Releases {
		names[KindRelease+r.Name] = true
	}
	for _, f := range m.Families {
		names[KindFamily+f.Name] = true
	}
	return names
}

// Provider makes what a manifest wants of what there is. Secrets that it leaves
// out stay as they are.
func (m ManifestProvider) Provider(old Provider) Provider {
	old.Name, old.Kind, old.Settings, old.Servers = m.Name, m.Kind, m.Settings, nil
	for _, s := range m.Servers {
		old.Servers = append(old.Servers, Server(s))
	}
	if m.Secrets != nil {
		old.Secrets = map[string]Secret{}
		for name, s := range m.Secrets {
			old.Secrets[name] = Secret(s)
		}
	}
	return old
}

// ProviderManifest is the reverse of [ManifestProvider.Provider].
func ProviderManifest(p Provider) ManifestProvider {
	m := ManifestProvider{Name: p.Name, Kind: p.Kind, Settings: p.Settings}
	for _, s := range p.Servers {
		m.Servers = append(m.Servers, ManifestServer(s))
	}
	for name, s := range p.Secrets {
		if m.Secrets == nil {
			m.Secrets = map[string]PlainSecret{}
		}
		m.Secrets[name] = PlainSecret(s)
	}
	return m
}

// Release makes what a manifest wants of what there is. A cookie that it leaves
// out stays as it is.
func (m ManifestRelease) Release(old Release) Release {
	old.Name, old.Description, old.Templates = m.Name, m.Description, m.Templates
	old.StartCommand, old.StopCommand, old.PingCommand = m.StartCommand, m.StopCommand, m.PingCommand
	old.Archives = nil
	for _, a := range m.Archives {
		old.Archives = append(old.Archives, Archive{Platform: NewPlatform(a.OS, a.Arch), SHA256: a.SHA256})
	}
	if m.Cookie != "" {
		old.Cookie = Secret(m.Cookie)
	}
	return old
}

// ReleaseManifest is the reverse of [ManifestRelease.Release].
func ReleaseManifest(r Release) ManifestRelease {
	m := ManifestRelease{
		Name: r.Name, Description: r.Description, Templates: r.Templates, StartCommand: r.StartCommand,
		StopCommand: r.StopCommand, PingCommand: r.PingCommand, Cookie: PlainSecret(r.Cookie),
	}
	for _, a := range r.Archives {
		m.Archives = append(m.Archives, ManifestArchive{OS: a.OS, Arch: a.Arch, SHA256: a.SHA256})
	}
	return m
}

// Family makes what a manifest wants of what there is. Names stand for what
// does not exist yet; names maps the ids of what does. The first domain of a
// provider in the manifest is the first that the family has of it, and so on.
func (m ManifestFamily) Family(old Family, names map[string]string) (Family, error) {
	rules, err := ParseFirewall(m.Firewall)
	if err != nil {
		return old, err
	}
	ports, err := parseRange(m.Ports)
	if err != nil {
		return old, err
	}
	f := old
	f.Name, f.Description, f.ReleaseID, f.Firewall = m.Name, m.Description, m.Release, rules
	f.Selection, f.Ports, f.EPMDPort, f.Protected = m.Selection, ports, m.EPMDPort, m.Protected
	f.Bootstrap = Bootstrap{Strategy: BootstrapStrategy(m.Bootstrap.Strategy), Command: m.Bootstrap.Command, LeaveCommand: m.Bootstrap.LeaveCommand}
	free := slices.Clone(old.Domains)
	f.Domains = nil
	for _, md := range m.Domains {
		d := Domain{ProviderID: md.Provider, SSHUser: md.SSHUser, Image: md.Image, Hardware: md.Hardware, Settings: md.Settings}
		if i := slices.IndexFunc(free, func(d Domain) bool { return names[d.ProviderID] == md.Provider }); i >= 0 {
			d.ID = free[i].ID
			free = slices.Delete(free, i, i+1)
		}
		f.Domains = append(f.Domains, d)
	}
	f = f.WithDefaults()
	return f, f.Validate()
}

// FamilyManifest is the reverse of [ManifestFamily.Family], the numbers of
// nodes aside. References that are names already stay so.
func FamilyManifest(f Family, names map[string]string) ManifestFamily {
	f = f.WithDefaults()
	m := ManifestFamily{
		Name: f.Name, Description: f.Description, Release: nameOf(names, f.ReleaseID), Firewall: FormatFirewall(f.Firewall),
		Selection: f.Selection, EPMDPort: f.EPMDPort, Protected: f.Protected,
		Bootstrap: ManifestBootstrap{Strategy: string(f.Bootstrap.Strategy), Command: f.Bootstrap.Command, LeaveCommand: f.Bootstrap.LeaveCommand},
	}
	if !f.Ports.IsZero() {
		m.Ports = f.Ports.String()
	}
	for _, d := range f.Domains {
		m.Domains = append(m.Domains, ManifestDomain{
			Provider: nameOf(names, d.ProviderID), SSHUser: d.SSHUser, Image: d.Image, Hardware: d.Hardware, Settings: d.Settings,
		})
	}
	return m
}

func nameOf(names map[string]string, ref string) string {
	if name, ok := names[ref]; ok {
		return name
	}
	return ref
}

func parseRange(s string) (PortRange, error) {
	if s == "" {
		return PortRange{}, nil
	}
	from, to, _ := strings.Cut(s, "-")
	if to == "" {
		to = from
	}
	first, err := parsePort(strings.TrimSpace(from))
	if err != nil {
		return PortRange{}, Errorf(ErrInvalid, "ports %q: %w", s, err)
	}
	last, err := parsePort(strings.TrimSpace(to))
	if err != nil {
		return PortRange{}, Errorf(ErrInvalid, "ports %q: %w", s, err)
	}
	return PortRange{From: first, To: last}, nil
}

// Diff lists what differs between two values of one type in manifest form, by
// path. Secrets show as changed, and not as what they are.
func Diff[T any](from, to T) []FieldChange {
	a, b := map[string]string{}, map[string]string{}
	flatten("", from, a)
	flatten("", to, b)
	paths := maps.Clone(a)
	maps.Copy(paths, b)
	var changes []FieldChange
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if a[path] == b[path] {
			continue
		}
		c := FieldChange{Path: path, From: a[path], To: b[path]}
		if path == "cookie" || strings.HasPrefix(path, "secrets.") {
			c.From, c.To = mask(c.From), mask(c.To)
		}
		changes = append(changes, c)
	}
	return changes
}

func mask(s string) string { return Secret(s).String() }

// flatten gives every scalar of a value its path.
func flatten(path string, v any, out map[string]string) {
	var plain any
	data, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(data, &plain)
	}
	if err != nil {
		out[path] = err.Error()
		return
	}
	flattenPlain(path, plain, out)
}

func flattenPlain(path string, v any, out map[string]string) {
	switch v := v.(type) {
	case nil:
	case map[string]any:
		for name, item := range v {
			flattenPlain(strings.TrimPrefix(path+"."+name, "."), item, out)
		}
	case []any:
		for i, item := range v {
			flattenPlain(at(path, i), item, out)
		}
	default:
		out[path] = fmt.Sprint(v)
	}
}
