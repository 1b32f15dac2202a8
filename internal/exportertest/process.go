package exportertest

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/proc"
)

const (
	startTimeout = 20 * time.Second
	endTimeout   = 20 * time.Second
)

// Options of a Process.
type Options struct {
	// Config is the configuration file's text. What it names without a path
	// is in the process's own folder.
	Config string
	// Files are put beside it: name to text.
	Files map[string]string
	// Env is added to the environment, each "KEY=value".
	Env []string
	// Clock is a file with a number of seconds: the exporter's clock is ahead of
	// the machine's by so many, read twenty times a second. Empty for the
	// machine's clock; building an exporter that heeds it takes minutes, once.
	Clock string
}

// Process is a running erl-exporter. Its methods fail the test that started
// it, and may be called concurrently where they only ask.
type Process struct {
	// URL is where it serves, without a slash at the end.
	URL string
	// Pid is the process id of the exporter itself.
	Pid int
	// Dir has its configuration, erl-exporter.yml, and the other files.
	Dir string

	t      testing.TB
	proc   *proc.Process
	log    string
	client *http.Client
}

var listening = regexp.MustCompile(`msg=listening address=(\S+)`)

// Start starts the exporter and returns when it listens. It ends with the
// test.
func Start(t testing.TB, o Options) *Process {
	t.Helper()
	path, err := program()
	if o.Clock != "" {
		path, err = steppedProgram()
		o.Env = append(o.Env[:len(o.Env):len(o.Env)], clockVariable+"="+o.Clock)
	}
	require.NoError(t, err)
	p := &Process{t: t, Dir: t.TempDir()}
	p.log = filepath.Join(p.Dir, "log")
	// One connection that is kept: what is asked costs the exporter no
	// descriptor more, whenever it is asked.
	p.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: startTimeout}
	p.Write("erl-exporter.yml", o.Config)
	for name, text := range o.Files {
		p.Write(name, text)
	}
	p.proc, err = proc.Start(proc.Command{
		Argv: []string{path, "--config.file", "erl-exporter.yml", "--web.listen-address", "127.0.0.1:0"},
		Env:  append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.Dir}, o.Env...),
		Dir:  p.Dir, Log: p.log,
	})
	require.NoError(t, err)
	t.Cleanup(p.end)
	err = proc.Await(startTimeout, func() bool {
		if found := listening.FindStringSubmatch(p.Log()); found != nil {
			p.URL = "http://" + found[1]
		}
		return p.URL != "" || !p.proc.Running()
	})
	if err == nil && p.URL != "" {
		p.Pid, err = childRunning(p.proc.Pid(), path)
	}
	if err != nil || p.URL == "" {
		t.Fatalf("erl-exporter did not start: %v\n%s", err, p.Log())
	}
	return p
}

// end is the cleanup.
func (p *Process) end() {
	p.client.CloseIdleConnections()
	p.proc.Kill()
	if p.t.Failed() {
		p.t.Logf("the exporter's log:\n%s", p.Log())
	}
}

// childRunning gives the child of the guard pid that runs a program.
func childRunning(pid int, program string) (int, error) {
	task := strconv.Itoa(pid)
	children, err := os.ReadFile("/proc/" + task + "/task/" + task + "/children")
	if err != nil {
		return 0, err
	}
	for child := range strings.FieldsSeq(string(children)) {
		if exe, err := os.Readlink("/proc/" + child + "/exe"); err == nil && exe == program {
			return strconv.Atoi(child)
		}
	}
	return 0, errors.New("no process of " + program + " under its guard")
}

// Write puts a file into the exporter's folder, private as a cookie's must be.
func (p *Process) Write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.Dir, name)
	require.NoError(p.t, os.RemoveAll(path))
	require.NoError(p.t, os.WriteFile(path, []byte(text), 0o400))
}

// Log returns all that the exporter has written.
func (p *Process) Log() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Signal sends a signal to the exporter, and to nothing else.
func (p *Process) Signal(s syscall.Signal) {
	p.t.Helper()
	require.NoError(p.t, syscall.Kill(p.Pid, s))
}

// Stop ends the exporter with SIGTERM and waits until it has left.
func (p *Process) Stop() {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	if proc.Await(endTimeout, func() bool { return !p.proc.Running() }) != nil {
		p.t.Fatalf("erl-exporter does not end:\n%s", p.Log())
	}
	require.Zero(p.t, p.proc.ExitCode(), "exit status")
}
