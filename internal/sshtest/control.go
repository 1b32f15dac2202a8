package sshtest

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/erlops/erlops/internal/proc"
)

// root is the host's file system as the machine sees it.
func (h *Host) root(elem string) string {
	return filepath.Join("/proc", strconv.Itoa(h.pid), "root", h.dir, "disk", elem)
}

// Path is where a file of the host is found from outside.
func (h *Host) Path(path string) string { return filepath.Join(h.root("root"), path) }

// Home is where a file in the user's home is found from outside.
func (h *Host) Home(path string) string {
	home := "/home/" + h.User
	if h.User == "root" {
		home = "/root"
	}
	return h.Path(filepath.Join(home, path))
}

// Command makes a command that runs on the host as root, not over SSH. It may
// be run while the test cleans up.
func (h *Host) Command(t testing.TB, argv ...string) *exec.Cmd {
	t.Helper()
	enter := []string{"--target", strconv.Itoa(h.pid), "--mount", "--pid", "--uts", "--ipc", "--net", "chroot", filepath.Join(h.dir, "disk", "root")}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "nsenter", append(enter, argv...)...)
	cmd.Env = environment()
	return cmd
}

// Exec runs a command on the host as root, not over SSH, and returns what it
// printed. A failure fails the test.
func (h *Host) Exec(t testing.TB, argv ...string) string {
	t.Helper()
	out, err := h.Command(t, argv...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s on %s: %v\n%s", strings.Join(argv, " "), h.Name, err, out)
	}
	return string(out)
}

// Files lists all that the host has and the machine has not, or has otherwise,
// logs and what is in memory left out: what was there before something was
// installed must be all that is there when it is removed.
func (h *Host) Files(t testing.TB) []string {
	t.Helper()
	var files []string
	top := h.root("up")
	must(t, filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		if name == filepath.Join("var", "log") {
			return fs.SkipDir
		}
		files = append(files, name)
		return nil
	}))
	return files
}

// Processes lists the command lines of the user's processes, those of sshd and
// the shells that it starts left out.
func (h *Host) Processes(t testing.TB) []string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(h.Exec(t, "ps", "-eo", "user=,args=")) {
		user, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		args = strings.TrimSpace(args)
		// One in brackets has ended, and nobody has asked for its status yet.
		if user == h.User && !strings.HasPrefix(args, "sshd: ") && !strings.HasPrefix(args, "[") {
			lines = append(lines, args)
		}
	}
	slices.Sort(lines)
	return lines
}

// Down ends everything that runs on the host, sshd first, as a loss of power
// does; its disk stays.
func (h *Host) Down(t testing.TB) {
	t.Helper()
	must(t, h.write("down", ""))
	// Process 1 is spared, and the shell itself ends by itself.
	h.Exec(t, "/bin/sh", "-c", "kill -KILL -1")
	must(t, h.awaitSSH(false))
}

// Up starts a host again that is down.
func (h *Host) Up(t testing.TB) {
	t.Helper()
	must(t, os.Remove(h.file("down")))
	must(t, h.awaitSSH(true))
}

// ChangeHostKey gives the host another key, and breaks the connections that there
// are. It returns when the new key is what the host shows.
func (h *Host) ChangeHostKey(t testing.TB) {
	t.Helper()
	must(t, os.Remove(h.file("hostkey")))
	must(t, h.writeHostKey(Options{}))
	private, err := os.ReadFile(h.file("hostkey"))
	must(t, err)
	must(t, os.WriteFile(h.Path("/etc/ssh/ssh_host_ed25519_key"), private, 0o600))
	// The first of them, which listens, is started again by process 1.
	h.Exec(t, "/bin/sh", "-c", `pkill -KILL -f '^sshd: '`)
	must(t, proc.Await(patience, func() bool {
		shown, err := run("ssh-keyscan", "-t", "ed25519", h.Address)
		return err == nil && strings.Contains(shown, h.HostKey)
	}))
}

// Cut breaks all SSH connections to the host that there are; new ones can be
// made.
func (h *Host) Cut(t testing.TB) {
	t.Helper()
	h.Exec(t, "/bin/sh", "-c", `pkill -KILL -f '^sshd: .*@notty' || pkill -KILL -f '^sshd: ' || true`)
}

// AddAddress gives the host a further address of its network, as the router of
// a cloud does that forwards it.
func (h *Host) AddAddress(address string) error {
	return inNet(h.pid, "ip", "addr", "add", address+"/24", "dev", "eth0")
}

// RemoveAddress takes one away that AddAddress gave.
func (h *Host) RemoveAddress(address string) error {
	return inNet(h.pid, "ip", "addr", "del", address+"/24", "dev", "eth0")
}

// ReserveAddress returns an address of the hosts' network that no host gets.
// Release gives it back.
func ReserveAddress(dir string) (address string, release func(), err error) {
	_, address, err = shared.join(dir)
	return address, sync.OnceFunc(shared.leave), err
}
