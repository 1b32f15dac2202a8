package store

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the database/sql driver "sqlite"
)

const (
	memoryPath = ":memory:"
	// busyTimeout is how long a statement waits for another process (a backup,
	// a shell) that holds the SQLite file.
	busyTimeout = 5 * time.Second
	// readers bounds the connections that read a SQLite file.
	readers = 4
	// serverConnections bounds the connections to PostgreSQL.
	serverConnections = 8
)

// location is where the database is: exactly one of the fields is set.
type location struct {
	path   string          // of a SQLite file, absolute, or memoryPath
	server *pgx.ConnConfig // of PostgreSQL
}

// parseLocation reads the forms that Options.URL may have.
func parseLocation(raw string) (location, error) {
	scheme, rest, hasScheme := strings.Cut(raw, "://")
	switch {
	case raw == "":
		return location{}, errors.New("storage: no path or URL is given")
	case !hasScheme:
		return sqliteLocation(raw)
	case scheme == "sqlite":
		return sqliteLocation(rest)
	case scheme == "postgres" || scheme == "postgresql":
		return postgresLocation(raw)
	}
	return location{}, fmt.Errorf("storage: unknown scheme %q: use a path, sqlite://PATH or postgres://USER@HOST/DATABASE", scheme)
}

func sqliteLocation(path string) (location, error) {
	switch {
	case path == "":
		return location{}, errors.New("storage: the path of the SQLite file is empty")
	case path == memoryPath:
		return location{path: path}, nil
	case strings.ContainsRune(path, 0):
		return location{}, fmt.Errorf("storage: the path %q holds a zero byte", path)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return location{}, fmt.Errorf("storage: path %q: %w", path, err)
	}
	return location{path: abs}, nil
}

func postgresLocation(raw string) (location, error) {
	// The reasons of the parsers quote the URL, and with it the password.
	if _, err := url.Parse(raw); err != nil {
		return location{}, errors.New("storage: the PostgreSQL URL cannot be read: percent-encode special characters in its user and password")
	}
	cfg, err := pgx.ParseConfig(raw)
	if err != nil {
		return location{}, errors.New("storage: the PostgreSQL URL is not valid: expected postgres://USER:PASSWORD@HOST:PORT/DATABASE with known parameters")
	}
	return location{server: cfg}, nil
}

// String names the location without its password.
func (l location) String() string {
	if l.server == nil {
		return "sqlite://" + l.path
	}
	host := net.JoinHostPort(l.server.Host, strconv.Itoa(int(l.server.Port)))
	u := url.URL{Scheme: "postgres", User: url.User(l.server.User), Host: host, Path: l.server.Database}
	return u.String()
}

func (l location) dialect() goose.Dialect {
	if l.server == nil {
		return goose.DialectSQLite3
	}
	return goose.DialectPostgres
}

// open gives the pools for writing and reading. It connects to nothing yet,
// but a SQLite file exists afterwards.
func (l location) open() (write, read *sql.DB, err error) {
	switch {
	case l.server != nil:
		db := stdlib.OpenDB(*l.server)
		db.SetMaxOpenConns(serverConnections)
		return db, db, nil
	case l.path == memoryPath:
		// Every connection to :memory: is a database of its own: there must be
		// one, and it must never be closed for idleness.
		db, err := openSQLite("file::memory:", nil, 1)
		return db, db, err
	}
	if err := prepareFile(l.path); err != nil {
		return nil, nil, err
	}
	file := (&url.URL{Scheme: "file", Path: l.path}).String()
	if write, err = openSQLite(file, []string{"journal_mode(WAL)", "synchronous(FULL)"}, 1); err != nil {
		return nil, nil, err
	}
	if read, err = openSQLite(file, []string{"query_only(1)"}, readers); err != nil {
		_ = write.Close()
		return nil, nil, err
	}
	return write, read, nil
}

func openSQLite(file string, pragmas []string, connections int) (*sql.DB, error) {
	q := url.Values{"_txlock": {"immediate"}}
	q.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()))
	for _, p := range pragmas {
		q.Add("_pragma", p)
	}
	db, err := sql.Open("sqlite", file+"?"+q.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// prepareFile checks the directory and creates the file, because SQLite would
// create it with the mode that the umask leaves. SQLite gives the files beside
// it (-wal, -shm) the mode of the file itself.
func prepareFile(path string) error {
	if err := checkDirectory(filepath.Dir(path)); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	// The group is let through: where a volume is shared by group, as with
	// Kubernetes' fsGroup, its files are changed to be the group's too.
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return fmt.Errorf("file %q can be used by everybody (mode %04o): run chmod 600 on it", path, mode)
	}
	return nil
}

func checkDirectory(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("directory %q does not exist: create it, or give another path", dir)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%q is not a directory", dir)
	case info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0:
		// Whoever may rename files here could put a database of theirs in place.
		return fmt.Errorf("directory %q can be written by everybody (mode %04o): run chmod o-w on it", dir, info.Mode().Perm())
	}
	return nil
}
