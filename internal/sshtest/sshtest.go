package sshtest

import (
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/proc"
)

//go:embed init.sh
var initScript string

// Options say what a host is like; zero is a plain one.
type Options struct {
	// User can log in; "" for erl. With root nobody else can.
	User string
	// KeyFile is the private key that is let in; "" makes one for the host.
	KeyFile string
	// Size of the disk as mount takes it; "" for 1g, in memory when used.
	Size string
	// Machine is what uname -m says; "" for the truth.
	Machine string
	// NoSFTP leaves the SFTP server out.
	NoSFTP bool
	// Profile is the user's .bashrc, which bash reads for every command.
	Profile string
	// SSHD are further lines of sshd_config.
	SSHD []string
}

// Host is a running host.
type Host struct {
	Name, Address string
	User          string
	KeyFile       string
	// HostKey is its public key as in authorized_keys: what the console of a
	// cloud would show.
	HostKey string

	dir     string
	process *proc.Process
	pid     int // of its process 1, as the machine counts
}

// Start starts a host, which ends with the test.
func Start(t testing.TB, o Options) *Host {
	t.Helper()
	require(t)
	if o.User == "" {
		o.User = "erl"
	}
	if o.Size == "" {
		o.Size = "1g"
	}
	dir := t.TempDir()
	lan, address, err := shared.join(dir)
	must(t, err)
	t.Cleanup(shared.leave)
	h := &Host{Name: "host-" + strings.ReplaceAll(address, ".", "-"), Address: address, User: o.User, KeyFile: o.KeyFile, dir: dir}
	h.writeFiles(t, o)
	h.process, err = proc.Start(proc.Command{
		Argv: []string{
			"unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--fork", "--kill-child=KILL",
			"bash", h.file("init.sh"), dir, h.Name, o.User, o.Size,
		},
		Env: environment(), Log: h.file("console.log"),
	})
	must(t, err)
	t.Cleanup(h.process.Kill)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("console of %s:\n%s", h.Name, h.process.Tail())
		}
	})
	h.pid, err = awaitPid(h.file("pid"), h.process)
	must(t, err)
	must(t, lan.plug(h.pid, address))
	h.awaitSSH(t, true)
	return h
}

// require skips the test where there can be no hosts.
func require(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("test hosts need root")
	}
	missing := func(what string) {
		t.Helper()
		if os.Getenv("ERLTEST_REQUIRED") == "1" {
			t.Fatalf("test hosts need %s (ERLTEST_REQUIRED=1 makes this a failure)", what)
		}
		t.Skipf("test hosts need %s", what)
	}
	for _, program := range []string{"/usr/sbin/sshd", "ssh-keygen", "unshare", "nsenter", "ip", "useradd"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(program)
		}
	}
	if err := allowed(); err != nil {
		t.Skipf("test hosts need namespaces and overlayfs, which this machine does not allow: %v", err)
	}
}

// allowed tries once what a container without privileges forbids even to root.
var allowed = sync.OnceValue(func() error {
	return outcome("unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--fork", "sh", "-euc", `
		mount -t tmpfs none /mnt
		mkdir /mnt/up /mnt/work /mnt/root
		mount -t overlay -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work overlay /mnt/root
		ip link add test type bridge`)
})

// writeFiles lays out what init.sh copies.
func (h *Host) writeFiles(t testing.TB, o Options) {
	t.Helper()
	must(t, outcome("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", h.file("hostkey")))
	public, err := os.ReadFile(h.file("hostkey.pub"))
	must(t, err)
	h.HostKey = strings.TrimSpace(string(public))
	if h.KeyFile == "" {
		h.KeyFile = h.file("key")
		must(t, outcome("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", h.KeyFile))
	}
	authorized, err := run("ssh-keygen", "-y", "-f", h.KeyFile)
	must(t, err)
	config := []string{
		"HostKey /etc/ssh/ssh_host_ed25519_key", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"UsePAM no", "UseDNS no", "PidFile none", "MaxStartups 100", "LogLevel ERROR", "PermitRootLogin no",
	}
	if o.User == "root" {
		config[len(config)-1] = "PermitRootLogin prohibit-password"
	}
	if !o.NoSFTP {
		config = append(config, "Subsystem sftp /usr/lib/openssh/sftp-server")
	}
	h.write(t, "init.sh", initScript)
	h.write(t, "authorized_keys", authorized)
	h.write(t, "sshd_config", strings.Join(append(config, o.SSHD...), "\n")+"\n")
	if o.Profile != "" {
		h.write(t, "profile", o.Profile)
	}
	if o.Machine != "" {
		h.write(t, "machine", o.Machine)
	}
}

func (h *Host) file(name string) string { return filepath.Join(h.dir, name) }

func (h *Host) write(t testing.TB, name, text string) {
	t.Helper()
	must(t, os.WriteFile(h.file(name), []byte(text), 0o600))
}

// Login is how to log in to the host, its key pinned.
func (h *Host) Login() fleet.Login {
	return fleet.Login{Host: h.Address, User: h.User, HostKeys: []string{h.HostKey}, KeyFile: h.KeyFile}
}

// Server is the host as a physical provider has it.
func (h *Host) Server() fleet.Server {
	return fleet.Server{Host: h.Address, HostKeys: []string{h.HostKey}, KeyFile: h.KeyFile}
}

// KnownHost is the host's line of known_hosts.
func (h *Host) KnownHost() string { return h.Address + " " + h.HostKey }

// awaitSSH waits until the host's port is open, or closed.
func (h *Host) awaitSSH(t testing.TB, open bool) {
	t.Helper()
	err := proc.Await(20*time.Second, func() bool {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(h.Address, "22"), time.Second)
		if err == nil {
			conn.Close()
		}
		return (err == nil) == open || !h.process.Running()
	})
	if err != nil || !h.process.Running() {
		t.Fatalf("sshd of %s open %t: %v\n%s", h.Name, open, err, h.process.Tail())
	}
}

// awaitPid waits for a file with the number of a process.
func awaitPid(path string, p *proc.Process) (int, error) {
	var pid int
	err := proc.Await(20*time.Second, func() bool {
		text, err := os.ReadFile(path)
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err == nil || !p.Running()
	})
	if err != nil || pid == 0 {
		return 0, fmt.Errorf("a namespace was not made: %w: %s", err, p.Tail())
	}
	return pid, nil
}

// environment is what outside programs get: nothing of the user's own.
func environment() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent", "LANG=C.UTF-8"}
}
