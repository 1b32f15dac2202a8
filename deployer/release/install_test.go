package release_test

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/release"
	"github.com/erlops/erlops/deployer/ssh"
	"github.com/erlops/erlops/internal/sshtest"
)

func permanent(t *testing.T, err error, text string) {
	t.Helper()
	var e *fleet.PermanentError
	require.ErrorAs(t, err, &e)
	require.ErrorContains(t, err, text)
}

// counted counts what is read of an archive.
type counted struct {
	io.ReaderAt
	bytes atomic.Int64
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	c.bytes.Add(int64(n))
	return n, err
}

func TestUploadOnce(t *testing.T) {
	t.Parallel()
	machine := sshtest.Start(t, sshtest.Options{})
	h := open(t, newHosts(t), machine.Login())
	a, content := small(t)
	source := &counted{ReaderAt: content}
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if err := h.Upload(t.Context(), a, source, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, a.Size, source.bytes.Load())
	require.NoError(t, open(t, newHosts(t), machine.Login()).Upload(t.Context(), a, source, nil), "another deployer finds it")
	require.Equal(t, a.Size, source.bytes.Load())
}

// TestUploadGoesOn loses its connection in the middle.
func TestUploadGoesOn(t *testing.T) {
	t.Parallel()
	machine := sshtest.Start(t, sshtest.Options{})
	hosts := newHosts(t)
	a, content := archive(t, program("bin/x", noise(40<<20)))
	var once sync.Once
	cut := readerAt(func(p []byte, off int64) (int, error) {
		if off > 36<<20 {
			once.Do(func() { machine.Cut(t) })
		}
		return content.ReadAt(p, off)
	})
	err := open(t, hosts, machine.Login()).Upload(t.Context(), a, cut, nil)
	require.Error(t, err)
	var e *fleet.PermanentError
	require.NotErrorAs(t, err, &e, "it may pass")
	rest := &counted{ReaderAt: content}
	require.Eventually(t, func() bool {
		h, err := hosts.Open(t.Context(), machine.Login())
		if err != nil {
			return false
		}
		defer h.Close()
		return h.Upload(t.Context(), a, rest, nil) == nil
	}, 30*time.Second, 50*time.Millisecond)
	require.Less(t, rest.bytes.Load(), a.Size/2)
}

func TestUploadOfDamagedArchives(t *testing.T) {
	t.Parallel()
	machine := sshtest.Start(t, sshtest.Options{})
	h := open(t, newHosts(t), machine.Login())
	a, content := small(t)
	wrong := a
	wrong.SHA256 = strings.Repeat("0", 64)
	permanent(t, h.Upload(t.Context(), wrong, content, nil), "own copy of the archive")

	part := ".erl-deploy/archives/" + a.SHA256 + ".tar.gz.part"
	_, err := h.Exec(t.Context(), nil, "cp", "/bin/true", part)
	require.NoError(t, err)
	// What is there is longer than the archive, is cut, and is not of it.
	require.NoError(t, os.Truncate(machine.Home(part), a.Size))
	require.NoError(t, h.Upload(t.Context(), a, content, nil), "only whole windows are believed")
	a, content = archive(t, program("bin/x", noise(40<<20)))
	part = ".erl-deploy/archives/" + a.SHA256 + ".tar.gz.part"
	_, err = h.Exec(t.Context(), nil, "truncate", "-s", "30M", part)
	require.NoError(t, err)
	err = h.Upload(t.Context(), a, content, nil)
	require.ErrorContains(t, err, "instead of", "what was there was something else")
	var e *fleet.PermanentError
	require.NotErrorAs(t, err, &e)
	require.NoError(t, h.Upload(t.Context(), a, content, nil), "it is sent anew")
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	machine := sshtest.Start(t, sshtest.Options{Size: "24m"})
	h := open(t, newHosts(t), machine.Login())
	a, content := archive(t, program("bin/x", noise(40<<20)))
	permanent(t, h.Upload(t.Context(), a, content, nil), "no space for the archive")
	// There is room for this archive, but not for what is in it.
	a, content = archive(t, program("bin/x", strings.Repeat("\x00", 40<<20)))
	require.NoError(t, h.Upload(t.Context(), a, content, nil))
	i := installation(a, machine.Login())
	permanent(t, h.Install(t.Context(), i), "the disk is full")
	require.NoError(t, h.Clean(t.Context(), i))
	require.NoDirExists(t, machine.Home(".erl-deploy"))
}

