package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/clikit"
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
	b.WriteString(clikit.ReferenceFlags(app.Flags) + clikit.Reference("erl-deploy", app.Commands))
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(head+mark+b.String()), 0o600))
		return
	}
	require.Equal(t, b.String(), reference)
}
