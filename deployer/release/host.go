package release

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/ssh"
)

//go:embed scripts
var scripts embed.FS

const (
	// mark is printed by a script before anything else to standard output, so that what a user's
	// profile prints is told apart.
	mark = "\x1eerl-deploy\x1e\n"
	// The statuses with which scripts say whether trying again is of use.
	statusNever, statusLater = 65, 75
)

// Shell runs commands on a host: [*ssh.Conn] is one.
type Shell interface {
	Exec(ctx context.Context, stdin []byte, argv ...string) ([]byte, error)
}

// Host is a host that somebody is logged in to. Its methods check what there
// is before they act, so that each may be repeated after a crash in the middle
// of it; they may be called from many goroutines.
type Host struct {
	hosts *Hosts
	login *login
	name  string // for errors
	where string // user and host: whose home it is
	conn  *ssh.Conn
	once  sync.Once
}

// Close gives the login back.
func (h *Host) Close() error {
	h.once.Do(func() { h.hosts.release(h.login) })
	return nil
}

// Exec runs argv, each element quoted, with stdin, and returns what it printed
// to standard output.
func (h *Host) Exec(ctx context.Context, stdin []byte, argv ...string) ([]byte, error) {
	return h.conn.Exec(ctx, stdin, argv...)
}

// script runs one of the scripts with the prelude before it.
func (h *Host) script(ctx context.Context, name string, stdin []byte, args ...string) (string, error) {
	out, err := runScript(ctx, h.conn, name, stdin, args...)
	if err != nil {
		return "", explain(h.name, name, err)
	}
	return out, nil
}

func runScript(ctx context.Context, s Shell, name string, stdin []byte, args ...string) (string, error) {
	text := source("prelude.sh")
	if name == "running.sh" || name == "kill.sh" {
		text += source("processes.sh")
	}
	argv := append([]string{"sh", "-c", text + source(name), "erl-deploy " + strings.TrimSuffix(name, ".sh")}, args...)
	out, err := s.Exec(ctx, stdin, argv...)
	if err != nil {
		return "", err
	}
	_, after, found := bytes.Cut(out, []byte(mark))
	if !found {
		return "", fmt.Errorf("%s did not begin: the host printed %q", name, out[:min(len(out), 200)])
	}
	return string(after), nil
}

func source(name string) string {
	text, err := scripts.ReadFile("scripts/" + name)
	if err != nil {
		panic(err) // it is part of the program
	}
	return string(text)
}

// explain turns the status of a script into what it means. The script itself
// is nothing that a user would want to read.
func explain(host, script string, err error) error {
	var failed *fleet.CommandError
	if !errors.As(err, &failed) {
		return err
	}
	said := strings.TrimSpace(strings.ReplaceAll(failed.Output, mark, ""))
	switch {
	case failed.ExitStatus == statusLater:
		return fmt.Errorf("host %s: %s", host, message(said))
	case failed.ExitStatus == statusNever:
		return fleet.Permanent(fmt.Errorf("host %s: %s", host, message(said)))
	case strings.Contains(said, "No space left on device"), strings.Contains(said, "Disk quota exceeded"):
		return fleet.Permanent(fmt.Errorf("host %s: the disk is full", host))
	}
	return &fleet.CommandError{Command: strings.TrimSuffix(script, ".sh"), ExitStatus: failed.ExitStatus, Output: said, Err: failed.Err}
}

// message is what a script gave as its reason. Standard output may come before
// or behind it, so it has a mark of its own.
func message(said string) string {
	_, after, _ := strings.Cut(said, "\x1e")
	line, _, _ := strings.Cut(after, "\n")
	return line
}

// Facts asks the host what it is.
func (h *Host) Facts(ctx context.Context) (fleet.Facts, error) {
	out, err := h.script(ctx, "facts.sh", nil)
	if err != nil {
		return fleet.Facts{}, err
	}
	facts, err := readFacts(out)
	if err != nil {
		return fleet.Facts{}, fmt.Errorf("host %s: %w", h.name, err)
	}
	return facts, nil
}

// readFacts reads what facts.sh prints.
func readFacts(out string) (fleet.Facts, error) {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) < 4 {
		return fleet.Facts{}, fmt.Errorf("uname and df printed %q", out)
	}
	free, err := strconv.ParseUint(lines[3], 10, 53) // in KiB
	if err != nil {
		return fleet.Facts{}, fmt.Errorf("free space: %w", err)
	}
	listening, err := ports(lines[4:])
	if err != nil {
		return fleet.Facts{}, fmt.Errorf("ports that are listened on: %w", err)
	}
	return fleet.Facts{
		Platform: fleet.NewPlatform(lines[0], lines[1]), Hostname: lines[2], FreeBytes: int64(free << 10), Listening: listening,
	}, nil
}

// ports reads a port from each line, and returns them once and in order.
func ports(lines []string) ([]int, error) {
	var all []int
	for _, line := range lines {
		port, err := strconv.ParseUint(line, 10, 16)
		if err != nil {
			return nil, err
		}
		all = append(all, int(port))
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// EnsureUser creates a login user with our key, and sudo if asked to. It needs a login that
// is root, or has sudo without a password.
func (h *Host) EnsureUser(ctx context.Context, user string, sudo bool) error {
	if !fleet.ValidUser(user) {
		return fleet.Permanent(fmt.Errorf("host %s: %q is no user name", h.name, user))
	}
	if h.hosts.options.PublicKey == "" {
		return fleet.Permanent(fmt.Errorf("host %s: user %q cannot be created: the deployer has no key file whose public key it could be given", h.name, user))
	}
	_, err := h.script(ctx, "user.sh", nil, user, h.hosts.options.PublicKey, strconv.FormatBool(sudo))
	return err
}

// checkNode refuses what cannot be the name of a folder, or the mark of a
// process: one id must not be the beginning of another.
func checkNode(id string) error {
	ok := len(id) == 36
	for _, r := range id {
		ok = ok && (r >= '0' && r <= '9' || r >= 'a' && r <= 'f' || r == '-')
	}
	if !ok {
		return fleet.Permanent(fmt.Errorf("%q is no node id", id))
	}
	return nil
}
