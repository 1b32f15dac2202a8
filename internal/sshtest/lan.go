package sshtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/erlops/erlops/internal/proc"
)

// lan is a switch in a network namespace of its own, with a cable to the
// machine and one to each host. The cables go when the namespace does.
type lan struct {
	prefix string // the first three numbers of all addresses
	cable  string // the machine's end
	holder *proc.Process
	pid    int // of a process in the namespace
	users  int
	next   int
}

// network is what all hosts of a test process are connected to. It is there as
// long as there are hosts.
type network struct {
	mu  sync.Mutex
	lan *lan
}

var shared network

// join returns the network's next address. Whoever joins must leave.
func (n *network) join(dir string) (l *lan, address string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lan == nil {
		if n.lan, err = newLAN(dir); err != nil {
			return nil, "", err
		}
	}
	l = n.lan
	if l.next > 254 {
		return nil, "", errors.New("no address is left in the test network")
	}
	address = fmt.Sprintf("%s.%d", l.prefix, l.next)
	l.next++
	l.users++
	return l, address, nil
}

func (n *network) leave() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lan.users--; n.lan.users == 0 {
		n.lan.holder.Kill()
		n.lan = nil
	}
}

func newLAN(dir string) (*lan, error) {
	holder, err := proc.Start(proc.Command{
		Argv: []string{"unshare", "--net", "sh", "-c", `echo "$$" >"$1.new" && mv "$1.new" "$1" && exec sleep infinity`, "sh", filepath.Join(dir, "lan")},
		Env:  environment(), Log: filepath.Join(dir, "lan.log"),
	})
	if err != nil {
		return nil, err
	}
	pid, err := awaitPid(filepath.Join(dir, "lan"), holder)
	if err != nil {
		holder.Kill()
		return nil, err
	}
	l := &lan{holder: holder, pid: pid, next: 2}
	if err := l.connect(); err != nil {
		holder.Kill()
		return nil, err
	}
	return l, nil
}

// connect makes switch and cable. Other test processes choose at the same time,
// so a taken name or address means another try.
func (l *lan) connect() error {
	if err := l.inside("ip", "link", "add", "switch", "type", "bridge"); err != nil {
		return err
	}
	if err := l.inside("ip", "link", "set", "switch", "up"); err != nil {
		return err
	}
	var err error
	for range 20 {
		l.prefix = fmt.Sprintf("10.%d.%d", 64+rand.IntN(128), rand.IntN(256))
		l.cable = "et" + strconv.FormatUint(uint64(rand.Uint32()), 16)
		if used, _ := run("ip", "-o", "route", "show", "to", "match", l.prefix+".1"); strings.Contains(used, "10.") {
			continue
		}
		if _, err = run("ip", "link", "add", l.cable, "type", "veth", "peer", "name", "machine", "netns", strconv.Itoa(l.pid)); err == nil {
			break
		}
	}
	return errors.Join(err,
		l.inside("ip", "link", "set", "machine", "master", "switch", "up"),
		outcome("ip", "addr", "add", l.prefix+".1/24", "dev", l.cable),
		outcome("ip", "link", "set", l.cable, "up"))
}

// plug connects the network namespace of a process.
func (l *lan) plug(pid int, address string) error {
	port := "port" + address[strings.LastIndexByte(address, '.')+1:]
	return errors.Join(
		l.inside("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(pid)),
		l.inside("ip", "link", "set", port, "master", "switch", "up"),
		inNet(pid, "ip", "addr", "add", address+"/24", "dev", "eth0"),
		inNet(pid, "ip", "link", "set", "eth0", "up"))
}

func (l *lan) inside(argv ...string) error { return inNet(l.pid, argv...) }

func inNet(pid int, argv ...string) error {
	return outcome(append([]string{"nsenter", "--target", strconv.Itoa(pid), "--net"}, argv...)...)
}

func outcome(argv ...string) error {
	_, err := run(argv...)
	return err
}

func run(argv ...string) (string, error) {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return string(out), nil
}

// must ends the test when err is not nil.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
