package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/clikit"
)

func manifestFlag() cli.Flag {
	return &cli.PathFlag{Name: "file", Aliases: []string{"f"}, Required: true, Usage: "the fleet as it should be: `FILE` (YAML)"}
}

func (p *program) planCommand() *cli.Command {
	return &cli.Command{
		Name: "plan", Usage: "show what apply would do; archives are uploaded already",
		Flags: []cli.Flag{manifestFlag(), &cli.BoolFlag{Name: "exit-code", Usage: fmt.Sprintf("exit with %d when there are changes", clikit.ExitChanges)}},
		Action: p.with(func(c *cli.Context, b *connection) error {
			_, plan, err := p.plan(c, b)
			if err != nil {
				return err
			}
			if err := p.printPlan(c, plan); err != nil {
				return err
			}
			if c.Bool("exit-code") && len(plan.Changes) > 0 {
				return &clikit.ExitError{Code: clikit.ExitChanges}
			}
			return nil
		}),
	}
}

func (p *program) applyCommand() *cli.Command {
	return &cli.Command{
		Name: "apply", Usage: "make the fleet what a file says, after showing the difference",
		Flags:  append([]cli.Flag{manifestFlag(), yesFlag()}, waitFlags()...),
		Action: p.working(p.apply),
	}
}

// plan reads the manifest with all that it refers to, and asks for the plan.
func (p *program) plan(c *cli.Context, b *connection) (fleet.Manifest, fleet.Plan, error) {
	if err := clikit.None(c); err != nil {
		return fleet.Manifest{}, fleet.Plan{}, err
	}
	m, err := p.readManifest(c, b)
	if err != nil {
		return m, fleet.Plan{}, err
	}
	plan, err := b.Plan(c.Context, m)
	return m, plan, err
}

// readManifest reads the files that a manifest names, relative to itself, and
// uploads its archives.
func (p *program) readManifest(c *cli.Context, b *connection) (fleet.Manifest, error) {
	path := c.Path("file")
	text, err := os.ReadFile(path)
	if err != nil {
		return fleet.Manifest{}, err
	}
	m, err := fleet.ParseManifest(text)
	if err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	at := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(filepath.Dir(path), name)
	}
	for i := range m.Providers {
		if err := readSecretFiles(&m.Providers[i], at); err != nil {
			return m, err
		}
	}
	for i := range m.Releases {
		if err := p.readRelease(c, b, &m.Releases[i], at); err != nil {
			return m, err
		}
	}
	return m, nil
}

func readSecretFiles(v *fleet.ManifestProvider, at func(string) string) error {
	for _, name := range sortedKeys(v.SecretFiles) {
		if _, twice := v.Secrets[name]; twice {
			return fleet.Errorf(fleet.ErrInvalid, "provider %q: the secret %q is among secrets and secret_files", v.Name, name)
		}
		secret, err := readSecret("file", at(v.SecretFiles[name]))
		if err != nil {
			return fmt.Errorf("provider %q: %w", v.Name, err)
		}
		if v.Secrets == nil {
			v.Secrets = map[string]fleet.PlainSecret{}
		}
		v.Secrets[name] = fleet.PlainSecret(secret)
	}
	v.SecretFiles = nil
	return nil
}

func (p *program) readRelease(c *cli.Context, b *connection, r *fleet.ManifestRelease, at func(string) string) error {
	if r.CookieFile != "" {
		if r.Cookie != "" {
			return fleet.Errorf(fleet.ErrInvalid, "release %q: at most one of cookie and cookie_file can be given", r.Name)
		}
		cookie, err := readSecret("file", at(r.CookieFile))
		if err != nil {
			return fmt.Errorf("release %q: %w", r.Name, err)
		}
		r.Cookie, r.CookieFile = fleet.PlainSecret(cookie), ""
	}
	for i := range r.Archives {
		a := &r.Archives[i]
		if a.File == "" {
			continue
		}
		uploaded, err := p.upload(c.Context, b, at(a.File))
		if err != nil {
			return fmt.Errorf("release %q: %w", r.Name, err)
		}
		if a.SHA256 != "" && a.SHA256 != uploaded.SHA256 {
			return fleet.Errorf(fleet.ErrInvalid, "release %q: file %q is %s, not %s", r.Name, a.File, uploaded.SHA256, a.SHA256)
		}
		a.SHA256, a.File = uploaded.SHA256, ""
	}
	return nil
}

