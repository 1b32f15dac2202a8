package erltest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// markVariable is in the environment of everything that belongs to one process
// started here, and is inherited by its children wherever they move to.
const markVariable = "ERLTEST_MARK"

// guard runs its arguments and ends them, and what is left of the process
// group, when its own standard input closes, which the kernel does when the
// test process dies. It reaps what it started: on some machines process 1 does
// not.
const guard = `exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{ read -r _ <&3; kill -KILL "$child"; } &
watcher=$!
exec 3<&-
wait "$child"
kill -KILL "$watcher"
wait "$watcher"
kill -KILL 0`

// process is a running command in a process group of its own.
type process struct {
	cmd    *exec.Cmd
	mark   string
	log    string // path of the file with its output
	exited chan struct{}
	stdin  io.Closer // of the guard; nil without one
}

// command describes what to start.
type command struct {
	argv    []string
	env     []string   // the whole environment
	dir     string     // working directory, "" for the test's own
	log     string     // file that gets standard output and error
	files   []*os.File // descriptors 3 and up; closed here once started
	guarded bool       // the command does not watch the test process itself
}

func startProcess(c command) (*process, error) {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", c.argv[0], err)
	}
	defer log.Close()
	p := &process{mark: rand.Text(), log: c.log, exited: make(chan struct{})}
	argv := c.argv
	if c.guarded {
		argv = append([]string{"/bin/sh", "-c", guard, "guard"}, argv...)
	}
	p.cmd = exec.Command(argv[0], argv[1:]...) //nolint:gosec,noctx // tests start what they are asked to; ends in stop
	p.cmd.Env = append(append([]string{}, c.env...), markVariable+"="+p.mark)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = c.dir, log, log
	p.cmd.ExtraFiles = c.files
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.guarded {
		if p.stdin, err = p.cmd.StdinPipe(); err != nil {
			return nil, fmt.Errorf("pipe to %s: %w", c.argv[0], err)
		}
	}
	err = p.cmd.Start()
	for _, f := range c.files {
		f.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.argv[0], err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // how it ended is in its log
	}()
	return p, nil
}

// signal sends s to the whole process group.
func (p *process) signal(s syscall.Signal) error {
	return syscall.Kill(-p.cmd.Process.Pid, s)
}

// kill ends the process, its group and everything that carries its mark, and
// returns when they are gone.
func (p *process) kill() {
	if p.stdin != nil {
		p.stdin.Close()
		_ = await(2*time.Second, func() bool { return !p.running() })
	}
	_ = p.signal(syscall.SIGKILL) // gone already is as good
	<-p.exited
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		pids := marked(p.mark)
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// running tells whether the process has not exited.
func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// tail returns the end of the process's output.
func (p *process) tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const most = 4096
	if len(b) > most {
		b = b[len(b)-most:]
	}
	return strings.TrimSpace(string(b))
}

// marked lists the processes that have the mark in their environment and are
// not zombies (whose environment reads as empty).
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

// stopped tells whether the kernel has stopped process pid (SIGSTOP is not
// carried out at once).
func stopped(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, found := bytes.Cut(b, []byte(") "))
	return found && len(after) > 0 && after[0] == 'T'
}

// await polls until ok holds. Outside processes give no event to wait for.
func await(limit time.Duration, ok func() bool) error {
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("not within " + limit.String())
		}
	}
	return nil
}

// skip ends the test because something it needs is not on this machine.
func skip(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("ERLTEST_REQUIRED") == "1" {
		t.Fatalf(format+" (ERLTEST_REQUIRED=1 makes this a failure)", args...)
	}
	t.Skipf(format, args...)
}

// baseEnv is a small environment that lets nothing of the machine's Erlang
// settings (ERL_FLAGS, ERL_LIBS, ...) into a test.
func baseEnv(home string) []string {
	return []string{
		"PATH=" + os.Getenv("PATH") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + home,
		"LANG=C.UTF-8",
		"TMPDIR=" + os.TempDir(),
		"ERL_CRASH_DUMP_SECONDS=0",
	}
}
