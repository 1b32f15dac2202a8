package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/clikit"
)

func (p *program) providerCommand() *cli.Command {
	return &cli.Command{
		Name: "provider", Usage: "where machines come from",
		Subcommands: []*cli.Command{
			{
				Name: "add", Usage: "add a provider", ArgsUsage: "NAME", Action: p.with(p.addProvider),
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "kind", Value: fleet.KindPhysical, Usage: "`KIND` of provider"},
					&cli.StringSliceFlag{Name: "server", Usage: "`HOST[,slots=N][,user=USER][,port=N][,key-file=FILE][,jump=HOST]` that runs already; repeatable"},
					&cli.StringSliceFlag{Name: "host-key", Usage: "pin a host: `\"HOST ssh-ed25519 AAAA…\"` as in known_hosts; repeatable"},
					&cli.StringSliceFlag{Name: "setting", Usage: "`KEY=VALUE` that the kind needs; repeatable"},
					&cli.StringSliceFlag{Name: "secret-file", Usage: "`KEY=FILE` with a secret that the kind needs; repeatable"},
				},
			},
			{Name: "list", Aliases: []string{"ls"}, Usage: "list providers", Action: p.with(p.listProviders)},
			{Name: "show", Usage: "show a provider", ArgsUsage: "PROVIDER", Action: p.with(p.showProvider)},
			{
				Name: "remove", Aliases: []string{"rm"}, Usage: "remove a provider that no family uses", ArgsUsage: "PROVIDER",
				Flags: []cli.Flag{yesFlag()}, Action: p.with(p.removeProvider),
			},
		},
	}
}

func (p *program) addProvider(c *cli.Context, b *connection) error {
	name, err := clikit.One(c, "name")
	if err != nil {
		return err
	}
	in := fleet.Provider{Name: name, Kind: c.String("kind"), Secrets: map[string]fleet.Secret{}}
	for _, text := range c.StringSlice("server") {
		server, err := parseServer(text)
		if err != nil {
			return err
		}
		in.Servers = append(in.Servers, server)
	}
	if err := pinHosts(in.Servers, c.StringSlice("host-key")); err != nil {
		return err
	}
	if in.Settings, err = clikit.Pairs("setting", c.StringSlice("setting")); err != nil {
		return err
	}
	files, err := clikit.Pairs("secret-file", c.StringSlice("secret-file"))
	if err != nil {
		return err
	}
	for key, file := range files {
		if in.Secrets[key], err = readSecret("secret-file", file); err != nil {
			return err
		}
	}
	added, err := b.AddProvider(c.Context, in)
	if err != nil {
		return err
	}
	return p.printProvider(c, added)
}

func parseServer(text string) (fleet.Server, error) {
	host, fields, err := parseFields(text, true, "slots", "user", "port", "key-file", "jump")
	if err != nil {
		return fleet.Server{}, err
	}
	s := fleet.Server{Host: host, User: fields["user"], KeyFile: fields["key-file"]}
	if fields["jump"] != "" {
		s.Jump = strings.Fields(fields["jump"])
	}
	for key, into := range map[string]*int{"slots": &s.Slots, "port": &s.Port} {
		if fields[key] == "" {
			continue
		}
		if *into, err = strconv.Atoi(fields[key]); err != nil {
			return s, clikit.Usagef("--server %q: %s %q is not a number", text, key, fields[key])
		}
	}
	return s, nil
}

// pinHosts gives each host its keys.
func pinHosts(servers []fleet.Server, keys []string) error {
	for _, text := range keys {
		host, key, ok := strings.Cut(strings.TrimSpace(text), " ")
		i := slices.IndexFunc(servers, func(s fleet.Server) bool { return s.Host == host })
		if !ok || i < 0 {
			return clikit.Usagef("--host-key %q is not the name of a --server, a space and its key", text)
		}
		servers[i].HostKeys = append(servers[i].HostKeys, strings.TrimSpace(key))
	}
	return nil
}

func (p *program) listProviders(c *cli.Context, b *connection) error {
	if err := clikit.None(c); err != nil {
		return err
	}
	providers, err := b.Providers(c.Context)
	if err != nil {
		return err
	}
	return p.print(c, clikit.Listed(providers), func(w io.Writer) {
		clikit.Row(w, "NAME", "KIND", "HOSTS", "SLOTS", "AGE", "ID")
		for _, v := range providers {
			clikit.Row(w, v.Name, v.Kind, len(v.Servers), slotsText(v), clikit.Age(p.now(), v.CreatedAt), v.ID)
		}
	})
}

func slotsText(v fleet.Provider) string {
	total := 0
	for _, s := range v.Servers {
		if s.Slots == 0 {
			return "no limit"
		}
		total += s.Slots
	}
	return strconv.Itoa(total)
}

func (p *program) showProvider(c *cli.Context, b *connection) error {
	ref, err := clikit.One(c, "provider")
	if err != nil {
		return err
	}
	v, err := b.Provider(c.Context, ref)
	if err != nil {
		return err
	}
	return p.printProvider(c, v)
}

func (p *program) printProvider(c *cli.Context, v fleet.Provider) error {
	return p.print(c, v, func(w io.Writer) {
		clikit.Fields(w, "Name", v.Name, "ID", v.ID, "Kind", v.Kind)
		for _, key := range sortedKeys(v.Settings) {
			clikit.Fields(w, key, v.Settings[key])
		}
		for _, key := range sortedKeys(v.Secrets) {
			clikit.Fields(w, key, v.Secrets[key].String())
		}
		for _, s := range v.Servers {
			clikit.Fields(w, "Host", serverText(s))
		}
	})
}

func serverText(s fleet.Server) string {
	text := s.Host
	add := func(format string, value any, there bool) {
		if there {
			text += fmt.Sprintf(format, value)
		}
	}
	add(", port %d", s.Port, s.Port != 0)
	add(", user %s", s.User, s.User != "")
	add(", %s", clikit.Count(s.Slots, "slot"), s.Slots != 0)
	add(", through %s", strings.Join(s.Jump, " and "), len(s.Jump) > 0)
	add(", key file %s", s.KeyFile, s.KeyFile != "")
	add(", %s", clikit.Count(len(s.HostKeys), "pinned key"), len(s.HostKeys) > 0)
	return text
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func (p *program) removeProvider(c *cli.Context, b *connection) error {
	ref, err := clikit.One(c, "provider")
	if err != nil {
		return err
	}
	v, err := b.Provider(c.Context, ref)
	if err != nil {
		return err
	}
	if err := p.confirm(c, fmt.Sprintf("The provider %q and its secrets will be removed", v.Name), v.Name); err != nil {
		return err
	}
	return b.RemoveProvider(c.Context, v.ID)
}