func (p *program) apply(c *cli.Context, b *connection) error {
	w, err := p.newWatch(c, b)
	if err != nil {
		return err
	}
	m, plan, err := p.plan(c, b)
	if err != nil {
		return err
	}
	if err := p.printPlan(c, plan); err != nil {
		return err
	}
	// Without changes there may still be work of an apply that was interrupted.
	if len(plan.Changes) > 0 {
		if err := p.confirmPlan(c, plan); err != nil {
			return err
		}
		if _, err := b.Apply(c.Context, m, plan.Digest); err != nil {
			return err
		}
	}
	if c.Bool("no-wait") && !b.alone {
		return nil
	}
	return p.waitApplied(c, b, w)
}

// confirmPlan asks for more than a yes only when something is lost.
func (p *program) confirmPlan(c *cli.Context, plan fleet.Plan) error {
	lost := 0
	for _, change := range plan.Changes {
		if change.Destroys {
			lost++
		}
	}
	if lost > 0 {
		return p.confirm(c, fmt.Sprintf("%d of %s destroy something", lost, clikit.Count(len(plan.Changes), "change")), "destroy")
	}
	return p.confirm(c, fmt.Sprintf("%s will be made", clikit.Count(len(plan.Changes), "change")), "yes")
}

// waitApplied waits for every node that has something to do.
func (p *program) waitApplied(c *cli.Context, b *connection, w *watch) error {
	nodes, err := b.Nodes(c.Context, fleet.NodeFilter{})
	if err != nil {
		return err
	}
	var busy []fleet.Node
	for _, n := range nodes {
		if n.Task != nil {
			busy = append(busy, n)
		}
	}
	w.applying = true
	_, failed := w.wait(c.Context, busy, c.Duration("timeout"))
	if failed != nil {
		return failed
	}
	if b.settle != nil {
		return b.settle(c.Context)
	}
	return nil
}

func (p *program) printPlan(c *cli.Context, plan fleet.Plan) error {
	plan.Changes = clikit.Listed(plan.Changes)
	return p.print(c, plan, func(w io.Writer) {
		if len(plan.Changes) == 0 {
			fmt.Fprintln(w, "Nothing to do: the fleet is as the file says.")
			return
		}
		counts := map[fleet.Verb]int{}
		for _, change := range plan.Changes {
			counts[change.Verb]++
			printChange(w, change)
		}
		var parts []string
		for _, verb := range []fleet.Verb{fleet.VerbCreate, fleet.VerbUpdate, fleet.VerbDelete, fleet.VerbDeploy, fleet.VerbRetry} {
			if counts[verb] > 0 {
				parts = append(parts, fmt.Sprintf("%d to %s", counts[verb], verb))
			}
		}
		fmt.Fprintf(w, "\nPlan: %s.\n", strings.Join(parts, ", "))
	})
}

// signs are those of a diff.
var signs = map[fleet.Verb]string{
	fleet.VerbCreate: "+", fleet.VerbUpdate: "~", fleet.VerbDelete: "-", fleet.VerbDeploy: "+", fleet.VerbRetry: "!",
}

func printChange(w io.Writer, change fleet.Change) {
	text := fmt.Sprintf("%s %s %s %q", signs[change.Verb], change.Verb, change.Kind, change.Name)
	if change.Detail != "" {
		text += " (" + change.Detail + ")"
	}
	fmt.Fprintln(w, clikit.OneLine(text))
	for _, f := range change.Fields {
		fmt.Fprintf(w, "    %s: %s -> %s\n", f.Path, orNothing(f.From), orNothing(f.To))
	}
}

func orNothing(s string) string {
	if s == "" {
		return "(nothing)"
	}
	return clikit.OneLine(s)
}
