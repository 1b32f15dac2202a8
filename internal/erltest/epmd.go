package erltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/proc"
)

// EPMD is an Erlang port mapper of a test's own.
type EPMD struct {
	Port int

	t    testing.TB
	argv []string
	dir  string
	proc *proc.Process
}

// StartEPMD starts an epmd on a free port of the loopback addresses, those of
// IPv6 included where the machine has one. It ends with the test.
func StartEPMD(t testing.TB) *EPMD {
	t.Helper()
	e, err := newEPMD(t.TempDir())
	if err != nil {
		skipOrFail(t, err)
	}
	e.t = t
	t.Cleanup(func() { e.proc.Kill() })
	return e
}

var sharedEPMD = sync.OnceValues(func() (*EPMD, error) {
	// There is no event at the end of a test process to remove a directory, so
	// the shared epmd gets none.
	return newEPMD("")
})

// SharedEPMD returns one epmd for all tests of the process, for tests that do
// not care which other nodes are known to it. It ends with the process and must
// not be killed or restarted.
func SharedEPMD(t testing.TB) *EPMD {
	t.Helper()
	e, err := sharedEPMD()
	if err != nil {
		skipOrFail(t, err)
	}
	return e
}

func skipOrFail(t testing.TB, err error) {
	t.Helper()
	if _, lookErr := exec.LookPath("epmd"); lookErr != nil {
		skip(t, "no Erlang on this machine: %v; `make setup` installs it", lookErr)
	}
	t.Fatal(err)
}

// newEPMD tries a few ports: between finding a free one and using it, another
// process may take it.
func newEPMD(dir string) (*EPMD, error) {
	var lastErr error
	for range 5 {
		port, err := proc.FreePort()
		if err != nil {
			return nil, err
		}
		e := &EPMD{Port: port, dir: dir}
		e.argv = []string{
			"epmd", "-port", strconv.Itoa(port), "-relaxed_command_check",
			"-address", strings.Join(loopbackAddresses(), ","),
		}
		if lastErr = e.start(); lastErr == nil {
			return e, nil
		}
	}
	return nil, lastErr
}

func (e *EPMD) start() error {
	log := "/dev/null"
	if e.dir != "" {
		log = filepath.Join(e.dir, "epmd.log")
	}
	p, err := proc.Start(proc.Command{Argv: e.argv, Env: baseEnv("/nonexistent"), Log: log})
	if err != nil {
		return err
	}
	err = proc.Await(10*time.Second, func() bool {
		_, err := e.Names()
		return err == nil || !p.Running()
	})
	if err != nil || !p.Running() {
		p.Kill()
		return fmt.Errorf("epmd on port %d did not start: %s", e.Port, p.Tail())
	}
	e.proc = p
	return nil
}

// Address is where the epmd listens, host:port.
func (e *EPMD) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(e.Port)) }

// Kill ends the epmd; nodes that were registered live on.
func (e *EPMD) Kill() { e.proc.Kill() }

// Restart ends the epmd and starts it on the same port. Nodes register again by
// themselves, up to a minute later (OTP 23.2 and later).
func (e *EPMD) Restart() {
	e.t.Helper()
	e.Kill()
	require.NoError(e.t, e.start())
}

// Names asks the epmd for the names it knows (request NAMES_REQ) and gives
// each name's distribution port.
func (e *EPMD) Names() (map[string]int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", e.Address())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte{0, 1, 'n'}); err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return nil, err
	}
	if len(answer) < 4 {
		return nil, fmt.Errorf("epmd %s: short answer %q", e.Address(), answer)
	}
	names := map[string]int{}
	for line := range strings.Lines(string(answer[4:])) {
		var name string
		var port int
		if _, err := fmt.Sscanf(line, "name %s at port %d", &name, &port); err == nil {
			names[name] = port
		}
	}
	return names, nil
}

// FreePort returns a loopback port that nobody listens on right now.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := proc.FreePort()
	require.NoError(t, err)
	return port
}

// checkIPv6 says why there is no ::1 on this machine.
func checkIPv6() error {
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), "tcp6", "[::1]:0")
	if err != nil {
		return errors.New("this machine has no address ::1: " + err.Error())
	}
	return l.Close()
}

// loopbackAddresses are 127.0.0.1, ::1 and what the machine's short name resolves to
// where that is another loopback address (127.0.1.1 on many Debian machines).
func loopbackAddresses() []string {
	all := []string{"127.0.0.1"}
	if checkIPv6() == nil {
		all = append(all, "::1")
	}
	var r net.Resolver
	found, _ := r.LookupHost(context.Background(), shortHostname())
	for _, a := range found {
		ip := net.ParseIP(a)
		if ip != nil && ip.To4() != nil && ip.IsLoopback() && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}
