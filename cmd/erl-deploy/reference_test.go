package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
)

// TestReference holds the reference in docs/deploy.md against the program.
func TestReference(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "deploy.md")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	const mark = "-run TestReference -update -->\n"
	head, reference, ok := strings.Cut(string(text), mark)
	require.True(t, ok)
	app := (&program{}).app()
	var b strings.Builder
	b.WriteString("\n### All commands\n\n| Option of the program | |\n|---|---|\n")
	writeFlags(&b, app.Flags)
	writeCommands(&b, "erl-deploy", app.Commands)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(head+mark+b.String()), 0o600))
		return
	}
	require.Equal(t, b.String(), reference)
}

func writeCommands(b *strings.Builder, parent string, commands []*cli.Command) {
	for _, c := range commands {
		if len(c.Subcommands) > 0 {
			writeCommands(b, parent+" "+c.Name, c.Subcommands)
			continue
		}
		fmt.Fprintf(b, "\n`%s` — %s\n", strings.TrimSpace(parent+" "+c.Name+" "+c.ArgsUsage), c.Usage)
		if len(c.Flags) > 0 {
			b.WriteString("\n| Option | |\n|---|---|\n")
			writeFlags(b, c.Flags)
		}
	}
}

func writeFlags(b *strings.Builder, flags []cli.Flag) {
	for _, f := range flags {
		d, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		usage := strings.NewReplacer("|", `\|`).Replace(d.GetUsage())
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
		fmt.Fprintf(b, "| `%s%s` | %s |\n", strings.Join(names, ", "), value, usage)
	}
}
