//go:build e2e

package alerts_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

func TestPromtool(t *testing.T) {
	t.Parallel()
	promtool := erltest.Promtool(t)
	files, err := filepath.Glob("*.yml")
	require.NoError(t, err)
	files = slices.DeleteFunc(files, func(f string) bool { return f == "alertmanager.example.yml" })
	run(t, promtool, append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, files...)...)
	tests, err := filepath.Glob("tests/*.yml")
	require.NoError(t, err)
	for _, test := range tests {
		t.Run(filepath.Base(test), func(t *testing.T) { run(t, promtool, "test", "rules", test) })
	}
}

func TestAlertmanagerExample(t *testing.T) {
	t.Parallel()
	run(t, erltest.Amtool(t), "check-config", "alertmanager.example.yml")
}

func run(t *testing.T, program string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	require.NoError(t, err, string(out))
}
