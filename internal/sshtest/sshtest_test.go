package sshtest_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/sshtest"
)

func ssh(t *testing.T, h *sshtest.Host, command string) string {
	t.Helper()
	known := t.TempDir() + "/known_hosts"
	require.NoError(t, os.WriteFile(known, []byte(h.KnownHost()+"\n"), 0o600))
	out, err := exec.CommandContext(t.Context(), "ssh", "-F", "none", "-i", h.KeyFile, "-o", "BatchMode=yes",
		"-o", "UserKnownHostsFile="+known, h.User+"@"+h.Address, command).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

func TestHosts(t *testing.T) {
	t.Parallel()
	a := sshtest.Start(t, sshtest.Options{})
	b := sshtest.Start(t, sshtest.Options{User: "root", KeyFile: a.KeyFile, Machine: "aarch64", Profile: "echo hello"})
	require.Equal(t, "erl\n", ssh(t, a, "id -un"))
	require.Equal(t, "hello\nroot\naarch64\n", ssh(t, b, "id -un; uname -m"))
	require.NotEqual(t, a.Address, b.Address)

	before := a.Files(t)
	ssh(t, a, "echo x >file")
	require.FileExists(t, a.Home("file"))
	require.NotEqual(t, before, a.Files(t))
	require.NoFileExists(t, b.Path("/home/erl/file"))
	ssh(t, a, "rm file")
	require.Equal(t, before, a.Files(t))
}

func TestDown(t *testing.T) {
	t.Parallel()
	h := sshtest.Start(t, sshtest.Options{})
	ssh(t, h, "touch kept; (setsid sleep 1000 >/dev/null 2>&1 &)")
	require.Equal(t, []string{"sleep 1000"}, h.Processes(t))
	h.Down(t)
	h.Up(t)
	require.Empty(t, h.Processes(t))
	require.FileExists(t, h.Home("kept"))
}

func TestEndWithTheTest(t *testing.T) {
	t.Parallel()
	var h *sshtest.Host
	t.Run("host", func(t *testing.T) { h = sshtest.Start(t, sshtest.Options{}) })
	if h != nil {
		require.NoDirExists(t, h.Path("/"))
	}
}
