package erltest

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/proc"
)

//go:embed control.eval
var controlLoop string

const (
	startTimeout = 30 * time.Second
	evalTimeout  = 30 * time.Second
	stopTimeout  = 15 * time.Second
)

// Options describes a node. The zero value is a node of the machine's OTP with
// a unique short name, a random cookie and an own epmd.
type Options struct {
	// OTP is "" for the machine's Erlang, or the release ("23", "27", "29") of
	// a chroot that `make setup-e2e` made.
	OTP string
	// Name is the part before the @; unique when empty.
	Name string
	// Cookie is random when empty.
	Cookie string
	// LongNames takes -name instead of -sname.
	LongNames bool
	// Host is the part after the @. Empty means 127.0.0.1 for long names and
	// the machine's short name for short ones, or "localhost" when the
	// machine's name does not resolve.
	Host string
	// EPMD is shared with other nodes; nil starts one for this node alone.
	EPMD *EPMD
	// IPv6 starts the node with the distribution on IPv6, named NAME@::1.
	IPv6 bool
	// NoEPMD starts the node on a static distribution port, unknown to any
	// epmd.
	NoEPMD bool
	// Args are given to erl, e.g. "-kernel", "net_ticktime", "8".
	Args []string
	// Env is added to the node's environment, each "KEY=value".
	Env []string
}

// Node is a running Erlang node. Its methods fail the test that started it.
type Node struct {
	// Name is the full node name, name@host.
	Name   string
	Cookie string
	// EPMD is host:port of the epmd that knows the node; "" with NoEPMD.
	EPMD string
	// DistPort is where the node itself listens, on Host's address.
	DistPort int
	// Pid is the operating system's process id of the emulator.
	Pid int
	// Dir is the node's home and working directory, removed with the test.
	Dir string

	t       testing.TB
	epmd    *EPMD
	launch  launch
	proc    *proc.Process
	control *control
}

// launch is how a node is started, again and again by Restart.
type launch struct {
	runtime otp
	argv    func() []string // without the control loop
	env     []string
	static  bool          // DistPort is given, not found out
	wired   bool          // argv has the control loop already
	limit   time.Duration // for starting
}

var serial atomic.Uint32

// Start starts a node and returns when it is up. It ends with the test, and the
// test is skipped where the wanted Erlang is not installed.
func Start(t testing.TB, o Options) *Node {
	t.Helper()
	runtime, err := findOTP(o.OTP)
	if err != nil {
		skip(t, "%v", err)
	}
	if o.IPv6 {
		if err := checkIPv6(); err != nil {
			skip(t, "%v", err)
		}
		o.Host, o.LongNames = "::1", true
		o.Args = append([]string{"-proto_dist", "inet6_tcp"}, o.Args...)
	}
	if o.Name == "" {
		o.Name = fmt.Sprintf("erltest%d_%d", os.Getpid(), serial.Add(1))
	}
	n := newNode(t, o)
	n.launch = launch{runtime: runtime, env: o.Env, static: o.NoEPMD, limit: startTimeout}
	if o.NoEPMD {
		n.DistPort = FreePort(t)
	}
	n.launch.argv = func() []string { return n.arguments(o) }
	n.boot()
	return n
}

// newNode gives a node its name, cookie, directory and epmd.
func newNode(t testing.TB, o Options) *Node {
	t.Helper()
	n := &Node{t: t, Name: o.Name + "@" + hostOf(o), Cookie: o.Cookie, Dir: t.TempDir()}
	if n.Cookie == "" {
		n.Cookie = rand.Text()
	}
	if !o.NoEPMD {
		n.epmd = o.EPMD
		if n.epmd == nil {
			n.epmd = StartEPMD(t)
		}
		n.EPMD = n.epmd.Address()
	}
	// A cookie on the command line could be read by every user of the machine.
	cookieFile := filepath.Join(n.Dir, ".erlang.cookie")
	require.NoError(t, os.WriteFile(cookieFile, []byte(n.Cookie), 0o400))
	t.Cleanup(n.Kill)
	return n
}

func hostOf(o Options) string {
	switch {
	case o.Host != "":
		return o.Host
	case o.LongNames:
		return "127.0.0.1"
	case len(resolve(shortHostname())) > 0:
		return shortHostname()
	default:
		return "localhost"
	}
}

func shortHostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	short, _, _ := strings.Cut(name, ".")
	return short
}

func resolve(host string) []string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var r net.Resolver
	addresses, _ := r.LookupHost(ctx, host)
	return addresses
}

