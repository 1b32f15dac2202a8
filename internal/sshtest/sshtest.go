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

// patience is how long a host may take to start, or to end, on a machine that
// does much else.
const patience = time.Minute

// Options say what a host is like; zero is a plain one.
type Options struct {
	// User can log in; "" for erl. With root nobody else can.
	User string
	// KeyFile is the private key that is let in; "" makes one for the host.
	KeyFile string
	// AuthorizedKeys are public keys that are let in, in the place of KeyFile.
	AuthorizedKeys []string
	// PrivateHostKey is the host's own ed25519 key as ssh-keygen writes it; ""
	// makes one.
	PrivateHostKey string
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
	end     sync.Once
}

// Start starts a host, which ends with the test.
func Start(t testing.TB, o Options) *Host {
	t.Helper()
	Require(t)
	h, err := Launch(t.TempDir(), o)
	must(t, err)
	t.Cleanup(h.End)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("console of %s:\n%s", h.Name, h.process.Tail())
		}
	})
	return h
}

// Launch starts a host that is not bound to a test: End must be called. What it
// is made of is in dir, which is its own.
func Launch(dir string, o Options) (*Host, error) {
	if o.User == "" {
		o.User = "erl"
	}
	if o.Size == "" {
		o.Size = "1g"
	}
	lan, address, err := shared.join(dir)
	if err != nil {
		return nil, err
	}
	h := &Host{Name: "host-" + strings.ReplaceAll(address, ".", "-"), Address: address, User: o.User, KeyFile: o.KeyFile, dir: dir}
	if err := h.launch(lan, o); err != nil {
		h.End()
		return nil, err
	}
	return h, nil
}

func (h *Host) launch(lan *lan, o Options) error {
	err := h.writeFiles(o)
	if err != nil {
		return err
	}
	h.process, err = proc.Start(proc.Command{
		Argv: []string{
			"unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--fork", "--kill-child=KILL",
			"bash", h.file("init.sh"), h.dir, h.Name, o.User, o.Size,
		},
		Env: environment(), Log: h.file("console.log"),
	})
	if err != nil {
		return err
	}
	if h.pid, err = awaitPid(h.file("pid"), h.process); err != nil {
		return err
	}
	if err := lan.plug(h.pid, h.Address); err != nil {
		return err
	}
	return h.awaitSSH(true)
}

// End ends the host with all that is on it. It may be called again.
func (h *Host) End() {
	h.end.Do(func() {
		if h.process != nil {
			h.process.Kill()
		}
		shared.leave()
	})
}

// Require skips the test where there can be no hosts.
func Require(t testing.TB) {
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
func (h *Host) writeFiles(o Options) error {
	if err := h.writeHostKey(o); err != nil {
		return err
	}
	authorized, err := h.authorized(o)
	if err != nil {
		return err
	}
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
	files := map[string]string{
		"init.sh": initScript, "authorized_keys": authorized,
		"sshd_config": strings.Join(append(config, o.SSHD...), "\n") + "\n",
	}
	if o.Profile != "" {
		files["profile"] = o.Profile
	}
	if o.Machine != "" {
		files["machine"] = o.Machine
	}
	for name, text := range files {
		if err := h.write(name, text); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) writeHostKey(o Options) error {
	if o.PrivateHostKey == "" {
		if err := outcome("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", h.file("hostkey")); err != nil {
			return err
		}
	} else if err := h.write("hostkey", o.PrivateHostKey); err != nil {
		return err
	}
	public, err := run("ssh-keygen", "-y", "-f", h.file("hostkey"))
	h.HostKey = strings.TrimSpace(public)
	return err
}

// authorized returns the keys that are let in, one a line.
func (h *Host) authorized(o Options) (string, error) {
	if o.AuthorizedKeys != nil {
		return strings.Join(o.AuthorizedKeys, "\n") + "\n", nil
	}
	if h.KeyFile == "" {
		h.KeyFile = h.file("key")
		if err := outcome("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", h.KeyFile); err != nil {
			return "", err
		}
	}
	return run("ssh-keygen", "-y", "-f", h.KeyFile)
}

func (h *Host) file(name string) string { return filepath.Join(h.dir, name) }

func (h *Host) write(name, text string) error {
	return os.WriteFile(h.file(name), []byte(text), 0o600)
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
func (h *Host) awaitSSH(open bool) error {
	err := proc.Await(patience, func() bool {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(h.Address, "22"), time.Second)
		if err == nil {
			conn.Close()
		}
		return (err == nil) == open || !h.process.Running()
	})
	if err != nil || !h.process.Running() {
		return fmt.Errorf("sshd of %s open %t: %w\n%s", h.Name, open, err, h.process.Tail())
	}
	return nil
}

// awaitPid waits for a file with the number of a process.
func awaitPid(path string, p *proc.Process) (int, error) {
	var pid int
	err := proc.Await(patience, func() bool {
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
