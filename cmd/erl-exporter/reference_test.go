package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/clikit"
)

var update = flag.Bool("update", false, "write the reference in docs/cli.md anew")

// TestReference holds the reference in docs/cli.md against the program.
func TestReference(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "cli.md")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	const mark = "-run TestReference -update -->\n"
	head, reference, ok := strings.Cut(string(text), mark)
	require.True(t, ok)
	want := "\n### All commands\n\n| Option of every command | |\n|---|---|\n" + clikit.ReferenceFlags(clientFlags()) +
		clikit.Reference("erl-exporter", (&program{}).commands(), clientFlags()...)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(head+mark+want), 0o600))
		return
	}
	require.Equal(t, want, reference)
}
