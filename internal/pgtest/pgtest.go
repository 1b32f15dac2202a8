// Package pgtest serves a real PostgreSQL to tests, where the machine has one.
package pgtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the database/sql driver "pgx"
	"github.com/stretchr/testify/require"
)

// password has what a URL must escape.
const password = "pa:ss/w@rd %"

// server is the one of this test process.
var server struct {
	host      string
	databases atomic.Int32
}

// Main runs the tests of a package with one server for all of them, and returns
// what to exit with. Without a server program, New skips its test.
func Main(m *testing.M) int {
	host, stop, err := start()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		fmt.Println("no PostgreSQL server program found: its tests are skipped")
	case err != nil:
		fmt.Println("start PostgreSQL:", err)
		return 1
	default:
		defer stop()
		server.host = host
	}
	return m.Run()
}

// start creates a database cluster in a temporary folder and serves it
// on a free port of loopback. The error is exec.ErrNotFound without a server
// program.
func start() (host string, stop func(), err error) {
	initdb, program, err := find()
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "store-postgres-")
	if err != nil {
		return "", nil, err
	}
	cleanup := func() { _ = os.RemoveAll(dir) }
	credential, err := serverUser(dir)
	if err != nil {
		cleanup()
		return "", nil, err
	}
	secret := filepath.Join(dir, "password")
	if err := writeFor(credential, secret, password); err != nil {
		cleanup()
		return "", nil, err
	}
	data := filepath.Join(dir, "data")
	initialise := exec.Command(initdb, "-D", data, "-U", "tester", "-A", "scram-sha-256", "--pwfile", secret, "--no-sync", "--locale", "C.UTF-8", "-E", "UTF8")
	initialise.Dir, initialise.SysProcAttr = dir, credential
	if out, err := initialise.CombinedOutput(); err != nil {
		cleanup()
		return "", nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	host, port, err := freeAddress()
	if err != nil {
		cleanup()
		return "", nil, err
	}
	serve := exec.Command(program, "-D", data, "-h", "127.0.0.1", "-p", port, "-k", dir, "-F")
	serve.Dir, serve.SysProcAttr = dir, credential
	if err := serve.Start(); err != nil {
		cleanup()
		return "", nil, err
	}
	stop = func() {
		_ = serve.Process.Signal(syscall.SIGQUIT) // immediate shutdown
		_ = serve.Wait()
		cleanup()
	}
	if err := await(host); err != nil {
		stop()
		return "", nil, err
	}
	return host, stop, nil
}

// find looks in the path and where Debian puts servers.
func find() (initdb, program string, err error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), dirs...) {
		initdb, program = filepath.Join(dir, "initdb"), filepath.Join(dir, "postgres")
		if _, err := exec.LookPath(initdb); err != nil {
			continue
		}
		if _, err := exec.LookPath(program); err == nil {
			return initdb, program, nil
		}
	}
	return "", "", exec.ErrNotFound
}

// serverUser gives dir to the user that the server runs as: the server
// refuses to be root. It dies with the test in any case.
func serverUser(dir string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Getuid() != 0 {
		return attr, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, os.Chown(dir, int(uid), int(gid))
}

func writeFor(attr *syscall.SysProcAttr, path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil || attr.Credential == nil {
		return err
	}
	return os.Chown(path, int(attr.Credential.Uid), int(attr.Credential.Gid))
}

func freeAddress() (hostPort, port string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer l.Close()
	_, port, err = net.SplitHostPort(l.Addr().String())
	return l.Addr().String(), port, err
}

func await(host string) error {
	db, err := sql.Open("pgx", address(host, "postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	for deadline := time.Now().Add(30 * time.Second); ; {
		if err = db.PingContext(context.Background()); err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func address(host, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("tester", password), Host: host, Path: database, RawQuery: "sslmode=disable"}
	return u.String()
}

// New creates an empty database and returns its URL; the test is skipped when
// the machine has no server.
func New(t *testing.T) string {
	t.Helper()
	if server.host == "" {
		t.Skip("no PostgreSQL server program on this machine")
	}
	db, err := sql.Open("pgx", address(server.host, "postgres"))
	require.NoError(t, err)
	defer db.Close()
	name := fmt.Sprintf("test%d", server.databases.Add(1))
	_, err = db.ExecContext(t.Context(), "CREATE DATABASE "+name)
	require.NoError(t, err)
	return address(server.host, name)
}
