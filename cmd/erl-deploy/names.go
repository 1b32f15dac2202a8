package main

import (
	"context"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/clikit"
)

// names tells what ids are called.
type names struct{ families, providers, releases map[string]string }

func loadNames(ctx context.Context, b *connection) (names, error) {
	n := names{map[string]string{}, map[string]string{}, map[string]string{}}
	families, err := b.Families(ctx)
	if err != nil {
		return n, err
	}
	for _, f := range families {
		n.families[f.ID] = f.Name
	}
	providers, err := b.Providers(ctx)
	if err != nil {
		return n, err
	}
	for _, v := range providers {
		n.providers[v.ID] = v.Name
	}
	releases, err := b.Releases(ctx)
	if err != nil {
		return n, err
	}
	for _, r := range releases {
		n.releases[r.ID] = r.Name
	}
	return n, nil
}

// family gives the name of a family, or the beginning of its id when it is
// gone.
func (n names) family(id string) string {
	if name, ok := n.families[id]; ok {
		return name
	}
	return clikit.Short(id)
}

// label names a node on a screen.
func (n names) label(node fleet.Node) string {
	return n.family(node.FamilyID) + "/" + clikit.Short(node.ID)
}
