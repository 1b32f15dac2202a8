// Package proc runs outside programs (Erlang nodes, servers, the exporter
// itself) for tests and the demo so that nothing of them is left behind: not
// when they are ended, not when they moved to another process group or were
// restarted by a watchdog, and not when the process that started them is
// killed.
package proc

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// markVariable is in the environment of everything that belongs to one Process
// and is inherited by its children wherever they move to.
const markVariable = "ERLOPS_PROC_MARK"

// guard runs its arguments and ends them, and what is left of the process
// group, when its own standard input closes, which the kernel does when the
// process that started it dies. It reaps what it started: on some machines
// process 1 does not.
const guard = `exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{ read -r _ <&3; kill -KILL "$child"; } &
watcher=$!
exec 3<&- 2>/dev/null
wait "$child"
status=$?
kill -KILL "$watcher"
if wait "$watcher"; then kill -KILL 0; fi
exit "$status"`

// Command describes a program to run.
type Command struct {
	Argv []string
	// Env is the whole environment; nothing is inherited.
	Env []string
	// Dir is the working directory, "" for the caller's own.
	Dir string
	// Log is the file that standard output and error are appended to.
	Log string
	// Files become descriptors 3 and up. Start closes them.
	Files []*os.File
	// SelfGuarded says that the program itself ends when the process that
	// started it dies. Others run under a shell that sees to it.
	SelfGuarded bool
}

// Process is a running program in a process group of its own.
type Process struct {
	cmd    *exec.Cmd
	mark   string
	log    string
	stdin  io.Closer // the guard's, nil without one
	exited chan struct{}
}

// Start starts the program. Whoever calls it must call Kill.
func Start(c Command) (*Process, error) {
	log, err := os.OpenFile(c.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", c.Argv[0], err)
	}
	defer log.Close()
	p := &Process{mark: rand.Text(), log: c.Log, exited: make(chan struct{})}
	argv := c.Argv
	if !c.SelfGuarded {
		argv = append([]string{"/bin/sh", "-c", guard, "guard"}, argv...)
	}
	p.cmd = exec.Command(argv[0], argv[1:]...) //nolint:gosec,noctx // runs what it is asked to, until Kill
	p.cmd.Env = append(append([]string{}, c.Env...), markVariable+"="+p.mark)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = c.Dir, log, log
	p.cmd.ExtraFiles = c.Files
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if !c.SelfGuarded {
		if p.stdin, err = p.cmd.StdinPipe(); err != nil {
			return nil, fmt.Errorf("pipe to %s: %w", c.Argv[0], err)
		}
	}
	err = p.cmd.Start()
	for _, f := range c.Files {
		f.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Argv[0], err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // how it ended is in ExitCode
	}()
	return p, nil
}

// Pid is the program's process id; for a program under the guard, the guard's,
// which is the id of the process group that both are in.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends s to the whole process group.
func (p *Process) Signal(s syscall.Signal) error { return syscall.Kill(-p.Pid(), s) }

// Exited is closed when the program has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Running tells whether the program has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// ExitCode is the program's exit status once Exited is closed: 128 and the
// signal's number more when a signal ended it.
func (p *Process) ExitCode() int {
	<-p.exited
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return p.cmd.ProcessState.ExitCode()
}

// Kill ends the program with SIGKILL, and its group, and everything that
// carries its mark, and returns when they are gone. It may be called again.
func (p *Process) Kill() {
	if p.stdin != nil {
		_ = p.Signal(syscall.SIGCONT) // a stopped guard would not see the end of its input
		p.stdin.Close()
		_ = Await(2*time.Second, func() bool { return !p.Running() })
	}
	_ = p.Signal(syscall.SIGKILL) // gone already is as good
	<-p.exited
	_ = Await(5*time.Second, func() bool {
		pids := marked(p.mark)
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return len(pids) == 0
	})
}

// Tail returns the end of the program's output.
func (p *Process) Tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const most = 4096
	return strings.TrimSpace(string(b[max(0, len(b)-most):]))
}

// marked lists the processes that have the mark in their environment. Zombies
// are not among them: their environment reads as empty.
func marked(mark string) []int {
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil
	}
	var pids []int
	want := []byte(markVariable + "=" + mark)
	for _, path := range environs {
		b, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(b, want) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Stopped tells whether the kernel has stopped process pid, which it does some
// time after SIGSTOP was sent.
func Stopped(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, found := bytes.Cut(b, []byte(") "))
	return found && len(after) > 0 && after[0] == 'T'
}

// Await polls until ok holds, for what gives no event to wait for.
func Await(limit time.Duration, ok func() bool) error {
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("not within " + limit.String())
		}
	}
	return nil
}

// FreePort returns a port of the loopback address that nobody listens on. It
// stays free only as long as nobody else takes it.
func FreePort() (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