// TestDiskThatFillsUp runs out of space in the middle, which SFTP does not tell.
func TestDiskThatFillsUp(t *testing.T) {
	t.Parallel()
	machine := sshtest.Start(t, sshtest.Options{Size: "64m"})
	h := open(t, newHosts(t), machine.Login())
	a, content := archive(t, program("bin/x", noise(40<<20)))
	var once sync.Once
	filling := readerAt(func(p []byte, off int64) (int, error) {
		once.Do(func() { machine.Exec(t, "sh", "-c", "dd if=/dev/zero of=/filler bs=1M count=60 2>/dev/null || :") })
		return content.ReadAt(p, off)
	})
	permanent(t, h.Upload(t.Context(), a, filling, nil), "no space for the archive")
	machine.Exec(t, "rm", "/filler")
	require.NoError(t, h.Upload(t.Context(), a, content, nil))
}

type readerAt func(p []byte, off int64) (int, error)

func (f readerAt) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

func TestReleasesSideBySide(t *testing.T) {
	t.Parallel()
	machine := sshtest.Start(t, sshtest.Options{})
	h := open(t, newHosts(t), machine.Login())
	before := machine.Files(t)
	first, firstContent := archive(t, entry("app/", tar.TypeDir, ""), program("app/bin/which", "#!/bin/sh\necho one\n"), plain("app/etc/vm.args", "{{ node_name }}"))
	second, secondContent := archive(t, program("bin/which", "#!/bin/sh\necho two\n"), plain("etc/vm.args", "{{ node_name }}"))
	i := installation(first, machine.Login())
	for _, step := range []struct {
		archive fleet.Archive
		content *bytes.Reader
		want    string
	}{{first, firstContent, "one\n"}, {second, secondContent, "two\n"}, {first, firstContent, "one\n"}} {
		i.Archive = step.archive
		deploy(t, h, i, step.content)
		require.Equal(t, step.want, ask(t, h, i, "bin/which"))
		out, err := h.Exec(t.Context(), nil, "sh", "-c", "*/bin/which") // as a user on the host does
		require.NoError(t, err)
		require.Equal(t, step.want, string(out))
	}
	other := installation(second, machine.Login())
	deploy(t, h, other, secondContent)
	require.NoError(t, h.Clean(t.Context(), i))
	require.NoFileExists(t, machine.Home(".erl-deploy/archives/"+first.SHA256+".tar.gz"), "nobody needs it")
	require.FileExists(t, machine.Home(".erl-deploy/archives/"+second.SHA256+".tar.gz"))
	require.NoError(t, h.Clean(t.Context(), other))
	require.Equal(t, before, machine.Files(t))
}

func TestInstallGoesOn(t *testing.T) {
	t.Parallel()
	machine, h, i := installed(t, sshtest.Options{})
	node := ".erl-deploy/nodes/" + i.NodeID
	// As after a crash in the middle of unpacking, with folders that cannot be
	// written to.
	_, err := h.Exec(t.Context(), nil, "sh", "-c", `cd "$1" && mv releases/* releases/"$2".new && chmod -R a-w releases/"$2".new && rm current`, "sh", node, i.Archive.SHA256)
	require.NoError(t, err)
	require.NoError(t, h.Install(t.Context(), i))
	_, err = h.Configure(t.Context(), i)
	require.NoError(t, err)
	out, err := h.Exec(t.Context(), nil, "cat", i.NodeID+"/etc/vm.args")
	require.NoError(t, err)
	require.Equal(t, i.NodeName, string(out))

	missing := i
	missing.Archive.SHA256 = strings.Repeat("0", 64)
	require.ErrorContains(t, h.Install(t.Context(), missing), "is not on the host")
	require.NoError(t, h.Clean(t.Context(), i))
	_, err = h.Exec(t.Context(), nil, "mkdir", i.NodeID)
	require.NoError(t, err)
	_, content := small(t)
	a, _ := small(t)
	i.Archive = a
	require.NoError(t, h.Upload(t.Context(), a, content, nil))
	permanent(t, h.Install(t.Context(), i), "is there and is no link")
	require.NoError(t, h.Clean(t.Context(), i))
	require.DirExists(t, machine.Home(i.NodeID), "what is not ours stays")
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	machine, h, i := installed(t, sshtest.Options{}, program("etc/it's $HOME", "#!/bin/sh\n# {{ node_name }} -setcookie\n-setcookie x\n{{ family }}\n"))
	i.Templates = []string{"etc/it's $HOME", "etc/vm.args"}
	warnings, err := h.Configure(t.Context(), i)
	require.NoError(t, err)
	require.Len(t, warnings, 1)
	require.Contains(t, warnings[0], "-setcookie")
	info, err := os.Stat(machine.Home(".erl-deploy/nodes/" + i.NodeID + "/releases/" + i.Archive.SHA256 + "/etc/it's $HOME"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o755), info.Mode(), "the mode is kept")

	i.Variables["node_name"] = "another@10.0.0.1"
	_, err = h.Configure(t.Context(), i)
	require.NoError(t, err, "it is rendered from the original")
	out, err := h.Exec(t.Context(), nil, "cat", i.NodeID+"/etc/vm.args")
	require.NoError(t, err)
	require.Equal(t, "another@10.0.0.1", string(out))

	i.Variables["family"] = "a\n-eval halt()"
	_, err = h.Configure(t.Context(), i)
	permanent(t, err, "characters that mean something")
	for _, name := range []string{"etc/gone", "bin", "../../../../.bashrc", "/etc/passwd"} {
		i.Templates = []string{name}
		_, err = h.Configure(t.Context(), i)
		permanent(t, err, "template")
	}
}

