package release

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
)

// errLost is why a command has no status: it was ended together with what
// watched it.
var errLost = errors.New("it was interrupted, by a restart of the host perhaps, and left no result")

// Run runs a command of the release in its directory, in the environment of
// the node: HOME is the node's own, ERL_EPMD_PORT the port of its epmd. The
// start command has in ERL_AFLAGS the ports that distribution may listen on;
// others do not, because the nodes with which they ask the running one would
// listen there as well. The command has no standard input.
//
// A command with a token goes on when ctx is done or the connection is lost,
// until its own timeout; another Run with that token then waits for its end. A
// command without one is ended.
func (h *Host) Run(ctx context.Context, i fleet.Installation, c fleet.Command) (fleet.Output, error) {
	if err := checkNode(i.NodeID); err != nil {
		return fleet.Output{}, err
	}
	token, keep := c.Token, "keep"
	if token == "" {
		token, keep = "ask-"+rand.Text(), ""
	}
	if !validToken(token) {
		return fleet.Output{}, fleet.Permanent(fmt.Errorf("%q is no token: it may have letters, digits, - and _", token))
	}
	limit := timeout(ctx, c)
	args := append([]string{i.NodeID, token, keep, source("runner.sh"), strconv.Itoa(limit), flags(i, c), epmdPort(i), strings.TrimSpace(c.Line)}, c.Args...)
	out, err := h.script(ctx, "run.sh", nil, args...)
	if err != nil {
		return fleet.Output{}, err
	}
	return h.result(i, c, limit, out)
}

// result reads what run.sh printed.
func (h *Host) result(i fleet.Installation, c fleet.Command, limit int, out string) (fleet.Output, error) {
	head, text, _ := strings.Cut(out, "\n")
	var how string
	var status, late, repeated int
	if _, err := fmt.Sscanf(head, "%s %d %d %d", &how, &status, &late, &repeated); err != nil {
		return fleet.Output{}, fmt.Errorf("host %s: how %q ended: %q", h.name, c.Line, head)
	}
	text = hide(strings.ToValidUTF8(text, "\uFFFD"), i.Cookie)
	failed := &fleet.CommandError{Command: strings.Join(append([]string{c.Line}, c.Args...), " "), ExitStatus: status, Output: text}
	switch {
	case how == "lost":
		failed.ExitStatus, failed.Err = -1, errLost
	case late != 0:
		failed.ExitStatus, failed.Err = -1, fmt.Errorf("it did not end within %s and was ended", time.Duration(limit)*time.Second)
	case status == 0:
		return fleet.Output{Text: text, Repeated: repeated != 0}, nil
	}
	return fleet.Output{}, failed
}

// timeout is how long the host lets the command run, in seconds; 0 for no
// limit. What ctx allows counts only for commands that do not outlive it by
// design.
func timeout(ctx context.Context, c fleet.Command) int {
	limit := c.Timeout
	if deadline, has := ctx.Deadline(); limit == 0 && has {
		limit = max(time.Until(deadline), time.Second)
	}
	return int(math.Ceil(limit.Seconds()))
}

// flags make the Erlang VM listen on the node's own ports only. Releases that
// set these parameters themselves win over them.
func flags(i fleet.Installation, c fleet.Command) string {
	if c.Step != fleet.StepStart || i.Ports.IsZero() {
		return ""
	}
	return fmt.Sprintf("-kernel inet_dist_listen_min %d inet_dist_listen_max %d", i.Ports.From, i.Ports.To)
}

func epmdPort(i fleet.Installation) string {
	if i.EPMDPort == 0 || i.EPMDPort == fleet.DefaultEPMDPort {
		return ""
	}
	return strconv.Itoa(i.EPMDPort)
}

func validToken(s string) bool {
	return s != "" && len(s) <= 128 && strings.IndexFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_'
	}) < 0
}

// hide takes the cookie out of what a command printed.
func hide(text string, cookie fleet.Secret) string {
	if cookie == "" {
		return text
	}
	return strings.ReplaceAll(text, string(cookie), fleet.Masked)
}