// boot starts the emulator and waits until its control loop answers, which it
// does once everything on the command line before it is done.
func (n *Node) boot() {
	n.t.Helper()
	ctl, theirs, err := newControl()
	require.NoError(n.t, err)
	env := append(baseEnv(n.Dir), n.launch.env...)
	if n.epmd != nil {
		env = append(env, "ERL_EPMD_PORT="+strconv.Itoa(n.epmd.Port))
	}
	argv := n.launch.argv()
	if !n.launch.wired {
		argv = append(argv, "-eval", controlLoop)
	}
	n.proc, err = proc.Start(proc.Command{
		Argv: n.launch.runtime.wrap(argv, n.Dir), Env: env, Dir: n.Dir,
		Files: theirs, Log: filepath.Join(n.Dir, "node.log"), SelfGuarded: true,
	})
	if err != nil {
		ctl.close()
		n.t.Fatalf("start node %s: %v", n.Name, err)
	}
	n.control, n.Pid = ctl, n.proc.Pid()
	if _, err := ctl.eval("ok", n.launch.limit); err != nil {
		n.Kill()
		n.t.Fatalf("node %s did not start: %v\n%s", n.Name, err, n.proc.Tail())
	}
	if !n.launch.static {
		names, err := n.epmd.Names()
		require.NoError(n.t, err)
		n.DistPort = names[n.shortName()]
	}
}

// shortName is the part before the @, which is what epmd knows.
func (n *Node) shortName() string {
	short, _, _ := strings.Cut(n.Name, "@")
	return short
}

// arguments are erl's. Busy waiting is off, for dozens of test nodes share a few
// cores; +pc lets ~tp print what is text in any language as text.
func (n *Node) arguments(o Options) []string {
	argv := []string{
		"erl", "-noinput", "-start_epmd", "false", "+pc", "unicode",
		"+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none",
		nameFlag(o.LongNames), n.Name,
	}
	if o.NoEPMD {
		argv = append(argv, staticPort(n.DistPort)...)
	}
	return append(argv, o.Args...)
}

func nameFlag(long bool) string {
	if long {
		return "-name"
	}
	return "-sname"
}

// Address is host:port of the node's own distribution listener.
func (n *Node) Address() string {
	host := "127.0.0.1"
	if strings.HasSuffix(n.Name, "@::1") {
		host = "::1"
	}
	return net.JoinHostPort(host, strconv.Itoa(n.DistPort))
}

// Eval evaluates an Erlang expression (or several, with commas between them) on
// the node and returns the value as ~0tp prints it. An exception or no answer
// within 30 s fails the test. All expressions run one after the other in one
// process, which lives as long as it is not killed: a table made by one
// expression is there for the next.
func (n *Node) Eval(t testing.TB, expr string) string {
	t.Helper()
	value, err := n.TryEval(expr)
	if err != nil {
		t.Fatalf("%s on %s: %v", expr, n.Name, err)
	}
	return value
}

// TryEval is Eval for expressions that may fail.
func (n *Node) TryEval(expr string) (string, error) { return n.control.eval(expr, evalTimeout) }

// Stop ends the node with init:stop() and returns when it is gone.
func (n *Node) Stop() {
	n.t.Helper()
	// The node may be gone before its answer is out.
	_, _ = n.control.eval("init:stop()", stopTimeout)
	if err := proc.Await(stopTimeout, func() bool { return !n.proc.Running() }); err != nil {
		n.t.Errorf("node %s did not stop: %v", n.Name, err)
	}
	n.Kill()
}

// Kill ends the node with SIGKILL and returns when it and all its children are
// gone and epmd has forgotten it. Killing a node that is gone does nothing.
func (n *Node) Kill() {
	n.t.Helper()
	if n.proc == nil {
		return
	}
	n.proc.Kill()
	n.control.close()
	if n.epmd == nil {
		return
	}
	if err := proc.Await(5*time.Second, func() bool {
		names, err := n.epmd.Names()
		return err != nil || names[n.shortName()] == 0
	}); err != nil {
		n.t.Logf("epmd still knows %s", n.Name)
	}
}

// Pause stops the node with SIGSTOP and returns when it stands still.
func (n *Node) Pause() {
	n.t.Helper()
	require.NoError(n.t, n.proc.Signal(syscall.SIGSTOP))
	require.NoError(n.t, proc.Await(5*time.Second, func() bool { return proc.Stopped(n.Pid) }))
}

// Continue lets a paused node run again.
func (n *Node) Continue() {
	n.t.Helper()
	require.NoError(n.t, n.proc.Signal(syscall.SIGCONT))
}

// Restart kills the node and starts it with the same name, cookie, epmd and
// arguments; with NoEPMD also on the same port. Without NoEPMD the
// distribution port may be another one afterwards.
func (n *Node) Restart() {
	n.t.Helper()
	n.Kill()
	n.boot()
}

// Log returns the end of what the node printed.
func (n *Node) Log() string { return n.proc.Tail() }

// Running tells whether the emulator's process has not ended.
func (n *Node) Running() bool { return n.proc.Running() }

// RequireErlang skips the test where the machine has no Erlang, or no module of
// the given applications (Debian splits OTP into packages).
func RequireErlang(t testing.TB, applications ...string) {
	t.Helper()
	if _, err := findOTP(""); err != nil {
		skip(t, "%v", err)
	}
	for _, app := range applications {
		out, err := exec.CommandContext(t.Context(), "erl", "-noinput", "-eval",
			"io:put_chars(case code:lib_dir("+app+") of {error, _} -> \"missing\"; _ -> \"there\" end), halt().").Output()
		require.NoError(t, err)
		if string(out) != "there" {
			skip(t, "no Erlang application %s on this machine; `make setup` installs it", app)
		}
	}
}