func TestEnsureUser(t *testing.T) {
	t.Parallel()
	machine := sshtest.Start(t, sshtest.Options{User: "root", Machine: "aarch64"})
	dialer, err := ssh.New(ssh.Options{KeyFiles: []string{machine.KeyFile}})
	require.NoError(t, err)
	key, err := dialer.PublicKey()
	require.NoError(t, err)
	hosts, err := release.New(release.Options{Dial: dialer.Dial, PublicKey: key})
	require.NoError(t, err)
	defer hosts.Close()
	root := open(t, hosts, machine.Login())
	machine.Exec(t, "mkdir", "-p", "/etc/sudoers.d") // as where sudo is installed
	for range 2 {
		require.NoError(t, root.EnsureUser(t.Context(), "deploy.er", true))
	}
	login := machine.Login()
	login.User = "deploy.er"
	h := open(t, hosts, login)
	out, err := h.Exec(t.Context(), nil, "id", "-un")
	require.NoError(t, err)
	require.Equal(t, "deploy.er\n", string(out))
	facts, err := h.Facts(t.Context())
	require.NoError(t, err)
	require.Equal(t, fleet.Platform{OS: "linux", Arch: "aarch64"}, facts.Platform)
	require.Error(t, h.EnsureUser(t.Context(), "someone", true), "it is not root")
	require.FileExists(t, machine.Path("/etc/sudoers.d/erl-deploy-deploy.er"))
	require.NoError(t, root.EnsureUser(t.Context(), "deploy.er", false))
	require.NoFileExists(t, machine.Path("/etc/sudoers.d/erl-deploy-deploy.er"))
	permanent(t, root.EnsureUser(t.Context(), "a b", true), "no user name")
	permanent(t, open(t, newHosts(t), machine.Login()).EnsureUser(t.Context(), "x", true), "no key file")
}

// TestLoginsAreShared lets many work on a host over one connection.
func TestLoginsAreShared(t *testing.T) {
	t.Parallel()
	machine := sshtest.Start(t, sshtest.Options{})
	hosts := newHosts(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			h, err := hosts.Open(t.Context(), machine.Login())
			if err == nil {
				_, err = h.Facts(t.Context())
				h.Close()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	sessions := func() int { return strings.Count(machine.Exec(t, "ps", "-eo", "args="), "sshd: erl@notty") }
	require.Equal(t, 1, sessions())
	machine.Cut(t)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		h, err := hosts.Open(t.Context(), machine.Login())
		require.NoError(c, err)
		defer h.Close()
		_, err = h.Facts(t.Context())
		require.NoError(c, err)
	}, time.Minute, 20*time.Millisecond, "a lost connection is made anew")
	require.NoError(t, hosts.Close())
	_, err := hosts.Open(t.Context(), machine.Login())
	require.ErrorContains(t, err, "closed")
}
