package clikit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Reference describes commands and their options in Markdown, for the
// documents of a program. Options that all have in common are left out, and hidden
// commands.
func Reference(program string, commands []*cli.Command, common ...cli.Flag) string {
	var names []string
	for _, f := range common {
		names = append(names, f.Names()[0])
	}
	var b strings.Builder
	writeCommands(&b, program, commands, names)
	return b.String()
}

func writeCommands(b *strings.Builder, parent string, commands []*cli.Command, common []string) {
	for _, c := range commands {
		if c.Hidden {
			continue
		}
		if len(c.Subcommands) == 0 || len(c.Flags) > 0 {
			fmt.Fprintf(b, "\n`%s` — %s\n", strings.TrimSpace(parent+" "+c.Name+" "+c.ArgsUsage), c.Usage)
			own := slices.DeleteFunc(slices.Clone(c.Flags), func(f cli.Flag) bool { return slices.Contains(common, f.Names()[0]) })
			if len(own) > 0 {
				b.WriteString("\n| Option | |\n|---|---|\n" + ReferenceFlags(own))
			}
		}
		writeCommands(b, parent+" "+c.Name, c.Subcommands, common)
	}
}

// ReferenceFlags gives a row of a Markdown table for each flag.
func ReferenceFlags(flags []cli.Flag) string {
	var b strings.Builder
	for _, f := range flags {
		d, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		usage := strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(d.GetUsage())
		// The value is quoted in the usage; its first name stands with the flag.
		value := ""
		if parts := strings.SplitN(usage, "`", 3); len(parts) == 3 {
			value, usage = " "+parts[1], parts[0]+parts[1]+parts[2]
		}
		var names []string
		for _, name := range f.Names() {
			dashes := "--"
			if len(name) == 1 {
				dashes = "-"
			}
			names = append(names, dashes+name)
		}
		fmt.Fprintf(&b, "| `%s%s` | %s |\n", strings.Join(names, ", "), value, usage)
	}
	return b.String()
}
