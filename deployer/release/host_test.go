package release_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/engine"
	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/release"
	"github.com/erlops/erlops/deployer/ssh"
	"github.com/erlops/erlops/internal/sshtest"
)

var _ engine.Host = (*release.Host)(nil)

// newHosts opens hosts as the deployer does.
func newHosts(t *testing.T) *release.Hosts {
	t.Helper()
	dialer, err := ssh.New(ssh.Options{})
	require.NoError(t, err)
	hosts, err := release.New(release.Options{Dial: dialer.Dial})
	require.NoError(t, err)
	t.Cleanup(func() { hosts.Close() })
	return hosts
}

func open(t *testing.T, hosts *release.Hosts, l fleet.Login) *release.Host {
	t.Helper()
	h, err := hosts.Open(t.Context(), l)
	require.NoError(t, err)
	t.Cleanup(func() { h.Close() })
	return h
}

// file is an entry of an archive for tests.
type file struct {
	tar.Header
	text string
}

func plain(name, text string) file {
	return file{tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg}, text}
}

func program(name, text string) file {
	return file{tar.Header{Name: name, Mode: 0o755, Typeflag: tar.TypeReg}, text}
}

// archive packs files.
func archive(t testing.TB, files ...file) (fleet.Archive, *bytes.Reader) {
	t.Helper()
	var b bytes.Buffer
	zipped, err := gzip.NewWriterLevel(&b, gzip.HuffmanOnly)
	require.NoError(t, err)
	w := tar.NewWriter(zipped)
	for _, f := range files {
		f.Size = int64(len(f.text))
		require.NoError(t, w.WriteHeader(&f.Header))
		_, err := w.Write([]byte(f.text))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, zipped.Close())
	digest := sha256.Sum256(b.Bytes())
	return fleet.Archive{SHA256: hex.EncodeToString(digest[:]), Size: int64(b.Len())}, bytes.NewReader(b.Bytes())
}

// small is a release without Erlang in it: a node is a process that sleeps.
func small(t testing.TB) (fleet.Archive, *bytes.Reader) {
	t.Helper()
	return archive(t,
		program("small/bin/start", "#!/bin/sh\nnohup sleep 1000 >/dev/null 2>&1 &\necho started\n"),
		program("small/bin/stop", "#!/bin/sh\nexit 0\n"),
		plain("small/etc/vm.args", "-name {{ node_name }}\n-hidden {{node_id}} {{ other }} {{1,2}}\n"),
	)
}

func installation(a fleet.Archive, l fleet.Login) fleet.Installation {
	id := uuid.NewString()
	return fleet.Installation{
		Owner: uuid.NewString(), FamilyID: uuid.NewString(), NodeID: id, NodeName: fleet.NodeName(id, l.Host),
		Archive: a, Templates: []string{"etc/vm.args"}, Cookie: "a-cookie-of-tests",
		Variables: map[string]string{"node_name": fleet.NodeName(id, l.Host), "node_id": id, "family": "a family"},
	}
}

// deploy brings a node to where it can be started.
func deploy(t *testing.T, h *release.Host, i fleet.Installation, content *bytes.Reader) []string {
	t.Helper()
	require.NoError(t, h.Upload(t.Context(), i.Archive, content, nil))
	require.NoError(t, h.Install(t.Context(), i))
	warnings, err := h.Configure(t.Context(), i)
	require.NoError(t, err)
	return warnings
}

// TestListening has programs of the host listen, one on each version of IP.
func TestListening(t *testing.T) {
	t.Parallel()
	machine := sshtest.Start(t, sshtest.Options{})
	h := open(t, newHosts(t), machine.Login())
	before, err := h.Facts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []int{22}, before.Listening)
	machine.Exec(t, "perl", "-MSocket", "-e", `
		my @sockets;
		for ([AF_INET6, pack_sockaddr_in6(6010, Socket::inet_pton(AF_INET6, "::"))], [AF_INET, pack_sockaddr_in(6001, inet_aton("127.0.0.1"))]) {
			my $s;
			socket($s, $_->[0], SOCK_STREAM, 0) && bind($s, $_->[1]) && listen($s, 1) or die $!;
			push @sockets, $s;
		}
		fork and exit;
		close STDOUT; close STDERR;
		sleep 600`)
	facts, err := h.Facts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []int{22, 6001, 6010}, facts.Listening)
}

func TestLifeOfANode(t *testing.T) {
	t.Parallel()
	machine := sshtest.Start(t, sshtest.Options{Profile: "echo a profile that talks\n"})
	h := open(t, newHosts(t), machine.Login())
	before := machine.Files(t)
	facts, err := h.Facts(t.Context())
	require.NoError(t, err)
	require.Equal(t, "linux", facts.Platform.OS)
	require.Equal(t, machine.Name, facts.Hostname)
	require.Greater(t, facts.FreeBytes, int64(1<<20))

	a, content := small(t)
	i := installation(a, machine.Login())
	for range 2 { // each step may be repeated
		require.Equal(t, []string{"template etc/vm.args: there is no variable {{ other }}; it was left as it is"}, deploy(t, h, i, content))
	}
	out, err := h.Exec(t.Context(), nil, "cat", i.NodeID+"/etc/vm.args")
	require.NoError(t, err)
	require.Equal(t, "a profile that talks\n-name "+i.NodeName+"\n-hidden "+i.NodeID+" {{ other }} {{1,2}}\n", string(out))
	cookie, err := os.Stat(machine.Home(".erl-deploy/nodes/" + i.NodeID + "/home/.erlang.cookie"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o400), cookie.Mode())

	start := fleet.Command{Step: fleet.StepStart, Line: "bin/start", Token: "t1", Timeout: 10 * time.Second}
	first, err := h.Run(t.Context(), i, start)
	require.NoError(t, err)
	require.Equal(t, fleet.Output{Text: "started\n"}, first)
	again, err := h.Run(t.Context(), i, start)
	require.NoError(t, err)
	require.Equal(t, fleet.Output{Text: "started\n", Repeated: true}, again)
	awaitProcesses(t, machine, "sleep 1000")
	running, err := h.Running(t.Context(), i)
	require.NoError(t, err)
	require.True(t, running)

	for range 2 {
		require.NoError(t, h.Kill(t.Context(), i))
	}
	running, err = h.Running(t.Context(), i)
	require.NoError(t, err)
	require.False(t, running)
	for range 2 {
		require.NoError(t, h.Clean(t.Context(), i))
	}
	require.Equal(t, before, machine.Files(t))
	awaitProcesses(t, machine)
}

// noise is text that does not get smaller.
func noise(size int) string {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return string(b)
}

// awaitProcesses waits until the user has just these: what watched a command
// takes a moment to end after it.
func awaitProcesses(t *testing.T, machine *sshtest.Host, want ...string) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		require.ElementsMatch(c, want, machine.Processes(t))
	}, 10*time.Second, 20*time.Millisecond)
}
