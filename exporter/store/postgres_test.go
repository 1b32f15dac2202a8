package store_test

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

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
)

const postgresPassword = "pa:ss/w@rd %"

// postgres is a real server of this test process: see startPostgres.
var postgres struct {
	host      string
	databases atomic.Int32
}

// TestMain starts one PostgreSQL server for all tests, where there is one to
// start, and ends it with them.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		host, stop, err := startPostgres()
		switch {
		case errors.Is(err, exec.ErrNotFound):
			fmt.Println("no PostgreSQL server program found: its tests are skipped")
		case err != nil:
			fmt.Println("start PostgreSQL:", err)
			return 1
		default:
			defer stop()
			postgres.host = host
		}
		return m.Run()
	}())
}

// startPostgres creates a database cluster in a temporary folder and serves it
// on a free port of loopback. The error is exec.ErrNotFound without a server
// program.
func startPostgres() (host string, stop func(), err error) {
	initdb, server, err := findPostgres()
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
	password := filepath.Join(dir, "password")
	if err := writeFor(credential, password, postgresPassword); err != nil {
		cleanup()
		return "", nil, err
	}
	data := filepath.Join(dir, "data")
	initialise := exec.Command(initdb, "-D", data, "-U", "tester", "-A", "scram-sha-256", "--pwfile", password, "--no-sync", "--locale", "C.UTF-8", "-E", "UTF8")
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
	serve := exec.Command(server, "-D", data, "-h", "127.0.0.1", "-p", port, "-k", dir, "-F")
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
	if err := awaitPostgres(host); err != nil {
		stop()
		return "", nil, err
	}
	return host, stop, nil
}

// findPostgres looks in the path and where Debian puts servers.
func findPostgres() (initdb, server string, err error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), dirs...) {
		initdb, server = filepath.Join(dir, "initdb"), filepath.Join(dir, "postgres")
		if _, err := exec.LookPath(initdb); err != nil {
			continue
		}
		if _, err := exec.LookPath(server); err == nil {
			return initdb, server, nil
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

func freeAddress() (address, port string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer l.Close()
	_, port, err = net.SplitHostPort(l.Addr().String())
	return l.Addr().String(), port, err
}

func awaitPostgres(host string) error {
	db, err := sql.Open("pgx", postgresURL(host, "postgres"))
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

func postgresURL(host, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("tester", postgresPassword), Host: host, Path: database, RawQuery: "sslmode=disable"}
	return u.String()
}

// newPostgres creates an empty database and returns its URL; the test is
// skipped when the machine has no server.
func newPostgres(t *testing.T) string {
	t.Helper()
	if postgres.host == "" {
		t.Skip("no PostgreSQL server program on this machine")
	}
	db, err := sql.Open("pgx", postgresURL(postgres.host, "postgres"))
	require.NoError(t, err)
	defer db.Close()
	name := fmt.Sprintf("test%d", postgres.databases.Add(1))
	_, err = db.ExecContext(t.Context(), "CREATE DATABASE "+name)
	require.NoError(t, err)
	return postgresURL(postgres.host, name)
}
