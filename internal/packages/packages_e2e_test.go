//go:build e2e_full

package packages_test

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/erltest"
)

//go:embed install.sh
var install string

// build builds what a release has for this machine, and returns its folder.
func build(t *testing.T) string {
	t.Helper()
	config, err := os.ReadFile("../../.goreleaser.yaml")
	require.NoError(t, err)
	one := strings.Replace(string(config), "targets: [linux_amd64, linux_arm64]", "targets: [linux_"+runtime.GOARCH+"]", 1)
	require.NotEqual(t, string(config), one)
	file := filepath.Join(t.TempDir(), "goreleaser.yaml")
	require.NoError(t, os.WriteFile(file, []byte(one), 0o600))
	made := exec.Command("make", "-C", "../..", "release-snapshot", "RELEASE_FLAGS=--config "+file)
	out, err := made.CombinedOutput()
	require.NoError(t, err, string(out))
	return "../../dist"
}

func one(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.Len(t, found, 1, pattern)
	path, err := filepath.Abs(found[0])
	require.NoError(t, err)
	return path
}

// TestPackages installs the package for Debian in a Debian that has nothing of
// Erlang's, runs both services as their users, and removes it without a trace.
func TestPackages(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can install packages")
	}
	root := erltest.RequireMade(t, "graphite") // a Debian 12
	dist := build(t)
	deb := one(t, filepath.Join(dist, "*_"+runtime.GOARCH+".deb"))
	one(t, filepath.Join(dist, "*.rpm"))
	checksums, err := os.ReadFile(filepath.Join(dist, "checksums.txt"))
	require.NoError(t, err)
	require.Contains(t, string(checksums), filepath.Base(deb))
	for _, program := range []string{"erl-exporter", "erl-deploy"} {
		sbom, err := os.ReadFile(one(t, filepath.Join(dist, program+"_*.cdx.json")))
		require.NoError(t, err)
		require.Contains(t, string(sbom), "pkg:golang/github.com/prometheus/client_golang@")
	}
	dir := t.TempDir()
	args := []string{"--net", "--mount", "--propagation", "private", "bash", "-c", install, "install", root}
	for _, name := range []string{"upper", "work", "copy"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		args = append(args, filepath.Join(dir, name))
	}
	out, err := exec.Command("unshare", append(args, deb)...).CombinedOutput()
	t.Log(string(out))
	require.NoError(t, err)
	revision, err := exec.Command("git", "rev-parse", "HEAD").Output()
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(out), "revision="+strings.TrimSpace(string(revision))), "both programs know their commit")
	for _, line := range []string{"running erl-exporter as erl-exporter", "running erl-deploy as erl-deploy", "nothing is left"} {
		require.Contains(t, strings.Split(string(out), "\n"), line)
	}
}
