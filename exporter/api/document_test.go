package api_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/api"
)

// TestGeneratedIsCommitted generates again what is committed.
func TestGeneratedIsCommitted(t *testing.T) {
	t.Parallel()
	directives, err := os.ReadFile("generate.go")
	require.NoError(t, err)
	commands := regexp.MustCompile(`(?m)^//go:generate go run (\S+) -config (\S+) -o (\S+) (\S+)$`).FindAllStringSubmatch(string(directives), -1)
	require.Len(t, commands, 2)
	generator := commands[0][1]
	program := filepath.Join(t.TempDir(), "bin")
	install := exec.CommandContext(t.Context(), "go", "install", generator)
	install.Env = append(os.Environ(), "GOBIN="+program)
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("cannot build the generator %s: %v\n%s", generator, err, out)
	}
	for _, c := range commands {
		fresh := filepath.Join(t.TempDir(), "fresh.go")
		run := exec.CommandContext(t.Context(), filepath.Join(program, "oapi-codegen"), "-config", c[2], "-o", fresh, c[4])
		out, err := run.CombinedOutput()
		require.NoError(t, err, string(out))
		want, err := os.ReadFile(fresh)
		require.NoError(t, err)
		got, err := os.ReadFile(c[3])
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), "%s is not what openapi.yaml gives: run go generate ./exporter/api", c[3])
	}
}

// TestRoutesAreDocumented holds the table in docs/api.md to the code.
func TestRoutesAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "api.md"))
	require.NoError(t, err)
	s, err := api.New(api.Options{Backend: newFleet()})
	require.NoError(t, err)
	require.Len(t, s.Routes(), 33)
	for _, r := range s.Routes() {
		row := "| `" + r.Method + " " + r.Pattern + "` | " + r.Role.String() + " |"
		require.Contains(t, string(text), row)
	}
}
